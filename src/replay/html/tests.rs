use super::*;
use crate::replay::{Seen, case::Expect, report::Bounds};

fn record(number: u8, expect: Expect, p: f32) -> Record {
    let served = p > 0.5;
    Record {
        id: format!("n-{number}"),
        kind: "number".to_owned(),
        category: "default".to_owned(),
        expect,
        outcome: if served { Seen::Hit } else { Seen::Miss },
        why: "verifier-rejected".to_owned(),
        seed: "Is 3 < 4 & \"so\"?".to_owned(),
        ask: "<script>alert(1)</script>".to_owned(),
        served_for: None,
        similarity: None,
        p_same: Some(PSame::new(p)),
        bar: Some(0.5),
        cost: None,
        is_wrong_hit: served && expect == Expect::Miss,
    }
}

fn sample() -> Vec<Record> {
    let p = |number: u8| f32::from(number) / 10.0;
    let same = (0..10u8).map(|number| record(number, Expect::Hit, p(number)));
    same.chain((10..20u8).map(|number| record(number, Expect::Miss, p(number - 10) / 1.5))).collect()
}

#[test]
fn the_page_stands_alone_and_escapes_what_cases_say() {
    let records = sample();
    let page = page(&Report::of(&records, false, &Bounds::default()), &records);
    assert!(!page.contains("<script") && !page.contains("http") && page.contains("&lt;script&gt;"));
    assert!(page.contains("Is 3 &lt; 4 &amp; &quot;so&quot;?"));
    assert_eq!(page.matches("<svg").count(), 4, "all, reliability, one kind, one category");
    assert!(page.contains("n-18") && page.contains("n-5") && !page.contains("<code>n-12"));
}

#[test]
fn a_curve_rises_to_the_right_and_a_sample_of_one_kind_draws_too() {
    let records = sample();
    let of_one_kind: Vec<&Record> = records.iter().take(3).collect();
    for drawn in [plot::trade_off(&of_one_kind, &Tally::default()), plot::reliability(&[])] {
        assert!(drawn.starts_with("<svg") && !drawn.contains("NaN") && !drawn.contains("inf"));
    }
}
