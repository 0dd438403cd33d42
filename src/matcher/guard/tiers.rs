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
