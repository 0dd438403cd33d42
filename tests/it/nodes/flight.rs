//! One call to the upstream for a question that is asked on several nodes at once.

use std::time::Duration;

use semblance::{
    config::StoreChoice,
    upstream::scripted::{Gate, Reply},
};
use serde_json::json;

use super::{ASKED, BUILT_ON, TAGGED, nodes, nodes_of, purge, setup, shared};
use crate::{
    engine::Server,
    harness::{TestGateway, asking, eventually, streaming, user},
};

fn calls(nodes: &[std::sync::Arc<TestGateway>]) -> usize {
    nodes.iter().map(|node| node.calls()).sum()
}

/// What the running flights of a test's engine are led by.
fn leases(server: &Server) -> Vec<String> {
    let keys = server.cli(&["keys", "{test:0}:l:*"]);
    keys.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_asked_on_three_nodes_at_once_is_one_call() {
    let server = Server::start();
    let nodes = nodes(&server.url()).await;
    let gate = Gate::closed();
    nodes[0].script.push(Reply::text("Once.").behind(&gate));
    let first = asking(&nodes[0], user(ASKED), &[]);
    nodes[0].script.reached(1).await;
    let mut asked = vec![first];
    for node in &nodes {
        for n in 0..10 {
            let body = if n % 2 == 0 { user(ASKED) } else { streaming(user(ASKED)) };
            asked.push(asking(node, body, &[]));
        }
    }
    eventually("all wait", || async { nodes.iter().all(|node| node.app.gateway().flights().waiting() >= 10) }).await;
    gate.open();
    for (n, answer) in asked.into_iter().enumerate() {
        let answer = answer.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let text = if answer.body.starts_with("data:") { answer.streamed() } else { answer.content() };
        assert_eq!(text, "Once.", "{n}");
    }
    assert_eq!(calls(&nodes), 1);
    assert_eq!(leases(&server), Vec::<String>::new(), "it is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_meet_in_the_store_at_the_same_moment_are_one_call_each() {
    let server = Server::start();
    let nodes = nodes(&server.url()).await;
    for n in 0..30 {
        let question = format!("Which is stone number {n} of the wall?");
        let asked: Vec<_> = nodes.iter().map(|node| asking(node, user(&question), &[])).collect();
        for answer in asked {
            assert_eq!(answer.await.unwrap().status, 200);
        }
        assert_eq!(calls(&nodes), n + 1, "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_over_from_one_that_died() {
    let server = Server::start();
    let [one, two, _] = nodes(&server.url()).await;
    let gate = Gate::closed();
    one.script.push(Reply::text("Never.").behind(&gate));
    let _hangs = asking(&one, user(ASKED), &[]);
    one.script.reached(1).await;
    let [lease] = &leases(&server)[..] else { panic!("one lease") };
    // As one leaves it that is not there any more to keep it.
    assert_eq!(server.cli(&["set", lease, "a-dead-node", "px", "700"]), "OK");
    let answer = two.ask(ASKED).await;
    assert_eq!((answer.status, answer.outcome(), two.calls()), (200, "miss", 1));
    let metrics = two.client.get(two.admin("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("semblance_node_flights_total{outcome=\"took-over\"} 1"), "{metrics}");
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_kept_is_waited_for_once() {
    let server = Server::start();
    let [one, two, three] = nodes(&server.url()).await;
    let gate = Gate::closed();
    one.script.push(Reply::finishing("I would rather not.", "content_filter").behind(&gate));
    let first = asking(&one, user(ASKED), &[]);
    one.script.reached(1).await;
    let second = asking(&two, user(ASKED), &[]);
    eventually("it waits", || async { two.app.gateway().flights().waiting() > 0 }).await;
    gate.open();
    assert_eq!(first.await.unwrap().content(), "I would rather not.");
    assert_eq!((second.await.unwrap().status, two.calls()), (200, 1));
    // Told by the mark that the first one left.
    assert_eq!((three.ask("How do I bake bread?").await.status, three.calls()), (200, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_not_given_an_answer_that_a_purge_came_before() {
    let server = Server::start();
    let [one, two, three] = nodes(&server.url()).await;
    let gate = Gate::closed();
    one.script.push(Reply::text("Old.").behind(&gate));
    two.script.push(Reply::text("New."));
    let first = asking(&one, user(ASKED), &[TAGGED, BUILT_ON]);
    one.script.reached(1).await;
    purge(&three, &json!({"tag": "account"})).await;
    let second = asking(&two, user(ASKED), &[TAGGED, BUILT_ON]);
    eventually("it waits", || async { two.app.gateway().flights().waiting() > 0 }).await;
    gate.open();
    assert_eq!(first.await.unwrap().content(), "Old.", "its own client gets it all the same");
    assert_eq!(second.await.unwrap().content(), "New.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_stops_answering_keeps_nobody_waiting_for_another_node() {
    let server = Server::start();
    let hasty = || {
        let mut store = shared(&server.url());
        store.timeout = Duration::from_millis(300);
        store.wait = Duration::from_secs(600);
        setup(&server.url()).config(|config| config.store = StoreChoice::Shared(Box::new(store)))
    };
    let [one, two, _] = nodes_of(hasty).await;
    let gate = Gate::closed();
    one.script.push(Reply::text("Late.").behind(&gate));
    let first = asking(&one, user(ASKED), &[]);
    one.script.reached(1).await;
    let second = asking(&two, user(ASKED), &[]);
    eventually("it waits", || async { two.app.gateway().flights().waiting() > 0 }).await;
    server.freeze(true);
    assert_eq!((second.await.unwrap().status, two.calls()), (200, 1));
    gate.open();
    assert_eq!(first.await.unwrap().content(), "Late.");
    server.freeze(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_not_wait_asks_for_itself() {
    let server = Server::start();
    let alone = || {
        let mut store = shared(&server.url());
        store.wait = Duration::ZERO;
        setup(&server.url()).config(|config| config.store = StoreChoice::Shared(Box::new(store)))
    };
    let [one, two, _] = nodes_of(alone).await;
    let gate = Gate::closed();
    one.script.push(Reply::text("Late.").behind(&gate));
    let first = asking(&one, user(ASKED), &[]);
    one.script.reached(1).await;
    assert_eq!((two.ask(ASKED).await.status, two.calls()), (200, 1));
    gate.open();
    first.await.unwrap();
}

/// Ttl over, so that the first one who asks is served the old answer and has it refreshed.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_one_node_refreshed_is_fresh_on_the_others_without_a_call_of_theirs() {
    let server = Server::start();
    let [one, two, _] = nodes(&server.url()).await;
    one.ask(ASKED).await;
    assert_eq!(two.ask(ASKED).await.outcome(), "hit-exact");
    for node in [&one, &two] {
        node.hand.advance(Duration::from_secs(24 * 3600 + 60));
    }
    assert_eq!(one.ask(ASKED).await.outcome(), "stale");
    eventually("it is refreshed", || async { one.ask(ASKED).await.outcome() == "hit-exact" }).await;
    eventually("the other node knows", || async { two.ask(ASKED).await.outcome() == "hit-exact" }).await;
    assert_eq!(calls(&[one, two]), 2, "one for the answer, one for its refresh");
}
