//! Background work around the request path: rebuilding the index, re-embedding, examples, reaping, watching policies.
//!
//! Each job runs under a name in `tasks` and ends at its next step when the gateway stops. None of them can make an
//! answer servable that the request path would refuse: they only fill derived copies and reclaim space.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, TryStreamExt, future, future::BoxFuture, stream};
use tokio_util::sync::CancellationToken;

use crate::{
    cache::Cache,
    clock::Timestamp,
    embed::{EmbedError, Embedder, shipped},
    freshness::AHEAD,
    gateway::Gateway,
    metrics::{Metrics, Reload, RemovalCause},
    policy::{By, Examples, PolicyDirectory, PolicyEvent, PolicySet},
    similarity::Embedding,
    store::{Expired, Page, StoreError, Upkeep},
};

/// Vectors read from the store at a time.
const PAGE: u32 = 4096;
/// Entries removed in one go, so that reaping never holds the writer for long.
const REAP_BATCH: u32 = 512;
/// Time between two rounds of reaping.
const REAP_EVERY: Duration = Duration::from_secs(30);
/// Time between two rounds of tidying a shared store.
const TIDY_EVERY: Duration = Duration::from_secs(10);
/// Examples embedded at a time: enough to keep every worker busy, few enough that none waits long.
const EXAMPLES_AT_A_TIME: usize = 4;
/// Pause before examples are tried again.
const LEARN_AGAIN: Duration = Duration::from_millis(500);
/// Entries re-embedded between two lines of progress.
const PROGRESS_EVERY: usize = 1000;

/// Fills the index with the vectors that `embedder` made. Returns how many. While a page is put into the index the next
/// one is read.
pub async fn rebuild_index(store: &dyn Upkeep, cache: &Cache, embedder: &str) -> Result<usize, StoreError> {
    let mut count = 0;
    let mut page = store.vectors(None, PAGE).await?;
    loop {
        let Page { items, next } = page;
        let indexing = async {
            for vector in items.iter().filter(|vector| vector.embedder == embedder) {
                cache.index().insert(vector.partition, vector.id, &vector.embedding);
                count += 1;
            }
        };
        let reading = async {
            match next {
                Some(_) => store.vectors(next, PAGE).await.map(Some),
                None => Ok(None),
            }
        };
        // The reading is polled first, so that it is under way.
        match future::join(reading, indexing).await {
            (Ok(Some(following)), ()) => page = following,
            (Ok(None), ()) => return Ok(count),
            (Err(error), ()) => return Err(error),
        }
        if count.is_multiple_of(PROGRESS_EVERY * 100) && count > 0 {
            tracing::info!(vectors = count, "filling the index");
        }
    }
}

/// Gives entries of another embedder a vector of this one; until then they are found exactly only, never mixed.
pub async fn re_embed(store: Arc<dyn Upkeep>, cache: Arc<Cache>, embedder: Arc<dyn Embedder>, stop: CancellationToken) {
    let mut done = 0usize;
    let mut after = None;
    'pages: while !stop.is_cancelled() {
        let page = match store.unembedded(embedder.fingerprint().to_owned(), after, PAGE).await {
            Ok(page) => page,
            Err(error) => return tracing::warn!(reason = error.reason(), %error, "re-embedding stopped"),
        };
        for item in page.items {
            if stop.is_cancelled() {
                return;
            }
            match embedder.embed(&item.query).await {
                Ok(vector) => {
                    let Ok(Some(entry)) = cache.get(item.id).await else { continue };
                    let fingerprint = embedder.fingerprint().to_owned();
                    if let Err(error) = store.set_embedding(item.id, fingerprint, vector.clone()) {
                        tracing::debug!(reason = error.reason(), "re-embedding waits");
                        tokio::time::sleep(LEARN_AGAIN).await;
                        continue 'pages;
                    }
                    cache.index().insert(entry.partition, item.id, &vector);
                    done += 1;
                    if done.is_multiple_of(PROGRESS_EVERY) {
                        tracing::info!(done, "re-embedding with the new model");
                    }
                }
                Err(EmbedError::TooLong { .. }) => {}
                // Requests come first; this one is taken up again from its page's beginning.
                Err(error) => {
                    tracing::debug!(reason = error.reason(), "re-embedding waits");
                    tokio::time::sleep(LEARN_AGAIN).await;
                    continue 'pages;
                }
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if done > 0 {
        tracing::info!(done, "re-embedding finished");
    }
}

/// Follows the other nodes of a shared store until the gateway stops.
pub async fn follow(cache: Arc<Cache>, embedder: String, metrics: Arc<Metrics>, stop: CancellationToken) {
    let store = Arc::clone(cache.store());
    let Some(shared) = store.shared() else { return };
    let mut last = tokio::time::Instant::now();
    let mut is_told = false;
    // At most one at a time: what is cut off meanwhile is behind it.
    let mut filling: Option<BoxFuture<'_, ()>> = None;
    loop {
        let began = tokio::time::Instant::now();
        let behind = match cache.follow().await {
            Ok(followed) => {
                if followed.resync {
                    metrics.feed_resync();
                    filling = Some(fill_anew(&cache, &embedder).boxed());
                }
                if std::mem::replace(&mut is_told, false) {
                    tracing::info!("the shared store answers again");
                }
                if followed.behind == 0 {
                    last = began;
                }
                followed.behind
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(reason = error.reason(), %error, "the other nodes are not followed");
                }
                0
            }
        };
        metrics.set_feed(last.elapsed(), behind, shared.is_reachable());
        if behind > 0 {
            continue;
        }
        let rest = tokio::time::sleep(shared.pace());
        tokio::pin!(rest);
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    shared.leave().await;
                    return;
                }
                () = &mut rest => break,
                () = async { if let Some(filling) = &mut filling { filling.await } }, if filling.is_some() => filling = None,
            }
        }
    }
}

