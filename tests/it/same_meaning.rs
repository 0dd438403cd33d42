//! A request joins a running fetch of a question that means the same, where guard, verifier and policy let it.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use semblance::upstream::scripted::Reply;
use serde_json::json;

use crate::harness::{Setup, TestGateway, asking, eventually, streaming, user, with, with_one_running};

const ASKED: &str = "How do I enable two-factor authentication?";
const REWORDED: &str = "How can I enable two-factor authentication?";
const OPPOSITE: &str = "How do I disable two-factor authentication?";

/// Waits until one flight alone is left, which so many read.
async fn joined_by(gateway: &Arc<TestGateway>, readers: usize) {
    eventually("all read one flight", || async {
        let flights = gateway.app.gateway().flights();
        flights.len() == 1 && flights.waiting() >= readers
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_wordings_in_either_shape_share_the_running_call() {
    let setup = Setup::new().really_verified();
    let (gateway, gate, first) = with_one_running(setup, Reply::text("Under Security."), user(ASKED)).await;
    let joining = [asking(&gateway, user(REWORDED), &[]), asking(&gateway, streaming(user(REWORDED)), &[])];
    joined_by(&gateway, 3).await;
    gate.open();
    assert_eq!(first.await.unwrap().outcome(), "miss");
    let [json, stream] = joining;
    let (json, stream) = (json.await.unwrap(), stream.await.unwrap());
    assert_eq!((json.content().as_str(), stream.streamed().as_str()), ("Under Security.", "Under Security."));
    for answer in [&json, &stream] {
        assert_eq!(answer.outcome(), "collapsed");
        assert!(answer.header("cache-status").contains("detail=semantic"), "{}", answer.header("cache-status"));
    }
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_near_miss_calls_the_upstream_itself() {
    let setup = Setup::new().really_verified();
    let (gateway, gate, first) = with_one_running(setup, Reply::text("Under Security."), user(ASKED)).await;
    gateway.script.push(Reply::text("Under Security, off."));
    let other = gateway.ask(OPPOSITE).await;
    assert_eq!((other.outcome(), other.content().as_str()), ("miss", "Under Security, off."));
    gate.open();
    first.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_where_meaning_may_not_be_used_or_the_asker_differs() {
    let exact = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\ntier = \"exact\"\n";
    let shared = "category = \"default\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\n";
    let tools = json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]});
    let cases = [
        ("exact tier", Setup::new().policies(&[("default.toml", exact)]), json!({}), &[][..]),
        ("shadow mode", Setup::new().config(|config| config.shadow = true), json!({}), &[]),
        ("tools", Setup::new(), tools, &[]),
        ("another namespace", Setup::new(), json!({"temperature": 0}), &[("x-semblance-namespace", "b")]),
        ("a bar of its own", Setup::new(), json!({}), &[("x-semblance-threshold", "0.99")]),
        (
            "another credential",
            Setup::new().policies(&[("default.toml", shared)]),
            json!({}),
            &[("authorization", "Bearer sk-other")],
        ),
    ];
    for (case, setup, members, headers) in cases {
        let (gateway, gate, first) = with_one_running(setup, Reply::text("one"), with(user(ASKED), &members)).await;
        gateway.script.push(Reply::text("two"));
        let second = gateway.chat_with(&with(user(REWORDED), &members), headers).await;
        assert_eq!((second.outcome(), second.content().as_str()), ("miss", "two"), "{case}");
        gate.open();
        assert_eq!(first.await.unwrap().content(), "one", "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_before_a_purge_is_not_joined_after_it() {
    let (gateway, gate, first) = with_one_running(Setup::new(), Reply::text("old"), user(ASKED)).await;
    gateway.admin_post("/semblance/purge", &json!({"all": true})).await;
    gateway.script.push(Reply::text("new"));
    assert_eq!(gateway.ask(REWORDED).await.content(), "new");
    gate.open();
    first.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_reaches_who_joined_and_an_answer_for_one_alone_releases_them() {
    let failing = Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "boom");
    let (gateway, gate, first) = with_one_running(Setup::new(), failing, user(ASKED)).await;
    let joined = asking(&gateway, user(REWORDED), &[]);
    joined_by(&gateway, 2).await;
    gate.open();
    assert_eq!((first.await.unwrap().status, joined.await.unwrap().status, gateway.calls()), (500, 500, 1));

    let private = Reply::text("mine").header(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    let (gateway, gate, first) = with_one_running(Setup::new(), private, user(ASKED)).await;
    gateway.script.push(Reply::text("yours"));
    let joined = asking(&gateway, user(REWORDED), &[]);
    joined_by(&gateway, 2).await;
    gate.open();
    assert_eq!(first.await.unwrap().content(), "mine");
    assert_eq!((joined.await.unwrap().content().as_str(), gateway.calls()), ("yours", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_goes_on_for_who_joined_when_the_first_client_leaves() {
    let setup = Setup::new().config(|config| config.client_gone = semblance::config::ClientGone::Cancel);
    let (gateway, gate, first) = with_one_running(setup, Reply::text("Under Security."), user(ASKED)).await;
    let joined = asking(&gateway, user(REWORDED), &[]);
    joined_by(&gateway, 2).await;
    first.abort();
    gate.open();
    assert_eq!((joined.await.unwrap().content().as_str(), gateway.calls()), ("Under Security.", 1));
}
