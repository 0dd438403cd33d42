//! The shipped policies keep what their comments promise.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::{fs, path::Path};

use semblance::{
    policy::{
        CheckReport, Classification, Examples, Explained, Facts, PersonalData, PolicySet, Problem, SMALLEST_BUDGET,
        Summary, Tier, check, diff, plain,
    },
    similarity::Embedding,
};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> PolicySet {
    PolicySet::shipped().unwrap()
}

fn cases(file: &str) -> Vec<Value> {
    let text = fs::read_to_string(root().join("tests/data/zero-sla").join(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(query: &str) -> Facts<'_> {
    Facts { query, ..Facts::default() }
}

/// Share of a file's cases that are never cached. `vector_of` gives a question's vector, or none for rules alone.
fn never_cached(set: &PolicySet, file: &str, vector_of: &dyn Fn(&str) -> Option<Embedding>) -> f64 {
    let texts = set.example_texts();
    let made = texts.filter_map(|(category, text)| Some((category.to_owned(), text.to_owned(), vector_of(text)?)));
    let examples = Examples::new(set, "synthetic", made.collect());
    let cases = cases(file);
    let never = |case: &&Value| {
        let text = case["text"].as_str().unwrap();
        set.classify(&ask(text), vector_of(text).as_ref(), Some(&examples)).is_never_cached()
    };
    let count = f64::from(u32::try_from(cases.iter().filter(never).count()).unwrap());
    count / f64::from(u32::try_from(cases.len()).unwrap())
}

fn by_rules(set: &PolicySet, file: &str) -> f64 {
    never_cached(set, file, &|_| None)
}

#[test]
fn no_shipped_policy_lets_personal_questions_be_shared_and_each_says_what_becomes_of_them() {
    for policy in shipped().policies() {
        assert_ne!(policy.privacy.questions, PersonalData::Allow, "{}", policy.category);
        let text = fs::read_to_string(root().join(format!("policies/{}.toml", policy.category))).unwrap();
        assert!(text.contains("\n[privacy]\n"), "{}", policy.category);
    }
    // What companies publish themselves may be shared.
    let public = shipped();
    let public = public.policies().iter().filter(|policy| policy.privacy.answers == PersonalData::Allow);
    let public: Vec<&str> = public.map(|policy| policy.category.as_str()).collect();
    assert_eq!(public, ["company-policy", "documentation", "product-faq"]);
}

#[test]
fn rules_alone_find_most_personal_wordings() {
    let set = shipped();
    let (known, unseen) = (by_rules(&set, "personal.jsonl"), by_rules(&set, "unseen-personal.jsonl"));
    assert!(known >= 0.88, "{known}");
    assert!(unseen >= 0.50, "{unseen}");
}

#[test]
fn rules_alone_leave_general_questions_cacheable() {
    let set = shipped();
    let (known, unseen) = (by_rules(&set, "general.jsonl"), by_rules(&set, "unseen-general.jsonl"));
    assert!(known <= 0.02, "{known}");
    assert!(unseen <= 0.03, "{unseen}");
}

#[test]
fn the_three_promises_hold_in_many_wordings_by_rules_alone() {
    let set = shipped();
    for question in [
        "my account balance",
        "What's my account balance?",
        "acct bal pls",
        "wats my acount balnce",
        "Could you kindly let me know my account balance?",
        "how much money do i have left",
        "is seat 12A still free",
        "12a taken?",
        "seat 12A avail",
        "Would you mind checking whether seat 12A remains unoccupied?",
        "any1 got 12A yet",
        "I promised my mum we'd sit together, so is 12A gone already?",
        "my blood test results",
        "bloods back?",
        "wat r my blod tst rslts",
        "Might I enquire about the results of my blood test?",
        "have my lab results come in",
        "The nurse took blood on Tuesday and I still haven't heard anything.",
    ] {
        let found = set.classify_by_rules(&ask(question));
        assert!(found.is_never_cached() && found.decided, "{question}: {found:?}");
    }
}

#[test]
fn neighbours_of_the_three_promises_stay_cacheable() {
    let set = shipped();
    for question in [
        "What does a blood test measure?",
        "How do I reset my password?",
        "What is a balance sheet?",
        "How do seat reservations work?",
        "How do I balance a binary search tree?",
        "What does a left join do?",
        "Why do my unit tests fail?",
        "How do I free memory in C?",
        "How do I convert euros to dollars?",
    ] {
        let found = set.classify_by_rules(&ask(question));
        assert!(!found.is_never_cached(), "{question}: {found:?}");
    }
}

#[test]
fn a_never_cached_category_is_exact_and_stored_nowhere() {
    let set = shipped();
    for category in ["live-inventory", "account-balance", "personal-health"] {
        let policy = set.get(category).unwrap();
        assert!(policy.is_never_cached());
        assert_eq!(policy.reuse.tier, Tier::Exact);
    }
}

#[test]
fn the_shipped_set_is_the_directory_and_each_file_opens_with_its_promise() {
    let directory = PolicySet::load(&root().join("policies")).unwrap();
    assert_eq!(directory.revision(), shipped().revision());
    assert_eq!(directory.policies().len(), 14);
    let paths = fs::read_dir(root().join("policies")).unwrap().map(|entry| entry.unwrap().path());
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.starts_with("# ") && text.contains("\n# Promise: "));
    }
}

