use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;

fn post(body: &Value) -> UpstreamRequest {
    UpstreamRequest {
        method: Method::POST,
        path_and_query: "/v1/chat/completions".to_owned(),
        headers: HeaderMap::new(),
        model: None,
        may_fall_back: true,
        needs_own_key: false,
        body: UpstreamBody::Whole(Bytes::from(body.to_string())),
    }
}

fn ask(question: &str) -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": question}]})
}

async fn read(response: UpstreamResponse) -> Result<Bytes, crate::upstream::BodyError> {
    let mut stream = response.body;
    let mut whole = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        whole.extend_from_slice(&chunk?);
    }
    Ok(whole.freeze())
}

async fn body_of(upstream: &Scripted, body: &Value) -> Value {
    let response = upstream.send(post(body)).await.unwrap();
    serde_json::from_slice(&read(response).await.unwrap()).unwrap()
}

async fn text_of(upstream: &Scripted, question: &str) -> String {
    body_of(upstream, &ask(question)).await["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

fn frames(bytes: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.split_terminator("\n\n").map(|frame| frame.strip_prefix("data: ").unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_json_answer_has_every_field_that_clients_read() {
    let (clock, _hand) = Clock::manual(Timestamp::from_millis(1_790_000_123_456));
    let upstream = Scripted::programmable().0.with_clock(clock);
    let body = body_of(&upstream, &ask("What is the capital of France?")).await;
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "gpt-4o-mini");
    assert_eq!(body["created"], 1_790_000_123);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    assert_eq!(body["choices"][0]["message"]["content"], "The capital of France is Paris.");
    let usage = &body["usage"];
    assert_eq!(
        usage["total_tokens"].as_u64().unwrap(),
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );
}

#[tokio::test]
async fn close_but_different_questions_get_different_answers() {
    let (upstream, _script) = Scripted::programmable();
    for (one, other) in [
        ("How do I enable 2FA?", "How do I disable 2FA?"),
        ("How do I convert euros to dollars?", "How do I convert dollars to euros?"),
        ("Capital of France?", "Capital of Spain?"),
        ("Can I change my plan?", "How do I cancel my plan?"),
    ] {
        assert_ne!(text_of(&upstream, one).await, text_of(&upstream, other).await, "{one} / {other}");
    }
    assert_eq!(
        text_of(&upstream, "How do I reset my password?").await,
        text_of(&upstream, "I forgot my PASSWORD!").await
    );
}

#[tokio::test]
async fn an_unknown_question_is_answered_honestly() {
    let (upstream, _script) = Scripted::programmable();
    let text = text_of(&upstream, "Who wrote Momo?").await;
    assert_eq!(text, "This is the built-in demo model. You asked: Who wrote Momo?");
}

#[tokio::test]
async fn a_stream_says_the_same_as_the_json_and_ends_with_done() {
    let (upstream, _script) = Scripted::programmable();
    let mut request = ask("Capital of France?");
    request["stream"] = json!(true);
    let response = upstream.send(post(&request)).await.unwrap();
    assert!(response.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/event-stream"));
    let frames = frames(&read(response).await.unwrap());
    assert_eq!(frames.last().unwrap(), "[DONE]");
    let parsed: Vec<Value> = frames[..frames.len() - 1].iter().map(|f| serde_json::from_str(f).unwrap()).collect();
    let text: String = parsed.iter().filter_map(|f| f["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "The capital of France is Paris.");
    assert_eq!(parsed[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(parsed.last().unwrap()["choices"][0]["finish_reason"], "stop");
    assert!(parsed.iter().all(|frame| frame.get("usage").is_none()));
}

#[tokio::test]
async fn usage_comes_in_a_chunk_of_its_own_when_asked_for() {
    let (upstream, _script) = Scripted::programmable();
    let mut request = ask("Capital of France?");
    request["stream"] = json!(true);
    request["stream_options"] = json!({"include_usage": true});
    let frames = frames(&read(upstream.send(post(&request)).await.unwrap()).await.unwrap());
    let parsed: Vec<Value> = frames[..frames.len() - 1].iter().map(|f| serde_json::from_str(f).unwrap()).collect();
    let (last, others) = parsed.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 6);
    assert!(others.iter().all(|frame| frame["usage"].is_null() && frame.get("usage").is_some()));
}

#[tokio::test]
async fn a_token_limit_cuts_the_answer_and_says_so() {
    let (upstream, _script) = Scripted::programmable();
    let mut request = ask("Capital of France?");
    request["max_tokens"] = json!(2);
    let body = body_of(&upstream, &request).await;
    assert_eq!(body["choices"][0]["message"]["content"], "The capital");
    assert_eq!(body["choices"][0]["finish_reason"], "length");
}

#[tokio::test]
async fn json_is_given_when_json_is_asked_for() {
    let (upstream, _script) = Scripted::programmable();
    let mut request = ask("Capital of France?");
    request["response_format"] = json!({"type": "json_object"});
    let body = body_of(&upstream, &request).await;
    let content: Value = serde_json::from_str(body["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content["answer"], "The capital of France is Paris.");
}

#[tokio::test]
async fn responses_are_answered_in_both_shapes_with_every_field_that_clients_read() {
    let (upstream, _script) = Scripted::programmable();
    let post = |body: &Value| UpstreamRequest { path_and_query: "/v1/responses".to_owned(), ..post(body) };
    let said = json!([{"type": "input_text", "text": "What is the capital of France?"}]);
    for input in [json!("What is the capital of France?"), json!([{"role": "user", "content": said}])] {
        let asked = json!({"model": "gpt-5-mini", "input": input, "metadata": {"a": "b"}});
        let whole: Value =
            serde_json::from_slice(&read(upstream.send(post(&asked)).await.unwrap()).await.unwrap()).unwrap();
        assert_eq!((&whole["object"], &whole["status"]), (&json!("response"), &json!("completed")));
        assert_eq!(whole["output"][0]["content"][0]["text"], "The capital of France is Paris.");
        assert_eq!((&whole["model"], &whole["metadata"]), (&json!("gpt-5-mini"), &json!({"a": "b"})));
        let mut streamed = asked.clone();
        streamed["stream"] = json!(true);
        let bytes = read(upstream.send(post(&streamed)).await.unwrap()).await.unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
        let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(deltas, "The capital of France is Paris.");
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number);
        }
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["response"]["usage"]), (&json!("response.completed"), &whole["usage"]));
    }
    let short = json!({"input": "What is the capital of France?", "max_output_tokens": 2});
    let cut: Value = serde_json::from_slice(&read(upstream.send(post(&short)).await.unwrap()).await.unwrap()).unwrap();
    assert_eq!(
        (&cut["status"], &cut["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(upstream.send(post(&json!({}))).await.unwrap().status, 400);
}

#[tokio::test]
async fn other_paths_and_bad_bodies_get_errors_in_openais_shape() {
    let (upstream, _script) = Scripted::programmable();
    for (method, path, body, status) in [
        (Method::POST, "/v1/moderations", "{}", 404),
        (Method::GET, "/v1/chat/completions", "", 404),
        (Method::POST, "/v1/chat/completions", "{", 400),
        (Method::POST, "/v1/chat/completions", "{}", 400),
    ] {
        let request = UpstreamRequest {
            method,
            path_and_query: path.to_owned(),
            headers: HeaderMap::new(),
            model: None,
            may_fall_back: true,
            needs_own_key: false,
            body: UpstreamBody::Whole(Bytes::from_static(body.as_bytes())),
        };
        let response = upstream.send(request).await.unwrap();
        assert_eq!(response.status, status, "{path} {body}");
        let error: Value = serde_json::from_slice(&read(response).await.unwrap()).unwrap();
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
}

#[tokio::test]
async fn the_model_list_works_with_and_without_the_version() {
    let (upstream, _script) = Scripted::programmable();
    for path in ["/v1/models", "/models?limit=2"] {
        let request = UpstreamRequest {
            method: Method::GET,
            path_and_query: path.to_owned(),
            headers: HeaderMap::new(),
            model: None,
            may_fall_back: true,
            needs_own_key: false,
            body: UpstreamBody::Whole(Bytes::new()),
        };
        let body: Value = serde_json::from_slice(&read(upstream.send(request).await.unwrap()).await.unwrap()).unwrap();
        assert_eq!(body["object"], "list", "{path}");
    }
}

#[tokio::test]
async fn queued_replies_come_first_then_the_standing_one_then_answers() {
    let (upstream, script) = Scripted::programmable();
    script.answer("Q?", "known");
    assert_eq!(text_of(&upstream, "Q?").await, "known");
    script.push(Reply::text("first"));
    script.push(Reply::text("second"));
    assert_eq!(text_of(&upstream, "Q?").await, "first");
    assert_eq!(text_of(&upstream, "Q?").await, "second");
    script.always(Reply::text("standing"));
    assert_eq!(text_of(&upstream, "Q?").await, "standing");
    assert_eq!(text_of(&upstream, "Q?").await, "standing");
}

#[tokio::test]
async fn every_request_is_recorded_whole() {
    let (upstream, script) = Scripted::programmable();
    let mut request = post(&ask("Q?"));
    request.headers.insert("x-probe", HeaderValue::from_static("1"));
    let chunks = [Ok(Bytes::from_static(b"{\"a\"")), Ok(Bytes::from_static(b":1}"))];
    request.body = UpstreamBody::Stream(futures_util::stream::iter(chunks).boxed());
    upstream.send(request).await.unwrap();
    assert_eq!(script.calls(), 1);
    let seen = script.last().unwrap();
    assert_eq!((seen.method.as_str(), seen.path_and_query.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(seen.headers["x-probe"], "1");
    assert_eq!(seen.json(), json!({"a": 1}));
}

#[tokio::test]
async fn a_gate_holds_a_whole_reply_and_a_step() {
    let (upstream, script) = Scripted::programmable();
    let (front, middle) = (Gate::closed(), Gate::closed());
    let steps =
        [Step::Send(Bytes::from_static(b"a")), Step::Hold(middle.clone()), Step::Send(Bytes::from_static(b"b"))];
    script.push(Reply::steps(StatusCode::OK, steps).behind(&front));
    let mut call = upstream.send(post(&ask("Q?")));
    assert!(futures_util::poll!(&mut call).is_pending());
    script.reached(1).await;
    front.open();
    let mut body = call.await.unwrap().body;
    assert_eq!(body.next().await.unwrap().unwrap(), "a");
    assert!(futures_util::poll!(body.next()).is_pending());
    middle.open();
    assert_eq!(body.next().await.unwrap().unwrap(), "b");
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn failures_are_errors_and_a_break_is_no_clean_end() {
    let (upstream, script) = Scripted::programmable();
    script.push(Reply::connect_error());
    script.push(Reply::timeout());
    script.push(Reply::broken());
    for reason in ["upstream-connect", "upstream-timeout", "upstream-broken"] {
        assert_eq!(upstream.send(post(&ask("Q?"))).await.unwrap_err().reason(), reason);
    }
    script.push(Reply::events([Step::Send(Bytes::from_static(b"data: 1\n\n")), Step::Break]));
    let response = upstream.send(post(&ask("Q?"))).await.unwrap();
    assert!(read(response).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn the_demo_streams_at_a_readable_pace() {
    let upstream = Scripted::demo(Clock::system());
    let mut request = ask("Capital of France?");
    request["stream"] = json!(true);
    let before = tokio::time::Instant::now();
    read(upstream.send(post(&request)).await.unwrap()).await.unwrap();
    assert_eq!(before.elapsed(), DEMO_PAUSE * 6);
}
