//! Where traces and metrics go: our own setting for the collector, OpenTelemetry's own variables for the rest.
//!
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{
    super::{Problem, args::Typed},
    Check, DAY_MS,
};
use crate::{
    headers,
    otel::{Sampling, Settings},
    upstream::http::{BaseUrl, ConfigProblem},
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";
const INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";
/// The attribute that a service name is.
const NAME_ATTRIBUTE: &str = "service.name";

/// What is wrong with the base URL of a collector, if anything.
fn unusable(endpoint: &str) -> Option<String> {
    match BaseUrl::parse(endpoint).err()? {
        ConfigProblem::NotAUrl { url } => Some(format!("{url:?} is not a URL; write it like http://127.0.0.1:4318")),
        ConfigProblem::Credentials => Some(format!("the URL holds a user or password; put them in {HEADERS}")),
        other => Some(other.to_string()),
    }
}

impl Check<'_> {
    pub(super) fn otlp(&mut self, typed: Option<&Typed<String>>) -> Option<Settings> {
        if self.variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
            return None;
        }
        let endpoint = match typed {
            Some(typed) => {
                if let Some(what) = unusable(&typed.value) {
                    self.report("otlp", typed, what);
                }
                typed.value.trim().to_owned()
            }
            None => {
                let found = self.variable(ENDPOINT)?;
                if let Some(what) = unusable(&found) {
                    self.misread(ENDPOINT, what);
                }
                found
            }
        };
        let protocol = self.variable(PROTOCOL).filter(|protocol| protocol != "http/protobuf");
        if let Some(protocol) = protocol {
            let what = format!("{protocol:?} is not spoken here; write http/protobuf, whose port is mostly 4318");
            self.misread(PROTOCOL, what);
        }
        let mut resource = self.pairs(RESOURCE);
        let at = resource.iter().position(|(name, _)| name == NAME_ATTRIBUTE);
        let named = at.map(|at| resource.swap_remove(at).1);
        Some(Settings {
            endpoint,
            headers: self.otlp_headers(),
            service_name: self.variable(SERVICE_NAME).or(named).unwrap_or_else(|| "semblance".to_owned()),
            resource,
            sampling: self.sampling(),
            traces: self.exported("OTEL_TRACES_EXPORTER"),
            metrics: self.exported("OTEL_METRICS_EXPORTER"),
            metric_interval: self.metric_interval(),
        })
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.environment)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn misread(&mut self, variable: &str, what: impl Into<String>) {
        self.problems.push(Problem { place: variable.to_owned(), key: "otlp".to_owned(), what: what.into() });
    }

    /// Whether a signal is exported: `none` is the one value that says no.
    fn exported(&self, variable: &str) -> bool {
        self.variable(variable).is_none_or(|exporter| exporter != "none")
    }

    /// `name=value` pairs with commas between them, values percent-encoded.
    fn pairs(&mut self, variable: &str) -> Vec<(String, String)> {
        let text = self.variable(variable).unwrap_or_default();
        let mut pairs = Vec::new();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let read = pair.split_once('=').and_then(|(name, value)| {
                let value = String::from_utf8(headers::unescaped(value.trim())).ok()?;
                Some((name.trim().to_owned(), value)).filter(|(name, _)| !name.is_empty())
            });
            match read {
                Some(pair) => pairs.push(pair),
                // Not shown: it may hold a token.
                None => self.misread(variable, "holds something that is not name=value; put commas between pairs"),
            }
        }
        pairs
    }

    fn otlp_headers(&mut self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        for (name, value) in self.pairs(HEADERS) {
            match (HeaderName::try_from(&name), HeaderValue::try_from(&value)) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.push((name, value));
                }
                _ => self.misread(HEADERS, format!("{name:?} and its value make no header; write name=value")),
            }
        }
        headers
    }

    fn sampling(&mut self) -> Sampling {
        let Some(sampler) = self.variable(SAMPLER) else { return Sampling::default() };
        let (follow_client, kind) = match sampler.strip_prefix("parentbased_") {
            Some(kind) => (true, kind),
            None => (false, sampler.as_str()),
        };
        let share = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.sampled_share(),
            _ => {
                let what = format!(
                    "{sampler:?} is unknown; write always_on, always_off or traceidratio, with parentbased_ before it \
                     where clients' own decisions count"
                );
                self.misread(SAMPLER, what);
                1.0
            }
        };
        Sampling { share, follow_client }
    }

    fn sampled_share(&mut self) -> f64 {
        let Some(text) = self.variable(SAMPLER_ARG) else { return 1.0 };
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => share,
            _ => {
                self.misread(SAMPLER_ARG, format!("{text:?} is not between 0 and 1; write a share such as 0.1"));
                1.0
            }
        }
    }

    fn metric_interval(&mut self) -> Duration {
        const MINUTE_MS: u64 = 60_000;
        let Some(text) = self.variable(INTERVAL) else { return Duration::from_millis(MINUTE_MS) };
        match text.parse::<u64>() {
            Ok(interval) if (1..=DAY_MS).contains(&interval) => Duration::from_millis(interval),
            _ => {
                self.misread(INTERVAL, format!("{text:?} ms is not between 1 and {DAY_MS}, a day"));
                Duration::from_millis(MINUTE_MS)
            }
        }
    }
}
