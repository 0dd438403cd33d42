use bytes::Bytes;
use futures_util::{StreamExt, stream};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;

use super::*;
use crate::upstream::scripted::{Gate, Reply, Script, Scripted, Step as Part};

fn settings() -> Settings {
    Settings {
        endpoint: "http://collector".to_owned(),
        headers: Vec::new(),
        service_name: "tested".to_owned(),
        resource: Vec::new(),
        sampling: Sampling::default(),
        traces: true,
        metrics: false,
        metric_interval: Duration::from_secs(60),
    }
}

/// Telemetry to a scripted collector, which takes all unless told otherwise.
fn started() -> (Otel, Script, Arc<Metrics>) {
    let (collector, script) = Scripted::programmable();
    script.always(Reply::json(http::StatusCode::OK, &serde_json::json!({})));
    let metrics = Arc::new(Metrics::new());
    (Otel::start(settings(), Arc::new(collector), &metrics), script, metrics)
}

fn dropped(metrics: &Metrics) -> u64 {
    let of = |line: &str| line.strip_prefix("semblance_otlp_dropped_total{signal=\"spans\"} ")?.parse().ok();
    metrics.render().lines().find_map(of).unwrap()
}

fn spans(otel: &Otel, count: usize) {
    for _ in 0..count {
        drop(otel.request(Some(Family::Chat), &Method::POST, &HeaderMap::new()));
    }
}

/// Spans in each request that the collector got.
fn batches(script: &Script) -> Vec<usize> {
    let decoded = script.received().into_iter().map(|got| ExportTraceServiceRequest::decode(got.body).unwrap());
    decoded.map(|request| request.resource_spans[0].scope_spans[0].spans.len()).collect()
}

#[tokio::test(start_paused = true)]
async fn spans_that_end_within_a_second_go_out_together_and_the_last_ones_at_the_stop() {
    let (otel, script, metrics) = started();
    spans(&otel, 3);
    script.reached(1).await;
    spans(&otel, 2);
    otel.stop(Duration::from_secs(5)).await;
    assert_eq!((batches(&script), dropped(&metrics)), (vec![3, 2], 0));
    assert!(script.received().iter().all(|got| got.headers["content-type"] == "application/x-protobuf"));
    spans(&otel, 1);
    assert_eq!(dropped(&metrics), 1, "nobody waits for what comes after the stop");
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_holds_a_bounded_queue_and_the_rest_is_dropped_and_counted() {
    let (otel, script, metrics) = started();
    let gate = Gate::closed();
    script.push(Reply::text("").behind(&gate));
    spans(&otel, 1);
    script.reached(1).await;
    spans(&otel, 10_000);
    assert_eq!(dropped(&metrics), 10_000 - 4096);
    gate.open();
    otel.stop(Duration::from_secs(60)).await;
    assert_eq!(batches(&script).iter().sum::<usize>(), 1 + 4096);
    assert!(batches(&script).iter().all(|batch| *batch <= 512));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_for_a_moment_is_sent_again_and_what_never_is_counts_as_dropped() {
    let (otel, script, metrics) = started();
    script.push(Reply::error(http::StatusCode::SERVICE_UNAVAILABLE, "busy", "later"));
    script.push(Reply::connect_error());
    spans(&otel, 2);
    script.reached(3).await;
    script.push(Reply::error(http::StatusCode::BAD_REQUEST, "bad", "never"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    spans(&otel, 5);
    script.reached(4).await;
    otel.stop(Duration::from_secs(5)).await;
    assert_eq!((batches(&script), dropped(&metrics)), (vec![2, 2, 2, 5], 5));
}

#[tokio::test(start_paused = true)]
async fn spans_that_the_collector_says_it_did_not_keep_count_as_dropped() {
    let (otel, script, metrics) = started();
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "too old".to_owned() };
    let answer = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    script.push(Reply::steps(http::StatusCode::OK, [Part::Send(Bytes::from(answer))]));
    spans(&otel, 4);
    otel.stop(Duration::from_secs(5)).await;
    assert_eq!(dropped(&metrics), 3);
}

#[tokio::test]
async fn off_there_is_nothing_to_hold_and_nothing_to_wait_for() {
    let otel = Otel::default();
    let mut request = UpstreamRequest {
        method: Method::POST,
        path_and_query: "/v1/chat/completions".to_owned(),
        headers: HeaderMap::new(),
        model: Some("m".to_owned()),
        may_fall_back: false,
        needs_own_key: false,
        body: crate::upstream::UpstreamBody::Whole(Bytes::new()),
    };
    let (step, trace) = otel.request(Some(Family::Chat), &Method::POST, &HeaderMap::new());
    assert!(step.0.is_none() && trace.0.is_none());
    let call = trace.call(&mut request, |_| panic!("nobody asks for the address"));
    assert!(call.0.is_none() && request.headers.is_empty());
    let body = call.lasting(stream::iter([Ok(Bytes::from_static(b"as it was"))]).boxed(), BROKEN);
    assert_eq!(body.map(Result::unwrap).collect::<Vec<Bytes>>().await, ["as it was"]);
    otel.stop(Duration::ZERO).await;
}

#[test]
fn an_address_is_host_and_port_and_nothing_else() {
    let of = |url: &str| -> Vec<String> { address(url).iter().map(|pair| pair.value.to_string()).collect() };
    assert_eq!(of("https://api.openai.com/v1"), ["api.openai.com", "443"]);
    assert_eq!(of("http://127.0.0.1:11434#named"), ["127.0.0.1", "11434"]);
    assert_eq!(of("http://[::1]:80/v1"), ["::1", "80"]);
    assert_eq!(of("demo"), Vec::<String>::new());
}

#[test]
fn names_that_others_choose_are_cut_between_characters() {
    assert_eq!(bounded("gpt-4o"), "gpt-4o");
    assert!(bounded(&"ä".repeat(500)).len() <= LONGEST_NAME);
    assert_eq!(known(&Method::from_bytes(b"PROPFIND").unwrap()), "_OTHER");
}

#[test]
fn a_trace_that_came_twice_is_none() {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    headers.append("traceparent", value.clone());
    assert!(Headers(&headers).get("traceparent").is_some());
    headers.append("traceparent", value);
    assert!(Headers(&headers).get("traceparent").is_none());
}
