//! Traffic as lines of JSON, read into something small enough for millions.
//!
//! A line is a record of the gateway's own, or as much of one as an import knows: when (`at_ms`, or `at` as RFC 3339) and
//! what (`query`, or a `fingerprint` without words); everything else is optional.

use std::{collections::HashMap, io::BufRead};

use serde::Deserialize;

use crate::traffic::Record;

/// What an answer is taken to have taken when nobody says.
const ANSWER_MS: u32 = 1000;

/// A line.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    at_ms: Option<i64>,
    at: Option<String>,
    query: Option<String>,
    fingerprint: Option<String>,
    category: Option<String>,
    partition: Option<String>,
    principal: Option<String>,
    model: Option<String>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    answer_ms: Option<u64>,
    outcome: Option<String>,
    reason: Option<String>,
    status: Option<u16>,
    request_id: Option<String>,
    personal: bool,
}

/// What a line is refused for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// It is no JSON object, or a field is of the wrong kind.
    #[error("not a request: {0}")]
    Malformed(String),
    /// It says no time.
    #[error("no time: give at_ms (Unix milliseconds) or at (RFC 3339)")]
    NoTime,
    /// It says no question.
    #[error("no question: give query, or fingerprint where its words are not kept")]
    NoQuestion,
    /// Its time cannot be read.
    #[error("at: {0:?} is not an RFC 3339 time such as 2026-11-01T12:00:00Z")]
    BadTime(String),
}

/// How a recorded request fared that the cache had no part in, whatever the policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixed {
    /// It goes by the policies.
    No,
    /// Bypassed for a reason of its own: sampling, tools, `no-store`.
    Bypass,
    /// It asked for a fresh answer.
    Refresh,
}

/// One request, small.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Its words, if they are known.
    pub text: Option<u32>,
    /// What makes it the same question as another inside its partition.
    pub identity: u32,
    /// What else shapes its answer.
    pub partition: u32,
    /// Who asks.
    pub principal: u32,
    /// The model.
    pub model: u32,
    /// The category told, or named by an import.
    pub category: Option<u32>,
    /// The category is what the gateway found: not the app's own word.
    pub recorded: bool,
    /// Prompt tokens.
    pub input: u32,
    /// Completion tokens.
    pub output: u32,
    /// The tokens are known.
    pub counted: bool,
    /// What its answer took, in milliseconds.
    pub answer_ms: u32,
    /// Its answer could be kept.
    pub storable: bool,
    /// It holds personal data, so its words are not known.
    pub personal: bool,
    /// What no policy changes.
    pub fixed: Fixed,
}

/// Requests in the order of time, their words kept once.
#[derive(Debug, Default)]
pub struct Traffic {
    events: Vec<Event>,
    texts: Interned,
    names: Interned,
    /// Requests whose answers' tokens or times are not known.
    uncounted: u64,
    untimed: u64,
    sorted: bool,
}

#[derive(Debug, Default)]
struct Interned {
    all: Vec<String>,
    known: HashMap<String, u32>,
}

