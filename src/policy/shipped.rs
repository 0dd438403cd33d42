//! The policy files that come with the program.

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../policies/", $name)))),+]
    };
}

/// Name and text of each, sorted by name.
pub(super) const FILES: &[(&str, &str)] = files![
    "account-balance.toml",
    "breaking-news.toml",
    "chit-chat.toml",
    "code-help.toml",
    "company-policy.toml",
    "default.toml",
    "documentation.toml",
    "live-inventory.toml",
    "personal-health.toml",
    "prices-and-markets.toml",
    "product-faq.toml",
    "reference-facts.toml",
    "social-feed.toml",
    "writing.toml",
];
