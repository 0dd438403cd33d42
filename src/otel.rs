//! Traces and metrics by OTLP, beside Prometheus; off unless a collector is named.
//!
//! [`Otel`] is the whole of it; a [`Trace`] travels with a request to wherever it is worked on; a [`Step`] is one span,
//! which ends when its last copy goes. Names follow OpenTelemetry's
//! conventions for generative AI (in `names`).
//!
//! # Invariants
//! - Off, it costs nothing: no thread, no task, no allocation, no header.
//! - No text of a prompt or an answer, no credential and no path or query goes out: a span is told names of models,
//!   categories and reasons, ids and counts, and there is no way to tell it more.
//! - Nothing waits for the collector, and nothing fails because of it (see `export`).
//! - A span that is recorded puts itself into the `traceparent` that goes upstream; where none is, headers go as they came.

mod export;
mod instruments;
mod names;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use export::{Exporter, Queue};
use futures_util::{StreamExt, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use instruments::Instruments;
use opentelemetry::{
    Context, KeyValue, Value,
    propagation::{Extractor, TextMapPropagator},
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, Tracer as _, TracerProvider,
    },
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};

use crate::{
    embed::EmbedError,
    metrics::Metrics,
    outcome::{HitKind, MissReason, Outcome},
    similarity::Similarity,
    tasks::Tasks,
    telemetry::RequestFacts,
    upstream::{BodyError, Upstream, UpstreamError, UpstreamRequest, UpstreamResponse},
    wire::{Answer, Family, Usage},
};

/// Longest name that a client can make us send.
const LONGEST_NAME: usize = 128;

/// Why an upstream call failed whose answer ended early: [`UpstreamError::Broken`]'s reason.
pub const BROKEN: &str = "upstream-broken";

/// A body on its way.
type Body = BoxStream<'static, Result<Bytes, BodyError>>;

/// How many traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Share of traces, from 0 to 1; told by the trace's id, so that all services of a trace agree.
    pub share: f64,
    /// A client that says of its own trace whether it is recorded is followed.
    pub follow_client: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { share: 1.0, follow_client: true }
    }
}

/// Where telemetry goes and how much.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Base URL of the collector; `/v1/traces` and `/v1/metrics` come behind it.
    pub endpoint: String,
    /// Sent with everything: mostly a credential.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `service.name`.
    pub service_name: String,
    /// Further attributes of this process.
    pub resource: Vec<(String, String)>,
    /// How many traces are recorded.
    pub sampling: Sampling,
    /// Whether traces go out.
    pub traces: bool,
    /// Whether metrics go out.
    pub metrics: bool,
    /// Between two collections of metrics.
    pub metric_interval: Duration,
}

/// Traces and metrics by OTLP. Cheap to clone; the default is off.
#[derive(Debug, Clone, Default)]
pub struct Otel(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    tracer: Option<SdkTracer>,
    instruments: Option<Instruments>,
    /// The exporter alone: it must outlive all that makes telemetry.
    tasks: Tasks,
}

/// What an answer says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Bill<'a> {
    /// Its protocol.
    pub family: Family,
    /// The model that gave it.
    pub model: &'a str,
    /// Tokens that it took, when the provider said.
    pub usage: Option<Usage>,
}

impl<'a> From<&'a Answer> for Bill<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self { family: answer.family, model: &answer.model, usage: answer.usage }
    }
}

/// The trace that a request belongs to. The default is none.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Request>>);

#[derive(Debug)]
struct Request {
    otel: Arc<Inner>,
    span: SpanContext,
    family: Option<Family>,
    /// The client sent a trace that this one goes on with.
    continued: bool,
}

/// A span, or none. Ends when its last copy is dropped.
#[derive(Debug, Clone, Default)]
pub struct Step(Option<Arc<Mutex<Span>>>);

