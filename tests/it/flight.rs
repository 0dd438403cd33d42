//! One upstream call for many (single flight): every way a leader can end, and every shape a follower can ask for.

use std::{ops::Range, sync::Arc};

use http::{HeaderName, HeaderValue, StatusCode, header};
use semblance::{
    embed::scripted::ScriptedEmbedder,
    upstream::scripted::{Gate, Received, Reply, Step},
};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, asking, eventually, streaming, user};

const ASKED: &str = "How do I descale a kettle?";

/// Starts `count` identical requests, every other one a stream, and returns when all are waiting.
async fn crowd(gateway: &Arc<TestGateway>, count: usize) -> Vec<tokio::task::JoinHandle<Answer>> {
    joined_by_crowd(gateway, 0..count).await
}

async fn joined_by_crowd(gateway: &Arc<TestGateway>, members: Range<usize>) -> Vec<tokio::task::JoinHandle<Answer>> {
    let count = members.end;
    let waiting: Vec<_> = members
        .map(|i| {
            let gateway = Arc::clone(gateway);
            #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
            tokio::spawn(async move {
                let body = if i % 2 == 0 { user(ASKED) } else { streaming(user(ASKED)) };
                gateway.chat(&body).await
            })
        })
        .collect();
    eventually("all requests wait on the flight", || async { gateway.app.gateway().flights().waiting() >= count })
        .await;
    waiting
}

async fn all(waiting: Vec<tokio::task::JoinHandle<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for answer in waiting {
        answers.push(answer.await.unwrap());
    }
    answers
}

