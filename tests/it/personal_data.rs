//! Personal data and secrets: kept out, or for the same question of the same credential only, as the policy says.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use semblance::{
    embed::{EmbedError, Embedder},
    similarity::Embedding,
    upstream::scripted::Reply,
};
use serde_json::json;

use crate::harness::{Answer, Setup, SharedMiniLm, TestGateway, streaming, user, with};

const KEY: &str = "sk-proj-AbCdEf0123456789GhIjKl";
const ASKED: &str = "How do I descale the kettle that jane.doe@gmail.com gave me?";
const REWORDED: &str = "How can I descale the kettle that jane.doe@gmail.com gave me?";
const PLAIN: &str = "How do I descale a kettle?";
const PLAIN_REWORDED: &str = "How can I descale a kettle?";

/// One policy, shared among all, with this `[privacy]`.
fn shared(privacy: &str) -> String {
    format!("category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\n[privacy]\n{privacy}\n")
}

async fn under(privacy: &str) -> TestGateway {
    Setup::new().policies(&[("default.toml", &shared(privacy))]).start().await
}

async fn ask_as(gateway: &TestGateway, question: &str, who: &str) -> Answer {
    gateway.chat_with(&user(question), &[("authorization", who)]).await
}

/// Whether any file of the gateway's data holds `text`, once everything is written.
async fn on_disk(gateway: &TestGateway, text: &str) -> bool {
    gateway.app.store().flush().await.unwrap();
    let mut dirs = vec![gateway.data_dir().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
                return true;
            }
        }
    }
    false
}

/// The real model, remembering what it was given.
#[derive(Debug)]
struct Overheard(Mutex<Vec<String>>);

