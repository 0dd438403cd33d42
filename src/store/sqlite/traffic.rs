//! Records of traffic and the ledger in a SQLite file of their own, `traffic.sqlite3` in the data directory.
//!
//! One thread writes, in groups of what came together; one reads. Words of questions are sealed where the operator
//! gave a key. An erased record is overwritten in the file, and out of its log when the call returns.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value};
use tokio::sync::oneshot;

use super::{
    readers::Readers,
    schema,
    vault::{Part, Vault},
};
use crate::{
    clock::Timestamp,
    key::Principal,
    store::{
        StoreError,
        encryption::EncryptionKey,
        traffic::{Retention, TrafficLog},
    },
    traffic::{
        Record, Wanted,
        ledger::{Key, Sums},
    },
};

const MIGRATIONS: &[&str] = &[include_str!("../migrations/traffic_0001.sql")];
/// Writes that may wait; more records are refused.
const WAITING: usize = 8192;
/// Records gather for one transaction until none comes for this long, or there are so many.
const GATHER: Duration = Duration::from_millis(20);
const GROUP: usize = 512;
/// Records in one answer, unless asked otherwise, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;
/// Records looked through for a text at most.
const SEARCHED: usize = 200_000;
/// Records removed in one transaction.
const PRUNED_AT_ONCE: usize = 10_000;

type Work = Box<dyn FnOnce(&mut Writer) + Send>;

enum Job {
    Record(Box<Record>),
    Work(Work),
}

struct Writer {
    conn: Connection,
    vault: Vault,
    last_id: i64,
}

/// The traffic log on one node.
#[derive(Debug)]
pub struct SqliteTraffic {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    readers: Readers,
    vault: Vault,
}

impl SqliteTraffic {
    /// Opens the log in `dir`, which the cache's store has locked; words are sealed under `key`, if there is one.
    ///
    /// # Errors
    /// The file cannot be made or read, or was made with another key.
    pub fn open(dir: &Path, key: Option<&EncryptionKey>) -> Result<Self, StoreError> {
        schema::make_directory(dir)?;
        let path = file(dir);
        let (conn, vault) = schema::open_file(&path, MIGRATIONS, key)?;
        let last_id = conn.query_row("SELECT coalesce(max(id), 0) FROM records", [], |row| row.get(0))?;
        let readers = Readers::start(&path, 1)?;
        let (jobs, waiting) = sync_channel(WAITING);
        let writer = Writer { conn, vault: vault.clone(), last_id };
        let thread = std::thread::Builder::new().name("traffic-writer".to_owned());
        let thread = thread.spawn(move || serve(writer, &waiting)).map_err(StoreError::Thread)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), readers, vault })
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.try_send(job).map_err(|_| StoreError::Full)
    }

    /// Runs `work` on the writer's thread, after what was sent before.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Job::Work(Box::new(move |writer| {
            // Nobody may be waiting any more.
            let _ = reply.send(work(writer));
        })));
        async move {
            sent?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        }
        .boxed()
    }
}

