//! The report as one page: no script, no picture and no style sheet from elsewhere, for paper, dark rooms and phones.

mod plot;

use crate::{
    options::Options,
    print::{figure, limit},
    rows::{File, Judged, Row},
    verdict::{Change, Kind, Standing, by_part, judged, standing},
};

/// The look that the program's own reports have.
const STYLE: &str = include_str!("../../src/replay/html/style.css");
/// What this page adds to it.
const OWN: &str = include_str!("page/style.css");

/// The page.
pub(crate) fn page(options: &Options, file: &File, changes: &[Change]) -> String {
    let parts = [
        summary(options, file, changes),
        against_bars(file, changes),
        plots(&file.rows),
        tables(file, changes),
        notes(),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Performance of Semblance</title>\n\
         <style>\n{STYLE}{OWN}</style>\n</head>\n<body>\n<main>\n<h1>Performance</h1>\n{}\n</main>\n</body>\n</html>\n",
        parts.join("\n")
    )
}

/// Text that HTML takes as text.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn change_of<'c>(row: &Row, changes: &'c [Change]) -> Option<&'c Change> {
    changes.iter().find(|change| change.id == row.id)
}

fn summary(options: &Options, file: &File, changes: &[Change]) -> String {
    let count = |wanted: &[Standing]| file.rows.iter().filter(|row| wanted.contains(&standing(row))).count();
    let asked = count(&[Standing::Aim, Standing::Met, Standing::Short]);
    let of = |kind: Kind| changes.iter().filter(|change| change.kind == kind).count();
    let compared =
        if changes.is_empty() { "no baseline".to_owned() } else { format!("{} inside the noise", of(Kind::Same)) };
    let tiles = [
        ("Bars met", format!("{} of {asked}", count(&[Standing::Aim, Standing::Met])), String::new()),
        ("Aims met", format!("{} of {asked}", count(&[Standing::Aim])), String::new()),
        ("Better than the baseline", of(Kind::Better).to_string(), compared.clone()),
        ("Worse than the baseline", of(Kind::Worse).to_string(), compared),
    ];
    let tiles: String = tiles
        .iter()
        .map(|(name, value, detail)| format!("<div class=\"tile\"><h2>{name}</h2><b>{value}</b><p>{detail}</p></div>"))
        .collect();
    let rounds = if options.measures() {
        format!("{} rounds of {} s", options.rounds, options.time.as_secs_f64())
    } else {
        "merged from other reports".to_owned()
    };
    let quick = if options.quick { " <span class=\"missed\">Too short to mean anything.</span>" } else { "" };
    format!(
        "<p class=\"meta\">{}; {rounds}.{quick}</p><section class=\"tiles\">{tiles}</section>",
        escaped(&file.machine)
    )
}

/// Every row that has a bar, drawn as the part of its allowance that it uses.
fn against_bars(file: &File, changes: &[Change]) -> String {
    let drawn = file.rows.iter().filter_map(|row| {
        let was = change_of(row, changes).filter(|change| change.percent.is_some()).and_then(|change| change.was);
        let gauge = plot::gauge(row, was)?;
        let is = judged(row).map_or_else(|| "–".to_owned(), |is| with_unit(row, is));
        Some(format!(
            "<div class=\"gauge\"><p>{}</p><p class=\"{}\"><b>{is}</b> of {}</p>{gauge}</div>",
            escaped(&row.title),
            class(standing(row)),
            escaped(&row.bar.map(|bar| limit(row, bar)).unwrap_or_default())
        ))
    });
    let drawn: String = drawn.collect();
    if drawn.is_empty() {
        return String::new();
    }
    format!(
        "<section><h2>Against the bars</h2><p class=\"meta\">The length is what is used of what the bar allows: the thick \
         line is the bar, the thin one the aim, the ring the baseline. Shorter is better.</p>\
         <div class=\"gauges\">{drawn}</div></section>"
    )
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Aim | Standing::Met => "good",
        Standing::Short => "bad",
        Standing::Told => "",
    }
}

fn with_unit(row: &Row, value: f64) -> String {
    match row.judged {
        Judged::Ratio => format!("{value:.2}x"),
        Judged::Value => format!("{} {}", figure(value), escaped(&row.unit)),
    }
}

