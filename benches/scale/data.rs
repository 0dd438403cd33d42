//! Vectors as questions have them: the shipped embedder's, of the questions in `fixtures`, and as many neighbours of them
//! as are asked for.
//!
//! A neighbour is a question's vector moved by a part of the difference of two other questions' vectors. That stays where
//! this embedder's vectors are, in the hundred directions or so that tell questions apart; noise in all directions would
//! make every neighbour equally far, which is the one thing that questions are not.

use std::path::Path;

use anyhow::{Context, ensure};
use semblance::{
    embed::{Embedder, minilm::MiniLm, pool::PoolSettings},
    similarity::Embedding,
};

/// Real questions and what is made of them; the same for the same number, whoever asks.
#[derive(Debug)]
pub(crate) struct Questions {
    pub(crate) texts: Vec<String>,
    base: Vec<Embedding>,
    /// Of the embedder that made them.
    pub(crate) embedder: String,
}

impl Questions {
    /// Embeds at most `limit` questions.
    pub(crate) fn load(limit: usize) -> anyhow::Result<Self> {
        let mut texts = Vec::new();
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), &mut texts)?;
        texts.sort();
        texts.dedup();
        fastrand::Rng::with_seed(5).shuffle(&mut texts);
        texts.truncate(limit);
        ensure!(texts.len() > 100, "too few questions in fixtures");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let embedder = MiniLm::load(PoolSettings { workers: 1, ..PoolSettings::default() })?;
        let mut base = Vec::with_capacity(texts.len());
        for text in &texts {
            base.push(runtime.block_on(embedder.embed(text))?);
        }
        Ok(Self { texts, base, embedder: embedder.fingerprint().to_owned() })
    }

    /// Stored question number `n`: a question itself, or one that is 0.3 to 0.7 of a difference away from it.
    pub(crate) fn vector(&self, n: usize) -> anyhow::Result<Embedding> {
        if let Some(vector) = self.base.get(n) {
            return Ok(vector.clone());
        }
        let mut random = fastrand::Rng::with_seed((n as u64).wrapping_mul(7919));
        let from = random.usize(..self.base.len());
        let far = 0.3 + 0.4 * random.f32();
        self.moved(&self.base[from], far, &mut random)
    }

    /// Query number `n` over `count` stored questions: one of them in other words, 0.15 to 0.5 of a difference away.
    pub(crate) fn query(&self, n: usize, count: usize) -> anyhow::Result<Embedding> {
        let mut random = fastrand::Rng::with_seed((n as u64).wrapping_mul(104_729) ^ 0x5eed);
        let stored = self.vector(random.usize(..count))?;
        let far = 0.15 + 0.35 * random.f32();
        self.moved(&stored, far, &mut random)
    }

    fn moved(&self, from: &Embedding, far: f32, random: &mut fastrand::Rng) -> anyhow::Result<Embedding> {
        let mut any = || self.base[random.usize(..self.base.len())].values();
        let (to, back) = (any(), any());
        let values = from.values().iter().zip(to.iter().zip(back)).map(|(v, (t, b))| v + far * (t - b));
        Embedding::normalised(values.collect()).context("a neighbour of length zero")
    }
}

fn read(dir: &Path, texts: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, texts)?;
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            for line in std::fs::read_to_string(&path)?.lines() {
                let case: serde_json::Value = serde_json::from_str(line)?;
                texts.extend(["seed", "ask"].iter().filter_map(|key| Some(case[key].as_str()?.to_owned())));
            }
        }
    }
    Ok(())
}
