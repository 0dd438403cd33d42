//! Whether two answers say the same: what an audit concludes from a cached answer and a fresh one.
//!
//! Pure and careful on both sides: a model never words an answer twice the same, so only what clearly differs is
//! [`Agreement::Different`], and what is neither clearly same nor clearly different is [`Agreement::Unsure`] and counts
//! for nothing.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;

use super::guard::{self, Reading, Slot};
use crate::similarity::Similarity;

/// Similar enough to be the same answer in other words.
const SAME: f32 = 0.85;
/// So far apart that they answer different questions.
const DIFFERENT: f32 = 0.50;
/// Words up to which every fact of an answer is the answer; in longer ones facts come and go between two tellings.
const SHORT: usize = 40;
/// Words up to which an answer is one fact.
const ONE_FACT: usize = 8;
/// Bytes of each answer that are looked at.
const LOOKED_AT: usize = 4096;
/// Slots in which two answers contradict each other; in the others they only choose other words.
const FACTS: &[Slot] = &[
    Slot::Id,
    Slot::Version,
    Slot::Number,
    Slot::Date,
    Slot::Currency,
    Slot::Negation,
    Slot::Antonym,
    Slot::Direction,
    Slot::Entity,
];

/// What two answers say of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// The same, in whatever words.
    Same,
    /// Something else.
    Different,
    /// Cannot be told.
    Unsure,
}

impl Agreement {
    /// Stable token: a metric label and a log field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::Unsure => "unsure",
        }
    }
}

/// Compares two answers. `similarity` is that of their vectors, where there are any.
pub fn same_answer(cached: &str, fresh: &str, similarity: Option<Similarity>) -> Agreement {
    let (cached, fresh) = (head(cached), head(fresh));
    let (a, b) = (words(cached), words(fresh));
    if a == b {
        return Agreement::Same;
    }
    if a.is_empty() || b.is_empty() || polarity(&a).zip(polarity(&b)).is_some_and(|(a, b)| a != b) {
        return Agreement::Different;
    }
    let short = a.len().max(b.len()) <= SHORT;
    let contradicts = other_numbers(&a, &b) || contradict(cached, fresh);
    if contradicts && short {
        return Agreement::Different;
    }
    let Some(similarity) = similarity.map(Similarity::get) else { return Agreement::Unsure };
    let (shorter, longer) = if a.len() <= b.len() { (&a, &b) } else { (&b, &a) };
    if !contradicts && (similarity >= SAME || (shorter.len() <= ONE_FACT && is_in(shorter, longer))) {
        Agreement::Same
    } else if similarity < DIFFERENT {
        Agreement::Different
    } else {
        Agreement::Unsure
    }
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(LOOKED_AT)]
}

/// The words, without case, markup and punctuation. A sign or a decimal point inside a number belongs to it.
fn words(text: &str) -> Vec<String> {
    let plain: String = text.nfkc().flat_map(char::to_lowercase).collect();
    let split = plain.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | ',' | '-' | '\'' | '%' | '/')));
    let trimmed = split.map(|word| {
        let word = word.trim_end_matches(['.', ',', '-', '\'', '/']);
        let negative = word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if negative { word } else { word.trim_start_matches(['.', ',', '-', '\'', '/']) }
    });
    trimmed.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Yes or no, where the answer begins with one of them.
fn polarity(words: &[String]) -> Option<bool> {
    match words.first()?.as_str() {
        "yes" | "yeah" | "yep" | "correct" | "true" => Some(true),
        "no" | "nope" | "incorrect" | "false" => Some(false),
        _ => None,
    }
}

/// Whether each has a number that the other lacks. The guard reads questions, where a sign is a hyphen.
fn other_numbers(a: &[String], b: &[String]) -> bool {
    fn numbers(words: &[String]) -> HashSet<&str> {
        words.iter().map(String::as_str).filter(|word| word.contains(|c: char| c.is_ascii_digit())).collect()
    }
    let (a, b) = (numbers(a), numbers(b));
    !a.is_subset(&b) && !b.is_subset(&a)
}

fn contradict(a: &str, b: &str) -> bool {
    let differences = guard::differences(&Reading::of(a), &Reading::of(b));
    differences.iter().any(|(slot, _)| FACTS.contains(slot))
}

/// Whether every word of `shorter` is in `longer`.
fn is_in(shorter: &[String], longer: &[String]) -> bool {
    let longer: HashSet<&str> = longer.iter().map(String::as_str).collect();
    shorter.iter().all(|word| longer.contains(word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(cached: &str, fresh: &str, similarity: f32) -> Agreement {
        let similarity = Similarity::new(similarity);
        let there = same_answer(cached, fresh, similarity);
        assert_eq!(there, same_answer(fresh, cached, similarity), "{cached} / {fresh}: the order does not matter");
        there
    }

    #[test]
    fn markup_case_and_punctuation_make_no_difference() {
        assert_eq!(compared("**Paris**.", "paris", 0.0), Agreement::Same);
        assert_eq!(same_answer("Use `vinegar`, then rinse!", "use vinegar then rinse", None), Agreement::Same);
    }

    #[test]
    fn yes_is_not_no() {
        assert_eq!(compared("Yes, you can return it.", "No, you can not return it.", 0.95), Agreement::Different);
    }

    #[test]
    fn another_amount_in_a_short_answer_is_another_answer() {
        assert_eq!(compared("It costs 10 euros.", "It costs 15 euros.", 0.97), Agreement::Different);
        assert_eq!(compared("Within 30 days.", "Within 14 days.", 0.93), Agreement::Different);
        assert_eq!(compared("-5 degrees", "5 degrees", 0.97), Agreement::Different);
    }

    #[test]
    fn the_same_in_other_words_is_the_same() {
        let (a, b) = ("Fill the kettle with vinegar and boil it.", "Boil vinegar in the kettle after filling it.");
        assert_eq!(compared(a, b, 0.91), Agreement::Same);
        assert_eq!(compared("Vinegar", "You should use vinegar for that.", 0.6), Agreement::Same);
    }

    #[test]
    fn answers_to_different_questions_are_different() {
        assert_eq!(compared("Boil vinegar in it.", "Emma was written by an author.", 0.05), Agreement::Different);
    }

    #[test]
    fn what_is_in_between_counts_for_nothing() {
        assert_eq!(
            compared("Open the settings page first.", "Use the menu under your picture.", 0.7),
            Agreement::Unsure
        );
        assert_eq!(same_answer("Open the settings page.", "Use the menu.", None), Agreement::Unsure);
        let long = "First open the settings and look for the security section there. ".repeat(6);
        assert_eq!(
            compared(&format!("{long} It takes 5 minutes."), &format!("{long} It takes 10 minutes."), 0.97),
            Agreement::Unsure
        );
    }

    #[test]
    fn nothing_is_not_something() {
        assert_eq!(compared("", "Paris", 0.0), Agreement::Different);
    }
}
