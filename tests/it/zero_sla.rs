//! What must never leave a trace (I5): not stored, not served, not in the files.

use semblance::{
    embed::Embedder,
    policy::{Examples, Facts, PolicySet},
};

use crate::harness::{SharedMiniLm, TestGateway, streaming, user};

/// Six wordings each of what is never cached.
const NEVER: &[&str] = &[
    "What is my account balance?",
    "account balance pls",
    "Could you please tell me how much money is left in my account?",
    "hw much do i hav in my acct",
    "I'd like to know the balance of my current account.",
    "I got paid yesterday, so what does my account hold at this point?",
    "Is seat 12A still free?",
    "seat 12A available",
    "I was hoping to sit in 12A. Has somebody taken that seat?",
    "Can you check whether seat 12A is open on this flight?",
    "is 12a taken or not",
    "Would it be possible to find out if seat 12A has not been booked yet?",
    "What do my blood test results say?",
    "my blood test results",
    "The lab sent over my bloodwork. Are my values normal?",
    "Could you explain what the results of my blood test mean for me?",
    "did my blood tests come back ok",
    "I had blood drawn on Monday, what did my results show?",
];

#[tokio::test(flavor = "multi_thread")]
async fn balances_seats_and_test_results_are_never_stored_and_never_served() {
    let gateway = TestGateway::start().await;
    for question in NEVER {
        for body in [user(question), streaming(user(question))] {
            let before = gateway.calls();
            let answer = gateway.chat(&body).await;
            assert_eq!(answer.outcome(), "bypass", "{question}: {}", answer.header("cache-status"));
            assert_eq!(gateway.calls(), before + 1, "{question}");
        }
    }
    gateway.app.store().flush().await.unwrap();
    let stats = gateway.admin_get("/semblance/stats").await;
    assert_eq!((stats["entries"].as_u64(), stats["index_vectors"].as_u64()), (Some(0), Some(0)));
    for file in std::fs::read_dir(gateway.data_dir()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for question in NEVER {
            // Examples of the policies are kept by digest, so no text of any question may be in a file.
            assert!(!contains(&bytes, question.as_bytes()), "{question}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_rests_on_an_earlier_zero_sla_turn_is_not_stored_either() {
    let gateway = TestGateway::start().await;
    let body = serde_json::json!({"model": "gpt-4o-mini", "messages": [
        {"role": "user", "content": "What is my account balance?"},
        {"role": "assistant", "content": "120 euros."},
        {"role": "user", "content": "And in dollars?"},
    ]});
    for _ in 0..2 {
        assert_eq!(gateway.chat(&body).await.outcome(), "bypass");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_turn_that_only_meaning_knows_as_zero_sla_counts_as_well() {
    let gateway = TestGateway::start().await;
    let first = "how much dough do I have left with you guys";
    assert_eq!(gateway.ask(first).await.outcome(), "bypass");
    let body = serde_json::json!({"model": "gpt-4o-mini", "messages": [
        {"role": "user", "content": first},
        {"role": "assistant", "content": "120 euros."},
        {"role": "user", "content": "Say that in dollars."},
    ]});
    for _ in 0..2 {
        assert_eq!(gateway.chat(&body).await.outcome(), "bypass");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zero_sla_question_at_the_end_of_a_long_paste_is_not_stored() {
    let gateway = TestGateway::start().await;
    let paste = "The harvest was good and the barns are full. ".repeat(60);
    for _ in 0..2 {
        let answer = gateway.ask(&format!("{paste} By the way, how much dough do I have left with you guys?")).await;
        assert_eq!(answer.outcome(), "bypass");
    }
}

/// The corpus with the real model: personal and live questions are told, general ones are left to the cache.
#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_policies_tell_personal_questions_from_general_ones() {
    let (set, model) = (PolicySet::shipped().unwrap(), SharedMiniLm::get());
    let mut examples = Vec::new();
    for (category, text) in set.example_texts() {
        examples.push((category.to_owned(), text.to_owned(), model.embed(text).await.unwrap()));
    }
    let examples = Examples::new(&set, model.fingerprint(), examples);
    let mut counts = [(0, 0), (0, 0)];
    for file in ["personal", "unseen-personal", "general", "unseen-general"] {
        let path = format!("{}/tests/data/zero-sla/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let query = line["text"].as_str().unwrap();
            let vector = model.embed(query).await.unwrap();
            let class = set.classify(&Facts { query, ..Facts::default() }, Some(&vector), Some(&examples));
            let (never, all) = &mut counts[usize::from(file.ends_with("general"))];
            *never += usize::from(class.is_never_cached());
            *all += 1;
        }
    }
    let [(told, personal), (alarms, general)] = counts;
    assert!(personal >= 300 && told * 100 >= personal * 97, "{told} of {personal} personal questions told");
    // These were written to look personal; of ordinary questions far fewer are taken for it.
    assert!(general >= 250 && alarms * 10 <= general, "{alarms} of {general} look-alikes taken for personal");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
