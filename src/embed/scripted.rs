//! An embedder for tests: vectors by words, no model, and a hand to make it fail or wait.
//!
//! The same words in any order and case give the same vector; each word shared by two texts adds to their similarity,
//! so a small edit stays close and unrelated texts are nearly orthogonal. Nothing here depends on time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::{EmbedError, Embedder};
use crate::similarity::Embedding;

/// One sign a bit of a word's hash.
const DIMENSIONS: usize = blake3::OUT_LEN * 8;

/// The scripted embedder.
#[derive(Debug)]
pub struct ScriptedEmbedder {
    script: Mutex<Script>,
    held: watch::Sender<bool>,
    calls: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Script {
    failure: Option<EmbedError>,
    fixed: HashMap<String, Embedding>,
}

impl Default for ScriptedEmbedder {
    fn default() -> Self {
        Self { script: Mutex::default(), held: watch::Sender::new(false), calls: watch::Sender::new(0) }
    }
}

impl ScriptedEmbedder {
    /// Answers every call at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fails every call with `error` until [`recover`](Self::recover).
    pub fn fail_with(&self, error: EmbedError) {
        self.script().failure = Some(error);
    }

    /// Ends [`fail_with`](Self::fail_with).
    pub fn recover(&self) {
        self.script().failure = None;
    }

    /// Gives `text` this vector from now on, which must have [`dimensions`](Embedder::dimensions) values to be of use.
    pub fn fix(&self, text: &str, embedding: Embedding) {
        self.script().fixed.insert(text.to_owned(), embedding);
    }

    /// Keeps every call waiting until [`release`](Self::release).
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Answers all calls that wait and those to come.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Calls begun so far.
    pub fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    /// Waits until `count` calls have begun.
    pub async fn called(&self, count: usize) {
        // The sender is `self`, so waiting cannot fail.
        let _ = self.calls.subscribe().wait_for(|calls| *calls >= count).await;
    }

    async fn answer(&self, text: String) -> Result<Embedding, EmbedError> {
        self.calls.send_modify(|calls| *calls += 1);
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        let script = self.script();
        if let Some(error) = &script.failure {
            return Err(error.clone());
        }
        let fixed = script.fixed.get(&text).cloned();
        drop(script);
        fixed.or_else(|| bag_of_words(&text)).ok_or_else(|| EmbedError::Failed("words cancel out".to_owned()))
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Embedder for ScriptedEmbedder {
    fn embed(&self, text: &str) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        Box::pin(self.answer(text.to_owned()))
    }

    fn fingerprint(&self) -> &'static str {
        "scripted:1"
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }
}

/// The sum of one vector of signs a word.
fn bag_of_words(text: &str) -> Option<Embedding> {
    let lower = text.to_lowercase();
    let mut words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        words.push("");
    }
    let mut sum = vec![0.0f32; DIMENSIONS];
    for word in words {
        let hash = blake3::hash(word.as_bytes());
        for (index, value) in sum.iter_mut().enumerate() {
            let bit = hash.as_bytes()[index / 8] >> (index % 8) & 1;
            *value += f32::from(bit) * 2.0 - 1.0;
        }
    }
    Embedding::normalised(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn similarity(a: &str, b: &str) -> f32 {
        let embedder = ScriptedEmbedder::new();
        let (a, b) = (embedder.embed(a).await.unwrap(), embedder.embed(b).await.unwrap());
        a.similarity(&b).unwrap().get()
    }

    #[tokio::test]
    async fn similarity_follows_shared_words() {
        assert!(similarity("How do I pay?", "how do i PAY").await > 0.999);
        assert!(similarity("how do I reset my old password", "how do I reset my new password").await > 0.75);
        assert!(similarity("how do I reset my password", "opening hours on sunday").await.abs() < 0.3);
        assert!(similarity("", "?!").await > 0.999);
    }

    #[tokio::test]
    async fn it_fails_and_recovers_on_command() {
        let embedder = ScriptedEmbedder::new();
        embedder.fail_with(EmbedError::Busy);
        assert_eq!(embedder.embed("x").await, Err(EmbedError::Busy));
        embedder.recover();
        assert!(embedder.embed("x").await.is_ok());
        assert_eq!(embedder.calls(), 2);
    }

    #[tokio::test]
    async fn held_calls_wait_for_the_release() {
        let embedder = ScriptedEmbedder::new();
        embedder.hold();
        let release = async {
            embedder.called(2).await;
            embedder.release();
        };
        let (first, second, ()) = tokio::join!(embedder.embed("a"), embedder.embed("b"), release);
        assert!(first.is_ok() && second.is_ok());
    }

    #[tokio::test]
    async fn a_fixed_vector_is_given_as_it_is() {
        let embedder = ScriptedEmbedder::new();
        let vector = embedder.embed("something else").await.unwrap();
        embedder.fix("x", vector.clone());
        assert_eq!(embedder.embed("x").await, Ok(vector));
    }
}
