//! An embedder and a verifier that do the same work once: the cases of one fixture share their seeds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::BoxFuture;

use crate::{
    embed::{EmbedError, Embedder},
    matcher::{
        calibration::{Calibration, PSame},
        verifier::{Verifier, VerifyError},
    },
    similarity::Embedding,
};

/// What is known by now. Failures are not kept.
#[derive(Debug)]
struct Known<K, V>(Mutex<HashMap<K, V>>);

impl<K: std::hash::Hash + Eq, V: Clone> Known<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: K, value: V) -> V {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value.clone());
        value
    }
}

/// Remembers vectors.
#[derive(Debug)]
pub struct RememberingEmbedder {
    inner: Arc<dyn Embedder>,
    known: Known<String, Embedding>,
}

impl RememberingEmbedder {
    /// Nothing is known at first.
    pub fn new(inner: Arc<dyn Embedder>) -> Self {
        Self { inner, known: Known(Mutex::default()) }
    }
}

impl Embedder for RememberingEmbedder {
    fn embed(&self, text: &str) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        let text = text.to_owned();
        Box::pin(async move {
            match self.known.get(&text) {
                Some(vector) => Ok(vector),
                None => self.inner.embed(&text).await.map(|vector| self.known.keep(text, vector)),
            }
        })
    }

    fn fingerprint(&self) -> &str {
        self.inner.fingerprint()
    }

    fn dimensions(&self) -> usize {
        self.inner.dimensions()
    }
}

/// Remembers probabilities.
#[derive(Debug)]
pub struct RememberingVerifier {
    inner: Arc<dyn Verifier>,
    known: Known<(String, String), PSame>,
}

impl RememberingVerifier {
    /// Nothing is known at first.
    pub fn new(inner: Arc<dyn Verifier>) -> Self {
        Self { inner, known: Known(Mutex::default()) }
    }
}

impl Verifier for RememberingVerifier {
    fn verify(&self, cached: &str, asked: &str) -> BoxFuture<'_, Result<PSame, VerifyError>> {
        let pair = (cached.to_owned(), asked.to_owned());
        Box::pin(async move {
            match self.known.get(&pair) {
                Some(p) => Ok(p),
                None => self.inner.verify(&pair.0, &pair.1).await.map(|p| self.known.keep(pair, p)),
            }
        })
    }

    fn calibration(&self) -> &Calibration {
        self.inner.calibration()
    }

    fn fingerprint(&self) -> &str {
        self.inner.fingerprint()
    }
}