impl Otel {
    /// Sends to `collector`, which is reached at `settings.endpoint`, from now on. Drops are counted in `metrics`. Must be
    /// called inside a tokio runtime.
    pub fn start(settings: Settings, collector: Arc<dyn Upstream>, metrics: &Arc<Metrics>) -> Self {
        let resource = resource(&settings);
        let (queue, waiting) = Queue::new(Arc::clone(metrics));
        let tracer = settings.traces.then(|| {
            let provider = SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_sampler(sampler(settings.sampling))
                .with_span_processor(queue.clone())
                .build();
            provider.tracer("semblance")
        });
        let instruments = settings.metrics.then(|| Instruments::new(queue, resource.clone(), settings.metric_interval));
        let tasks = Tasks::new();
        let metrics = Arc::clone(metrics);
        let exporter = Exporter { collector, headers: settings.headers, resource, metrics, failing: false };
        tasks.spawn("otlp", exporter.run(waiting, tasks.token().clone()));
        Self(Some(Arc::new(Inner { tracer, instruments, tasks })))
    }

    /// Opens a request's own span, as a part of the client's trace where it sent one, and the trace for what follows.
    pub fn request(&self, family: Option<Family>, method: &Method, headers: &HeaderMap) -> (Step, Trace) {
        let Some(otel) = &self.0 else { return Default::default() };
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let continued = parent.has_active_span();
        let mut attributes = vec![KeyValue::new(names::METHOD, known(method))];
        let name = match family {
            Some(family) => {
                attributes.extend(generative(family));
                names::operation(family)
            }
            None => known(method),
        };
        let (step, span) = otel.start(name.into(), SpanKind::Server, attributes, &parent);
        (step, Trace(Some(Arc::new(Request { otel: Arc::clone(otel), span, family, continued }))))
    }

    /// Counts a request that has been answered.
    pub fn observe(&self, facts: &RequestFacts<'_>) {
        if let Some(instruments) = self.0.as_ref().and_then(|otel| otel.instruments.as_ref()) {
            instruments.request(facts);
        }
    }

    /// Sends what is left, for at most `deadline`; spans that end later are dropped.
    pub async fn stop(&self, deadline: Duration) {
        let Some(otel) = self.0.clone() else { return };
        let tasks = otel.tasks.clone();
        let finish = move || {
            if let Some(instruments) = &otel.instruments {
                instruments.finish();
            }
        };
        if tokio::time::timeout(deadline, tokio::task::spawn_blocking(finish)).await.is_err() {
            tracing::warn!("the last metrics were not collected in time");
        }
        if !tasks.drain(deadline).await.is_empty() {
            tracing::warn!("the OTLP collector did not take the last telemetry in time");
        }
    }
}

impl Inner {
    /// A span below `parent` and the context that its own children begin from. Where it is not recorded the context is
    /// still one of the same trace.
    fn start(
        &self,
        name: Cow<'static, str>,
        kind: SpanKind,
        attributes: Vec<KeyValue>,
        parent: &Context,
    ) -> (Step, SpanContext) {
        let Some(tracer) = &self.tracer else { return (Step::default(), SpanContext::NONE) };
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        let span = tracer.build_with_context(builder, parent);
        let context = span.span_context().clone();
        (Step(span.is_recording().then(|| Arc::new(Mutex::new(span)))), context)
    }
}

impl Trace {
    fn is_recorded(&self) -> bool {
        self.0.as_ref().is_some_and(|request| request.span.is_sampled())
    }

    fn child(&self, name: Cow<'static, str>, kind: SpanKind, attributes: Vec<KeyValue>) -> Step {
        match &self.0 {
            Some(request) if self.is_recorded() => {
                let parent = Context::new().with_remote_span_context(request.span.clone());
                request.otel.start(name, kind, attributes, &parent).0
            }
            _ => Step::default(),
        }
    }

    /// The span of a call to the provider at `base_url`, which `request` is then a part of.
    pub fn call(&self, request: &mut UpstreamRequest, base_url: impl FnOnce(&UpstreamRequest) -> String) -> Step {
        let Some(parent) = self.0.as_ref().filter(|_| self.is_recorded()) else { return Step::default() };
        let mut attributes = vec![KeyValue::new(names::METHOD, known(&request.method))];
        attributes.extend(parent.family.into_iter().flat_map(generative));
        let operation = parent.family.map_or_else(|| known(&request.method), names::operation);
        let model = request.model.as_deref().map(bounded);
        let name = match &model {
            Some(model) => format!("{operation} {model}").into(),
            None => operation.into(),
        };
        attributes.extend(model.map(|model| KeyValue::new(names::REQUEST_MODEL, model)));
        attributes.extend(address(&base_url(request)));
        let step = self.child(name, SpanKind::Client, attributes);
        step.continue_in(&mut request.headers, parent.continued);
        step
    }

