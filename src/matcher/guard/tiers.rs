//! Tiers, plans and service levels.

/// A section is a kind; two values of one kind exclude each other.
pub(super) const LIST: &str = "
[plan]
free, free plan, free tier, free of charge
basic, basic plan
starter, starter plan
standard, standard plan, regular, normal
plus plan
pro, pro plan
premium, premium plan
business plan
team plan
family plan
student plan
individual plan
enterprise, enterprise plan
gold
silver
platinum
bronze
express
overnight
economy, economy class, coach class
business class
first class
traditional
trial
[loan]
fixed rate, fixed
variable rate, variable, adjustable rate
[term]
short term
long term
[beta]
beta
stable
nightly
alpha
lts
[environment]
production, prod
staging
development environment
test environment
";

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_tiers_differ() {
        for (a, b) in [
            ("Is chat in the free plan?", "Is chat in the premium plan?"),
            ("How long does standard shipping take?", "How long does express shipping take?"),
        ] {
            assert!(slots(a, b).contains(&Slot::Tier), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn the_same_tier_matches() {
        let (a, b) = ("Is chat in the pro plan?", "Is chat part of the pro plan?");
        assert!(!slots(a, b).contains(&Slot::Tier), "{a} / {b}: {:?}", slots(a, b));
    }
}
