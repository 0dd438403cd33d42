//! Purges by meaning, kept.

use futures_util::future::BoxFuture;

use super::{RedisStore, changes, reply};
use crate::{
    entry::EntryId,
    store::{
        StoreError,
        bans::{Ban, BanId, Bans},
        shared::Change,
        transfer::trail_of,
    },
};

impl Bans for RedisStore {
    fn ban(&self, ban: Ban) -> BoxFuture<'_, Result<(BanId, Vec<EntryId>), StoreError>> {
        let now = self.core.clock.now();
        self.change(
            move |core| async move {
                let number = reply::number(core.link.ask(&core.on("INCR", 0, "banids")).await?)?;
                let ban = Ban { id: BanId(number.ok_or_else(|| reply::odd("a number"))?), ..ban };
                let mut keep = core.on("HSET", 0, "bans");
                keep.arg(ban.id.0).arg(changes::write_ban(&ban, &core.vault)?);
                core.link.ask(&keep).await?;
                Ok(Change::Banned(ban))
            },
            move |core, change, entries| async move {
                let Change::Banned(ban) = change else { return Err(reply::odd("a ban")) };
                let selector = ban.selector();
                let hard = ban.hardness == crate::store::Hardness::Hard;
                core.record_purge(now, &trail_of(&selector, None, hard), ban.hardness, entries.len()).await?;
                Ok((ban.id, entries))
            },
        )
    }

    fn bans(&self) -> BoxFuture<'_, Result<Vec<Ban>, StoreError>> {
        self.read(async move {
            let kept = reply::pairs(self.core.link.ask(&self.core.on("HGETALL", 0, "bans")).await?)?;
            let read = |(id, kept): (String, Vec<u8>)| {
                let ban = changes::read_ban(kept, BanId(id.parse().ok()?), &self.core.vault);
                if ban.is_none() {
                    tracing::error!("an unreadable ban is left out: purge again what it was about");
                }
                ban
            };
            let mut bans: Vec<Ban> = kept.into_iter().filter_map(read).collect();
            bans.sort_unstable_by_key(|ban| ban.id);
            Ok(bans)
        })
    }

    fn lift(&self, bans: Vec<BanId>) -> BoxFuture<'_, Result<Vec<BanId>, StoreError>> {
        self.change(
            move |core| async move {
                let mut lifted = Vec::new();
                for ban in bans {
                    let mut forget = core.on("HDEL", 0, "bans");
                    forget.arg(ban.0);
                    if reply::number(core.link.ask(&forget).await?)? == Some(1) {
                        lifted.push(ban);
                    }
                }
                Ok(Change::Lifted(lifted))
            },
            |_, change, _| async move {
                match change {
                    Change::Lifted(lifted) => Ok(lifted),
                    _ => Ok(Vec::new()),
                }
            },
        )
    }
}
