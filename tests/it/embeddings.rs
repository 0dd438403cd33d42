//! Embeddings: every element of a batch is a question of its own.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, header};
use semblance::upstream::scripted::{Gate, Reply};
use serde_json::{Value, json};

use crate::harness::{Answer, Setup, TestGateway, eventually, with};

const PATH: &str = "/v1/embeddings";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn body(input: &Value) -> Value {
    json!({"model": "text-embedding-3-small", "input": input, "dimensions": 8})
}

async fn embed(gateway: &TestGateway, input: &Value) -> Answer {
    gateway.post(PATH, &body(input), &[]).await
}

fn in_base64(input: &Value) -> Value {
    with(body(input), &json!({"encoding_format": "base64"}))
}

/// Every vector of an answer as f32, whichever way it is written; the indices must be in order.
fn vectors(answer: &Answer) -> Vec<Vec<f32>> {
    let whole = answer.json();
    let data = whole["data"].as_array().unwrap_or_else(|| panic!("{}", answer.body));
    let vector = |(at, item): (usize, &Value)| {
        assert_eq!((&item["index"], &item["object"]), (&json!(at), &json!("embedding")));
        match &item["embedding"] {
            Value::String(text) => decoded(text),
            numbers => serde_json::from_value(numbers.clone()).unwrap(),
        }
    };
    data.iter().enumerate().map(vector).collect()
}

/// Base64 to f32, the plain way.
fn decoded(text: &str) -> Vec<f32> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sextets = text.bytes().filter_map(|byte| alphabet.iter().position(|letter| *letter == byte));
    let bits: Vec<usize> = sextets.flat_map(|sextet| (0..6).rev().map(move |bit| sextet >> bit & 1)).collect();
    let byte = |bits: &[usize]| u8::try_from(bits.iter().fold(0, |byte, bit| byte << 1 | bit)).unwrap();
    let bytes: Vec<u8> = bits.chunks_exact(8).map(byte).collect();
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