impl Drop for SqliteTraffic {
    fn drop(&mut self) {
        // The thread ends with the last sender, after what waits.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("traffic.sqlite3")
}

fn serve(mut writer: Writer, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let (mut group, mut work) = (Vec::new(), None);
        match first {
            Job::Record(record) => group.push(record),
            Job::Work(first) => work = Some(first),
        }
        while work.is_none() && group.len() < GROUP {
            match jobs.recv_timeout(GATHER) {
                Ok(Job::Record(record)) => group.push(record),
                Ok(Job::Work(next)) => work = Some(next),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        if let Err(error) = writer.insert(group) {
            tracing::warn!(reason = error.reason(), %error, "records of traffic are lost");
        }
        if let Some(work) = work {
            work(&mut writer);
        }
    }
}

impl Writer {
    #[expect(clippy::vec_box, reason = "as they came through the channel")]
    fn insert(&mut self, records: Vec<Box<Record>>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let Self { conn, vault, last_id } = self;
        let tx = conn.transaction()?;
        {
            let mut insert = tx.prepare_cached(
                "INSERT INTO records (id, at_ms, request_id, category, outcome, reason, refused, principal, query, detail, facts)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            for mut record in records.into_iter().map(|record| *record) {
                *last_id += 1;
                let id = *last_id;
                let seal = |part, text: Option<String>| text.map(|text| vault.seal_text(part, id, text)).transpose();
                let query = seal(Part::Query, record.query.take())?;
                let detail = record.weighed.as_mut().and_then(|weighed| weighed.detail.take());
                let principal = record.principal.as_deref().and_then(Principal::from_hex);
                let facts = serde_json::to_string(&record).unwrap_or_default();
                insert.execute(params![
                    id,
                    record.at_ms,
                    record.request_id,
                    record.category,
                    record.outcome,
                    record.reason,
                    record.weighed.is_some() && record.entry.is_none(),
                    principal.map(|principal| principal.as_bytes().to_vec()),
                    query,
                    seal(Part::Detail, detail)?,
                    facts,
                ])?;
            }
        }
        tx.commit()?;
        Ok(())
    }

    fn add(&mut self, sums: Vec<(Key, Sums)>) -> Result<(), StoreError> {
        let tx = self.conn.transaction()?;
        for (key, more) in sums {
            let Key { hour_ms, category, model, policy_revision } = key;
            let place = params![hour_ms, category, model, policy_revision];
            let kept: Option<String> = tx
                .prepare_cached(
                    "SELECT sums FROM ledger WHERE hour_ms = ? AND category = ? AND model = ? AND policy_revision = ?",
                )?
                .query_row(place, |row| row.get(0))
                .optional()?;
            let mut sum: Sums = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            sum += more;
            let text = serde_json::to_string(&sum).unwrap_or_default();
            tx.prepare_cached("INSERT OR REPLACE INTO ledger VALUES (?, ?, ?, ?, ?)")?.execute(params![
                hour_ms,
                category,
                model,
                policy_revision,
                text
            ])?;
        }
        tx.commit()?;
        Ok(())
    }

    fn prune(&mut self, retention: Retention) -> Result<u64, StoreError> {
        let Retention { since, rows, sums_since } = retention;
        let oldest = self.last_id.saturating_sub(i64::try_from(rows).unwrap_or(i64::MAX));
        self.conn.execute("DELETE FROM ledger WHERE hour_ms < ?", [sums_since.as_millis()])?;
        let mut removed = 0;
        loop {
            let gone = self.conn.execute(
                "DELETE FROM records WHERE id IN (SELECT id FROM records WHERE at_ms < ? OR id <= ? LIMIT ?)",
                params![since.as_millis(), oldest, PRUNED_AT_ONCE as i64],
            )?;
            removed += gone as u64;
            if gone < PRUNED_AT_ONCE {
                break;
            }
        }
        if removed > 0 {
            self.conn.execute_batch("PRAGMA incremental_vacuum(4096)")?;
        }
        Ok(removed)
    }

    fn forget(&mut self, principals: &[Principal]) -> Result<u64, StoreError> {
        let mut removed = self.conn.execute("DELETE FROM records WHERE principal IS NULL", [])?;
        for principal in principals {
            removed += self.conn.execute("DELETE FROM records WHERE principal = ?", [principal.as_bytes().to_vec()])?;
        }
        // The log holds what was deleted until it is written back.
        self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(removed as u64)
    }
}

fn decode(row: &Row<'_>, vault: &Vault) -> rusqlite::Result<Option<Record>> {
    let (id, query, detail): (i64, Option<String>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let facts: String = row.get(3)?;
    // A damaged record is left out: it is a memory, not a truth.
    let Ok(mut record) = serde_json::from_str::<Record>(&facts) else { return Ok(None) };
    record.id = Some(id);
    record.query = query.and_then(|text| vault.open_text(Part::Query, id, text));
    if let Some(weighed) = &mut record.weighed {
        weighed.detail = detail.and_then(|text| vault.open_text(Part::Detail, id, text));
    }
    Ok(Some(record))
}

fn records(conn: &Connection, vault: &Vault, wanted: &Wanted) -> Result<Vec<Record>, StoreError> {
    let Wanted { since_ms, until_ms, category, outcome, reason, text, refused, before, limit } = wanted;
    let mut sql = "SELECT id, query, detail, facts FROM records WHERE 1".to_owned();
    let mut given: Vec<Value> = Vec::new();
    let mut also = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            given.push(value);
        }
    };
    also("at_ms >= ?", since_ms.map(Value::from));
    also("at_ms < ?", until_ms.map(Value::from));
    also("category = ?", category.clone().map(Value::from));
    also("outcome = ?", outcome.clone().map(Value::from));
    also("reason = ?", reason.clone().map(Value::from));
    also("refused = ?", refused.map(|refused| Value::from(i64::from(refused != 0))));
    also("id < ?", before.map(Value::from));
    sql.push_str(" ORDER BY id DESC");
    let limit = limit.unwrap_or(PAGE).min(LARGEST_PAGE);
    let text = text.as_ref().map(|text| text.to_lowercase());
    let mut found = Vec::new();
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(given))?;
    let mut looked_at = 0;
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let Some(record) = decode(row, vault)? else { continue };
        let query = record.query.as_deref().map(str::to_lowercase);
        if text.as_ref().is_none_or(|text| query.is_some_and(|query| query.contains(text))) {
            found.push(record);
        }
        if found.len() >= limit || looked_at >= SEARCHED {
            break;
        }
    }
    Ok(found)
}

