//! A provider at real sockets that is dead, slow, cut off, corrupt, or speaks no HTTP.

use std::{sync::Arc, time::Duration};

use semblance::{
    tasks::Tasks,
    upstream::{
        Upstream,
        http::{HttpUpstream, Settings},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::{ASKED, setup};
use crate::harness::{Answer, TestGateway, streaming, user};

/// One thing that the provider does with a connection once it has the request.
#[derive(Debug, Clone)]
enum Act {
    Send(String),
    /// Says no more and keeps the connection.
    Stall,
}

/// A gateway in front of a provider that does these things, one list a connection; then it is dead.
struct Rig {
    gateway: TestGateway,
    plan: mpsc::UnboundedSender<Vec<Act>>,
}

impl Rig {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (plan, mut acts) = mpsc::unbounded_channel::<Vec<Act>>();
        Tasks::new().spawn("provider", async move {
            while let Some(acts) = acts.recv().await {
                let Ok((stream, _)) = listener.accept().await else { return };
                Tasks::new().spawn("connection", act(stream, acts));
            }
        });
        let short = Duration::from_secs(1);
        let timeouts = Settings { first_byte: short, idle: short, ..Settings::default() };
        let upstream: Arc<dyn Upstream> = Arc::new(HttpUpstream::new(&format!("http://{address}"), timeouts).unwrap());
        let gateway = crate::harness::Setup { upstream: Some(upstream), ..setup() }.start().await;
        Self { gateway, plan }
    }

    async fn ask(&self, body: &Value, acts: Vec<Act>) -> Answer {
        self.plan.send(acts).unwrap();
        self.gateway.chat(body).await
    }

    /// What broke left nothing behind, and the next answer is a good one and kept.
    async fn assert_nothing_was_kept(&self) {
        let good = self.ask(&user(ASKED), vec![Act::Send(whole(&json_answer("Use vinegar.")))]).await;
        assert_eq!((good.status, good.outcome(), good.content().as_str()), (200, "miss", "Use vinegar."));
        assert_eq!(self.gateway.chat(&user(ASKED)).await.outcome(), "hit-exact");
    }
}

async fn act(mut stream: TcpStream, acts: Vec<Act>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    for act in acts {
        match act {
            Act::Send(text) => stream.write_all(text.as_bytes()).await.unwrap(),
            Act::Stall => std::future::pending().await,
        }
    }
}

fn json_answer(text: &str) -> String {
    json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    })
    .to_string()
}

/// A JSON response that says how long it is, and that its connection ends with it.
fn whole(body: &str) -> String {
    lying(body, body.len())
}

fn lying(body: &str, length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn event(content: &str, finish: &Value) -> String {
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]});
    format!("data: {chunk}\n\n")
}

fn chunked(frames: &[&str]) -> String {
    let head = STREAM.replace("connection: close", "transfer-encoding: chunked");
    let pieces: String = frames.iter().map(|frame| format!("{:x}\r\n{frame}\r\n", frame.len())).collect();
    head + &pieces
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_provider_is_a_502_or_a_stale_answer() {
    let rig = Rig::start().await;
    rig.ask(&user(ASKED), vec![Act::Send(whole(&json_answer("Use vinegar.")))]).await;
    let Rig { gateway, plan } = rig;
    // With its plan the provider's listener goes.
    drop(plan);
    let dead = gateway.ask("Who wrote the novel Emma?").await;
    assert_eq!((dead.status, dead.json()["error"]["code"].as_str()), (502, Some("upstream_connect")));
    gateway.hand.advance(Duration::from_secs(2 * 3600));
    let stale = gateway.ask(ASKED).await;
    assert_eq!((stale.status, stale.outcome(), stale.content().as_str()), (200, "stale", "Use vinegar."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_says_nothing_in_time_is_a_504() {
    let rig = Rig::start().await;
    let slow = rig.ask(&user(ASKED), vec![Act::Stall]).await;
    assert_eq!((slow.status, slow.json()["error"]["code"].as_str()), (504, Some("upstream_timeout")));
    rig.assert_nothing_was_kept().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stalls_or_is_cut_is_aborted_and_not_stored() {
    for end in [Some(Act::Stall), None] {
        let rig = Rig::start().await;
        let begun = chunked(&[&event("Use ", &Value::Null)]);
        let acts = [Act::Send(begun)].into_iter().chain(end).collect();
        let cut = rig.ask(&streaming(user(ASKED)), acts).await;
        assert_eq!((cut.status, cut.broken, cut.streamed().as_str()), (200, true, "Use "));
        rig.assert_nothing_was_kept().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_shorter_than_it_was_said_to_be_is_a_502() {
    let rig = Rig::start().await;
    let body = json_answer("Use vinegar.");
    let short = rig.ask(&user(ASKED), vec![Act::Send(lying(&body, body.len() + 40))]).await;
    assert_eq!((short.status, short.json()["error"]["code"].as_str()), (502, Some("upstream_broken")));
    rig.assert_nothing_was_kept().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_longer_than_it_was_said_to_be_is_passed_on_as_long_as_said_and_not_stored() {
    let rig = Rig::start().await;
    let body = json_answer("Use vinegar.");
    let long = rig.ask(&user(ASKED), vec![Act::Send(lying(&body, body.len() - 5))]).await;
    assert_eq!((long.status, long.body.as_str()), (200, &body[..body.len() - 5]));
    rig.assert_nothing_was_kept().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_a_502() {
    for garbage in ["\0\0\0\0 not http at all\r\n\r\n", "HTTP/1.1 banana\r\n\r\n", ""] {
        let rig = Rig::start().await;
        let nonsense = rig.ask(&user(ASKED), vec![Act::Send(garbage.to_owned())]).await;
        assert_eq!((nonsense.status, nonsense.json()["error"]["code"].as_str()), (502, Some("upstream_broken")));
        rig.assert_nothing_was_kept().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_or_reordered_events_pass_as_they_came_and_are_not_stored() {
    let (first, last) = (event("Use vinegar.", &Value::Null), event("", &json!("stop")));
    let corrupt = first.replace("\"choices\":[", "\"choices\":{");
    let done = "data: [DONE]\n\n";
    for frames in [[corrupt.as_str(), &last, done], [done, &first, &last]] {
        let rig = Rig::start().await;
        let acts = vec![Act::Send(chunked(&frames)), Act::Send("0\r\n\r\n".to_owned())];
        let passed = rig.ask(&streaming(user(ASKED)), acts).await;
        assert_eq!((passed.status, passed.outcome()), (200, "miss"));
        assert!(passed.body.starts_with(frames[0]), "{}", passed.body);
        rig.assert_nothing_was_kept().await;
    }
}
