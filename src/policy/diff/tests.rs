use std::fs;

use super::*;

const OTHER: &str = "category = \"other\"\n[match]\nphrases = [\"other\"]\n[freshness]\nttl = \"1h\"\n";

fn set(texts: &[&str]) -> PolicySet {
    let named = texts.iter().enumerate().map(|(at, text)| (format!("{at}.toml"), (*text).to_owned()));
    PolicySet::from_texts(&named.collect::<Vec<_>>(), "policies").unwrap()
}

fn of(sections: &str) -> PolicySet {
    set(&[&format!("category = \"default\"\n{sections}\n")])
}

/// The changes from one to the other as (key, from, to, plain), each "-" where it is none.
fn changed(before: &PolicySet, after: &PolicySet) -> Vec<[String; 4]> {
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    diff(before, after).into_iter().map(|c| [c.key, shown(c.from), shown(c.to), c.plain]).collect()
}

/// The only change between policies with these sections.
fn one(before: &str, after: &str) -> [String; 4] {
    let mut changes = changed(&of(before), &of(after));
    assert_eq!(changes.len(), 1, "{changes:#?}");
    changes.remove(0)
}

fn ttl(ttl: &str) -> String {
    format!("[freshness]\nttl = \"{ttl}\"\n")
}

fn fresh(keys: &str) -> String {
    format!("[freshness]\nttl = \"1h\"\n{keys}\n")
}

fn reuse(keys: &str) -> String {
    format!("[freshness]\nttl = \"1h\"\n[reuse]\n{keys}\n")
}

#[test]
fn the_same_settings_are_no_change_whatever_is_written_down() {
    let written = "# a comment\n[freshness]\nttl = \"60m\"\nstale_if_error = \"0s\"\n[reuse]\ntier = \"semantic\"\naudit = 0.02\n[[volatile]]\nttl = \"0s\"\nphrases = [\"b\", \"a\"]\n";
    let short = "[freshness]\nttl = \"1h\"\n[[volatile]]\nttl = \"0s\"\nphrases = [\"a\", \"b\"]\n";
    assert_eq!(changed(&of(written), &of(short)), Vec::<[String; 4]>::new());
}

#[test]
fn a_ttl_is_told_by_how_often_answers_are_fetched() {
    let [key, from, to, plain] = one(&ttl("24h"), &ttl("1h"));
    assert_eq!([key, from, to], ["freshness.ttl", "24h", "1h"]);
    assert_eq!(
        plain,
        "Answers are fetched anew up to 24 times as often: each is fresh for 1 hour instead of 24 hours."
    );
    let told = |before: &str, after: &str| one(&ttl(before), &ttl(after))[3].clone();
    assert_eq!(told("2d", "3d"), "Answers may be 1.5 times as old: each is fresh for 3 days instead of 2 days.");
    assert_eq!(
        told("1h", "0s"),
        "Answers are no longer stored: every question goes to the model, and what is stored already is not served any more."
    );
    assert_eq!(told("0s", "1h"), "Answers are stored from now on: each is fresh for 1 hour.");
}

#[test]
fn stale_windows_are_told_by_what_readers_see() {
    let told = |before: &str, after: &str| one(&fresh(before), &fresh(after))[3].clone();
    let (hour, two) = ("stale_while_revalidate = \"1h\"", "stale_while_revalidate = \"2h\"");
    assert_eq!(
        told("", hour),
        "For 1 hour after that the old answer may be shown while a new one is fetched: faster, and older."
    );
    assert_eq!(
        told(two, hour),
        "The old answer may be shown for 1 hour instead of 2 hours while a new one is fetched."
    );
    assert_eq!(told(hour, ""), "No old answer is shown while a new one is fetched: readers wait for the new one.");
    let (hour, two) = ("stale_if_error = \"1h\"", "stale_if_error = \"2h\"");
    assert_eq!(
        told("", hour),
        "If the model fails, the old answer may be shown for up to 1 hour instead of the error."
    );
    assert_eq!(told(hour, two), "If the model fails, the old answer may be shown for up to 2 hours instead of 1 hour.");
    assert_eq!(told(hour, ""), "If the model fails, readers get the error instead of an old answer.");
}

#[test]
fn every_setting_of_reuse_has_words() {
    let told = |before: &str, after: &str| one(&reuse(before), &reuse(after));
    let exact = changed(&of(&reuse("")), &of(&reuse("tier = \"exact\"")));
    assert_eq!(exact[0][..3], ["reuse.tier", "semantic", "exact"]);
    assert_eq!(exact[1][..3], ["reuse.audit", "0.02", "0"], "the default of the audit follows the tier");
    assert_eq!(
        told("", "max_wrong_hits = 0.005"),
        [
            "reuse.max_wrong_hits",
            "0.02",
            "0.005",
            "Of the answers to reworded questions 5 in 1,000 may be wrong instead of 2 in 100: fewer of them come from the store."
        ]
    );
    assert_eq!(
        told("", "max_wrong_hits = 0.001")[3],
        "Reworded questions go to the model: only the same question gets the stored answer."
    );
    let harm = changed(&of(&reuse("")), &of(&reuse("harm = \"harmful\"")));
    assert_eq!(
        harm[0],
        ["reuse.harm", "annoying", "harmful", "A wrong answer here does harm: the reader loses time or money."]
    );
    assert_eq!(harm[1][..3], ["reuse.max_wrong_hits", "0.02", "0.005"], "the default of the budget follows the harm");
    let scope = told("", "scope = \"shared\"");
    assert_eq!(scope[..3], ["reuse.scope", "credential", "shared"]);
    assert!(scope[3].starts_with("Everyone shares the answers"), "{scope:?}");
    let writers = told("scope = \"shared\"", "scope = \"shared\"\nwriters = [\"editor\"]");
    assert_eq!(writers[..3], ["reuse.writers", "-", "editor"]);
    assert!(writers[3].contains("only \"editor\" may write them"), "{writers:?}");
    assert!(told("", "write = \"through\"")[3].contains("a crash loses none"));
    assert!(
        told("", "audit = 0.1")[3]
            .contains("10 in 100 are asked again in the background instead of 2 in 100: more calls")
    );
    assert!(told("audit = 0", "audit = 0.1")[3].contains("instead of none: more calls"));
    assert!(told("", "audit = 0")[3].contains("no longer checked"));
    let cost = told("", "cost_of_wrong_usd = 0.4");
    assert_eq!(cost[..3], ["reuse.cost_of_wrong_usd", "-", "0.40 USD"]);
    assert!(told("cost_of_wrong_usd = 0.4", "cost_of_wrong_usd = 0.1")[3].contains("more reworded questions"));
    assert!(told("cost_of_wrong_usd = 0.4", "")[3].contains("counts no longer"));
}

