//! Requests from web pages: refused by default, as the browser sees it, and allowed where an operator says so.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use semblance::upstream::scripted::Reply;
use serde_json::json;

use super::ASKED;
use crate::harness::{Answer, Setup, TestGateway, user};

const APP: &str = "https://app.example.com";

async fn open_to(origins: &[&'static str]) -> TestGateway {
    let origins = origins.iter().map(|origin| HeaderValue::from_static(origin)).collect();
    Setup::new().config(|config| config.cors_origins = origins).start().await
}

async fn preflight(gateway: &TestGateway, origin: &str) -> Answer {
    let request = gateway.client.request(Method::OPTIONS, gateway.url("/v1/messages"));
    let asked = "anthropic-dangerous-direct-browser-access,anthropic-version,authorization,content-type,x-api-key,\
        x-semblance-mode,x-stainless-lang";
    let request = request.header("origin", origin).header("access-control-request-method", "POST");
    Answer::read(request.header("access-control-request-headers", asked).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_of_a_listed_origin_is_answered_here_and_allows_what_sdks_send() {
    let gateway = open_to(&["http://localhost:3000", APP]).await;
    let answer = preflight(&gateway, APP).await;
    assert_eq!((answer.status, gateway.calls()), (200, 0));
    assert_eq!(answer.header("access-control-allow-origin"), APP);
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    let allowed = answer.header("access-control-allow-headers");
    for name in [
        "authorization",
        "x-api-key",
        "anthropic-dangerous-direct-browser-access",
        "x-stainless-lang",
        "x-semblance-mode",
    ] {
        assert!(allowed.contains(name), "{name} in {allowed}");
    }
    assert_eq!(answer.header("access-control-max-age"), "3600");
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    let other = preflight(&gateway, "https://evil.example.com").await;
    assert_eq!((other.header("access-control-allow-origin"), gateway.calls()), ("", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_every_kind_may_be_read_by_a_listed_page_and_say_so_once() {
    let gateway = open_to(&[APP]).await;
    let upstream_allows = |reply: Reply| {
        [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("vary", "origin-of-upstream"),
        ]
        .into_iter()
        .fold(reply, |reply, (name, value)| {
            reply.header(HeaderName::from_static(name), HeaderValue::from_static(value))
        })
    };
    let mut answers = Vec::new();
    gateway.script.push(upstream_allows(Reply::text("Use vinegar.")));
    answers.push(gateway.chat_with(&user(ASKED), &[("origin", APP)]).await);
    answers.push(gateway.chat_with(&user(ASKED), &[("origin", APP)]).await);
    gateway.script.push(upstream_allows(Reply::json(StatusCode::UNAUTHORIZED, &json!({"error": {"message": "no"}}))));
    answers.push(gateway.post("/v1/files", &json!({}), &[("origin", APP)]).await);
    answers.push(gateway.chat_with(&user("Why?"), &[("origin", APP), ("cache-control", "only-if-cached")]).await);
    assert_eq!(answers.iter().map(Answer::outcome).collect::<Vec<_>>(), ["miss", "hit-exact", "bypass", "miss"]);
    for answer in &answers {
        let origins: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
        assert_eq!(origins, [APP], "{answer:?}");
        assert_eq!(answer.header("access-control-allow-credentials"), "", "the upstream's own word counts no more");
        for name in ["cache-status", "age", "x-semblance-cache", "x-semblance-request-id", "x-request-id", "request-id"]
        {
            assert!(answer.header("access-control-expose-headers").split(',').any(|exposed| exposed == name), "{name}");
        }
        assert!(
            answer.headers.get_all("vary").iter().any(|vary| vary.to_str().unwrap().contains("origin")),
            "{answer:?}"
        );
    }
    let vary: Vec<_> = answers[0].headers.get_all("vary").iter().collect();
    assert!(vary.contains(&&HeaderValue::from_static("origin-of-upstream")), "{vary:?}");
    gateway.script.push(upstream_allows(Reply::text("Use vinegar.")));
    let unlisted = gateway.post("/v1/files", &json!({}), &[("origin", "https://evil.example.com")]).await;
    assert_eq!((unlisted.status, unlisted.header("access-control-allow-origin")), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_opens_to_every_page_and_nothing_set_to_none() {
    let open = open_to(&["*"]).await;
    assert_eq!(preflight(&open, APP).await.header("access-control-allow-origin"), "*");
    assert_eq!(open.chat_with(&user(ASKED), &[("origin", APP)]).await.header("access-control-allow-origin"), "*");
    let closed = TestGateway::start().await;
    closed.script.push(Reply::steps(StatusCode::NO_CONTENT, []));
    let answer = preflight(&closed, APP).await;
    assert_eq!((answer.status, closed.calls(), answer.header("access-control-allow-origin")), (204, 1, ""));
}
