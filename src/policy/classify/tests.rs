use super::*;

const FILES: &[(&str, &str)] = &[
    (
        "default.toml",
        "category = \"default\"\n[freshness]\nttl = \"1h\"\nstale_if_error = \"1d\"\n\
      [[volatile]]\nttl = \"0s\"\nphrases = [\"right now\"]\n[[volatile]]\nttl = \"5m\"\nphrases = [\"this week\"]\n\
      [spelling]\nwords = [\"balance\"]\n[spelling.shorthand]\nacct = \"account\"\n",
    ),
    (
        "money.toml",
        "category = \"money\"\n[match]\nphrases = [\"account balance\"]\nexcept = ['^what is an? ']\n\
      examples = [\"how much have i\"]\nmin_similarity = 0.5\n[freshness]\nttl = \"0s\"\n[reuse]\nharm = \"liable\"\n",
    ),
    (
        "faq.toml",
        "category = \"faq\"\n[match]\nphrases = [\"opening hours\", \"help\"]\npatterns = ['\\border #\\d+']\n\
      paths = [\"/v1/faq*\"]\nmodels = [\"small\"]\nexamples = [\"when are you open\"]\n[freshness]\nttl = \"24h\"\n",
    ),
    (
        "news.toml",
        "category = \"news\"\n[match]\nphrases = [\"help\"]\nsystem = [\"You report news\"]\n\
      examples = [\"what happened\"]\n[freshness]\nttl = \"5m\"\n",
    ),
];

fn set() -> PolicySet {
    let texts: Vec<(String, String)> = FILES.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect();
    PolicySet::from_texts(&texts, "policies").unwrap()
}

fn ask(query: &str) -> Facts<'_> {
    Facts { query, ..Facts::default() }
}

fn by_rules(facts: &Facts<'_>) -> Classification {
    set().classify_by_rules(facts)
}

fn vector(values: [f32; 3]) -> Embedding {
    Embedding::normalised(values.to_vec()).unwrap()
}

/// money, faq and news on one axis each.
fn examples(set: &PolicySet) -> Examples {
    let axis = |category: &str| match category {
        "money" => [1.0, 0.0, 0.0],
        "faq" => [0.0, 1.0, 0.0],
        _ => [0.0, 0.0, 1.0],
    };
    let all = set.example_texts().map(|(c, t)| (c.to_owned(), t.to_owned(), vector(axis(c)))).collect();
    Examples::new(set, "synthetic", all)
}

fn by_vector(query: &str, values: [f32; 3]) -> Classification {
    let set = set();
    set.classify(&ask(query), Some(&vector(values)), Some(&examples(&set)))
}

#[test]
fn a_phrase_decides_in_any_case_and_says_so() {
    let found = by_rules(&ask("What are your OPENING   hours?"));
    assert_eq!((found.policy.category.as_str(), found.decided), ("faq", true));
    assert_eq!(found.by, ClassifiedBy::Phrase("opening hours".to_owned()));
}

#[test]
fn a_pattern_decides_and_says_so() {
    assert_eq!(by_rules(&ask("status of Order #44")).by, ClassifiedBy::Pattern(r"\border #\d+".to_owned()));
}

#[test]
fn of_several_rules_the_strictest_wins() {
    assert_eq!(by_rules(&ask("help")).policy.category, "news");
    assert_eq!(by_rules(&ask("help with opening hours and account balance")).policy.category, "money");
}

#[test]
fn misspelt_shorthand_is_read_as_meant() {
    assert!(by_rules(&ask("acct balnce")).is_never_cached());
}

#[test]
fn nothing_matched_by_rules_is_not_decided() {
    let found = by_rules(&ask("tell me something"));
    assert_eq!((found.policy.category.as_str(), found.by, found.decided), ("default", ClassifiedBy::Default, false));
}

#[test]
fn a_route_needs_every_kind_it_names() {
    let route = |path, model| by_rules(&Facts { path, model, query: "x", ..Facts::default() });
    assert_eq!(route("/v1/faq/chat", "small").by, ClassifiedBy::Route);
    assert_eq!(route("/v1/faq/chat", "large").by, ClassifiedBy::Default);
    assert_eq!(route("/v1/chat", "small").by, ClassifiedBy::Default);
}

#[test]
fn a_system_prompt_routes_but_a_never_cached_question_still_wins() {
    let facts = |query| Facts { system: "You report news. Be brief.", query, ..Facts::default() };
    assert_eq!(by_rules(&facts("hello")).policy.category, "news");
    assert_eq!(by_rules(&facts("my account balance")).policy.category, "money");
}