    /// The span of making a vector with the embedder of this fingerprint.
    pub fn embedding(&self, embedder: &str) -> Step {
        if !self.is_recorded() {
            return Step::default();
        }
        let (operation, model) = (names::EMBEDDINGS, bounded(embedder));
        let name = format!("{operation} {model}").into();
        let attributes = vec![KeyValue::new(names::OPERATION, operation), KeyValue::new(names::REQUEST_MODEL, model)];
        self.child(name, SpanKind::Internal, attributes)
    }

    /// The span of a lookup by meaning.
    pub fn lookup(&self) -> Step {
        self.child("semblance.lookup".into(), SpanKind::Internal, Vec::new())
    }

    /// Counts the tokens of an answer that was paid for; `model` is the one asked for.
    pub fn bought<'a>(&self, model: &str, answer: impl Into<Bill<'a>>) {
        if let Some(instruments) = self.0.as_ref().and_then(|request| request.otel.instruments.as_ref()) {
            instruments.bought(model, &answer.into());
        }
    }
}

impl Step {
    fn with(&self, change: impl FnOnce(&mut Span)) {
        if let Some(span) = &self.0 {
            change(&mut span.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// A body, for as long as which this step lasts; where it breaks, the step is told `why`.
    pub fn lasting(self, body: Body, why: &'static str) -> Body {
        if self.0.is_none() {
            return body;
        }
        let held = body.inspect(move |piece| {
            if piece.is_err() {
                self.broke(why);
            }
        });
        held.boxed()
    }

    /// Notes that the answer ended early, for this stable reason.
    pub fn broke(&self, why: &'static str) {
        self.with(|span| fail(span, why, true));
    }

    /// Makes `headers` name this span as their parent. A state that came without a trace belongs to none.
    fn continue_in(&self, headers: &mut HeaderMap, continued: bool) {
        self.with(|span| {
            let context = span.span_context();
            let flags = context.trace_flags() & TraceFlags::SAMPLED;
            let text = format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id());
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert("traceparent", value);
            }
            if !continued {
                headers.remove("tracestate");
            }
        });
    }

    /// Notes what an answer says of itself: its model and its tokens.
    pub fn answered<'a>(&self, answer: impl Into<Bill<'a>>) {
        self.with(|span| {
            let Bill { family: _, model, usage } = answer.into();
            if !model.is_empty() {
                set(span, names::RESPONSE_MODEL, bounded(model));
            }
            if let Some(usage) = usage {
                set(span, names::INPUT_TOKENS, count(usage.input));
                set(span, names::OUTPUT_TOKENS, count(usage.output));
            }
        });
    }

    /// Notes how a provider began to answer.
    pub fn responded(&self, sent: &Result<UpstreamResponse, UpstreamError>) {
        self.with(|span| match sent {
            Ok(response) => {
                set(span, names::STATUS, i64::from(response.status.as_u16()));
                if !response.status.is_success() {
                    fail(span, response.status.as_str().to_owned(), true);
                }
            }
            Err(error) => fail(span, error.reason(), true),
        });
    }

    /// Notes whether a vector was made.
    pub fn embedded<T>(&self, made: &Result<T, EmbedError>) {
        if let Err(error) = made {
            self.with(|span| fail(span, error.reason(), !matches!(error, EmbedError::TooLong { .. })));
        }
    }

    /// Notes what a lookup by meaning found.
    pub fn found(&self, outcome: Outcome) {
        self.with(|span| tell_outcome(span, outcome));
    }

    /// Notes why a lookup by meaning found nothing to serve.
    pub fn missed(&self, reason: MissReason) {
        self.found(Outcome::Miss(reason));
    }

