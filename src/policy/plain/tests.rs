use super::*;
use crate::policy::PolicySet;

/// The sentences of a default policy with these sections.
fn told(sections: &str) -> Vec<String> {
    of("default", sections)
}

/// The sentences of a policy for `category`.
fn of(category: &str, sections: &str) -> Vec<String> {
    let text = format!("category = \"{category}\"\n{sections}");
    let rest = "category = \"default\"\n[freshness]\nttl = \"1h\"\n".to_owned();
    let mut texts = vec![("a.toml".to_owned(), text)];
    if category != "default" {
        texts.push(("default.toml".to_owned(), rest));
    }
    let set = PolicySet::from_texts(&texts, "policies").unwrap();
    let (policy, source) = set.with_sources().next().unwrap();
    plain(policy, &source.typed)
}

fn says(sections: &str, sentence: &str) {
    let told = told(sections);
    assert!(told.iter().any(|said| said == sentence), "{sentence:?} is not in {told:#?}");
}

fn fresh(keys: &str) -> String {
    format!("[freshness]\nttl = \"24h\"\n{keys}\n")
}

fn reuse(keys: &str) -> String {
    format!("[freshness]\nttl = \"24h\"\n[reuse]\n{keys}\n")
}

#[test]
fn a_policy_without_any_setting_tells_its_defaults() {
    assert_eq!(
        told(&fresh("")),
        [
            "An answer that no other policy covers is fresh for 24 hours; after that the next question fetches a new one.",
            "If the model fails, no old answer is shown: the reader gets the error.",
            "A reworded question gets the stored answer only if at most 2 in 100 such answers would be wrong.",
            "A wrong answer here annoys: the reader asks again.",
            "2 in 100 answers to reworded questions are asked again in the background and compared; if more are wrong than \
             the limit, reworded questions go to the model until that is mended.",
            "Answers stay with the API key or login that asked: whoever uses the same one shares them, nobody else does.",
            "An answer is on disk a moment after it was given; a crash may lose the last ones, which are then asked anew.",
            "A question with personal data gets a stored answer only in the same words and with the same API key or login.",
            "An answer with personal data is given again only for the same words, to the same API key or login.",
            "Passwords, keys and card numbers are never kept.",
            "A question belongs here when no other policy recognises it.",
        ]
    );
}

#[test]
fn never_cached_tells_nothing_of_settings_that_have_no_effect() {
    let sections = "[match]\nphrases = [\"in stock\"]\n[freshness]\nttl = \"0s\"\n[reuse]\nscope = \"shared\"\nharm = \"liable\"\n";
    assert_eq!(
        of("live-inventory", sections),
        [
            "Answers about live inventory are never stored: every question goes to the model.",
            "Nothing of them is kept: no question, no answer, no vector, no words in the log.",
            "A wrong answer here is one that we answer for.",
            "A question belongs here when it says \"in stock\".",
        ]
    );
}

#[test]
fn stale_windows_are_told_with_the_oldest_answer_that_they_allow() {
    let refreshed = fresh("stale_while_revalidate = \"1h\"");
    says(
        &refreshed,
        "An answer that no other policy covers is fresh for 24 hours; for one more hour the old answer may be shown while a \
         new one is fetched.",
    );
    says(&refreshed, "If the model fails, nothing older than that is shown: the reader gets the error.");
    says(&refreshed, "Nobody is shown an answer older than 25 hours.");
    let failing = fresh("stale_if_error = \"7d\"");
    says(&failing, "If the model fails, the old answer may be shown for up to 7 days after it stopped being fresh.");
    says(&failing, "Nobody is shown an answer older than 8 days.");
    let both = fresh("stale_while_revalidate = \"2d\"\nstale_if_error = \"1d\"");
    says(&both, "Nobody is shown an answer older than 3 days.");
}

#[test]
fn the_tier_and_the_budget_are_told_by_what_they_do() {
    says(
        &reuse("tier = \"exact\""),
        "Only the same question gets the stored answer; a reworded one goes to the model.",
    );
    says(
        &reuse("max_wrong_hits = 0.005"),
        "A reworded question gets the stored answer only if at most 5 in 1,000 such answers would be wrong.",
    );
    says(
        &reuse("max_wrong_hits = 0"),
        "Only the same question gets the stored answer; a reworded one goes to the model, since none may be wrong.",
    );
    says(
        &reuse("max_wrong_hits = 0.001"),
        "Only the same question gets the stored answer; a reworded one goes to the model: 1 in 1,000 wrong is less than the \
         program can vouch for (3 in 1,000).",
    );
    says(&reuse("max_wrong_hits = 1"), "A reworded question gets the stored answer however many of them are wrong.");
}

#[test]
fn harm_is_told_with_the_budget_that_follows_from_it() {
    says(&reuse("harm = \"harmful\""), "A wrong answer here does harm: the reader loses time or money.");
    says(
        &reuse("harm = \"harmful\""),
        "A reworded question gets the stored answer only if at most 5 in 1,000 such answers would be wrong.",
    );
    says(&reuse("harm = \"liable\""), "A wrong answer here is one that we answer for.");
    says(
        &reuse("harm = \"liable\""),
        "Only the same question gets the stored answer; a reworded one goes to the model.",
    );
}

