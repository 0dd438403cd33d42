//! Text to vector, behind one trait: in process ([`minilm`]), a remote endpoint ([`remote`]), or scripted for tests.
//!
//! Invariants: a vector depends on its text alone, never on what else is in flight; a text longer than the model's
//! window is an error and not a truncated vector; callers get an answer or an error within the deadline.

pub mod breaker;
pub mod minilm;
pub mod pool;
pub mod remote;
pub mod scripted;
pub mod shipped;

use futures_util::future::BoxFuture;

use crate::similarity::Embedding;

/// Why there is no vector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// More tokens than the model's window; such a prompt is exact only.
    #[error("text has at least {tokens} tokens, more than the model's window of {window}")]
    TooLong {
        /// Tokens counted; counting may stop soon after the window.
        tokens: usize,
        /// The window.
        window: usize,
    },
    /// The queue is full.
    #[error("embedding queue is full")]
    Busy,
    /// No answer within the deadline.
    #[error("embedding took longer than its deadline")]
    Timeout,
    /// Too many failures in a row; not tried for a while.
    #[error("embedder is resting after repeated failures")]
    BreakerOpen,
    /// The model or endpoint failed.
    #[error("embedder failed: {0}")]
    Failed(String),
}

impl EmbedError {
    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "query-too-long",
            Self::Busy => "embedder-busy",
            Self::Timeout => "embedder-timeout",
            Self::BreakerOpen => "embedder-breaker-open",
            Self::Failed(_) => "embedder-failed",
        }
    }

    /// A failure that says what `error` and everything behind it say.
    pub(crate) fn failed(error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        Self::Failed(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
    }
}

/// Makes vectors.
pub trait Embedder: Send + Sync + std::fmt::Debug {
    /// The vector of `text`.
    fn embed(&self, text: &str) -> BoxFuture<'_, Result<Embedding, EmbedError>>;

    /// Model and weights in one stable string; stored with every vector, vectors of two fingerprints never meet.
    fn fingerprint(&self) -> &str;

    /// Length of its vectors.
    fn dimensions(&self) -> usize;

    /// Model and tokens that vectors have cost since the start, where somebody else makes them and counts.
    fn bought(&self) -> Option<(&str, u64)> {
        None
    }
}
