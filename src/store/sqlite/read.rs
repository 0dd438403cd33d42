//! The statements that only read. Each call is one short read transaction: a long one would hold up the checkpoint that
//! takes purged text out of the log file.

use rusqlite::{Connection, Row, ToSql, params, params_from_iter, types::Value};

use super::{
    codec::{self, Labels, Record},
    meaning,
    selection::Selection,
    vault::{Part, Vault},
    write,
};
use crate::{
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Principal, Scope},
    similarity::{Embedding, Similarity},
    store::{Browse, Browsed, EntrySummary, Found, Page, Selector, StoreError, StoreStats, StoredVector, Unembedded},
    wire::directives::SourceRef,
};

type Read<T> = Result<T, StoreError>;

// `CROSS JOIN` holds SQLite to the order given: left free, it may read the large tables whole and sort them.

/// The columns of a [`Record`] and its checksum, in the order of [`record`].
macro_rules! select_entry {
    ($condition:literal) => {
        concat!(
            "SELECT entries.id, scope, partition, fingerprint, category, policy_revision, query, generated_at,
                 invalidated_at, ttl_limit_ms, body, embedder, embedding, checksum, principal
             FROM entries LEFT JOIN answers ON answers.entry_id = entries.id
                 LEFT JOIN vectors ON vectors.entry_id = entries.id WHERE ",
            $condition
        )
    };
}

pub(super) fn find(conn: &Connection, vault: &Vault, fingerprint: &Fingerprint) -> Read<Option<Found>> {
    let own_or_alias = select_entry!(
        "entries.id = coalesce((SELECT id FROM entries WHERE fingerprint = ?1),
                               (SELECT entry_id FROM aliases WHERE fingerprint = ?1))"
    );
    let entry = entry(conn, vault, own_or_alias, fingerprint.as_bytes())?;
    Ok(entry.map(|entry| Found { via_alias: entry.fingerprint != *fingerprint, entry }))
}

/// Reads the entry as it is stored, and never a damaged one.
pub(super) fn get(conn: &Connection, vault: &Vault, id: EntryId) -> Read<Option<Entry>> {
    entry(conn, vault, select_entry!("entries.id = ?"), &write::row_id(id))
}

fn entry(conn: &Connection, vault: &Vault, sql: &str, key: &dyn ToSql) -> Read<Option<Entry>> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let id: i64 = row.get(0)?;
    let (record, checksum) = record(row).map_err(|error| unreadable(id, error))?;
    // While `rows` is open, both see one moment of the database.
    let labels = Labels { tags: tags(conn, id)?, sources: sources(conn, id)? };
    record.into_entry(vault, &checksum, labels).map(Some)
}

fn record(row: &Row<'_>) -> rusqlite::Result<(Record, Vec<u8>)> {
    let record = Record {
        id: row.get(0)?,
        scope: row.get(1)?,
        principal: row.get(14)?,
        partition: row.get(2)?,
        fingerprint: row.get(3)?,
        category: row.get(4)?,
        policy_revision: row.get(5)?,
        query: row.get(6)?,
        generated_at: row.get(7)?,
        invalidated_at: row.get(8)?,
        ttl_limit_ms: row.get(9)?,
        body: row.get(10)?,
        embedder: row.get(11)?,
        embedding: row.get(12)?,
    };
    Ok((record, row.get(13)?))
}

/// A column that does not hold what it should is damage of this entry; anything else is the database's failure.
fn unreadable(id: i64, error: rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::Utf8Error(..) => StoreError::Damaged { id: EntryId(id.unsigned_abs()), what: "row" },
        other => other.into(),
    }
}

fn tags(conn: &Connection, id: i64) -> Read<Vec<String>> {
    let mut statement = conn.prepare_cached("SELECT tag FROM tags WHERE entry_id = ? ORDER BY tag")?;
    let tags = statement.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(tags)
}

fn sources(conn: &Connection, id: i64) -> Read<Vec<SourceRef>> {
    let mut statement =
        conn.prepare_cached("SELECT name, version FROM entry_sources WHERE entry_id = ? ORDER BY name, version")?;
    let sources = statement.query_map([id], |row| {
        let version: String = row.get(1)?;
        Ok(SourceRef { name: row.get(0)?, version: Some(version).filter(|version| !version.is_empty()) })
    })?;
    Ok(sources.collect::<rusqlite::Result<_>>()?)
}

