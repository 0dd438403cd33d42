//! The report as one page: no script, no style sheet, no picture from elsewhere.
//!
//! Every text of the traffic is escaped on its way in.

use std::fmt::Write;

use super::report::{Change, Point, Report, Side};
use crate::binomial::as_f64;

const STYLE: &str = include_str!("../replay/html/style.css");
/// Of the plot, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 36.0;
const BOTTOM: f64 = 20.0;

/// What is shown of a side, row by row.
const ROWS: &[(&str, fn(&Side) -> String)] = &[
    ("Requests", |side| grouped(side.requests)),
    ("Served by the cache", |side| percent(side.hit_share)),
    ("Exact hits", |side| grouped(side.hits_exact)),
    ("Hits by meaning", |side| grouped(side.hits_semantic)),
    ("Served stale", |side| percent(side.stale_share)),
    ("Calls to the model", |side| grouped(side.upstream_calls)),
    ("Background refreshes among them", |side| grouped(side.refreshes)),
    ("Tokens of those calls", |side| grouped(side.tokens)),
    ("Cost", |side| side.cost_usd.map_or_else(|| "no prices".to_owned(), |usd| format!("${usd:.2}"))),
    ("Median wait", |side| format!("{} ms", grouped(side.latency_ms.p50.into()))),
    ("99 of 100 wait at most", |side| format!("{} ms", grouped(side.latency_ms.p99.into()))),
    ("Wrong hits expected", |side| format!("{:.1}", side.expected_wrong_hits)),
];

/// The page.
pub fn page(report: &Report) -> String {
    let parts = [sides(report), over_time(&report.series), categories(report), changes(report), notes(report)];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Simulation</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Today's policies and the proposed ones</h1>\n{}\n\
         </main>\n</body>\n</html>\n",
        parts.join("\n")
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// With thin spaces between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn sides(report: &Report) -> String {
    let rows: String = ROWS
        .iter()
        .map(|(name, of)| {
            format!("<tr><th>{name}</th><td>{}</td><td>{}</td></tr>", of(&report.today), of(&report.proposed))
        })
        .collect();
    format!(
        "<section><p>{} requests over {}.</p><table><thead><tr><th></th><th>Today</th><th>Proposed</th></tr></thead>\
         <tbody>{rows}</tbody></table></section>",
        grouped(report.requests),
        humantime::format_duration(std::time::Duration::from_secs(u64::try_from(report.span_ms / 1000).unwrap_or(0)))
    )
}

/// Share served by the cache over time: today dashed, proposed solid.
fn over_time(series: &[Point]) -> String {
    if series.len() < 2 {
        return String::new();
    }
    let at = |place: usize, served: u64, requests: u64| {
        let x = LEFT + (WIDTH - LEFT) * as_f64(place as u64) / as_f64(series.len() as u64 - 1);
        let y = (HEIGHT - BOTTOM) * (1.0 - as_f64(served) / as_f64(requests.max(1)));
        format!("{x:.1},{y:.1}")
    };
    let line = |of: fn(&Point) -> u64| {
        let points = series.iter().enumerate().map(|(place, point)| at(place, of(point), point.requests));
        points.collect::<Vec<_>>().join(" ")
    };
    let mut axes = String::new();
    for share in [0.0, 0.5, 1.0] {
        let y = (HEIGHT - BOTTOM) * (1.0 - share);
        let _ = write!(
            axes,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/><text x=\"0\" y=\"{:.0}\">{:.0} %</text>",
            y + 4.0,
            share * 100.0
        );
    }
    format!(
        "<section><h2>Served by the cache over time</h2><figure><figcaption>Dashed: today. Solid: proposed.</figcaption>\
         <svg viewBox=\"-2 -6 {:.0} {HEIGHT}\" role=\"img\" aria-label=\"Share of requests served by the cache over time\">{axes}\
         <polyline class=\"even\" points=\"{}\"/><polyline class=\"curve\" points=\"{}\"/></svg></figure></section>",
        WIDTH + 4.0,
        line(|point| point.today),
        line(|point| point.proposed)
    )
}

fn categories(report: &Report) -> String {
    let rows: String = report
        .categories
        .iter()
        .map(|one| {
            let both = |of: fn(&Side) -> String| format!("<td>{}</td><td>{}</td>", of(&one.today), of(&one.proposed));
            format!(
                "<tr><th>{}</th><td>{}</td>{}{}{}{}</tr>",
                escaped(&one.category),
                grouped(one.today.requests),
                both(|side| percent(side.hit_share)),
                both(|side| percent(side.stale_share)),
                both(|side| grouped(side.upstream_calls)),
                both(|side| format!("{:.1}", side.expected_wrong_hits))
            )
        })
        .collect();
    format!(
        "<section><h2>By category</h2><table><thead><tr><th>Category</th><th>Requests</th><th>Served today</th>\
         <th>proposed</th><th>Stale today</th><th>proposed</th><th>Calls today</th><th>proposed</th><th>Wrong today</th>\
         <th>proposed</th></tr></thead><tbody>{rows}</tbody></table></section>"
    )
}

fn changes(report: &Report) -> String {
    if report.changes_total == 0 {
        return "<section><h2>Decisions that would change</h2><p>None.</p></section>".to_owned();
    }
    let age = |age: Option<u64>| {
        let text = |ms: u64| humantime::format_duration(std::time::Duration::from_secs(ms / 1000)).to_string();
        age.map_or_else(String::new, |ms| format!(", {} old", text(ms)))
    };
    let row = |change: &Change| {
        let told = |told: &super::report::Told| format!("{} ({}{})", told.outcome, told.reason, age(told.age_ms));
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escaped(change.query.as_deref().unwrap_or("(words not kept)")),
            escaped(&change.category),
            told(&change.today),
            told(&change.proposed)
        )
    };
    let rows: String = report.changes.iter().map(row).collect();
    format!(
        "<section><h2>Decisions that would change</h2><p>{} in all{}.</p><table><thead><tr><th>Question</th>\
         <th>Category</th><th>Today</th><th>Proposed</th></tr></thead><tbody>{rows}</tbody></table></section>",
        grouped(report.changes_total),
        if report.changes_total > report.changes.len() as u64 { "; the first ones" } else { "" }
    )
}

fn notes(report: &Report) -> String {
    let notes: String = report.notes.iter().map(|note| format!("<li>{}</li>", escaped(note))).collect();
    format!("<section><h2>What this rests on</h2><ol>{notes}</ol></section>")
}
