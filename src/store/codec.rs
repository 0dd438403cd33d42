//! Entries as bytes: the compressed answer, the vector, and the checksum that binds an answer to its facts.
//!
//! Neither SQLite nor an engine in memory checks what it holds, so a flipped bit would otherwise be served. The
//! checksum covers every fact that decides to whom and how long an answer may be served, and the compressed body: an entry that fails it is never
//! served. Question, body and vector pass through the [`Vault`] on their way: the checksum covers them as they are stored.

use bytes::Bytes;

use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Principal, Scope},
    similarity::Embedding,
    store::{
        StoreError,
        vault::{Part, Vault},
    },
    wire::{Answer, Family, Usage, directives::SourceRef},
};

/// First byte of a stored answer. Another layout gets another number, and this one stays readable.
const LAYOUT: u8 = 1;
const PREFIX: usize = 5;
const ZSTD_LEVEL: i32 = 3;
/// No stored answer is larger; a longer length is damage, and must not be allocated.
const MAX_ANSWER: usize = 1 << 30;

/// An entry as its rows hold it: query, body and embedding as the vault gives them out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) id: i64,
    pub(super) scope: [u8; 32],
    pub(super) principal: Option<[u8; 32]>,
    pub(super) partition: [u8; 32],
    pub(super) fingerprint: [u8; 32],
    pub(super) category: String,
    pub(super) policy_revision: String,
    pub(super) query: Option<String>,
    pub(super) generated_at: i64,
    pub(super) invalidated_at: Option<i64>,
    pub(super) ttl_limit_ms: Option<i64>,
    pub(super) body: Vec<u8>,
    pub(super) embedder: Option<String>,
    pub(super) embedding: Option<Vec<u8>>,
}

/// What an entry's other rows say of it.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) tags: Vec<String>,
    pub(super) sources: Vec<SourceRef>,
}

impl Record {
    /// The rows of `entry`.
    pub(super) fn of(entry: &Entry, vault: &Vault) -> Result<Self, StoreError> {
        let Entry {
            id,
            scope,
            principal,
            partition,
            fingerprint,
            category,
            policy_revision,
            query,
            embedding,
            embedder,
            answer,
            generated_at,
            invalidated_at,
            ttl_limit_ms,
            tags: _,
            sources: _,
        } = entry;
        let id = i64::try_from(id.0).map_err(unfit)?;
        let query = query.clone().map(|query| vault.seal_text(Part::Query, id, query)).transpose()?;
        let embedding_of = |vector| vault.seal(Part::Vector, id, encode_vector(vector));
        Ok(Self {
            id,
            scope: *scope.as_bytes(),
            principal: principal.map(|principal| *principal.as_bytes()),
            partition: *partition.as_bytes(),
            fingerprint: *fingerprint.as_bytes(),
            category: category.clone(),
            policy_revision: policy_revision.clone(),
            query,
            generated_at: generated_at.as_millis(),
            invalidated_at: invalidated_at.map(Timestamp::as_millis),
            ttl_limit_ms: ttl_limit_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            body: vault.seal(Part::Answer, id, encode_answer(answer)?)?,
            embedder: embedding.as_ref().map(|_| embedder.clone().unwrap_or_default()),
            embedding: embedding.as_ref().map(embedding_of).transpose()?,
        })
    }

