//! Traces and metrics as an OpenTelemetry collector gets them.

mod collector;

use std::{sync::Arc, time::Duration};

use collector::{Collector, Span, number, text};
use http::{HeaderName, HeaderValue, StatusCode};
use opentelemetry_proto::tonic::trace::v1::{span::SpanKind, status::StatusCode as Mark};
use semblance::{
    otel::Sampling,
    upstream::{
        http::install_tls,
        scripted::{Reply, Scripted, Step},
    },
};
use serde_json::json;

use crate::harness::{Setup, TestGateway, streaming, user, with};

const ASKED: &str = "How do I enable two-factor authentication?";
const REWORDED: &str = "How can I enable two-factor authentication?";
const ANSWER: &str = "Open Security and flip the switch.";
/// What a client sends that is part of a trace: its trace and its own span, recorded.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// A gateway that tells this collector, in front of a provider with an address.
async fn started(collector: &Collector) -> TestGateway {
    setup(collector).start().await
}

fn setup(collector: &Collector) -> Setup {
    let settings = collector.settings();
    Setup::new().config(|config| config.otlp = Some(settings))
}

/// Asks `question` and gets [`ANSWER`].
async fn ask(gateway: &TestGateway, question: &str) -> &'static str {
    gateway.script.answer(question, ANSWER);
    match gateway.ask(question).await.outcome() {
        "miss" => "miss",
        "hit-exact" => "hit-exact",
        "hit-semantic" => "hit-semantic",
        other => panic!("{other}"),
    }
}

fn server(spans: &[Span]) -> &Span {
    only(spans, SpanKind::Server)
}

