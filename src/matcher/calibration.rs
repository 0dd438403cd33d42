//! What the verifier's numbers mean: from a logit to p(same answer), and from a budget of wrong hits to the bar p must
//! reach.
//!
//! Pure. A calibration is measured with one model and one guard, and is bound to both: with any other it refuses to be
//! used, because its bars would promise what nobody has measured. Between two measured budgets the stricter bar holds,
//! and a budget below all that were measured has no bar: nothing is served by meaning there.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::guard;

/// Calibrated probability, 0 to 1, that one answer serves both questions of a pair.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct PSame(f32);

impl PSame {
    /// Clamps `value` into [0, 1]; what is no number is no sameness.
    pub const fn new(value: f32) -> Self {
        if value.is_nan() { Self(0.0) } else { Self(value.clamp(0.0, 1.0)) }
    }

    /// The probability.
    pub const fn get(self) -> f32 {
        self.0
    }
}

impl fmt::Display for PSame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.0)
    }
}

/// Why a calibration is not used.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The file is not the JSON expected.
    #[error("calibration does not parse: {0}")]
    Parse(#[from] serde_json::Error),
    /// A value makes no sense.
    #[error("calibration is unusable: {0}")]
    Value(&'static str),
    /// Measured with other weights.
    #[error(
        "calibration was measured with the weights {measured}, these are {loaded}; run models/verifier/calibrate.py"
    )]
    OtherModel {
        /// Digest in the calibration.
        measured: String,
        /// Digest of the weights at hand.
        loaded: String,
    },
    /// Measured with another guard.
    #[error("calibration was measured with guard {measured}, this is guard {built}; run models/verifier/bars.py")]
    OtherGuard {
        /// Version in the calibration.
        measured: u32,
        /// Version of the guard in this program.
        built: u32,
    },
}

impl CalibrationError {
    /// Stable reason for logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Parse(_) => "calibration-unreadable",
            Self::Value(_) => "calibration-unusable",
            Self::OtherModel { .. } => "calibration-other-model",
            Self::OtherGuard { .. } => "calibration-other-guard",
        }
    }
}

/// The file as written; it may say more, for people.
#[derive(Debug, Clone, Deserialize)]
struct File {
    model: String,
    guard: u32,
    data: String,
    scale: f64,
    /// Added to the scale for logits above zero: sure pairs are surer than one slope tells.
    steeper: f64,
    shift: f64,
    orders: u8,
    bars: Vec<(f64, f64)>,
}

/// A measured line of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    budget: f64,
    bar: PSame,
}

/// A usable calibration.
#[derive(Debug, Clone)]
pub struct Calibration {
    file: File,
    /// Smallest budget first; bars only fall from there.
    lines: Vec<Line>,
}

impl Calibration {
    /// Reads a calibration file.
    ///
    /// # Errors
    /// When it does not parse, or a value makes no sense.
    pub fn parse(text: &str) -> Result<Self, CalibrationError> {
        let file: File = serde_json::from_str(text)?;
        let slopes = [file.scale, file.scale + file.steeper];
        if !(slopes.iter().all(|slope| slope.is_finite() && *slope > 0.0) && file.shift.is_finite()) {
            return Err(CalibrationError::Value("both slopes must be above zero and the shift finite"));
        }
        if !(1..=2).contains(&file.orders) {
            return Err(CalibrationError::Value("orders must be 1 or 2"));
        }
        if file.bars.iter().any(|(budget, bar)| !(0.0..=1.0).contains(budget) || !(0.0..=1.0).contains(bar)) {
            return Err(CalibrationError::Value("budgets and bars must lie between 0 and 1"));
        }
        let mut lines: Vec<Line> =
            file.bars.iter().map(|&(budget, bar)| Line { budget, bar: PSame::new(single(bar)) }).collect();
        lines.sort_by(|a, b| a.budget.total_cmp(&b.budget));
        if lines.windows(2).any(|pair| pair[1].bar > pair[0].bar) {
            return Err(CalibrationError::Value("a larger budget must not have a higher bar"));
        }
        Ok(Self { file, lines })
    }

    /// Refuses when it was measured with other weights than `model` or another guard than this program's.
    ///
    /// # Errors
    /// See [`CalibrationError`].
    pub fn check(&self, model: &str) -> Result<(), CalibrationError> {
        if self.file.model != model {
            let (measured, loaded) = (self.file.model.clone(), model.to_owned());
            return Err(CalibrationError::OtherModel { measured, loaded });
        }
        if self.file.guard != guard::VERSION {
            return Err(CalibrationError::OtherGuard { measured: self.file.guard, built: guard::VERSION });
        }
        Ok(())
    }

