//! What every figure of the performance report is written as, in one place: the report itself, the baseline, and the
//! files of other benchmarks that are merged into it.

use std::{fs, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Stable name: what a baseline is compared by.
    pub(crate) id: String,
    /// What it is, for people.
    pub(crate) title: String,
    /// Of the value and of the reference's.
    pub(crate) unit: String,
    /// The median of the rounds.
    pub(crate) value: f64,
    /// What it is held against, measured in the same run.
    pub(crate) reference: Option<Reference>,
    /// Value by the reference's: the median of the rounds' ratios.
    pub(crate) ratio: Option<f64>,
    /// What has to be reached.
    pub(crate) bar: Option<f64>,
    /// What would be good.
    pub(crate) aim: Option<f64>,
    /// Which of the two figures bar and aim are about.
    pub(crate) judged: Judged,
    /// Whether less is better.
    pub(crate) lower_is_better: bool,
    /// In the unit of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
    /// User and system time of the measured process by its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_us_per_request: Option<f64>,
    /// First and third quartile of the judged figure over the rounds: the noise of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) spread: Option<[f64; 2]>,
}

/// What a figure is held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// What it is, for people.
    pub(crate) title: String,
    /// The median of the rounds.
    pub(crate) value: f64,
}

/// Which figure of a row bar and aim are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Judged {
    /// Value by reference.
    Ratio,
    /// The value itself.
    Value,
}

/// A file of rows; what else it says is left alone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct File {
    /// The processor it was measured on: values of another one do not compare, ratios do.
    #[serde(default)]
    pub(crate) machine: String,
    pub(crate) rows: Vec<Row>,
}

impl File {
    /// Reads a file of rows.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let read = || anyhow::Ok(serde_json::from_slice(&fs::read(path)?)?);
        read().with_context(|| format!("reading rows of {}", path.display()))
    }

    /// Writes a file of rows.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

/// The processor and how many of its cores there are.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    format!("{}, {cores} cores", model.map_or("unknown processor", |(_, name)| name.trim()))
}