    /// Notes what became of the request.
    pub fn closed(&self, facts: &RequestFacts<'_>) {
        self.with(|span| {
            if !facts.model.is_empty() {
                let model = bounded(facts.model);
                if let Some(family) = facts.family {
                    span.update_name(format!("{} {model}", names::operation(family)));
                }
                set(span, names::REQUEST_MODEL, model);
            }
            set(span, names::REQUEST_ID, facts.request_id.to_owned());
            tell_outcome(span, facts.outcome);
            if !facts.category.is_empty() {
                set(span, names::CATEGORY, facts.category.to_owned());
            }
            if let Some(entry) = facts.entry {
                set(span, names::ENTRY, entry.to_string());
            }
            if let Some(age) = facts.age_ms {
                set(span, names::AGE, count(age));
            }
            if let Some(why) = facts.not_stored {
                set(span, names::NOT_STORED, why.as_str());
            }
            set(span, names::STATUS, i64::from(facts.status));
            if let Some(error) = error(facts) {
                // What a client did wrong is no fault of the service (the HTTP conventions).
                fail(span, error, facts.status >= 500);
            }
        });
    }
}

fn tell_outcome(span: &mut Span, outcome: Outcome) {
    set(span, names::OUTCOME, outcome.label());
    set(span, names::REASON, outcome.reason());
    if let Outcome::Hit(HitKind::Semantic(similarity)) | Outcome::StaleHit(HitKind::Semantic(similarity), _) = outcome {
        set(span, names::SIMILARITY, rounded(similarity));
    }
}

fn set(span: &mut Span, name: &'static str, value: impl Into<Value>) {
    span.set_attribute(KeyValue::new(name, value));
}

fn fail(span: &mut Span, why: impl Into<Value>, is_fault: bool) {
    set(span, names::ERROR, why);
    if is_fault {
        span.set_status(Status::error(""));
    }
}

/// `error.type` of a request: our own reason, or else the status that the provider gave.
fn error(facts: &RequestFacts<'_>) -> Option<Cow<'static, str>> {
    let status = || (facts.status >= 400).then(|| facts.status.to_string().into());
    facts.broken.map(Cow::Borrowed).or_else(status)
}

fn generative(family: Family) -> [KeyValue; 2] {
    [KeyValue::new(names::OPERATION, names::operation(family)), KeyValue::new(names::PROVIDER, names::provider(family))]
}

/// A method's name as the conventions have it: clients invent some.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// Host and port of a base URL; nothing where it is the name of a built-in model.
fn address(base_url: &str) -> Vec<KeyValue> {
    let Ok(uri) = base_url.parse::<http::Uri>() else { return Vec::new() };
    let (Some(host), Some(scheme)) = (uri.host(), uri.scheme_str()) else { return Vec::new() };
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let host = host.trim_matches(['[', ']']).to_owned();
    vec![KeyValue::new(names::SERVER_ADDRESS, host), KeyValue::new(names::SERVER_PORT, i64::from(port))]
}

/// A name that a client or a provider chose, no longer than we send.
fn bounded(name: &str) -> String {
    name.get(..name.floor_char_boundary(LONGEST_NAME)).unwrap_or_default().to_owned()
}

fn rounded(similarity: Similarity) -> f64 {
    f64::from((similarity.get() * 1000.0).round()) / 1000.0
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn sampler(sampling: Sampling) -> Sampler {
    let root = Sampler::TraceIdRatioBased(sampling.share);
    if sampling.follow_client { Sampler::ParentBased(Box::new(root)) } else { root }
}

fn resource(settings: &Settings) -> Resource {
    let Settings { service_name, resource, .. } = settings;
    let instance = format!("{:016x}", fastrand::u64(..));
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("telemetry.sdk.name", "opentelemetry"),
            KeyValue::new("telemetry.sdk.language", "rust"),
            KeyValue::new("service.instance.id", instance),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .with_attributes(resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone())))
        .with_service_name(service_name.clone())
        .build()
}

/// A client's headers, where a trace is looked for in them. One that came twice is none.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        let first = values.next()?;
        values.next().is_none().then(|| first.to_str().ok())?
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}
