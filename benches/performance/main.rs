//! The performance report: every figure of the gateway beside the least that the same thing can cost on the same machine
//! in the same run.
//!
//! `cargo bench --bench performance` starts a bare hyper server, a bare hyper proxy, a small upstream, the models alone and
//! the real `semblance serve`, each in a process of its own on loopback, and drives them in turns: in every round each
//! target gets the same time, so what else the machine does falls on all of them. It prints a table and what changed
//! against `benches/baseline.json`, and writes `target/performance/report.json` and `report.html`.
//!
//! - `--only A,B` measures these sections: pass, hits, stream, semantic, miss, start, memory, micro; `none` measures
//!   nothing and shows what is merged.
//! - `--merge FILE` shows the rows of another benchmark or of an earlier report, too; may be given several times. What
//!   was measured now counts before what is merged.
//! - `--save-baseline` makes the rows the baseline; rows that were not measured stay as they are there. `--baseline FILE`
//!   compares with, and saves to, another file.
//! - `--json FILE` writes the JSON to a further place. `--strict` fails when a bar is missed.
//! - `--entries N` is the size of the store for the start over a full one, 100000 when not given, 0 for none.
//! - `--seconds S` is the time for each target, connections and round (0.5), `--rounds N` the number of rounds (9).
//! - `--quick` makes everything short: it shows that the benchmark works and measures nothing.
//!
//! A ratio is the median of the rounds' ratios. How to read the report is in `benches/README.md`.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark measures wall-clock time")]

mod alone;
mod figures;
mod floor;
#[path = "../shared/gateway.rs"]
mod gateway;
mod load;
mod meaning;
mod micro;
mod options;
mod page;
mod print;
mod process;
#[path = "../shared/rows.rs"]
mod rows;
mod sampler;
mod seed;
mod served;
mod startup;
mod verdict;

use std::{fs, process::ExitCode};

use anyhow::Context;
use serde::Serialize;

use options::Options;
use rows::{File, Row};
use verdict::{Change, Standing};

/// The report as it is written: a file of rows, and what became of them.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    file: &'a File,
    rounds: usize,
    seconds: f64,
    quick: bool,
    /// Empty when there is no baseline.
    changes: &'a [Change],
}

fn main() -> ExitCode {
    let result = Options::parse(std::env::args().skip(1)).and_then(|options| match options.role.as_deref() {
        Some(alone::ROLE) => alone::run().map(|()| true),
        Some(role) => floor::run(&floor::Role::from_arg(role)?).map(|()| true),
        None => report(&options),
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            print::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Measures, compares, prints and writes; false when a bar is missed that must not be.
fn report(options: &Options) -> anyhow::Result<bool> {
    let mut rows = [served::measure, meaning::measure, startup::measure, micro::measure]
        .into_iter()
        .map(|measure| measure(options))
        .collect::<anyhow::Result<Vec<_>>>()?
        .concat();
    let machine = rows::machine();
    for path in &options.merge {
        let merged = File::read(path)?;
        if merged.machine != machine {
            print::line(&format!("{} was measured elsewhere ({})", path.display(), merged.machine));
        }
        add_missing(&mut rows, merged.rows);
    }
    let file = File { machine, rows };
    let baseline = options.baseline.exists().then(|| File::read(&options.baseline)).transpose()?;
    let changes = baseline.as_ref().map(|baseline| verdict::changes(&file, baseline)).unwrap_or_default();
    print::table(&file.rows);
    if baseline.is_some() {
        print::changes(&changes);
    }
    write(options, &file, &changes)?;
    if options.save {
        save(options, &file, baseline)?;
    }
    let short = file.rows.iter().filter(|row| verdict::standing(row) == Standing::Short).count();
    print::line(&format!("bars missed: {short}"));
    Ok(short == 0 || !options.strict)
}

/// Adds the rows whose id is not there yet.
fn add_missing(rows: &mut Vec<Row>, more: Vec<Row>) {
    for row in more {
        if rows.iter().all(|known| known.id != row.id) {
            rows.push(row);
        }
    }
}

fn write(options: &Options, file: &File, changes: &[Change]) -> anyhow::Result<()> {
    let seconds = options.time.as_secs_f64();
    let report = Report { file, rounds: options.rounds, seconds, quick: options.quick, changes };
    let json = serde_json::to_string_pretty(&report)? + "\n";
    let directory = Options::directory()?;
    fs::create_dir_all(&directory)?;
    let [to, page] = ["report.json", "report.html"].map(|name| directory.join(name));
    for path in [&to].into_iter().chain(&options.json) {
        fs::write(path, &json).with_context(|| format!("writing {}", path.display()))?;
    }
    fs::write(&page, page::page(options, file, changes))?;
    print::line(&format!("\n{}\n{}", to.display(), page.display()));
    Ok(())
}

/// What was measured becomes the baseline; what was not stays in it, if it was measured on this machine.
fn save(options: &Options, file: &File, before: Option<File>) -> anyhow::Result<()> {
    let mut rows = file.rows.clone();
    let kept = before.filter(|before| before.machine == file.machine);
    add_missing(&mut rows, kept.map(|before| before.rows).unwrap_or_default());
    File { machine: file.machine.clone(), rows }.write(&options.baseline)
}
