//! Index and storage at scale: search, recall, churn, memory, the database, and starts, by number of entries.
//!
//! `cargo bench --bench scale` measures 10k and 100k; `--sizes 10k,100k,1m` for others, `--only index,churn,store,start,
//! memory` for some sections, `--engine hnsw` for the other engine, `--json FILE` also writes the figures, `--quick` shows in seconds that the benchmark works and
//! measures nothing. What the rows mean is in `benches/README.md`.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark measures wall-clock time")]

mod data;
#[path = "../shared/gateway.rs"]
#[expect(dead_code, reason = "shared with benchmarks that ask for more")]
mod gateway;
mod index;
mod rows;
mod store;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};

use data::Questions;
use rows::Rows;
use semblance::index::partitions::Engine;

const SECTIONS: [&str; 5] = ["index", "churn", "memory", "store", "start"];

/// What was asked for on the command line.
#[derive(Debug)]
struct Options {
    json: Option<PathBuf>,
    sizes: Vec<Size>,
    only: Vec<String>,
    quick: bool,
    engine: Engine,
}

/// A number of entries as it was typed, which names the rows.
#[derive(Debug, Clone)]
pub(crate) struct Size {
    pub(crate) name: String,
    pub(crate) entries: usize,
}

impl Size {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let lower = text.to_lowercase();
        let (digits, factor) = match lower.strip_suffix('k') {
            Some(digits) => (digits, 1_000),
            None => lower.strip_suffix('m').map_or((lower.as_str(), 1), |digits| (digits, 1_000_000)),
        };
        let number: usize = digits.parse().with_context(|| format!("{text} is no number such as 10k or 1m"))?;
        Ok(Self { entries: number * factor, name: lower })
    }
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let (mut json, mut only, mut quick, mut sizes) = (None, Vec::new(), false, None);
        let mut engine = Engine::Cells;
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--json" => json = Some(value()?.into()),
                "--sizes" => sizes = Some(value()?),
                "--only" => only = value()?.split(',').map(str::to_owned).collect(),
                "--quick" => quick = true,
                "--engine" => {
                    engine = match value()?.as_str() {
                        "cells" => Engine::Cells,
                        "hnsw" => Engine::Hnsw,
                        other => bail!("no engine {other}; there are cells and hnsw"),
                    }
                }
                // What cargo adds.
                "--bench" => {}
                other => bail!("unknown argument {other}; see the head of benches/scale/main.rs"),
            }
        }
        if let Some(unknown) = only.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
            bail!("no section {unknown}; there are {}", SECTIONS.join(", "));
        }
        let sizes = sizes.unwrap_or_else(|| if quick { "2k".to_owned() } else { "10k,100k".to_owned() });
        let sizes = sizes.split(',').map(Size::parse).collect::<anyhow::Result<_>>()?;
        Ok(Self { json, sizes, only, quick, engine })
    }

    fn wants(&self, section: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == section)
    }
}

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            rows::line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> anyhow::Result<()> {
    let questions = Questions::load(if options.quick { 120 } else { usize::MAX })?;
    let mut rows = Rows::default();
    for size in &options.sizes {
        if options.wants("index") {
            index::search(&questions, size, options.engine, &mut rows)?;
        }
        if options.wants("churn") {
            index::churn(&questions, size, options.engine, &mut rows)?;
        }
        if options.wants("memory") {
            index::memory(&questions, size, options.engine, &mut rows)?;
        }
    }
    if options.wants("index") && !options.quick {
        let largest = options.sizes.iter().map(|size| size.entries).max().unwrap_or(0);
        index::many_partitions(&questions, options.engine, 100, largest.div_ceil(100).min(10_000), &mut rows)?;
    }
    if options.wants("start") {
        store::empty_start(if options.quick { 1 } else { 5 }, &mut rows)?;
    }
    if options.wants("store") || options.wants("start") {
        for size in &options.sizes {
            store::measure(&questions, size, options.wants("store"), options.wants("start"), &mut rows)?;
        }
    }
    rows.print();
    options.json.as_deref().map_or(Ok(()), |path| rows.write_json(path))
}
