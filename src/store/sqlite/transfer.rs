//! The walk over ids that an export makes, and the trail of purges that an import is held against.

use futures_util::future::BoxFuture;
use rusqlite::{Connection, params_from_iter, types::Value};

use super::{SqliteStore, meaning, selection::Selection, vault::Vault, verdicts, write};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    key::Fingerprint,
    store::{
        Page, Selector, StoreError,
        transfer::{PastPurge, Transfer},
    },
};

impl Transfer for SqliteStore {
    fn ids(
        &self,
        selector: Selector,
        after: Option<EntryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Page<EntryId>, StoreError>> {
        let vault = self.vault.clone();
        self.read(move |conn| ids(conn, &vault, &selector, after, limit))
    }

    fn aliases(&self, entry: EntryId) -> BoxFuture<'_, Result<Vec<Fingerprint>, StoreError>> {
        self.read(move |conn| verdicts::wordings(conn, entry))
    }

    fn past_purges(&self) -> BoxFuture<'_, Result<Vec<PastPurge>, StoreError>> {
        self.read(past_purges)
    }
}

fn ids(
    conn: &Connection,
    vault: &Vault,
    selector: &Selector,
    after: Option<EntryId>,
    limit: u32,
) -> Result<Page<EntryId>, StoreError> {
    if selector.near.is_some() {
        let mut all = meaning::selected(conn, vault, selector)?;
        all.retain(|id| after.is_none_or(|after| *id > after));
        all.truncate(limit as usize);
        let next = all.last().copied().filter(|_| all.len() >= limit as usize);
        return Ok(Page { items: all, next });
    }
    let Selection { condition, mut values } = Selection::of(selector);
    values.extend([Value::Integer(after.map_or(0, write::row_id)), Value::Integer(limit.into())]);
    let sql = format!("SELECT id FROM entries WHERE {condition} AND id > ? ORDER BY id LIMIT ?");
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| row.get::<_, i64>(0))?;
    let items = rows.map(|id| Ok(EntryId(id?.unsigned_abs()))).collect::<Result<Vec<_>, StoreError>>()?;
    let next = items.last().copied().filter(|_| items.len() >= limit as usize);
    Ok(Page { items, next })
}

fn past_purges(conn: &Connection) -> Result<Vec<PastPurge>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT at, selector, hardness, removed FROM purges ORDER BY at, id")?;
    let rows = statement.query_map([], |row| {
        let (at, selector, hardness) = (row.get(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?);
        let removed = row.get::<_, i64>(3)?.unsigned_abs();
        Ok(PastPurge::of(Timestamp::from_millis(at), &selector, hardness == "hard", removed))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
