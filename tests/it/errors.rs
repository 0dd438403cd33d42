//! What clients see when something is wrong: errors in their own protocol, and a cache whose failure fails no request.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use semblance::{
    embed::{EmbedError, scripted::ScriptedEmbedder},
    store::failing::FailingStore,
    upstream::scripted::Reply,
};
use serde_json::json;

use crate::harness::{Setup, TestGateway, asking, streaming, user, with};

const ASKED: &str = "How do I descale a kettle?";

#[tokio::test(flavor = "multi_thread")]
async fn case_58_a_rate_limit_passes_with_every_header_and_is_not_stored() {
    let gateway = TestGateway::start().await;
    let told = [
        ("retry-after", "7"),
        ("retry-after-ms", "6500"),
        ("x-should-retry", "true"),
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-tokens", "1m0s"),
        ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z"),
        ("x-request-id", "req-of-the-provider"),
        ("warning", "199 - first"),
        ("warning", "199 - second"),
        ("set-cookie", "b=2"),
        ("set-cookie", "a=1"),
    ];
    let body = json!({"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}});
    for request in [user(ASKED), streaming(user(ASKED)), with(user(ASKED), &json!({"n": 2}))] {
        let limited = Reply::json(StatusCode::TOO_MANY_REQUESTS, &body);
        gateway.script.push(told.iter().fold(limited, |reply, (name, value)| {
            reply.header(HeaderName::from_static(name), HeaderValue::from_static(value))
        }));
        let answer = gateway.chat(&request).await;
        assert_eq!((answer.status, answer.body.as_str()), (429, body.to_string().as_str()));
        for (name, _) in told {
            let wanted: Vec<&str> = told.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value).collect();
            assert_eq!(answer.headers.get_all(name).iter().collect::<Vec<_>>(), wanted, "{name}");
        }
    }
    assert_eq!((gateway.ask(ASKED).await.outcome(), gateway.calls()), ("miss", 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_59_upstream_errors_pass_byte_for_byte_and_are_not_stored() {
    let gateway = TestGateway::start().await;
    for status in [401, 403, 404, 422, 500, 529] {
        let body = json!({"error": {"message": format!("status {status}"), "type": "t", "code": null}});
        for _ in 0..2 {
            gateway.script.push(Reply::json(StatusCode::from_u16(status).unwrap(), &body));
            let answer = gateway.ask(ASKED).await;
            assert_eq!((answer.status, answer.body), (status, body.to_string()));
        }
    }
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_50_a_body_that_two_readers_could_understand_differently_passes_untouched_and_uncached() {
    let gateway = TestGateway::start().await;
    let bodies: [&[u8]; 5] = [
        b"{\"model\":",
        b"{\"model\":\"a\",\"model\":\"b\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
        b"{\"model\":\"a\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}",
        b"{\"model\":\"a\"}",
        b"[]",
    ];
    for body in bodies {
        let request =
            gateway.client.post(gateway.url("/v1/chat/completions")).header("authorization", "Bearer sk-test");
        let response = request.body(body.to_vec()).send().await.unwrap();
        assert_eq!(response.headers()["x-semblance-cache"], "bypass");
        assert_eq!(gateway.script.last().unwrap().body, body, "the upstream's own error is the true one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_limit_is_refused_and_one_above_the_cacheable_size_passes_uncached() {
    let setup = Setup::new().config(|config| {
        config.limits.body_bytes = 200_000;
        config.limits.cacheable_body_bytes = 50_000;
    });
    let gateway = setup.start().await;
    let large = with(user(ASKED), &json!({"x": "y".repeat(300_000)}));
    let refused = gateway.chat(&large).await;
    assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (413, Some("body_too_large")));
    let passing = with(user(ASKED), &json!({"x": "y".repeat(100_000)}));
    let passed = gateway.chat(&passing).await;
    assert_eq!((passed.status, passed.outcome()), (200, "bypass"));
    assert_eq!(gateway.script.last().unwrap().body, passing.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_cannot_be_reached_is_a_502_and_one_that_is_too_slow_a_504() {
    let gateway = TestGateway::start().await;
    for (reply, status, code) in [
        (Reply::connect_error(), 502, "upstream_connect"),
        (Reply::broken(), 502, "upstream_broken"),
        (Reply::timeout(), 504, "upstream_timeout"),
    ] {
        gateway.script.push(reply);
        let answer = gateway.ask(ASKED).await;
        assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (status, Some(code)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_credential_is_401_where_anonymous_use_is_off_and_in_a_scope_of_its_own_where_it_is_on() {
    let closed = Setup::new().config(|config| config.allow_anonymous = false).start().await;
    let answer = closed.chat_with(&user(ASKED), &[("authorization", "")]).await;
    assert_eq!((answer.status, closed.calls()), (401, 0));
    let preflight = closed.client.request(http::Method::OPTIONS, closed.url("/v1/chat/completions"));
    assert_eq!(
        preflight.send().await.unwrap().headers()["x-semblance-cache"],
        "bypass",
        "no cache, no identity needed"
    );
    let open = TestGateway::start().await;
    open.ask(ASKED).await;
    assert_eq!(open.chat_with(&user(ASKED), &[("authorization", "")]).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_67_a_dead_store_fails_no_request() {
    let gateway = Setup { store: Some(Arc::new(FailingStore::dead())), ..Setup::new() }.start().await;
    for _ in 0..2 {
        let answer = gateway.ask(ASKED).await;
        assert_eq!((answer.status, answer.outcome()), (200, "miss"));
        assert!(answer.header("cache-status").contains("cache-error"), "{}", answer.header("cache-status"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_67_a_dead_embedder_fails_no_request_and_exact_hits_go_on() {
    let embedder = Arc::new(ScriptedEmbedder::new());
    let gateway = Setup { embedder: Arc::<ScriptedEmbedder>::clone(&embedder), ..Setup::new() };
    let policy = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[match]\npaths = [\"/v1/*\"]\n";
    let gateway = gateway.policies(&[("default.toml", policy)]).start().await;
    gateway.ask("Who wrote Emma?").await;
    embedder.fail_with(EmbedError::Timeout);
    let answer = gateway.ask(ASKED).await;
    assert_eq!((answer.status, answer.outcome()), (200, "miss"));
    assert!(answer.header("cache-status").contains("embedder-down"), "{}", answer.header("cache-status"));
    assert_eq!(gateway.ask("Who wrote Emma?").await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_the_gateway_takes_are_told_to_come_back() {
    use semblance::upstream::scripted::Gate;
    let gateway = Arc::new(Setup::new().config(|config| config.limits.requests = 1).start().await);
    let gate = Gate::closed();
    gateway.script.push(Reply::text("Use vinegar.").behind(&gate));
    let first = asking(&gateway, user(ASKED), &[]);
    gateway.script.reached(1).await;
    let refused = gateway.ask("Who wrote Emma?").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
}