/// The columns of a [`summary`].
const SUMMARY: &str = "SELECT id, scope, category, query, model, generated_at, invalidated_at, bytes,
    (SELECT count(*) FROM aliases WHERE entry_id = entries.id), principal, ttl_limit_ms FROM entries";

pub(super) fn list(
    conn: &Connection,
    vault: &Vault,
    selector: &Selector,
    offset: u64,
    limit: u64,
) -> Read<Vec<EntrySummary>> {
    let tx = conn.unchecked_transaction()?;
    if selector.near.is_some() {
        let mut found = meaning::matching(&tx, vault, selector, None)?;
        found.sort_unstable_by_key(|(id, _)| std::cmp::Reverse(*id));
        let part = found.into_iter().skip(bounded(offset)).take(bounded(limit));
        return part.map(|(id, _)| one_summary(&tx, vault, id)).filter_map(Result::transpose).collect();
    }
    let Selection { condition, mut values } = Selection::of(selector);
    let sql = format!("{SUMMARY} WHERE {condition} ORDER BY id DESC LIMIT ? OFFSET ?");
    let bound = |value| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    values.extend([bound(limit), bound(offset)]);
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut listed = Vec::new();
    while let Some(row) = rows.next()? {
        listed.push(summary(&tx, vault, row)?);
    }
    Ok(listed)
}

pub(super) fn browse(conn: &Connection, vault: &Vault, browse: &Browse) -> Read<Browsed> {
    let Browse { selector, text, offset, limit } = browse;
    if selector.near.is_none() && text.is_none() {
        let Selection { condition, values } = Selection::of(selector);
        let sql = format!("SELECT count(*) FROM entries WHERE {condition}");
        let total = conn.prepare_cached(&sql)?.query_row(params_from_iter(values), |row| count(row, 0))?;
        let listed = list(conn, vault, selector, *offset, *limit)?;
        return Ok(Browsed { entries: listed.into_iter().map(|summary| (summary, None)).collect(), total });
    }
    let tx = conn.unchecked_transaction()?;
    let mut found = meaning::matching(&tx, vault, selector, text.as_deref())?;
    // Newest first, and where they are told apart by it, nearest first.
    found.sort_by(|(a, near), (b, other)| {
        let (near, other) = (near.map_or(0.0, Similarity::get), other.map_or(0.0, Similarity::get));
        other.total_cmp(&near).then(b.cmp(a))
    });
    let total = found.len() as u64;
    let part = found.into_iter().skip(bounded(*offset)).take(bounded(*limit));
    let entries = part.map(|(id, near)| Ok(one_summary(&tx, vault, id)?.map(|summary| (summary, near))));
    let entries = entries.filter_map(Result::transpose).collect::<Read<_>>()?;
    Ok(Browsed { entries, total })
}

