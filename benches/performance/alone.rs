//! The models alone, in a process of their own: what embedding a question and verifying a pair take with nothing around
//! them, one at a time, as long as nobody else computes.
//!
//! The parent writes a line of JSON, one question or a cached question and the one asked; the child answers with the
//! microseconds that it took.

use std::io::{BufRead, Write};

use anyhow::{Context, ensure};
use semblance::{
    embed::{Embedder, minilm::MiniLm, pool::PoolSettings},
    matcher::verifier::{MiniLmVerifier, Verifier},
};

use crate::process::Child;

/// Name of the role.
pub(crate) const ROLE: &str = "alone";

/// The models as the gateway runs them: one thread a call.
#[derive(Debug)]
pub(crate) struct Models {
    runtime: tokio::runtime::Runtime,
    embedder: MiniLm,
    verifier: MiniLmVerifier,
}

impl Models {
    pub(crate) fn load() -> anyhow::Result<Self> {
        let settings =
            PoolSettings { workers: 1, deadline: std::time::Duration::from_secs(60), ..PoolSettings::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (embedder, verifier) = (MiniLm::load(settings)?, MiniLmVerifier::shipped(settings)?);
        Ok(Self { runtime, embedder, verifier })
    }

    pub(crate) fn embed(&self, text: &str) -> anyhow::Result<()> {
        self.runtime.block_on(self.embedder.embed(text))?;
        Ok(())
    }

    pub(crate) fn verify(&self, cached: &str, asked: &str) -> anyhow::Result<()> {
        self.runtime.block_on(self.verifier.verify(cached, asked))?;
        Ok(())
    }
}

/// Runs the child until standard input ends.
pub(crate) fn run() -> anyhow::Result<()> {
    let models = Models::load()?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    for line in std::io::stdin().lock().lines() {
        let texts: Vec<String> = serde_json::from_str(&line?)?;
        let start = std::time::Instant::now();
        match texts.as_slice() {
            [asked] => models.embed(asked)?,
            [cached, asked] => {
                models.embed(asked)?;
                models.verify(cached, asked)?;
            }
            _ => anyhow::bail!("one text or two"),
        }
        writeln!(out, "{}", start.elapsed().as_secs_f64() * 1e6)?;
        out.flush()?;
    }
    Ok(())
}

/// The child, seen from its parent.
#[derive(Debug)]
pub(crate) struct Alone {
    child: Child,
}

impl Alone {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let child = Child::role(ROLE)?;
        ensure!(child.said == "ready", "the models do not load");
        Ok(Self { child })
    }

    /// Microseconds of embedding a text.
    pub(crate) fn embed(&mut self, text: &str) -> anyhow::Result<f64> {
        self.time(&[text])
    }

    /// Microseconds of embedding a question and verifying it against a cached one.
    pub(crate) fn decide(&mut self, cached: &str, asked: &str) -> anyhow::Result<f64> {
        self.time(&[cached, asked])
    }

    fn time(&mut self, texts: &[&str]) -> anyhow::Result<f64> {
        let input = self.child.process.0.stdin.as_mut().context("no standard input")?;
        writeln!(input, "{}", serde_json::to_string(texts)?)?;
        let mut line = String::new();
        self.child.output.read_line(&mut line)?;
        line.trim().parse().context("the models ended")
    }
}
