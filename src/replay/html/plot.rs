//! Drawings as inline SVG.

use std::fmt::Write;

use crate::{
    binomial::share,
    matcher::calibration::PSame,
    replay::{
        Record,
        case::Expect,
        report::{Bin, Tally},
    },
};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 220.0;
/// Room for the labels left and below.
const LEFT: f64 = 36.0;
const BELOW: f64 = 30.0;
const EDGE: f64 = 8.0;

/// Where a share lies on paper; `across` is as a part of the axis.
fn place(across: f64, up: f64) -> (f64, f64) {
    (LEFT + across * (WIDTH - LEFT - EDGE), HEIGHT - BELOW - up * (HEIGHT - BELOW - EDGE))
}

/// Hit rate over the share of near misses served, for every bar on p; the ring is where the policies stand.
pub(super) fn trade_off(records: &[&Record], tally: &Tally) -> String {
    let points = sweep(records);
    // A share below two percent is what matters: the axis shows no more than it must.
    let furthest = points.iter().map(|(served, _)| *served).fold(tally.served_rate(), f64::max);
    let scale = [0.02, 0.05, 0.1, 0.2, 0.5].into_iter().find(|scale| furthest <= *scale).unwrap_or(1.0);
    let line: Vec<String> = points.iter().map(|(served, hit)| pair(place(served / scale, *hit))).collect();
    let (x, y) = place(tally.served_rate() / scale, tally.hit_rate());
    let label = format!(
        "{:.1} % of paraphrases hit with {:.2} % of near misses served",
        tally.hit_rate() * 100.0,
        tally.served_rate() * 100.0
    );
    let body = format!(
        "<polyline class=\"curve\" points=\"{}\"/><circle class=\"here\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{label}</title></circle>",
        line.join(" ")
    );
    frame(&label, "near misses served", scale, &body)
}

/// (share of near misses served, share of paraphrases hit) as the bar falls.
fn sweep(records: &[&Record]) -> Vec<(f64, f64)> {
    let is_same = |record: &Record| record.expect != Expect::Miss;
    let same = records.iter().filter(|record| is_same(record)).count() as u64;
    let other = records.len() as u64 - same;
    let mut judged: Vec<(f32, bool)> =
        records.iter().filter_map(|record| Some((record.p_same.map(PSame::get)?, is_same(record)))).collect();
    judged.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hit, mut served) = (0, 0);
    let mut points = vec![(0.0, 0.0)];
    for level in judged.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        for (_, is_same) in level {
            if *is_same { hit += 1 } else { served += 1 }
        }
        points.push((share(served, other), share(hit, same)));
    }
    points
}

/// The share of pairs that do have the same answer, over what the verifier said.
pub(super) fn reliability(bins: &[Bin]) -> String {
    let (from, to) = (place(0.0, 0.0), place(1.0, 1.0));
    let mut body = format!("<polyline class=\"even\" points=\"{} {}\"/>", pair(from), pair(to));
    let line: Vec<String> = bins.iter().map(|bin| pair(place(bin.mean_p, bin.same))).collect();
    let _ = write!(body, "<polyline class=\"curve\" points=\"{}\"/>", line.join(" "));
    for bin in bins {
        let (x, y) = place(bin.mean_p, bin.same);
        let told = format!("{} pairs at p {:.2}: {:.1} % the same", bin.pairs, bin.mean_p, bin.same * 100.0);
        let _ =
            write!(body, "<circle class=\"point\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{told}</title></circle>");
    }
    frame("Share of pairs with the same answer, over p", "p(same answer)", 1.0, &body)
}

fn pair((x, y): (f64, f64)) -> String {
    format!("{x:.1},{y:.1}")
}

/// Axes and their labels round a drawing; `scale` is where the lower axis ends.
fn frame(label: &str, below: &str, scale: f64, body: &str) -> String {
    let (left, bottom) = place(0.0, 0.0);
    let (right, top) = place(1.0, 1.0);
    let mut axes = format!("<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>");
    for step in [0.0, 0.5, 1.0] {
        let (x, y) = place(step, step);
        let across = format!("{}", (step * scale * 1000.0).round() / 10.0);
        let _ = write!(
            axes,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{across} %</text><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>",
            bottom + 13.0,
            if step < 1.0 { "middle" } else { "end" },
            left - 4.0,
            y + 3.0,
            step * 100.0
        );
    }
    let _ = write!(axes, "<text x=\"{right:.1}\" y=\"{:.1}\" text-anchor=\"end\">{below}</text>", bottom + 26.0);
    format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\">{axes}{body}</svg>")
}
