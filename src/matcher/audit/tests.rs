use super::*;

const BUDGET: f64 = 0.02;

/// Audits after which a category with this share of wrong hits trips, within `hits` of which a share is audited.
fn trips_after(seed: u64, share: f64, audited: f64, hits: u32) -> Option<u64> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut ledger = Ledger::default();
    let mut audits = 0;
    for _ in 0..hits {
        ledger.served();
        if random.f64() >= audited {
            continue;
        }
        audits += 1;
        let agreement = if random.f64() < share { Agreement::Different } else { Agreement::Same };
        if ledger.compared(agreement, BUDGET, 0) == Some(Change::Tripped) {
            return Some(audits);
        }
    }
    None
}

fn trips(seeds: std::ops::Range<u64>, share: f64, audited: f64, hits: u32) -> usize {
    seeds.filter(|seed| trips_after(*seed, share, audited, hits).is_some()).count()
}

#[test]
fn a_category_with_five_percent_wrong_hits_trips_within_ten_thousand() {
    let after: Vec<u64> = (0..100).filter_map(|seed| trips_after(seed, 0.05, 1.0, 10_000)).collect();
    assert_eq!(after.len(), 100);
    let mean = after.iter().sum::<u64>() / 100;
    assert!(mean < 600, "{mean} audits on average");
}

#[test]
fn a_clean_category_does_not_trip_in_ten_thousand_hits() {
    // A quarter of the budget, all audited, a hundred categories. At alpha = 0.01 a round, ten rounds each, the bound at
    // the budget itself would allow ten; this far below it the chance of one is under one in a thousand.
    assert_eq!(trips(0..100, 0.005, 1.0, 10_000), 0);
    assert_eq!(trips(0..100, 0.005, 0.02, 10_000), 0);
}

#[test]
fn at_the_budget_false_trips_stay_within_their_probability() {
    // 500 rounds at exactly the budget: at most 5 expected, and more than 13 has a probability below one in a thousand.
    let false_trips = trips(0..500, BUDGET, 1.0, u32::try_from(ROUND).unwrap());
    assert!(false_trips <= 13, "{false_trips} of 500");
}

#[test]
fn a_good_past_does_not_hide_a_bad_present() {
    let mut ledger = Ledger::default();
    for _ in 0..5 * ROUND {
        assert_eq!(ledger.compared(Agreement::Same, BUDGET, 0), None);
    }
    let tripped = (0..ROUND).position(|at| {
        let agreement = if at % 5 == 0 { Agreement::Different } else { Agreement::Same };
        ledger.compared(agreement, BUDGET, 7) == Some(Change::Tripped)
    });
    assert!(tripped.is_some_and(|audits| audits < 100), "{tripped:?}");
    assert_eq!(ledger.trip.map(|trip| (trip.at_ms, trip.by)), Some((7, TrippedBy::Audits)));
}

fn tripped() -> Ledger {
    let mut ledger = Ledger::default();
    while ledger.compared(Agreement::Different, BUDGET, 0).is_none() {}
    ledger
}

#[test]
fn a_tripped_category_recovers_by_clean_comparisons_and_not_before() {
    let mut ledger = tripped();
    let recovered = (1..).find(|_| ledger.compared(Agreement::Same, BUDGET, 0) == Some(Change::Recovered)).unwrap();
    assert!((150..400).contains(&recovered), "{recovered}");
    assert_eq!(ledger, Ledger::default());
}

#[test]
fn a_tripped_category_that_is_still_bad_stays_tripped() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut ledger = tripped();
        for _ in 0..10_000 {
            let agreement = if random.f64() < 0.05 { Agreement::Different } else { Agreement::Same };
            assert_eq!(ledger.compared(agreement, BUDGET, 0), None, "seed {seed}");
        }
    }
}

#[test]
fn what_cannot_be_told_counts_on_neither_side() {
    let mut ledger = Ledger::default();
    for _ in 0..1000 {
        assert_eq!(ledger.compared(Agreement::Unsure, BUDGET, 0), None);
    }
    assert_eq!((ledger.unsure, ledger.audited()), (1000, Tally::default()));
}

#[test]
fn reports_weigh_against_the_hits_served() {
    let mut busy = Ledger::default();
    (0..5000).for_each(|_| busy.served());
    assert!((0..20).all(|_| busy.reported(BUDGET, 0).is_none()), "20 of 5000 is within a budget of 2 %");
    let mut small = Ledger::default();
    (0..20).for_each(|_| small.served());
    let changes: Vec<_> = (0..5).filter_map(|_| small.reported(BUDGET, 0)).collect();
    assert_eq!(changes, [Change::Tripped], "5 of 20 is not, and it trips once");
    assert_eq!(small.trip.map(|trip| trip.by), Some(TrippedBy::Reports));
}

#[test]
fn a_budget_of_nothing_trips_at_the_first_wrong_hit() {
    let mut ledger = Ledger::default();
    (0..500).for_each(|_| assert_eq!(ledger.compared(Agreement::Same, 0.0, 0), None));
    let changes: Vec<_> = (0..2).filter_map(|_| ledger.compared(Agreement::Different, 0.0, 0)).collect();
    assert_eq!(changes, [Change::Tripped]);
}

#[test]
fn books_survive_being_written_down() {
    let mut ledger = tripped();
    ledger.served();
    let text = serde_json::to_string(&ledger).unwrap();
    assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    assert_eq!(serde_json::from_str::<Ledger>("{}").unwrap(), Ledger::default(), "older books lack what is new");
}
