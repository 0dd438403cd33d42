//! The way to the collector: one bounded queue, one task that empties it.
//!
//! Invariants: putting something in never waits; what does not fit, and what the collector did not take after a few
//! tries, is counted and gone; a collector that fails is told of once in the log, and once more when it is back.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use opentelemetry::Context;
use opentelemetry_proto::{
    tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    transform::{common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{Metrics, Signal},
    upstream::{Upstream, UpstreamBody, UpstreamError, UpstreamRequest},
};

/// Spans and collections of metrics that may wait.
const WAITING: usize = 4096;
/// Spans sent at once.
const BATCH: usize = 512;
/// How long a span waits for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);
/// How often something is sent.
const TRIES: u32 = 3;
/// Pause before the second try; each further one doubles it.
const PAUSE: Duration = Duration::from_secs(1);
/// One try takes no longer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read of what a collector answers.
const LONGEST_ANSWER: usize = 64 << 10;

/// Something for the collector.
#[derive(Debug)]
pub(super) enum Item {
    /// A span that has ended.
    Span(Box<SpanData>),
    /// All metrics, as they go out.
    Metrics(Vec<u8>),
}

impl Item {
    const fn signal(&self) -> Signal {
        match self {
            Self::Span(_) => Signal::Spans,
            Self::Metrics(_) => Signal::Metrics,
        }
    }
}

/// The queue's open end.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    items: mpsc::Sender<Item>,
    metrics: Arc<Metrics>,
}

impl Queue {
    /// A queue and its other end.
    pub(super) fn new(metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Item>) {
        let (items, waiting) = mpsc::channel(WAITING);
        (Self { items, metrics }, waiting)
    }

    /// Puts something in, or counts it as dropped.
    pub(super) fn put(&self, item: Item) {
        if let Err(full) = self.items.try_send(item) {
            self.metrics.otlp_dropped(full.into_inner().signal(), 1);
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.put(Item::Span(Box::new(span)));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Why the collector did not take something.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error("{}", unreachable(.0))]
    Unreachable(#[from] UpstreamError),
    #[error("it did not answer in time")]
    Timeout,
    #[error("it answered {0}")]
    Status(http::StatusCode),
}

impl NotTaken {
    /// Whether it may take the same later (the protocol's list of statuses).
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout => true,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502..=504),
        }
    }
}

/// What an upstream's error says, of a collector.
fn unreachable(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Connect(why) => format!("cannot connect to it: {why}"),
        UpstreamError::Broken(why) => format!("it broke the connection: {why}"),
        UpstreamError::Timeout | UpstreamError::NoKey { .. } | UpstreamError::ClientBody(_) => {
            error.reason().to_owned()
        }
    }
}

/// The task's side.
#[derive(Debug)]
pub(super) struct Exporter {
    /// Who takes it all.
    pub(super) collector: Arc<dyn Upstream>,
    /// Sent with everything.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Who we are.
    pub(super) resource: Resource,
    /// Where drops are counted.
    pub(super) metrics: Arc<Metrics>,
    /// The last thing sent was not taken.
    pub(super) failing: bool,
}

impl Exporter {
    /// Sends what comes, until `stop` and then what is left.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Item>, stop: CancellationToken) {
        loop {
            let mut items = Vec::new();
            tokio::select! {
                received = queue.recv_many(&mut items, BATCH) => if received == 0 { return },
                () = stop.cancelled(), if !queue.is_closed() => queue.close(),
            }
            let gathering = async {
                loop {
                    let room = BATCH.saturating_sub(items.len());
                    if room == 0 || queue.recv_many(&mut items, room).await == 0 {
                        return;
                    }
                }
            };
            tokio::select! {
                // Whether the time or the batch ran out does not matter.
                _ = tokio::time::timeout(GATHER, gathering) => {}
                () = stop.cancelled() => {}
            }
            self.send_all(items, &stop).await;
        }
    }

    async fn send_all(&mut self, items: Vec<Item>, stop: &CancellationToken) {
        let mut spans = Vec::with_capacity(items.len());
        let mut collected = None;
        for item in items {
            match item {
                Item::Span(span) => spans.push(*span),
                // They are totals: the later ones say all that the earlier ones did.
                Item::Metrics(totals) => collected = Some(totals),
            }
        }
        if !spans.is_empty() {
            let count = spans.len() as u64;
            let resource = ResourceAttributesWithSchema::from(&self.resource);
            let resource_spans = group_spans_by_resource_and_scope(spans, &resource);
            let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
            let refused = match self.send("/v1/traces", Bytes::from(body), stop).await {
                Some(answer) => refused_spans(&answer),
                None => count,
            };
            self.metrics.otlp_dropped(Signal::Spans, refused);
        }
        if let Some(totals) = collected
            && self.send("/v1/metrics", Bytes::from(totals), stop).await.is_none()
        {
            self.metrics.otlp_dropped(Signal::Metrics, 1);
        }
    }

    /// Sends `body`, more than once if need be. Returns what the collector answered, once it has taken it.
    async fn send(&mut self, path: &str, body: Bytes, stop: &CancellationToken) -> Option<Bytes> {
        let mut pause = PAUSE;
        for attempt in 1..=TRIES {
            match self.attempt(path, body.clone()).await {
                Ok(answer) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the OTLP collector takes telemetry again");
                    }
                    return Some(answer);
                }
                Err(why) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(error = %why, path, "the OTLP collector does not take telemetry");
                    }
                    if !why.is_transient() || attempt == TRIES || stop.is_cancelled() {
                        return None;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())) => {}
                () = stop.cancelled() => {}
            }
            pause *= 2;
        }
        None
    }

    async fn attempt(&self, path: &str, body: Bytes) -> Result<Bytes, NotTaken> {
        let exchange = async {
            let mut response = self.collector.send(self.request(path, body)).await?;
            if !response.status.is_success() {
                return Err(NotTaken::Status(response.status));
            }
            let mut answer = Vec::new();
            while let Some(Ok(piece)) = response.body.next().await {
                answer.extend_from_slice(&piece);
                if answer.len() > LONGEST_ANSWER {
                    break;
                }
            }
            Ok(Bytes::from(answer))
        };
        tokio::time::timeout(PATIENCE, exchange).await.unwrap_or(Err(NotTaken::Timeout))
    }

    fn request(&self, path: &str, body: Bytes) -> UpstreamRequest {
        let mut headers = HeaderMap::from_iter(self.headers.iter().cloned());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        UpstreamRequest {
            method: Method::POST,
            path_and_query: path.to_owned(),
            headers,
            model: None,
            may_fall_back: false,
            needs_own_key: false,
            body: UpstreamBody::Whole(body),
        }
    }
}

/// Spans that the collector says it did not keep; an answer that cannot be read says none.
fn refused_spans(answer: &[u8]) -> u64 {
    let partial = ExportTraceServiceResponse::decode(answer).ok().and_then(|answer| answer.partial_success);
    partial.and_then(|partial| u64::try_from(partial.rejected_spans).ok()).unwrap_or_default()
}
