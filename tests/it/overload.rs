//! More than the gateway can take: every stage is bounded, what lies beyond goes upstream without the cache, and only
//! where the gateway itself is the limit is a client told to come back.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use semblance::{embed::scripted::ScriptedEmbedder, upstream::scripted::Reply};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Answer, Setup, asking, eventually, user, with_one_running};

const ASKED: &str = "How do I descale a kettle?";
const OTHER: &str = "Who wrote the novel Emma?";

fn assert_went_around(answer: &Answer) {
    assert_eq!((answer.status, answer.outcome()), (200, "bypass"));
    assert!(answer.header("cache-status").contains("detail=overloaded"), "{}", answer.header("cache-status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_told_to_come_back_and_the_next_one_has_its_place() {
    let gateway = Setup::new().config(|config| config.limits.connections = 1).start().await;
    let connect = || TcpStream::connect(gateway.app.listen);
    // The harness asked whether the gateway is ready on another listener: no place is taken.
    let mut first = connect().await.unwrap();
    first.write_all(b"GET /v1/files HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    first.read_u8().await.unwrap();
    let mut second = connect().await.unwrap();
    second.write_all(b"GET /v1/files HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut told = String::new();
    second.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n"), "{told}");
    assert!(told.contains("retry-after: 1\r\n"), "{told}");
    let (_, body) = told.split_once("\r\n\r\n").unwrap();
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["error"]["code"], "overloaded");
    drop(first);
    gateway.script.push(Reply::json(StatusCode::OK, &json!({})));
    eventually("the place is free again", || async { gateway.app.gateway().parts().tasks.count("connection") == 0 })
        .await;
    assert_eq!(gateway.get("/v1/files", &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_beyond_the_memory_for_them_go_upstream_uncached_until_there_is_room() {
    let long = |what: &str| user(&format!("{what} {}", "Please be precise. ".repeat(2_000)));
    let setup = Setup::new().config(|config| config.limits.bodies_bytes = 64 << 10);
    let (gateway, gate, first) = with_one_running(setup, Reply::text("Use vinegar."), long(ASKED)).await;
    assert_went_around(&gateway.chat(&long(OTHER)).await);
    assert_eq!(gateway.ask("Is tin a metal?").await.outcome(), "miss", "a short one fits");
    gate.open();
    assert_eq!(first.await.unwrap().outcome(), "miss");
    eventually("the first one's room is free", || async { gateway.app.gateway().room_for_body(60 << 10).is_some() })
        .await;
    assert_eq!(gateway.chat(&long(OTHER)).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_too_many_goes_upstream_without_the_cache_while_others_still_join() {
    let setup = Setup::new().config(|config| config.limits.flights = 1);
    let (gateway, gate, first) = with_one_running(setup, Reply::text("Use vinegar."), user(ASKED)).await;
    let joins = asking(&gateway, user(ASKED), &[]);
    eventually("the same question waits", || async { gateway.app.gateway().flights().waiting() == 2 }).await;
    assert_went_around(&gateway.ask(OTHER).await);
    let input = json!({"model": "text-embedding-3-small", "input": "kettle"});
    assert_went_around(&gateway.post("/v1/embeddings", &input, &[]).await);
    let only = gateway.chat_with(&user(OTHER), &[("cache-control", "only-if-cached")]).await;
    assert_eq!(only.status, StatusCode::GATEWAY_TIMEOUT);
    gate.open();
    assert_eq!((first.await.unwrap().outcome(), joins.await.unwrap().outcome()), ("miss", "collapsed"));
    assert_eq!(gateway.ask(OTHER).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_vector_is_answered_while_the_embedder_is_stuck() {
    let embedder = Arc::new(ScriptedEmbedder::new());
    let mut setup = Setup::new();
    setup.embedder = Arc::<ScriptedEmbedder>::clone(&embedder);
    let gateway = Arc::new(setup.start().await);
    assert_eq!(gateway.ask(ASKED).await.outcome(), "miss");
    embedder.hold();
    let before = embedder.calls();
    let stuck: Vec<_> = (0..8).map(|n| asking(&gateway, user(&format!("Is {n} a prime number?")), &[])).collect();
    embedder.called(before + 8).await;
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
    gateway.script.push(Reply::json(StatusCode::OK, &json!({})));
    assert_eq!(gateway.get("/v1/files", &[]).await.status, 200);
    assert_eq!(gateway.chat_with(&user(OTHER), &[("cache-control", "no-store")]).await.outcome(), "bypass");
    embedder.release();
    for answer in stuck {
        assert_eq!(answer.await.unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_its_answer_is_dropped() {
    let setup = Setup::new().config(|config| config.limits.client_stall = Duration::from_millis(50));
    let gateway = setup.start().await;
    // More than the sockets on the way hold.
    gateway.script.always(Reply::text(&"word ".repeat(3_000_000)));
    let mut idle = TcpStream::connect(gateway.app.listen).await.unwrap();
    let body = user(ASKED).to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-test\r\n";
    let request = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    idle.write_all(request.as_bytes()).await.unwrap();
    gateway.script.reached(1).await;
    eventually("the connection is gone", || async { gateway.app.gateway().parts().tasks.count("connection") == 0 })
        .await;
    assert_eq!(gateway.app.gateway().flights().len(), 0);
}
