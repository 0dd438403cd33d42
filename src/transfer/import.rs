//! Lines into a gateway: each is read, held against the rules and the purges of the past, and stored where it is found at
//! once.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};

use super::{
    export::key_mark,
    line::{self, Beside, Line, MovedLine, WrittenLine},
    moment, request,
    tally::Tally,
};
use crate::{
    cache::Epoch,
    clock::Timestamp,
    entry::Entry,
    gateway::{
        Gateway,
        warm::{Brought, NotBrought, Written},
    },
    key::Fingerprint,
    policy::Sharing,
    store::{
        StoreError,
        transfer::{Cover, PastPurge},
    },
};

/// Lines prepared at a time: enough to keep every worker of the embedder busy, few enough that no request waits long.
const AT_A_TIME: usize = 4;
/// Bytes and writes that may wait in the store's queue before they are waited for.
const QUEUED_BYTES: usize = 8 << 20;
/// See [`QUEUED_BYTES`].
const QUEUED_WRITES: usize = 512;
/// How often a vector is asked for again, and how long after.
const TRIES: usize = 8;
/// See [`TRIES`].
const PAUSE: Duration = Duration::from_millis(500);
/// Why pairs of an import are blocked.
const BLOCKED_BY: &str = "imported";

/// An import under way.
#[derive(Debug)]
pub struct Importer {
    gateway: Arc<Gateway>,
    dry_run: bool,
    began: Epoch,
    now: Timestamp,
    /// Oldest first.
    purges: Vec<PastPurge>,
    key: String,
}

/// An entry ready to be stored.
#[derive(Debug)]
struct Ready {
    entry: Entry,
    beside: Beside,
}

impl Importer {
    /// Begins an import; with `dry_run` nothing is stored.
    ///
    /// # Errors
    /// What the store said.
    pub async fn begin(gateway: Arc<Gateway>, dry_run: bool) -> Result<Arc<Self>, StoreError> {
        let parts = gateway.parts();
        let (began, now) = (parts.cache.epoch(), parts.clock.now());
        // A purge is in the trail read here, or arrives after `began` and is known to the cache.
        parts.cache.store().flush().await?;
        let purges = parts.cache.store().past_purges().await?;
        let key = key_mark(&parts.principal_key);
        Ok(Arc::new(Self { gateway, dry_run, began, now, purges, key }))
    }

    /// Takes the next lines; errors count from 1 within them. What was stored is on disk when it returns.
    ///
    /// # Errors
    /// What the store said, when nothing more can be stored.
    pub async fn take(self: &Arc<Self>, lines: Vec<String>) -> Result<Tally, StoreError> {
        let mut tally = Tally::default();
        let numbered: Vec<(String, u64)> = lines.into_iter().zip(1..).collect();
        let importer = Arc::clone(self);
        let preparing = numbered.into_iter().filter(|(text, _)| !text.trim().is_empty()).map(move |(text, number)| {
            let importer = Arc::clone(&importer);
            async move { (number, Box::pin(importer.prepare(&text)).await) }
        });
        let mut prepared = stream::iter(preparing).buffered(AT_A_TIME);
        let (mut bytes, mut writes) = (0, 0);
        while let Some((number, ready)) = prepared.next().await {
            tally.lines += 1;
            let mut failure = None;
            for ready in ready {
                let brought = match ready {
                    Ok(ready) => {
                        bytes += ready.entry.weight();
                        writes += 1 + ready.beside.aliases.len();
                        self.bring(ready).await
                    }
                    Err(message) => Err(message),
                };
                match brought {
                    Ok(brought) => tally.count(brought),
                    Err(message) => failure = failure.or(Some(message)),
                }
            }
            if let Some(message) = failure {
                tally.fail(number, message);
            }
            if bytes > QUEUED_BYTES || writes > QUEUED_WRITES {
                self.flush().await?;
                (bytes, writes) = (0, 0);
            }
        }
        self.flush().await?;
        Ok(tally)
    }

    async fn flush(&self) -> Result<(), StoreError> {
        if self.dry_run { Ok(()) } else { self.gateway.parts().cache.store().flush().await }
    }

    /// What a line holds: one entry, or one for each protocol and model that it names.
    async fn prepare(&self, text: &str) -> Vec<Result<Ready, String>> {
        match Line::parse(text) {
            Ok(Line::Moved(line)) => vec![self.moved(*line).await],
            Ok(Line::Written(line)) => self.written(&line).await,
            Err(message) => vec![Err(message)],
        }
    }

    async fn moved(&self, line: MovedLine) -> Result<Ready, String> {
        let ours = line.is_of(&self.key);
        if !ours && self.sharing_of(line.category()) == Sharing::Credential {
            return Err(
                "made under another principal.key, so nobody could find it here; copy that gateway's principal.key into this data directory before its first start"
                    .to_owned(),
            );
        }
        let (mut entry, mut beside) = line.into_entry()?;
        if !ours {
            // Under this node's key nobody is that principal; an erasure takes what is nobody's.
            entry.principal = None;
        }
        self.hold_against_purges(&mut entry)?;
        let entry = patiently(|| self.gateway.moved(entry.clone())).await?;
        if entry.query.is_none() {
            // Other wordings were accepted by its meaning.
            beside.aliases.clear();
        }
        Ok(Ready { entry, beside })
    }

