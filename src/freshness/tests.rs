use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_millis(secs * 1000)
}

fn policy() -> Freshness {
    Freshness { ttl: secs(100), stale_while_revalidate: secs(50), stale_if_error: HOUR }
}

fn entry() -> Facts {
    Facts { generated_at: at(1000), invalidated_at: None, ttl_limit: None }
}

fn verdict(bounds: Bounds, now: i64) -> Verdict {
    assess(&entry(), &policy(), &bounds, at(now)).verdict
}

#[test]
fn an_answer_ages_from_fresh_through_both_stale_windows_to_expired() {
    let none = Bounds::default();
    assert_eq!(verdict(none, 1000), Verdict::Fresh { remaining: secs(100) });
    assert_eq!(verdict(none, 1099), Verdict::Fresh { remaining: secs(1) });
    assert_eq!(verdict(none, 1100), Verdict::StaleWhileRevalidate { past: secs(0) });
    assert_eq!(verdict(none, 1150), Verdict::StaleWhileRevalidate { past: secs(50) });
    assert_eq!(verdict(none, 1151), Verdict::StaleIfErrorOnly { past: secs(51) });
    assert_eq!(verdict(none, 1100 + 3601), Verdict::Expired);
}

#[test]
fn zero_ttl_is_never_served_whatever_the_windows_and_the_request_say() {
    let zero = Freshness { ttl: Duration::ZERO, ..policy() };
    let eager = Bounds { max_stale: Some(Duration::MAX), ..Bounds::default() };
    for now in [900, 1000, 1001, 9000] {
        assert_eq!(assess(&entry(), &zero, &eager, at(now)).verdict, Verdict::Expired);
    }
    let limited = Facts { ttl_limit: Some(Duration::ZERO), ..entry() };
    assert_eq!(assess(&limited, &policy(), &eager, at(1000)).verdict, Verdict::Expired);
}

#[test]
fn max_age_is_usable_up_to_and_including_its_second() {
    let bounds = Bounds { max_age: Some(secs(60)), ..Bounds::default() };
    assert_eq!(verdict(bounds, 1060), Verdict::Fresh { remaining: secs(40) });
    assert_eq!(verdict(bounds, 1061), Verdict::StaleIfErrorOnly { past: secs(1) });
}

#[test]
fn max_age_zero_asks_for_a_refresh_even_of_an_answer_made_now() {
    let bounds = Bounds { max_age: Some(Duration::ZERO), max_stale: Some(HOUR), ..Bounds::default() };
    assert_eq!(verdict(bounds, 1000), Verdict::StaleIfErrorOnly { past: Duration::ZERO });
}

#[test]
fn min_fresh_wants_that_much_ttl_left() {
    let bounds = Bounds { min_fresh: Some(secs(40)), ..Bounds::default() };
    assert!(matches!(verdict(bounds, 1060), Verdict::Fresh { .. }));
    assert_eq!(verdict(bounds, 1061), Verdict::StaleIfErrorOnly { past: secs(1) });
}

#[test]
fn max_stale_opens_no_more_than_the_policy_allows() {
    let bounds = Bounds { max_stale: Some(Duration::MAX), ..Bounds::default() };
    assert_eq!(verdict(bounds, 1200), Verdict::StaleAsked { past: secs(100) });
    assert_eq!(verdict(bounds, 1100 + 3601), Verdict::Expired);
}

#[test]
fn a_small_max_stale_shortens_stale_while_revalidate() {
    let bounds = Bounds { max_stale: Some(secs(10)), ..Bounds::default() };
    assert_eq!(verdict(bounds, 1110), Verdict::StaleWhileRevalidate { past: secs(10) });
    assert_eq!(verdict(bounds, 1111), Verdict::StaleIfErrorOnly { past: secs(11) });
}

#[test]
fn a_request_shortens_but_never_extends_stale_if_error() {
    let long = Bounds { stale_if_error: Some(HOUR * 9), ..Bounds::default() };
    assert_eq!(verdict(long, 1100 + 3601), Verdict::Expired);
    let short = Bounds { stale_if_error: Some(secs(60)), ..Bounds::default() };
    assert_eq!(verdict(short, 1161), Verdict::Expired);
}

#[test]
fn a_purge_wins_over_the_ttl_and_over_a_clock_that_went_back() {
    let purged = Facts { invalidated_at: Some(at(1010)), ..entry() };
    let judged = assess(&purged, &policy(), &Bounds::default(), at(1020));
    assert_eq!(judged.verdict, Verdict::StaleWhileRevalidate { past: secs(10) });
    assert_eq!(judged.ttl_remaining_secs(), -10);
    let back = assess(&purged, &policy(), &Bounds::default(), at(1005));
    assert!(!matches!(back.verdict, Verdict::Fresh { .. }));
}

#[test]
fn a_clock_that_went_back_shows_age_zero() {
    let judged = assess(&entry(), &policy(), &Bounds::default(), at(500));
    assert_eq!((judged.age, judged.ttl_remaining_secs()), (Duration::ZERO, 100));
}

#[test]
fn ttl_remaining_is_negative_once_stale_and_rounds_down() {
    let now = Timestamp::from_millis(1_137_500);
    assert_eq!(assess(&entry(), &policy(), &Bounds::default(), now).ttl_remaining_secs(), -38);
}

#[test]
fn a_shorter_policy_takes_effect_on_the_next_read() {
    let shorter = Freshness { ttl: secs(10), stale_while_revalidate: secs(0), stale_if_error: secs(0) };
    assert_eq!(assess(&entry(), &shorter, &Bounds::default(), at(1050)).verdict, Verdict::Expired);
}

