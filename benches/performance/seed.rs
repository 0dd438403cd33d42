//! A store full of entries, made through the library: what a gateway finds when it starts again.

use anyhow::Context;
use semblance::{
    clock::Clock,
    embed::{Embedder, minilm::MiniLm, pool::PoolSettings},
    entry::{Entry, EntryId},
    key::{Fingerprint, Partition, Scope, ScopeParts},
    similarity::Embedding,
    store::{
        Durability, Store,
        sqlite::{SqliteStore, StoreSettings},
    },
    wire::{Answer, Family},
};

use crate::floor;

/// Entries between two waits for the disk.
const BATCH: usize = 2_000;

/// A directory whose store holds `entries` entries of one partition, with vectors of the real embedder's kind.
pub(crate) fn store(entries: usize) -> anyhow::Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fill(dir.path(), entries))?;
    Ok(dir)
}

async fn fill(dir: &std::path::Path, entries: usize) -> anyhow::Result<()> {
    let embedder = MiniLm::load(PoolSettings { workers: 1, ..PoolSettings::default() })?;
    let store = SqliteStore::open(dir, StoreSettings::default())?;
    let mut seeder = Seeder::new(embedder.fingerprint(), embedder.dimensions())?;
    for number in 0..entries {
        let entry = seeder.entry(store.next_id(Fingerprint::from_bytes([0; 32])), number).context("no vector")?;
        // Dropping the future does not take the write back; the flush waits for it.
        drop(store.admit(entry, Durability::Behind));
        if number % BATCH == BATCH - 1 {
            store.flush().await?;
        }
    }
    store.flush().await?;
    Ok(())
}

/// Makes entries of one partition, one question each.
pub(crate) struct Seeder {
    scope: Scope,
    embedder: String,
    dimensions: usize,
    answer: Answer,
    random: fastrand::Rng,
}

impl Seeder {
    /// A maker of entries whose vectors are an embedder's of this fingerprint.
    pub(crate) fn new(embedder: &str, dimensions: usize) -> anyhow::Result<Self> {
        let scope = Scope::derive(&ScopeParts {
            principal: None,
            tenant: "bench",
            upstream: "http://127.0.0.1/v1",
            organisation: &[],
            namespace: "",
        });
        let answer = Answer::new(Family::Chat, floor::answer(), None)?;
        Ok(Self { scope, embedder: embedder.to_owned(), dimensions, answer, random: fastrand::Rng::with_seed(7) })
    }

    /// The entry of a question with this number; `None` when its vector came out as zero.
    pub(crate) fn entry(&mut self, id: EntryId, number: usize) -> Option<Entry> {
        let question = format!("What does article {number} of the catalogue cost?");
        let partition = Partition::derive(&self.scope, Family::Chat.as_str(), b"bench");
        let vector = (0..self.dimensions).map(|_| self.random.f32() - 0.5).collect();
        Some(Entry {
            id,
            scope: self.scope,
            principal: None,
            partition,
            fingerprint: Fingerprint::derive(&partition, question.as_bytes()),
            category: "default".to_owned(),
            policy_revision: "bench".to_owned(),
            query: Some(question),
            embedding: Some(Embedding::normalised(vector)?),
            embedder: Some(self.embedder.clone()),
            answer: self.answer.clone(),
            generated_at: Clock::system().now(),
            invalidated_at: None,
            ttl_limit_ms: None,
            tags: Vec::new(),
            sources: Vec::new(),
        })
    }
}