#[test]
fn volatile_wording_caps_the_lifetime_in_any_category() {
    let now = by_rules(&ask("opening hours right now"));
    assert_eq!(
        (now.policy.category.as_str(), now.freshness, now.volatile.as_deref()),
        ("faq", Freshness::NEVER, Some("right now"))
    );
    let week = by_rules(&ask("opening hours this week"));
    assert_eq!(week.freshness.ttl, Duration::from_secs(300));
}

#[test]
fn the_shortest_volatile_cap_wins() {
    assert!(by_rules(&ask("this week or right now?")).is_never_cached());
}

#[test]
fn volatile_wording_alone_is_decided_when_it_means_never() {
    assert!(by_rules(&ask("anything right now")).decided);
    assert!(!by_rules(&ask("anything this week")).decided);
}

fn header<'a>(query: &'a str, name: &'a str) -> Classification {
    by_rules(&Facts { query, header_category: Some(name), ..Facts::default() })
}

#[test]
fn a_header_may_choose_a_stricter_category() {
    let found = header("opening hours", "news");
    assert_eq!((found.policy.category.as_str(), found.by, found.header_refused), ("news", ClassifiedBy::Header, None));
    assert!(header("anything", "money").decided);
}

#[test]
fn a_header_may_not_choose_a_looser_category() {
    let found = header("account balance", "faq");
    assert_eq!((found.policy.category.as_str(), found.header_refused), ("money", Some(HeaderRefused::Looser)));
}

#[test]
fn an_unknown_header_is_ignored_with_a_reason() {
    let found = header("opening hours", "nonsense");
    assert_eq!((found.policy.category.as_str(), found.header_refused), ("faq", Some(HeaderRefused::Unknown)));
}

#[test]
fn a_header_does_not_lift_a_volatile_cap() {
    assert!(header("opening hours right now", "news").is_never_cached());
}

#[test]
fn the_nearest_example_decides_what_rules_did_not() {
    let found = by_vector("x", [0.0, 1.0, 0.2]);
    assert_eq!((found.policy.category.as_str(), found.decided), ("faq", true));
    assert!(matches!(found.by, ClassifiedBy::Example { text, .. } if text == "when are you open"));
    assert_eq!(found.runner_up.unwrap().category, "news");
}

#[test]
fn of_two_equally_near_categories_the_stricter_is_meant() {
    assert_eq!(by_vector("x", [0.0, 1.0, 0.97]).policy.category, "news");
    assert!(by_vector("x", [0.95, 1.0, 0.0]).is_never_cached());
}

#[test]
fn a_question_near_nothing_is_default_and_decided() {
    let found = by_vector("x", [-1.0, -1.0, -1.0]);
    assert_eq!((found.policy.category.as_str(), found.decided), ("default", true));
}

#[test]
fn a_never_cached_example_overrules_a_looser_phrase() {
    assert!(by_vector("opening hours", [1.0, 0.0, 0.0]).is_never_cached());
}

#[test]
fn examples_are_not_asked_for_an_exception() {
    assert!(!by_vector("What is a thing", [1.0, 0.0, 0.0]).is_never_cached());
}

#[test]
fn a_vector_of_another_length_is_no_neighbour() {
    let set = set();
    let odd = Embedding::normalised(vec![1.0, 0.0]).unwrap();
    assert_eq!(set.classify(&ask("x"), Some(&odd), Some(&examples(&set))).policy.category, "default");
}

#[test]
fn stricter_is_shorter_then_exact_then_more_harmful() {
    let set = set();
    let base = set.get("faq").unwrap();
    let with = |change: &dyn Fn(&mut Policy)| {
        let mut policy = Policy::clone(base);
        change(&mut policy);
        Arc::new(policy)
    };
    let shorter = with(&|p| p.freshness.ttl = Duration::from_secs(1));
    let exact = with(&|p| p.reuse.tier = crate::policy::Tier::Exact);
    let harmful = with(&|p| p.reuse.harm = crate::policy::Harm::Harmful);
    assert!(Arc::ptr_eq(set.stricter(base, &harmful), &harmful));
    assert!(Arc::ptr_eq(set.stricter(&exact, &harmful), &exact));
    assert!(Arc::ptr_eq(set.stricter(&exact, &shorter), &shorter));
    let shared = with(&|p| p.reuse.scope = crate::policy::Sharing::Shared);
    assert!(!shared.is_at_least_as_strict_as(base) && base.is_at_least_as_strict_as(&shared));
}