/// Fills the index from the store while it goes on being followed.
async fn fill_anew(cache: &Cache, embedder: &str) {
    tracing::warn!("this node lagged so far that news of other nodes were cut off; its index is filled anew");
    match rebuild_index(cache.store().as_ref(), cache, embedder).await {
        Ok(vectors) => tracing::info!(vectors, "the index is filled anew"),
        Err(error) => tracing::warn!(reason = error.reason(), %error, "the index is not filled anew"),
    }
}

/// Finishes what other nodes left half done when they died.
pub async fn tidy(store: Arc<dyn Upkeep>, stop: CancellationToken) {
    let Some(shared) = store.shared() else { return };
    let mut tick = tokio::time::interval(TIDY_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = shared.tidy().await {
            tracing::debug!(reason = error.reason(), %error, "the shared store is not tidied");
        }
    }
}

/// The vectors of the policies' examples: those that come with the program, those kept in the store, and the rest made.
pub async fn learn_examples(
    store: &dyn Upkeep,
    embedder: &dyn Embedder,
    policies: &PolicySet,
) -> Result<Examples, EmbedError> {
    let wanted: Vec<(String, String)> =
        policies.example_texts().map(|(category, text)| (category.to_owned(), text.to_owned())).collect();
    let texts = wanted.iter().map(|(_, text)| text.clone()).collect();
    let kept = store.example_vectors(embedder.fingerprint().to_owned(), texts).await.unwrap_or_else(|error| {
        tracing::warn!(reason = error.reason(), %error, "example vectors not read");
        vec![None; wanted.len()]
    });
    let making = wanted.into_iter().zip(kept).map(|((category, text), kept)| async move {
        let (vector, is_new) = match shipped::vector_of(&text, embedder.fingerprint()).or(kept) {
            Some(vector) => (vector, false),
            None => (embedder.embed(&text).await?, true),
        };
        Ok::<_, EmbedError>((category, text, vector, is_new))
    });
    let made: Vec<_> = stream::iter(making).buffered(EXAMPLES_AT_A_TIME).try_collect().await?;
    let fresh = made.iter().filter(|(.., is_new)| *is_new).map(|(_, text, vector, _)| (text.clone(), vector.clone()));
    let fresh: Vec<(String, Embedding)> = fresh.collect();
    let examples = made.into_iter().map(|(category, text, vector, _)| (category, text, vector)).collect();
    if !fresh.is_empty()
        && let Err(error) = store.keep_example_vectors(embedder.fingerprint().to_owned(), fresh)
    {
        tracing::debug!(reason = error.reason(), "example vectors not kept");
    }
    Ok(Examples::new(policies, embedder.fingerprint(), examples))
}