/// Throughput over connections and latencies beside their references.
fn plots(rows: &[Row]) -> String {
    let throughput: String = plot::families(rows)
        .into_iter()
        .map(|(title, points)| drawn(&title, &plot::throughput(&title, &points)))
        .collect();
    let waits = rows.iter().filter(|row| row.unit == "us" && row.reference.is_some());
    let parts: String =
        by_part(waits).into_iter().map(|(title, rows)| drawn(title, &plot::waits(title, &rows))).collect();
    let section = |heading: &str, note: &str, figures: &str| {
        if figures.is_empty() {
            return String::new();
        }
        format!("<section><h2>{heading}</h2><p class=\"meta\">{note}</p><div class=\"plots\">{figures}</div></section>")
    };
    section("Throughput by connections", "Solid: the gateway. Dashed: its reference.", &throughput)
        + &section(
            "Times",
            "Dot: the median; line: up to the 99th percentile; ring: the reference. Logarithmic.",
            &parts,
        )
}

fn drawn(caption: &str, drawing: &str) -> String {
    format!("<figure><figcaption>{}</figcaption>{drawing}</figure>", escaped(caption))
}

fn tables(file: &File, changes: &[Change]) -> String {
    let table = |(part, rows): (&str, Vec<&Row>)| {
        let rows: String = rows.into_iter().map(|row| table_row(row, change_of(row, changes))).collect();
        format!(
            "<h3>{part}</h3><div class=\"wide\"><table><thead><tr><th>Figure</th><th>Value</th><th>p99</th>\
             <th>Reference</th><th>Ratio</th><th>CPU a request</th><th>Bar</th><th>Aim</th><th></th>\
             <th>Against the baseline</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
    };
    let tables: String = by_part(&file.rows).into_iter().map(table).collect();
    format!("<section><h2>All figures</h2>{tables}</section>")
}

fn table_row(row: &Row, change: Option<&Change>) -> String {
    let unit = escaped(&row.unit);
    let number = |value: Option<f64>| value.map(figure).unwrap_or_default();
    let reference = row.reference.as_ref().map(|reference| {
        format!("{} {unit}<br><span class=\"meta\">{}</span>", figure(reference.value), escaped(&reference.title))
    });
    let bounds = |value: Option<f64>| value.map(|value| escaped(&limit(row, value))).unwrap_or_default();
    let cells = [
        format!("{} {unit}", figure(row.value)),
        number(row.p99),
        reference.unwrap_or_default(),
        row.ratio.map(|ratio| format!("{ratio:.2}x")).unwrap_or_default(),
        row.cpu_us_per_request.map(|cpu| format!("{} us", figure(cpu))).unwrap_or_default(),
        bounds(row.bar),
        bounds(row.aim),
    ];
    let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    let standing = standing(row);
    format!(
        "<tr><th title=\"{}\">{}</th>{cells}<td class=\"{}\">{}</td>{}</tr>",
        escaped(&row.id),
        escaped(&row.title),
        class(standing),
        standing.text(),
        changed(change)
    )
}

fn changed(change: Option<&Change>) -> String {
    let Some(change) = change else { return "<td></td>".to_owned() };
    let percent = change.percent.map(|percent| format!("{percent:+.1} %")).unwrap_or_default();
    let noise = change.noise_percent.map(|noise| format!(" (noise {noise:.1} %)")).unwrap_or_default();
    let (class, text) = match change.kind {
        Kind::Better => ("good", format!("better, {percent}{noise}")),
        Kind::Worse => ("bad", format!("worse, {percent}{noise}")),
        Kind::Same => ("", format!("{percent}, in the noise of {:.1} %", change.noise_percent.unwrap_or_default())),
        Kind::New => ("", "new".to_owned()),
        Kind::NotComparable => ("", "not comparable".to_owned()),
    };
    format!("<td class=\"{class}\">{text}</td>")
}

fn notes() -> String {
    let notes = [
        "Values are those of one machine on one day. Ratios are to a reference measured in turns with the gateway in the \
         same run, and are what bars are stated in where there is a reference.",
        "A change against the baseline is called one only where it exceeds what the rounds of both runs scatter by.",
        "Driver, references and gateway share the machine's cores: at many connections a ratio of throughputs is one of the \
         processor time that a request takes.",
    ];
    let notes: String = notes.iter().map(|note| format!("<li>{note}</li>")).collect();
    format!("<section><h2>How to read it</h2><ul>{notes}</ul></section>")
}
