//! Who may be served what (I1): only the same credential, the same parameters and the same history share.

use serde_json::{Value, json};

use crate::harness::{Setup, TestGateway, user, with};

const ASKED: &str = "How do I descale a kettle?";
const REWORDED: &str = "How can I descale a kettle?";

#[tokio::test(flavor = "multi_thread")]
async fn case_51_two_credentials_never_share_an_answer_exactly_or_by_meaning() {
    let gateway = TestGateway::start().await;
    gateway.chat_with(&user(ASKED), &[("authorization", "Bearer sk-a")]).await;
    for (headers, who) in [
        (&[("authorization", "Bearer sk-b")][..], "another key"),
        (&[("authorization", "Bearer sk-a"), ("openai-organization", "org-2")], "another organisation"),
        (&[("authorization", "Bearer sk-a"), ("x-semblance-namespace", "n2")], "another namespace"),
        (&[("authorization", ""), ("x-api-key", "sk-a")], "the same text in another header"),
    ] {
        for question in [ASKED, REWORDED] {
            // Leaves nothing behind that the next question could rightly be served.
            let asked = [headers, &[("cache-control", "only-if-cached")]].concat();
            let answer = gateway.chat_with(&user(question), &asked).await;
            assert_eq!((answer.status, answer.outcome()), (504, "miss"), "{who}: {question}");
        }
    }
    let own = gateway.chat_with(&user(REWORDED), &[("authorization", "Bearer sk-a")]).await;
    assert_eq!(own.outcome(), "hit-semantic");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_39_to_48_whatever_shapes_the_answer_keeps_it_apart_and_a_paraphrase_under_the_same_hits() {
    let tool = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let system = |text: &str| json!([{"role": "system", "content": text}, {"role": "user", "content": ASKED}]);
    let history = json!([
        {"role": "user", "content": "Tell me about kettles."},
        {"role": "assistant", "content": "They boil water."},
        {"role": "user", "content": ASKED},
    ]);
    let variants = [
        json!({"model": "gpt-4o"}),
        json!({"temperature": 0}),
        json!({"temperature": 0.1}),
        json!({"top_p": 0.5}),
        json!({"top_k": 5}),
        json!({"top_k": 6}),
        json!({"stop": ["x"]}),
        json!({"tools": tool}),
        json!({"tools": tool, "tool_choice": "required"}),
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}}),
        json!({"messages": system("Be brief.")}),
        json!({"messages": system("Be brief!")}),
        json!({"messages": history}),
        json!({"messages": [{"role": "assistant", "content": ASKED}]}),
        json!({"messages": [{"role": "user", "name": "bob", "content": ASKED}]}),
    ];
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    for variant in &variants {
        assert_eq!(gateway.chat(&with(user(ASKED), variant)).await.outcome(), "miss", "{variant}");
    }
    for variant in variants.iter().filter(|v| v.get("messages").is_none() && v.get("response_format").is_none()) {
        let answer = gateway.chat(&with(user(REWORDED), variant)).await;
        assert_eq!(answer.outcome(), "hit-semantic", "{variant}");
    }
    let same = |question: &str| {
        let mut turns = history.clone();
        turns[2]["content"] = Value::from(question);
        json!({"model": "gpt-4o-mini", "messages": turns})
    };
    assert_eq!(gateway.chat(&same(REWORDED)).await.outcome(), "hit-semantic", "under an identical history");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_45_an_image_is_part_of_the_question() {
    let gateway = TestGateway::start().await;
    let seen = |url: &str| {
        let parts = json!([{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]);
        with(user(""), &json!({"messages": [{"role": "user", "content": parts}]}))
    };
    assert_eq!(gateway.chat(&seen("data:image/png;base64,AAAA")).await.outcome(), "miss");
    assert_eq!(gateway.chat(&seen("data:image/png;base64,AAAA")).await.outcome(), "hit-exact");
    assert_eq!(gateway.chat(&seen("data:image/png;base64,AAAB")).await.outcome(), "miss");
    assert_eq!(gateway.chat(&seen("https://example.com/a.png")).await.outcome(), "bypass");
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_38_and_41_what_does_not_shape_the_answer_does_not_keep_it_apart() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    for variant in [
        json!({"stream": false}),
        json!({"tools": []}),
        json!({"user": "u1"}),
        json!({"metadata": {"k": "v"}}),
        json!({"service_tier": "auto"}),
        json!({"prompt_cache_key": "p"}),
        json!({"messages": [{"content": [{"type": "text", "text": ASKED}], "role": "user"}]}),
    ] {
        assert_eq!(gateway.chat(&with(user(ASKED), &variant)).await.outcome(), "hit-exact", "{variant}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_43_a_follow_up_is_answered_from_its_own_history_only() {
    let gateway = TestGateway::start().await;
    let follow_up = |country: &str| {
        json!({"model": "gpt-4o-mini", "messages": [
            {"role": "user", "content": format!("What is the capital of {country}?")},
            {"role": "assistant", "content": "A city."},
            {"role": "user", "content": "And how many people live there?"},
        ]})
    };
    gateway.chat(&follow_up("France")).await;
    assert_eq!(gateway.chat(&follow_up("France")).await.outcome(), "hit-exact");
    assert_eq!(gateway.chat(&follow_up("Spain")).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_cross_credentials_only_where_the_policy_says_shared() {
    let shared = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\n";
    let gateway = Setup::new().policies(&[("default.toml", shared)]).start().await;
    gateway.chat_with(&user(ASKED), &[("authorization", "Bearer sk-a")]).await;
    let other = gateway.chat_with(&user(ASKED), &[("authorization", "Bearer sk-b")]).await;
    assert_eq!(other.outcome(), "hit-exact");
    let reworded = gateway.chat_with(&user(REWORDED), &[("authorization", "Bearer sk-c")]).await;
    assert_eq!(reworded.outcome(), "hit-semantic");
    let separate = [("authorization", "Bearer sk-d"), ("x-semblance-namespace", "mine")];
    assert_eq!(gateway.chat_with(&user(ASKED), &separate).await.outcome(), "miss");
}
