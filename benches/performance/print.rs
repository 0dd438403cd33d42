//! The report as lines of text.

#![expect(clippy::print_stdout, reason = "the table is the point")]

use crate::{
    rows::{Judged, Reference, Row},
    verdict::{Change, Kind, by_part, standing},
};

/// Prints one line.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Prints every row, part by part.
pub(crate) fn table(rows: &[Row]) {
    for (part, rows) in by_part(rows) {
        println!("\n{part}");
        println!(
            "  {:<68} {:>12} {:>10} {:>10} {:>7} {:>10} {:>8} {:>7} {:>7}",
            "", "value", "p99", "reference", "ratio", "cpu us", "bar", "aim", ""
        );
        rows.into_iter().for_each(print);
    }
}

fn print(row: &Row) {
    let optional = |value: Option<f64>| value.map(figure).unwrap_or_default();
    let limit = |value: Option<f64>| value.map(|value| limit(row, value)).unwrap_or_default();
    println!(
        "  {:<68} {:>12} {:>10} {:>10} {:>7} {:>10} {:>8} {:>7}  {}",
        row.title,
        format!("{} {}", figure(row.value), short(&row.unit)),
        optional(row.p99),
        optional(row.reference.as_ref().map(|Reference { value, .. }| *value)),
        row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
        optional(row.cpu_us_per_request),
        limit(row.bar),
        limit(row.aim),
        standing(row).text()
    );
}

/// What changed beyond the noise, and how much of the rest there is.
pub(crate) fn changes(changes: &[Change]) {
    println!("\nagainst the baseline");
    let of = |kind: Kind| changes.iter().filter(move |change| change.kind == kind);
    for (kind, name) in [(Kind::Worse, "worse"), (Kind::Better, "better")] {
        for Change { id, was, is, percent, noise_percent, .. } in of(kind) {
            println!(
                "  {name:<7} {id:<40} {:>10} -> {:<10} {:+.1} % (noise {:.1} %)",
                figure(was.unwrap_or(f64::NAN)),
                figure(is.unwrap_or(f64::NAN)),
                percent.unwrap_or(f64::NAN),
                noise_percent.unwrap_or(f64::NAN)
            );
        }
    }
    let [same, new, other] = [Kind::Same, Kind::New, Kind::NotComparable].map(|kind| of(kind).count());
    println!("  {same} inside the noise, {new} new, {other} not comparable");
}

/// A bar or an aim as it is to be read.
pub(crate) fn limit(row: &Row, value: f64) -> String {
    let sign = if row.lower_is_better { "≤" } else { "≥" };
    let unit = match row.judged {
        Judged::Ratio => "x".to_owned(),
        Judged::Value => format!(" {}", row.unit),
    };
    format!("{sign} {value}{unit}")
}

/// Three digits that count, and no exponent.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn short(unit: &str) -> &str {
    if unit == "requests/s" { "/s" } else { unit }
}
