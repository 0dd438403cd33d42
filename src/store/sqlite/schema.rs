//! The data directory, its lock, the connections, and the migrations.
//!
//! Invariants: one process at a time; migrations are append-only, counted in `user_version` and applied in one
//! exclusive transaction; a file that is newer than this program, or not ours, is not written to. Prompts are private:
//! the directory is made with mode 700, the files with 600, temporary tables stay in memory, and deleted rows are
//! overwritten.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{sealing, vault::Vault};
use crate::store::{StoreError, encryption::EncryptionKey};

/// `SMBL`, the mark of our files among all SQLite files.
const APPLICATION_ID: i32 = 0x534d_424c;
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_entries.sql"),
    include_str!("../migrations/0002_verdicts.sql"),
    include_str!("../migrations/0003_encryption.sql"),
    include_str!("../migrations/0004_principals.sql"),
    include_str!("../migrations/0005_sources.sql"),
    include_str!("../migrations/0006_upkeep.sql"),
];
/// Readers and checkpoints wait for each other this long at most.
const BUSY: Duration = Duration::from_millis(500);

/// The newest schema this program knows.
pub(super) const fn supported() -> u32 {
    MIGRATIONS.len() as u32
}

/// The database file inside `dir`.
pub(super) fn database_path(dir: &Path) -> PathBuf {
    dir.join("semblance.sqlite3")
}

/// Makes `dir` when it is missing.
pub(super) fn make_directory(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| unusable(dir, source))
}

/// Takes the directory's lock; it is held as long as the file is open, and ends with the process.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let file = private_file(&dir.join("semblance.lock")).map_err(|source| unusable(dir, source))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: dir.display().to_string() }),
        Err(TryLockError::Error(source)) => Err(unusable(dir, source)),
    }
}

/// The one connection that writes, migrated to the newest schema, and how texts stand in it. A new database is sealed when
/// there is a key; an old one stays what it is.
pub(super) fn open_writer(dir: &Path, key: Option<&EncryptionKey>) -> Result<(Connection, Vault), StoreError> {
    open_file(&database_path(dir), MIGRATIONS, key)
}

/// The same for any file of ours, with the migrations that it goes by.
pub(super) fn open_file(
    path: &Path,
    migrations: &[&str],
    key: Option<&EncryptionKey>,
) -> Result<(Connection, Vault), StoreError> {
    let file = private_file(path).map_err(|source| unusable(path.parent().unwrap_or(path), source))?;
    let fresh = file.metadata().map_err(|source| unusable(path.parent().unwrap_or(path), source))?.len() == 0;
    if !fresh && version_within(&open_reader(path)?, path, migrations.len())? > 0 {
        // Before anything is changed.
        sealing::unlock(&open_reader(path)?, key, path)?;
    }
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    prepare_writer(&conn).and_then(|()| migrate_by(&conn, migrations, key)).map_err(|error| named(path, error))?;
    let vault = sealing::unlock(&conn, key, path)?;
    Ok((conn, vault))
}

/// A connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|error| named(path, error.into()))?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(32);
    conn.execute_batch("PRAGMA temp_store = MEMORY")?;
    Ok(conn)
}

/// The schema version of the file at `path`, when it is ours and not too new. Changes nothing.
pub(super) fn check_version(path: &Path) -> Result<u32, StoreError> {
    version_of(&open_reader(path)?, path)
}

/// As [`check_version`], over a connection.
pub(super) fn version_of(conn: &Connection, path: &Path) -> Result<u32, StoreError> {
    version_within(conn, path, MIGRATIONS.len())
}

fn version_within(conn: &Connection, path: &Path, newest: usize) -> Result<u32, StoreError> {
    let pragma = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let read = pragma("application_id").and_then(|application| Ok((application, pragma("user_version")?)));
    let (application, version) = read.map_err(|error| named(path, error.into()))?;
    // A start that was killed before its first migration leaves an empty database without our mark.
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(StoreError::NotADatabase { path: path.display().to_string() });
    }
    let found = u32::try_from(version).unwrap_or(u32::MAX);
    let supported = newest as u32;
    if found > supported {
        return Err(StoreError::TooNew { path: path.display().to_string(), found, supported });
    }
    Ok(found)
}

fn prepare_writer(conn: &Connection) -> Result<(), StoreError> {
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(64);
    // Page size and auto-vacuum take effect on an empty file only, and before the journal mode.
    conn.execute_batch(
        "PRAGMA page_size = 8192;
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA journal_size_limit = 16777216;
         PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF;",
    )?;
    Ok(())
}

/// Brings the cache's file to the newest schema.
pub(super) fn migrate(conn: &Connection, key: Option<&EncryptionKey>) -> Result<(), StoreError> {
    migrate_by(conn, MIGRATIONS, key)
}

fn migrate_by(conn: &Connection, migrations: &[&str], key: Option<&EncryptionKey>) -> Result<(), StoreError> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    if done >= migrations.len() {
        return Ok(());
    }
    let tx = rusqlite::Transaction::new_unchecked(conn, rusqlite::TransactionBehavior::Exclusive)?;
    for migration in &migrations[done..] {
        tx.execute_batch(migration)?;
    }
    if let (0, Some(key)) = (done, key) {
        sealing::found(&tx, key)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", migrations.len() as u32)?;
    tx.commit()?;
    Ok(())
}

/// Opens or makes a file that only its owner may read.
fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn unusable(dir: &Path, source: io::Error) -> StoreError {
    StoreError::Directory { path: dir.display().to_string(), source }
}

fn named(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Database(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            StoreError::NotADatabase { path: path.display().to_string() }
        }
        other => other,
    }
}
