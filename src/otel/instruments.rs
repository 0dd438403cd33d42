//! What is measured, and how it gets into the queue.
//!
//! The same values feed Prometheus. Labels that clients choose (models) are bounded by the SDK's limit of 2,000 series an
//! instrument, beyond which all are counted as one.

use std::time::Duration;

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, MeterProvider},
};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};
use prost::Message;

use super::{
    Bill,
    export::{Item, Queue},
    names,
};
use crate::{telemetry::RequestFacts, wire::Family};

/// Bounds that the conventions set for durations, in seconds.
const SECONDS: [f64; 14] = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Bounds that the conventions set for tokens: powers of four.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The instruments, and what collects them.
#[derive(Debug)]
pub(super) struct Instruments {
    provider: SdkMeterProvider,
    duration: Histogram<f64>,
    tokens: Histogram<u64>,
    requests: Counter<u64>,
}

impl Instruments {
    /// Instruments whose values are put into `queue` every `interval`.
    pub(super) fn new(queue: Queue, resource: Resource, interval: Duration) -> Self {
        let reader = PeriodicReader::builder(IntoQueue(queue)).with_interval(interval).build();
        let provider = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
        let meter = provider.meter("semblance");
        Self {
            duration: meter
                .f64_histogram("gen_ai.client.operation.duration")
                .with_unit("s")
                .with_description("From a request's head to its answer's, by operation and outcome")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            tokens: meter
                .u64_histogram("gen_ai.client.token.usage")
                .with_unit("{token}")
                .with_description("Tokens of answers that were fetched to be kept, as the provider counted them")
                .with_boundaries(TOKENS.to_vec())
                .build(),
            requests: meter
                .u64_counter("semblance.requests")
                .with_unit("{request}")
                .with_description("Requests answered, by outcome, reason, category and protocol")
                .build(),
            provider,
        }
    }

    pub(super) fn request(&self, facts: &RequestFacts<'_>) {
        let RequestFacts { family, outcome, .. } = *facts;
        let family_name = family.map_or("other", Family::as_str);
        self.requests.add(
            1,
            &[
                KeyValue::new(names::OUTCOME, outcome.label()),
                KeyValue::new(names::REASON, outcome.reason()),
                KeyValue::new(names::CATEGORY, facts.category.to_owned()),
                KeyValue::new(names::FAMILY, family_name),
            ],
        );
        let Some(family) = family else { return };
        let mut labels = vec![
            KeyValue::new(names::OPERATION, names::operation(family)),
            KeyValue::new(names::PROVIDER, names::provider(family)),
            KeyValue::new(names::OUTCOME, outcome.label()),
        ];
        if !facts.model.is_empty() {
            labels.push(KeyValue::new(names::REQUEST_MODEL, super::bounded(facts.model)));
        }
        if let Some(error) = super::error(facts) {
            labels.push(KeyValue::new(names::ERROR, error));
        }
        self.duration.record(Duration::from_micros(facts.latency_us).as_secs_f64(), &labels);
    }

    /// Counts the tokens of an answer that was paid for.
    pub(super) fn bought(&self, model: &str, answer: &Bill<'_>) {
        let Some(usage) = answer.usage else { return };
        // Vectors are made of tokens and hold none.
        let output = (answer.family != Family::Embeddings).then_some(("output", usage.output));
        for (kind, tokens) in [("input", usage.input)].into_iter().chain(output) {
            let labels = [
                KeyValue::new(names::OPERATION, names::operation(answer.family)),
                KeyValue::new(names::PROVIDER, names::provider(answer.family)),
                KeyValue::new(names::REQUEST_MODEL, super::bounded(model)),
                KeyValue::new(names::RESPONSE_MODEL, super::bounded(answer.model)),
                KeyValue::new(names::TOKEN_TYPE, kind),
            ];
            self.tokens.record(tokens, &labels);
        }
    }

    /// Puts the last values into the queue. Waits for the thread that collects, so not for a request's task.
    pub(super) fn finish(&self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::debug!(%error, "the last metrics were not collected");
        }
    }
}

/// Where the SDK hands over what it has collected.
struct IntoQueue(Queue);

impl PushMetricExporter for IntoQueue {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        self.0.put(Item::Metrics(ExportMetricsServiceRequest::from(metrics).encode_to_vec()));
        std::future::ready(Ok(()))
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}