    /// The entry of these rows, when `checksum` holds.
    pub(super) fn into_entry(self, vault: &Vault, checksum: &[u8], labels: Labels) -> Result<Entry, StoreError> {
        let id = EntryId(self.id.unsigned_abs());
        let damaged = |what| StoreError::Damaged { id, what };
        if self.checksum()[..] != *checksum {
            return Err(damaged("checksum"));
        }
        let sealed = || damaged("seal");
        let query =
            self.query.map(|query| vault.open_text(Part::Query, self.id, query).ok_or_else(sealed)).transpose()?;
        let body = vault.open(Part::Answer, self.id, self.body).ok_or_else(sealed)?;
        let answer = decode_answer(&body).map_err(damaged)?;
        let embedding = self.embedding.map(|stored| open_vector(vault, self.id, stored));
        let embedding = embedding.map(|vector| vector.ok_or_else(|| damaged("vector"))).transpose()?;
        Ok(Entry {
            id,
            scope: Scope::from_bytes(self.scope),
            principal: self.principal.map(Principal::from_bytes),
            partition: Partition::from_bytes(self.partition),
            fingerprint: Fingerprint::from_bytes(self.fingerprint),
            category: self.category,
            policy_revision: self.policy_revision,
            query,
            embedding,
            embedder: self.embedder.filter(|name| !name.is_empty()),
            answer,
            generated_at: Timestamp::from_millis(self.generated_at),
            invalidated_at: self.invalidated_at.map(Timestamp::from_millis),
            ttl_limit_ms: self.ttl_limit_ms.map(i64::unsigned_abs),
            tags: labels.tags,
            sources: labels.sources,
        })
    }

    /// Over what never changes after admission, each part length-prefixed.
    pub(super) fn checksum(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("semblance 2026-11 stored entry");
        let ttl_limit = self.ttl_limit_ms.map(i64::to_le_bytes);
        let parts: [Option<&[u8]>; 10] = [
            Some(&self.id.to_le_bytes()),
            Some(&self.scope),
            Some(&self.partition),
            Some(&self.fingerprint),
            Some(self.category.as_bytes()),
            Some(self.policy_revision.as_bytes()),
            self.query.as_deref().map(str::as_bytes),
            Some(&self.generated_at.to_le_bytes()),
            ttl_limit.as_ref().map(<[u8; 8]>::as_slice),
            Some(&self.body),
        ];
        for part in parts {
            // A missing part and an empty one differ.
            let length = part.map_or(u64::MAX, |bytes| bytes.len() as u64);
            hasher.update(&length.to_le_bytes()).update(part.unwrap_or_default());
        }
        if let Some(principal) = &self.principal {
            // Behind everything else, so that rows of before it was known keep their checksum.
            hasher.update(principal);
        }
        let mut short = [0; 16];
        short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        short
    }
}

/// What an answer holds beside its texts, in front of them.
#[derive(serde::Serialize, serde::Deserialize)]
struct Header {
    family: String,
    model: String,
    id_span: Option<(u32, u32)>,
    created_span: Option<(u32, u32)>,
    usage: Option<Usage>,
    body: usize,
    text: usize,
    raw_stream: Option<usize>,
}

/// `LAYOUT`, the length of what follows uncompressed, then zstd of: header length, header, body, text, raw stream.
pub(super) fn encode_answer(answer: &Answer) -> Result<Vec<u8>, StoreError> {
    let Answer { family, body, id_span, created_span, text, model, usage, raw_stream } = answer;
    let header = Header {
        family: family.as_str().to_owned(),
        model: model.clone(),
        id_span: *id_span,
        created_span: *created_span,
        usage: *usage,
        body: body.len(),
        text: text.len(),
        raw_stream: raw_stream.as_ref().map(Bytes::len),
    };
    let header = serde_json::to_vec(&header).map_err(unfit)?;
    let raw_stream: &[u8] = raw_stream.as_deref().unwrap_or_default();
    let mut plain = Vec::with_capacity(4 + header.len() + body.len() + text.len() + raw_stream.len());
    plain.extend_from_slice(&u32::try_from(header.len()).map_err(unfit)?.to_le_bytes());
    for part in [&header[..], body, text.as_bytes(), raw_stream] {
        plain.extend_from_slice(part);
    }
    let length = u32::try_from(plain.len()).map_err(unfit)?;
    let packed = zstd::bulk::compress(&plain, ZSTD_LEVEL).map_err(unfit)?;
    let mut stored = Vec::with_capacity(PREFIX + packed.len());
    stored.push(LAYOUT);
    stored.extend_from_slice(&length.to_le_bytes());
    stored.extend_from_slice(&packed);
    Ok(stored)
}

