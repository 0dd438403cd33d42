//! The statements that change the database. Each runs inside the writer's transaction and may run twice: a failed batch
//! is repeated item by item.

use rusqlite::{Connection, OptionalExtension, named_params, params, params_from_iter, types::Value};

use super::{
    codec::{self, Record},
    meaning,
    selection::Selection,
    vault::{Part, Vault},
};
use crate::{
    clock::Timestamp,
    entry::{Entry, EntryId},
    key::Fingerprint,
    similarity::Embedding,
    store::{Expired, Hardness, Selector, StoreError, USE_RESOLUTION_MS, transfer::trail_of},
    wire::directives::SourceRef,
};

type Done<T> = Result<T, StoreError>;

/// How many entries an eviction removes between two looks at the size.
const EVICTION_STEP: u32 = 16;

pub(super) fn admit(conn: &Connection, vault: &Vault, entry: &Entry, now: Timestamp) -> Done<()> {
    let record = Record::of(entry, vault)?;
    conn.prepare_cached("DELETE FROM entries WHERE fingerprint = ?")?.execute([&record.fingerprint])?;
    conn.prepare_cached("DELETE FROM aliases WHERE fingerprint = ?")?.execute([&record.fingerprint])?;
    conn.prepare_cached(
        "INSERT INTO entries (id, scope, partition, fingerprint, category, policy_revision, query, model, generated_at,
             invalidated_at, ttl_limit_ms, admitted_at, last_used, bytes, checksum, principal)
         VALUES (:id, :scope, :partition, :fingerprint, :category, :policy_revision, :query, :model, :generated_at,
             :invalidated_at, :ttl_limit_ms, :now, :now, :bytes, :checksum, :principal)",
    )?
    .execute(named_params! {
        ":id": record.id,
        ":scope": record.scope,
        ":partition": record.partition,
        ":fingerprint": record.fingerprint,
        ":category": record.category,
        ":policy_revision": record.policy_revision,
        ":query": record.query,
        ":model": entry.answer.model,
        ":generated_at": record.generated_at,
        ":invalidated_at": record.invalidated_at,
        ":ttl_limit_ms": record.ttl_limit_ms,
        ":now": now.as_millis(),
        ":bytes": i64::try_from(record.body.len()).unwrap_or(i64::MAX),
        ":checksum": record.checksum(),
        ":principal": record.principal,
    })?;
    conn.prepare_cached("INSERT INTO answers (entry_id, body) VALUES (?, ?)")?
        .execute(params![record.id, record.body])?;
    if let (Some(embedder), Some(embedding)) = (&record.embedder, &record.embedding) {
        conn.prepare_cached("INSERT INTO vectors (entry_id, embedder, embedding) VALUES (?, ?, ?)")?
            .execute(params![record.id, embedder, embedding])?;
    }
    let mut insert_tag = conn.prepare_cached("INSERT OR IGNORE INTO tags (entry_id, tag) VALUES (?, ?)")?;
    for tag in &entry.tags {
        insert_tag.execute(params![record.id, tag])?;
    }
    let mut insert_source =
        conn.prepare_cached("INSERT OR IGNORE INTO entry_sources (entry_id, name, version) VALUES (?, ?, ?)")?;
    for SourceRef { name, version } in &entry.sources {
        insert_source.execute(params![record.id, name, version.as_deref().unwrap_or_default()])?;
    }
    Ok(())
}

pub(super) fn alias(conn: &Connection, alias: &Fingerprint, entry: EntryId) -> Done<()> {
    conn.prepare_cached(
        "INSERT INTO aliases (fingerprint, entry_id)
         SELECT ?1, id FROM entries WHERE id = ?2 AND NOT EXISTS (SELECT 1 FROM entries WHERE fingerprint = ?1)
         ON CONFLICT (fingerprint) DO UPDATE SET entry_id = excluded.entry_id",
    )?
    .execute(params![alias.as_bytes(), row_id(entry)])?;
    Ok(())
}

/// The ids that `selector` selects, ascending.
pub(super) fn selected(conn: &Connection, vault: &Vault, selector: &Selector) -> Done<Vec<EntryId>> {
    if selector.near.is_some() {
        return meaning::selected(conn, vault, selector);
    }
    let Selection { condition, values } = Selection::of(selector);
    ids(conn, &format!("SELECT id FROM entries WHERE {condition}"), values)
}

