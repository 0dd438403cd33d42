//! How far a share seen in a few trials can be from the true one: exact one-sided bounds (Clopper and Pearson, 1934),
//! without a statistics library.
//!
//! The bounds are quantiles of beta distributions; the regularised incomplete beta function is a continued fraction
//! (Lentz's method) and its inverse a bisection, which cannot run away.

/// Steps of the bisection: each halves the interval, so this is more than a double can tell apart.
const HALVINGS: usize = 64;
/// Terms of the continued fraction; it converges in about the square root of the larger parameter.
const TERMS: usize = 10_000;
/// Stands for zero in a denominator.
const TINY: f64 = 1e-300;

/// One-sided bounds on the share behind `wrong` of `seen`, each missed with probability `alpha`: (lower, upper).
/// Nothing seen says nothing: (0, 1).
pub fn clopper_pearson(wrong: u64, seen: u64, alpha: f64) -> (f64, f64) {
    let wrong = wrong.min(seen);
    let (k, n) = (as_f64(wrong), as_f64(seen));
    let lower = if wrong == 0 { 0.0 } else { beta_quantile(alpha, k, n - k + 1.0) };
    let upper = if wrong == seen { 1.0 } else { beta_quantile(1.0 - alpha, k + 1.0, n - k) };
    (lower, upper)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
/// A count as a float, exact below 2^53.
pub const fn as_f64(count: u64) -> f64 {
    count as f64
}

/// The value below which a share `p` of the beta distribution lies.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if beta_cdf(middle, a, b) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function.
fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    // The fraction converges fast on one side of the mean only; the function is symmetric.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    let mut m = 0.0;
    for _ in 0..TERMS {
        m += 1.0;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / nonzero(1.0 + term * d);
            c = nonzero(1.0 + term / c);
            step = c * d;
            value *= step;
        }
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    value
}

/// Logarithm of the gamma function for positive arguments (Lanczos, g = 7, nine terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let mut at = x;
    let mut sum = 0.999_999_999_999_809_9;
    for term in TERMS {
        at += 1.0;
        sum += term / at;
    }
    let t = x + 7.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The largest true share that is still believable at `confidence` when `bad` of `trials` were seen; 1 without trials.
pub fn upper_bound(bad: u64, trials: u64, confidence: f64) -> f64 {
    clopper_pearson(bad, trials, 1.0 - confidence).1
}

/// The smallest true share that is still believable; 0 when none was seen.
pub fn lower_bound(good: u64, trials: u64, confidence: f64) -> f64 {
    clopper_pearson(good, trials, 1.0 - confidence).0
}

/// `part` of `whole`, 0 when there is no whole.
pub const fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { as_f64(part) / as_f64(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_tables() {
        assert!(near(upper_bound(0, 100, 0.95), 0.02951, 1e-4));
        assert!(near(upper_bound(1, 100, 0.95), 0.04656, 1e-4));
        assert!(near(upper_bound(5, 50, 0.95), 0.19879, 1e-4), "{}", upper_bound(5, 50, 0.95));
        assert!(near(lower_bound(100, 100, 0.95), 1.0 - 0.02951, 1e-4));
        assert!(upper_bound(40, 4000, 0.95) > 0.01 && upper_bound(40, 4000, 0.95) < 0.0135);
    }

    #[test]
    fn without_trials_everything_is_believable() {
        assert!(near(upper_bound(0, 0, 0.95), 1.0, 1e-4) && near(lower_bound(0, 0, 0.95), 0.0, 1e-4));
        assert!(near(upper_bound(3, 3, 0.95), 1.0, 1e-4) && near(share(1, 0), 0.0, 1e-4));
    }

    fn near(a: f64, b: f64, within: f64) -> bool {
        (a - b).abs() < within
    }

    /// P(X <= k) of a binomial, summed in logarithms.
    fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
        let choose = |j: u64| ln_gamma(as_f64(n) + 1.0) - ln_gamma(as_f64(j) + 1.0) - ln_gamma(as_f64(n - j) + 1.0);
        (0..=k).map(|j| (choose(j) + as_f64(j) * p.ln() + as_f64(n - j) * (-p).ln_1p()).exp()).sum()
    }

    #[test]
    fn bounds_are_those_of_the_closed_forms() {
        // None wrong of n: 1 - alpha^(1/n). All wrong: alpha^(1/n).
        assert!(near(clopper_pearson(0, 100, 0.05).1, 1.0 - 0.05f64.powf(0.01), 1e-12));
        assert!(near(clopper_pearson(0, 100, 0.025).1, 0.036_216_69, 1e-8));
        assert!(near(clopper_pearson(50, 50, 0.05).0, 0.05f64.powf(0.02), 1e-12));
        assert_eq!(clopper_pearson(0, 0, 0.05), (0.0, 1.0));
    }

    #[test]
    fn bounds_are_those_of_published_tables() {
        // Two-sided 95 % of 10 in 100 and of 4 in 20.
        let (low, high) = clopper_pearson(10, 100, 0.025);
        assert!(near(low, 0.0490, 5e-5) && near(high, 0.1762, 5e-5), "{low} {high}");
        let (low, high) = clopper_pearson(4, 20, 0.025);
        assert!(near(low, 0.0573, 5e-5) && near(high, 0.4366, 5e-5), "{low} {high}");
    }

    #[test]
    fn a_bound_is_where_the_binomial_tail_is_alpha() {
        for (k, n) in [(1, 10), (3, 47), (20, 1000), (499, 1000), (7, 100_000)] {
            let (low, high) = clopper_pearson(k, n, 0.05);
            assert!(near(binomial_cdf(k, n, high), 0.05, 1e-8), "upper of {k}/{n}");
            assert!(near(1.0 - binomial_cdf(k - 1, n, low), 0.05, 1e-8), "lower of {k}/{n}");
        }
    }
}