/// The inverse; the error names the part that is damaged.
pub(super) fn decode_answer(stored: &[u8]) -> Result<Answer, &'static str> {
    let (prefix, packed) = stored.split_first_chunk::<PREFIX>().ok_or("answer length")?;
    let [layout, length @ ..] = *prefix;
    if layout != LAYOUT {
        return Err("answer layout");
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_ANSWER {
        return Err("answer length");
    }
    let plain = zstd::bulk::decompress(packed, length).map_err(|_| "answer compression")?;
    let mut rest = &plain[..];
    let header_length: [u8; 4] = take(&mut rest, 4)?.try_into().map_err(|_| "answer header")?;
    let header = take(&mut rest, u32::from_le_bytes(header_length) as usize)?;
    let header: Header = serde_json::from_slice(header).map_err(|_| "answer header")?;
    let body = Bytes::copy_from_slice(take(&mut rest, header.body)?);
    let text = String::from_utf8(take(&mut rest, header.text)?.to_vec()).map_err(|_| "answer text")?;
    let raw_stream = match header.raw_stream {
        Some(length) => Some(Bytes::copy_from_slice(take(&mut rest, length)?)),
        None => None,
    };
    if !rest.is_empty() || ![header.id_span, header.created_span].iter().flatten().all(|span| within(*span, &body)) {
        return Err("answer spans");
    }
    Ok(Answer {
        family: Family::from_name(&header.family).ok_or("answer family")?,
        body,
        id_span: header.id_span,
        created_span: header.created_span,
        text,
        model: header.model,
        usage: header.usage,
        raw_stream,
    })
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (part, after) = rest.split_at_checked(length).ok_or("answer length")?;
    *rest = after;
    Ok(part)
}

fn within((from, to): (u32, u32), body: &Bytes) -> bool {
    from <= to && to as usize <= body.len()
}

/// Little-endian f32.
pub(super) fn encode_vector(embedding: &Embedding) -> Vec<u8> {
    embedding.values().iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The inverse; `None` when it is not a finite unit vector.
pub(super) fn decode_vector(bytes: &[u8]) -> Option<Embedding> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    Embedding::from_unit(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect())
}

/// The vector of row `row`, as [`decode_vector`].
pub(super) fn open_vector(vault: &Vault, row: i64, stored: Vec<u8>) -> Option<Embedding> {
    decode_vector(&vault.open(Part::Vector, row, stored)?)
}

/// A value that no store can hold.
fn unfit(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unfit(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(raw_stream: Option<Bytes>) -> Answer {
        Answer {
            family: Family::Chat,
            body: Bytes::from_static(br#"{"id":"x","created":7,"text":"caf\u00e9"}"#),
            id_span: Some((6, 9)),
            created_span: Some((20, 21)),
            text: "café".to_owned(),
            model: "m-1".to_owned(),
            usage: Some(Usage { input: 3, output: 4 }),
            raw_stream,
        }
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        for raw in [None, Some(Bytes::new()), Some(Bytes::from_static(b"data: {}\n\n"))] {
            let answer = answer(raw);
            assert_eq!(decode_answer(&encode_answer(&answer).unwrap()), Ok(answer));
        }
    }

    #[test]
    fn a_cut_answer_does_not_decode() {
        let stored = encode_answer(&answer(None)).unwrap();
        for length in 0..stored.len() {
            assert!(decode_answer(&stored[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_vector_comes_back_bit_for_bit() {
        let vector = Embedding::normalised((1..200u8).map(|v| f32::from(v).sin()).collect()).unwrap();
        assert_eq!(decode_vector(&encode_vector(&vector)), Some(vector.clone()));
        assert_eq!(decode_vector(&encode_vector(&vector)[1..]), None);
        assert_eq!(decode_vector(&[0; 16]), None);
        assert_eq!(decode_vector(&f32::NAN.to_le_bytes()), None);
    }
}
