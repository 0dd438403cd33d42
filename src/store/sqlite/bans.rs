//! Purges by meaning, kept.

use futures_util::future::BoxFuture;
use rusqlite::{Connection, Row, params};

use super::{
    SMALL, SqliteStore, codec,
    queue::Urgency,
    vault::{Part, Vault},
    write,
};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    key::Scope,
    similarity::Similarity,
    store::{
        Hardness, StoreError,
        bans::{Ban, BanId, Bans, Near},
    },
};

type Done<T> = Result<T, StoreError>;

impl Bans for SqliteStore {
    fn ban(&self, ban: Ban) -> BoxFuture<'_, Done<(BanId, Vec<EntryId>)>> {
        let (now, vault) = (self.clock.now(), self.vault.clone());
        self.write(Urgency::of(ban.hardness), SMALL, move |conn| {
            let entries = write::purge(conn, &vault, &ban.selector(), ban.hardness, now)?;
            Ok((keep(conn, &vault, &ban, now)?, entries))
        })
    }

    fn bans(&self) -> BoxFuture<'_, Done<Vec<Ban>>> {
        let vault = self.vault.clone();
        self.read(move |conn| bans(conn, &vault))
    }

    fn lift(&self, bans: Vec<BanId>) -> BoxFuture<'_, Done<Vec<BanId>>> {
        self.write(Urgency::Scrub, SMALL, move |conn| lift(conn, &bans))
    }
}

fn keep(conn: &Connection, vault: &Vault, ban: &Ban, now: Timestamp) -> Done<BanId> {
    let Ban { id: _, near, category, scope, until, hardness } = ban;
    let Near { text, vector, embedder, radius } = near;
    let soft_at = match hardness {
        Hardness::Soft(at) => Some(at.as_millis()),
        Hardness::Hard => None,
    };
    let scope = scope.map(|scope| *scope.as_bytes());
    conn.prepare_cached(
        "INSERT INTO bans (text, vector, embedder, radius, category, scope, until, soft_at, at)
         VALUES ('', x'', ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params![embedder, radius.get(), category, scope, until.as_millis(), soft_at, now.as_millis()])?;
    // What is sealed is bound to its row, which is known only now.
    let id = conn.last_insert_rowid();
    let text = vault.seal_text(Part::BanText, id, text.clone())?;
    let vector = vault.seal(Part::BanVector, id, codec::encode_vector(vector))?;
    conn.prepare_cached("UPDATE bans SET text = ?, vector = ? WHERE id = ?")?.execute(params![text, vector, id])?;
    Ok(BanId(id.unsigned_abs()))
}

fn bans(conn: &Connection, vault: &Vault) -> Done<Vec<Ban>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, text, vector, embedder, radius, category, scope, until, soft_at FROM bans ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut bans = Vec::new();
    while let Some(row) = rows.next()? {
        let ban = ban(vault, row)?;
        if ban.is_none() {
            tracing::error!("an unreadable ban is left out: purge again what it was about");
        }
        bans.extend(ban);
    }
    Ok(bans)
}

/// `None` when it does not open or is no ban.
fn ban(vault: &Vault, row: &Row<'_>) -> rusqlite::Result<Option<Ban>> {
    let id: i64 = row.get(0)?;
    let text = vault.open_text(Part::BanText, id, row.get(1)?);
    let vector = vault.open(Part::BanVector, id, row.get(2)?).and_then(|vector| codec::decode_vector(&vector));
    let radius = Similarity::new(row.get(4)?);
    let (Some(text), Some(vector), Some(radius)) = (text, vector, radius) else { return Ok(None) };
    let soft_at = row.get::<_, Option<i64>>(8)?;
    Ok(Some(Ban {
        id: BanId(id.unsigned_abs()),
        near: Near { text, vector, embedder: row.get(3)?, radius },
        category: row.get(5)?,
        scope: row.get::<_, Option<[u8; 32]>>(6)?.map(Scope::from_bytes),
        until: Timestamp::from_millis(row.get(7)?),
        hardness: soft_at.map_or(Hardness::Hard, |at| Hardness::Soft(Timestamp::from_millis(at))),
    }))
}

fn lift(conn: &Connection, bans: &[BanId]) -> Done<Vec<BanId>> {
    let mut delete = conn.prepare_cached("DELETE FROM bans WHERE id = ?")?;
    let mut lifted = Vec::new();
    for ban in bans {
        if delete.execute([i64::try_from(ban.0).unwrap_or(-1)])? > 0 {
            lifted.push(*ban);
        }
    }
    Ok(lifted)
}
