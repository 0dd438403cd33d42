//! What nobody sends by accident: each gets a clear refusal or passes as any other request, and the gateway goes on.

use std::time::Duration;

use http::StatusCode;
use semblance::upstream::scripted::Reply;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{Setup, TestGateway, eventually, user};

const ASKED: &str = "How do I descale a kettle?";
const CHAT: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-test\r\n";

/// Sends bytes and returns all that comes back until the gateway closes.
async fn exchange(gateway: &TestGateway, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(gateway.app.listen).await.unwrap();
    // It may close before it has read all.
    let _ = stream.write_all(bytes.as_ref()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// It still answers everybody else.
async fn assert_goes_on(gateway: &TestGateway) {
    gateway.script.push(Reply::text("Use vinegar."));
    let namespace = format!("n{}", fastrand::u64(..));
    let answer = gateway.chat_with(&user(ASKED), &[("x-semblance-namespace", &namespace)]).await;
    assert_eq!((answer.status, answer.content().as_str()), (200, "Use vinegar."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_end_is_in_doubt_is_refused_and_its_connection_closed() {
    let gateway = TestGateway::start().await;
    let body = user(ASKED).to_string();
    let length = format!("content-length: {}\r\n", body.len());
    for (what, head, body) in [
        ("two lengths", format!("{length}content-length: 3\r\n"), body.as_str()),
        ("a list of lengths", "content-length: 3, 4\r\n".to_owned(), "abc"),
        ("a negative length", "content-length: -5\r\n".to_owned(), ""),
        ("a signed length", "content-length: +5\r\n".to_owned(), "abcde"),
        ("an unknown coding", "transfer-encoding: xchunked\r\n".to_owned(), "0\r\n\r\n"),
        ("a coding behind chunked", "transfer-encoding: chunked, identity\r\n".to_owned(), "0\r\n\r\n"),
        ("a chunk of no size", "transfer-encoding: chunked\r\n".to_owned(), "zz\r\nhello\r\n0\r\n\r\n"),
        ("a folded field", format!("{length}x-a: b\r\n c: d\r\n"), &body),
        ("a space in a name", format!("{length}x a: b\r\n"), &body),
        ("a space behind a name", format!("{length}x-a : b\r\n"), &body),
        ("a NUL in a value", format!("{length}x-a: b\0c\r\n"), &body),
        ("a CR in a value", format!("{length}x-a: b\rc\r\n"), &body),
        ("two hosts", format!("{length}host: y\r\n"), &body),
    ] {
        let answer = exchange(&gateway, format!("{CHAT}{head}\r\n{body}")).await;
        assert_eq!(status(&answer), "400", "{what}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{what}: {answer}");
    }
    assert_eq!(gateway.calls(), 0);
    assert_goes_on(&gateway).await;
}

/// Whoever passed it on may have gone by the other of the two, so what follows is never read as a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_is_refused_and_what_follows_is_never_read() {
    let gateway = TestGateway::start().await;
    let hidden = "GET /v1/hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    for head in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nx-a: b\r\nContent-Length: 4\r\n",
    ] {
        for path in ["chat/completions", "files", "models", "embeddings"] {
            let request = format!("{}{head}\r\n0\r\n\r\n{hidden}", CHAT.replace("chat/completions", path));
            let answer = exchange(&gateway, request).await;
            assert_eq!((status(&answer), answer.matches("HTTP/1.1 ").count()), ("400", 1), "{path}: {answer}");
            assert!(answer.contains("unsound_request"), "{answer}");
        }
    }
    assert_eq!(gateway.calls(), 0);
    // Either alone is sound, also one after the other on one connection.
    let body = user(ASKED).to_string();
    let plain = format!("{CHAT}content-length: {}\r\n\r\n{body}", body.len());
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let chunked = format!("{CHAT}connection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
    let answers = exchange(&gateway, format!("{plain}{chunked}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_goes_on(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_above_the_base_url_or_to_another_host() {
    let gateway = TestGateway::start().await;
    for path in ["/v1/../admin", "/v1/%2e%2e/admin", "/v1/.%2E/admin", "/v1/a\\..\\admin", "/."] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = exchange(&gateway, head).await;
        assert_eq!(status(&answer), "400", "{path}: {answer}");
        assert!(answer.contains("unsound_request"), "{answer}");
    }
    let tunnel = exchange(&gateway, "CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: 169.254.169.254:80\r\n\r\n").await;
    assert_eq!(status(&tunnel), "400", "{tunnel}");
    assert_eq!(gateway.calls(), 0);
    // What names another host goes to the provider all the same.
    for (at, target) in ["http://169.254.169.254/latest/meta-data", "//169.254.169.254/latest"].iter().enumerate() {
        let head = format!("GET {target} HTTP/1.1\r\nhost: 169.254.169.254\r\nconnection: close\r\n\r\n");
        assert_eq!(status(&exchange(&gateway, head).await), "404", "{target}");
        let received = gateway.script.received();
        assert_eq!(received.len(), at + 1, "{target}");
        assert!(received[at].path_and_query.ends_with(target.rsplit("169.254.169.254").next().unwrap()));
    }
    assert_goes_on(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_is_not_on_the_data_plane() {
    let gateway = TestGateway::start().await;
    for path in ["/semblance/stats", "/semblance/purge", "/metrics", "/readyz", "/livez"] {
        let answer = gateway.get(path, &[]).await;
        assert_eq!((answer.status, answer.outcome()), (404, "bypass"), "{path}: the provider's own answer");
        assert!(answer.body.contains("demo model"), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_refused() {
    let gateway = TestGateway::start().await;
    let long = format!("GET /v1/models?{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    assert_eq!(status(&exchange(&gateway, long).await), "414");
    let big = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-big: {}\r\n\r\n", "a".repeat(1_000_000));
    assert_eq!(status(&exchange(&gateway, big).await), "431");
    let many: String = (0..1000).map(|number| format!("x-{number}: y\r\n")).collect();
    let many = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    assert_eq!(status(&exchange(&gateway, many).await), "431");
    assert_goes_on(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_is_refused() {
    let gateway = TestGateway::start().await;
    let hello = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), &[b'a'; 500]].concat();
    for bytes in [b"\0\x01\x02\x03\r\n\r\n".as_slice(), &hello, b"GET / HTTP/9.9\r\nhost: x\r\n\r\n"] {
        assert_eq!(status(&exchange(&gateway, bytes).await), "400");
    }
    let nobody = exchange(&gateway, "GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert_eq!(status(&nobody), "400", "{nobody}");
    assert_goes_on(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_given_up_wherever_it_goes() {
    let setup = Setup::new().config(|config| config.limits.client_stall = Duration::from_millis(500));
    let gateway = setup.start().await;
    let begun = format!("{CHAT}content-length: 500\r\n\r\n{{\"model\"");
    let answer = exchange(&gateway, begun).await;
    assert_eq!(status(&answer), "408", "{answer}");
    let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["error"]["code"], "body_stalled");
    let huge = format!("{CHAT}transfer-encoding: chunked\r\n\r\nffffffffffffff\r\nhello");
    assert_eq!(status(&exchange(&gateway, huge).await), "408");
    let passed = CHAT.replace("chat/completions", "files");
    for framing in ["content-length: 500", "content-length: 500000", "transfer-encoding: chunked"] {
        let answer = exchange(&gateway, format!("{passed}{framing}\r\n\r\n1\r\na\r\n")).await;
        assert!(status(&answer).starts_with('4'), "{framing}: {answer}");
    }
    eventually("no connection is left", || async { gateway.app.gateway().parts().tasks.count("connection") == 0 })
        .await;
    assert_goes_on(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_made_to_break_parsers_reach_the_provider_as_they_are_or_are_refused() {
    let gateway = TestGateway::start().await;
    let head = b"{\"model\":\"m\",\"messages\":";
    let nested = |open: &str, close: &str, times: usize| {
        [head.as_slice(), open.repeat(times).as_bytes(), b"1", close.repeat(times).as_bytes(), b"}"].concat()
    };
    let text = |text: &[u8]| [head.as_slice(), b"[{\"role\":\"user\",\"content\":\"", text, b"\"}]}"].concat();
    for (what, body) in [
        ("deep lists", nested("[", "]", 100_000)),
        ("deep objects", nested("{\"a\":", "}", 100_000)),
        ("a huge number", b"{\"model\":\"m\",\"temperature\":1e999999999999,\"messages\":[]}".to_vec()),
        ("a long number", [b"{\"model\":\"m\",\"seed\":".as_slice(), &[b'9'; 100_000], b"}"].concat()),
        ("no text", text(b"\xff\xfe")),
        ("half a pair", text(b"\\ud800")),
        ("nothing but NUL", vec![0; 1000]),
        ("the same key twice", b"{\"model\":\"a\",\"model\":\"b\",\"messages\":[]}".to_vec()),
    ] {
        let before = gateway.calls();
        let request =
            gateway.client.post(gateway.url("/v1/chat/completions")).header("authorization", "Bearer sk-test");
        let answer = request.body(body.clone()).send().await.unwrap();
        assert_eq!(answer.headers()["x-semblance-cache"], "bypass", "{what}");
        assert_eq!(gateway.calls(), before + 1, "{what}");
        assert_eq!(gateway.script.last().unwrap().body, body, "{what}");
    }
    let long = json!({"model": "m".repeat(500_000), "messages": [{"role": "user", "content": ASKED}]});
    assert_eq!(gateway.chat(&long).await.status, 200);
    assert_goes_on(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_unpacks_to_more_than_the_limit_is_refused_without_holding_it() {
    use std::io::Write;
    let gateway = Setup::new().config(|config| config.limits.body_bytes = 1 << 20).start().await;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b' '; 64 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    assert!(packed.len() < 100_000);
    let request = gateway.client.post(gateway.url("/v1/chat/completions")).header("authorization", "Bearer sk-test");
    let answer = request.header("content-encoding", "gzip").body(packed).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(gateway.calls(), 0);
    assert_goes_on(&gateway).await;
}

/// Nothing of a request comes back as a header, so no header can be smuggled into an answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_says_is_in_no_header_of_the_answer() {
    let gateway = TestGateway::start().await;
    let marked = "zzmark%0d%0aset-cookie: x";
    let headers = [("x-semblance-namespace", marked), ("x-semblance-tags", "zzmark"), ("x-request-id", "zzmark")];
    let miss = gateway.chat_with(&user("zzmark"), &headers).await;
    let hit = gateway.chat_with(&user("zzmark"), &headers).await;
    let wrong = gateway.chat_with(&user("zzmark"), &[("x-semblance-threshold", "zzmark")]).await;
    assert_eq!((miss.outcome(), hit.outcome(), wrong.status), ("miss", "hit-exact", 400));
    for answer in [&miss, &hit, &wrong] {
        for (name, value) in &answer.headers {
            assert!(!value.to_str().unwrap().contains("zzmark"), "{name}: {value:?}");
        }
    }
}

/// No header and no body names a host that the gateway would call.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_chooses_where_the_gateway_calls() {
    let gateway = TestGateway::start().await;
    let elsewhere = "http://127.0.0.1:1/";
    let headers = [
        ("helicone-target-url", elsewhere),
        ("x-portkey-custom-host", elsewhere),
        ("x-forwarded-host", "127.0.0.1:1"),
        ("x-semblance-upstream", elsewhere),
        ("x-semblance-judge", elsewhere),
    ];
    gateway.script.push(Reply::text("Use vinegar."));
    let body = json!({"model": "m", "messages": [{"role": "user", "content": ASKED}], "base_url": elsewhere, "api_base": elsewhere});
    let answer = gateway.chat_with(&body, &headers).await;
    assert_eq!((answer.status, answer.content().as_str()), (200, "Use vinegar."));
    assert_eq!(gateway.calls(), 1, "the configured provider, and nobody else");
}

/// Who asks cannot tell from anything it is told whether somebody else has asked before.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_another_scope_does_not_show() {
    let gateway = TestGateway::start().await;
    let as_user = |key: &'static str, question: &'static str| {
        let gateway = &gateway;
        async move {
            gateway.script.push(Reply::text("Use vinegar."));
            gateway.chat_with(&user(question), &[("authorization", key)]).await
        }
    };
    as_user("Bearer sk-first", ASKED).await;
    let known = as_user("Bearer sk-second", ASKED).await;
    let new = as_user("Bearer sk-second", "How do I polish a brass door knob?").await;
    assert_eq!(gateway.calls(), 3, "no call is saved by what others asked");
    assert_eq!((known.status, known.outcome()), (new.status, new.outcome()));
    for name in ["cache-status", "x-semblance-category", "x-semblance-entry", "x-semblance-similarity", "age"] {
        assert_eq!(known.header(name), new.header(name), "{name}");
    }
}
