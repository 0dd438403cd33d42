//! An entry as the engine holds it: what may be evicted (texts and vector), and the facts by which it is found and purged.
//!
//! Two keys: `e:ID` with the texts, which runs out; `m:ID` with the facts, which stays until the entry is taken out of
//! everything that names it. An entry without its texts is none.

use bytes::Bytes;
use redis::Value;
use serde::{Deserialize, Serialize};

use super::reply;
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Principal, Scope},
    similarity::Embedding,
    store::{
        EntrySummary, StoreError,
        codec::{self, Labels, Record},
        vault::{Part, Vault},
    },
    wire::{Answer, Family, directives::SourceRef},
};

/// What a selector looks at, and what a list shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) scope: String,
    pub(super) principal: Option<String>,
    pub(super) partition: String,
    pub(super) fingerprint: String,
    pub(super) category: String,
    revision: String,
    model: String,
    pub(super) generated_at: i64,
    ttl: Option<i64>,
    checksum: String,
    pub(super) bytes: u64,
    pub(super) tags: Vec<String>,
    pub(super) sources: Vec<(String, Option<String>)>,
}

/// What is stored of an entry.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) facts: Facts,
    pub(super) record: Record,
}

impl Row {
    pub(super) fn of(entry: &Entry, vault: &Vault) -> Result<Self, StoreError> {
        let record = Record::of(entry, vault)?;
        let mut tags = entry.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        let mut sources: Vec<_> =
            entry.sources.iter().map(|SourceRef { name, version }| (name.clone(), version.clone())).collect();
        sources.sort_unstable();
        sources.dedup();
        let facts = Facts {
            scope: entry.scope.to_hex(),
            principal: entry.principal.map(|of| of.to_hex()),
            partition: entry.partition.to_hex(),
            fingerprint: entry.fingerprint.to_hex(),
            category: entry.category.clone(),
            revision: entry.policy_revision.clone(),
            model: entry.answer.model.clone(),
            generated_at: record.generated_at,
            ttl: record.ttl_limit_ms,
            checksum: hex(&record.checksum()),
            bytes: record.body.len() as u64,
            tags,
            sources,
        };
        Ok(Self { facts, record })
    }
}

impl Facts {
    pub(super) fn parse(id: EntryId, json: &[u8]) -> Result<Self, StoreError> {
        serde_json::from_slice(json).map_err(|_| StoreError::Damaged { id, what: "row" })
    }

    /// Sets that the entry is a member of, by which it is found.
    pub(super) fn labels(&self) -> Vec<String> {
        let mut labels: Vec<String> = self.tags.iter().map(|tag| tag_label(tag)).collect();
        labels.extend(self.sources.iter().map(|(name, _)| source_label(name)));
        labels.push(scope_label(&self.scope));
        labels.push(principal_label(self.principal.as_deref()));
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    fn labels_of_entry(&self) -> Labels {
        let source =
            |(name, version): &(String, Option<String>)| SourceRef { name: name.clone(), version: version.clone() };
        Labels { tags: self.tags.clone(), sources: self.sources.iter().map(source).collect() }
    }

    /// An entry without its texts, for a selector to look at.
    pub(super) fn outline(&self, id: EntryId, vector: Option<(String, Embedding)>) -> Result<Entry, StoreError> {
        let damaged = || StoreError::Damaged { id, what: "row" };
        let Labels { tags, sources } = self.labels_of_entry();
        let principal = self.principal.as_deref().map(|of| Principal::from_hex(of).ok_or_else(damaged)).transpose()?;
        let (embedder, embedding) = vector.unzip();
        Ok(Entry {
            id,
            scope: Scope::from_hex(&self.scope).ok_or_else(damaged)?,
            principal,
            partition: Partition::from_hex(&self.partition).ok_or_else(damaged)?,
            fingerprint: Fingerprint::from_hex(&self.fingerprint).ok_or_else(damaged)?,
            category: self.category.clone(),
            policy_revision: self.revision.clone(),
            query: None,
            embedding,
            embedder,
            answer: Answer {
                family: Family::Chat,
                body: Bytes::new(),
                id_span: None,
                created_span: None,
                text: String::new(),
                model: self.model.clone(),
                usage: None,
                raw_stream: None,
            },
            generated_at: Timestamp::from_millis(self.generated_at),
            invalidated_at: None,
            ttl_limit_ms: self.ttl.map(i64::unsigned_abs),
            tags,
            sources,
        })
    }

    /// As it is listed.
    pub(super) fn summary(
        &self,
        id: EntryId,
        query: Option<String>,
        invalidated_at: Option<i64>,
        aliases: u64,
    ) -> EntrySummary {
        let source = |(name, version): &(String, Option<String>)| {
            SourceRef { name: name.clone(), version: version.clone() }.to_string()
        };
        EntrySummary {
            id: id.to_string(),
            scope: self.scope.clone(),
            principal: self.principal.clone(),
            category: self.category.clone(),
            query,
            model: self.model.clone(),
            generated_at_ms: self.generated_at,
            invalidated_at_ms: invalidated_at,
            bytes: self.bytes,
            ttl_limit_ms: self.ttl.map(i64::unsigned_abs),
            tags: self.tags.clone(),
            sources: self.sources.iter().map(source).collect(),
            aliases,
        }
    }
}

pub(super) fn tag_label(tag: &str) -> String {
    format!("t:{tag}")
}

pub(super) fn source_label(name: &str) -> String {
    format!("s:{name}")
}

pub(super) fn scope_label(scope: &str) -> String {
    format!("o:{scope}")
}

pub(super) fn principal_label(principal: Option<&str>) -> String {
    format!("p:{}", principal.unwrap_or_default())
}

/// What the engine holds of one entry.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: EntryId,
    query: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    vector: Option<Vec<u8>>,
    embedder: Option<String>,
    pub(super) facts: Option<Vec<u8>>,
    pub(super) invalidated_at: Option<i64>,
    /// The number of the last change before it was admitted.
    pub(super) sequence: u64,
}