#[test]
fn the_cost_of_a_wrong_answer_is_told_where_it_has_an_effect() {
    says(
        &reuse("cost_of_wrong_usd = 0.4"),
        "A wrong answer is said to cost 0.40 USD: a reworded question gets the stored answer only where that risk costs less \
         than the hit saves.",
    );
    says(&reuse("cost_of_wrong_usd = 0"), "A wrong answer is said to cost 0.00 USD, which asks for no more care.");
    says(
        &reuse("cost_of_wrong_usd = 0.001\ntier = \"exact\""),
        "A wrong answer is said to cost 0.001 USD; that changes nothing where only the same question is answered.",
    );
}

#[test]
fn audits_are_told_where_there_is_something_to_audit() {
    says(
        &reuse("audit = 0"),
        "None of these is checked in the background: wrong ones are found only when people report them.",
    );
    says(
        &reuse("audit = 1"),
        "All answers to reworded questions are asked again in the background and compared; if more are wrong than the limit, \
         reworded questions go to the model until that is mended.",
    );
    for keys in ["tier = \"exact\"\naudit = 0.5", "max_wrong_hits = 0"] {
        assert!(!told(&reuse(keys)).concat().contains("background"), "{keys}");
    }
}

#[test]
fn who_shares_and_who_may_write_is_told_together() {
    says(
        &reuse("scope = \"tenant\""),
        "Everyone of the same tenant shares the answers; they come from apps with a provider's own key, and from gateway \
         keys with the scope \"shared\".",
    );
    says(
        &reuse("scope = \"shared\"\nwriters = [\"editor\", \"bot\"]"),
        "Everyone shares the answers, whoever asked first; only \"editor\" and \"bot\" may write them, and what others ask \
         stays with their own key.",
    );
    says(
        &reuse("scope = \"shared\"\nwriters = []"),
        "Everyone shares the answers, whoever asked first, but nobody may write them: what is asked now stays with the key \
         that asked.",
    );
}

#[test]
fn the_write_mode_is_told_by_what_a_crash_costs() {
    says(&reuse("write = \"through\""), "An answer is on disk before its last word is sent: a crash loses none.");
    says(
        &reuse("write = \"around\""),
        "This gateway stores none of these answers itself; it only serves what came into its store another way.",
    );
}

#[test]
fn personal_data_is_told_for_questions_and_answers() {
    let privacy = |questions: &str, answers: &str| {
        format!("{}[privacy]\nquestions = \"{questions}\"\nanswers = \"{answers}\"\n", fresh(""))
    };
    says(&privacy("keep-out", "allow"), "A question with personal data is neither looked up nor kept.");
    says(&privacy("keep-out", "allow"), "Personal data in an answer changes nothing.");
    says(&privacy("allow", "keep-out"), "Personal data in a question changes nothing.");
    says(&privacy("allow", "keep-out"), "An answer with personal data is not kept.");
    says(&privacy("exact", "allow"), "A question with a password, a key or a card number is never kept.");
    says(&privacy("allow", "exact"), "An answer with a password, a key or a card number is never kept.");
    assert!(!told(&privacy("allow", "allow")).concat().contains("card number"));
}

#[test]
fn how_questions_are_recognised_is_told_with_a_few_of_each_kind() {
    let matched = |keys: &str| {
        let told = of("product-faq", &format!("[match]\n{keys}\n[freshness]\nttl = \"1h\"\n"));
        told.last().unwrap().clone()
    };
    assert_eq!(
        matched(
            "phrases = [\"a\", \"b\", \"c\"]\npatterns = ['x+', 'y+']\nexamples = [\"How?\"]\nmin_similarity = 0.5"
        ),
        "A question belongs here when it says \"a\", \"b\" or one more phrase, or it fits one of 2 patterns, or its meaning is \
         near (similarity 0.50 or more) to its example \"How?\"."
    );
    assert_eq!(
        matched("paths = [\"/v1/chat/*\"]\nmodels = [\"gpt-4o*\", \"o3\"]\nsystem = [\"help desk\"]"),
        "A question belongs here when its request goes to \"/v1/chat/*\", asks the model \"gpt-4o*\" or \"o3\" and has \"help \
         desk\" in its system prompt."
    );
    assert_eq!(of("embeddings", "[freshness]\nttl = \"1h\"\n").last().unwrap(), "Requests for embeddings belong here.");
    assert!(of("embeddings", "[freshness]\nttl = \"0s\"\n")[0].starts_with("Vectors of texts are never stored"));
}

#[test]
fn volatile_wording_is_told_by_the_file_that_holds_it() {
    let volatile = "[[volatile]]\nttl = \"0s\"\nphrases = [\"today\"]\npatterns = ['now$']\n[[volatile]]\nttl = \"5m\"\nphrases = [\"recently\"]\n";
    let sections = format!("{}{volatile}", fresh(""));
    says(
        &sections,
        "In any category, a question that says \"today\" or fits a pattern is never answered from the store.",
    );
    says(&sections, "In any category, an answer to a question that says \"recently\" is fresh for 5 minutes at most.");
}
