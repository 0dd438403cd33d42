//! `semblance replay` as an evaluator runs it, and the fixtures that must never see a wrong hit.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn replay(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("SEMBLANCE_POLICIES");
    command.arg("replay").args(args).output().unwrap()
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// `part` of `whole`, both counts of `report`.
fn share(report: &Value, part: &str, whole: &str) -> f64 {
    report[part].as_f64().unwrap() / report[whole].as_f64().unwrap()
}

/// Cases that the matcher is known to serve wrongly: a debt to be paid, not a place for new ones.
const KNOWN_WRONG: [&str; 4] = ["format-008", "negation-004-twin", "person-008", "role-008"];

fn hold(report: &Value) {
    let served = report["served"].as_array().unwrap();
    let new: Vec<&Value> = served.iter().filter(|case| !KNOWN_WRONG.contains(&case["id"].as_str().unwrap())).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(report["cases"].as_u64() >= Some(150));
    assert!(share(report, "paraphrases_hit", "paraphrases") >= 0.60, "{:#}", report["refused"]);
}

#[test]
fn no_fixture_gets_a_new_wrong_hit_alone() {
    hold(&report(&replay(&["fixtures/", "--json"])));
}

#[test]
fn no_fixture_gets_a_new_wrong_hit_in_one_pool() {
    hold(&report(&replay(&["fixtures/", "--pool", "--json"])));
}

#[test]
fn tune_writes_only_when_told_and_only_what_is_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let policies = || -> Vec<String> {
        let mut files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    let tune = |more: &[&str]| -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_semblance"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["tune", "fixtures/", "--budget", "0.2", "--json"]);
        let output = command.args(["--policies", dir.path().to_str().unwrap()]).args(more).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        report(&output)
    };
    let before = policies();
    let proposed = tune(&[]);
    assert_eq!(policies(), before);
    tune(&["--write"]);
    let changed = policies().iter().zip(&before).filter(|(now, then)| now != then).count();
    let vouched = proposed.as_array().unwrap().iter().filter(|one| one["is_vouched"] == true).count();
    assert!(changed > 0 && changed <= vouched, "{changed} of {vouched}");
}

#[test]
fn every_near_miss_has_a_twin_that_must_be_served() {
    let mut seeds = std::collections::BTreeMap::<String, [usize; 2]>::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap() {
        let path = entry.unwrap().path();
        // What is never cached, or not about wording, has no twin.
        let apart = ["policies-and-scopes.jsonl", "zero-sla-cases.jsonl", "freshness.jsonl"];
        if path.extension().is_none_or(|extension| extension != "jsonl")
            || apart.iter().any(|name| path.ends_with(name))
        {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let counts = seeds.entry(case["seed"].as_str().unwrap().to_owned()).or_default();
            counts[usize::from(case["expect"] == "hit")] += 1;
        }
    }
    let lonely: Vec<_> = seeds.iter().filter(|(_, counts)| counts.contains(&0)).collect();
    assert!(seeds.len() >= 75 && lonely.is_empty(), "{lonely:?}");
}

#[test]
fn a_missed_bound_is_exit_code_1_and_a_bad_file_2_with_every_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cases.jsonl");
    let name = file.to_str().unwrap();
    std::fs::write(&file, "{\"seed\":\"What is a haiku?\",\"ask\":\"How tall is a giraffe?\",\"expect\":\"hit\"}\n")
        .unwrap();
    let missed = replay(&[name, "--min-paraphrases-hit", "0.5"]);
    assert_eq!(missed.status.code(), Some(1));
    let page = dir.path().join("report.html");
    let first = replay(&[name, "--json", "--html", page.to_str().unwrap()]);
    assert!(std::fs::read_to_string(&page).unwrap().contains("How tall is a giraffe?"));
    let baseline = dir.path().join("before.json");
    std::fs::write(&baseline, &first.stdout).unwrap();
    let again = report(&replay(&[name, "--json", "--baseline", baseline.to_str().unwrap()]));
    assert_eq!(again["baseline"]["newly_refused"], serde_json::json!([]));
    std::fs::write(&file, "{\"seed\":\"a\"}\n\nnonsense\n").unwrap();
    let bad = replay(&[name]);
    let told = String::from_utf8(bad.stderr).unwrap();
    assert_eq!(bad.status.code(), Some(2));
    assert!(told.contains("cases.jsonl:1:") && told.contains("cases.jsonl:3:"), "{told}");
}