impl Stored {
    /// From the fields `q a x n` and `f i s`.
    pub(super) fn of(id: EntryId, texts: Value, facts: Value) -> Result<Self, StoreError> {
        let mut texts = reply::array(texts)?.into_iter();
        let mut facts = reply::array(facts)?.into_iter();
        let next = |from: &mut std::vec::IntoIter<Value>| from.next().unwrap_or(Value::Nil);
        let (query, body, vector, embedder) = (next(&mut texts), next(&mut texts), next(&mut texts), next(&mut texts));
        let (json, invalidated_at, sequence) = (next(&mut facts), next(&mut facts), next(&mut facts));
        Ok(Self {
            id,
            query: reply::bytes(query)?,
            body: reply::bytes(body)?,
            vector: reply::bytes(vector)?,
            embedder: reply::text(embedder)?,
            facts: reply::bytes(json)?,
            invalidated_at: reply::text(invalidated_at)?.and_then(|at| at.parse().ok()),
            sequence: reply::number(sequence)?.unwrap_or_default(),
        })
    }

    /// Whether its texts ran out while its facts are still there.
    pub(super) const fn is_remnant(&self) -> bool {
        self.facts.is_some() && self.body.is_none()
    }

    /// The entry; `None` where there is none.
    pub(super) fn open(self, vault: &Vault) -> Result<Option<Entry>, StoreError> {
        let (Some(json), Some(body)) = (&self.facts, self.body) else { return Ok(None) };
        let id = self.id;
        let damaged = |what| StoreError::Damaged { id, what };
        let facts = Facts::parse(id, json)?;
        let digest = |hex: &str| blake3::Hash::from_hex(hex).map(|hash| *hash.as_bytes()).map_err(|_| damaged("row"));
        let query = self.query.map(|query| String::from_utf8(query).map_err(|_| damaged("row"))).transpose()?;
        let record = Record {
            id: i64::try_from(id.0).map_err(|_| damaged("row"))?,
            scope: digest(&facts.scope)?,
            principal: facts.principal.as_deref().map(digest).transpose()?,
            partition: digest(&facts.partition)?,
            fingerprint: digest(&facts.fingerprint)?,
            category: facts.category.clone(),
            policy_revision: facts.revision.clone(),
            query,
            generated_at: facts.generated_at,
            invalidated_at: self.invalidated_at,
            ttl_limit_ms: facts.ttl,
            body,
            embedder: self.embedder,
            embedding: self.vector,
        };
        let checksum = unhex(&facts.checksum).ok_or_else(|| damaged("checksum"))?;
        record.into_entry(vault, &checksum, facts.labels_of_entry()).map(Some)
    }
}

/// Embedder and vector of entry `id`; `None` where there is none, or none that can be read.
pub(super) fn vector(
    vault: &Vault,
    id: EntryId,
    embedder: Option<String>,
    stored: Option<Vec<u8>>,
) -> Option<(String, Embedding)> {
    let row = i64::try_from(id.0).ok()?;
    Some((embedder?, codec::open_vector(vault, row, stored?)?))
}

/// The question of entry `id`.
pub(super) fn query(vault: &Vault, id: EntryId, stored: Option<Vec<u8>>) -> Option<String> {
    let row = i64::try_from(id.0).ok()?;
    vault.open_text(Part::Query, row, String::from_utf8(stored?).ok()?)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8; 2]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
