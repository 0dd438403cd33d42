//! Model lists: kept for a minute, for the credential that asked, page by page.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, header};
use semblance::{
    upstream::{
        routes::Routes,
        scripted::{Reply, Scripted},
    },
    wire::Family,
};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway};

async fn list(gateway: &TestGateway, path: &str) -> Answer {
    gateway.get(path, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_kept_for_a_minute_byte_for_byte() {
    let gateway = TestGateway::start().await;
    let miss = list(&gateway, "/v1/models").await;
    gateway.hand.advance(Duration::from_secs(20));
    let hit = list(&gateway, "/v1/models").await;
    assert_eq!((miss.outcome(), hit.outcome(), gateway.calls()), ("miss", "hit-exact", 1));
    assert_eq!(miss.body, hit.body);
    assert_eq!(miss.header("cache-status"), "semblance; fwd=uri-miss; fwd-status=200; stored; ttl=60");
    assert_eq!(hit.header("cache-status"), "semblance; hit; ttl=40; detail=exact");
    assert_eq!((hit.header("age"), hit.header("content-type")), ("20", "application/json"));
    gateway.hand.advance(Duration::from_secs(41));
    let stale = list(&gateway, "/v1/models").await;
    assert!(stale.header("cache-status").contains("fwd=stale"), "{}", stale.header("cache-status"));
    assert_eq!(list(&gateway, "/v1/models/gpt-4o-mini").await.outcome(), "miss");
    assert_eq!(list(&gateway, "/v1/models/gpt-4o-mini").await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_63_pages_are_told_apart_by_their_query_and_paging_ends() {
    let gateway = TestGateway::start().await;
    let version = ("anthropic-version", "2023-06-01");
    let page = |ids: &[&str], more: bool| {
        let data: Vec<Value> = ids.iter().map(|id| json!({"type": "model", "id": id})).collect();
        Reply::json(StatusCode::OK, &json!({"data": data, "has_more": more, "last_id": ids.last()}))
    };
    for _ in 0..2 {
        gateway.script.push(page(&["a", "b"], true));
        gateway.script.push(page(&["c"], false));
        gateway.script.push(page(&[], false));
    }
    for outcome in ["miss", "hit-exact"] {
        let (mut path, mut seen) = ("/v1/models?limit=2".to_owned(), Vec::new());
        loop {
            let answer = gateway.get(&path, &[version]).await;
            assert_eq!(answer.outcome(), outcome, "{path}");
            let page = answer.json();
            seen.extend(page["data"].as_array().unwrap().iter().map(|model| model["id"].clone()));
            let Some(last) = page["last_id"].as_str() else { break };
            path = format!("/v1/models?limit=2&after_id={last}");
        }
        assert_eq!(seen, ["a", "b", "c"]);
    }
    assert_eq!(gateway.calls(), 3);
    assert_eq!(gateway.script.last().unwrap().path_and_query, "/v1/models?limit=2&after_id=c");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_never_mix_between_credentials_versions_or_purges() {
    let gateway = TestGateway::start().await;
    list(&gateway, "/v1/models").await;
    for headers in [
        &[("authorization", "Bearer sk-other")][..],
        &[("anthropic-version", "2023-06-01")],
        &[("openai-project", "p-1")],
        &[("cache-control", "no-cache")],
    ] {
        assert_eq!(gateway.get("/v1/models", headers).await.outcome(), "miss", "{headers:?}");
    }
    assert_eq!(gateway.get("/v1/models", &[("cache-control", "no-store")]).await.outcome(), "bypass");
    assert_eq!(gateway.get("/v1/models", &[("cache-control", "only-if-cached")]).await.outcome(), "hit-exact");
    assert_eq!(gateway.get("/models", &[("cache-control", "only-if-cached")]).await.status, 504);
    gateway.admin_post("/semblance/purge", &json!({"all": true})).await;
    assert_eq!(list(&gateway, "/v1/models").await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropics_lists_come_from_anthropic_and_are_kept_as_openais_are() {
    let ((openai, to_openai), (anthropic, to_anthropic)) = (Scripted::programmable(), Scripted::programmable());
    let both = Routes::new(Arc::new(openai.with_base_url("o")), Arc::default())
        .family(Family::Messages, Arc::new(anthropic.with_base_url("a")));
    let gateway = Setup { upstream: Some(Arc::new(both)), ..Setup::new() }.start().await;
    let get = async |path: &str, key: &str, version: &str| {
        let request = gateway.client.get(gateway.url(path)).header("x-api-key", key);
        Answer::read(request.header("anthropic-version", version).send().await.unwrap()).await
    };
    let miss = get("/v1/models", "k", "2023-06-01").await;
    gateway.hand.advance(Duration::from_secs(20));
    let hit = get("/v1/models", "k", "2023-06-01").await;
    assert_eq!((miss.outcome(), hit.outcome(), hit.header("age")), ("miss", "hit-exact", "20"));
    assert_eq!(miss.body, hit.body);
    for (path, key, version) in [
        ("/v1/models?limit=1", "k", "2023-06-01"),
        ("/v1/models", "other", "2023-06-01"),
        ("/v1/models", "k", "2024-10-22"),
    ] {
        assert_eq!(get(path, key, version).await.outcome(), "miss", "{path} {key} {version}");
    }
    gateway.hand.advance(Duration::from_secs(41));
    assert_eq!(get("/v1/models", "k", "2023-06-01").await.outcome(), "miss");
    assert_eq!((to_openai.calls(), to_anthropic.calls()), (0, 5));
    assert_eq!(list(&gateway, "/v1/models").await.outcome(), "miss");
    assert_eq!((to_openai.calls(), to_anthropic.calls()), (1, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_list_passes_unchanged_and_is_not_kept() {
    let gateway = TestGateway::start().await;
    let odd = |status: StatusCode, text: &'static str, kind: &'static str| {
        let step = semblance::upstream::scripted::Step::Send(text.into());
        Reply::steps(status, [step]).header(header::CONTENT_TYPE, HeaderValue::from_static(kind))
    };
    for (status, text, kind) in [
        (StatusCode::UNAUTHORIZED, "{\"error\":{}}", "application/json"),
        (StatusCode::OK, "<html>", "text/html"),
        (StatusCode::OK, "{\"data\":[", "application/json"),
    ] {
        gateway.script.push(odd(status, text, kind));
        let answer = list(&gateway, "/v1/models").await;
        assert_eq!((answer.status, answer.body.as_str(), answer.outcome()), (status.as_u16(), text, "miss"));
    }
    gateway.script.push(Reply::timeout());
    assert_eq!(list(&gateway, "/v1/models").await.status, 504);
    let large = "x".repeat(5 << 20);
    gateway.script.push(Reply::json(StatusCode::OK, &json!(large)));
    assert_eq!(list(&gateway, "/v1/models").await.body.len(), large.len() + 2);
    let calls = gateway.calls();
    let request = gateway.client.delete(gateway.url("/v1/models/ft-1")).header("authorization", "Bearer sk-test");
    assert_eq!(request.send().await.unwrap().headers()["x-semblance-cache"], "bypass");
    assert_eq!(gateway.calls(), calls + 1);
    let closed = Setup::new().config(|config| config.allow_anonymous = false).start().await;
    let nobody = closed.client.get(closed.url("/v1/models")).send().await.unwrap();
    assert_eq!(
        (nobody.status().as_u16(), &nobody.headers()["x-semblance-cache"]),
        (200, &HeaderValue::from_static("bypass"))
    );
}
