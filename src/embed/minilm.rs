//! all-MiniLM-L6-v2 in process: 384 dimensions, a window of 256 tokens, one thread a call.
//!
//! Invariants: the weights are in the binary, so there is nothing to fetch or to find; a text is one call, never padded
//! and never cut; the vector is the mean over all tokens, special ones included, as the model was trained.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use ndarray::Axis;

use super::{
    EmbedError, Embedder,
    pool::{Fault, Pool, PoolError, PoolSettings},
};
use crate::{
    model::{BertModel, Workspace, wordpiece},
    similarity::Embedding,
};

static FILE: &[u8] = include_bytes!("../../models/minilm/minilm.bin");

/// Names how token states become a vector; part of the fingerprint.
const POOLING: &str = "mean-1";

/// The in-process embedder.
#[derive(Debug)]
pub struct MiniLm {
    pool: Pool<String, Answer>,
    fingerprint: String,
    dimensions: usize,
}

/// A text that is too long is a fact about the text: no failure of the model, nothing for the breaker.
type Answer = Result<Embedding, EmbedError>;

/// The model gave a vector that points nowhere.
#[derive(Debug, thiserror::Error)]
#[error("vector is zero or not finite")]
struct NoDirection;

impl MiniLm {
    /// Loads the model, runs it once and starts the pool. Blocks for some tens of milliseconds.
    ///
    /// # Errors
    /// When the model does not load or run, or a thread does not start.
    pub fn load(settings: PoolSettings) -> Result<Self, EmbedError> {
        let model = Arc::new(BertModel::load(FILE).map_err(|error| EmbedError::failed(&error))?);
        let first = embed(&model, &mut Workspace::default(), "ready");
        let dimensions = first.map_err(|fault| EmbedError::failed(&*fault))??.dimensions();
        let fingerprint = fingerprint(&model);
        let pool = Pool::start("embed", settings, move || {
            let (model, mut work) = (Arc::clone(&model), Workspace::default());
            move |text: String| embed(&model, &mut work, &text)
        });
        Ok(Self { pool: pool.map_err(|error| EmbedError::failed(&error))?, fingerprint, dimensions })
    }
}

impl Embedder for MiniLm {
    fn embed(&self, text: &str) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        let text = text.to_owned();
        Box::pin(async move { self.pool.call(text).await.unwrap_or_else(|error| Err(error.into())) })
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }
}

impl From<PoolError> for EmbedError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Timeout => Self::Timeout,
            PoolError::BreakerOpen => Self::BreakerOpen,
            PoolError::Closed => Self::failed(&error),
            PoolError::Failed(fault) => Self::failed(&*fault),
        }
    }
}

/// Tokens the model would see for `text`, special ones included. Reads all of it.
pub fn token_count(text: &str) -> usize {
    wordpiece::encode(text, usize::MAX).ids.len()
}

fn embed(model: &BertModel, work: &mut Workspace, text: &str) -> Result<Answer, Fault> {
    let window = model.window();
    let tokens = wordpiece::encode(text, window);
    if tokens.ids.len() > window {
        return Ok(Err(EmbedError::TooLong { tokens: tokens.ids.len(), window }));
    }
    let states = model.hidden_states(&tokens.ids, &tokens.types, work)?;
    let mean = states.mean_axis(Axis(0)).ok_or(NoDirection)?;
    Ok(Ok(Embedding::normalised(mean.to_vec()).ok_or(NoDirection)?))
}

/// The model's name and a short hash of all that decides a vector.
fn fingerprint(model: &BertModel) -> String {
    let mut hash = blake3::Hasher::new();
    for part in [model.name(), model.digest(), POOLING, wordpiece::VERSION] {
        hash.update(&part.len().to_le_bytes()).update(part.as_bytes());
    }
    format!("{}:{}", model.name(), &hash.finalize().to_hex()[..16])
}

#[cfg(test)]
mod tests;