fn bounded(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn one_summary(conn: &Connection, vault: &Vault, id: i64) -> Read<Option<EntrySummary>> {
    let mut statement = conn.prepare_cached(&format!("{SUMMARY} WHERE id = ?"))?;
    let mut rows = statement.query([id])?;
    rows.next()?.map(|row| summary(conn, vault, row)).transpose()
}

fn summary(conn: &Connection, vault: &Vault, row: &Row<'_>) -> Read<EntrySummary> {
    let id: i64 = row.get(0)?;
    let scope = Scope::from_bytes(row.get(1)?);
    // A damaged question is shown as none: the entry itself says what is wrong when it is asked for.
    let query = row.get::<_, Option<String>>(3)?.and_then(|query| vault.open_text(Part::Query, id, query));
    Ok(EntrySummary {
        id: EntryId(id.unsigned_abs()).to_string(),
        scope: scope.to_hex(),
        principal: row.get::<_, Option<[u8; 32]>>(9)?.map(|of| Principal::from_bytes(of).to_hex()),
        category: row.get(2)?,
        query,
        model: row.get(4)?,
        generated_at_ms: row.get(5)?,
        invalidated_at_ms: row.get(6)?,
        bytes: count(row, 7)?,
        ttl_limit_ms: row.get::<_, Option<i64>>(10)?.map(i64::unsigned_abs),
        tags: tags(conn, id)?,
        sources: sources(conn, id)?.iter().map(SourceRef::to_string).collect(),
        aliases: count(row, 8)?,
    })
}

/// Totals; the bytes of the files are the caller's to add.
pub(super) fn stats(conn: &Connection) -> Read<StoreStats> {
    let sql = "SELECT count(*), coalesce(sum(bytes), 0), (SELECT count(*) FROM aliases) FROM entries";
    let stats = conn.prepare_cached(sql)?.query_row([], |row| {
        Ok(StoreStats { entries: count(row, 0)?, answer_bytes: count(row, 1)?, aliases: count(row, 2)?, file_bytes: 0 })
    })?;
    Ok(stats)
}

pub(super) fn vectors(
    conn: &Connection,
    vault: &Vault,
    after: Option<EntryId>,
    limit: u32,
) -> Read<Page<StoredVector>> {
    let mut statement = conn.prepare_cached(
        "SELECT entry_id, partition, embedder, embedding, query FROM vectors CROSS JOIN entries ON entries.id = entry_id
         WHERE entry_id > ? ORDER BY entry_id LIMIT ?",
    )?;
    let mut rows = statement.query(params![after.map_or(0, write::row_id), limit])?;
    let mut page = Page { items: Vec::with_capacity(limit.min(8192) as usize), next: None };
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        let id = EntryId(row.get::<_, i64>(0)?.unsigned_abs());
        seen += 1;
        page.next = Some(id);
        match stored_vector(vault, id, row) {
            Some(vector) => page.items.push(vector),
            None => tracing::warn!(entry = %id, "an unreadable vector is left out of the index"),
        }
    }
    if seen < limit {
        page.next = None;
    }
    Ok(page)
}

fn stored_vector(vault: &Vault, id: EntryId, row: &Row<'_>) -> Option<StoredVector> {
    let embedding = codec::open_vector(vault, write::row_id(id), row.get(3).ok()?)?;
    let partition = Partition::from_bytes(row.get(1).ok()?);
    let query = match row.get::<_, Option<String>>(4).ok()? {
        Some(query) => Some(vault.open_text(Part::Query, write::row_id(id), query)?),
        None => None,
    };
    Some(StoredVector { id, partition, embedder: row.get(2).ok()?, embedding, query })
}

pub(super) fn unembedded(
    conn: &Connection,
    vault: &Vault,
    embedder: &str,
    after: Option<EntryId>,
    limit: u32,
) -> Read<Page<Unembedded>> {
    let mut statement = conn.prepare_cached(
        "SELECT entry_id, query FROM vectors CROSS JOIN entries ON entries.id = entry_id
         WHERE entry_id > ? AND embedder <> ? AND query IS NOT NULL ORDER BY entry_id LIMIT ?",
    )?;
    let rows = statement.query_map(params![after.map_or(0, write::row_id), embedder, limit], |row| {
        Ok((row.get::<_, i64>(0)?, row.get(1)?))
    })?;
    let rows = rows.collect::<rusqlite::Result<Vec<(i64, String)>>>()?;
    let next = rows.last().map(|(id, _)| EntryId(id.unsigned_abs())).filter(|_| rows.len() >= limit as usize);
    let opened = rows.into_iter().filter_map(|(id, query)| {
        Some(Unembedded { id: EntryId(id.unsigned_abs()), query: vault.open_text(Part::Query, id, query)? })
    });
    let items = opened.collect();
    Ok(Page { items, next })
}

pub(super) fn categories(conn: &Connection) -> Read<Vec<(String, u64)>> {
    let mut statement =
        conn.prepare_cached("SELECT category, count(*) FROM entries GROUP BY category ORDER BY category")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, count(row, 1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn example_vectors(conn: &Connection, embedder: &str, texts: &[String]) -> Read<Vec<Option<Embedding>>> {
    let mut statement =
        conn.prepare_cached("SELECT embedding FROM example_vectors WHERE embedder = ? AND text_hash = ?")?;
    texts
        .iter()
        .map(|text| {
            let mut rows = statement.query(params![embedder, write::text_hash(text)])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let bytes: Vec<u8> = row.get(0)?;
            Ok(codec::decode_vector(&bytes))
        })
        .collect()
}

pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}