fn tokens(answer: &Answer) -> u64 {
    assert_eq!(answer.json()["usage"]["prompt_tokens"], answer.json()["usage"]["total_tokens"]);
    answer.json()["usage"]["total_tokens"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_asked_again_is_the_same_answer_without_a_call() {
    let gateway = TestGateway::start().await;
    for request in [body(&json!(["one", "two words", "three"])), in_base64(&json!(["a", "b c"]))] {
        let miss = gateway.post(PATH, &request, &[]).await;
        let hit = gateway.post(PATH, &request, &[]).await;
        assert_eq!((miss.outcome(), hit.outcome()), ("miss", "hit-exact"));
        assert_eq!(miss.json(), hit.json());
        let status = miss.header("cache-status");
        assert!(status.contains("fwd=uri-miss; fwd-status=200; stored; ttl=2592000"), "{status}");
        assert_eq!(hit.header("cache-status"), "semblance; hit; ttl=2592000; detail=exact");
        assert_eq!((miss.header("age"), hit.header("age")), ("", "0"));
        assert_eq!(hit.header("x-semblance-category"), "embeddings");
        assert_eq!(hit.header("x-semblance-saved-input-tokens"), tokens(&miss).to_string());
        assert!(hit.header("x-request-id").starts_with("sem-") && !hit.header("x-semblance-entry").is_empty());
    }
    assert_eq!(gateway.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_61_of_a_batch_only_what_is_missing_is_asked_for_and_both_encodings_say_the_same() {
    let gateway = TestGateway::start().await;
    let alone = vectors(&embed(&gateway, &json!("middle")).await);
    let known = embed(&gateway, &json!(["first", "last"])).await;
    let partial = gateway.post(PATH, &in_base64(&json!(["first", "middle", "new", "last"])), &[]).await;
    assert_eq!(gateway.calls(), 3);
    assert_eq!(gateway.script.last().unwrap().json(), in_base64(&json!(["new"])), "one element upstream");
    assert_eq!(partial.outcome(), "miss");
    let status = partial.header("cache-status");
    assert!(status.contains("fwd=partial; fwd-status=200; stored; ttl="), "{status}");
    assert_eq!(partial.header("age"), "", "what was fetched has none");
    let together = vectors(&partial);
    assert_eq!((&together[0], &together[1], &together[3]), (&vectors(&known)[0], &alone[0], &vectors(&known)[1]));
    assert_eq!(tokens(&partial), 4);
    let floats = embed(&gateway, &json!(["first", "middle", "new", "last"])).await;
    assert_eq!(floats.outcome(), "hit-exact");
    assert!(floats.json()["data"][0]["embedding"].is_array() && partial.json()["data"][0]["embedding"].is_string());
    assert_eq!(vectors(&floats), together);
    assert_eq!((tokens(&floats), gateway.calls()), (4, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_62_token_ids_are_cached_exactly_and_apart_from_text() {
    let gateway = TestGateway::start().await;
    let ids = json!([1, 22, 333]);
    let single = embed(&gateway, &ids).await;
    assert_eq!((single.outcome(), vectors(&single).len()), ("miss", 1));
    assert_eq!(embed(&gateway, &ids).await.outcome(), "hit-exact");
    let listed = embed(&gateway, &json!([[1, 22, 333]])).await;
    assert_eq!((listed.outcome(), vectors(&listed)), ("hit-exact", vectors(&single)));
    for other in [json!("[1,22,333]"), json!("1 22 333"), json!([1, 22]), json!([[1], [22], [333]]), json!([122, 333])]
    {
        assert_eq!(embed(&gateway, &other).await.outcome(), "miss", "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_shapes_a_vector_or_tells_callers_apart_keeps_elements_apart() {
    let gateway = TestGateway::start().await;
    let plain = body(&json!("text"));
    gateway.post(PATH, &plain, &[]).await;
    for variant in [
        json!({"model": "text-embedding-3-large"}),
        json!({"dimensions": 16}),
        json!({"input_type": "query"}),
        json!({"input": "Text"}),
        json!({"input": "text "}),
    ] {
        assert_eq!(gateway.post(PATH, &with(plain.clone(), &variant), &[]).await.outcome(), "miss", "{variant}");
    }
    for headers in [
        &[("authorization", "Bearer sk-other")][..],
        &[("openai-organization", "org-2")],
        &[("x-semblance-namespace", "n2")],
    ] {
        assert_eq!(gateway.post(PATH, &plain, headers).await.outcome(), "miss", "{headers:?}");
    }
    let same = with(plain.clone(), &json!({"user": "u-1", "encoding_format": "float"}));
    assert_eq!(gateway.post(PATH, &same, &[]).await.outcome(), "hit-exact");
    assert_eq!(gateway.post("/embeddings", &plain, &[]).await.outcome(), "hit-exact", "either base URL");
}

#[tokio::test(flavor = "multi_thread")]
async fn directives_are_honoured() {
    let gateway = TestGateway::start().await;
    let text = body(&json!("text"));
    let cold = gateway.post(PATH, &text, &[("cache-control", "only-if-cached")]).await;
    assert_eq!((cold.status, cold.header("x-should-retry"), gateway.calls()), (504, "false", 0));
    for _ in 0..2 {
        let untouched = gateway.post(PATH, &text, &[("cache-control", "no-store")]).await;
        assert_eq!(untouched.header("cache-status"), "semblance; fwd=bypass; detail=no-store");
    }
    assert_eq!(gateway.post(PATH, &text, &[("x-semblance-mode", "off")]).await.outcome(), "bypass");
    assert_eq!(gateway.post(PATH, &text, &[("x-semblance-ttl", "10s")]).await.outcome(), "miss");
    assert_eq!(gateway.calls(), 4);
    let only = gateway.post(PATH, &text, &[("cache-control", "only-if-cached")]).await;
    assert_eq!(only.header("cache-status"), "semblance; hit; ttl=10; detail=exact");
    let partly = body(&json!(["text", "other"]));
    assert_eq!(gateway.post(PATH, &partly, &[("cache-control", "only-if-cached")]).await.status, 504);
    gateway.hand.advance(Duration::from_secs(11));
    assert_eq!(gateway.post(PATH, &text, &[("cache-control", "max-stale=5")]).await.outcome(), "miss");
    let fresh = gateway.post(PATH, &text, &[("cache-control", "no-cache")]).await;
    assert!(fresh.header("cache-status").contains("fwd=request"), "{}", fresh.header("cache-status"));
    let litellm = with(text.clone(), &json!({"cache": {"no-cache": true}}));
    assert_eq!(gateway.post(PATH, &litellm, &[]).await.outcome(), "miss");
    assert_eq!(gateway.script.last().unwrap().json(), text, "and the member does not go upstream");
    assert_eq!(gateway.post(PATH, &text, &[("x-semblance-ttl", "tomorrow")]).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_is_kept_for_a_month_or_as_its_policy_says_and_longer_than_other_answers() {
    let gateway = TestGateway::start().await;
    embed(&gateway, &json!("What is my balance right now?")).await;
    gateway.hand.advance(DAY * 29);
    let store = gateway.app.store();
    semblance::jobs::reap_once(gateway.app.gateway(), store.as_ref(), u64::MAX).await.unwrap();
    let late = embed(&gateway, &json!("What is my balance right now?")).await;
    assert_eq!((late.outcome(), late.header("age")), ("hit-exact", (29 * 86_400).to_string().as_str()));
    gateway.hand.advance(DAY * 2);
    let gone = embed(&gateway, &json!("What is my balance right now?")).await;
    assert!(gone.header("cache-status").contains("fwd=stale"), "{}", gone.header("cache-status"));

    let default = "category = \"default\"\n[freshness]\nttl = \"1h\"\n";
    let hour = "category = \"embeddings\"\n[freshness]\nttl = \"1h\"\n[reuse]\nscope = \"shared\"\n";
    let files = [("default.toml", default), ("embeddings.toml", hour)];
    let gateway = Setup::new().policies(&files).start().await;
    embed(&gateway, &json!("text")).await;
    let other = gateway.post(PATH, &body(&json!("text")), &[("authorization", "Bearer sk-other")]).await;
    assert_eq!(other.outcome(), "hit-exact", "shared, as the file says");
    gateway.hand.advance(Duration::from_secs(3601));
    assert_eq!(embed(&gateway, &json!("text")).await.outcome(), "miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_or_a_named_category_shortens_a_vectors_life_down_to_none() {
    let default = "category = \"default\"\n[freshness]\nttl = \"1h\"\n";
    let never = "category = \"secret\"\n[match]\nmodels = [\"secret-*\"]\n[freshness]\nttl = \"0s\"\n";
    let brief = "category = \"brief\"\n[match]\nphrases = [\"text\"]\n[freshness]\nttl = \"5m\"\n";
    let files = [("default.toml", default), ("secret.toml", never), ("brief.toml", brief)];
    let gateway = Setup::new().policies(&files).start().await;
    let secret = with(body(&json!("text")), &json!({"model": "secret-1"}));
    for _ in 0..2 {
        let bypassed = gateway.post(PATH, &secret, &[]).await;
        assert_eq!(bypassed.header("cache-status"), "semblance; fwd=bypass; detail=zero-ttl");
    }
    let named = gateway.post(PATH, &body(&json!("text")), &[("x-semblance-category", "brief")]).await;
    assert!(named.header("cache-status").ends_with("; stored; ttl=300"), "{}", named.header("cache-status"));
    gateway.hand.advance(Duration::from_secs(301));
    assert_eq!(embed(&gateway, &json!("text")).await.outcome(), "miss", "what was asked for briefly stays brief");
}

#[tokio::test(flavor = "multi_thread")]
async fn purges_reach_vectors_and_a_restart_does_not() {
    let gateway = TestGateway::start().await;
    let tagged = &[("x-semblance-tags", "corpus-1")];
    gateway.post(PATH, &body(&json!(["a", "b"])), tagged).await;
    embed(&gateway, &json!("c")).await;
    let (_, purged) = gateway.admin_post("/semblance/purge", &json!({"tag": "corpus-1"})).await;
    assert_eq!(purged["purged"], 2);
    assert_eq!(embed(&gateway, &json!("a")).await.outcome(), "miss");
    let gateway = gateway.restart().await;
    let hit = embed(&gateway, &json!(["c", "a"])).await;
    assert_eq!(hit.outcome(), "hit-exact");
    let scope = &gateway.admin_get("/semblance/entries").await["entries"][0]["scope"];
    let (status, purged) = gateway.admin_post("/semblance/purge", &json!({"scope": scope, "soft": true})).await;
    assert_eq!((status, &purged["purged"]), (200, &json!(2)), "{purged}");
    assert_eq!(embed(&gateway, &json!("c")).await.outcome(), "miss");
    let gate = Gate::closed();
    let whole =
        json!({"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]});
    gateway.script.push(Reply::json(StatusCode::OK, &whole).behind(&gate));
    let gateway = Arc::new(gateway);
    let calls = gateway.calls();
    let asking = spawn(&gateway, body(&json!("d")));
    gateway.script.reached(calls + 1).await;
    gateway.admin_post("/semblance/purge", &json!({"all": true})).await;
    gate.open();
    let overtaken = asking.await.unwrap();
    assert!(overtaken.header("cache-status").ends_with("detail=purged"), "{}", overtaken.header("cache-status"));
    for input in ["c", "d"] {
        assert_eq!(embed(&gateway, &json!(input)).await.outcome(), "miss");
    }
}

#[expect(clippy::disallowed_methods, reason = "a client of the gateway, not a task of it")]
fn spawn(gateway: &Arc<TestGateway>, body: Value) -> tokio::task::JoinHandle<Answer> {
    let gateway = Arc::clone(gateway);
    tokio::spawn(async move { gateway.post(PATH, &body, &[]).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn case_59_what_is_no_plain_answer_passes_unchanged_and_is_not_kept() {
    let gateway = TestGateway::start().await;
    let item = |index: u64| json!({"object": "embedding", "index": index, "embedding": [0.5]});
    let list = |data: Value| json!({"object": "list", "model": "m", "data": data});
    for (status, odd) in [
        (StatusCode::OK, list(json!([item(0)]))),
        (StatusCode::OK, list(json!([item(0), item(0)]))),
        (StatusCode::OK, with(list(json!([item(0), item(1)])), &json!({"warnings": ["truncated"]}))),
        (StatusCode::OK, json!({"error": {"message": "no capacity"}})),
        (StatusCode::OK, json!({"embeddings": [[0.5]]})),
        (StatusCode::UNAUTHORIZED, json!({"error": {"message": "bad key"}})),
        (StatusCode::TOO_MANY_REQUESTS, json!({"error": {"message": "slow down"}})),
        (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": {"message": "oops"}})),
    ] {
        let reply = Reply::json(status, &odd).header(header::RETRY_AFTER, HeaderValue::from_static("7"));
        gateway.script.push(reply);
        let answer = embed(&gateway, &json!(["a", "b"])).await;
        assert_eq!((answer.status, answer.body.as_str()), (status.as_u16(), odd.to_string().as_str()));
        assert_eq!(answer.header("retry-after"), "7");
        assert!(!answer.header("cache-status").contains("stored"), "{}", answer.header("cache-status"));
    }
    assert_eq!(gateway.calls(), 8);
    let private = Reply::json(StatusCode::OK, &list(json!([item(0), item(1)])))
        .header(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    gateway.script.push(private);
    assert!(embed(&gateway, &json!(["a", "b"])).await.header("cache-status").ends_with("detail=upstream-forbids"));
    gateway.script.push(Reply::connect_error());
    assert_eq!(embed(&gateway, &json!(["a", "b"])).await.status, 502);
    let odd = body(&json!({"text": "a"}));
    assert_eq!(gateway.post(PATH, &odd, &[]).await.header("cache-status"), "semblance; fwd=bypass; detail=unparsable");
    assert_eq!(gateway.script.last().unwrap().json(), odd);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_58_stale_vectors_are_served_when_the_upstream_fails_and_the_policy_allows_it() {
    let default = "category = \"default\"\n[freshness]\nttl = \"1h\"\n";
    let hour = "category = \"embeddings\"\n[freshness]\nttl = \"1h\"\nstale_if_error = \"1d\"\n";
    let gateway = Setup::new().policies(&[("default.toml", default), ("embeddings.toml", hour)]).start().await;
    let old = embed(&gateway, &json!("old")).await;
    gateway.hand.advance(Duration::from_secs(7200));
    let young = embed(&gateway, &json!("young")).await;
    for failure in
        [Reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": {"message": "oops"}})), Reply::connect_error()]
    {
        gateway.script.push(failure);
        let both = embed(&gateway, &json!(["old", "young"])).await;
        assert_eq!((both.status, both.outcome(), both.header("age")), (200, "stale", "7200"));
        assert_eq!(both.header("cache-status"), "semblance; hit; ttl=-3600; detail=stale-if-error");
        assert_eq!(vectors(&both), [vectors(&old), vectors(&young)].concat());
    }
    gateway.script.push(Reply::connect_error());
    assert_eq!(embed(&gateway, &json!(["old", "new"])).await.status, 502, "one is not there at all");
    let put_together = embed(&gateway, &json!(["old", "young"])).await;
    assert_eq!((put_together.outcome(), vectors(&put_together)), ("miss", [vectors(&old), vectors(&young)].concat()));
    assert_eq!(gateway.script.last().unwrap().json(), body(&json!(["old"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_part_that_cannot_be_put_together_makes_the_whole_request_go_upstream() {
    let gateway = TestGateway::start().await;
    let input = json!(["known", "new"]);
    embed(&gateway, &json!("known")).await;
    let replaced = json!({"object": "list", "model": "another", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]});
    let refused = json!({"error": {"message": "input 0 is too long"}});
    for part in [
        Reply::json(StatusCode::OK, &replaced),
        Reply::json(StatusCode::OK, &json!({"odd": true})),
        Reply::json(StatusCode::BAD_REQUEST, &refused),
    ] {
        gateway.script.push(part);
        let calls = gateway.calls();
        let answer = embed(&gateway, &input).await;
        assert_eq!((answer.status, vectors(&answer).len(), gateway.calls() - calls), (200, 2, 2));
        assert_eq!(gateway.script.last().unwrap().json(), body(&input));
        gateway.admin_post("/semblance/purge", &json!({"all": true})).await;
        embed(&gateway, &json!("known")).await;
    }
    gateway.script.push(Reply::json(StatusCode::TOO_MANY_REQUESTS, &json!({"error": {"message": "slow down"}})));
    let calls = gateway.calls();
    assert_eq!(embed(&gateway, &input).await.status, 429);
    assert_eq!(gateway.calls() - calls, 1, "a failure is not made two");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_56_identical_concurrent_batches_cost_one_call() {
    let gateway = Arc::new(TestGateway::start().await);
    embed(&gateway, &json!("known")).await;
    let gate = Gate::closed();
    let data = json!([{"object": "embedding", "index": 0, "embedding": vec![0.5; 8]}]);
    let answer = json!({"object": "list", "model": "text-embedding-3-small", "data": data});
    gateway.script.push(Reply::json(StatusCode::OK, &answer).behind(&gate));
    let waiting: Vec<_> = (0..8).map(|_| spawn(&gateway, body(&json!(["new", "known"])))).collect();
    eventually("all wait on the flight", || async { gateway.app.gateway().flights().waiting() >= 8 }).await;
    gate.open();
    let mut outcomes = Vec::new();
    for answer in waiting {
        let answer = answer.await.unwrap();
        assert_eq!(vectors(&answer)[0], vec![0.5; 8]);
        outcomes.push(answer.outcome().to_owned());
    }
    assert_eq!(gateway.calls(), 2);
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "miss").count(), 1, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_kept_element_by_element() {
    let gateway = TestGateway::start().await;
    let input: Vec<String> = (0..1000).map(|n| format!("chunk {n}")).collect();
    let request = json!({"model": "m", "input": input, "encoding_format": "base64", "dimensions": 1536});
    let miss = gateway.post(PATH, &request, &[]).await;
    assert!(miss.body.len() > 4 << 20, "above what is kept of one answer");
    let hit = gateway.post(PATH, &request, &[]).await;
    assert_eq!((miss.outcome(), hit.outcome()), ("miss", "hit-exact"));
    assert_eq!(miss.json(), hit.json());
}
