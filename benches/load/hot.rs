//! One question asked by thousands at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;

use crate::{
    Options,
    client::{client, start, text},
    gateway::Gateway,
    line,
    upstream::{Upstream, mark},
};

/// Words of the answer, the time before the first and the pause before each: some four seconds.
const WORDS: usize = 60;
const THINKS: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
const QUESTION: &str = "What happened at the opening ceremony?";
const ALONE: &str = "Who won the final?";
/// Clients of one connection pool.
const POOL: usize = 500;

/// What one client saw.
enum Seen {
    /// Seconds to the first byte of the body, the text, and whether it came as a stream.
    Answer(f64, String, bool),
    Left,
}

/// How a client behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Reads,
    Slow,
    Leaves,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let upstream = Upstream::start(WORDS, THINKS, PAUSE).await?;
    let gateway = Arc::new(start(upstream.address)?);
    let expected =
        format!("{}{}", mark("sk-hot", QUESTION), (0..WORDS).map(|n| format!(" word{n}")).collect::<String>());

    // One alone, on another question: what a flight costs without a crowd.
    let alone = ask(&gateway, &client()?, ALONE, true, Manner::Reads).await?;
    let Seen::Answer(alone_first, ..) = alone else { anyhow::bail!("the first client left") };
    let alone_memory = gateway.mebibytes("VmHWM")?;

    let pools = connect(&gateway, options.clients).await?;
    let connected_memory = gateway.mebibytes("VmHWM")?;

    let before = upstream.calls();
    let started = Instant::now();
    let mut running = Vec::new();
    for number in 0..options.clients {
        let (gateway, pool) = (Arc::clone(&gateway), pools[number / POOL].clone());
        let manner = match number % 20 {
            // The very first is the leader's own client, and leaves.
            0 => Manner::Leaves,
            1 => Manner::Slow,
            _ => Manner::Reads,
        };
        running.push(tokio::spawn(async move { ask(&gateway, &pool, QUESTION, number % 2 == 0, manner).await }));
    }
    let (mut served, mut left, mut first, mut wrong) = (0, 0, Vec::new(), 0);
    for client in running {
        match client.await?? {
            Seen::Answer(after, text, stream) => {
                served += 1;
                if stream {
                    first.push(after);
                }
                wrong += usize::from(text != expected);
            }
            Seen::Left => left += 1,
        }
    }
    first.sort_by(f64::total_cmp);
    let at = |share: f64| first.get(((first.len() - 1) as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let peak = gateway.mebibytes("VmHWM")?;
    line(&format!("clients          {} ({left} left, {served} read to the end)", options.clients));
    line(&format!("upstream calls   {}", upstream.calls() - before));
    line(&format!("other texts      {wrong}"));
    line(&format!("all served       {:.1} s after the first asked", started.elapsed().as_secs_f64()));
    line(&format!(
        "first token      streams: p50 {:.2} s, p99 {:.2} s; one alone {alone_first:.2} s",
        at(0.5),
        at(0.99)
    ));
    line(&format!(
        "memory at most   {peak:.0} MiB; one alone {alone_memory:.0} MiB (ratio {:.2}); the same connections, each served a \
         hit before, {connected_memory:.0} MiB (ratio {:.2})",
        peak / alone_memory,
        peak / connected_memory
    ));
    ensure!(upstream.calls() - before == 1, "more than one upstream call");
    ensure!(wrong == 0, "not all texts are equal");
    Ok(())
}

/// As many connections, each served a hit: what they cost by themselves.
async fn connect(gateway: &Arc<Gateway>, clients: usize) -> anyhow::Result<Vec<reqwest::Client>> {
    let pools: Vec<_> = (0..clients.div_ceil(POOL)).map(|_| client()).collect::<Result<_, _>>()?;
    let mut opening = Vec::new();
    for number in 0..clients {
        let (gateway, pool) = (Arc::clone(gateway), pools[number / POOL].clone());
        opening.push(tokio::spawn(async move { ask(&gateway, &pool, ALONE, false, Manner::Reads).await }));
    }
    for client in opening {
        client.await??;
    }
    Ok(pools)
}

async fn ask(
    gateway: &Gateway,
    client: &reqwest::Client,
    question: &str,
    stream: bool,
    manner: Manner,
) -> anyhow::Result<Seen> {
    let asked = Instant::now();
    let mut response = gateway.chat(client, "sk-hot", question, stream).send().await?;
    ensure!(response.status() == 200, "status {}", response.status());
    let (mut body, mut first) = (Vec::new(), None);
    while let Some(chunk) = response.chunk().await? {
        first.get_or_insert_with(|| asked.elapsed().as_secs_f64());
        body.extend_from_slice(&chunk);
        match manner {
            Manner::Leaves => return Ok(Seen::Left),
            Manner::Slow => tokio::time::sleep(PAUSE * 3).await,
            Manner::Reads => {}
        }
    }
    Ok(Seen::Answer(first.unwrap_or(f64::NAN), text(&String::from_utf8(body)?), stream))
}
