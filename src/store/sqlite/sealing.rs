//! Whether a database is sealed, and with which salt: its table `encryption` says so.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{
    StoreError,
    encryption::EncryptionKey,
    vault::{PROOF_ROW, Sealing, Vault},
};

/// Makes a new database a sealed one. In the transaction that makes its tables, so that it never is half of one.
pub(super) fn found(conn: &Connection, key: &EncryptionKey) -> Result<(), StoreError> {
    let (salt, proof) = Vault::found(key)?;
    conn.execute("INSERT INTO encryption (id, salt, proof) VALUES (?, ?, ?)", params![PROOF_ROW, salt, proof])?;
    Ok(())
}

/// The vault of an existing database; errors as [`Vault::unlock`].
pub(super) fn unlock(conn: &Connection, key: Option<&EncryptionKey>, path: &Path) -> Result<Vault, StoreError> {
    Vault::unlock(sealing(conn)?, key, || path.display().to_string())
}

/// Salt and proof of a sealed database; files of before there was a seal have no such table.
fn sealing(conn: &Connection) -> Result<Option<Sealing>, StoreError> {
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'encryption')";
    if !conn.query_row(known, [], |row| row.get(0))? {
        return Ok(None);
    }
    let row = conn.query_row("SELECT salt, proof FROM encryption", [], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(row.optional()?)
}
