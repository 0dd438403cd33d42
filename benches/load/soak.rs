//! Mixed traffic for a long time: memory and files must reach a level and stay there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use serde_json::json;

use crate::{
    Options,
    client::{client, start},
    line,
    upstream::Upstream,
};

const WORKERS: usize = 8;
/// Between two requests of a worker, so that the run says something about time and not only about speed.
const PAUSE: Duration = Duration::from_millis(20);
/// Questions in circulation; new ones come at the same rate as old ones are purged.
const QUESTIONS: u64 = 2000;
/// Looks at memory and files.
const SAMPLES: u32 = 60;
/// The last third's memory may be above the second third's by this much.
const GROWTH: f64 = 1.05;

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let upstream = Upstream::start(200, Duration::ZERO, Duration::ZERO).await?;
    let gateway = Arc::new(start(upstream.address)?);
    let length = Duration::from_secs_f64(options.minutes * 60.0);
    let end = Instant::now() + length;
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let gateway = Arc::clone(&gateway);
        let mut random = fastrand::Rng::with_seed(options.seed.wrapping_mul(1000).wrapping_add(worker as u64));
        let client = client()?;
        workers.push(tokio::spawn(async move {
            let mut asked = 0u64;
            while Instant::now() < end {
                let key = format!("sk-soak-{}", random.u8(..5));
                let question = format!("What is on page {} of the manual?", random.u64(..QUESTIONS));
                let mut response = gateway.chat(&client, &key, &question, random.bool()).send().await?;
                ensure!(response.status() == 200, "status {}", response.status());
                let leaves = random.u8(..10) == 0;
                while let Some(chunk) = response.chunk().await? {
                    if leaves && !chunk.is_empty() {
                        break;
                    }
                }
                asked += 1;
                if random.u16(..2000) == 0 {
                    gateway.purge(&client, &json!({"older_than": "1m"})).await?;
                }
                tokio::time::sleep(PAUSE).await;
            }
            anyhow::Ok(asked)
        }));
    }
    let mut samples = Vec::new();
    for number in 1..=SAMPLES {
        tokio::time::sleep(length / (SAMPLES + 1)).await;
        let (memory, stored) = (gateway.mebibytes("VmRSS")?, gateway.stored()?);
        line(&format!(
            "{number:>3}/{SAMPLES}  memory {memory:.0} MiB, files {stored:.1} MiB, upstream calls {}",
            upstream.calls()
        ));
        samples.push((memory, stored));
    }
    let mut asked = 0;
    for worker in workers {
        asked += worker.await??;
    }
    let third = samples.len() / 3;
    let grown = |of: fn(&(f64, f64)) -> f64| {
        let most = |part: &[(f64, f64)]| part.iter().map(of).fold(0.0, f64::max);
        let (earlier, last) = samples.split_at(2 * third);
        most(last) / most(earlier.get(third..).unwrap_or_default())
    };
    let (grown, filled) = (grown(|sample| sample.0), grown(|sample| sample.1));
    line(&format!("requests         {asked}"));
    line(&format!("last third over second: memory {grown:.3}, files {filled:.3}"));
    let log = gateway.log();
    line(&format!("warnings logged  {}", log.lines().count()));
    ensure!(grown < GROWTH && filled < GROWTH, "it grows: {}", log.lines().last().unwrap_or_default());
    Ok(())
}