#[test]
fn a_zero_cap_closes_every_window_and_a_small_cap_limits_each() {
    assert_eq!(policy().capped(Duration::ZERO), Freshness::NEVER);
    let capped = policy().capped(secs(60));
    assert_eq!((capped.ttl, capped.stale_while_revalidate, capped.stale_if_error), (secs(60), secs(50), secs(60)));
}

/// Larger is worse.
fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Fresh { .. } => 0,
        Verdict::StaleWhileRevalidate { .. } => 1,
        Verdict::StaleAsked { .. } => 2,
        Verdict::StaleIfErrorOnly { .. } => 3,
        Verdict::Expired => 4,
    }
}

fn small() -> impl Strategy<Value = Duration> {
    (0u64..40).prop_map(Duration::from_secs)
}

fn any_policy() -> impl Strategy<Value = Freshness> {
    (small(), small(), small()).prop_map(|(ttl, stale_while_revalidate, stale_if_error)| Freshness {
        ttl,
        stale_while_revalidate,
        stale_if_error,
    })
}

fn any_facts() -> impl Strategy<Value = Facts> {
    (0i64..60, prop::option::of(0i64..60), prop::option::of(small())).prop_map(|(made, purged, ttl_limit)| Facts {
        generated_at: at(made),
        invalidated_at: purged.map(|p| at(made + p)),
        ttl_limit,
    })
}

fn any_bounds() -> impl Strategy<Value = Bounds> {
    let own = || prop::option::of(small());
    (own(), own(), own(), own(), own()).prop_map(|(max_age, min_fresh, max_stale, stale_if_error, ttl_limit)| Bounds {
        max_age,
        min_fresh,
        max_stale,
        stale_if_error,
        ttl_limit,
    })
}

proptest! {
    #[test]
    fn time_only_makes_a_verdict_worse(f in any_facts(), p in any_policy(), b in any_bounds(), now in 0i64..150, later in 0i64..80) {
        // What lies ahead of the clock is never served, and removed before time reaches it.
        let now = now.max(f.generated_at.as_secs());
        let first = assess(&f, &p, &b, at(now));
        let second = assess(&f, &p, &b, at(now + later));
        prop_assert!(rank(first.verdict) <= rank(second.verdict), "{first:?} then {second:?}");
        prop_assert!(first.ttl_remaining_ms >= second.ttl_remaining_ms);
    }

    #[test]
    fn nothing_is_fresh_past_its_ttl_or_after_a_purge(f in any_facts(), p in any_policy(), b in any_bounds(), now in 0i64..200) {
        let judged = assess(&f, &p, &b, at(now));
        if let Verdict::Fresh { remaining } = judged.verdict {
            prop_assert!(judged.age < p.ttl && f.invalidated_at.is_none());
            prop_assert!(remaining <= p.ttl && judged.ttl_remaining_ms > 0);
        }
    }

    #[test]
    fn nothing_is_served_beyond_the_longest_window_of_the_policy(f in any_facts(), p in any_policy(), b in any_bounds(), now in 0i64..300) {
        let judged = assess(&f, &p, &b, at(now));
        if judged.verdict != Verdict::Expired {
            prop_assert!(judged.age <= p.ttl + p.longest_stale());
        }
    }

    #[test]
    fn a_bound_that_shortens_never_makes_an_answer_fresher(f in any_facts(), p in any_policy(), b in any_bounds(), which in 0u8..4, by in small(), now in 0i64..200) {
        let mut tighter = b;
        let shorten = |old: Option<Duration>| Some(old.map_or(by, |o| o.min(by)));
        match which {
            0 => tighter.max_age = shorten(b.max_age),
            1 => tighter.min_fresh = Some(b.min_fresh.map_or(by, |o| o.max(by))),
            2 => tighter.stale_if_error = shorten(b.stale_if_error),
            _ => tighter.ttl_limit = shorten(b.ttl_limit),
        }
        let (before, after) = (assess(&f, &p, &b, at(now)), assess(&f, &p, &tighter, at(now)));
        prop_assert!(rank(after.verdict) >= rank(before.verdict), "{before:?} then {after:?}");
    }

    #[test]
    fn a_stricter_policy_never_makes_an_answer_fresher(f in any_facts(), p in any_policy(), b in any_bounds(), cap in small(), now in 0i64..200) {
        let (before, after) = (assess(&f, &p, &b, at(now)), assess(&f, &p.capped(cap), &b, at(now)));
        prop_assert!(rank(after.verdict) >= rank(before.verdict), "{before:?} then {after:?}");
    }
}

#[test]
fn a_refresh_ahead_comes_near_the_end_only_and_sooner_for_answers_that_take_long() {
    let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
    let due = |left: Duration, cost: Duration, draw: f64| is_due_early(left, hour, cost, draw);
    assert!(!due(hour, second, f64::EPSILON), "the luckiest draw is worth some 36 times the cost");
    assert!(!due(second, second, 1.0) && !due(Duration::ZERO, second, 1.0));
    assert!(
        due(second, second, 0.3) && !due(second, second, 0.4),
        "the chance is 1/e when as much time is left as it takes"
    );
    assert!(due(second * 10, second * 10, 0.3));
    let minute = Duration::from_secs(60);
    assert!(!is_due_early(minute / 2, minute, hour, 0.001), "a slow upstream does not eat up a short lifetime");
}