/// Reclaims what today's policies will never serve again, and the least used beyond the disk budget.
pub async fn reap(gateway: Arc<Gateway>, store: Arc<dyn Upkeep>, budget: u64, stop: CancellationToken) {
    let mut tick = tokio::time::interval(REAP_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if let Err(error) = reap_once(&gateway, store.as_ref(), budget).await {
            tracing::warn!(reason = error.reason(), %error, "reaping failed");
        }
    }
}

/// One round of [`reap`].
pub async fn reap_once(gateway: &Gateway, store: &dyn Upkeep, budget: u64) -> Result<(), StoreError> {
    let parts = gateway.parts();
    let policies = parts.policies.current();
    let now = parts.clock.now();
    store.touch(parts.cache.take_used(), now)?;
    gateway.lift_expired_bans().await?;
    for (category, _) in store.categories().await? {
        let expired = expired(&policies, category, now);
        loop {
            let gone = store.reap(expired.clone(), REAP_BATCH).await?;
            parts.cache.forget(&gone, true);
            parts.metrics.removed(RemovalCause::Expired, gone.len() as u64);
            if gone.len() < REAP_BATCH as usize {
                break;
            }
        }
    }
    loop {
        let gone = store.evict_to(budget, REAP_BATCH).await?;
        parts.cache.forget(&gone, true);
        parts.metrics.removed(RemovalCause::Evicted, gone.len() as u64);
        if gone.is_empty() {
            return Ok(());
        }
    }
}

fn expired(policies: &PolicySet, category: String, now: Timestamp) -> Expired {
    let freshness = policies.get(&category).unwrap_or_else(|| policies.default_policy()).freshness;
    let stale = freshness.longest_stale();
    Expired {
        category,
        generated_before: now.minus(freshness.ttl.saturating_add(stale)),
        generated_after: now.plus(AHEAD),
        invalidated_before: now.minus(stale),
    }
}

/// Follows edits of the policy files; a set with any problem changes nothing.
pub async fn watch_policies(
    gateway: Arc<Gateway>,
    directory: Arc<PolicyDirectory>,
    store: Arc<dyn Upkeep>,
    stop: CancellationToken,
) {
    let (changed, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let policies = Arc::clone(&gateway.parts().policies);
    let watching = policies.watch(directory.path(), stop.clone(), |event| {
        report(&event);
        gateway.parts().metrics.policy_reload(match event {
            PolicyEvent::Reloaded(_) => Reload::Accepted,
            PolicyEvent::Refused(_) => Reload::Refused,
        });
        if matches!(event, PolicyEvent::Reloaded(_)) {
            gateway.policies_changed();
            // The receiver lives as long as this function.
            let _ = changed.send(());
        }
    });
    let learning = async {
        while changes.recv().await.is_some() {
            directory.noticed(&policies, By::File, gateway.parts().clock.now()).await;
            learn_until_warm(Arc::clone(&gateway), Arc::clone(&store), stop.clone()).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = learning => {}
    }
}

fn report(event: &PolicyEvent) {
    match event {
        PolicyEvent::Reloaded(set) => tracing::info!(revision = set.revision(), "policies reloaded"),
        PolicyEvent::Refused(problems) => {
            for problem in problems {
                tracing::error!(file = problem.file, line = problem.line, key = problem.key, "{}", problem.message);
            }
            tracing::error!(problems = problems.len(), "policy edit refused, the old policies stay in force");
        }
    }
}

/// Makes the example vectors of today's policies; on failure the old ones go on.
pub async fn relearn(gateway: &Gateway, store: &dyn Upkeep) {
    let parts = gateway.parts();
    let policies = parts.policies.current();
    match learn_examples(store, parts.embedder.as_ref(), &policies).await {
        Ok(examples) => gateway.learn_examples(policies.revision(), examples),
        Err(error) => tracing::warn!(reason = error.reason(), %error, "policy examples have no vectors yet"),
    }
}

/// Tries [`relearn`] until it works: without examples, questions that no rule decides go upstream uncached.
pub async fn learn_until_warm(gateway: Arc<Gateway>, store: Arc<dyn Upkeep>, stop: CancellationToken) {
    loop {
        relearn(&gateway, store.as_ref()).await;
        if gateway.is_warm() {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LEARN_AGAIN) => {}
        }
    }
}
