//! A line of an export or import: a whole entry, or a question and its answer.
//!
//! Fail closed: a member that is not known may be a restriction, or a typing error, so there may be none. What an entry's
//! line says beside its body is held against the body: a line edited by hand does not slip through.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::moment;
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Principal, Scope},
    similarity::Embedding,
    wire::{Answer, Family, Usage, directives::SourceRef},
};

/// Bytes as text where they are UTF-8, else in base64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Octets {
    Text(String),
    Base64 { base64: String },
}

impl Octets {
    fn of(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64 { base64: STANDARD.encode(bytes) },
        }
    }

    fn bytes(self) -> Result<Bytes, String> {
        match self {
            Self::Text(text) => Ok(Bytes::from(text)),
            Self::Base64 { base64 } => STANDARD.decode(base64).map(Bytes::from).map_err(|e| e.to_string()),
        }
    }
}

/// A whole entry: all that makes it found and served again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MovedLine {
    /// Its id in the store that it comes from, for people to find it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    fingerprint: String,
    partition: String,
    scope: String,
    #[serde(default)]
    principal: Option<String>,
    /// Tells under which `principal.key` scope and principal were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    category: String,
    policy_revision: String,
    #[serde(default)]
    query: Option<String>,
    family: String,
    model: String,
    body: Octets,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_stream: Option<Octets>,
    #[serde(default)]
    usage: Option<Usage>,
    generated_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    invalidated_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_limit_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<String>,
    /// Fingerprints of other wordings that it is served for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    /// Fingerprints of questions that must never share its answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blocked: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    embedder: Option<String>,
    /// Little-endian f32 in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vector: Option<String>,
}

/// What lies beside an entry in its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// Other wordings that it is served for.
    pub aliases: Vec<Fingerprint>,
    /// Questions that must never share its answer.
    pub blocked: Vec<Fingerprint>,
}

/// The documents that a line names.
pub(super) fn sources(texts: &[String]) -> Result<Vec<SourceRef>, String> {
    let read = |text: &String| {
        SourceRef::parse(text).ok_or_else(|| format!("sources: {text:?} is no document; write it like \"doc:42@v7\""))
    };
    texts.iter().map(read).collect()
}

impl MovedLine {
    /// The line of `entry`. `key` tells the node's principal key; `None` when a moment of the entry cannot be written.
    pub fn of(entry: &Entry, beside: &Beside, key: &str) -> Option<Self> {
        let hex = |all: &[Fingerprint]| all.iter().map(Fingerprint::to_hex).collect();
        let Entry { answer, .. } = entry;
        let vector = |vector: &Embedding| {
            let bytes: Vec<u8> = vector.values().iter().flat_map(|value| value.to_le_bytes()).collect();
            STANDARD.encode(bytes)
        };
        let invalidated_at = match entry.invalidated_at {
            Some(at) => Some(moment::text(at)?),
            None => None,
        };
        Some(Self {
            entry: Some(entry.id.to_string()),
            fingerprint: entry.fingerprint.to_hex(),
            partition: entry.partition.to_hex(),
            scope: entry.scope.to_hex(),
            principal: entry.principal.map(|of| of.to_hex()),
            key: Some(key.to_owned()),
            category: entry.category.clone(),
            policy_revision: entry.policy_revision.clone(),
            query: entry.query.clone(),
            family: answer.family.as_str().to_owned(),
            model: answer.model.clone(),
            body: Octets::of(&answer.body),
            raw_stream: answer.raw_stream.as_ref().map(Octets::of),
            usage: answer.usage,
            generated_at: moment::text(entry.generated_at)?,
            invalidated_at,
            ttl_limit_ms: entry.ttl_limit_ms,
            tags: entry.tags.clone(),
            sources: entry.sources.iter().map(SourceRef::to_string).collect(),
            aliases: hex(&beside.aliases),
            blocked: hex(&beside.blocked),
            embedder: entry.embedding.as_ref().and(entry.embedder.clone()),
            vector: entry.embedding.as_ref().map(vector),
        })
    }

    /// Whether scope and principal were made under the key that `key` tells; true when the line does not say.
    pub fn is_of(&self, key: &str) -> bool {
        self.key.as_ref().is_none_or(|own| own == key)
    }

    /// The category it was admitted under.
    pub fn category(&self) -> &str {
        &self.category
    }