#[test]
fn every_other_setting_has_words() {
    let hour = ttl("1h");
    let privacy = one(&hour, &format!("{hour}[privacy]\nquestions = \"allow\"\n"));
    assert_eq!(privacy, ["privacy.questions", "exact", "allow", "Personal data in a question changes nothing."]);
    assert_eq!(one(&hour, &format!("{hour}[privacy]\nanswers = \"keep-out\"\n"))[0], "privacy.answers");
    let owner = one(&hour, &format!("owner = \"ann\"\n{hour}"));
    assert_eq!(owner[..3], ["owner", "-", "ann"]);
    assert_eq!(
        one(&format!("summary = \"a\"\n{hour}"), &format!("summary = \"b\"\n{hour}"))[..3],
        ["summary", "a", "b"]
    );
    let matched = |keys: &str| format!("{hour}[match]\n{keys}\n");
    let phrases = one(&matched("phrases = [\"a\", \"b\"]"), &matched("phrases = [\"b\", \"c\", \"d\"]"));
    assert_eq!(phrases[..3], ["match.phrases", "2 phrases", "3 phrases"]);
    assert_eq!(
        phrases[3],
        "Questions are now recognised by \"c\" and \"d\". Questions are no longer recognised by \"a\"."
    );
    for key in ["patterns", "except", "examples", "models", "system"] {
        assert_eq!(one(&hour, &matched(&format!("{key} = [\"x\"]")))[0], format!("match.{key}"));
    }
    assert_eq!(one(&hour, &matched("paths = [\"/x\"]"))[..3], ["match.paths", "-", "1 path"]);
    assert!(one(&hour, &matched("min_similarity = 0.5"))[3].contains("catch more questions"));
    let volatile = |ttl: &str| format!("{hour}[[volatile]]\nttl = \"{ttl}\"\nphrases = [\"today\"]\n");
    assert_eq!(
        one(&volatile("5m"), &volatile("0s"))[3],
        "In any category, a question with \"today\" always goes to the model."
    );
    assert_eq!(
        one(&volatile("5m"), &hour),
        ["volatile", "1 wording", "-", "A question with \"today\" is treated like any other of its category."]
    );
    let spelling =
        one(&hour, &format!("{hour}[spelling]\nwords = [\"refund\"]\n[spelling.shorthand]\npls = \"please\"\n"));
    assert_eq!(spelling[..3], ["spelling", "-", "2 words read"]);
    assert_eq!(spelling[3], "Hurried writing is now read with \"pls = please\" and \"refund\".");
}

#[test]
fn policies_that_come_and_go_are_named() {
    let (one, both) = (of(&ttl("1h")), set(&["category = \"default\"\n[freshness]\nttl = \"1h\"\n", OTHER]));
    let came = &diff(&one, &both)[0];
    assert_eq!((came.category.as_str(), came.key.as_str(), came.from.as_deref()), ("other", "category", None));
    assert!(came.plain.starts_with("A new policy. An answer about other is fresh for 1 hour"), "{}", came.plain);
    let gone = &diff(&both, &one)[0];
    assert_eq!(
        (gone.to.as_deref(), gone.plain.as_str()),
        (None, "The policy is gone: its questions fall to the other policies.")
    );
}

#[test]
fn directories_are_compared_by_category_and_files_with_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let old = write("a/other.toml", OTHER);
    let new = write("b/other.toml", &OTHER.replace("1h", "30m"));
    let renamed = write("b/renamed.toml", &OTHER.replace("\"other\"\n[m", "\"more\"\n[m"));
    let keys = |before: &Path, after: &Path| -> Vec<String> {
        diff_paths(before, after)
            .unwrap()
            .into_iter()
            .map(|change| format!("{} {}", change.category, change.key))
            .collect()
    };
    assert_eq!(keys(&old, &new), ["other freshness.ttl"]);
    assert_eq!(keys(&old, &renamed), ["more category"]);
    assert_eq!(keys(&dir.path().join("a"), &dir.path().join("b")), ["more category", "other freshness.ttl"]);
    assert_eq!(keys(&dir.path().join("a"), &new), ["other freshness.ttl"]);
    let bad = write("c/bad.toml", "category = \"bad\"\n[freshness]\nttl = \"soon\"\n");
    let problems = diff_paths(&bad, &new).unwrap_err();
    assert!(problems.iter().any(|problem| problem.key == "freshness.ttl" && problem.line == 3), "{problems:?}");
}
