//! What models cost: a dated list that ships with the gateway and that its operator may replace.
//!
//! Invariant: a model that is not listed has no price. Nothing is guessed, for a saving that is made up is worse than none.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::{binomial::as_f64, wire::Usage};

/// The list that ships.
const SHIPPED: &str = include_str!("../prices.toml");
/// Prices are given for this many tokens.
const TOKENS: f64 = 1_000_000.0;

/// US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of the prompt.
    pub input: f64,
    /// Of the answer.
    pub output: f64,
}

impl Price {
    /// What these tokens cost, in US dollars.
    pub fn of(self, usage: Usage) -> f64 {
        (as_f64(usage.input) * self.input + as_f64(usage.output) * self.output) / TOKENS
    }

    fn is_sound(self) -> bool {
        let sound = |price: f64| price.is_finite() && price >= 0.0;
        sound(self.input) && sound(self.output)
    }
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PriceProblem {
    /// It cannot be read.
    #[error("the price list {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It is no price list.
    #[error("the price list {path} is not one: {message}; copy the shipped prices.toml and change that")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    dated: String,
    currency: String,
    models: BTreeMap<String, Price>,
}

/// A list of prices.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    dated: String,
    models: BTreeMap<String, Price>,
}

impl Prices {
    /// The list that ships.
    pub fn shipped() -> Self {
        // A test reads it.
        Self::parse(SHIPPED, "prices.toml").unwrap_or_else(|_| Self::none())
    }

    /// A list without prices: everything is counted in tokens.
    pub const fn none() -> Self {
        Self { dated: String::new(), models: BTreeMap::new() }
    }

    /// Reads a list.
    ///
    /// # Errors
    /// The file cannot be read or is no price list.
    pub fn load(path: &Path) -> Result<Self, PriceProblem> {
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &shown),
            Err(source) => Err(PriceProblem::Unreadable { path: shown, source }),
        }
    }

    fn parse(text: &str, path: &str) -> Result<Self, PriceProblem> {
        let malformed = |message: String| PriceProblem::Malformed { path: path.to_owned(), message };
        let File { dated, currency, models } =
            toml_edit::de::from_str(text).map_err(|error| malformed(error.message().to_owned()))?;
        if currency != "USD" {
            return Err(malformed(format!("currency is {currency:?}; only \"USD\" is counted")));
        }
        match models.iter().find(|(_, price)| !price.is_sound()) {
            Some((model, _)) => Err(malformed(format!("the price of {model:?} is negative or no number"))),
            None => Ok(Self { dated, models }),
        }
    }

    /// The day the prices were true, as written.
    pub fn dated(&self) -> &str {
        &self.dated
    }

    /// The price of `model`, as requests and answers name it.
    pub fn of(&self, model: &str) -> Option<Price> {
        self.models.get(model).or_else(|| self.models.get(undated(model)?)).copied()
    }

    /// What `usage` of `model` costs, in US dollars; `None` without a price.
    pub fn cost(&self, model: &str, usage: Usage) -> Option<f64> {
        self.of(model).map(|price| price.of(usage))
    }
}

/// The model that a dated name is a version of: `gpt-4o-2024-08-06`, `claude-sonnet-4-5-20250929`, `...-latest`.
fn undated(model: &str) -> Option<&str> {
    if let Some(name) = model.strip_suffix("-latest") {
        return Some(name);
    }
    let (start, _) = model.match_indices("-20").last().filter(|(at, _)| is_date(&model[at + 1..]))?;
    model.get(..start)
}

fn is_date(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let rest = text.bytes().filter(|byte| !byte.is_ascii_digit()).collect::<Vec<_>>();
    digits == 8 && (rest.is_empty() || rest == b"--")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLION: Usage = Usage { input: 1_000_000, output: 1_000_000 };

    #[test]
    fn the_shipped_list_is_read_whole_and_dated() {
        let prices = Prices::parse(SHIPPED, "prices.toml").unwrap();
        assert_eq!(prices, Prices::shipped());
        assert_eq!(prices.dated().len(), "2025-11-01".len());
        assert!(prices.models.len() > 20);
    }

    #[test]
    fn a_dated_name_has_the_price_of_its_model_and_no_other_name_has_one() {
        let prices = Prices::shipped();
        for name in ["gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-20240806", "gpt-4o-latest"] {
            assert_eq!(prices.cost(name, MILLION), Some(12.5), "{name}");
        }
        for name in ["gpt-4o-realtime", "gpt-4o-2024", "gpt-4", "my-gpt-4o", "", "-2024-08-06", "gpt-4o-2024-08-06x"] {
            assert_eq!(prices.cost(name, MILLION), None, "{name}");
        }
        assert_eq!(prices.cost("claude-sonnet-4-5-20250929", MILLION), Some(18.0));
    }

    #[test]
    fn a_list_that_cannot_be_used_says_why() {
        let problem = |text: &str| Prices::parse(text, "mine.toml").unwrap_err().to_string();
        assert!(problem("models = 3").contains("mine.toml"), "{}", problem("models = 3"));
        let foreign = "dated = \"2026-01-01\"\ncurrency = \"EUR\"\n[models]\n";
        assert!(problem(foreign).contains("USD"));
        let negative = "dated = \"2026-01-01\"\ncurrency = \"USD\"\n[models]\na = { input = -1.0, output = 1.0 }\n";
        assert!(problem(negative).contains("\"a\""));
    }
}
