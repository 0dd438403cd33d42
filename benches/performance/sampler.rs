//! Times parts of the library in this process: operations in turns, in batches long enough for the clock.

use std::time::{Duration, Instant};

use crate::{
    figures::{Named, Round, median},
    load::Times,
    options::Options,
    rows::Row,
};

/// A batch takes about this long: the clock's own cost does not show in it.
const BATCH: Duration = Duration::from_micros(20);

/// An operation to time.
pub(crate) type Operation<'a> = dyn FnMut() -> anyhow::Result<()> + 'a;

/// Times `own`, beside `reference` in the same rounds, and returns the row of `named`.
pub(crate) fn row(
    options: &Options,
    named: Named,
    own: &mut Operation<'_>,
    mut reference: Option<&mut Operation<'_>>,
) -> anyhow::Result<Option<Row>> {
    options.tell(&named.title);
    // Parts are steadier than processes: a shorter time tells as much.
    let time = options.time / 2;
    let batch = batch(own)?;
    let other = reference.as_mut().map(|reference| self::batch(reference)).transpose()?.unwrap_or(1);
    let (mut rounds, mut tails) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let times = sample(own, batch, time)?;
        let held = reference.as_mut().map(|reference| sample(reference, other, time)).transpose()?;
        tails.push(times.quantile(0.99));
        rounds.push(Round { value: times.quantile(0.5), reference: held.map(|times| times.quantile(0.5)) });
    }
    Ok(named.row(&rounds).map(|row| Row { p99: median(tails), ..row }))
}

/// How many calls make a batch. The calls that find it out also warm up.
fn batch(operation: &mut Operation<'_>) -> anyhow::Result<u32> {
    let mut calls = 1;
    loop {
        let taken = repeat(operation, calls)?;
        if taken >= BATCH || calls >= 1 << 20 {
            return Ok(calls);
        }
        calls *= 2;
    }
}

fn sample(operation: &mut Operation<'_>, batch: u32, time: Duration) -> anyhow::Result<Times> {
    let until = Instant::now() + time;
    let mut micros = Vec::new();
    while micros.is_empty() || Instant::now() < until {
        micros.push(repeat(operation, batch)?.as_secs_f64() * 1e6 / f64::from(batch));
    }
    Ok(Times::of(micros))
}

fn repeat(operation: &mut Operation<'_>, calls: u32) -> anyhow::Result<Duration> {
    let start = Instant::now();
    (0..calls).try_for_each(|_| operation())?;
    Ok(start.elapsed())
}
