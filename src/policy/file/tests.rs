use super::*;
use crate::policy::PolicySet;

fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let texts: Vec<(String, String)> = files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    PolicySet::from_texts(&texts, "policies").err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

const DEFAULT: (&str, &str) = ("default.toml", "category = \"default\"\n[freshness]\nttl = \"1h\"\n");

fn one(text: &str) -> Vec<String> {
    problems(&[DEFAULT, ("a.toml", text)])
}

#[test]
fn a_good_file_has_no_problem() {
    assert!(one("category = \"a\"\n[match]\nphrases = [\"x\"]\n[freshness]\nttl = \"1h\"\n").is_empty());
}

#[test]
fn every_problem_of_every_file_is_reported_at_once_sorted_with_its_line() {
    let a = "category = \"a\"\nsumary = \"s\"\n[match]\nphrases = [\"x\"]\nmin_similarity = 1.5\n\
             [freshness]\nttl = \"24 hurs\"\nstale_if_error = \"-5m\"\n[reuse]\ntier = \"semantik\"\nmax_wrong_hits = -0.1\n";
    let b = "category = \"a\"\n[match]\nphrases = [\"y\"]\npatterns = ['(']\n[freshness]\nttl = \"0s\"\nstale_if_error = \"1h\"\n\
             [reuse]\nharm = \"liable\"\ntier = \"semantic\"\n";
    let found = problems(&[DEFAULT, ("b.toml", b), ("a.toml", a)]);
    let expected = [
        "a.toml:1: category: \"a\" is already the category of b.toml:1",
        "a.toml:2: sumary: unknown key; did you mean `summary`?",
        "a.toml:5: match.min_similarity: is 1.5; it must be between 0 and 1",
        "a.toml:7: freshness.ttl: \"24 hurs\" is not a time",
        "a.toml:8: freshness.stale_if_error: is \"-5m\"; a time cannot be negative",
        "a.toml:10: reuse.tier: is \"semantik\"; it must be \"exact\" or \"semantic\"",
        "a.toml:11: reuse.max_wrong_hits: is -0.1; it must be between 0 and 1",
        "b.toml:4: match.patterns: \"(\" is not a regular expression",
        "b.toml:7: freshness.stale_if_error: cannot be given with ttl = \"0s\"",
        "b.toml:10: reuse.tier: cannot be \"semantic\" with harm = \"liable\"",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

fn check_one(text: &str, expected: &str) {
    let found = one(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(expected), "{}\n{expected}", found[0]);
}

fn with(extra: &str) -> String {
    format!("category = \"a\"\n[match]\nphrases = [\"x\"]\n[freshness]\nttl = \"1h\"\n{extra}")
}

#[test]
fn a_key_in_the_wrong_section_is_told_where_it_belongs() {
    check_one(
        &with("max_wrong_hits = 0.1\n"),
        "a.toml:6: freshness.max_wrong_hits: unknown key; it belongs in [reuse]",
    );
}

#[test]
fn wrong_types_say_what_is_there_and_what_would_be_right() {
    check_one(
        &with("stale_if_error = 60\n"),
        "a.toml:6: freshness.stale_if_error: is the bare number 60; it must be text with a unit, such as \"60s\"",
    );
    check_one(&with("[reuse]\naudit = \"often\"\n"), "a.toml:7: reuse.audit: is text; it must be a number");
    check_one(
        &with("[reuse]\ncost_of_wrong_usd = nan\n"),
        "a.toml:7: reuse.cost_of_wrong_usd: is NaN; it must be 0 or more",
    );
    let text = "category = \"a\"\nfreshness = 3\n[match]\nphrases = \"x\"\nexamples = [1]\n";
    let found = one(text);
    assert!(
        found.iter().any(|p| p.starts_with("a.toml:2: freshness: is a whole number; it must be a section")),
        "{found:#?}"
    );
    assert!(found.iter().any(|p| p.starts_with("a.toml:4: match.phrases: is text; it must be a list")), "{found:#?}");
    assert!(found.iter().any(|p| p.starts_with("a.toml:5: match.examples: holds a whole number")), "{found:#?}");
}

#[test]
fn what_becomes_of_personal_data_is_one_of_three_words() {
    check_one(
        &with("[privacy]\nquestions = \"never\"\n"),
        "a.toml:7: privacy.questions: is \"never\"; it must be \"keep-out\", \"exact\" or \"allow\"",
    );
    check_one(
        &with("[privacy]\nanswer = \"exact\"\n"),
        "a.toml:7: privacy.answer: unknown key; did you mean `answers`?",
    );
    check_one(&with("[reuse]\nanswers = \"exact\"\n"), "a.toml:7: reuse.answers: unknown key; it belongs in [privacy]");
    check_one(
        &with("[privacy]\ntraffic_text = \"yes\"\n"),
        "a.toml:7: privacy.traffic_text: is text; it must be true or false, without quotes",
    );
    assert!(one(&with("[privacy]\nquestions = \"keep-out\"\nanswers = \"allow\"\n")).is_empty());
}

#[test]
fn where_a_file_says_nothing_personal_data_is_for_the_same_question_only() {
    let texts = [(DEFAULT.0.to_owned(), DEFAULT.1.to_owned())];
    let set = PolicySet::from_texts(&texts, "policies").unwrap();
    let privacy = set.default_policy().privacy;
    assert_eq!((privacy.questions, privacy.answers), (PersonalData::Exact, PersonalData::Exact));
}

#[test]
fn writers_are_names_of_keys_and_only_of_what_is_shared() {
    check_one(
        &with("[reuse]\nwriters = [\"editor\"]\n"),
        "a.toml:7: reuse.writers: is for what is shared: with scope = \"credential\" nobody else is served; remove one of the two",
    );
    check_one(
        &with("[reuse]\nscope = \"shared\"\nwriters = [\"the editor\"]\n"),
        "a.toml:8: reuse.writers: \"the editor\" is no name of a key; write one that `semblance keys list` shows",
    );
    assert!(one(&with("[reuse]\nscope = \"tenant\"\nwriters = []\n")).is_empty(), "nobody");
}

#[test]
fn a_category_that_trusts_more_writers_is_not_as_strict() {
    let policy = |reuse: &str| {
        let text = format!("{}[reuse]\nscope = \"shared\"\n{reuse}", DEFAULT.1);
        let set = PolicySet::from_texts(&[(DEFAULT.0.to_owned(), text)], "policies").unwrap();
        std::sync::Arc::clone(set.default_policy())
    };
    let (all, two, one) = (policy(""), policy("writers = [\"a\", \"b\"]\n"), policy("writers = [\"b\"]\n"));
    for (strict, loose) in [(&two, &all), (&one, &all), (&one, &two)] {
        assert!(strict.is_at_least_as_strict_as(loose) && !loose.is_at_least_as_strict_as(strict));
    }
    assert!(all.is_at_least_as_strict_as(&all));
    assert!(one.reuse.trusts(Some("b")) && !one.reuse.trusts(Some("a")) && !one.reuse.trusts(None));
    assert!(all.reuse.trusts(None));
}

#[test]
fn list_members_are_reported_on_their_own_line() {
    let text = "category = \"a\"\n[match]\nphrases = [\n  \"x\",\n  \"x\",\n  \"?!\",\n]\n[freshness]\nttl = \"1h\"\n";
    let found = one(text);
    assert!(found[0].starts_with("a.toml:5: match.phrases: holds \"x\" twice"), "{found:#?}");
    assert!(found[1].starts_with("a.toml:6: match.phrases: \"?!\" holds no word"), "{found:#?}");
}

#[test]
fn missing_keys_are_reported() {
    let found = one("[match]\nphrases = [\"x\"]\n");
    assert!(found.iter().any(|p| p.starts_with("a.toml:1: category: is missing")), "{found:#?}");
    assert!(found.iter().any(|p| p.starts_with("a.toml:1: freshness.ttl: is missing")), "{found:#?}");
}

#[test]
fn a_category_that_nothing_can_match_is_reported() {
    check_one("category = \"a\"\n[freshness]\nttl = \"1h\"\n", "a.toml:1: match: nothing can match this category");
}

#[test]
fn a_set_without_a_default_is_reported() {
    let found = problems(&[("a.toml", &with(""))]);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("policies:1: no file has category = \"default\""), "{found:#?}");
}

#[test]
fn broken_toml_is_one_problem_with_its_line() {
    check_one("category = \"a\"\nttl = \n", "a.toml:2: not valid TOML");
}

#[test]
fn a_pattern_that_matches_everything_is_refused() {
    let text = "category = \"a\"\n[match]\npatterns = ['x*']\n[freshness]\nttl = \"1h\"\n";
    check_one(text, "a.toml:3: match.patterns: \"x*\" matches every question");
}

#[test]
fn wording_for_all_categories_belongs_in_the_default_file() {
    check_one(
        &with("[[volatile]]\nphrases = [\"now\"]\nttl = \"0s\"\n"),
        "a.toml:6: volatile: is looked at in every category",
    );
}

#[test]
fn a_category_name_must_fit_a_header() {
    check_one(
        "category = \"Product FAQ\"\n[match]\nphrases = [\"x\"]\n[freshness]\nttl = \"1h\"\n",
        "a.toml:1: category: \"Product FAQ\" is not a category name",
    );
}

#[test]
fn problems_are_data_for_machines() {
    let problem = Problem { file: "a.toml".to_owned(), line: 3, key: "reuse.tier".to_owned(), message: "m".to_owned() };
    let json = serde_json::to_value(&problem).unwrap();
    assert_eq!(json, serde_json::json!({"file": "a.toml", "line": 3, "key": "reuse.tier", "message": "m"}));
}

#[test]
fn typing_errors_counts_a_swap_as_one() {
    assert_eq!(typing_errors("balacne", "balance"), 1);
    assert_eq!(typing_errors("kitten", "sitting"), 3);
    assert_eq!(typing_errors("", "abc"), 3);
}
