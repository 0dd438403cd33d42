//! When the engine is gone, slow, cut off from one node, or back from an old snapshot: no request fails that the upstream
//! could answer, and nothing purged is served. A row each of the README's table.

use std::{sync::Arc, time::Duration};

use semblance::config::StoreChoice;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::{ASKED, ask, cached, nodes, purge, setup, shared};
use crate::{
    engine::Server,
    harness::{Setup, TestGateway, eventually},
};

/// A way to an engine that can be cut without either side being told.
struct Way {
    port: u16,
    open: watch::Sender<bool>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (own, open) = (listener.local_addr().unwrap().port(), watch::Sender::new(true));
        let is_open = open.subscribe();
        #[expect(clippy::disallowed_methods, reason = "a part of the network, not a task of the gateway")]
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return };
                    loop {
                        if is_open.wait_for(|open| *open).await.is_err() {
                            return;
                        }
                        tokio::select! {
                            _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                            _ = is_open.wait_for(|open| !*open) => {}
                        }
                    }
                });
            }
        });
        Self { port: own, open }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// With answers of the engine waited for shortly.
fn hasty(url: &str, serves_lease: bool, lease: Duration) -> Setup {
    let mut store = shared(url);
    (store.timeout, store.lease, store.serves_lease) = (Duration::from_millis(300), lease, serves_lease);
    setup(url).config(|config| config.store = StoreChoice::Shared(Box::new(store)))
}

async fn is_answered(node: &TestGateway) {
    let answer = node.ask(ASKED).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_costs_hits_and_no_request() {
    let server = Server::start();
    let [one, two] = [
        hasty(&server.url(), false, Duration::from_secs(1)).start().await,
        hasty(&server.url(), false, Duration::from_secs(1)).start().await,
    ];
    ask(&one, ASKED).await;
    assert_eq!(ask(&two, ASKED).await, "hit-exact");
    server.freeze(true);
    eventually("memory is not trusted", || async { two.ask(ASKED).await.outcome() == "miss" }).await;
    for node in [&one, &two] {
        is_answered(node).await;
    }
    server.freeze(false);
    eventually("hits are back", || async { cached(&two, ASKED).await == "hit-exact" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_serve_its_lease_out_does_so_and_no_longer() {
    let mut server = Server::start();
    let node = hasty(&server.url(), true, Duration::from_secs(3)).start().await;
    ask(&node, ASKED).await;
    assert_eq!(ask(&node, ASKED).await, "hit-exact");
    server.kill();
    assert_eq!(cached(&node, ASKED).await, "hit-exact", "from memory");
    eventually("the lease ends", || async { node.ask(ASKED).await.outcome() == "miss" }).await;
    is_answered(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_not_acknowledged_before_a_node_that_is_cut_off_has_stopped_serving_from_memory() {
    let server = Server::start();
    let way = Way::to(server.port).await;
    let lease = Duration::from_secs(1);
    for serves_lease in [false, true] {
        let one = hasty(&server.url(), serves_lease, lease).start().await;
        let two = hasty(&way.url(), serves_lease, lease).start().await;
        ask(&one, ASKED).await;
        eventually("it is in memory", || async { cached(&two, ASKED).await == "hit-exact" }).await;
        way.open.send_replace(false);
        purge(&one, &json!({"tag": "account"})).await;
        let answer = two.ask(ASKED).await;
        assert_eq!((answer.status, answer.outcome()), (200, "miss"), "serves its lease: {serves_lease}");
        way.open.send_replace(true);
        eventually("it follows again", || async {
            ask(&one, ASKED).await;
            cached(&two, ASKED).await == "hit-exact"
        })
        .await;
        purge(&one, &json!({"all": true})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_comes_back_with_an_old_snapshot_is_told_the_purges_since() {
    let mut server = Server::start();
    let nodes: [Arc<TestGateway>; 3] = nodes(&server.url()).await;
    let [one, two, three] = &nodes;
    ask(one, ASKED).await;
    assert_eq!(server.cli(&["save"]), "OK");
    purge(one, &json!({"tag": "account"})).await;
    server.revive();
    assert_eq!(server.cli(&["exists", "{test:0}:ids"]), "1", "the purged entry is back in the engine");
    for node in [two, three, one] {
        eventually("the engine answers", || async { node.ask("How do I descale a kettle?").await.outcome() != "miss" })
            .await;
        assert_eq!(cached(node, ASKED).await, "miss");
    }
}