impl Embedder for Overheard {
    fn embed(&self, text: &str) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        self.0.lock().unwrap().push(text.to_owned());
        let text = text.to_owned();
        Box::pin(async move { SharedMiniLm::get().embed(&text).await })
    }

    fn fingerprint(&self) -> &str {
        "overheard"
    }

    fn dimensions(&self) -> usize {
        SharedMiniLm::get().dimensions()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_the_question_is_for_the_same_question_of_the_same_credential_only() {
    let gateway = under("").await;
    gateway.script.always(Reply::text("With vinegar."));
    let first = ask_as(&gateway, ASKED, "Bearer a").await;
    assert_eq!(first.outcome(), "miss");
    assert!(first.header("cache-status").contains("detail=personal-data"), "{}", first.header("cache-status"));
    assert_eq!(ask_as(&gateway, ASKED, "Bearer a").await.outcome(), "hit-exact");
    assert_eq!(ask_as(&gateway, REWORDED, "Bearer a").await.outcome(), "miss");
    assert_eq!(ask_as(&gateway, ASKED, "Bearer b").await.outcome(), "miss");
    assert!(!on_disk(&gateway, "jane.doe").await);
    assert_eq!(gateway.admin_get("/semblance/stats").await["index_vectors"], 0);
    // Without the address both are as shared as the policy says.
    assert_eq!(ask_as(&gateway, PLAIN, "Bearer a").await.outcome(), "miss");
    assert_eq!(ask_as(&gateway, PLAIN, "Bearer b").await.outcome(), "hit-exact");
    assert_eq!(ask_as(&gateway, PLAIN_REWORDED, "Bearer b").await.outcome(), "hit-semantic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_question_goes_to_the_upstream_and_nowhere_else() {
    let overheard = Arc::new(Overheard(Mutex::default()));
    let mut setup = Setup::new();
    setup.embedder = Arc::<Overheard>::clone(&overheard);
    let gateway = setup.start().await;
    let question = format!("Why does {KEY} not work any more?");
    for body in [user(&question), streaming(user(&question)), user(&question)] {
        let calls = gateway.calls();
        let answer = gateway.chat(&body).await;
        assert_eq!((answer.status, answer.outcome()), (200, "bypass"));
        assert!(answer.header("cache-status").contains("detail=personal-data"), "{}", answer.header("cache-status"));
        assert_eq!(gateway.calls(), calls + 1);
    }
    assert_eq!(gateway.script.last().unwrap().json()["messages"][0]["content"], question, "as the client wrote it");
    let earlier = json!({"model": "gpt-4o-mini", "messages": [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "Make a new one."},
        {"role": "user", "content": "How?"},
    ]});
    assert_eq!(gateway.chat(&earlier).await.outcome(), "bypass", "in an earlier turn");
    let only = gateway.chat_with(&user(&question), &[("cache-control", "only-if-cached")]).await;
    assert_eq!(only.status, 504);
    assert_eq!(gateway.admin_get("/semblance/stats").await["entries"], 0);
    assert!(!on_disk(&gateway, KEY).await);
    // Every shipped policy keeps keys out, so nobody had to ask which one holds.
    assert!(!overheard.0.lock().unwrap().iter().any(|text| text.contains(KEY) || text.contains("not work any more")));
    let metrics = gateway.client.get(gateway.admin("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("reason=\"personal-data\"} 4"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_matched_by_fingerprint_only_gets_to_the_embedder_masked() {
    let overheard = Arc::new(Overheard(Mutex::default()));
    let mut setup = Setup::new();
    setup.embedder = Arc::<Overheard>::clone(&overheard);
    let gateway = setup.start().await;
    gateway.script.always(Reply::text("With vinegar."));
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    let texts = overheard.0.lock().unwrap().clone();
    assert!(
        texts.iter().any(|text| text.contains("kettle that (an e-mail address) gave me")),
        "the category was asked"
    );
    assert!(!texts.iter().any(|text| text.contains("jane.doe")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_keeps_personal_data_out_bypasses_by_rules_and_by_meaning() {
    let out = "category = \"help\"\n[match]\nphrases = [\"kettle\"]\nexamples = [\"How do I clean my coffee machine?\"]\n\
               [freshness]\nttl = \"1h\"\n[privacy]\nquestions = \"keep-out\"\nanswers = \"keep-out\"\n";
    let default = "category = \"default\"\n[freshness]\nttl = \"1h\"\n";
    let gateway = Setup::new().policies(&[("default.toml", default), ("help.toml", out)]).start().await;
    gateway.script.always(Reply::text("With vinegar."));
    for question in [ASKED, "How do I clean the coffee machine of jane.doe@gmail.com?"] {
        for _ in 0..2 {
            let answer = gateway.ask(question).await;
            assert_eq!((answer.outcome(), answer.header("x-semblance-category")), ("bypass", "help"), "{question}");
            assert!(answer.header("cache-status").contains("detail=personal-data"), "{question}");
        }
    }
    gateway.script.always(Reply::text("Ask jane.doe@gmail.com."));
    for _ in 0..2 {
        assert_eq!(gateway.ask(PLAIN).await.outcome(), "miss", "the answer is kept out as well");
    }
    gateway.script.always(Reply::text("With vinegar."));
    assert_eq!(gateway.ask(PLAIN).await.outcome(), "miss");
    assert_eq!(gateway.ask(PLAIN_REWORDED).await.outcome(), "hit-semantic");
    assert!(!on_disk(&gateway, "jane.doe").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_allows_personal_data_matches_it_by_meaning() {
    let gateway = under("questions = \"allow\"\nanswers = \"allow\"").await;
    gateway.script.always(Reply::text("Ask jane.doe@gmail.com."));
    assert_eq!(ask_as(&gateway, ASKED, "Bearer a").await.outcome(), "miss");
    assert_eq!(ask_as(&gateway, REWORDED, "Bearer b").await.outcome(), "hit-semantic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_number_in_the_answer_is_not_stored() {
    let gateway = TestGateway::start().await;
    gateway.script.always(Reply::text("Use the test card 4111 1111 1111 1111."));
    for body in [user(PLAIN), user(PLAIN), streaming(user(PLAIN))] {
        let answer = gateway.chat(&body).await;
        assert_eq!(answer.outcome(), "miss");
        assert!(answer.body.contains("4111"));
        if body["stream"].is_null() {
            assert!(answer.header("cache-status").contains("personal-data"), "{}", answer.header("cache-status"));
        }
    }
    assert_eq!(gateway.admin_get("/semblance/stats").await["entries"], 0);
    assert!(!on_disk(&gateway, "4111 1111").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_the_answer_keeps_it_to_its_own_question_and_credential() {
    let gateway = under("questions = \"exact\"").await;
    gateway.script.always(Reply::text("Ask jane.doe@gmail.com."));
    assert_eq!(ask_as(&gateway, PLAIN, "Bearer a").await.outcome(), "miss");
    assert_eq!(ask_as(&gateway, PLAIN, "Bearer a").await.outcome(), "hit-exact");
    assert_eq!(ask_as(&gateway, PLAIN_REWORDED, "Bearer a").await.outcome(), "miss");
    assert_eq!(ask_as(&gateway, PLAIN, "Bearer b").await.outcome(), "miss");
    assert_eq!(gateway.admin_get("/semblance/stats").await["index_vectors"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_centres_own_address_is_public_and_so_is_what_the_system_prompt_says() {
    let gateway = TestGateway::start().await;
    gateway.script.always(Reply::text("Write to help@acme-support.com or call +1 212 867 5309."));
    let faq = "What is your refund policy for shoes?";
    let first = gateway.ask(faq).await;
    assert_eq!((first.outcome(), first.header("x-semblance-category")), ("miss", "product-faq"));
    assert_eq!(gateway.ask("what's your refund policy for shoes").await.outcome(), "hit-semantic");

    let said = |system: &str, question: &str| {
        let turns = json!([{"role": "system", "content": system}, {"role": "user", "content": question}]);
        with(user(""), &json!({"messages": turns}))
    };
    let gateway = under("").await;
    gateway.script.always(Reply::text("Write to help@acme-support.com."));
    let known = "You serve Acme; help@acme-support.com takes complaints.";
    assert_eq!(gateway.chat(&said(known, PLAIN)).await.outcome(), "miss");
    assert_eq!(gateway.chat(&said(known, PLAIN_REWORDED)).await.outcome(), "hit-semantic");
    assert_eq!(gateway.chat(&said("You serve Acme.", PLAIN)).await.outcome(), "miss");
    assert_eq!(gateway.chat(&said("You serve Acme.", PLAIN_REWORDED)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn todays_policy_decides_about_what_an_older_one_let_in() {
    let gateway = under("questions = \"allow\"\nanswers = \"allow\"").await;
    gateway.script.answer(ASKED, "With vinegar.");
    gateway.script.answer(PLAIN, "Ask jane.doe@gmail.com.");
    gateway.script.answer(PLAIN_REWORDED, "Ask jane.doe@gmail.com.");
    for question in [ASKED, PLAIN] {
        gateway.ask(question).await;
        assert_eq!(ask_as(&gateway, question, "Bearer b").await.outcome(), "hit-exact");
    }
    for (privacy, what) in [("", "miss"), ("questions = \"keep-out\"\nanswers = \"keep-out\"", "bypass")] {
        std::fs::write(gateway.policy_file("default.toml"), shared(privacy)).unwrap();
        assert_eq!(gateway.admin_post("/semblance/policies/reload", &json!({})).await.0, 200);
        assert_eq!(ask_as(&gateway, ASKED, "Bearer c").await.outcome(), what, "{privacy}");
        assert_eq!(ask_as(&gateway, PLAIN, "Bearer c").await.outcome(), "miss", "{privacy}");
        assert_eq!(ask_as(&gateway, PLAIN_REWORDED, "Bearer c").await.outcome(), "miss", "{privacy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_element_of_a_batch_is_shared_unless_it_is_personal_and_a_key_keeps_the_batch_out() {
    let embeddings =
        "category = \"embeddings\"\n[freshness]\nttl = \"1h\"\n[reuse]\ntier = \"exact\"\nscope = \"shared\"\n";
    let files = [("default.toml", shared("")), ("embeddings.toml", embeddings.to_owned())];
    let gateway = Setup::new().policies(&files.each_ref().map(|(name, text)| (*name, text.as_str()))).start().await;
    let batch = async |input: &[&str], who: &str| {
        let body = json!({"model": "text-embedding-3-small", "input": input});
        gateway.post("/v1/embeddings", &body, &[("authorization", who)]).await
    };
    let mine = "Mail jane.doe@gmail.com.";
    assert_eq!(batch(&["Kettles boil.", mine], "Bearer a").await.outcome(), "miss");
    assert_eq!(batch(&["Kettles boil.", mine], "Bearer a").await.outcome(), "hit-exact");
    assert_eq!(batch(&["Kettles boil."], "Bearer b").await.outcome(), "hit-exact");
    assert_eq!(batch(&[mine], "Bearer b").await.outcome(), "miss");
    let secret = format!("The key is {KEY}.");
    for _ in 0..2 {
        let answer = batch(&["Kettles boil.", &secret], "Bearer a").await;
        assert_eq!((answer.status, answer.outcome()), (200, "bypass"));
        assert!(answer.header("cache-status").contains("detail=personal-data"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_names_the_kind_and_never_the_data() {
    let gateway = under("").await;
    gateway.script.always(Reply::text("With vinegar."));
    gateway.ask(PLAIN).await;
    let (status, pair) = gateway.admin_post("/semblance/explain", &json!({"ask": ASKED, "cached": REWORDED})).await;
    assert_eq!((status, &pair["decision"], &pair["reason"]), (200, &json!("miss"), &json!("personal-data")));
    assert_eq!(pair["personal_data"], "email");
    let (_, own) = gateway.admin_post("/semblance/explain", &json!({"ask": ASKED})).await;
    assert_eq!((&own["decision"], &own["personal_data"]), (&json!("miss"), &json!("email")));
    assert!(!format!("{pair}{own}").contains("jane"));
    let (_, plain) = gateway.admin_post("/semblance/explain", &json!({"ask": PLAIN_REWORDED})).await;
    assert_eq!((&plain["decision"], plain.get("personal_data")), (&json!("hit"), None));
}
