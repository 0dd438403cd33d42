//! Pairs that must not share an answer, and the books of audits.

use futures_util::future::{BoxFuture, FutureExt};
use rusqlite::{Connection, Row, params};

use super::{SMALL, SqliteStore, queue::Urgency, write};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    key::Fingerprint,
    store::{
        StoreError,
        verdicts::{KeptLedger, PAIRS_KEPT, Pair, Verdicts},
    },
};

impl Verdicts for SqliteStore {
    fn block(&self, pair: Pair, why: &'static str, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.write(Urgency::Command, SMALL, move |conn| block(conn, pair, why, now))
    }

    fn blocked(&self) -> BoxFuture<'_, Result<Vec<Pair>, StoreError>> {
        self.read(blocked)
    }

    fn wordings(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        // By the writer, so that it sees the aliases that are still queued.
        self.write(Urgency::Command, SMALL, move |conn| wordings(conn, entry))
    }

    fn keep_ledger(&self, ledger: KeptLedger, now: Timestamp) -> Result<(), StoreError> {
        self.behind(SMALL + ledger.ledger.len(), move |conn| keep_ledger(conn, &ledger, now))
    }

    fn ledgers(&self) -> BoxFuture<'_, Result<Vec<KeptLedger>, StoreError>> {
        self.read(ledgers).boxed()
    }
}

fn block(conn: &Connection, pair: Pair, why: &str, now: Timestamp) -> Result<bool, StoreError> {
    let (first, second) = pair.questions();
    let (first, second) = (first.as_bytes(), second.as_bytes());
    let added = conn
        .prepare_cached(
            "INSERT OR IGNORE INTO blocked (first, second, why, at, principal) VALUES (?1, ?2, ?3, ?4,
                 (SELECT principal FROM entries WHERE fingerprint IN (?1, ?2) LIMIT 1))",
        )?
        .execute(params![first, second, why, now.as_millis()])?;
    conn.prepare_cached(
        "DELETE FROM aliases WHERE fingerprint IN (?1, ?2)
             AND entry_id IN (SELECT id FROM entries WHERE fingerprint IN (?1, ?2))",
    )?
    .execute(params![first, second])?;
    conn.prepare_cached("DELETE FROM blocked WHERE id <= (SELECT max(id) FROM blocked) - ?")?
        .execute([i64::try_from(PAIRS_KEPT).unwrap_or(i64::MAX)])?;
    Ok(added > 0)
}

fn blocked(conn: &Connection) -> Result<Vec<Pair>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT first, second FROM blocked ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok(Pair::of(fingerprint(row, 0)?, fingerprint(row, 1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn wordings(conn: &Connection, entry: EntryId) -> Result<Vec<Fingerprint>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT fingerprint FROM aliases WHERE entry_id = ?")?;
    let rows = statement.query_map([write::row_id(entry)], |row| fingerprint(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn keep_ledger(conn: &Connection, kept: &KeptLedger, now: Timestamp) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO audits (category, ledger, at) VALUES (?, ?, ?)
         ON CONFLICT (category) DO UPDATE SET ledger = excluded.ledger, at = excluded.at",
    )?
    .execute(params![kept.category, kept.ledger, now.as_millis()])?;
    Ok(())
}

fn ledgers(conn: &Connection) -> Result<Vec<KeptLedger>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT category, ledger FROM audits ORDER BY category")?;
    let rows = statement.query_map([], |row| Ok(KeptLedger { category: row.get(0)?, ledger: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn fingerprint(row: &Row<'_>, column: usize) -> rusqlite::Result<Fingerprint> {
    row.get(column).map(Fingerprint::from_bytes)
}
