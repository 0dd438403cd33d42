//! What every call on the store shares: the connection, the names of keys, the order of changes of each part.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::try_join_all;
use redis::{Cmd, ToRedisArgs, Value, cmd};
use tokio::time::Instant;

use super::{
    changes::{self, ChangeId},
    ids::Ids,
    link::{Link, lacks_script},
    order::{Order, Record, Standing},
    reply,
    rows::Stored,
    scripts::{self, Code},
};
use crate::{
    clock::Clock,
    entry::{Entry, EntryId},
    key::Fingerprint,
    store::{
        StoreError,
        shared::{Change, Derived},
        vault::Vault,
    },
};

/// Changes read at a time.
const BATCH: usize = 512;
/// Names of changes remembered, each of which is applied once though every part has it.
const SEEN: usize = 8192;
/// How often a position is asked for anew before a call gives up: only a storm of changes takes more.
const PATIENCE: usize = 64;

/// What the operator sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) lease: Duration,
    pub(super) serves_lease: bool,
    pub(super) max_age: Duration,
    pub(super) replicas: u32,
    /// News of entries kept for nodes that lag.
    pub(super) news_kept: u64,
}

/// Shared by everything the store does.
pub(super) struct Core {
    pub(super) link: Link,
    /// A connection of its own for what blocks it.
    pub(super) aside: Link,
    pub(super) prefix: String,
    pub(super) vault: Vault,
    pub(super) clock: Clock,
    pub(super) node: String,
    pub(super) terms: Terms,
    pub(super) orders: Box<[Order]>,
    pub(super) ids: Ids,
    pub(super) failed: AtomicU64,
    derived: Mutex<Option<Weak<dyn Derived>>>,
    seen: Mutex<(HashSet<ChangeId>, VecDeque<ChangeId>)>,
    trusted_until: Mutex<Option<Instant>>,
    /// Counts up when what is derived has to be read anew, and what of that was done.
    reload: AtomicU64,
    reloaded: AtomicU64,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Core({}, {})", self.link.address(), self.node)
    }
}

impl Core {
    pub(super) fn new((link, aside): (Link, Link), prefix: String, vault: Vault, clock: Clock, terms: Terms) -> Self {
        let parts = link.address().parts();
        Self {
            link,
            aside,
            prefix,
            vault,
            clock,
            node: format!("{:016x}", fastrand::u64(..)),
            terms,
            orders: (0..parts).map(|_| Order::default()).collect(),
            ids: Ids::new(parts),
            failed: AtomicU64::default(),
            derived: Mutex::default(),
            seen: Mutex::default(),
            trusted_until: Mutex::default(),
            reload: AtomicU64::default(),
            reloaded: AtomicU64::default(),
        }
    }

    /// Every part's number.
    pub(super) fn parts(&self) -> impl Iterator<Item = u16> + use<> {
        0..self.ids.parts()
    }

    pub(super) const fn part_of(&self, fingerprint: &Fingerprint) -> u16 {
        // A digest: any of its bytes spreads evenly.
        self.ids.part(fingerprint.as_bytes()[31] as u64)
    }

    pub(super) const fn part_of_id(&self, id: EntryId) -> u16 {
        self.ids.part(id.0)
    }

    pub(super) fn order(&self, part: u16) -> &Order {
        &self.orders[usize::from(part) % self.orders.len()]
    }

    pub(super) fn key(&self, part: u16, name: &str) -> String {
        format!("{{{}:{part}}}:{name}", self.prefix)
    }

    /// A command on one key of `part`.
    pub(super) fn on(&self, command: &str, part: u16, name: &str) -> Cmd {
        let mut cmd = cmd(command);
        cmd.arg(self.key(part, name));
        cmd
    }

    /// Runs a script in `part`.
    pub(super) async fn call(&self, code: &Code, part: u16, args: impl ToRedisArgs) -> Result<Value, StoreError> {
        call_over(&self.link, code, &self.key(part, "seq"), args).await
    }

