//! Many principals, the same questions, purges between: no answer may reach another than it was made for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde_json::json;

use crate::{
    Options,
    client::{client, start, text},
    line,
    upstream::{Upstream, mark},
};

const PRINCIPALS: usize = 50;
const QUESTIONS: usize = 200;
/// Requests under way at a time.
const WORKERS: usize = 32;
/// One request in this many is followed by a purge of everything.
const PURGE_EVERY: usize = 100_000;
const PROGRESS_EVERY: usize = 100_000;

/// What all workers count.
#[derive(Debug, Default)]
struct Tally {
    done: AtomicUsize,
    hits: AtomicUsize,
    wrong: AtomicUsize,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let upstream = Upstream::start(20, Duration::ZERO, Duration::ZERO).await?;
    let gateway = Arc::new(start(upstream.address)?);
    let tally = Arc::new(Tally::default());
    let started = Instant::now();
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let (gateway, tally) = (Arc::clone(&gateway), Arc::clone(&tally));
        let mut random = fastrand::Rng::with_seed(options.seed.wrapping_mul(1000).wrapping_add(worker as u64));
        let client = client()?;
        workers.push(tokio::spawn(async move {
            loop {
                let number = tally.done.fetch_add(1, Ordering::Relaxed);
                if number >= options.requests {
                    return anyhow::Ok(());
                }
                let key = format!("sk-principal-{:02}", random.usize(..PRINCIPALS));
                let question = question(random.usize(..QUESTIONS));
                let response = gateway.chat(&client, &key, &question, random.bool()).send().await?;
                let status = response.status();
                let outcome = response.headers().get("x-semblance-cache").cloned();
                let body = response.text().await?;
                ensure!(status == 200, "status {status}: {body}");
                tally.hits.fetch_add(usize::from(outcome.is_some_and(|value| value == "hit-exact")), Ordering::Relaxed);
                if !text(&body).starts_with(&mark(&key, &question)) {
                    tally.wrong.fetch_add(1, Ordering::Relaxed);
                    line(&format!("WRONG: {key} asked {question:?} and got {}", text(&body)));
                }
                if number % PURGE_EVERY == PURGE_EVERY / 2 {
                    gateway.purge(&client, &json!({"all": true})).await?;
                }
                if number % PROGRESS_EVERY == 0 && number > 0 {
                    line(&format!("{number} requests, {:.0} s", started.elapsed().as_secs_f64()));
                }
            }
        }));
    }
    for worker in workers {
        worker.await??;
    }
    let (wrong, hits) = (tally.wrong.load(Ordering::Relaxed), tally.hits.load(Ordering::Relaxed));
    line(&format!(
        "requests         {} by {PRINCIPALS} principals over {QUESTIONS} questions, seed {}",
        options.requests, options.seed
    ));
    line(&format!("exact hits       {hits}; upstream calls {}", upstream.calls()));
    line(&format!("wrong answers    {wrong}"));
    ensure!(wrong == 0, "answers reached others than they were made for");
    Ok(())
}

/// Questions that differ in a number only: each is the others' near miss.
fn question(number: usize) -> String {
    format!("How long does a parcel to zone {number} take?")
}