    /// The probability behind a logit.
    pub fn p_same(&self, logit: f32) -> PSame {
        let (logit, File { scale, steeper, shift, .. }) = (f64::from(logit), &self.file);
        let z = scale.mul_add(logit, *shift) + steeper * logit.max(0.0);
        PSame::new(single(1.0 / (1.0 + (-z).exp())))
    }

    /// What p must reach so that at most `max_wrong_hits` (a share, 0 to 1) of what is served is wrong. `None` when no
    /// budget as small was measured.
    pub fn bar(&self, max_wrong_hits: f64) -> Option<PSame> {
        self.lines.iter().rev().find(|line| line.budget <= max_wrong_hits).map(|line| line.bar)
    }

    /// Every measured budget with its bar, smallest budget first.
    pub fn lines(&self) -> impl Iterator<Item = (f64, PSame)> {
        self.lines.iter().map(|line| (line.budget, line.bar))
    }

    /// The bar of the smallest budget measured.
    pub fn strictest(&self) -> Option<PSame> {
        self.lines.first().map(|line| line.bar)
    }

    /// Whether a pair is asked in both orders and the logits averaged.
    pub const fn both_orders(&self) -> bool {
        self.file.orders == 2
    }

    /// Digest of the data it was measured on.
    pub fn data(&self) -> &str {
        &self.file.data
    }
}

#[expect(clippy::cast_possible_truncation, reason = "probabilities need no more than f32 holds")]
const fn single(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bars: &str) -> String {
        let guard = guard::VERSION;
        format!(
            r#"{{"model":"m","guard":{guard},"data":"d","scale":2.0,"steeper":1.0,"shift":-1.0,"orders":1,"bars":{bars},"ece":0.01}}"#
        )
    }

    #[test]
    fn a_logit_becomes_the_probability_that_was_fitted() {
        let calibration = Calibration::parse(&text("[]")).unwrap();
        assert!((calibration.p_same(1.0 / 3.0).get() - 0.5).abs() < 1e-6);
        assert!((calibration.p_same(-1.0).get() - 1.0 / (1.0 + 3.0_f32.exp())).abs() < 1e-6);
        assert!(calibration.p_same(4.0) > calibration.p_same(3.0));
        assert!((calibration.p_same(f32::NAN).get()).abs() < f32::EPSILON);
    }

    #[test]
    fn between_two_budgets_the_stricter_bar_holds() {
        let calibration = Calibration::parse(&text("[[0.05,0.8],[0.01,0.95],[0.02,0.9]]")).unwrap();
        let bar = |budget| calibration.bar(budget).map(|bar| format!("{bar}"));
        assert_eq!(bar(0.02).as_deref(), Some("0.9000"));
        assert_eq!(bar(0.03).as_deref(), Some("0.9000"));
        assert_eq!(bar(1.0).as_deref(), Some("0.8000"));
        assert_eq!(bar(0.009), None);
        assert_eq!(bar(0.0), None);
    }

    #[test]
    fn other_weights_and_another_guard_are_refused() {
        let calibration = Calibration::parse(&text("[]")).unwrap();
        assert!(calibration.check("m").is_ok());
        assert!(matches!(calibration.check("n"), Err(CalibrationError::OtherModel { .. })));
        let old = text("[]").replace(&format!("\"guard\":{}", guard::VERSION), "\"guard\":0");
        let old = Calibration::parse(&old).unwrap();
        assert!(matches!(old.check("m"), Err(CalibrationError::OtherGuard { measured: 0, .. })));
    }

    #[test]
    fn values_without_sense_are_refused() {
        for bars in ["[[0.02,1.5]]", "[[-0.1,0.5]]", "[[0.01,0.5],[0.02,0.9]]"] {
            assert!(matches!(Calibration::parse(&text(bars)), Err(CalibrationError::Value(_))), "{bars}");
        }
        assert!(Calibration::parse(&text("[]").replace("2.0", "-2.0")).is_err());
        assert!(Calibration::parse(&text("[]").replace("1.0,", "-2.0,")).is_err());
        assert!(Calibration::parse("{}").is_err());
    }
}
