//! A verifier for tests: probabilities by script, no model, and a hand to make it fail.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::future::BoxFuture;

use super::{Verifier, VerifyError};
use crate::matcher::{
    calibration::{Calibration, CalibrationError, PSame},
    guard,
};

/// The scripted verifier: sure of nothing that it was not told.
#[derive(Debug)]
pub struct ScriptedVerifier {
    script: Mutex<Script>,
    calls: AtomicUsize,
    calibration: Calibration,
}

#[derive(Debug, Default)]
struct Script {
    failure: Option<VerifyError>,
    known: HashMap<(String, String), f32>,
    otherwise: f32,
}

impl ScriptedVerifier {
    /// A verifier with these (budget, bar) lines that says 0 to every pair.
    ///
    /// # Errors
    /// When the lines make no calibration.
    pub fn new(bars: &[(f64, f64)]) -> Result<Self, CalibrationError> {
        let text = serde_json::json!({
            "model": "scripted", "guard": guard::VERSION, "data": "none",
            "scale": 1.0, "steeper": 0.0, "shift": 0.0, "orders": 1, "bars": bars,
        });
        let calibration = Calibration::parse(&text.to_string())?;
        Ok(Self { script: Mutex::default(), calls: AtomicUsize::new(0), calibration })
    }

    /// Says `p` to this pair, in this order, from now on.
    pub fn say(&self, cached: &str, asked: &str, p: f32) {
        self.script().known.insert((cached.to_owned(), asked.to_owned()), p);
    }

    /// Says `p` to every pair that it was told nothing of.
    pub fn otherwise(&self, p: f32) {
        self.script().otherwise = p;
    }

    /// Fails every call with `error`; `None` ends that.
    pub fn fail_with(&self, error: Option<VerifyError>) {
        self.script().failure = error;
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verifier for ScriptedVerifier {
    fn verify(&self, cached: &str, asked: &str) -> BoxFuture<'_, Result<PSame, VerifyError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let script = self.script();
        let p = script.known.get(&(cached.to_owned(), asked.to_owned())).copied().unwrap_or(script.otherwise);
        let answer = script.failure.clone().map_or(Ok(PSame::new(p)), Err);
        Box::pin(async move { answer })
    }

    fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    fn fingerprint(&self) -> &str {
        "scripted"
    }
}