    pub(super) fn attach(&self, derived: Weak<dyn Derived>) {
        *self.derived.lock().unwrap_or_else(PoisonError::into_inner) = Some(derived);
        self.must_reload();
    }

    pub(super) fn derived(&self) -> Option<Arc<dyn Derived>> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    fn must_reload(&self) {
        self.reload.fetch_add(1, Ordering::SeqCst);
    }

    /// What has to be read anew, if anything: to be given back to [`Core::has_reloaded`].
    pub(super) fn owes_reload(&self) -> Option<u64> {
        let wanted = self.reload.load(Ordering::SeqCst);
        (self.reloaded.load(Ordering::SeqCst) < wanted).then_some(wanted)
    }

    pub(super) fn has_reloaded(&self, wanted: u64) {
        self.reloaded.fetch_max(wanted, Ordering::SeqCst);
    }

    /// Nothing is read or admitted while what it would be held against is not known.
    pub(super) fn ready(&self) -> Result<(), StoreError> {
        match self.owes_reload() {
            Some(_) if self.derived().is_some() => {
                Err(StoreError::Unreachable("bans and versions are read anew".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// What this node knew to be everything at `at`.
    pub(super) fn trust_from(&self, at: Instant) {
        *self.trusted() = Some(at + self.terms.lease);
    }

    pub(super) fn trusts_hot(&self) -> bool {
        let answers = self.terms.serves_lease || self.link.is_reachable();
        answers && self.owes_reload().is_none() && self.trusted().is_some_and(|until| Instant::now() < until)
    }

    fn trusted(&self) -> MutexGuard<'_, Option<Instant>> {
        self.trusted_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads where each part's order stands, beginning it where there is none.
    pub(super) async fn begin(&self) -> Result<(), StoreError> {
        try_join_all(self.parts().map(|part| async move {
            let order = self.order(part);
            let _moving = order.moving.lock().await;
            let (sequence, news) = self.begin_order(part, 0).await?;
            order.set_news(news);
            self.start_over(part, sequence).await
        }))
        .await?;
        Ok(())
    }

    /// Makes the number of the last change, unless it is there: from the time, so that it is larger than any before.
    async fn begin_order(&self, part: u16, least: u64) -> Result<(u64, u64), StoreError> {
        let begun = reply::numbers(self.call(&scripts::BEGIN, part, least).await?)?;
        let [sequence, news] = <[u64; 2]>::try_from(begun).map_err(|_| reply::odd("a position"))?;
        Ok((sequence, news))
    }

    /// Takes up the order at `sequence`, with the changes whose entries are not swept yet.
    async fn start_over(&self, part: u16, sequence: u64) -> Result<(), StoreError> {
        let mut from = self.low(part).await?.unwrap_or(sequence + 1);
        let mut records = Vec::new();
        loop {
            let mut range = self.on("XRANGE", part, "log");
            range.arg(format!("{from}-0")).arg("+").arg("COUNT").arg(BATCH);
            let read = reply::records(self.link.ask(&range).await?)?;
            let count = read.len();
            records.extend(
                read.into_iter()
                    .map(|(number, fields)| self.record(number, fields))
                    .filter(|record| record.sequence <= sequence),
            );
            match records.last() {
                Some(last) if count == BATCH => from = last.sequence + 1,
                _ => break,
            }
        }
        self.order(part).begin(sequence, records);
        Ok(())
    }

    async fn low(&self, part: u16) -> Result<Option<u64>, StoreError> {
        let mut low = self.on("ZRANGE", part, "pending");
        low.arg(0).arg(0);
        Ok(reply::numbers(self.link.ask(&low).await?)?.first().copied())
    }

    pub(super) fn record(&self, sequence: u64, fields: Vec<(String, Vec<u8>)>) -> Record {
        let (mut id, mut written) = (0, Vec::new());
        for (name, value) in fields {
            match name.as_str() {
                "k" => id = String::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or_default(),
                "d" => written = value,
                _ => {}
            }
        }
        let change = changes::read(written.clone(), id, &self.vault);
        if change.is_none() {
            tracing::error!(
                sequence,
                "a change of another node cannot be read; what was stored before it is not served until it is swept"
            );
        }
        Record { sequence, id, change, written }
    }

    /// Applies every change there is, when `told`, which is what the engine just said, differs from what is applied.
    pub(super) async fn catch_up(&self, part: u16, told: Option<u64>) -> Result<(), StoreError> {
        let order = self.order(part);
        if told == Some(order.applied()) {
            return Ok(());
        }
        let _moving = order.moving.lock().await;
        if told.is_some_and(|told| told == order.applied()) {
            return Ok(());
        }
        for _ in 0..PATIENCE {
            let from = order.applied() + 1;
            let answer = reply::array(self.call(&scripts::CHANGES, part, (from, BATCH)).await?)?;
            if self.take(part, answer).await? {
                return Ok(());
            }
        }
        Err(StoreError::Unreachable("changes come faster than they can be read".to_owned()))
    }

    /// Applies `[number of the last change, the first that is not swept, changes...]`; whether that is all. The order's
    /// position does not move meanwhile.
    pub(super) async fn take(&self, part: u16, answer: Vec<Value>) -> Result<bool, StoreError> {
        let order = self.order(part);
        let mut answer = answer.into_iter();
        let mut next = || answer.next().unwrap_or(Value::Nil);
        let Some(sequence) = reply::number(next())? else {
            tracing::warn!(part, "the engine has lost its order of changes: flushed, or restarted without its data");
            let (sequence, _) = self.begin_order(part, order.applied()).await?;
            self.lose(part, sequence).await?;
            return Ok(true);
        };
        let _low = next();
        if sequence < order.applied() {
            self.assert(part, sequence).await?;
            return Ok(false);
        }
        let read = reply::records(next())?;
        if read.is_empty() && sequence > order.applied() {
            self.lose(part, sequence).await?;
            return Ok(true);
        }
        for (number, fields) in read {
            if number <= order.applied() {
                continue;
            }
            if number != order.applied() + 1 {
                self.lose(part, sequence).await?;
                return Ok(true);
            }
            let record = self.record(number, fields);
            self.apply(&record);
            order.pass(record);
        }
        Ok(order.applied() >= sequence)
    }

    fn apply(&self, record: &Record) {
        if !self.is_news(record.id) {
            return;
        }
        let Some(derived) = self.derived() else { return };
        match &record.change {
            Some(change) => derived.apply(change),
            None => {
                derived.lost();
                self.must_reload();
            }
        }
    }

    fn is_news(&self, id: ChangeId) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *seen;
        if !known.insert(id) {
            return false;
        }
        order.push_back(id);
        if order.len() > SEEN
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }

    /// Changes were missed: whatever is held may be purged.
    async fn lose(&self, part: u16, sequence: u64) -> Result<(), StoreError> {
        tracing::warn!(part, "changes of other nodes were missed; what is held in memory is given up");
        if let Some(derived) = self.derived() {
            derived.lost();
            self.must_reload();
        }
        self.start_over(part, sequence).await
    }

    /// The engine knows fewer changes than this node: a failover lost some. They are told again.
    async fn assert(&self, part: u16, sequence: u64) -> Result<(), StoreError> {
        let order = self.order(part);
        let missing = order.beyond(sequence);
        tracing::warn!(part, changes = missing.len(), "a failover lost changes; they are told again");
        if let Some(derived) = self.derived() {
            derived.lost();
            self.must_reload();
        }
        let mut args: Vec<Vec<u8>> = Vec::new();
        for record in &missing {
            let swept = record.change.as_ref().is_none_or(|change| change.purge().is_some());
            args.extend([
                record.sequence.to_string().into(),
                record.id.to_string().into(),
                record.written.clone(),
                u8::from(swept).to_string().into(),
            ]);
        }
        if missing.is_empty() {
            // Nothing is remembered of what is missing: the order goes on above it.
            let (sequence, _) = self.raise(part, order.applied()).await?;
            return self.start_over(part, sequence).await;
        }
        let told =
            reply::number(self.call(&scripts::ASSERT, part, args).await?)?.ok_or_else(|| reply::odd("a position"))?;
        self.start_over(part, told).await
    }

    async fn raise(&self, part: u16, least: u64) -> Result<(u64, u64), StoreError> {
        let mut set = self.on("SET", part, "seq");
        set.arg(least + 1);
        self.link.ask(&set).await?;
        self.begin_order(part, least).await
    }

    /// The entry under a fingerprint or an id as every change leaves it, and whether another wording led to it.
    pub(super) async fn read(&self, sought: Sought) -> Result<Option<(Entry, bool)>, StoreError> {
        self.ready()?;
        let (part, args) = match sought {
            Sought::Fingerprint(fingerprint) => (self.part_of(&fingerprint), ("f", fingerprint.to_hex())),
            Sought::Id(id) => (self.part_of_id(id), ("i", id.0.to_string())),
        };
        let mut answer = reply::array(self.call(&scripts::FIND, part, args).await?)?.into_iter();
        let mut next = || answer.next().unwrap_or(Value::Nil);
        let Some(sequence) = reply::number(next())? else {
            self.catch_up(part, None).await?;
            return Ok(None);
        };
        let low = reply::number(next())?;
        self.catch_up(part, Some(sequence)).await?;
        self.ready()?;
        let Some(pointer) = reply::text(next())? else { return Ok(None) };
        let via_alias = pointer.starts_with('a');
        let id = EntryId(pointer.trim_start_matches('a').parse().map_err(|_| reply::odd("an id"))?);
        if self.part_of_id(id) != part {
            let elsewhere = Box::pin(self.read(Sought::Id(id))).await?;
            return Ok(elsewhere.map(|(entry, _)| (entry, true)));
        }
        let stored = Stored::of(id, next(), next())?;
        if stored.is_remnant() {
            let args = vec![self.node.clone(), self.terms.news_kept.to_string(), id.0.to_string()];
            self.call(&scripts::VANISHED, part, args).await?;
        }
        let admitted = stored.sequence;
        let Some(mut entry) = stored.open(&self.vault)? else { return Ok(None) };
        let from = low.unwrap_or(sequence + 1);
        if !self.order(part).remembers(from) {
            self.recall(part, from).await?;
        }
        match self.order(part).standing(&entry, admitted, from) {
            Standing::Gone => Ok(None),
            Standing::Stale(at) => {
                entry.invalidated_at = Some(entry.invalidated_at.map_or(at, |earlier| earlier.min(at)));
                Ok(Some((entry, via_alias)))
            }
            Standing::Good => Ok(Some((entry, via_alias))),
        }
    }

    /// Reads changes again that this node has forgotten, though they are not swept.
    async fn recall(&self, part: u16, from: u64) -> Result<(), StoreError> {
        let order = self.order(part);
        let _moving = order.moving.lock().await;
        if order.remembers(from) {
            return Ok(());
        }
        let applied = order.applied();
        self.start_over(part, applied).await
    }
}

/// What an entry is read by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sought {
    Fingerprint(Fingerprint),
    Id(EntryId),
}

/// Whether a change selects entries that have to be swept.
pub(super) fn sweeps(change: &Change) -> bool {
    change.purge().is_some()
}

/// Runs a script over `link`, teaching it to the engine where that does not know it.
pub(super) async fn call_over(
    link: &Link,
    code: &Code,
    key: &str,
    args: impl ToRedisArgs,
) -> Result<Value, StoreError> {
    let mut cmd = cmd("EVALSHA");
    cmd.arg(&code.hash).arg(1).arg(key).arg(&args);
    match link.ask(&cmd).await {
        Err(error) if lacks_script(&error) => {
            let mut cmd = redis::cmd("EVAL");
            cmd.arg(&code.text).arg(1).arg(key).arg(&args);
            link.ask(&cmd).await
        }
        answer => answer,
    }
}
