//! Questions with answers that an operator writes, asked by real clients.

use semblance::keys::{
    Right,
    file::{self, Order},
};
use serde_json::{Value, json};

use super::{ASKED, REWORDED, ask_as, came_to, imported, semblance};
use crate::harness::{START, Setup, TestGateway, streaming, user, with};

const SHARED: &str = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\n";
const OWN: &str = "category = \"own\"\n[match]\nphrases = [\"my own thing\"]\n[freshness]\nttl = \"1h\"\n";
const NEVER: &str = "category = \"never\"\n[match]\nphrases = [\"my balance\"]\n[freshness]\nttl = \"0s\"\n[reuse]\nwrite = \"around\"\n";

/// A line for [`ASKED`] with these further members.
fn line(members: &Value) -> String {
    with(json!({"question": ASKED, "answer": "Open settings.", "model": "gpt-4o-mini"}), members).to_string()
}

async fn sharing() -> TestGateway {
    Setup::new().policies(&[("default.toml", SHARED), ("own.toml", OWN), ("never.toml", NEVER)]).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_written_question_is_served_its_answer_in_any_shape_and_wording() {
    let gateway = TestGateway::start().await;
    let more = json!({"credential": "sk-test", "category": "product-faq", "tags": ["faq"], "sources": ["doc:2fa@v3"]});
    came_to(&imported(&gateway, &line(&more)).await, [1, 0, 0, 0, 0]);
    let exact = gateway.ask(ASKED).await;
    assert_eq!((exact.outcome(), exact.content().as_str()), ("hit-exact", "Open settings."));
    assert_eq!(exact.header("x-semblance-category"), "product-faq");
    assert_eq!(gateway.chat(&streaming(user(ASKED))).await.streamed(), "Open settings.");
    assert_eq!(gateway.ask(REWORDED).await.outcome(), "hit-semantic");
    let limited = gateway.chat(&with(user(ASKED), &json!({"max_tokens": 100}))).await;
    assert_eq!((limited.outcome(), gateway.calls()), ("hit-exact", 0));
    assert_eq!(ask_as(&gateway, ASKED, "sk-other").await.outcome(), "miss", "it is one credential's");
    let other = gateway.chat(&with(user(ASKED), &json!({"model": "gpt-4o"}))).await;
    assert_eq!(other.outcome(), "miss", "it is one model's");
    for selector in [json!({"tag": "faq", "dry_run": true}), json!({"source": "doc:2fa", "dry_run": true})] {
        let (_, counted) = gateway.admin_post("/semblance/purge", &selector).await;
        assert_eq!(counted["purged"], 1, "{selector}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_written_question_is_found_in_each_protocol_and_model_that_it_names() {
    let gateway = sharing().await;
    let families = ["chat", "messages", "ollama", "gemini"];
    let written = json!({"question": ASKED, "answer": "Open settings.", "models": ["m-1", "m-2"], "family": families, "system": "Be brief."});
    came_to(&imported(&gateway, &written.to_string()).await, [8, 0, 0, 0, 0]);
    let user = json!({"role": "user", "content": ASKED});
    let system = json!({"role": "system", "content": "Be brief."});
    let chat = json!({"model": "m-2", "messages": [system, user]});
    assert_eq!(gateway.chat(&chat).await.outcome(), "hit-exact");
    let messages = json!({"model": "m-1", "max_tokens": 256, "system": "Be brief.", "messages": [user]});
    let headers = [("x-api-key", "sk-ant"), ("anthropic-version", "2023-06-01"), ("authorization", "")];
    let answer = gateway.post("/v1/messages", &messages, &headers).await;
    assert_eq!((answer.outcome(), &answer.json()["content"][0]["text"]), ("hit-exact", &json!("Open settings.")));
    let ollama = json!({"model": "m-1", "messages": [system, user], "stream": false});
    let answer = gateway.post("/api/chat", &ollama, &[]).await;
    assert_eq!((answer.outcome(), &answer.json()["message"]["content"]), ("hit-exact", &json!("Open settings.")));
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": ASKED}]}], "systemInstruction": {"parts": [{"text": "Be brief."}]}});
    for path in ["/v1beta/models/m-2:generateContent", "/v1beta/models/m-2:streamGenerateContent?alt=sse"] {
        let answer = gateway.post(path, &gemini, &[("x-goog-api-key", "k"), ("authorization", "")]).await;
        assert_eq!(answer.outcome(), "hit-exact", "{path}: {}", answer.body);
        assert!(answer.body.contains("Open settings."));
    }
    assert_eq!(gateway.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_answer_is_everybodys_and_one_that_is_not_shared_needs_an_owner() {
    let gateway = sharing().await;
    let lines = [
        line(&json!({"scope": "shared"})),
        line(&json!({"question": "What is a mole in chemistry?", "category": "own"})),
        line(&json!({"scope": "credential"})),
        line(&json!({"scope": "shared", "holder": "app"})),
        line(&json!({"category": "nowhere"})),
    ];
    let report = imported(&gateway, &lines.join("\n")).await;
    came_to(&report, [1, 0, 0, 0, 4]);
    let says = |at: usize, word: &str| {
        assert!(report["errors"][at]["message"].as_str().unwrap().contains(word), "{}", report["errors"][at]);
    };
    says(0, "answers of category own are kept for each credential: say whose");
    says(1, "is not \"shared\"");
    says(2, "leave out");
    says(3, "no category \"nowhere\"");
    assert_eq!(ask_as(&gateway, ASKED, "sk-anybody").await.outcome(), "hit-exact");
    assert_eq!(ask_as(&gateway, REWORDED, "sk-somebody").await.outcome(), "hit-semantic");
    let erase = json!({"credential": "sk-anybody"});
    assert_eq!(gateway.admin_post("/semblance/purge", &erase).await.0, 200);
    assert_eq!(ask_as(&gateway, ASKED, "sk-anybody").await.outcome(), "hit-exact", "it was nobody's question");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_never_cached_category_and_no_personal_data_is_brought_in() {
    let private = "category = \"private\"\n[match]\nphrases = [\"my private thing\"]\n[freshness]\nttl = \"1h\"\n[privacy]\nquestions = \"keep-out\"\nanswers = \"keep-out\"\n";
    let files = [("default.toml", SHARED), ("never.toml", NEVER), ("private.toml", private)];
    let gateway = Setup::new().policies(&files).start().await;
    let lines = [
        line(&json!({"question": "What is my balance today?"})),
        line(&json!({"question": "What is my balance today?", "category": "default"})),
        line(&json!({"category": "never"})),
        line(&json!({"category": "private", "answer": "Write to jane.doe@gmail.com.", "holder": "app"})),
        line(&json!({"question": "What does jane.doe@gmail.com want to know?"})),
    ];
    let report = imported(&gateway, &lines.join("\n")).await;
    came_to(&report, [0, 0, 0, 0, 5]);
    let says = |at: usize, word: &str| {
        assert!(report["errors"][at]["message"].as_str().unwrap().contains(word), "{}", report["errors"][at]);
    };
    (0..3).for_each(|at| says(at, "never cached"));
    says(3, "personal data");
    says(4, "for one credential alone");
    assert_eq!(gateway.admin_get("/semblance/entries").await["entries"], json!([]));
    let whose = line(&json!({"question": "What does jane.doe@gmail.com want to know?", "credential": "sk-test"}));
    came_to(&imported(&gateway, &whose).await, [1, 0, 0, 0, 0]);
    assert_eq!(gateway.admin_get("/semblance/entries").await["entries"][0]["query"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_reads_credentials_from_variables_and_says_which_lines_failed() {
    let gateway = TestGateway::start().await;
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        line(&json!({"credential_env": "APP_KEY"})),
        "nonsense".to_owned(),
        line(&json!({"question": "Who wrote Emma?", "credential_env": "NOT_SET"})),
    ];
    std::fs::write(dir.path().join("faq.jsonl"), lines.join("\n")).unwrap();
    let admin = gateway.app.admin.to_string();
    let import = |more: &[&str]| {
        let args = [&["import", "faq.jsonl", "--admin", &admin], more].concat();
        semblance(&args, dir.path(), &[("APP_KEY", "sk-test")])
    };
    let dry = import(&["--dry-run", "--json"]);
    assert_eq!(dry.status.code(), Some(1), "{dry:?}");
    let dry: Value = serde_json::from_slice(&dry.stdout).unwrap();
    came_to(&dry, [1, 0, 0, 0, 2]);
    assert_eq!(gateway.ask("What is a mole?").await.outcome(), "miss");
    let done = import(&["--resume"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(text.contains("imported 1 new") && text.contains("2 of 3 lines failed"), "{text}");
    assert!(text.contains("line 2: ") && text.contains("line 3: credential_env: the variable NOT_SET"), "{text}");
    assert_eq!(gateway.ask(ASKED).await.content(), "Open settings.");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the file");
    let exported = semblance(&["export", "--admin", &admin], dir.path(), &[]);
    assert_eq!(String::from_utf8(exported.stdout).unwrap().lines().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_named_by_key_holder_or_principal_too() {
    let gateway = TestGateway::start().await;
    let order = Order { name: "app".to_owned(), rights: vec![Right::Read], rate: None, lifetime: None };
    let (key, _) = file::add(gateway.data_dir(), order, START).unwrap();
    gateway.ask("Who wrote Emma?").await;
    gateway.app.store().flush().await.unwrap();
    let principal = gateway.admin_get("/semblance/entries").await["entries"][0]["principal"].clone();
    let lines = [
        line(&json!({"holder": "app"})),
        line(&json!({"question": "Do you ship to Norway?", "credential": key})),
        line(&json!({"question": "Do you ship to Sweden?", "principal": principal})),
        line(&json!({"holder": "app", "principal": principal})),
        line(&json!({"holder": "a b"})),
    ];
    let report = imported(&gateway, &lines.join("\n")).await;
    came_to(&report, [3, 0, 0, 0, 2]);
    assert_eq!(ask_as(&gateway, ASKED, &key).await.outcome(), "hit-exact");
    assert_eq!(ask_as(&gateway, "Do you ship to Norway?", &key).await.outcome(), "hit-exact");
    assert_eq!(gateway.ask("Do you ship to Sweden?").await.outcome(), "hit-exact");
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn further_members_and_headers_are_part_of_the_question_and_sources_are_not() {
    let gateway = TestGateway::start().await;
    let more = json!({
        "credential": "sk-test", "params": {"temperature": 0.2}, "headers": {"openai-organization": "org-1"},
        "namespace": "eu", "sources": ["doc:2fa@v3"],
    });
    came_to(&imported(&gateway, &line(&more)).await, [1, 0, 0, 0, 0]);
    let cold = with(user(ASKED), &json!({"temperature": 0.2}));
    let headers = [("openai-organization", "org-1"), ("x-semblance-namespace", "eu")];
    assert_eq!(gateway.chat_with(&cold, &headers).await.outcome(), "hit-exact");
    for (body, headers) in [(&user(ASKED), &headers[..]), (&cold, &headers[..1]), (&cold, &headers[1..])] {
        let more = [headers, &[("cache-control", "only-if-cached")]].concat();
        assert_eq!(gateway.chat_with(body, &more).await.status, 504);
    }
    let twice = line(&json!({"credential": "sk-test", "params": {"messages": []}}));
    assert!(imported(&gateway, &twice).await["errors"][0]["message"].as_str().unwrap().contains("params: messages"));
}