fn sums(conn: &Connection, since: Timestamp, until: Timestamp) -> Result<Vec<(Key, Sums)>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT hour_ms, category, model, policy_revision, sums FROM ledger WHERE hour_ms >= ? AND hour_ms < ? \
         ORDER BY hour_ms, category, model, policy_revision",
    )?;
    let rows = statement.query_map([since.as_millis(), until.as_millis()], |row| {
        let key = Key { hour_ms: row.get(0)?, category: row.get(1)?, model: row.get(2)?, policy_revision: row.get(3)? };
        Ok((key, row.get::<_, String>(4)?))
    })?;
    let mut lines = Vec::new();
    for row in rows {
        let (key, text) = row?;
        lines.extend(serde_json::from_str(&text).ok().map(|sums| (key, sums)));
    }
    Ok(lines)
}

impl TrafficLog for SqliteTraffic {
    fn record(&self, record: Record) -> Result<(), StoreError> {
        self.send(Job::Record(Box::new(record)))
    }

    fn add(&self, sums: Vec<(Key, Sums)>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(move |writer| writer.add(sums))
    }

    fn records(&self, wanted: Wanted) -> BoxFuture<'_, Result<Vec<Record>, StoreError>> {
        let vault = self.vault.clone();
        self.readers.run(move |conn| records(conn, &vault, &wanted)).boxed()
    }

    fn walk(&self, after: i64, since: Timestamp, limit: usize) -> BoxFuture<'_, Result<Vec<Record>, StoreError>> {
        let vault = self.vault.clone();
        let read = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(
                "SELECT id, query, detail, facts FROM records WHERE id > ? AND at_ms >= ? ORDER BY id LIMIT ?",
            )?;
            let mut rows =
                statement.query(params![after, since.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.extend(decode(row, &vault)?);
            }
            Ok(found)
        };
        self.readers.run(read).boxed()
    }

    fn of_request(&self, request_id: String) -> BoxFuture<'_, Result<Option<Record>, StoreError>> {
        let vault = self.vault.clone();
        let read = move |conn: &Connection| {
            let mut statement = conn.prepare_cached(
                "SELECT id, query, detail, facts FROM records WHERE request_id = ? ORDER BY id DESC LIMIT 1",
            )?;
            Ok(statement.query_row([request_id], |row| decode(row, &vault)).optional()?.flatten())
        };
        self.readers.run(read).boxed()
    }

    fn sums(&self, since: Timestamp, until: Timestamp) -> BoxFuture<'_, Result<Vec<(Key, Sums)>, StoreError>> {
        self.readers.run(move |conn| sums(conn, since, until)).boxed()
    }

    fn forget(&self, principals: Vec<Principal>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.run(move |writer| writer.forget(&principals))
    }

    fn prune(&self, retention: Retention) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.run(move |writer| writer.prune(retention))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.run(|_| Ok(()))
    }
}

#[cfg(test)]
mod tests;