impl Interned {
    fn number(&mut self, text: String) -> u32 {
        if let Some(number) = self.known.get(&text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(text.clone());
        self.known.insert(text, number);
        number
    }

    fn get(&self, number: u32) -> &str {
        self.all.get(number as usize).map_or("", String::as_str)
    }
}

impl Traffic {
    /// Reads lines until the end; bad ones are told to `refuse` with their number, from 1, and left out. Blank lines are
    /// none.
    ///
    /// # Errors
    /// The reader failed.
    pub fn read(&mut self, lines: impl BufRead, mut refuse: impl FnMut(u64, BadLine)) -> std::io::Result<()> {
        for (number, line) in (1..).zip(lines.lines()) {
            let line = line?;
            if !line.trim().is_empty()
                && let Err(bad) = self.line(&line)
            {
                refuse(number, bad);
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), BadLine> {
        let line: Line = serde_json::from_str(line).map_err(|error| BadLine::Malformed(error.to_string()))?;
        let at_ms = match (line.at_ms, &line.at) {
            (Some(at), _) => at,
            (None, Some(text)) => {
                let at = humantime::parse_rfc3339_weak(text).map_err(|_| BadLine::BadTime(text.clone()))?;
                let since = at.duration_since(std::time::UNIX_EPOCH).map_err(|_| BadLine::BadTime(text.clone()))?;
                i64::try_from(since.as_millis()).map_err(|_| BadLine::BadTime(text.clone()))?
            }
            (None, None) => return Err(BadLine::NoTime),
        };
        if line.query.is_none() && line.fingerprint.is_none() {
            return Err(BadLine::NoQuestion);
        }
        self.push(line, at_ms);
        Ok(())
    }

    /// Adds what the gateway recorded itself. A record that says nothing of its question, of a never-cached category for
    /// one, is a question of its own.
    pub fn add(&mut self, record: Record) {
        let at_ms = record.at_ms;
        let line = Line {
            fingerprint: Some(record.fingerprint.unwrap_or_else(|| record.request_id.clone())),
            query: record.query,
            category: Some(record.category).filter(|category| !category.is_empty()),
            partition: record.partition,
            principal: record.principal,
            model: Some(record.model),
            input_tokens: record.input_tokens,
            output_tokens: record.output_tokens,
            answer_ms: record.answer_ms,
            outcome: Some(record.outcome.into_owned()),
            reason: Some(record.reason.into_owned()),
            status: Some(record.status),
            request_id: Some(record.request_id),
            personal: record.personal,
            at_ms: None,
            at: None,
        };
        self.push(line, at_ms);
    }

    fn push(&mut self, line: Line, at_ms: i64) {
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let fixed = match (line.outcome.as_deref(), line.reason.as_deref()) {
            (Some("bypass"), Some("zero-ttl" | "personal-data" | "warming" | "overloaded")) => Fixed::No,
            (Some("bypass"), _) => Fixed::Bypass,
            (Some("miss"), Some("request")) => Fixed::Refresh,
            _ => Fixed::No,
        };
        let counted = line.input_tokens.is_some() && line.output_tokens.is_some();
        self.uncounted += u64::from(!counted);
        self.untimed += u64::from(line.answer_ms.is_none());
        let words = line.query.clone().unwrap_or_default();
        let text = line.query.map(|query| self.texts.number(query));
        let identity = line.fingerprint.map_or_else(|| format!("text {words}"), |print| format!("print {print}"));
        let mut name = |name: Option<String>| self.names.number(name.unwrap_or_default());
        let event = Event {
            at_ms,
            text,
            identity: name(Some(identity)),
            partition: name(line.partition),
            principal: name(line.principal),
            model: name(line.model),
            category: line.category.map(|category| name(Some(category))),
            recorded: line.request_id.is_some(),
            input: small(line.input_tokens.unwrap_or(0)),
            output: small(line.output_tokens.unwrap_or(0)),
            counted,
            answer_ms: line.answer_ms.map_or(ANSWER_MS, small),
            personal: line.personal,
            storable: line.status.is_none_or(|status| status == 200),
            fixed,
        };
        self.sorted &= self.events.last().is_none_or(|last| last.at_ms <= at_ms);
        self.events.push(event);
    }

    /// Puts the requests in the order of time; those of one moment stay as they came.
    pub fn sort(&mut self) {
        self.events.sort_by_key(|event| event.at_ms);
    }

    /// The requests.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The distinct texts.
    pub fn texts(&self) -> &[String] {
        &self.texts.all
    }

    /// A text.
    pub fn text(&self, number: u32) -> &str {
        self.texts.get(number)
    }

    /// A model, category, principal or partition.
    pub fn name(&self, number: u32) -> &str {
        self.names.get(number)
    }

    /// Requests without known tokens, without a known time, and without words.
    pub fn unknown(&self) -> (u64, u64, u64) {
        let wordless = self.events.iter().filter(|event| event.text.is_none() && event.fixed == Fixed::No).count();
        (self.uncounted, self.untimed, wordless as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> (Traffic, Vec<(u64, BadLine)>) {
        let (mut traffic, mut bad) = (Traffic::default(), Vec::new());
        traffic.read(lines.as_bytes(), |number, why| bad.push((number, why))).unwrap();
        (traffic, bad)
    }

    #[test]
    fn bad_lines_are_named_by_number_and_the_rest_is_read() {
        let (traffic, bad) = read(
            "{\"at_ms\":5,\"query\":\"a\"}\n\nnonsense\n{\"query\":\"b\"}\n{\"at\":\"yesterday\",\"query\":\"b\"}\n{\"at_ms\":6}\n",
        );
        assert_eq!(traffic.events().len(), 1);
        assert_eq!(bad.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(bad[1].1, BadLine::NoTime);
        assert_eq!(bad[3].1, BadLine::NoQuestion);
    }

    #[test]
    fn times_are_read_in_both_forms_and_sorted() {
        let (mut traffic, bad) = read(
            "{\"at\":\"2026-11-01T00:00:01Z\",\"query\":\"later\"}\n{\"at_ms\":1793491200000,\"query\":\"sooner\"}\n",
        );
        assert!(bad.is_empty(), "{bad:?}");
        traffic.sort();
        let words: Vec<&str> = traffic.events().iter().map(|event| traffic.text(event.text.unwrap())).collect();
        assert_eq!(words, ["sooner", "later"]);
        assert_eq!(traffic.events()[1].at_ms - traffic.events()[0].at_ms, 1000);
    }
}
