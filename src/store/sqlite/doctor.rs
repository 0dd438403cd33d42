//! Proves that what is stored could be served: structure, links, bodies and vectors.
//!
//! Without repair nothing is changed, and a store in use can be examined. Repair needs the directory's lock, removes
//! what is damaged and nothing else, and says what it removed; a file whose pages cannot all be read is built anew.

mod salvage;

use std::{collections::HashMap, fmt, fs::File, path::Path};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::{codec, read, schema, sealing, vault::Vault, write};
use crate::{
    entry::EntryId,
    store::{StoreError, encryption::EncryptionKey},
};

/// Lines kept of SQLite's own check.
const STRUCTURE_LINES: usize = 20;

/// What was examined and what was found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DoctorReport {
    /// The database file.
    pub path: String,
    /// Its schema version.
    pub schema: u32,
    /// Entries examined.
    pub entries: u64,
    /// Aliases examined.
    pub aliases: u64,
    /// Vectors examined.
    pub vectors: u64,
    /// What was found, before any repair.
    pub problems: Vec<Problem>,
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// The entry it is about, as in `e1f`.
    pub entry: Option<String>,
    /// Which part, in words.
    pub detail: String,
    /// What was done about it; `None` when nothing was.
    pub repair: Option<Repair>,
}

/// Kinds of [`Problem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The file's own structure (pages, b-trees, indexes).
    Structure,
    /// A row that belongs to no entry.
    Orphan,
    /// An entry whose answer or facts are not what was stored.
    Entry,
    /// A vector that is not finite, not of unit length, or of another dimension than its embedder's others.
    Vector,
    /// Two entries of one fingerprint.
    SameFingerprint,
    /// An alias that hides behind an entry of its own fingerprint.
    HiddenAlias,
}

/// What a repair did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// The entry is gone, with its aliases, tags and vector.
    EntryRemoved,
    /// The row is gone.
    RowRemoved,
    /// The vector is gone; the entry is found by its own wording only.
    VectorRemoved,
    /// The indexes were built again.
    Reindexed,
    /// The file was built again of what could be read.
    Rebuilt,
}

impl DoctorReport {
    /// Nothing was found.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Notes that some pages cannot be read; what was mended before is not, for nothing was committed.
    fn cannot_read(&mut self, error: &rusqlite::Error) {
        self.problems.iter_mut().for_each(|problem| problem.repair = None);
        let (kind, detail) = (ProblemKind::Structure, format!("not all pages can be read: {error}"));
        self.problems.push(Problem { kind, entry: None, detail, repair: None });
    }

    /// Problems that are still there.
    pub fn unrepaired(&self) -> usize {
        self.problems.iter().filter(|problem| problem.repair.is_none()).count()
    }
}

impl fmt::Display for DoctorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, schema, entries, aliases, vectors, problems } = self;
        writeln!(f, "{path} (schema {schema}): {entries} entries, {vectors} vectors, {aliases} aliases")?;
        for problem in problems {
            writeln!(f, "  {problem}")?;
        }
        match (problems.len(), self.unrepaired()) {
            (0, _) => f.write_str("nothing wrong found"),
            (found, 0) => write!(f, "{found} problems found, all repaired"),
            (found, left) if left == found => write!(f, "{found} problems found; repair removes what is damaged"),
            (found, left) => write!(
                f,
                "{found} problems found, {left} could not be repaired; move the file away and let the cache start empty"
            ),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "{entry}: {}", self.detail)?,
            None => f.write_str(&self.detail)?,
        }
        f.write_str(match self.repair {
            None => "",
            Some(Repair::EntryRemoved) => " (entry removed)",
            Some(Repair::RowRemoved) => " (row removed)",
            Some(Repair::VectorRemoved) => " (vector removed)",
            Some(Repair::Reindexed) => " (indexes rebuilt)",
            Some(Repair::Rebuilt) => " (file rebuilt of what could be read)",
        })
    }
}

/// Examines the store in `dir`, and removes what is damaged when `repair` is asked for. Blocks.
///
/// # Errors
/// [`StoreError::Directory`] when there is no store, [`StoreError::Locked`] when one in use is to be repaired, and as
/// [`super::SqliteStore::open`] for files that are not ours or too new; [`StoreError::TooOld`] without repair. Problems found are no errors.
pub fn doctor(dir: &Path, repair: bool) -> Result<DoctorReport, StoreError> {
    examine(dir, repair, None)
}

