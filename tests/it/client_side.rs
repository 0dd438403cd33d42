//! What clients may do on the wire: both HTTP versions, waiting for leave to send, chunks.

mod codings; // compressed requests and replays
mod cors; // web pages of other origins
mod tls; // the certificate and its renewal
mod wires;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use semblance::upstream::scripted::{Reply, Step};
use serde_json::{Value, json};

use self::wires::{Http2, Provider, Raw, canned};
use crate::harness::{Setup, TestGateway, streaming, user, with};

const ASKED: &str = "How do I descale a kettle?";

/// Fields that HTTP/2 forbids (RFC 9113 8.2.2), and one that `connection` names.
const OF_THE_CONNECTION: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "x-named"];

fn outcome(head: &http::response::Parts) -> &str {
    head.headers["x-semblance-cache"].to_str().unwrap()
}

fn post_head(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer sk-test\r\n{more}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_66_an_http2_client_gets_misses_hits_streams_and_pass_through() {
    let gateway = TestGateway::start().await;
    let mut client = Http2::connect(gateway.app.listen).await;
    let url = gateway.url("/v1/chat/completions");
    let (miss, fetched) = client.post(&url, &user(ASKED)).await;
    assert_eq!((miss.version, miss.status, outcome(&miss)), (http::Version::HTTP_2, StatusCode::OK, "miss"));
    let (hit, replayed) = client.post(&url, &user(ASKED)).await;
    assert_eq!(outcome(&hit), "hit-exact");
    let content = |body: &str| serde_json::from_str::<Value>(body).unwrap()["choices"].clone();
    assert_eq!(content(&replayed), content(&fetched));
    let (streamed, events) = client.post(&url, &streaming(user(ASKED))).await;
    assert_eq!(
        (outcome(&streamed), &streamed.headers["content-type"].to_str().unwrap()[..17]),
        ("hit-exact", "text/event-stream")
    );
    assert!(events.starts_with("data: ") && events.ends_with("data: [DONE]\n\n"), "{events}");
    let (missed, events) = client.post(&url, &streaming(user("Who wrote Emma?"))).await;
    assert!(outcome(&missed) == "miss" && events.ends_with("data: [DONE]\n\n"), "{events}");
    gateway.script.push(Reply::steps(StatusCode::ACCEPTED, [Step::Send(Bytes::from_static(b"\x00\xff"))]));
    let request = Request::put(gateway.url("/v1/files?x=%2F")).header("te", "trailers").body(Full::from("up")).unwrap();
    let (passed, body, _) = client.send(request).await;
    assert_eq!((passed.status, outcome(&passed), &body[..]), (StatusCode::ACCEPTED, "bypass", &b"\x00\xff"[..]));
    let received = gateway.script.last().unwrap();
    assert_eq!((received.path_and_query.as_str(), &received.body[..]), ("/v1/files?x=%2F", &b"up"[..]));
    assert!(!received.headers.contains_key("te"));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_an_http_1_upstreams_connection_and_its_trailers_never_reach_an_http2_client() {
    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nconnection: keep-alive, x-named\r\nkeep-alive: timeout=5\r\nx-named: 1\r\n\
        proxy-connection: keep-alive\r\nupgrade: h3\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\nx-kept: yes\r\n\
        content-type: application/json\r\n\r\n2\r\n{}\r\n0\r\nx-sum: 2\r\n\r\n";
    let (upstream, _) = canned(ANSWER).await;
    let gateway = Setup { upstream: Some(upstream), ..Setup::new() }.start().await;
    let mut client = Http2::connect(gateway.app.listen).await;
    for path in ["/v1/chat/completions", "/v1/files"] {
        let (head, body) = client.post(&gateway.url(path), &user(ASKED)).await;
        assert_eq!(
            (head.status, body.as_str(), &head.headers["x-kept"]),
            (StatusCode::OK, "{}", &HeaderValue::from_static("yes"))
        );
        for name in OF_THE_CONNECTION {
            assert!(!head.headers.contains_key(name), "{name} on {path}");
        }
        assert!(!head.headers.contains_key("trailer"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_66_a_client_that_waits_for_leave_to_send_gets_it_and_then_its_answer() {
    let gateway = TestGateway::start().await;
    let body = user(ASKED).to_string();
    for (path, expected) in
        [("/v1/chat/completions", "miss"), ("/v1/chat/completions", "hit-exact"), ("/v1/files", "bypass")]
    {
        let mut client = Raw::connect(gateway.app.listen).await;
        let announced = format!("expect: 100-continue\r\ncontent-length: {}\r\n", body.len());
        client.write(post_head(path, &announced)).await;
        assert_eq!(client.head().await, "http/1.1 100 continue\r\n\r\n");
        client.write(&body).await;
        let head = client.head().await;
        assert!(head.contains(&format!("x-semblance-cache: {expected}\r\n")), "{head}");
        assert!(!gateway.script.last().unwrap().headers.contains_key("expect"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_66_a_body_declared_too_large_is_refused_before_it_is_sent() {
    let gateway = Setup::new().config(|config| config.limits.body_bytes = 1 << 20).start().await;
    let mut client = Raw::connect(gateway.app.listen).await;
    client.write(post_head("/v1/messages", "expect: 100-continue\r\ncontent-length: 1048577\r\n")).await;
    let head = client.head().await;
    assert!(head.starts_with("http/1.1 413 "), "{head}");
    let error: Value = serde_json::from_str(&client.body_of(&head).await).unwrap();
    assert_eq!((&error["type"], &error["error"]["type"]), (&json!("error"), &json!("request_too_large")));
    assert_eq!(client.rest().await, b"", "the connection ends, for what follows on it is anybody's guess");
    assert_eq!(gateway.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_66_a_chunked_body_is_read_like_any_other() {
    let gateway = TestGateway::start().await;
    gateway.ask(ASKED).await;
    let body = user(ASKED).to_string();
    for (path, expected) in [("/v1/chat/completions", "hit-exact"), ("/v1/files", "bypass")] {
        let mut client = Raw::connect(gateway.app.listen).await;
        client.write(post_head(path, "transfer-encoding: chunked\r\n")).await;
        for piece in body.as_bytes().chunks(7) {
            client.write(format!("{:x};note=1\r\n", piece.len())).await;
            client.write(piece).await;
            client.write("\r\n").await;
        }
        client.write("0\r\nx-trailer: 1\r\n\r\n").await;
        let head = client.head().await;
        assert!(head.contains(&format!("x-semblance-cache: {expected}\r\n")), "{head}");
    }
    assert_eq!(gateway.script.last().unwrap().body, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_66_head_and_options_pass_and_the_connection_goes_on() {
    let gateway = TestGateway::start().await;
    let mut client = Raw::connect(gateway.app.listen).await;
    for path in ["/v1/chat/completions", "/v1/models", "/v1/files/f"] {
        let length = (header::CONTENT_LENGTH, HeaderValue::from_static("12345"));
        gateway.script.push(Reply::steps(StatusCode::OK, []).header(length.0, length.1));
        client.write(format!("HEAD {path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer sk-test\r\n\r\n")).await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 200 ") && head.contains("\r\ncontent-length: 12345\r\n"), "{head}");
        assert_eq!(gateway.script.last().unwrap().method, "HEAD");

        let allow = HeaderValue::from_static("POST, OPTIONS");
        gateway.script.push(Reply::steps(StatusCode::NO_CONTENT, []).header(header::ALLOW, allow));
        client.write(format!("OPTIONS {path} HTTP/1.1\r\nhost: gateway\r\norigin: https://app\r\n\r\n")).await;
        let head = client.head().await;
        assert!(head.starts_with("http/1.1 204 ") && head.contains("\r\nallow: post, options\r\n"), "{head}");
        assert!(!head.contains("access-control-"), "off unless asked for: {head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_random_megabytes_with_odd_headers_pass_both_ways_at_real_sockets() {
    let noise = |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = vec![0u8; 20_000_000];
        random.fill(&mut bytes);
        Bytes::from(bytes)
    };
    let (up, down) = (noise(1), noise(2));
    let odd: HeaderMap =
        [("x-odd", "one"), ("x-odd", "two, three"), ("x-empty", ""), ("set-cookie", "a=1"), ("set-cookie", "b=2")]
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .chain([(HeaderName::from_static("x-latin"), HeaderValue::from_bytes(b"caf\xe9").unwrap())])
            .collect();
    let (provider, upstream) = Provider::start(odd.clone(), down.clone()).await;
    let gateway = Setup { upstream: Some(upstream), ..Setup::new() }.start().await;
    for client in
        [gateway.client.clone(), reqwest::Client::builder().no_proxy().http2_prior_knowledge().build().unwrap()]
    {
        let request = client.post(gateway.url("/v1/unheard/of?a=1&a=2&b=%2F%20+&c")).headers(odd.clone());
        let response = request.header("content-encoding", "x-secret").body(up.clone()).send().await.unwrap();
        let headers = response.headers().clone();
        assert!(blake3::hash(&response.bytes().await.unwrap()) == blake3::hash(&down));
        let seen = provider.seen.lock().unwrap().pop().unwrap();
        assert!(blake3::hash(&seen.body) == blake3::hash(&up));
        assert_eq!(seen.target, "/v1/unheard/of?a=1&a=2&b=%2F%20+&c");
        assert_eq!(seen.headers["content-encoding"], "x-secret");
        for name in odd.keys() {
            let values = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
            assert_eq!(values(&headers), values(&odd), "{name} to the client");
            assert_eq!(values(&seen.headers), values(&odd), "{name} to the upstream");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paths_own_spelling_reaches_the_upstream() {
    let (provider, upstream) = Provider::start(HeaderMap::new(), Bytes::new()).await;
    let gateway = Setup { upstream: Some(upstream), ..Setup::new() }.start().await;
    for target in [
        "/v1/files/a%2Fb%2fc",
        "/v1//files///x",
        "/v1/files?",
        "/v1/files??a=b?",
        "/v1/files/caf%C3%A9%20x;p=1,2",
        "/v1/files/@:!$&'()*+,;=~",
        "/v1/files?q=a+b&&=&%00",
        "/",
    ] {
        let mut client = Raw::connect(gateway.app.listen).await;
        client
            .write(format!(
                "GET {target} HTTP/1.1\r\nHOST: gateway\r\nX-MiXeD: a\r\nx-mixed: b\r\nconnection: close\r\n\r\n"
            ))
            .await;
        client.rest().await;
        let seen = provider.seen.lock().unwrap().pop().unwrap();
        assert_eq!(seen.target, target);
        assert_eq!(seen.headers.get_all("x-mixed").iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_cache_cannot_look_at_is_not_sent_when_only_the_cache_may_answer() {
    let gateway = Setup::new().config(|config| config.limits.cacheable_body_bytes = 2048).start().await;
    let asked = [("cache-control", "only-if-cached")];
    let large = with(user(ASKED), &json!({"x": "y".repeat(4000)}));
    let answer = gateway.chat_with(&large, &asked).await;
    assert_eq!((answer.status, gateway.calls()), (504, 0));
    let coded = gateway.chat_with(&user(ASKED), &[asked[0], ("content-encoding", "br")]).await;
    assert_eq!((coded.status, gateway.calls()), (504, 0));
    assert_eq!(gateway.chat_with(&large, &[]).await.outcome(), "bypass");
}
