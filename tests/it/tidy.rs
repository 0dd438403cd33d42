//! Rules of the house, held against the source.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Every source file with its text.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 50, "the source is where it should be");
    found
}

/// Path below `src`, with slashes.
fn place(path: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/")
}

fn is_test(place: &str) -> bool {
    place.ends_with("tests.rs")
        || place.contains("/tests/")
        || place.contains("conformance")
        || place.contains("strategies")
}

#[test]
fn every_module_opens_with_its_job() {
    for (path, text) in sources() {
        let place = place(&path);
        assert!(is_test(&place) || text.starts_with("//! "), "{place} has no module documentation");
    }
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let rooms: &[(&str, &[&str])] = &[
        ("axum", &["http.rs", "http/", "admin.rs", "admin/"]),
        ("rusqlite", &["store.rs", "store/failing.rs", "store/sqlite.rs", "store/sqlite/"]),
        ("chacha20poly1305", &["store/vault.rs"]),
        ("redis", &["store/redis.rs", "store/redis/"]),
        ("hnsw_rs", &["index/graph/hnsw.rs"]),
        ("reqwest", &["upstream/http.rs", "upstream/http/", "embed/remote.rs", "embed/remote/", "app.rs", "cli/"]),
        ("semblance_encoder", &["model.rs", "model/"]),
        ("tower_http", &["http/"]),
        ("tokio_rustls", &["tls.rs", "http/serve.rs"]),
        ("ring", &["key.rs"]),
        ("opentelemetry", &["otel.rs", "otel/"]),
        ("opentelemetry_sdk", &["otel.rs", "otel/"]),
        ("opentelemetry_proto", &["otel.rs", "otel/"]),
        ("flate2", &["http/coding.rs"]),
        ("clap", &["cli.rs", "cli/", "config/args.rs"]),
    ];
    for (path, text) in sources() {
        let place = place(&path);
        for (krate, allowed) in rooms {
            let uses = text.lines().any(|line| {
                let code = line.split("//").next().unwrap_or_default();
                [format!(" {krate}::"), format!("({krate}::"), format!("<{krate}::"), format!("use {krate};")]
                    .iter()
                    .any(|u| code.contains(u))
            });
            let at_home = allowed.iter().any(|room| place == *room || (room.ends_with('/') && place.starts_with(room)));
            assert!(!uses || at_home || is_test(&place), "{place} uses {krate}");
        }
    }
}

#[test]
fn lower_rooms_do_not_import_higher_ones() {
    let higher: &[(&str, &[&str])] = &[
        ("store", &["cache", "gateway", "http", "admin", "app", "cli", "matcher", "policy", "upstream", "embed"]),
        (
            "index",
            &["cache", "gateway", "http", "admin", "app", "cli", "matcher", "policy", "upstream", "embed", "store"],
        ),
        (
            "embed",
            &["cache", "gateway", "http", "admin", "app", "cli", "matcher", "policy", "upstream", "store", "index"],
        ),
        ("matcher", &["cache", "gateway", "http", "admin", "app", "cli", "store", "index", "upstream"]),
        ("policy", &["cache", "gateway", "http", "admin", "app", "cli", "store", "index", "upstream", "embed"]),
        ("cache", &["gateway", "http", "admin", "app", "cli", "policy", "upstream", "embed", "matcher"]),
        ("wire", &["cache", "gateway", "http", "admin", "app", "cli", "store", "index", "upstream", "embed", "policy"]),
        ("freshness", &["cache", "gateway", "http", "admin", "app", "cli", "store", "index", "upstream", "policy"]),
    ];
    for (path, text) in sources() {
        let place = place(&path);
        if is_test(&place) {
            continue;
        }
        for (room, above) in higher {
            if place != format!("{room}.rs") && !place.starts_with(&format!("{room}/")) {
                continue;
            }
            let code: String = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            for module in *above {
                let named = code.contains(&format!("crate::{module}::")) || code.contains(&format!("\n    {module}::"));
                assert!(!named, "{place} imports {module}");
            }
        }
    }
}

#[test]
fn the_policies_that_ship_are_the_files_of_the_policies_folder() {
    let set = semblance::policy::PolicySet::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    let shipped = semblance::policy::PolicySet::shipped().unwrap();
    assert_eq!(set.revision(), shipped.revision());
    assert_eq!(set.policies().len(), 14);
}

/// Every test that the README's table of faults names is there, under that name.
#[test]
fn each_row_of_the_fault_table_names_a_test() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, section) = readme.split_once("### When things break").unwrap();
    let (table, _) = section.split_once("\n### ").unwrap();
    let code: String = ["tests/it/faults.rs", "tests/it/faults/store.rs", "tests/it/faults/upstream.rs"]
        .into_iter()
        .chain(["tests/it/restart.rs", "tests/it/freshness.rs", "tests/it/otel.rs"])
        .map(|file| fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap())
        .collect();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what")).collect();
    assert!(rows.len() > 20, "{}", rows.len());
    for row in rows {
        let test = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap();
        let name = test.split('`').nth(1).unwrap().rsplit("::").next().unwrap();
        let known = code.contains(&format!("fn {name}(")) || name.starts_with("tests/");
        assert!(known, "no test is named {name}: {row}");
    }
}