/// As [`doctor`], of a store that may be encrypted.
///
/// # Errors
/// As [`doctor`], and [`StoreError::KeyMissing`], [`StoreError::WrongKey`] and [`StoreError::KeyNotWanted`].
pub fn examine(dir: &Path, repair: bool, key: Option<&EncryptionKey>) -> Result<DoctorReport, StoreError> {
    let path = schema::database_path(dir);
    if let Err(source) = File::open(&path) {
        return Err(StoreError::Directory { path: dir.display().to_string(), source });
    }
    let _lock = if repair { Some(schema::lock(dir)?) } else { None };
    let mut report = inspect(&path, repair, key)?;
    if repair
        && report.problems.iter().any(|problem| problem.kind == ProblemKind::Structure && problem.repair.is_none())
    {
        let lossy = salvage::rebuild(dir)?;
        let mut damaged = std::mem::take(&mut report.problems);
        damaged.retain(|problem| problem.kind == ProblemKind::Structure);
        damaged.iter_mut().for_each(|problem| problem.repair = Some(Repair::Rebuilt));
        damaged.extend(lossy.into_iter().map(|table| Problem {
            kind: ProblemKind::Structure,
            entry: None,
            detail: format!("some rows of {table} could not be read"),
            repair: Some(Repair::Rebuilt),
        }));
        report = inspect(&path, repair, key)?;
        damaged.append(&mut report.problems);
        report.problems = damaged;
    }
    Ok(report)
}

fn inspect(path: &Path, repair: bool, key: Option<&EncryptionKey>) -> Result<DoctorReport, StoreError> {
    let mut report = DoctorReport {
        path: path.display().to_string(),
        schema: 0,
        entries: 0,
        aliases: 0,
        vectors: 0,
        problems: Vec::new(),
    };
    let schema = match schema::check_version(path) {
        Err(StoreError::Corrupt(error)) => {
            report.cannot_read(&error);
            return Ok(report);
        }
        checked => checked?,
    };
    report.schema = schema;
    let supported = schema::supported();
    if !repair && schema > 0 && schema < supported {
        return Err(StoreError::TooOld { path: path.display().to_string(), found: schema, supported });
    }
    let conn = if repair {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.execute_batch("PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA synchronous = FULL")?;
        conn
    } else {
        schema::open_reader(path)?
    };
    match walk(&conn, sealing::unlock(&conn, key, path), repair, &mut report) {
        Ok(()) => {}
        // Nothing behind a page that cannot be read is examined, and nothing before it changed.
        Err(StoreError::Corrupt(error)) => report.cannot_read(&error),
        Err(error) => return Err(error),
    }
    Ok(report)
}

fn walk(
    conn: &Connection,
    vault: Result<Vault, StoreError>,
    repair: bool,
    report: &mut DoctorReport,
) -> Result<(), StoreError> {
    let vault = vault?;
    if report.schema == 0 {
        return Ok(());
    }
    if repair {
        schema::migrate(conn, None)?;
        report.schema = schema::supported();
    }
    let behavior = if repair { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
    // One snapshot: a gateway that goes on writing must not look like damage.
    let tx = Transaction::new_unchecked(conn, behavior)?;
    Examination { conn: &tx, vault: &vault, repair, report }.run()?;
    Ok(tx.commit()?)
}

struct Examination<'a> {
    conn: &'a Connection,
    vault: &'a Vault,
    repair: bool,
    report: &'a mut DoctorReport,
}

