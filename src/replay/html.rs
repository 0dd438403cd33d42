//! The report as one page: no script, no style sheet, no picture from elsewhere, so that it opens from a CI artefact.
//!
//! Every text of a case is escaped on its way in.

mod plot;

use std::{collections::BTreeMap, fmt::Write};

use super::{
    Record,
    report::{Report, Tally},
};
use crate::matcher::calibration::PSame;

const STYLE: &str = include_str!("html/style.css");
/// Cases listed in each of the two columns.
const LISTED: usize = 40;
/// Kinds with fewer cases of either label have no curve: it would say nothing.
const ENOUGH: usize = 4;

/// The page.
pub fn page(report: &Report, records: &[Record]) -> String {
    let title = if report.pool { "Replay in one pool" } else { "Replay" };
    let parts = [summary(report), curves(report, records), tables(report), columns(report)];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{}\n</main>\n</body>\n</html>\n",
        parts.join("\n")
    )
}

/// Text that HTML takes as text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn summary(report: &Report) -> String {
    let total = &report.total;
    let tiles = [
        ("Paraphrases hit", percent(total.hit_rate()), format!("{} of {}", total.paraphrases_hit, total.paraphrases)),
        (
            "Near misses served",
            percent(total.served_rate()),
            format!(
                "{} of {}; 95 % sure: at most {}",
                total.near_misses_served,
                total.near_misses,
                percent(report.near_misses_served_bound_95)
            ),
        ),
        (
            "Wrong hits among all served",
            percent(report.wrong_hit_share),
            format!("{} wrong; 95 % sure: at most {}", report.wrong_hits, percent(report.wrong_hit_bound_95)),
        ),
    ];
    let tiles: String = tiles
        .iter()
        .map(|(name, value, detail)| format!("<div class=\"tile\"><h2>{name}</h2><b>{value}</b><p>{detail}</p></div>"))
        .collect();
    let missed: String =
        report.missed.iter().map(|missed| format!("<p class=\"missed\">Missed: {}</p>", escaped(missed))).collect();
    format!("<section class=\"tiles\">{tiles}</section>\n{missed}{}", difference(report))
}

fn difference(report: &Report) -> String {
    let Some(diff) = &report.baseline else { return String::new() };
    let list = |ids: &[String]| if ids.is_empty() { "none".to_owned() } else { escaped(&ids.join(", ")) };
    format!(
        "<section><h2>Against the baseline</h2><dl><dt>Paraphrases hit</dt><dd>{:+.2} points</dd>\
         <dt>Near misses served</dt><dd>{:+.2} points</dd><dt>Newly served</dt><dd>{}</dd>\
         <dt>Newly refused</dt><dd>{}</dd><dt>Mended</dt><dd>{}</dd></dl></section>",
        diff.paraphrases_hit * 100.0,
        diff.near_misses_served * 100.0,
        list(&diff.newly_served),
        list(&diff.newly_refused),
        list(&diff.mended)
    )
}

/// Trade-off of all cases, reliability, and one small trade-off for each kind and category with enough cases.
fn curves(report: &Report, records: &[Record]) -> String {
    let mut page = String::from(
        "<section><h2>Hit rate against wrong hits</h2><p>Each line follows the bar on p from 1 down to 0; what the guard refused is never served. The ring marks what was served at the bars of the policies.</p><div class=\"plots\">",
    );
    let all: Vec<&Record> = records.iter().collect();
    page += &figure("All cases", &plot::trade_off(&all, &report.total));
    page += &figure("Reliability: how often p is right", &plot::reliability(&report.reliability));
    page += "</div>";
    let by_kind = grouped(records, |record| &record.kind);
    let by_category = grouped(records, |record| &record.category);
    for (heading, groups, tallies) in
        [("By kind", by_kind, &report.by_kind), ("By category", by_category, &report.by_category)]
    {
        let figures: String = groups
            .iter()
            .filter_map(|(name, group)| {
                let tally = tallies.get(*name)?;
                let enough = tally.paraphrases >= ENOUGH as u64 && tally.near_misses >= ENOUGH as u64;
                enough.then(|| figure(name, &plot::trade_off(group, tally)))
            })
            .collect();
        if !figures.is_empty() {
            let _ = write!(page, "<h3>{heading}</h3><div class=\"plots small\">{figures}</div>");
        }
    }
    page + "</section>"
}

fn figure(caption: &str, drawing: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>{drawing}</figure>", escaped(caption))
}

fn grouped(records: &[Record], by: impl Fn(&Record) -> &String) -> BTreeMap<&str, Vec<&Record>> {
    let mut groups: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        groups.entry(by(record).as_str()).or_default().push(record);
    }
    groups
}

fn tables(report: &Report) -> String {
    let table = |heading: &str, rows: &BTreeMap<String, Tally>| {
        let rows: String = rows.iter().map(|(name, tally)| row(name, tally)).collect();
        format!(
            "<div><h2>{heading}</h2><table><thead><tr><th>{heading}</th><th>Cases</th><th>Paraphrases hit</th>\
             <th>Near misses served</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
    };
    let (kinds, categories) = (table("Kind", &report.by_kind), table("Category", &report.by_category));
    format!("<section class=\"columns\">{kinds}{categories}</section>")
}

fn row(name: &str, tally: &Tally) -> String {
    let cell = |part: u64, whole: u64, share: f64, class: &str| {
        if whole == 0 {
            return "<td>–</td>".to_owned();
        }
        let width = share * 100.0;
        format!(
            "<td><span class=\"bar {class}\" style=\"width:{width:.1}%\"></span><span>{part} of {whole}</span></td>"
        )
    };
    format!(
        "<tr><th>{}</th><td>{}</td>{}{}</tr>",
        escaped(name),
        tally.cases,
        cell(tally.paraphrases_hit, tally.paraphrases, tally.hit_rate(), "good"),
        cell(tally.near_misses_served, tally.near_misses, tally.served_rate(), "bad")
    )
}

/// The two kinds of error side by side.
fn columns(report: &Report) -> String {
    let column = |heading: &str, records: &[Record]| {
        let items: String = records.iter().take(LISTED).map(item).collect();
        let items = if items.is_empty() { "<p>None.</p>".to_owned() } else { format!("<ol>{items}</ol>") };
        let more = records.len().saturating_sub(LISTED);
        let more = if more > 0 { format!("<p>And {more} more.</p>") } else { String::new() };
        format!("<div><h2>{heading}</h2>{items}{more}</div>")
    };
    let served = column("Wrong hits, the surest first", &report.served);
    let refused = column("Refused paraphrases, the surest first", &report.refused);
    format!("<section class=\"columns\">{served}{refused}</section>")
}

fn item(record: &Record) -> String {
    let p = record.p_same.map(PSame::get).map_or_else(|| "no p".to_owned(), |p| format!("p {p:.4}"));
    let bar = record.bar.map_or_else(String::new, |bar| format!(", bar {bar:.4}"));
    let similarity = record.similarity.map_or_else(String::new, |similarity| format!(", similarity {similarity}"));
    format!(
        "<li><p class=\"meta\"><code>{}</code> {} · {p}{bar}{similarity}</p><p>{}</p><p>{}</p><p class=\"why\">{}</p></li>",
        escaped(&record.id),
        escaped(&record.kind),
        escaped(record.served_for.as_ref().unwrap_or(&record.seed)),
        escaped(&record.ask),
        escaped(&record.why)
    )
}

#[cfg(test)]
mod tests;
