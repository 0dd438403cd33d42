//! What the performance report calls met, short, better and worse.

#![expect(dead_code, reason = "the report itself uses the rest")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../benches/performance/figures.rs"]
mod figures;
#[path = "../benches/shared/rows.rs"]
mod rows;
#[path = "../benches/performance/verdict.rs"]
mod verdict;

use figures::{Named, Round};
use rows::{File, Judged, Row};
use verdict::{Kind, Standing, changes, standing};

/// A row of rounds against a reference of 100.
fn row(named: Named, values: &[f64]) -> Row {
    let rounds: Vec<Round> = values.iter().map(|value| Round { value: *value, reference: Some(100.0) }).collect();
    named.row(&rounds).unwrap()
}

fn hit(values: &[f64]) -> Row {
    row(Named::ratio("exact-hit-p50-1", "Exact hit", "us", "bare server"), values)
}

fn throughput(values: &[f64]) -> Row {
    let named = Named::ratio("exact-hit-throughput-16", "Exact hit", "requests/s", "bare server");
    row(Named { lower_is_better: false, ..named }, values)
}

fn file(machine: &str, rows: Vec<Row>) -> File {
    File { machine: machine.to_owned(), rows }
}

/// What becomes of `is` against `was`.
fn compared(was: Row, is: Row) -> Kind {
    changes(&file("this", vec![is]), &file("this", vec![was]))[0].kind
}

#[test]
fn a_ratio_is_the_median_of_the_rounds_ratios_and_not_of_the_medians() {
    let named = Named::ratio("exact-hit-p50-1", "Exact hit", "us", "bare server");
    let rounds = [(10.0, 10.0), (40.0, 20.0), (90.0, 30.0)];
    let rounds = rounds.map(|(value, reference)| Round { value, reference: Some(reference) });
    let row = named.row(&rounds).unwrap();
    assert_eq!((row.value, row.ratio), (40.0, Some(2.0)));
    assert_eq!(row.spread, Some([1.0, 3.0]));
}

#[test]
fn a_row_is_held_against_its_bar_in_its_own_direction() {
    let of = |ratio: f64| standing(&hit(&[ratio * 100.0]));
    assert_eq!([1.1, 1.2, 1.5, 1.6, 1.7].map(of), {
        use Standing::{Aim, Met, Short};
        [Aim, Aim, Met, Met, Short]
    });
    let of = |ratio: f64| standing(&throughput(&[ratio * 100.0]));
    assert_eq!([0.9, 0.7, 0.5, 0.4, 0.3].map(of), {
        use Standing::{Aim, Met, Short};
        [Aim, Aim, Met, Met, Short]
    });
}

#[test]
fn a_row_without_a_bar_is_only_told_and_a_bar_without_a_figure_is_missed() {
    let named = Named::ratio("exact-hit-p50-64", "Exact hit", "us", "bare server");
    assert_eq!(standing(&row(named, &[100.0])), Standing::Told);
    assert_eq!(standing(&Row { ratio: None, ..hit(&[100.0]) }), Standing::Short);
}

#[test]
fn a_change_inside_the_noise_of_either_run_is_none() {
    let (quiet, noisy) = ([150.0, 151.0, 152.0], [110.0, 151.0, 190.0]);
    let quieter = [130.0, 131.0, 132.0];
    assert_eq!(compared(hit(&quiet), hit(&quieter)), Kind::Better);
    assert_eq!(compared(hit(&quieter), hit(&quiet)), Kind::Worse);
    assert_eq!(compared(hit(&noisy), hit(&quieter)), Kind::Same);
    assert_eq!(compared(hit(&quieter), hit(&noisy)), Kind::Same);
}

#[test]
fn more_throughput_is_better_and_more_time_worse() {
    assert_eq!(compared(throughput(&[50.0; 3]), throughput(&[60.0; 3])), Kind::Better);
    assert_eq!(compared(hit(&[150.0; 3]), hit(&[180.0; 3])), Kind::Worse);
}

#[test]
fn rounds_that_agree_by_chance_do_not_make_a_small_change_one() {
    assert_eq!(compared(hit(&[150.0; 3]), hit(&[152.0; 3])), Kind::Same);
}

#[test]
fn a_run_of_too_few_rounds_does_not_know_its_noise() {
    assert_eq!(compared(hit(&[150.0]), hit(&[135.0])), Kind::Same);
    assert_eq!(compared(hit(&[150.0]), hit(&[120.0])), Kind::Better);
}

#[test]
fn values_of_another_machine_are_not_compared_but_ratios_are() {
    let start = |seconds: f64| row(Named::value("start-ready-empty", "Start", "s", "bare server"), &[seconds; 3]);
    let was = file("that", vec![start(0.3), hit(&[150.0; 3])]);
    let now = file("this", vec![start(0.6), hit(&[100.0; 3])]);
    let kinds: Vec<Kind> = changes(&now, &was).iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [Kind::NotComparable, Kind::Better]);
}

#[test]
fn a_row_that_the_baseline_lacks_is_new() {
    let now = file("this", vec![hit(&[150.0; 3])]);
    assert_eq!(changes(&now, &file("this", Vec::new()))[0].kind, Kind::New);
}

#[test]
fn a_merged_file_may_leave_out_what_is_optional() {
    let text = r#"{"rows": [{"id": "storage-size", "title": "Disk", "unit": "MB", "value": 3.0, "reference": null,
        "ratio": null, "bar": 4.0, "aim": null, "judged": "value", "lower_is_better": true}]}"#;
    let file: File = serde_json::from_str(text).unwrap();
    assert_eq!((standing(&file.rows[0]), file.rows[0].judged), (Standing::Met, Judged::Value));
}
