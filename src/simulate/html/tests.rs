use super::*;
use crate::simulate::report::{ByCategory, Told};

fn told(outcome: &'static str, reason: &'static str) -> Told {
    Told { outcome, reason, age_ms: Some(90_000) }
}

fn sample() -> Report {
    let side = Side { requests: 1234, hits_exact: 900, hit_share: 0.75, ..Side::default() };
    let change = Change {
        at_ms: 0,
        query: Some("<script>alert(\"1\")</script> & so on".to_owned()),
        category: "a<b".to_owned(),
        model: "m".to_owned(),
        today: told("hit-exact", "exact"),
        proposed: told("miss", "expired"),
    };
    Report {
        requests: 1234,
        span_ms: 3_600_000,
        today: side.clone(),
        proposed: side.clone(),
        categories: vec![ByCategory { category: "a<b".to_owned(), today: side.clone(), proposed: side }],
        changes: vec![change],
        changes_total: 7,
        series: vec![
            Point { at_ms: 0, requests: 4, today: 3, proposed: 1 },
            Point { at_ms: 60_000, requests: 0, today: 0, proposed: 0 },
        ],
        notes: vec!["one & all".to_owned()],
    }
}

#[test]
fn the_page_stands_alone_and_escapes_what_the_traffic_says() {
    let page = page(&sample());
    assert!(!page.contains("<script") && !page.contains("http"), "nothing runs and nothing is fetched");
    assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; so on"));
    assert!(page.contains("a&lt;b") && !page.contains("a<b") && page.contains("one &amp; all"));
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn the_page_shows_both_sides_the_changes_and_a_plot() {
    let page = page(&sample());
    assert!(page.contains("1\u{202f}234") && page.contains("75.00 %") && page.contains("no prices"));
    assert!(page.contains("hit-exact (exact, 1m 30s old)") && page.contains("miss (expired, 1m 30s old)"));
    assert!(page.contains("7 in all; the first ones"));
    assert!(page.matches("<polyline").count() == 2 && !page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn a_single_moment_has_no_plot_and_no_change_is_said_to_be_none() {
    let report = Report { series: vec![Point::default()], changes: Vec::new(), changes_total: 0, ..sample() };
    let page = page(&report);
    assert!(!page.contains("<svg") && page.contains("<p>None.</p>"));
}