#[test]
fn examples_are_few_enough_to_embed_at_start() {
    assert!(shipped().example_texts().count() <= 170);
}

#[test]
fn every_shipped_policy_names_its_owner_and_says_what_it_is() {
    for policy in shipped().policies() {
        assert!(!policy.owner.is_empty() && !policy.summary.is_empty(), "{}", policy.category);
    }
}

#[test]
fn volatile_wording_reaches_every_shipped_category() {
    let set = shipped();
    for question in
        ["opening hours right now", "What is the capital of France at the moment?", "latest Python syntax error"]
    {
        let found: Classification = set.classify_by_rules(&ask(question));
        assert!(found.is_never_cached() && found.volatile.is_some(), "{question}: {found:?}");
    }
}

#[test]
fn check_shows_a_table_in_plain_words_and_exits_zero() {
    let report = check(&root().join("policies"));
    assert_eq!(report.exit_code(), 0);
    let shown = report.to_string();
    assert!(shown.contains("account-balance     never cached      asked each time"), "{shown}");
    assert!(
        shown.contains("product-faq         fresh for 24h     other wordings too  a wrong answer annoys"),
        "{shown}"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["ok"], &json["categories"][0]["ttl"]), (&Value::Bool(true), &Value::from("0s")));
}

/// A sentence that changes here is a promise that changes: read the whole file before it is written anew, which
/// `semblance check --explain policies/` does.
#[test]
fn the_shipped_policies_say_this_in_plain_english() {
    let report = check(&root().join("policies"));
    let told = Explained(&report).to_string();
    let pinned = fs::read_to_string(root().join("tests/data/policies-in-plain-english.txt")).unwrap();
    let (told, pinned): (Vec<&str>, Vec<&str>) = (told.lines().collect(), pinned.lines().collect());
    for (at, (told, pinned)) in told.iter().zip(&pinned).enumerate().take(told.len() - 1) {
        assert_eq!(told, pinned, "line {}", at + 1);
    }
    assert_eq!(told.len(), pinned.len());
}

#[test]
fn each_shipped_policy_tells_freshness_reuse_and_recognition() {
    for Summary { category, ttl, plain, .. } in check(&root().join("policies")).categories {
        let told = plain.join(" ");
        let first = if ttl == "0s" { "are never stored: every question goes to the model." } else { " is fresh for " };
        assert!(plain[0].contains(first), "{category}: {told}");
        assert!(told.contains("A question belongs here when "), "{category}: {told}");
        assert!(plain.iter().all(|sentence| sentence.ends_with('.') && sentence.len() < 300), "{category}: {told}");
    }
}

/// The guide's examples are files that work, beside the shipped ones, and say what the guide says they say.
#[test]
fn the_guide_shows_policies_that_work_and_quotes_what_is_said_of_them() {
    let guide = fs::read_to_string(root().join("policies/README.md")).unwrap();
    let blocks: Vec<&str> = guide.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2);
    let mut texts: Vec<(String, String)> = shipped().texts().into_iter().collect();
    texts.extend(blocks.iter().enumerate().map(|(at, text)| (format!("guide-{at}.toml"), (*text).to_owned())));
    let set = PolicySet::from_texts(&texts, "the guide").unwrap();
    let said: Vec<String> = set.with_sources().flat_map(|(policy, source)| plain(policy, &source.typed)).collect();
    let quoted: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix("> ")).collect();
    assert!(quoted.len() > 8);
    for quote in quoted {
        assert!(said.iter().any(|sentence| sentence == quote), "nothing says {quote:?}");
    }
    let change = guide.lines().find(|line| line.trim_start().starts_with("Answers are fetched anew")).unwrap().trim();
    let shorter: Vec<(String, String)> = shipped()
        .texts()
        .into_iter()
        .map(|(name, text)| {
            let text = if name == "product-faq.toml" { text.replace("ttl = \"24h\"", "ttl = \"1h\"") } else { text };
            (name, text)
        })
        .collect();
    assert_eq!(diff(&shipped(), &PolicySet::from_texts(&shorter, "shorter").unwrap())[0].plain, change);
}

#[test]
fn the_smallest_budget_in_words_is_the_smallest_that_was_measured() {
    let text = fs::read_to_string(root().join("models/verifier/calibration.json")).unwrap();
    let calibration: Value = serde_json::from_str(&text).unwrap();
    let budgets = calibration["bars"].as_array().unwrap().iter().map(|bar| bar[0].as_f64().unwrap());
    assert_eq!(budgets.reduce(f64::min), Some(SMALLEST_BUDGET));
}

#[test]
fn check_lists_every_problem_and_exits_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.toml"), "category = \"default\"\nowners = \"x\"\n[freshness]\nttl = 3\n").unwrap();
    let report: CheckReport = check(dir.path());
    assert_eq!((report.exit_code(), report.problems.len()), (1, 2));
    let Problem { file, line, key, .. } = &report.problems[1];
    assert!(file.ends_with("a.toml"));
    assert_eq!((*line, key.as_str()), (4, "freshness.ttl"));
    assert!(report.to_string().ends_with("2 problems"));
}

#[test]
fn a_missing_directory_is_a_problem_and_not_a_default() {
    let report = check(&root().join("policies/nowhere"));
    assert_eq!((report.exit_code(), report.problems.len()), (1, 1));
}
