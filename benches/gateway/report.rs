//! Figures to a table and to JSON: per target and number of connections, and as ratios that the targets are stated in.

#![expect(clippy::print_stdout, reason = "the table is the point")]

use std::path::Path;

use serde_json::{Value, json};

use crate::{CONNECTIONS, load::Sample, process::Started};

/// Prints one line.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// All rounds of one target; one column for each number of connections.
#[derive(Debug)]
pub(crate) struct Target {
    name: String,
    columns: [Vec<Sample>; CONNECTIONS.len()],
}

impl Target {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), columns: Default::default() }
    }

    pub(crate) fn add(&mut self, column: usize, sample: Sample) {
        self.columns[column].push(sample);
    }

    fn rounds(&self, column: usize, figure: Figure) -> Vec<f64> {
        self.columns[column].iter().map(|sample| figure.of(sample)).collect()
    }

    fn median(&self, column: usize, figure: Figure) -> f64 {
        median(self.rounds(column, figure))
    }
}

#[derive(Debug, Clone, Copy)]
enum Figure {
    P50,
    P99,
    Rate,
}

impl Figure {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::P50 => sample.quantile(0.50),
            Self::P99 => sample.quantile(0.99),
            Self::Rate => sample.rate,
        }
    }
}

/// Starts over one kind of data directory, medians.
#[derive(Debug)]
pub(crate) struct Start {
    over: String,
    listening: f64,
    ready: f64,
    resident: f64,
}

impl Start {
    pub(crate) fn of(over: &str, starts: &[Started]) -> Self {
        let of = |figure: fn(&Started) -> f64| median(starts.iter().map(figure).collect());
        Self {
            over: over.to_owned(),
            listening: of(|start| start.listening),
            ready: of(|start| start.ready),
            resident: of(|start| start.resident),
        }
    }
}

/// A ratio that is to stay on one side of a bound.
struct Bound {
    of: &'static str,
    to: &'static str,
    column: usize,
    figure: Figure,
    limit: Option<Limit>,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {limit}"),
            Self::AtLeast(limit) => format!(">= {limit}"),
        }
    }
}

const BOUNDS: &[Bound] = {
    const fn bound(of: &'static str, to: &'static str, column: usize, figure: Figure, limit: Option<Limit>) -> Bound {
        Bound { of, to, column, figure, limit }
    }
    const SERVER: &str = "bare server";
    const PROXY: &str = "bare proxy";
    const OTHER: &str = "pass-through, other path";
    const CHAT: &str = "pass-through, no-store chat";
    &[
        bound("exact hit", SERVER, 0, Figure::P50, Some(Limit::AtMost(2.0))),
        bound("exact hit, log warn", SERVER, 0, Figure::P50, None),
        bound("exact hit", SERVER, 1, Figure::Rate, None),
        bound("exact hit, log warn", SERVER, 1, Figure::Rate, None),
        bound(OTHER, PROXY, 0, Figure::P50, Some(Limit::AtMost(1.5))),
        bound("pass-through, other path, log warn", PROXY, 0, Figure::P50, None),
        bound(CHAT, PROXY, 0, Figure::P50, Some(Limit::AtMost(1.5))),
        bound(OTHER, PROXY, 1, Figure::Rate, Some(Limit::AtLeast(0.5))),
        bound("pass-through, other path, log warn", PROXY, 1, Figure::Rate, None),
        bound(CHAT, PROXY, 1, Figure::Rate, Some(Limit::AtLeast(0.5))),
    ]
};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) targets: Vec<Target>,
    pub(crate) starts: Vec<Start>,
}

impl Report {
    pub(crate) fn print(&self) {
        println!("{:<36} {:>5} {:>10} {:>10} {:>12}", "target", "conns", "p50 us", "p99 us", "requests/s");
        for (column, connections) in CONNECTIONS.iter().enumerate() {
            for target in &self.targets {
                let [p50, p99, rate] =
                    [Figure::P50, Figure::P99, Figure::Rate].map(|figure| target.median(column, figure));
                println!("{:<36} {connections:>5} {p50:>10.1} {p99:>10.1} {rate:>12.0}", target.name);
            }
        }
        println!("\n{:<74} {:>7} {:>8}", "ratio, median of the rounds", "is", "wanted");
        for (name, value, limit) in self.ratios() {
            let (wanted, verdict) = limit.map_or((String::new(), ""), |limit| {
                (limit.text(), if limit.holds(value) { "  ok" } else { "  MISSED" })
            });
            println!("{name:<74} {value:>7.2} {wanted:>8}{verdict}");
        }
        println!("\n{:<36} {:>12} {:>10} {:>10}", "start over", "listening s", "ready s", "RSS MB");
        for Start { over, listening, ready, resident } in &self.starts {
            println!("{over:<36} {listening:>12.3} {ready:>10.3} {:>10.0}", resident / 1e6);
        }
    }

    fn ratios(&self) -> Vec<(String, f64, Option<Limit>)> {
        let find = |name: &str| self.targets.iter().find(|target| target.name == name);
        let ratio = |bound: &Bound| {
            let Bound { of, to, column, figure, limit } = bound;
            let (own, floor) = (find(of)?.rounds(*column, *figure), find(to)?.rounds(*column, *figure));
            let value = median(own.iter().zip(&floor).map(|(own, floor)| own / floor).collect());
            let what = if matches!(figure, Figure::Rate) { "throughput" } else { "p50" };
            Some((format!("{of} / {to}, {what} at {}", CONNECTIONS[*column]), value, *limit))
        };
        BOUNDS.iter().filter_map(ratio).collect()
    }

    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let figures = |target: &Target, column: usize| {
            json!({
                "target": target.name,
                "connections": CONNECTIONS[column],
                "p50_us": target.median(column, Figure::P50),
                "p99_us": target.median(column, Figure::P99),
                "requests_per_second": target.median(column, Figure::Rate),
            })
        };
        let targets: Vec<Value> =
            self.targets.iter().flat_map(|t| (0..CONNECTIONS.len()).map(move |column| figures(t, column))).collect();
        let ratios: Vec<Value> = self
            .ratios()
            .into_iter()
            .map(|(name, value, limit)| {
                json!({
                    "ratio": name,
                    "value": value,
                    "wanted": limit.map(Limit::text),
                    "holds": limit.map(|limit| limit.holds(value)),
                })
            })
            .collect();
        let start = |start: &Start| {
            json!({
                "over": start.over,
                "listening_s": start.listening,
                "ready_s": start.ready,
                "resident_bytes": start.resident,
            })
        };
        let starts: Vec<Value> = self.starts.iter().map(start).collect();
        let report = json!({"targets": targets, "ratios": ratios, "starts": starts});
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
        Ok(())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
