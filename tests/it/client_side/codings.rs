//! Compressed bodies: requests are read plain, replays go out in a coding that the client takes.

use std::io::{Read, Write};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use semblance::upstream::scripted::{Reply, Step};
use serde_json::{Value, json};

use super::ASKED;
use crate::harness::{Answer, Setup, TestGateway, streaming, user, with};

const CHAT: &str = "/v1/chat/completions";

fn encoded(coding: &str, plain: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    match coding {
        "gzip" | "x-gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(plain, 3).unwrap(),
        other => panic!("{other}"),
    }
}

fn decoded(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(coded).read_to_end(&mut plain).unwrap(),
        "deflate" => flate2::read::ZlibDecoder::new(coded).read_to_end(&mut plain).unwrap(),
        "zstd" => return zstd::decode_all(coded).unwrap(),
        other => panic!("{other}"),
    };
    plain
}

/// Posts these very bytes, which are in `coding`.
async fn post(gateway: &TestGateway, path: &str, coding: &str, body: Vec<u8>) -> Answer {
    let request = gateway.client.post(gateway.url(path)).header("authorization", "Bearer sk-test");
    let request = request.header("content-type", "application/json").header("content-encoding", coding);
    Answer::read(request.body(body).send().await.unwrap()).await
}

/// Posts `body` as a client that sends this `accept-encoding`.
async fn asking(gateway: &TestGateway, path: &str, body: &Value, accept: &str) -> reqwest::Response {
    let request = gateway.client.post(gateway.url(path)).header("authorization", "Bearer sk-test");
    request.header("accept-encoding", accept).body(body.to_string()).send().await.unwrap()
}