    /// The entry, without an id. The error says in words what is wrong.
    pub fn into_entry(self) -> Result<(Entry, Beside), String> {
        let family = Family::from_name(&self.family)
            .ok_or_else(|| format!("family: no protocol is called {:?}", self.family))?;
        let raw_stream = self.raw_stream.map(Octets::bytes).transpose().map_err(|e| format!("raw_stream: {e}"))?;
        let body = self.body.bytes().map_err(|error| format!("body: {error}"))?;
        let answer = Answer::new(family, body, raw_stream).map_err(|error| format!("body: {error}"))?;
        if answer.model != self.model || answer.usage != self.usage {
            return Err("model and usage are not what the body says; the line was changed".to_owned());
        }
        let vector = self.vector.map(|vector| embedding(&vector)).transpose()?;
        let digest = |name: &str, hex: &str| format!("{name}: {hex:?} is not 64 hex digits");
        let all = |name: &str, all: Vec<String>| -> Result<Vec<Fingerprint>, String> {
            all.iter().map(|hex| Fingerprint::from_hex(hex).ok_or_else(|| digest(name, hex))).collect()
        };
        let beside = Beside { aliases: all("aliases", self.aliases)?, blocked: all("blocked", self.blocked)? };
        let principal = |hex: String| Principal::from_hex(&hex).ok_or_else(|| digest("principal", &hex));
        let mut entry = Entry {
            id: EntryId(0),
            scope: Scope::from_hex(&self.scope).ok_or_else(|| digest("scope", &self.scope))?,
            principal: self.principal.map(principal).transpose()?,
            partition: Partition::from_hex(&self.partition).ok_or_else(|| digest("partition", &self.partition))?,
            fingerprint: Fingerprint::from_hex(&self.fingerprint)
                .ok_or_else(|| digest("fingerprint", &self.fingerprint))?,
            category: self.category,
            policy_revision: self.policy_revision,
            query: self.query,
            embedder: vector.as_ref().and(self.embedder),
            embedding: vector,
            answer,
            generated_at: at("generated_at", &self.generated_at)?,
            invalidated_at: self.invalidated_at.map(|text| at("invalidated_at", &text)).transpose()?,
            ttl_limit_ms: self.ttl_limit_ms,
            tags: self.tags,
            sources: sources(&self.sources)?,
        };
        entry.tags.sort_unstable();
        entry.tags.dedup();
        Ok((entry, beside))
    }
}

fn embedding(text: &str) -> Result<Embedding, String> {
    let bytes = STANDARD.decode(text).map_err(|error| format!("vector: {error}"))?;
    let (values, rest) = bytes.as_chunks::<4>();
    let vector = Embedding::from_unit(values.iter().map(|value| f32::from_le_bytes(*value)).collect());
    vector.filter(|_| rest.is_empty()).ok_or_else(|| "vector: it is not a vector of unit length".to_owned())
}

fn at(name: &str, text: &str) -> Result<Timestamp, String> {
    moment::parse(text).map_err(|error| format!("{name}: {error}"))
}

/// A question and its answer as a person writes them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenLine {
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Its content type; without it the question tells.
    pub category: Option<String>,
    /// The models that clients name.
    #[serde(default, deserialize_with = "one_or_more", alias = "models")]
    pub model: Vec<String>,
    /// The protocols that clients speak; chat when none is given.
    #[serde(default, deserialize_with = "one_or_more", alias = "families")]
    pub family: Vec<String>,
    /// The system prompt that clients send.
    pub system: Option<String>,
    /// Further members of the body that clients send, such as `temperature`.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// Further headers that clients send, such as `openai-organization`; none of them carries a credential.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The app's own `x-semblance-namespace`.
    pub namespace: Option<String>,
    /// Labels for purge.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What the answer rests on, as `doc:42@v7`: labels, no part of the question.
    #[serde(default)]
    pub sources: Vec<String>,
    /// When it was true, RFC 3339; now when it is not given.
    pub generated_at: Option<String>,
    /// Tokens that the answer would have taken, where they are known.
    pub usage: Option<Usage>,
    /// A variable that holds the key or token of whose answer it is. Commands put `credential` in its place.
    pub credential_env: Option<String>,
    /// The key or token itself.
    pub credential: Option<String>,
    /// Whose answer it is: the name of who holds keys of the gateway's own.
    pub holder: Option<String>,
    /// The same as entries are listed with, 64 hex digits.
    pub principal: Option<String>,
    /// `shared`: for everybody that the category's policy shares with, which is what naming nobody means.
    pub scope: Option<String>,
    /// For whoever reads the file.
    pub note: Option<Value>,
    /// See `note`.
    pub id: Option<Value>,
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "wanted: one name, or a list of names")]
    enum Either {
        One(String),
        More(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::One(name) => vec![name],
        Either::More(names) => names,
    })
}

