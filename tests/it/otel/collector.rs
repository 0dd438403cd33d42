//! A collector in process that takes OTLP over HTTP and remembers all of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use http::HeaderMap;
pub(super) use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::{
    collector::{metrics::v1::ExportMetricsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point},
};
use prost::Message;
use semblance::{
    otel::{Sampling, Settings},
    tasks::Tasks,
};
use tokio::net::TcpListener;

use crate::harness::eventually;

/// A running collector, or one that is not.
pub(super) struct Collector {
    endpoint: String,
    taken: Arc<Mutex<Taken>>,
    /// Somebody listens there.
    _listening: Option<TcpListener>,
    dead: bool,
}

#[derive(Default)]
struct Taken {
    traces: Vec<ExportTraceServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    headers: Vec<HeaderMap>,
    bytes: Vec<u8>,
}

type Shared = State<Arc<Mutex<Taken>>>;

async fn traces(State(taken): Shared, headers: HeaderMap, body: Bytes) {
    let mut taken = taken.lock().unwrap();
    taken.bytes.extend_from_slice(&body);
    taken.traces.push(ExportTraceServiceRequest::decode(body).unwrap());
    taken.headers.push(headers);
}

async fn metrics(State(taken): Shared, headers: HeaderMap, body: Bytes) {
    let mut taken = taken.lock().unwrap();
    taken.bytes.extend_from_slice(&body);
    taken.metrics.push(ExportMetricsServiceRequest::decode(body).unwrap());
    taken.headers.push(headers);
}

impl Collector {
    pub(super) async fn start() -> Self {
        let taken = Arc::<Mutex<Taken>>::default();
        let app = Router::new().route("/v1/traces", post(traces)).route("/v1/metrics", post(metrics));
        let app = app.with_state(Arc::clone(&taken));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        Tasks::new().spawn("collector", async move { axum::serve(listener, app).await.unwrap() });
        Self { endpoint, taken, _listening: None, dead: false }
    }

    /// Nobody listens at its address.
    pub(super) async fn dead() -> Self {
        let collector = Self::silent().await;
        Self { _listening: None, dead: true, ..collector }
    }

    /// Takes connections and never answers.
    pub(super) async fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        Self { endpoint, taken: Arc::default(), _listening: Some(listener), dead: false }
    }

    pub(super) const fn is_dead(&self) -> bool {
        self.dead
    }

    /// How a gateway is told of it.
    pub(super) fn settings(&self) -> Settings {
        Settings {
            endpoint: self.endpoint.clone(),
            headers: Vec::new(),
            service_name: "gateway-under-test".to_owned(),
            resource: Vec::new(),
            sampling: Sampling::default(),
            traces: true,
            metrics: true,
            metric_interval: Duration::from_secs(60),
        }
    }

    /// Returns once so many spans have come.
    pub(super) async fn reached(&self, spans: usize) {
        eventually("the spans come", || async { self.spans().len() >= spans }).await;
    }

    /// All spans so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        let taken = self.taken.lock().unwrap();
        let scopes =
            taken.traces.iter().flat_map(|sent| &sent.resource_spans).flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| &scope.spans).cloned().collect()
    }

    /// Metrics as last collected.
    fn metrics(&self) -> Vec<Metric> {
        let taken = self.taken.lock().unwrap();
        let last = taken.metrics.last().map(|sent| sent.resource_metrics.clone()).unwrap_or_default();
        last.into_iter().flat_map(|resource| resource.scope_metrics).flat_map(|scope| scope.metrics).collect()
    }

    /// Names of all metrics, sorted.
    pub(super) fn metric_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.metrics().into_iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names
    }

    /// How often something with these labels was counted or measured.
    pub(super) fn counted(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |attributes: &[KeyValue]| labels.iter().all(|(name, value)| read(attributes, name) == *value);
        match self.metrics().into_iter().find(|metric| metric.name == name).unwrap().data.unwrap() {
            Data::Sum(sum) => {
                let points = sum.data_points.into_iter().filter(|point| has(&point.attributes));
                let value = |value| match value {
                    Some(number_data_point::Value::AsInt(value)) => u64::try_from(value).unwrap(),
                    other => panic!("{other:?}"),
                };
                points.map(|point| value(point.value)).sum()
            }
            Data::Histogram(histogram) => {
                histogram.data_points.iter().filter(|point| has(&point.attributes)).map(|point| point.count).sum()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Headers of all that came.
    pub(super) fn headers(&self) -> Vec<HeaderMap> {
        self.taken.lock().unwrap().headers.clone()
    }

    /// An attribute of the process that speaks.
    pub(super) fn resource(&self, name: &str) -> String {
        let taken = self.taken.lock().unwrap();
        let resource = taken.traces[0].resource_spans[0].resource.as_ref().unwrap();
        read(&resource.attributes, name).to_owned()
    }

    /// Every byte that came.
    pub(super) fn everything(&self) -> Vec<u8> {
        self.taken.lock().unwrap().bytes.clone()
    }
}

fn find<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Value> {
    attributes.iter().find(|pair| pair.key == name)?.value.as_ref()?.value.as_ref()
}

fn read<'a>(attributes: &'a [KeyValue], name: &str) -> &'a str {
    match find(attributes, name) {
        Some(Value::StringValue(text)) => text,
        _ => "",
    }
}

/// A span's attribute; empty where it has none.
pub(super) fn text<'a>(span: &'a Span, name: &str) -> &'a str {
    read(&span.attributes, name)
}

pub(super) fn number(span: &Span, name: &str) -> i64 {
    match find(&span.attributes, name) {
        Some(Value::IntValue(number)) => *number,
        _ => 0,
    }
}

pub(super) fn float(span: &Span, name: &str) -> f64 {
    match find(&span.attributes, name) {
        Some(Value::DoubleValue(number)) => *number,
        other => panic!("{other:?}"),
    }
}
