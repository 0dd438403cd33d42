//! The verifier: p(same answer) of a pair of questions, read together by a small cross-encoder in process.
//!
//! Invariants: a number depends on the two texts alone; a pair longer than the model's window is refused and never cut;
//! callers get an answer or an error within the pool's deadline; a verifier exists only with the calibration that was
//! measured with its weights and with this program's guard.

mod marks;
pub mod scripted;

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::calibration::{Calibration, CalibrationError, PSame};
use crate::{
    embed::pool::{Fault, Pool, PoolError, PoolSettings},
    model::{BertModel, ModelError, Workspace, wordpiece},
};

static WEIGHTS: &[u8] = include_bytes!("../../models/verifier/verifier.bin");
static CALIBRATION: &str = include_str!("../../models/verifier/calibration.json");

/// Why there is no probability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// More tokens than the model's window.
    #[error("the two questions have at least {tokens} tokens, more than the verifier's window of {window}")]
    TooLong {
        /// Tokens counted; counting may stop soon after the window.
        tokens: usize,
        /// The window.
        window: usize,
    },
    /// Busy, too slow, resting or broken.
    #[error("verifier failed: {0}")]
    Down(String),
}

impl VerifyError {
    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "pair-too-long",
            Self::Down(_) => "verifier-down",
        }
    }
}

impl From<PoolError> for VerifyError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Failed(fault) => Self::Down(fault.to_string()),
            other => Self::Down(other.to_string()),
        }
    }
}

/// Why a verifier does not start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The weights do not load or do not run.
    #[error("verifier model does not load: {0}")]
    Model(#[from] ModelError),
    /// The calibration is not one for these weights and this guard.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
    /// A worker does not start.
    #[error("verifier thread does not start: {0}")]
    Thread(#[source] std::io::Error),
}

/// Tells how likely two questions have the same answer.
pub trait Verifier: Send + Sync + std::fmt::Debug {
    /// p(same answer) of a cached question and the one asked.
    fn verify(&self, cached: &str, asked: &str) -> BoxFuture<'_, Result<PSame, VerifyError>>;

    /// What its numbers mean.
    fn calibration(&self) -> &Calibration;

    /// Weights and calibration in one stable string.
    fn fingerprint(&self) -> &str;
}

/// The in-process cross-encoder.
#[derive(Debug)]
pub struct MiniLmVerifier {
    pool: Pool<[String; 2], Answer>,
    calibration: Calibration,
    fingerprint: String,
}

/// A pair that is too long is a fact about the pair: no failure of the model, nothing for the breaker.
type Answer = Result<f32, VerifyError>;

impl MiniLmVerifier {
    /// The verifier in the binary.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn shipped(settings: PoolSettings) -> Result<Self, LoadError> {
        Self::load(WEIGHTS, CALIBRATION, settings)
    }

    /// Loads weights and calibration, runs the model once and starts the pool. Blocks for some tens of milliseconds.
    ///
    /// # Errors
    /// When either does not load, or they were not made for each other.
    pub fn load(weights: &'static [u8], calibration: &str, settings: PoolSettings) -> Result<Self, LoadError> {
        let calibration = Calibration::parse(calibration)?;
        let model = Arc::new(BertModel::load(weights)?);
        calibration.check(model.digest())?;
        let both = calibration.both_orders();
        let first = wordpiece::encode_pair("ready", "ready", model.window());
        model.logit(&first.ids, &first.types, &mut Workspace::default())?;
        let fingerprint = format!("{}:{}", model.name(), model.digest().get(..16).unwrap_or_default());
        let pool = Pool::start("verify", settings, move || {
            let (model, mut work) = (Arc::clone(&model), Workspace::default());
            move |[cached, asked]: [String; 2]| logit(&model, &mut work, (&cached, &asked), both)
        });
        Ok(Self { pool: pool.map_err(LoadError::Thread)?, calibration, fingerprint })
    }
}

impl Verifier for MiniLmVerifier {
    fn verify(&self, cached: &str, asked: &str) -> BoxFuture<'_, Result<PSame, VerifyError>> {
        let pair = [cached.to_owned(), asked.to_owned()];
        Box::pin(async move { Ok(self.calibration.p_same(self.pool.call(pair).await??)) })
    }

    fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn logit(model: &BertModel, work: &mut Workspace, pair: (&str, &str), both: bool) -> Result<Answer, Fault> {
    let forward = match one_way(model, work, pair)? {
        Ok(logit) if both => logit,
        done => return Ok(done),
    };
    Ok(one_way(model, work, (pair.1, pair.0))?.map(|back| f32::midpoint(forward, back)))
}

fn one_way(model: &BertModel, work: &mut Workspace, (first, second): (&str, &str)) -> Result<Answer, ModelError> {
    let window = model.window();
    let mut pair = wordpiece::encode_pair(first, second, window);
    if pair.ids.len() > window {
        return Ok(Err(VerifyError::TooLong { tokens: pair.ids.len(), window }));
    }
    marks::mark(&mut pair);
    model.logit(&pair.ids, &pair.types, work).map(Ok)
}
