//! Logs: how they are set up, and the one `info` event that each request leaves.
//!
//! Invariants: no prompt text and no credential can get into a request's event, because [`RequestFacts`] has no field
//! for them; libraries below us stay at `info`, since their debug output may hold headers.

use std::io::{self, IsTerminal};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    field::MakeExt,
    fmt::{self, MakeWriter, format::debug_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{
    outcome::{HitKind, Outcome},
    wire::{Family, Usage},
};

/// Libraries that log more about a request than we do, once they are allowed to.
const QUIET: &str = "h2=info,hyper=info,hyper_util=info,reqwest=info,rustls=info,tower=info";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether log lines are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Color {
    /// When standard error is a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Text or JSON.
    pub format: LogFormat,
    /// A level (`info`) or filter directives (`info,semblance::gateway=debug`).
    pub level: String,
    /// Colours, for text.
    pub color: Color,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned(), color: Color::Auto }
    }
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is none.
    #[error("{typed:?} is not a log level or filter; write error, warn, info, debug or trace, or info,semblance=debug")]
    Level {
        /// As typed.
        typed: String,
    },
    /// A logger is set already.
    #[error("logging is set up already")]
    Twice,
}

/// Logs to standard error from now on, for the whole process.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    let color = match config.color {
        Color::Auto => io::stderr().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    subscriber(config, color, io::stderr)?.try_init().map_err(|_| TelemetryError::Twice)
}

/// A subscriber that writes to `writer`.
pub fn subscriber<W>(
    config: &LogConfig,
    color: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter(&config.level)?;
    let layer = match config.format {
        LogFormat::Text if color => fmt::layer().with_writer(writer).with_target(false).boxed(),
        LogFormat::Text => {
            // Without the styles that every field has otherwise, also where they come to nothing: half of a line's cost.
            let fields = debug_fn(|to, field, value| match field.name() {
                "message" => write!(to, "{value:?}"),
                name => write!(to, "{name}={value:?}"),
            });
            let layer = fmt::layer().fmt_fields(fields.delimited(" "));
            layer.with_writer(writer).with_ansi(false).with_target(false).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_ansi(false).with_writer(writer).boxed(),
    };
    Ok(Registry::default().with(layer.with_filter(filter)))
}

/// The filter of a level or of directives. What the operator writes about a library wins over [`QUIET`].
fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let unusable = || TelemetryError::Level { typed: level.to_owned() };
    // The filter would take a misspelt level for a target's name and log everything of it.
    let bare = |part: &str| part.is_empty() || (!part.contains(['=', '[']) && part.parse::<LevelFilter>().is_err());
    if level.split(',').map(str::trim).any(bare) {
        return Err(unusable());
    }
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(format!("{QUIET},{level}"))
        .map_err(|_| unusable())
}

/// Whether `level` can be used.
pub fn check_level(level: &str) -> Result<(), TelemetryError> {
    filter(level).map(drop)
}

/// What one request's log event says. Built by the gateway when the answer has ended.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Our id of the request.
    pub request_id: &'a str,
    /// Protocol; `None` for paths that are only passed through.
    pub family: Option<Family>,
    /// The model named, empty when none.
    pub model: &'a str,
    /// The category, empty when none was looked for.
    pub category: &'a str,
    /// The one outcome.
    pub outcome: Outcome,
    /// Status sent to the client.
    pub status: u16,
    /// The entry that answered, on a hit.
    pub entry: Option<crate::entry::EntryId>,
    /// Age of that entry in milliseconds.
    pub age_ms: Option<u64>,
    /// From the request's head to the response's last byte, in microseconds.
    pub latency_us: u64,
    /// From the request sent upstream to its response's head, in milliseconds.
    pub upstream_ms: Option<u64>,
    /// Tokens that the upstream counted for this answer, now or when it was stored.
    pub usage: Option<Usage>,
    /// Why the answer was not stored, where one was fetched and not stored.
    pub not_stored: Option<crate::outcome::NotStored>,
    /// Why the answer ended early, if it did.
    pub broken: Option<&'static str>,
}

