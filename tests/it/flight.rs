//! One upstream call for many (single flight): every way a leader can end, and every shape a follower can ask for.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use semblance::upstream::scripted::{Gate, Reply, Step};
use serde_json::json;

use crate::harness::{Answer, Setup, TestGateway, eventually, streaming, user};

const ASKED: &str = "How do I descale a kettle?";

/// Starts `count` identical requests, every other one a stream, and returns when all are waiting.
async fn crowd(gateway: &Arc<TestGateway>, count: usize) -> Vec<tokio::task::JoinHandle<Answer>> {
    let waiting: Vec<_> = (0..count)
        .map(|i| {
            let gateway = Arc::clone(gateway);
            #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
            tokio::spawn(async move {
                let body = if i % 2 == 0 { user(ASKED) } else { streaming(user(ASKED)) };
                gateway.chat(&body).await
            })
        })
        .collect();
    let in_flight = || gateway.app.gateway().parts().metrics.requests_in_flight();
    eventually("all requests are waiting", || async { usize::try_from(in_flight()).unwrap() >= count }).await;
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
    let held = crowd(&gateway, 1).await;
    gateway.script.reached(7).await;
    assert_eq!(text(&gateway.ask(ASKED).await), "another");
    second.open();
    all(held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_follower_bound_go_on_their_own() {
    let gateway = Arc::new(Setup::new().config(|config| config.limits.followers = 2).start().await);
    let gate = Gate::closed();
    gateway.script.always(Reply::text("Use vinegar.").behind(&gate));
    let waiting = crowd(&gateway, 5).await;
    gateway.script.reached(2).await;
    gate.open();
    for answer in all(waiting).await {
        assert_eq!(text(&answer), "Use vinegar.");
    }
    assert!(gateway.calls() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_57_a_retry_while_the_first_attempt_runs_joins_it() {
    let gateway = Arc::new(TestGateway::start().await);
    let gate = Gate::closed();
    gateway.script.push(Reply::text("Use vinegar.").behind(&gate));
    let waiting = crowd(&gateway, 1).await;
    gateway.script.reached(1).await;
    let retry = {
        let gateway = Arc::clone(&gateway);
        #[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
        tokio::spawn(async move { gateway.chat_with(&user(ASKED), &[("x-stainless-retry-count", "1")]).await })
    };
    let in_flight = || gateway.app.gateway().parts().metrics.requests_in_flight();
    eventually("the retry waits", || async { in_flight() >= 2 }).await;
    gate.open();
    all(waiting).await;
    assert_eq!(text(&retry.await.unwrap()), "Use vinegar.");
    assert_eq!(gateway.calls(), 1);
}
