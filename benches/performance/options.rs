//! What was asked for on the command line.

use std::{
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};

/// Where the baseline is kept.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/baseline.json");

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// Pass-through against a bare proxy.
    Pass,
    /// Exact hits against a bare server.
    Hits,
    /// Hits replayed as streams.
    Stream,
    /// Hits by meaning, and the same wording again.
    Semantic,
    /// Misses.
    Miss,
    /// From starting to being ready.
    Start,
    /// Resident memory.
    Memory,
    /// Parts of the library on their own.
    Micro,
}

impl Section {
    const ALL: [(&str, Self); 8] = [
        ("pass", Self::Pass),
        ("hits", Self::Hits),
        ("stream", Self::Stream),
        ("semantic", Self::Semantic),
        ("miss", Self::Miss),
        ("start", Self::Start),
        ("memory", Self::Memory),
        ("micro", Self::Micro),
    ];

    fn named(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|(known, _)| *known == name);
        let known = Self::ALL.map(|(name, _)| name).join(", ");
        Ok(found.with_context(|| format!("no section {name}; there are {known}"))?.1)
    }
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    sections: Vec<Section>,
    /// Entries of the store for the start over a full one.
    pub(crate) entries: usize,
    /// Rounds that count.
    pub(crate) rounds: usize,
    /// For each target, number of connections and round.
    pub(crate) time: Duration,
    /// Everything is short.
    pub(crate) quick: bool,
    /// Files of rows that are shown with the own ones.
    pub(crate) merge: Vec<PathBuf>,
    /// A further place for the JSON.
    pub(crate) json: Option<PathBuf>,
    /// What is compared with.
    pub(crate) baseline: PathBuf,
    /// Whether what was measured becomes the baseline.
    pub(crate) save: bool,
    /// Whether a missed bar is a failure.
    pub(crate) strict: bool,
    /// What a child process is to be.
    pub(crate) role: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sections: Section::ALL.map(|(_, section)| section).to_vec(),
            entries: 100_000,
            rounds: 9,
            time: Duration::from_millis(500),
            quick: false,
            merge: Vec::new(),
            json: None,
            baseline: BASELINE.into(),
            save: false,
            strict: false,
            role: None,
        }
    }
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--only" => options.sections = sections(&value()?)?,
                "--json" => options.json = Some(value()?.into()),
                "--merge" => options.merge.push(value()?.into()),
                "--baseline" => options.baseline = value()?.into(),
                "--save-baseline" => options.save = true,
                "--strict" => options.strict = true,
                "--entries" => options.entries = value()?.parse()?,
                "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
                "--seconds" => options.time = Duration::from_secs_f64(value()?.parse()?),
                "--role" => options.role = Some(value()?),
                "--quick" => {
                    let (entries, rounds, time) = (200, 1, Duration::from_millis(50));
                    options = Self { entries, rounds, time, quick: true, ..options };
                }
                // What cargo adds.
                "--bench" => {}
                other => bail!("unknown argument {other}; see the head of benches/performance/main.rs"),
            }
        }
        Ok(options)
    }

    pub(crate) fn wants(&self, section: Section) -> bool {
        self.sections.contains(&section)
    }

    /// Whether anything is measured at all.
    pub(crate) const fn measures(&self) -> bool {
        !self.sections.is_empty()
    }

    /// Says on standard error what is going on.
    pub(crate) fn tell(&self, what: &str) {
        let _ = writeln!(std::io::stderr(), "measuring: {what}");
    }

    /// Where the report goes: below cargo's own directory for what it builds.
    pub(crate) fn directory() -> anyhow::Result<PathBuf> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().context("no target directory")?;
        Ok(target.join("performance"))
    }
}

fn sections(names: &str) -> anyhow::Result<Vec<Section>> {
    names.split(',').filter(|name| *name != "none").map(Section::named).collect()
}