fn long_answer() -> Reply {
    Reply::text(&"Fill it with equal parts of vinegar and water and bring it to the boil. ".repeat(40))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_question_is_the_same_question() {
    let gateway = TestGateway::start().await;
    let message = json!({"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": ASKED}]});
    let vector = json!({"model": "text-embedding-3-small", "input": [ASKED]});
    for (path, body) in [(CHAT, user(ASKED)), ("/v1/messages", message), ("/v1/embeddings", vector)] {
        let body = body.to_string();
        let miss = post(&gateway, path, "gzip", encoded("gzip", body.as_bytes())).await;
        assert_eq!((miss.status, miss.outcome()), (200, "miss"), "{path}: {}", miss.body);
        let received = gateway.script.last().unwrap();
        assert!(!received.headers.contains_key("content-encoding"), "{path}");
        assert_eq!(received.json()["model"], serde_json::from_str::<Value>(&body).unwrap()["model"], "{path}");
        let calls = gateway.calls();
        for coding in ["zstd", "deflate", "gzip", "x-gzip"] {
            assert_eq!(
                post(&gateway, path, coding, encoded(coding, body.as_bytes())).await.outcome(),
                "hit-exact",
                "{path} {coding}"
            );
        }
        assert_eq!(post(&gateway, path, "identity", body.clone().into_bytes()).await.outcome(), "hit-exact", "{path}");
        assert_eq!(gateway.calls(), calls);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_in_codings_that_are_not_read_passes_untouched_and_uncached() {
    let gateway = TestGateway::start().await;
    let body = encoded("gzip", &encoded("gzip", user(ASKED).to_string().as_bytes()));
    for coding in ["br", "gzip, gzip", "aes128gcm"] {
        for _ in 0..2 {
            let answer = post(&gateway, CHAT, coding, body.clone()).await;
            assert_eq!(answer.header("cache-status"), "semblance; fwd=bypass; detail=encoded-body");
            let received = gateway.script.last().unwrap();
            assert_eq!(
                (received.headers["content-encoding"].to_str().unwrap(), &received.body[..]),
                (coding, &body[..])
            );
        }
    }
    assert_eq!(gateway.calls(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_through_body_keeps_its_coding() {
    let gateway = TestGateway::start().await;
    let body = encoded("gzip", b"{\"purpose\": \"batch\"}");
    gateway.script.push(
        Reply::steps(StatusCode::OK, [Step::Send(Bytes::from(body.clone()))])
            .header(header::CONTENT_ENCODING, HeaderValue::from_static("gzip")),
    );
    let response = gateway
        .client
        .post(gateway.url("/v1/files"))
        .header("content-encoding", "gzip")
        .header("accept-encoding", "zstd")
        .body(body.clone());
    let response = response.send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert!(!response.headers().contains_key("vary"));
    assert_eq!(response.bytes().await.unwrap(), body);
    let received = gateway.script.last().unwrap();
    assert_eq!(
        (&received.headers["content-encoding"], &received.body[..]),
        (&HeaderValue::from_static("gzip"), &body[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_decode_is_told_so_in_the_protocols_own_shape() {
    let gateway = TestGateway::start().await;
    let whole = encoded("gzip", user(ASKED).to_string().as_bytes());
    for (coding, body) in [
        ("gzip", &b"{\"model\": \"m\"}"[..]),
        ("gzip", &whole[..whole.len() - 4]),
        ("zstd", &whole),
        ("deflate", &whole),
        ("gzip", b""),
    ] {
        let chat = post(&gateway, CHAT, coding, body.to_vec()).await;
        assert_eq!((chat.status, &chat.json()["error"]["code"]), (400, &json!("body_undecodable")), "{coding}");
        let messages = post(&gateway, "/v1/messages", coding, body.to_vec()).await;
        assert_eq!((messages.status, &messages.json()["type"]), (400, &json!("error")), "{coding}");
    }
    assert_eq!(gateway.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused_and_what_only_the_cache_finds_too_large_passes_as_it_came() {
    let setup = Setup::new().config(|config| {
        config.limits.body_bytes = 1 << 20;
        config.limits.cacheable_body_bytes = 100 << 10;
    });
    let gateway = setup.start().await;
    let padded = |length: usize| with(user(ASKED), &json!({"pad": " ".repeat(length)})).to_string();
    for coding in ["gzip", "deflate", "zstd"] {
        let bomb = encoded(coding, padded(40 << 20).as_bytes());
        assert!(bomb.len() < 100 << 10);
        let answer = post(&gateway, CHAT, coding, bomb).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &json!("body_too_large")), "{coding}");
        assert_eq!(gateway.calls(), 0);
    }
    let large = encoded("zstd", padded(500 << 10).as_bytes());
    let answer = post(&gateway, CHAT, "zstd", large.clone()).await;
    assert!(answer.header("cache-status").contains("detail=body-too-large"), "{answer:?}");
    let received = gateway.script.last().unwrap();
    assert_eq!(
        (&received.headers["content-encoding"], &received.body[..]),
        (&HeaderValue::from_static("zstd"), &large[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_a_replay_is_coded_as_the_client_asks_once_and_streams_never_are() {
    let gateway = TestGateway::start().await;
    gateway.script.push(long_answer());
    let plain = gateway.chat(&user(ASKED)).await;
    assert!(
        !plain.headers.contains_key("vary") && !plain.headers.contains_key("content-encoding"),
        "a miss is the upstream's"
    );
    for (accept, expected) in [
        ("gzip, deflate, zstd", Some("zstd")),
        ("gzip, deflate", Some("gzip")),
        ("deflate", Some("deflate")),
        ("gzip;q=0, deflate;q=0", None),
        ("gzip;q=0.5, identity", None),
        ("*;q=0.1", Some("zstd")),
        ("br", None),
        ("", None),
    ] {
        let response = asking(&gateway, CHAT, &user(ASKED), accept).await;
        let headers = response.headers().clone();
        assert_eq!(headers["x-semblance-cache"], "hit-exact");
        assert_eq!(headers["vary"], "accept-encoding", "{accept}");
        assert!(!headers.contains_key("etag"));
        assert_eq!(headers.get("content-encoding").map(|value| value.to_str().unwrap()), expected, "{accept}");
        let body = response.bytes().await.unwrap();
        assert_eq!(headers["content-length"].to_str().unwrap(), body.len().to_string());
        assert!(expected.is_none() || body.len() < plain.body.len() / 4);
        let body = expected.map_or_else(|| body.to_vec(), |coding| decoded(coding, &body));
        let content = serde_json::from_slice::<Value>(&body).unwrap()["choices"][0]["message"]["content"].clone();
        assert_eq!(content, plain.content(), "{accept}");

        let streamed = Answer::read(asking(&gateway, CHAT, &streaming(user(ASKED)), accept).await).await;
        assert_eq!(
            (streamed.outcome(), streamed.header("content-encoding"), streamed.header("vary")),
            ("hit-exact", "", "")
        );
        assert_eq!(streamed.streamed(), plain.content());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_short_replays_and_refusals_stay_plain_and_lists_and_batches_are_coded() {
    let gateway = TestGateway::start().await;
    gateway.script.push(Reply::text("Use vinegar."));
    gateway.ask(ASKED).await;
    let response = asking(&gateway, CHAT, &user(ASKED), "gzip").await;
    assert_eq!(response.headers()["vary"], "accept-encoding");
    assert!(!response.headers().contains_key("content-encoding"));
    let batch = json!({"model": "text-embedding-3-small", "input": ["one", "two", "three"]});
    for (outcome, coding) in [("miss", None), ("hit-exact", Some("gzip"))] {
        let response = asking(&gateway, "/v1/embeddings", &batch, "gzip").await;
        assert_eq!(response.headers()["x-semblance-cache"], outcome);
        assert_eq!(response.headers().get("content-encoding").map(|value| value.to_str().unwrap()), coding);
    }
    let refused =
        gateway.chat_with(&user("Why?"), &[("accept-encoding", "gzip"), ("cache-control", "only-if-cached")]).await;
    assert_eq!((refused.status, refused.header("content-encoding")), (504, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_20_an_upstream_that_compresses_unasked_is_passed_on_as_it_is_and_not_stored() {
    let gateway = TestGateway::start().await;
    let json = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0,
        "message": {"role": "assistant", "content": "Use vinegar."}, "finish_reason": "stop"}]});
    let events = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for (body, content_type, plain) in [
        (user(ASKED), "application/json", json.to_string()),
        (streaming(user(ASKED)), "text/event-stream", events.to_owned()),
    ] {
        let coded = Bytes::from(encoded("gzip", plain.as_bytes()));
        let reply =
            Reply::steps(StatusCode::OK, coded.chunks(9).map(|piece| Step::Send(Bytes::copy_from_slice(piece))))
                .header(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())
                .header(HeaderName::from_static("content-encoding"), HeaderValue::from_static("gzip"));
        for _ in 0..2 {
            gateway.script.push(reply.clone());
            let response = asking(&gateway, CHAT, &body, "gzip").await;
            let headers = response.headers().clone();
            assert_eq!(
                (&headers["x-semblance-cache"], &headers["content-encoding"]),
                (&HeaderValue::from_static("miss"), &HeaderValue::from_static("gzip"))
            );
            assert_eq!(response.bytes().await.unwrap(), coded);
            assert_eq!(decoded("gzip", &coded), plain.as_bytes());
            assert_eq!(gateway.script.last().unwrap().headers["accept-encoding"], "identity");
        }
    }
    assert_eq!(gateway.calls(), 4);
}