/// Writes the one event of a request.
pub fn request_event(facts: &RequestFacts<'_>) {
    let hit = matches!(facts.outcome, Outcome::Hit(_) | Outcome::StaleHit(..));
    let similarity = match facts.outcome {
        Outcome::Hit(HitKind::Semantic(similarity)) | Outcome::StaleHit(HitKind::Semantic(similarity), _) => {
            Some(f64::from((similarity.get() * 1000.0).round()) / 1000.0)
        }
        _ => None,
    };
    let entry = facts.entry.map(tracing::field::display);
    tracing::info!(
        target: "semblance::request",
        request_id = facts.request_id,
        family = facts.family.map(Family::as_str),
        model = facts.model,
        category = facts.category,
        outcome = facts.outcome.label(),
        reason = facts.outcome.reason(),
        status = facts.status,
        entry,
        similarity,
        age_ms = facts.age_ms,
        latency_us = facts.latency_us,
        upstream_ms = facts.upstream_ms,
        input_tokens = facts.usage.map(|usage| usage.input),
        output_tokens = facts.usage.map(|usage| usage.output),
        saved = hit,
        not_stored = facts.not_stored.map(crate::outcome::NotStored::as_str),
        broken = facts.broken,
        "request"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{entry::EntryId, outcome::MissReason, similarity::Similarity};

    #[derive(Debug, Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(config: &LogConfig, color: bool, work: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = subscriber(config, color, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn facts(outcome: Outcome) -> RequestFacts<'static> {
        RequestFacts {
            request_id: "r1",
            family: Some(Family::Chat),
            model: "gpt-4o-mini",
            category: "product-faq",
            outcome,
            status: 200,
            entry: None,
            age_ms: None,
            latency_us: 412,
            upstream_ms: None,
            usage: Some(Usage { input: 10, output: 20 }),
            not_stored: None,
            broken: None,
        }
    }

    fn json(level: &str) -> LogConfig {
        LogConfig { format: LogFormat::Json, level: level.to_owned(), color: Color::Never }
    }

    #[test]
    fn a_hit_leaves_one_json_line_with_its_facts() {
        let similarity = Similarity::new(0.9619).unwrap();
        let mut facts = facts(Outcome::Hit(HitKind::Semantic(similarity)));
        facts.entry = Some(EntryId(31));
        facts.age_ms = Some(1500);
        let lines = logged(&json("info"), true, || request_event(&facts));
        assert_eq!(lines.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        for (key, value) in [
            ("request_id", serde_json::json!("r1")),
            ("outcome", "hit-semantic".into()),
            ("reason", "semantic".into()),
            ("similarity", 0.962.into()),
            ("entry", "e1f".into()),
            ("age_ms", 1500.into()),
            ("latency_us", 412.into()),
            ("output_tokens", 20.into()),
            ("saved", true.into()),
            ("status", 200.into()),
        ] {
            assert_eq!(line[key], value, "{key} in {lines}");
        }
        assert!(line.get("upstream_ms").is_none() && line.get("not_stored").is_none());
    }

    #[test]
    fn text_has_colours_only_when_told() {
        let config = LogConfig::default();
        let write = || request_event(&facts(Outcome::Miss(MissReason::Empty)));
        let plain = logged(&config, false, write);
        let coloured = logged(&config, true, write);
        assert!(coloured.contains('\u{1b}'));
        let told = plain.split_once("INFO ").unwrap().1;
        assert!(
            told.starts_with("request request_id=\"r1\" family=\"chat\" model=\"gpt-4o-mini\" category="),
            "{plain}"
        );
        assert!(told.ends_with("output_tokens=20 saved=false\n"), "{plain}");
    }

    #[test]
    fn debug_is_ours_and_not_that_of_the_libraries_below() {
        let write = || {
            tracing::debug!(target: "semblance::gateway", "ours");
            tracing::debug!(target: "hyper::proto", "headers of hyper");
            tracing::debug!(target: "h2::codec", "headers of h2");
        };
        let lines = logged(&json("debug"), false, write);
        assert!(lines.contains("ours") && !lines.contains("headers"));
        assert!(logged(&json("info,hyper=debug"), false, write).contains("headers of hyper"));
        assert!(!logged(&json("info"), false, write).contains("ours"));
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        assert!(check_level("info").is_ok());
        assert!(check_level("warn,semblance::gateway=trace").is_ok());
        for level in ["semblance=loud", "loud", "", "info,"] {
            assert!(check_level(level).is_err(), "{level:?}");
        }
    }
}