/// Removes or invalidates what `selector` selects and writes the audit trail.
pub(super) fn purge(
    conn: &Connection,
    vault: &Vault,
    selector: &Selector,
    hardness: Hardness,
    now: Timestamp,
) -> Done<Vec<EntryId>> {
    let named = selector.entry.filter(|_| selector.principals.is_empty());
    let fingerprint = named.map(|id| fingerprint_of(conn, id)).transpose()?.flatten();
    let (change, mut values) = match hardness {
        Hardness::Hard => ("DELETE FROM entries", Vec::new()),
        Hardness::Soft(at) => {
            let at = Value::Integer(at.as_millis());
            ("UPDATE entries SET invalidated_at = min(coalesce(invalidated_at, ?), ?)", vec![at.clone(), at])
        }
    };
    let purged = if selector.near.is_some() {
        let found = meaning::selected(conn, vault, selector)?;
        for id in &found {
            let values = values.iter().cloned().chain([Value::Integer(row_id(*id))]);
            conn.prepare_cached(&format!("{change} WHERE id = ?"))?.execute(params_from_iter(values))?;
        }
        found
    } else {
        let Selection { condition, values: more } = Selection::of(selector);
        values.extend(more);
        ids(conn, &format!("{change} WHERE {condition} RETURNING id"), values)?
    };
    let hardness = if hardness == Hardness::Hard { "hard" } else { "soft" };
    if hardness == "hard" {
        let mut unblock = conn.prepare_cached("DELETE FROM blocked WHERE principal = ?")?;
        for principal in &selector.principals {
            unblock.execute([principal.as_bytes()])?;
        }
    }
    // After the removal, which makes room: a purge must work on a full disk.
    conn.prepare_cached("INSERT INTO purges (at, selector, hardness, removed) VALUES (?, ?, ?, ?)")?.execute(
        params![
            now.as_millis(),
            trail_of(selector, fingerprint, hardness == "hard"),
            hardness,
            i64::try_from(purged.len()).unwrap_or(i64::MAX),
        ],
    )?;
    Ok(purged)
}

/// What a purge by id is remembered by: an export has the same entry under another id.
fn fingerprint_of(conn: &Connection, id: EntryId) -> Done<Option<Fingerprint>> {
    let sql = "SELECT fingerprint FROM entries WHERE id = ?";
    let found = conn.prepare_cached(sql)?.query_row([row_id(id)], |row| row.get(0)).optional()?;
    Ok(found.map(Fingerprint::from_bytes))
}

/// Removes one entry, which turned out to be damaged.
pub(super) fn remove(conn: &Connection, id: EntryId) -> Done<()> {
    conn.prepare_cached("DELETE FROM entries WHERE id = ?")?.execute([row_id(id)])?;
    Ok(())
}

pub(super) fn set_embedding(
    conn: &Connection,
    vault: &Vault,
    id: EntryId,
    embedder: &str,
    embedding: &Embedding,
) -> Done<()> {
    let stored = vault.seal(Part::Vector, row_id(id), codec::encode_vector(embedding))?;
    conn.prepare_cached(
        "INSERT INTO vectors (entry_id, embedder, embedding) SELECT id, ?2, ?3 FROM entries WHERE id = ?1
         ON CONFLICT (entry_id) DO UPDATE SET embedder = excluded.embedder, embedding = excluded.embedding",
    )?
    .execute(params![row_id(id), embedder, stored])?;
    Ok(())
}

pub(super) fn touch(conn: &Connection, used: &[EntryId], now: Timestamp) -> Done<()> {
    let mut update = conn.prepare_cached("UPDATE entries SET last_used = ?2 WHERE id = ?1 AND last_used <= ?3")?;
    for id in used {
        let now = now.as_millis();
        update.execute(params![row_id(*id), now, now.saturating_sub(USE_RESOLUTION_MS)])?;
    }
    Ok(())
}

/// Ways to expire, each with an index of its own: asked for together, every entry of the category would be looked at, by
/// the one thread that writes, each time.
pub(super) const EXPIRED: [&str; 3] = [
    "SELECT id FROM entries WHERE category = ? AND generated_at < ? ORDER BY generated_at LIMIT ?",
    "SELECT id FROM entries WHERE category = ? AND generated_at > ? ORDER BY generated_at LIMIT ?",
    "SELECT id FROM entries WHERE category = ? AND invalidated_at < ? ORDER BY invalidated_at LIMIT ?",
];

