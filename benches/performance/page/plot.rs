//! Drawings as inline SVG.

use std::fmt::Write;

use super::{class, escaped};
use crate::{
    print::figure,
    rows::Row,
    verdict::{judged, standing},
};

/// Of a drawing, in its own units.
const WIDTH: f64 = 340.0;
/// A gauge's bar stands at this part of its width: what is longer is short of it.
const AT_BAR: f64 = 0.7;

/// How much of what the bar allows a figure uses: 1 is at the bar, less is better.
fn used(row: &Row, figure: f64, bar: f64) -> f64 {
    if row.lower_is_better { figure / bar } else { bar / figure }
}

/// A row against its bar, its aim, and what it was; `None` where it has no bar or was not measured.
pub(super) fn gauge(row: &Row, was: Option<f64>) -> Option<String> {
    let (is, bar) = (judged(row)?, row.bar?);
    let place = |figure: f64| (used(row, figure, bar) * AT_BAR).clamp(0.0, 1.0) * WIDTH;
    let mut body = format!(
        "<rect class=\"rest\" y=\"4\" width=\"{WIDTH}\" height=\"8\" rx=\"4\"/><rect class=\"fill {}\" y=\"4\" width=\"{:.1}\" height=\"8\" rx=\"4\"/>",
        class(standing(row)),
        place(is)
    );
    for (name, limit) in [("bar", Some(bar)), ("aim", row.aim)] {
        if let Some(x) = limit.map(place) {
            let _ = write!(body, "<line class=\"{name}-line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"16\"/>");
        }
    }
    if let Some(was) = was {
        let _ = write!(body, "<circle class=\"was\" cx=\"{:.1}\" cy=\"8\" r=\"3\"/>", place(was));
    }
    let label = format!("{}: {:.0} % of what the bar allows", row.title, used(row, is, bar) * 100.0);
    Some(svg(16.0, &label, &body))
}

/// What is drawn of a throughput: connections, the gateway's and the reference's.
pub(super) type Point = (f64, f64, Option<f64>);

/// The rows of throughput, by what is measured.
pub(super) fn families(rows: &[Row]) -> Vec<(String, Vec<Point>)> {
    let mut families: Vec<(String, Vec<Point>)> = Vec::new();
    for row in rows {
        let Some((id, connections)) = row.id.rsplit_once("-throughput-") else { continue };
        let Ok(connections) = connections.parse() else { continue };
        let point = (connections, row.value, row.reference.as_ref().map(|reference| reference.value));
        let title = row.title.split(", throughput").next().unwrap_or(id).to_owned();
        match families.iter_mut().find(|(known, _)| *known == title) {
            Some((_, points)) => points.push(point),
            None => families.push((title, vec![point])),
        }
    }
    families.retain(|(_, points)| points.len() > 1);
    families
}

/// Requests a second over connections, which stand at even distances.
pub(super) fn throughput(title: &str, points: &[Point]) -> String {
    const LEFT: f64 = 44.0;
    const RIGHT: f64 = 330.0;
    const TOP: f64 = 10.0;
    const BOTTOM: f64 = 150.0;
    let most = points.iter().flat_map(|(_, own, held)| [Some(*own), *held]).flatten().fold(1.0, f64::max);
    let x = |place: usize| LEFT + (RIGHT - LEFT) * (place as f64 + 0.1) / (points.len() as f64 - 0.8);
    let y = |rate: f64| BOTTOM - (BOTTOM - TOP) * rate / most;
    let line = |of: &dyn Fn(&Point) -> Option<f64>| {
        let places = points.iter().enumerate().filter_map(|(place, point)| Some((x(place), y(of(point)?))));
        places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
    };
    let mut body = format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>");
    for share in [0.0, 0.5, 1.0] {
        let (at, told) = (y(most * share) + 3.0, figure(most * share));
        let told = if share == 0.0 { "0".to_owned() } else { told };
        let _ = write!(body, "<text x=\"{}\" y=\"{at:.1}\" text-anchor=\"end\">{told}</text>", LEFT - 4.0);
    }
    let _ = write!(
        body,
        "<polyline class=\"even\" points=\"{}\"/><polyline class=\"curve\" points=\"{}\"/>",
        line(&|(.., held)| *held),
        line(&|(_, own, _)| Some(*own))
    );
    for (place, (connections, own, held)) in points.iter().enumerate() {
        let share = held.map(|held| format!(", {:.0} %", own / held * 100.0)).unwrap_or_default();
        let _ = write!(
            body,
            "<circle class=\"point\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{} requests/s</title></circle>\
             <text x=\"{0:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{connections}{share}</text>",
            x(place),
            y(*own),
            figure(*own),
            BOTTOM + 14.0
        );
    }
    svg(BOTTOM + 20.0, &format!("{title}: requests a second by connections"), &body)
}

/// Medians, tails and references of some rows, a line each, on one logarithmic axis.
pub(super) fn waits(title: &str, rows: &[&Row]) -> String {
    const STEP: f64 = 30.0;
    let known = |row: &Row| [Some(row.value), row.p99, row.reference.as_ref().map(|reference| reference.value)];
    let all = rows.iter().flat_map(|row| known(row)).flatten().filter(|value| *value > 0.0);
    let (low, high) =
        all.fold((f64::INFINITY, 0.0), |(low, high), value| (f64::min(low, value), f64::max(high, value)));
    let (from, to) = (low.log10().floor(), high.log10().ceil().max(low.log10().floor() + 1.0));
    let x = |value: f64| 14.0 + (WIDTH - 34.0) * (value.log10() - from) / (to - from);
    let bottom = rows.len() as f64 * STEP + 4.0;
    let mut body = String::new();
    let mut decade = from;
    while decade <= to {
        let at = x(10f64.powf(decade));
        let _ = write!(
            body,
            "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"2\" y2=\"{bottom:.0}\"/><text x=\"{at:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>",
            bottom + 12.0,
            micros(10f64.powf(decade))
        );
        decade += 1.0;
    }
    for (place, row) in rows.iter().enumerate() {
        let (label, y) = (place as f64 * STEP + 12.0, place as f64 * STEP + 22.0);
        let _ = write!(body, "<text x=\"6\" y=\"{label:.0}\">{}</text>", escaped(&row.title));
        if let Some(p99) = row.p99 {
            let _ = write!(
                body,
                "<line class=\"tail\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.0}\" y2=\"{y:.0}\"/>",
                x(row.value),
                x(p99)
            );
        }
        if let Some(reference) = &row.reference {
            let told = format!("{} {} us", escaped(&reference.title), figure(reference.value));
            let _ = write!(
                body,
                "<circle class=\"was\" cx=\"{:.1}\" cy=\"{y:.0}\" r=\"4\"><title>{told}</title></circle>",
                x(reference.value)
            );
        }
        let _ = write!(
            body,
            "<circle class=\"point\" cx=\"{:.1}\" cy=\"{y:.0}\" r=\"3.5\"><title>{} us</title></circle>",
            x(row.value),
            figure(row.value)
        );
    }
    svg(bottom + 18.0, &format!("{title}: times on a logarithmic axis"), &body)
}

/// Microseconds as a round number.
fn micros(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} s", value / 1e6),
        value if value >= 1e3 => format!("{} ms", value / 1e3),
        value => format!("{value} us"),
    }
}

fn svg(height: f64, label: &str, body: &str) -> String {
    let label = escaped(label);
    format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">{body}</svg>")
}