/// A line of either kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A whole entry.
    Moved(Box<MovedLine>),
    /// A question and its answer.
    Written(Box<WrittenLine>),
}

impl Line {
    /// Reads a line; the error says in words what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Kind {
            fingerprint: Option<IgnoredAny>,
        }
        let kind: Kind = serde_json::from_str(text).map_err(in_words)?;
        match kind.fingerprint {
            Some(_) => serde_json::from_str(text).map(Self::Moved).map_err(in_words),
            None => serde_json::from_str(text).map(Self::Written).map_err(in_words),
        }
    }
}

/// Without the place in the line that the error counts: where there is one line, "line 1" misleads.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn in_words(error: serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line 1 column").map_or(text.clone(), |(what, column)| format!("{what} at column{column}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;

    fn entry(raw_stream: Option<Bytes>) -> Entry {
        let body = r#"{"id":"x","created":7,"model":"m-1","choices":[{"message":{"content":"caf\u00e9"}}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
        let answer = Answer::new(Family::Chat, Bytes::from(body), raw_stream).unwrap();
        Entry { answer, invalidated_at: Some(Timestamp::from_millis(2_000)), ..conformance::entry(EntryId(0), "q") }
    }

    fn back(text: &str) -> Result<(Entry, Beside), String> {
        match Line::parse(text)? {
            Line::Moved(line) => line.into_entry(),
            Line::Written(_) => Err("another kind".to_owned()),
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let beside = Beside {
            aliases: vec![conformance::fingerprint("a"), conformance::fingerprint("b")],
            blocked: vec![conformance::fingerprint("c")],
        };
        for raw in [None, Some(Bytes::from_static(b"data: {}\n\n")), Some(Bytes::from_static(b"\xff\xfe"))] {
            let entry = entry(raw);
            let line = serde_json::to_string(&MovedLine::of(&entry, &beside, "k").unwrap()).unwrap();
            assert!(!line.contains('\n'));
            let (same, others) = back(&line).unwrap();
            conformance::assert_same(&same, &entry);
            assert_eq!(others, beside);
        }
    }

    #[test]
    fn a_line_that_was_changed_or_cut_is_refused_and_says_why() {
        let line = serde_json::to_value(MovedLine::of(&entry(None), &Beside::default(), "k").unwrap()).unwrap();
        let changed = |key: &str, value: Value| {
            let mut line = line.clone();
            line[key] = value;
            back(&line.to_string()).unwrap_err()
        };
        assert!(changed("model", "m-2".into()).contains("the line was changed"));
        assert!(changed("scope", "abc".into()).contains("64 hex digits"));
        assert!(changed("aliases", serde_json::json!(["x"])).contains("aliases"));
        assert!(changed("generated_at", "soon".into()).contains("generated_at"));
        assert!(changed("vector", "AAAA".into()).contains("vector"));
        assert!(changed("body", "{}".into()).contains("not a whole chat answer"));
        assert!(changed("only_for", "eu".into()).contains("unknown field"));
        let text = line.to_string();
        assert!(back(&text[..text.len() / 2]).is_err());
    }

    #[test]
    fn a_person_may_name_one_model_or_several_and_no_member_that_is_not_known() {
        let read = |text: &str| match Line::parse(text) {
            Ok(Line::Written(line)) => Ok(*line),
            Ok(Line::Moved(_)) => panic!("another kind"),
            Err(error) => Err(error),
        };
        let one = read(r#"{"question":"q","answer":"a","model":"m","system":null}"#).unwrap();
        assert_eq!((one.model, one.family, one.system), (vec!["m".to_owned()], Vec::new(), None));
        let more = read(r#"{"question":"q","answer":"a","models":["m","n"],"family":"messages"}"#).unwrap();
        assert_eq!((more.model.len(), more.family.len()), (2, 1));
        assert!(read(r#"{"question":"q","awnser":"a"}"#).unwrap_err().contains("awnser"));
        assert!(read(r#"{"question":"q"}"#).unwrap_err().starts_with("missing field `answer` at column"));
        assert!(read(r#"{"question":"q","answer":"a","model":7}"#).unwrap_err().contains("a list of names"));
        assert!(read("nonsense").is_err());
    }
}
