//! Today's versions of documents, and what is built on others.

use futures_util::future::BoxFuture;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{SMALL, SqliteStore, queue::Urgency, read, vault::Vault, write};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    store::{
        Hardness, Selector, StoreError,
        sources::{REPLACED_KEPT, SourceSelector, SourceSummary, SourceUpdate, Sources, Updated, Versions},
    },
};

type Done<T> = Result<T, StoreError>;

/// Live entries built from `known.name`: those that name it and those tagged so.
const SUMMARY: &str = "SELECT known.name, sources.version, sources.updated_at,
        (SELECT count(*) FROM (SELECT entry_id FROM entry_sources WHERE name = known.name
                               UNION SELECT entry_id FROM tags WHERE tag = known.name))
    FROM known LEFT JOIN sources ON sources.name = known.name";

impl Sources for SqliteStore {
    fn update_source(&self, update: SourceUpdate) -> BoxFuture<'_, Done<Updated>> {
        let (now, vault) = (self.clock.now(), self.vault.clone());
        self.write(Urgency::of(update.hardness), SMALL, move |conn| record(conn, &vault, &update, now))
    }

    fn forget_source(&self, name: String) -> BoxFuture<'_, Done<Option<Vec<EntryId>>>> {
        let (now, vault) = (self.clock.now(), self.vault.clone());
        self.write(Urgency::Scrub, SMALL, move |conn| forget(conn, &vault, &name, now))
    }

    fn sources(&self, text: Option<String>, offset: u64, limit: u64) -> BoxFuture<'_, Done<(Vec<SourceSummary>, u64)>> {
        self.read(move |conn| list(conn, text.as_deref().unwrap_or_default(), offset, limit))
    }

    fn source(&self, name: String) -> BoxFuture<'_, Done<Option<SourceSummary>>> {
        self.read(move |conn| one(conn, &name))
    }

    fn replaced(&self) -> BoxFuture<'_, Done<Vec<(String, String)>>> {
        self.read(replaced)
    }
}

fn record(conn: &Connection, vault: &Vault, update: &SourceUpdate, now: Timestamp) -> Done<Updated> {
    let SourceUpdate { name, version, hardness, at } = update;
    let current = version.as_deref().unwrap_or_default();
    // Before the entries go that name them.
    let known = "SELECT version FROM sources WHERE name = ?1
                 UNION SELECT version FROM entry_sources WHERE name = ?1 ORDER BY version";
    let mut known = conn.prepare_cached(known)?;
    let versions = known.query_map([name], |row| row.get::<_, Option<String>>(0))?;
    let versions = versions.collect::<rusqlite::Result<Vec<_>>>()?;
    let old = versions.into_iter().flatten().filter(|old| !old.is_empty() && old != current);
    let mut replace = conn.prepare_cached("INSERT OR IGNORE INTO replaced_versions (name, version) VALUES (?, ?)")?;
    for version in old {
        replace.execute(params![name, version])?;
    }
    conn.prepare_cached("DELETE FROM replaced_versions WHERE name = ? AND version = ?")?
        .execute(params![name, current])?;
    conn.prepare_cached("DELETE FROM replaced_versions WHERE id <= (SELECT max(id) FROM replaced_versions) - ?")?
        .execute([i64::try_from(REPLACED_KEPT).unwrap_or(i64::MAX)])?;
    conn.prepare_cached(
        "INSERT INTO sources (name, version, updated_at) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET version = excluded.version, updated_at = excluded.updated_at",
    )?
    .execute(params![name, version, at.as_millis()])?;
    let selector = Selector { source: Some(update.outdated()), ..Selector::default() };
    let entries = write::purge(conn, vault, &selector, *hardness, now)?;
    let mut replaced = conn.prepare_cached("SELECT version FROM replaced_versions WHERE name = ? ORDER BY id")?;
    let replaced = replaced.query_map([name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(Updated { entries, replaced })
}

fn forget(conn: &Connection, vault: &Vault, name: &str, now: Timestamp) -> Done<Option<Vec<EntryId>>> {
    let recorded = conn.prepare_cached("DELETE FROM sources WHERE name = ?")?.execute([name])? > 0;
    conn.prepare_cached("DELETE FROM replaced_versions WHERE name = ?")?.execute([name])?;
    let source = SourceSelector { name: name.to_owned(), versions: Versions::Any };
    let selector = Selector { source: Some(source), ..Selector::default() };
    let entries = write::purge(conn, vault, &selector, Hardness::Hard, now)?;
    Ok((recorded || !entries.is_empty()).then_some(entries))
}

fn list(conn: &Connection, text: &str, offset: u64, limit: u64) -> Done<(Vec<SourceSummary>, u64)> {
    // `instr` with a folded text: names are labels, mostly ASCII, whose case SQLite can fold.
    let known = "WITH known AS (SELECT name FROM sources UNION SELECT name FROM entry_sources),
                      named AS (SELECT name FROM known WHERE instr(lower(name), lower(?1)) > 0)";
    let sql = format!(
        "{known} {} ORDER BY known.name LIMIT ?2 OFFSET ?3",
        SUMMARY.replace("FROM known", "FROM named AS known")
    );
    let tx = conn.unchecked_transaction()?;
    let total = tx.prepare_cached(&format!("{known} SELECT count(*) FROM named"))?;
    let total = { total }.query_row([text], |row| read::count(row, 0))?;
    let bound = |value| i64::try_from(value).unwrap_or(i64::MAX);
    let mut statement = tx.prepare_cached(&sql)?;
    let rows = statement.query_map(params![text, bound(limit), bound(offset)], summary)?;
    Ok((rows.collect::<rusqlite::Result<_>>()?, total))
}

fn one(conn: &Connection, name: &str) -> Done<Option<SourceSummary>> {
    let sql = format!("WITH known AS (SELECT ?1 AS name) {SUMMARY}");
    let found = conn.prepare_cached(&sql)?.query_row([name], summary).optional()?;
    Ok(found.filter(|source| source.updated_at_ms.is_some() || source.entries > 0))
}

fn summary(row: &Row<'_>) -> rusqlite::Result<SourceSummary> {
    Ok(SourceSummary {
        source: row.get(0)?,
        version: row.get(1)?,
        updated_at_ms: row.get(2)?,
        entries: read::count(row, 3)?,
    })
}

fn replaced(conn: &Connection) -> Done<Vec<(String, String)>> {
    let mut statement = conn.prepare_cached("SELECT name, version FROM replaced_versions ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