pub(super) fn reap(conn: &Connection, expired: &Expired, limit: u32) -> Done<Vec<EntryId>> {
    let Expired { category, generated_before, generated_after, invalidated_before } = expired;
    let mut reaped = Vec::new();
    for (which, moment) in EXPIRED.into_iter().zip([generated_before, generated_after, invalidated_before]) {
        let left = i64::from(limit) - i64::try_from(reaped.len()).unwrap_or(i64::MAX);
        let values = [Value::Text(category.clone()), Value::Integer(moment.as_millis()), Value::Integer(left.max(0))];
        let sql = format!("DELETE FROM entries WHERE id IN ({which}) RETURNING id");
        reaped.extend(ids(conn, &sql, values.to_vec())?);
    }
    reaped.sort_unstable();
    Ok(reaped)
}

pub(super) fn evict_to(conn: &Connection, bytes: u64, limit: u32) -> Done<Vec<EntryId>> {
    let sql = "DELETE FROM entries WHERE id IN (SELECT id FROM entries ORDER BY last_used, id LIMIT ?) RETURNING id";
    let mut evicted = Vec::new();
    let mut left = limit;
    while left > 0 && live_bytes(conn)? > bytes {
        let step = left.min(EVICTION_STEP);
        let removed = ids(conn, sql, vec![Value::Integer(step.into())])?;
        if removed.is_empty() {
            break;
        }
        evicted.extend(removed);
        left -= step;
    }
    Ok(evicted)
}

pub(super) fn keep_example_vectors(conn: &Connection, embedder: &str, vectors: &[(String, Embedding)]) -> Done<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO example_vectors (embedder, text_hash, embedding) VALUES (?, ?, ?)
         ON CONFLICT (embedder, text_hash) DO UPDATE SET embedding = excluded.embedding",
    )?;
    for (text, embedding) in vectors {
        insert.execute(params![embedder, text_hash(text), codec::encode_vector(embedding)])?;
    }
    Ok(())
}

/// A write that changes nothing of note: under full synchronisation its commit brings all earlier ones to the disk.
pub(super) fn flush(conn: &Connection) -> Done<()> {
    conn.prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'flushes'")?.execute([])?;
    Ok(())
}

/// Where ids start, and the mark that this run may not end cleanly: without a [`keep_next_id`] the next start leaves a
/// gap as wide as the ids that may have been seen but not stored.
pub(super) fn take_next_id(conn: &Connection, gap: u64) -> Done<u64> {
    let kept: Option<i64> =
        conn.query_row("SELECT value FROM meta WHERE key = 'next_id'", [], |row| row.get(0)).optional()?;
    let highest: Option<i64> =
        conn.query_row("SELECT seq FROM sqlite_sequence WHERE name = 'entries'", [], |row| row.get(0)).optional()?;
    let after_highest = highest.unwrap_or(0).unsigned_abs() + 1;
    conn.execute("DELETE FROM meta WHERE key = 'next_id'", [])?;
    Ok(kept.map_or(after_highest + gap, |kept| kept.unsigned_abs().max(after_highest)))
}

/// Leaves the next id for the next start.
pub(super) fn keep_next_id(conn: &Connection, next: u64) -> Done<()> {
    let next = i64::try_from(next).unwrap_or(i64::MAX);
    conn.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('next_id', ?)", [next])?;
    Ok(())
}

/// Bytes of the pages in use: the file without what deletions left free.
pub(super) fn live_bytes(conn: &Connection) -> Done<u64> {
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok((pages * pragma("page_size")?).unsigned_abs())
}

/// What stands for an example's text.
pub(super) fn text_hash(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

/// The row of `id`; ids out of range have none.
pub(super) fn row_id(id: EntryId) -> i64 {
    i64::try_from(id.0).unwrap_or(-1)
}

fn ids(conn: &Connection, sql: &str, values: Vec<Value>) -> Done<Vec<EntryId>> {
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, i64>(0))?;
    let mut ids = rows.map(|id| Ok(EntryId(id?.unsigned_abs()))).collect::<Done<Vec<_>>>()?;
    ids.sort_unstable();
    Ok(ids)
}