    fn sharing_of(&self, category: &str) -> Sharing {
        let policies = self.gateway.parts().policies.current();
        policies.get(category).unwrap_or_else(|| policies.default_policy()).reuse.scope
    }

    async fn written(&self, line: &WrittenLine) -> Vec<Result<Ready, String>> {
        let written = match self.written_of(line) {
            Ok(written) => written,
            Err(message) => return vec![Err(message)],
        };
        let mut ready = Vec::with_capacity(written.len());
        for written in written {
            ready.push(self.write(&written).await);
        }
        ready
    }

    async fn write(&self, written: &Written) -> Result<Ready, String> {
        let mut entry = patiently(|| self.gateway.written(written)).await?;
        self.hold_against_purges(&mut entry)?;
        Ok(Ready { entry, beside: Beside::default() })
    }

    /// The answers of a written line, one for each protocol and model.
    fn written_of(&self, line: &WrittenLine) -> Result<Vec<Written>, String> {
        if line.question.trim().is_empty() || line.answer.trim().is_empty() {
            return Err("question and answer must not be empty".to_owned());
        }
        if line.model.is_empty() || line.model.iter().any(|model| matches!(model.trim(), "" | "*")) {
            return Err(
                "model: name the model that clients ask for, or several in a list; an answer is found only under the name that a request gives"
                    .to_owned(),
            );
        }
        let owner = request::owner(line)?;
        let generated_at = line.generated_at.as_deref().map(moment::parse).transpose();
        let generated_at = generated_at.map_err(|error| format!("generated_at: {error}"))?.unwrap_or(self.now);
        let families: Vec<&str> = line.family.iter().map(String::as_str).collect();
        let families = if families.is_empty() { vec!["chat"] } else { families };
        let mut written = Vec::new();
        for name in families {
            let family = request::family(name)?;
            for model in &line.model {
                written.push(Written {
                    call: request::call(line, family, model)?,
                    owner: owner.clone(),
                    category: line.category.clone(),
                    answer: request::answer(line, family, model, generated_at),
                    generated_at,
                    tags: request::labels(line),
                    sources: line::sources(&line.sources)?,
                });
            }
        }
        Ok(written)
    }

    /// Refuses what a purge has removed, and makes stale what one has made stale.
    fn hold_against_purges(&self, entry: &mut Entry) -> Result<(), String> {
        let nobodys = self.gateway.is_nobodys(entry);
        for purge in self.purges.iter().rev().take_while(|purge| purge.at >= entry.generated_at) {
            let when = || moment::text(purge.at).unwrap_or_default();
            match purge.covers(entry, nobodys) {
                Cover::No => {}
                Cover::Yes if purge.is_hard => return Err(format!("purged on {}, after it was generated", when())),
                Cover::Yes => {
                    let earlier = entry.invalidated_at.map_or(purge.at, |at| at.min(purge.at));
                    entry.invalidated_at = Some(earlier);
                }
                Cover::Perhaps => {
                    return Err(format!(
                        "generated before the purge of {}, of which it is not known any more whether it covered this one (an erasure of a person names nobody)",
                        when()
                    ));
                }
            }
        }
        Ok(())
    }

    async fn bring(&self, ready: Ready) -> Result<Brought, String> {
        let Ready { entry, beside } = ready;
        let (brought, there) = self.gateway.would_bring(&entry).await.map_err(in_words)?;
        if self.dry_run {
            return Ok(brought);
        }
        let of_own = entry.fingerprint;
        let stored = match brought {
            Brought::New | Brought::Replaced => Some(self.gateway.bring_in(entry, self.began).await.map_err(in_words)?),
            // An import that was cut off may have left it without its other wordings.
            Brought::There => there.filter(|there| there.generated_at == entry.generated_at),
            Brought::Expired => None,
        };
        if let Some(stored) = stored {
            self.block(of_own, &beside.blocked).await?;
            for wordings in beside.aliases.chunks(QUEUED_WRITES) {
                wordings.iter().for_each(|wording| self.gateway.parts().cache.alias(*wording, &stored));
                self.make_room(wordings.len()).await?;
            }
        }
        Ok(brought)
    }

    /// Waits for the store's queue after so many writes that it could be full of them.
    async fn make_room(&self, writes: usize) -> Result<(), String> {
        match writes {
            QUEUED_WRITES.. => self.flush().await.map_err(|error| in_words(NotBrought::Store(error))),
            _ => Ok(()),
        }
    }

    async fn block(&self, own: Fingerprint, others: &[Fingerprint]) -> Result<(), String> {
        let parts = self.gateway.parts();
        for other in others {
            if !parts.cache.is_blocked(own, *other) {
                let blocked = parts.cache.block(own, *other, BLOCKED_BY, parts.clock.now()).await;
                blocked.map_err(|error| in_words(NotBrought::Store(error)))?;
            }
        }
        Ok(())
    }
}

/// Tries again where the embedder has too much to do: requests come first.
async fn patiently<F: Future<Output = Result<Entry, NotBrought>>>(make: impl Fn() -> F) -> Result<Entry, String> {
    let mut tries = 0;
    loop {
        match make().await {
            Err(NotBrought::NoVector(_)) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            made => return made.map_err(in_words),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn in_words(error: NotBrought) -> String {
    error.to_string()
}