fn only(spans: &[Span], kind: SpanKind) -> &Span {
    let found: Vec<&Span> = spans.iter().filter(|span| span.kind() == kind).collect();
    assert_eq!(found.len(), 1, "{spans:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_is_a_span_with_its_vector_its_lookup_and_its_upstream_call_inside() {
    let collector = Collector::start().await;
    install_tls();
    let (model, script) = Scripted::programmable();
    script.answer(ASKED, ANSWER);
    let model = model.with_base_url("https://llm.example/v1");
    let gateway = Setup { upstream: Some(Arc::new(model)), ..setup(&collector) }.start().await;
    let answer = gateway.ask(ASKED).await;
    let id = answer.header("x-semblance-request-id").to_owned();
    assert_eq!(answer.outcome(), "miss");
    gateway.stop().await;
    let spans = collector.spans();
    let request = server(&spans);
    assert_eq!(request.name, "chat gpt-4o-mini");
    assert!(request.parent_span_id.is_empty());
    for (name, value) in [
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4o-mini"),
        ("gen_ai.response.model", "gpt-4o-mini"),
        ("semblance.outcome", "miss"),
        ("semblance.reason", "empty"),
        ("semblance.request_id", &id),
    ] {
        assert_eq!(text(request, name), value, "{name}");
    }
    assert!(!text(request, "semblance.category").is_empty());
    let call = only(&spans, SpanKind::Client);
    assert_eq!((call.name.as_str(), text(call, "server.address")), ("chat gpt-4o-mini", "llm.example"));
    assert_eq!((number(call, "server.port"), number(call, "http.response.status_code")), (443, 200));
    for span in [request, call] {
        assert!(number(span, "gen_ai.usage.input_tokens") > 0 && number(span, "gen_ai.usage.output_tokens") > 0);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert!(names.iter().any(|name| name.starts_with("embeddings ")) && names.contains(&"semblance.lookup"));
    for span in spans.iter().filter(|span| span.span_id != request.span_id) {
        assert_eq!((&span.trace_id, &span.parent_span_id), (&request.trace_id, &request.span_id), "{}", span.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_say_how_they_were_found_and_call_nobody() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    assert_eq!(ask(&gateway, ASKED).await, "miss");
    assert_eq!(ask(&gateway, ASKED).await, "hit-exact");
    assert_eq!(ask(&gateway, REWORDED).await, "hit-semantic");
    gateway.stop().await;
    let spans = collector.spans();
    let of = |outcome: &str| {
        let found = |span: &&Span| span.kind() == SpanKind::Server && text(span, "semblance.outcome") == outcome;
        spans.iter().find(found).unwrap()
    };
    let (exact, semantic) = (of("hit-exact"), of("hit-semantic"));
    assert_eq!(text(exact, "semblance.entry"), text(semantic, "semblance.entry"));
    assert_eq!(text(semantic, "semblance.reason"), "semantic");
    let similarity = collector::float(semantic, "semblance.similarity");
    assert!((0.9..1.0).contains(&similarity), "{similarity}");
    assert!(number(exact, "gen_ai.usage.output_tokens") > 0);
    assert_eq!(text(exact, "gen_ai.response.model"), "gpt-4o-mini");
    assert!(!spans.iter().any(|span| span.parent_span_id == exact.span_id), "nothing was worked out for it");
    let below: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id == semantic.span_id).collect();
    assert!(
        below.iter().any(|span| span.name == "semblance.lookup" && text(span, "semblance.outcome") == "hit-semantic")
    );
    assert!(below.iter().all(|span| span.kind() != SpanKind::Client));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_question_an_answer_or_a_credential_goes_out() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    let system = with(
        user(ASKED),
        &json!({"messages": [{"role": "system", "content": "Speak like a pirate."}, {"role": "user", "content": ASKED}]}),
    );
    for body in [user(ASKED), user(ASKED), user(REWORDED), streaming(system), with(user(ASKED), &json!({"n": 2}))] {
        gateway.script.always(Reply::text(ANSWER));
        gateway.chat(&body).await;
    }
    gateway.get("/v1/files/secret-file?api_key=sk-in-the-query", &[]).await;
    gateway.script.always(Reply::error(StatusCode::BAD_REQUEST, "invalid", "Two-factor is not for you."));
    gateway.ask("Why is my two-factor authentication broken?").await;
    gateway.stop().await;
    let sent = collector.everything();
    assert!(collector.spans().len() > 10 && !collector.metric_names().is_empty());
    let holds = |needle: &str| sent.windows(needle.len()).any(|window| window.eq_ignore_ascii_case(needle.as_bytes()));
    assert!(holds("gpt-4o-mini"), "what is looked for would be seen");
    for text in
        ["two-factor", "authentication", "pirate", "Security", "flip", "sk-", "secret-file", "Bearer", "not for you"]
    {
        assert!(!holds(text), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_trace_goes_on_through_the_gateway_to_the_provider() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    let sent = [("traceparent", traceparent("01")), ("tracestate", "vendor=1".to_owned())];
    let headers: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    gateway.chat_with(&user(ASKED), &headers).await;
    let upstream = gateway.script.last().unwrap().headers;
    gateway.stop().await;
    let spans = collector.spans();
    let (request, call) = (server(&spans), only(&spans, SpanKind::Client));
    assert_eq!((hex(&request.trace_id), hex(&request.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(upstream["traceparent"], format!("00-{TRACE}-{}-01", hex(&call.span_id)));
    assert_eq!(upstream["tracestate"], "vendor=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_begins_here_where_the_client_has_none_or_a_broken_one() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    let broken = [("traceparent", "00-nothing-hexadecimal-01"), ("tracestate", "vendor=1")];
    gateway.chat_with(&user(ASKED), &broken).await;
    let upstream = gateway.script.last().unwrap().headers;
    gateway.stop().await;
    let spans = collector.spans();
    let (request, call) = (server(&spans), only(&spans, SpanKind::Client));
    assert!(request.parent_span_id.is_empty());
    assert_eq!(upstream["traceparent"], format!("00-{}-{}-01", hex(&request.trace_id), hex(&call.span_id)));
    assert!(!upstream.contains_key("tracestate"), "it belonged to a trace that was not one");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_headers_pass_as_they_came() {
    let gateway = TestGateway::start().await;
    gateway.chat_with(&user(ASKED), &[("traceparent", &traceparent("01"))]).await;
    assert_eq!(gateway.script.last().unwrap().headers["traceparent"], traceparent("01"));
    gateway.ask("Is there a family plan?").await;
    assert!(!gateway.script.last().unwrap().headers.contains_key("traceparent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_record_its_trace_is_followed() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    gateway.chat_with(&user(ASKED), &[("traceparent", &traceparent("00"))]).await;
    assert_eq!(gateway.script.last().unwrap().headers["traceparent"], traceparent("00"));
    gateway.stop().await;
    assert_eq!(collector.spans(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_sampling_off_there_are_metrics_and_no_spans() {
    let collector = Collector::start().await;
    let sampling = Sampling { share: 0.0, follow_client: false };
    let setup = setup(&collector).config(|config| config.otlp.as_mut().unwrap().sampling = sampling);
    let gateway = setup.start().await;
    gateway.chat_with(&user(ASKED), &[("traceparent", &traceparent("01"))]).await;
    assert_eq!(gateway.script.last().unwrap().headers["traceparent"], traceparent("01"));
    gateway.stop().await;
    assert_eq!(collector.spans(), []);
    assert!(collector.metric_names().contains(&"semblance.requests".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_those_of_the_conventions_and_count_what_prometheus_counts() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    for question in [ASKED, ASKED, ASKED] {
        ask(&gateway, question).await;
    }
    gateway.stop().await;
    assert_eq!(
        collector.metric_names(),
        ["gen_ai.client.operation.duration", "gen_ai.client.token.usage", "semblance.requests"]
    );
    let labels = [("semblance.outcome", "hit-exact"), ("semblance.reason", "exact"), ("semblance.family", "chat")];
    assert_eq!(collector.counted("semblance.requests", &labels), 2);
    let chat = [("gen_ai.operation.name", "chat"), ("gen_ai.provider.name", "openai")];
    assert_eq!(collector.counted("gen_ai.client.operation.duration", &chat), 3);
    let output = [("gen_ai.token.type", "output"), ("gen_ai.request.model", "gpt-4o-mini")];
    assert_eq!(collector.counted("gen_ai.client.token.usage", &output), 1, "hits buy none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answers_span_lasts_to_its_last_byte_and_knows_its_tokens() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    gateway.script.answer(ASKED, ANSWER);
    let answer = gateway.chat(&streaming(user(ASKED))).await;
    assert_eq!((answer.outcome(), answer.streamed().as_str()), ("miss", ANSWER));
    gateway.stop().await;
    let spans = collector.spans();
    for span in [server(&spans), only(&spans, SpanKind::Client)] {
        assert!(number(span, "gen_ai.usage.output_tokens") > 0, "{span:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_embeddings_is_one_call_and_its_tokens_are_counted_once() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    let batch = json!({"model": "text-embedding-3-small", "input": ["first text", "second text"]});
    for outcome in ["miss", "hit-exact"] {
        assert_eq!(gateway.post("/v1/embeddings", &batch, &[]).await.outcome(), outcome);
    }
    gateway.stop().await;
    let spans = collector.spans();
    let call = only(&spans, SpanKind::Client);
    assert_eq!(call.name, "embeddings text-embedding-3-small");
    assert!(number(call, "gen_ai.usage.input_tokens") > 0);
    let bought = |kind| collector.counted("gen_ai.client.token.usage", &[("gen_ai.token.type", kind)]);
    assert_eq!((bought("input"), bought("output")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_marked_with_their_reason_and_clients_faults_are_not_ours() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    for (reply, kind) in [
        (Reply::connect_error(), "upstream-connect"),
        (Reply::error(StatusCode::SERVICE_UNAVAILABLE, "server_error", "down"), "503"),
        (Reply::error(StatusCode::BAD_REQUEST, "invalid", "no"), "400"),
    ] {
        gateway.script.push(reply);
        gateway.ask(&format!("What does {kind} mean here?")).await;
    }
    gateway.stop().await;
    let spans = collector.spans();
    let mark = |span: &Span| span.status.as_ref().map_or(Mark::Unset, |status| status.code());
    let marked = |kind: SpanKind, error: &str| {
        let found = spans.iter().find(|span| span.kind() == kind && text(span, "error.type") == error);
        found.map(mark).unwrap_or_else(|| panic!("{error} in {spans:#?}"))
    };
    for (of_call, of_request, mark) in [
        ("upstream-connect", "upstream_connect", Mark::Error),
        ("503", "503", Mark::Error),
        ("400", "400", Mark::Unset),
    ] {
        assert_eq!(marked(SpanKind::Client, of_call), Mark::Error, "{of_call}");
        assert_eq!(marked(SpanKind::Server, of_request), mark, "{of_request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_marked_although_its_head_has_gone_out() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    for body in [user(ASKED), with(user(ASKED), &json!({"n": 2}))] {
        let begun = [Step::Send("data: {\"choices\":[]}\n\n".into()), Step::Break];
        gateway.script.push(Reply::events(begun));
        assert!(gateway.chat(&streaming(body)).await.broken);
    }
    gateway.stop().await;
    let spans = collector.spans();
    for (kind, why) in [(SpanKind::Client, "upstream-broken"), (SpanKind::Server, "upstream_broken")] {
        let errors = spans.iter().filter(|span| span.kind() == kind).map(|span| text(span, "error.type"));
        assert_eq!(errors.collect::<Vec<&str>>(), [why, why], "one recorded and one passed through");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_through_has_a_span_without_names_of_models() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    gateway.get("/v1/files", &[]).await;
    gateway.stop().await;
    let spans = collector.spans();
    assert_eq!((spans.len(), server(&spans).name.as_str()), (2, "GET"));
    assert_eq!(only(&spans, SpanKind::Client).name, "GET");
    assert_eq!(text(server(&spans), "semblance.reason"), "passthrough");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_headers_that_it_was_promised_and_who_is_speaking() {
    let collector = Collector::start().await;
    let setup = setup(&collector).config(|config| {
        let otlp = config.otlp.as_mut().unwrap();
        otlp.headers = vec![(HeaderName::from_static("x-team"), HeaderValue::from_static("support"))];
        otlp.resource = vec![("deployment.environment.name".to_owned(), "test".to_owned())];
    });
    let gateway = setup.start().await;
    ask(&gateway, ASKED).await;
    gateway.stop().await;
    assert!(collector.headers().iter().all(|headers| headers["x-team"] == "support"));
    for (name, value) in [("service.name", "gateway-under-test"), ("deployment.environment.name", "test")] {
        assert_eq!(collector.resource(name), value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_while_the_gateway_runs() {
    let collector = Collector::start().await;
    let gateway = started(&collector).await;
    ask(&gateway, ASKED).await;
    collector.reached(4).await;
    assert_eq!(server(&collector.spans()).name, "chat gpt-4o-mini");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_or_silent_collector_costs_no_request_anything_and_drops_are_counted() {
    for collector in [Collector::dead().await, Collector::silent().await] {
        let setup = setup(&collector).config(|config| config.drain = Duration::from_secs(2));
        let gateway = setup.start().await;
        assert_eq!(ask(&gateway, ASKED).await, "miss");
        for _ in 0..50 {
            assert_eq!(ask(&gateway, ASKED).await, "hit-exact");
        }
        let metrics = Arc::clone(&gateway.app.gateway().parts().metrics);
        let began = tokio::time::Instant::now();
        gateway.stop().await;
        assert!(began.elapsed() < Duration::from_secs(10), "the stop waits for no collector");
        if collector.is_dead() {
            let dropped =
                |line: &str| line.strip_prefix("semblance_otlp_dropped_total{signal=\"spans\"} ")?.parse().ok();
            let dropped: f64 = metrics.render().lines().find_map(dropped).unwrap();
            assert!(dropped > 50.0, "{dropped}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
