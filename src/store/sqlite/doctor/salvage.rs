//! Builds the file anew from what can be read of a damaged one.
//!
//! Every table is walked from both ends as far as its pages can be read, so one bad page costs the rows on it. What was
//! copied is examined like any other store afterwards. The old file is replaced in one step, when the new one is whole.

use std::{fs, io::Read, path::Path};

use rusqlite::{Connection, OptionalExtension, types::Value};

use super::super::schema;
use crate::store::StoreError;

/// Where the new file is made, inside the store's directory.
const WORKSHOP: &str = "rebuilding";

/// Replaces the file in `dir`, whose lock the caller holds. Returns the tables of which some rows could not be read.
pub(super) fn rebuild(dir: &Path) -> Result<Vec<String>, StoreError> {
    let path = schema::database_path(dir);
    let workshop = dir.join(WORKSHOP);
    let failed = |source| StoreError::Directory { path: workshop.display().to_string(), source };
    if workshop.exists() {
        fs::remove_dir_all(&workshop).map_err(failed)?;
    }
    schema::make_directory(&workshop)?;
    fill_up(&path).map_err(failed)?;
    // Plain, until the row that seals it is copied with all others: what is sealed stays so, under the same key.
    let (new, _) = schema::open_writer(&workshop, None)?;
    let lossy = copy(&schema::open_reader(&path)?, &new)?;
    new.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    new.close().map_err(|(_, error)| error)?;
    // The log of the old file must not be applied to the new one.
    for log in ["-wal", "-shm"] {
        let log = dir.join(format!("{}{log}", path.file_name().unwrap_or_default().to_string_lossy()));
        match fs::remove_file(log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    fs::rename(schema::database_path(&workshop), &path).map_err(failed)?;
    fs::remove_dir_all(&workshop).map_err(failed)?;
    Ok(lossy)
}

/// Gives a file that was cut the length that its header tells, for otherwise nothing of it is read at all. (SQLite file
/// format, 1.3: page size at 16, pages at 28.)
fn fill_up(path: &Path) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path)?;
    let mut head = [0; 32];
    file.read_exact(&mut head)?;
    let [size_high, size_low] = [head[16], head[17]];
    let page = match u16::from_be_bytes([size_high, size_low]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let pages = u32::from_be_bytes([head[28], head[29], head[30], head[31]]);
    let told = page.saturating_mul(u64::from(pages));
    if file.metadata()?.len() < told { file.set_len(told) } else { Ok(()) }
}

fn copy(old: &Connection, new: &Connection) -> Result<Vec<String>, StoreError> {
    new.execute_batch("PRAGMA foreign_keys = OFF; BEGIN")?;
    let mut tables = new.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let tables = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    let mut lossy = Vec::new();
    for table in tables {
        let mut whole = false;
        for direction in ["ASC", "DESC"] {
            if !whole {
                whole = copy_table(old, new, &table, direction)?;
            }
        }
        if !whole {
            lossy.push(table);
        }
    }
    // An id is never given twice, whether or not its entry could be read.
    let given: Option<i64> = old
        .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'entries'", [], |row| row.get(0))
        .optional()
        .unwrap_or_default();
    let used: i64 = new.query_row("SELECT coalesce(max(id), 0) FROM entries", [], |row| row.get(0))?;
    let next = used.max(given.unwrap_or_default()).saturating_add(1);
    new.execute("UPDATE meta SET value = max(value, ?) WHERE key = 'next_id'", [next])?;
    new.execute_batch("COMMIT; PRAGMA foreign_keys = ON")?;
    Ok(lossy)
}

/// Copies rows until one cannot be read; true when all could.
fn copy_table(old: &Connection, new: &Connection, table: &str, direction: &str) -> Result<bool, StoreError> {
    let mut columns = new.prepare("SELECT name, pk FROM pragma_table_info(?)")?;
    let columns = columns.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)));
    let columns = columns?.collect::<rusqlite::Result<Vec<(String, u32)>>>()?;
    let mut keys: Vec<_> = columns.iter().filter(|(_, place)| *place > 0).collect();
    keys.sort_by_key(|(_, place)| *place);
    let order: Vec<String> = keys.iter().map(|(name, _)| format!("\"{name}\" {direction}")).collect();
    let names: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let (names, order) = (names.join(", "), order.join(", "));
    let Ok(mut read) = old.prepare(&format!("SELECT {names} FROM {table} ORDER BY {order}")) else { return Ok(false) };
    let places = vec!["?"; columns.len()].join(", ");
    let mut write = new.prepare(&format!("INSERT OR REPLACE INTO {table} ({names}) VALUES ({places})"))?;
    let mut rows = read.query([])?;
    loop {
        match rows.next() {
            Ok(None) => return Ok(true),
            Err(_) => return Ok(false),
            Ok(Some(row)) => {
                let values = (0..columns.len()).map(|at| row.get::<_, Value>(at)).collect::<rusqlite::Result<Vec<_>>>();
                let Ok(values) = values else { continue };
                // A row that the schema would not take is no entry.
                let _ = write.execute(rusqlite::params_from_iter(values));
            }
        }
    }
}
