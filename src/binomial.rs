//! How far a share seen in a few trials can be from the true one: one-sided Clopper-Pearson bounds.

/// The largest true share that is still believable at `confidence` when `bad` of `trials` were seen; 1 without trials.
pub fn upper_bound(bad: u64, trials: u64, confidence: f64) -> f64 {
    if trials == 0 || bad >= trials {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let share = f64::midpoint(low, high);
        if at_most(bad, trials, share) > 1.0 - confidence { low = share } else { high = share }
    }
    high
}

/// The smallest true share that is still believable; 0 when none was seen.
pub fn lower_bound(good: u64, trials: u64, confidence: f64) -> f64 {
    if good == 0 || trials == 0 { 0.0 } else { 1.0 - upper_bound(trials - good.min(trials), trials, confidence) }
}

/// P(X <= seen) of a binomial distribution, summed from logarithms so that nothing underflows on the way.
fn at_most(seen: u64, trials: u64, share: f64) -> f64 {
    let (yes, no) = (share.ln(), (-share).ln_1p());
    let mut choose = 0.0;
    let mut sum = 0.0;
    for k in 0..=seen {
        let (k, n) = (as_f64(k), as_f64(trials));
        sum += (choose + k * yes + (n - k) * no).exp();
        choose += ((n - k) / (k + 1.0)).ln();
    }
    sum.min(1.0)
}

fn as_f64(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// `part` of `whole`, 0 when there is no whole.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { as_f64(part) / as_f64(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-4
    }

    #[test]
    fn bounds_are_those_of_the_tables() {
        assert!(near(upper_bound(0, 100, 0.95), 0.02951));
        assert!(near(upper_bound(1, 100, 0.95), 0.04656));
        assert!(near(upper_bound(5, 50, 0.95), 0.19879), "{}", upper_bound(5, 50, 0.95));
        assert!(near(lower_bound(100, 100, 0.95), 1.0 - 0.02951));
        assert!(upper_bound(40, 4000, 0.95) > 0.01 && upper_bound(40, 4000, 0.95) < 0.0135);
    }

    #[test]
    fn without_trials_everything_is_believable() {
        assert!(near(upper_bound(0, 0, 0.95), 1.0) && near(lower_bound(0, 0, 0.95), 0.0));
        assert!(near(upper_bound(3, 3, 0.95), 1.0) && near(share(1, 0), 0.0));
    }
}
