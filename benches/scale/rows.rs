//! Figures to a table and to JSON, one row each.

#![expect(clippy::print_stdout, reason = "the table is the point")]

use std::path::Path;

use serde::Serialize;

/// Prints one line.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// What a figure is compared with.
#[derive(Debug, Serialize)]
pub(crate) struct Reference {
    pub(crate) title: String,
    pub(crate) value: f64,
}

/// One figure.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    pub(crate) reference: Option<Reference>,
    /// Value by reference.
    pub(crate) ratio: Option<f64>,
    /// What it must reach, and what it is meant to reach one day.
    pub(crate) bar: Option<f64>,
    pub(crate) aim: Option<f64>,
    /// Which of the two the bar is about.
    judged: &'static str,
    lower_is_better: bool,
}

impl Row {
    pub(crate) fn new(id: String, title: String, unit: &'static str, value: f64) -> Self {
        let judged = "value";
        Self {
            id,
            title,
            unit,
            value,
            reference: None,
            ratio: None,
            bar: None,
            aim: None,
            judged,
            lower_is_better: true,
        }
    }

    /// Beside something measured in the same run.
    pub(crate) fn beside(mut self, title: &str, value: f64) -> Self {
        self.reference = Some(Reference { title: title.to_owned(), value });
        self.ratio = (value > 0.0).then(|| self.value / value);
        self
    }

    pub(crate) fn bar(mut self, bar: Option<(f64, f64)>) -> Self {
        (self.bar, self.aim) = (bar.map(|(bar, _)| bar), bar.map(|(_, aim)| aim));
        self
    }

    pub(crate) fn more_is_better(mut self) -> Self {
        self.lower_is_better = false;
        self
    }

    fn holds(&self) -> Option<bool> {
        self.bar.map(|bar| if self.lower_is_better { self.value <= bar } else { self.value >= bar })
    }
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Rows {
    rows: Vec<Row>,
}

impl Rows {
    /// Adds a row, and shows it at once: the later ones may take an hour.
    pub(crate) fn add(&mut self, row: Row) {
        line(&shown(&row));
        self.rows.push(row);
    }

    pub(crate) fn print(&self) {
        let missed: Vec<&Row> = self.rows.iter().filter(|row| row.holds() == Some(false)).collect();
        let judged = self.rows.iter().filter(|row| row.bar.is_some()).count();
        line(&format!("\n{} of {judged} bars hold", judged - missed.len()));
        missed.iter().for_each(|row| line(&format!("missed: {}", shown(row))));
    }

    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        Ok(std::fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }
}

fn shown(row: &Row) -> String {
    let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let reference = row.reference.as_ref().map_or_else(String::new, |r| format!("{} {:.3}", r.title, r.value));
    format!(
        "{:<24} {:<58} {:>12.4} {:<9} | {:<28} | ratio {:>8} | bar {:>8} | aim {:>8} | {}",
        row.id,
        row.title,
        row.value,
        row.unit,
        reference,
        optional(row.ratio),
        optional(row.bar),
        optional(row.aim),
        row.holds().map_or("", |holds| if holds { "holds" } else { "MISSED" }),
    )
}