impl Examination<'_> {
    fn run(&mut self) -> Result<(), StoreError> {
        self.structure()?;
        self.orphans()?;
        self.entries()?;
        self.vectors()?;
        self.fingerprints()?;
        self.report.aliases = self.conn.query_row("SELECT count(*) FROM aliases", [], |row| unsigned(row, 0))?;
        Ok(())
    }

    fn structure(&mut self) -> Result<(), StoreError> {
        let lines = self.structure_lines()?;
        if lines.is_empty() {
            return Ok(());
        }
        let mut repaired = false;
        if self.repair {
            repaired = self.conn.execute_batch("REINDEX").is_ok() && self.structure_lines()?.is_empty();
        }
        for detail in lines {
            self.found(ProblemKind::Structure, None, detail, repaired.then_some(Repair::Reindexed));
        }
        Ok(())
    }

    fn structure_lines(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.conn.prepare(&format!("PRAGMA integrity_check({STRUCTURE_LINES})"))?;
        let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
        let lines = lines.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }

    fn orphans(&mut self) -> Result<(), StoreError> {
        // `foreign_key_check` names no rows of tables without row ids, so each table is asked in its own words.
        for table in ["answers", "vectors", "aliases", "tags", "entry_sources"] {
            let condition = format!("FROM {table} WHERE entry_id NOT IN (SELECT id FROM entries)");
            let mut statement = self.conn.prepare(&format!("SELECT entry_id {condition}"))?;
            let ids = statement.query_map([], |row| id(row, 0))?.collect::<rusqlite::Result<Vec<_>>>()?;
            let repair = self.repair.then_some(Repair::RowRemoved);
            if self.repair && !ids.is_empty() {
                self.conn.execute(&format!("DELETE {condition}"), [])?;
            }
            for id in ids {
                self.found(ProblemKind::Orphan, Some(id), format!("a row in {table} belongs to no entry"), repair);
            }
        }
        Ok(())
    }

    /// Reads each entry as a hit would.
    fn entries(&mut self) -> Result<(), StoreError> {
        let mut statement = self.conn.prepare("SELECT id FROM entries ORDER BY id")?;
        let ids = statement.query_map([], |row| id(row, 0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        self.report.entries = ids.len() as u64;
        for id in ids {
            match read::get(self.conn, self.vault, id) {
                Ok(_) => {}
                // Looked at below, where the vector alone can be removed.
                Err(StoreError::Damaged { what: "vector", .. }) => {}
                Err(StoreError::Damaged { what, .. }) => {
                    if self.repair {
                        write::remove(self.conn, id)?;
                    }
                    let repair = self.repair.then_some(Repair::EntryRemoved);
                    self.found(ProblemKind::Entry, Some(id), format!("damaged: {what}"), repair);
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn vectors(&mut self) -> Result<(), StoreError> {
        let dimensions = self.usual_dimensions()?;
        let mut bad = Vec::new();
        let mut statement = self.conn.prepare("SELECT entry_id, embedder, embedding FROM vectors ORDER BY entry_id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.report.vectors += 1;
            let embedder: String = row.get(1)?;
            let bytes: Vec<u8> = row.get(2)?;
            let length = bytes.len();
            let detail = match codec::open_vector(self.vault, row.get(0)?, bytes) {
                None => "vector is not finite or not of unit length".to_owned(),
                Some(vector) if dimensions.get(&embedder) != Some(&length) => {
                    format!("vector has {} dimensions, others of its embedder have more or fewer", vector.dimensions())
                }
                Some(_) => continue,
            };
            bad.push((id(row, 0)?, detail));
        }
        for (id, detail) in bad {
            if self.repair {
                self.conn.execute("DELETE FROM vectors WHERE entry_id = ?", [write::row_id(id)])?;
            }
            self.found(ProblemKind::Vector, Some(id), detail, self.repair.then_some(Repair::VectorRemoved));
        }
        Ok(())
    }

    /// The commonest length of each embedder's vectors, in bytes.
    fn usual_dimensions(&self) -> Result<HashMap<String, usize>, StoreError> {
        let mut statement = self.conn.prepare(
            "SELECT embedder, length(embedding) FROM vectors GROUP BY 1, 2 ORDER BY count(*), length(embedding)",
        )?;
        // The commonest comes last and so wins.
        let rows =
            statement.query_map([], |row| Ok((row.get(0)?, usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn fingerprints(&mut self) -> Result<(), StoreError> {
        // Past the unique index, which may be what is damaged.
        let older = "SELECT id FROM entries NOT INDEXED WHERE id NOT IN (
                         SELECT max(id) FROM entries NOT INDEXED GROUP BY fingerprint)";
        let mut statement = self.conn.prepare(older)?;
        let ids = statement.query_map([], |row| id(row, 0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        for id in ids {
            if self.repair {
                write::remove(self.conn, id)?;
            }
            let detail = "a newer entry has the same fingerprint".to_owned();
            self.found(ProblemKind::SameFingerprint, Some(id), detail, self.repair.then_some(Repair::EntryRemoved));
        }
        let hidden = "FROM aliases WHERE fingerprint IN (SELECT fingerprint FROM entries)";
        let mut statement = self.conn.prepare(&format!("SELECT entry_id {hidden}"))?;
        let ids = statement.query_map([], |row| id(row, 0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        if self.repair && !ids.is_empty() {
            self.conn.execute(&format!("DELETE {hidden}"), [])?;
        }
        for id in ids {
            let detail = "an alias has an entry of its own".to_owned();
            self.found(ProblemKind::HiddenAlias, Some(id), detail, self.repair.then_some(Repair::RowRemoved));
        }
        Ok(())
    }

    fn found(&mut self, kind: ProblemKind, entry: Option<EntryId>, detail: String, repair: Option<Repair>) {
        let entry = entry.map(|id| id.to_string());
        self.report.problems.push(Problem { kind, entry, detail, repair });
    }
}

fn id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<EntryId> {
    unsigned(row, column).map(EntryId)
}

fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

#[cfg(test)]
mod tests;