fn text(answer: &Answer) -> String {
    if answer.header("content-type").starts_with("text/event-stream") { answer.streamed() } else { answer.content() }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_56_identical_concurrent_requests_of_both_shapes_cost_one_upstream_call() {
    let gateway = Arc::new(TestGateway::start().await);
    let gate = Gate::closed();
    gateway.script.push(Reply::text("Use vinegar, then rinse.").behind(&gate));
    let waiting = crowd(&gateway, 64).await;
    gate.open();
    let answers = all(waiting).await;
    assert_eq!(gateway.calls(), 1);
    for answer in &answers {
        assert_eq!((answer.status, answer.broken), (200, false));
        assert_eq!(text(answer), "Use vinegar, then rinse.");
    }
    let streams = answers.iter().filter(|answer| !answer.events().is_empty()).count();
    assert_eq!(streams, 32, "each in the shape it asked for");
    let misses = answers.iter().filter(|answer| answer.outcome() == "miss").count();
    assert_eq!(misses, 1, "one leader, the rest collapsed or hit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_joiner_gets_the_backlog_and_then_the_tokens_as_they_come() {
    let gateway = TestGateway::start().await;
    let gate = Gate::closed();
    let event = |content: &str, finish: &str| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": if finish.is_empty() { json!(null) } else { json!(finish) }}]});
        Step::Send(format!("data: {chunk}\n\n").into())
    };
    let steps = vec![
        event("Use ", ""),
        Step::Hold(gate.clone()),
        event("vinegar.", ""),
        event("", "stop"),
        Step::Send("data: [DONE]\n\n".into()),
    ];
    gateway.script.push(Reply::events(steps));
    let mut leader = gateway.request(&streaming(user(ASKED)), &[]).send().await.unwrap();
    let first = leader.chunk().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&first).unwrap().contains("Use "));
    let mut follower = gateway.request(&streaming(user(ASKED)), &[]).send().await.unwrap();
    assert_eq!(follower.headers()["x-semblance-cache"], "collapsed");
    let backlog = follower.chunk().await.unwrap().unwrap();
    assert!(std::str::from_utf8(&backlog).unwrap().contains("Use "), "before the leader has ended");
    // The leader's client leaves; the call goes on for the follower.
    drop(leader);
    gate.open();
    let rest = Answer::read(follower).await;
    assert_eq!((rest.streamed().as_str(), rest.broken), ("vinegar.", false));
    assert_eq!(gateway.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaders_failure_reaches_every_follower_and_nobody_hangs() {
    let gateway = Arc::new(TestGateway::start().await);
    for reply in [
        Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "boom"),
        Reply::error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "slow down"),
        Reply::connect_error(),
        Reply::timeout(),
    ] {
        let gate = Gate::closed();
        let before = gateway.calls();
        gateway.script.push(reply.behind(&gate));
        let waiting = crowd(&gateway, 8).await;
        gate.open();
        let answers = all(waiting).await;
        assert_eq!(gateway.calls(), before + 1);
        for answer in answers {
            assert!(answer.status >= 400, "{}", answer.status);
            assert!(answer.json()["error"]["message"].is_string(), "{}", answer.body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_is_aborted_for_followers_too() {
    let gateway = TestGateway::start().await;
    let gate = Gate::closed();
    let half = Step::Send(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Use \"},\"finish_reason\":null}]}\n\n".into(),
    );
    gateway.script.push(Reply::events([half, Step::Hold(gate.clone()), Step::Break]));
    let leader = gateway.request(&streaming(user(ASKED)), &[]).send().await.unwrap();
    let follower = gateway.request(&streaming(user(ASKED)), &[]).send().await.unwrap();
    gate.open();
    assert!(Answer::read(leader).await.broken);
    assert!(Answer::read(follower).await.broken);
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_of_an_answer_that_may_not_be_shared_are_released_and_later_ones_do_not_queue() {
    let gateway = Arc::new(TestGateway::start().await);
    let gate = Gate::closed();
    let private = |text: &str| Reply::text(text).header(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    gateway.script.push(private("one").behind(&gate));
    gateway.script.always(private("another"));
    let waiting = crowd(&gateway, 6).await;
    gate.open();
    let answers = all(waiting).await;
    assert_eq!(gateway.calls(), 6, "one call each");
    assert_eq!(answers.iter().filter(|answer| text(answer) == "one").count(), 1, "only the leader's own client has it");
    // Remembered as not to be shared: two that ask at once do not wait for each other.
    let second = Gate::closed();
    gateway.script.push(private("held").behind(&second));
    let held = asking(&gateway, user(ASKED), &[]);
    gateway.script.reached(7).await;
    assert_eq!(text(&gateway.ask(ASKED).await), "another");
    second.open();
    assert_eq!(text(&held.await.unwrap()), "held");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_follower_bound_go_on_their_own() {
    let gateway = Arc::new(Setup::new().config(|config| config.limits.followers = 1).start().await);
    let gate = Gate::closed();
    gateway.script.always(Reply::text("Use vinegar.").behind(&gate));
    let waiting = crowd(&gateway, 2).await;
    let more = {
        let gateway = Arc::clone(&gateway);
        #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
        tokio::spawn(async move { [gateway.ask(ASKED).await, gateway.ask(ASKED).await] })
    };
    gateway.script.reached(2).await;
    gate.open();
    more.await.unwrap();
    for answer in all(waiting).await {
        assert_eq!(text(&answer), "Use vinegar.");
    }
    assert_eq!(gateway.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_57_a_retry_while_the_first_attempt_runs_joins_it() {
    let gateway = Arc::new(TestGateway::start().await);
    let gate = Gate::closed();
    gateway.script.push(Reply::text("Use vinegar.").behind(&gate));
    let waiting = crowd(&gateway, 1).await;
    gateway.script.reached(1).await;
    let retry = asking(&gateway, user(ASKED), &[("x-stainless-retry-count", "1")]);
    eventually("the retry waits", || async { gateway.app.gateway().flights().waiting() >= 2 }).await;
    gate.open();
    all(waiting).await;
    assert_eq!(text(&retry.await.unwrap()), "Use vinegar.");
    assert_eq!(gateway.calls(), 1);
}

/// A crowd of which a request for JSON is the first, held back until all are there: half want to stream.
async fn crowd_before_the_call(reply: Vec<Reply>) -> (Arc<TestGateway>, Vec<Answer>) {
    let embedder = Arc::new(ScriptedEmbedder::new());
    let mut setup = Setup::new();
    setup.embedder = Arc::<ScriptedEmbedder>::clone(&embedder);
    let gateway = Arc::new(setup.start().await);
    reply.into_iter().for_each(|reply| gateway.script.push(reply));
    embedder.hold();
    let mut waiting = joined_by_crowd(&gateway, 0..1).await;
    waiting.extend(joined_by_crowd(&gateway, 1..8).await);
    embedder.release();
    let answers = all(waiting).await;
    (gateway, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_streams_is_streamed_to_also_behind_a_leader_that_asks_for_json() {
    let left = HeaderName::from_static("x-ratelimit-remaining-requests");
    let reply = Reply::text("Use vinegar.").header(left, HeaderValue::from_static("7"));
    let (gateway, answers) = crowd_before_the_call(vec![reply]).await;
    let asked: Vec<Value> = gateway.script.received().iter().map(Received::json).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!((&asked[0]["stream"], &asked[0]["stream_options"]), (&json!(true), &json!({"include_usage": true})));
    for answer in &answers {
        assert_eq!((answer.status, text(answer).as_str()), (200, "Use vinegar."));
        assert_eq!(answer.header("x-ratelimit-remaining-requests"), "7");
        if answer.events().is_empty() {
            assert_eq!(answer.json()["object"], "chat.completion");
            assert!(answer.json()["usage"]["total_tokens"].is_u64(), "JSON tells usage: {}", answer.json());
        } else {
            assert!(!answer.events().iter().any(|event| event.contains("\"usage\":{")), "nobody asked for usage");
        }
    }
    assert_eq!(gateway.ask(ASKED).await.outcome(), "hit-exact");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_upstream_refuses_to_stream_the_crowd_gets_what_the_leader_asked_for() {
    let refusal = Reply::json(StatusCode::BAD_REQUEST, &json!({"error": {"message": "no streams", "param": "stream"}}));
    let (gateway, answers) = crowd_before_the_call(vec![refusal, Reply::text("Use vinegar.")]).await;
    assert_eq!(gateway.calls(), 2);
    for answer in &answers {
        assert_eq!((answer.status, text(answer).as_str()), (200, "Use vinegar."));
    }
}
