//! What went through: one record a request where that is switched on, and the ledger of what was saved and spent.
//!
//! Invariants: the words of a question are in a record only where the policy of its category allows it, and never when they
//! hold personal data or the category is never cached (I5). A question of which no trace may stay has no fingerprint in its
//! record either. The ledger holds sums
//! by hour, category, model and policy revision, and nothing of anybody.

pub mod ledger;
pub mod window;

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

/// A word of a closed list, or an operator's own name.
pub type Word = Cow<'static, str>;

/// What is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficSettings {
    /// Keep a record of each request.
    pub record: bool,
    /// Records stay this long,
    pub retention: Duration,
    /// and at most so many.
    pub max_rows: u64,
}

/// How a candidate was weighed: the one that was served, or the nearest of those that were refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Weighed {
    /// The entry.
    pub candidate: String,
    /// Cosine of the two questions.
    pub similarity: f32,
    /// Calibrated probability that both have the same answer; `None` when the guard came before it.
    pub p: Option<f32>,
    /// What p, or the similarity where no verifier runs, had to reach.
    pub bar: f32,
    /// The slot of the contrast guard that refused, or raised the bar.
    pub slot: Option<Word>,
    /// The words that differ; words of the questions.
    pub detail: Option<String>,
}

/// One request and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Number in the order of recording; `None` before it is kept.
    pub id: Option<i64>,
    /// When it came, in Unix milliseconds.
    pub at_ms: i64,
    /// When its answer ended, in Unix milliseconds.
    pub answered_at_ms: i64,
    /// `x-semblance-request-id`.
    pub request_id: String,
    /// Protocol; `None` for paths that only pass through.
    pub family: Option<Word>,
    /// The model asked for.
    pub model: String,
    /// The category; empty when none was told.
    pub category: String,
    /// Label of the outcome.
    pub outcome: Word,
    /// Its reason.
    pub reason: Word,
    /// HTTP status.
    pub status: u16,
    /// The question, as digits of a digest.
    pub fingerprint: Option<String>,
    /// What it shares with others that may be matched by meaning, as digits of a digest.
    pub partition: Option<String>,
    /// Whose question it is, as digits of a digest.
    pub principal: Option<String>,
    /// The entry served.
    pub entry: Option<String>,
    /// How the served, or nearest refused, candidate was weighed.
    #[serde(flatten)]
    pub weighed: Option<Weighed>,
    /// Age of the answer served from the cache.
    pub age_ms: Option<u64>,
    /// Prompt tokens of the answer.
    pub input_tokens: Option<u64>,
    /// Completion tokens of the answer.
    pub output_tokens: Option<u64>,
    /// From the request to the end of a fetched answer.
    pub answer_ms: Option<u64>,
    /// From the request to the head of its answer, in microseconds.
    pub latency_us: u64,
    /// Policies in force.
    pub policy_revision: String,
    /// The question's words, where they may be kept.
    pub query: Option<String>,
    /// Whether a stream was asked for.
    pub streamed: bool,
    /// It holds personal data: its words are not kept, whatever the policy says of others.
    pub personal: bool,
    /// US dollars that a hit saved, where the model has a price.
    pub saved_usd: Option<f64>,
}

/// Which records are wanted; what is given must all hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Came at this moment or later, in Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Came before this moment.
    pub until_ms: Option<i64>,
    /// Of this category.
    pub category: Option<String>,
    /// Of this outcome.
    pub outcome: Option<String>,
    /// Of this reason.
    pub reason: Option<String>,
    /// With this in the question, in any case.
    pub text: Option<String>,
    /// Only those whose nearest candidate was refused.
    pub refused: Option<u8>,
    /// Recorded before the one of this number: the next page.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_flat_and_reads_back() {
        let weighed = Weighed {
            candidate: "e1f".to_owned(),
            similarity: 0.5,
            p: None,
            bar: 0.75,
            slot: Some("number".into()),
            detail: None,
        };
        let record = Record { at_ms: 7, weighed: Some(weighed), outcome: "miss".into(), ..Record::default() };
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!((json["candidate"].as_str(), json["bar"].as_f64()), (Some("e1f"), Some(0.75)));
        assert_eq!(serde_json::from_value::<Record>(json).unwrap(), record);
        let bare = Record { at_ms: 7, ..Record::default() };
        assert_eq!(serde_json::from_value::<Record>(serde_json::to_value(&bare).unwrap()).unwrap(), bare);
    }
}
