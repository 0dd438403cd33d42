//! From the rounds of a measurement to a row, and the one place where bars and aims stand.

use crate::rows::{Judged, Reference, Row};

/// What has to be reached and what would be good, by a row's id. Ratios are to the row's reference.
const BARS: &[(&str, f64, f64)] = &[
    ("pass-through-p50-1", 1.3, 1.1),
    ("pass-through-throughput-16", 0.6, 0.8),
    ("pass-through-chat-p50-1", 1.3, 1.1),
    ("pass-through-chat-throughput-16", 0.6, 0.8),
    ("exact-hit-p50-1", 1.6, 1.2),
    ("exact-hit-throughput-16", 0.4, 0.7),
    ("stream-hit-p50-1", 2.0, 1.3),
    ("semantic-hit-p50-1", 1.3, 1.1),
    ("alias-hit-p50-1", 1.05, 1.0),
    ("miss-first-byte-added", 1.0, 0.2),
    ("start-ready-empty", 0.3, 0.1),
    ("start-ready-100000", 2.0, 0.5),
    ("memory-start", 150.0, 80.0),
    ("memory-per-entry", 2.6, 0.7),
];
/// Fewer rounds say nothing about the noise between them.
const ENOUGH: usize = 3;

/// What one round found, of the gateway and of what it is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) value: f64,
    pub(crate) reference: Option<f64>,
}

/// What a row says beside its figures.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// Title of the reference; empty where there is none.
    pub(crate) reference: String,
    pub(crate) judged: Judged,
    pub(crate) lower_is_better: bool,
}

impl Named {
    /// A ratio of which less is better.
    pub(crate) fn ratio(id: &str, title: &str, unit: &'static str, reference: &str) -> Self {
        let (id, title, reference) = (id.to_owned(), title.to_owned(), reference.to_owned());
        Self { id, title, unit, reference, judged: Judged::Ratio, lower_is_better: true }
    }

    /// A value of which less is better; the reference is there to compare by eye.
    pub(crate) fn value(id: &str, title: &str, unit: &'static str, reference: &str) -> Self {
        Self { judged: Judged::Value, ..Self::ratio(id, title, unit, reference) }
    }

    /// The row of these rounds; `None` when there were none, or none with a figure.
    pub(crate) fn row(self, rounds: &[Round]) -> Option<Row> {
        let value = median(rounds.iter().map(|round| round.value))?;
        let held = |round: &Round| round.reference.filter(|reference| *reference > 0.0);
        let reference = median(rounds.iter().filter_map(held));
        let ratios = rounds.iter().filter_map(|round| Some(round.value / held(round)?));
        let ratio = median(ratios.clone());
        let judged: Vec<f64> = match self.judged {
            Judged::Ratio => ratios.collect(),
            Judged::Value => rounds.iter().map(|round| round.value).collect(),
        };
        let bars = BARS.iter().find(|(id, ..)| *id == self.id);
        Some(Row {
            reference: reference.map(|value| Reference { title: self.reference, value }),
            id: self.id,
            title: self.title,
            unit: self.unit.to_owned(),
            value,
            ratio,
            bar: bars.map(|(_, bar, _)| *bar),
            aim: bars.map(|(.., aim)| *aim),
            judged: self.judged,
            lower_is_better: self.lower_is_better,
            p99: None,
            cpu_us_per_request: None,
            spread: quartiles(judged),
        })
    }
}

/// The middle of the finite ones.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted = sorted(values);
    sorted.get(sorted.len() / 2).copied()
}

/// Of few rounds rather the outer ones.
fn quartiles(values: Vec<f64>) -> Option<[f64; 2]> {
    let sorted = sorted(values);
    let quarter = sorted.len().saturating_sub(1) / 4;
    (sorted.len() >= ENOUGH).then(|| Some([*sorted.get(quarter)?, *sorted.iter().nth_back(quarter)?])).flatten()
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values
}
