//! What the guard knows of one question, extracted once.

use super::lexicon::Family;
use super::numbers::Number;
use super::text::{self, Token, Unit};
use super::{aspect, direction, ids, negation, quotes};

/// Texts of up to this many bytes are surely read to their end.
const READ_WHOLE: usize = 1_000;

/// All slots of one question. Made once for a cached question, and kept.
#[derive(Debug, Clone)]
pub struct Reading {
    pub(super) units: Vec<Unit>,
    /// One bit a family that tags any unit.
    families: u32,
    pub(super) numbers: Vec<(Number, String)>,
    pub(super) ids: Vec<String>,
    pub(super) versions: Vec<String>,
    pub(super) quotes: Vec<Vec<String>>,
    pub(super) negations: Vec<String>,
    pub(super) aspect: aspect::Asked,
    pub(super) direction: direction::Ends,
    pub(super) passive: bool,
    /// All that is said, folded, where it is nothing but politeness, which has no units; else empty.
    courtesy: String,
    /// Characters that are neither letters, digits, space nor ordinary punctuation.
    symbols: String,
    /// Nothing is quoted and nothing was left unread.
    is_plain: bool,
}

impl Reading {
    /// Reads `text`. Never fails: what the guard does not understand is a plain word to it.
    pub fn of(text: &str) -> Self {
        let tokens = text::tokens(text);
        let (ids, versions) = ids::of(&tokens);
        let tokens = rejoin_particles(tokens);
        let units = text::units(&tokens);
        let families = units.iter().flat_map(|u| u.tags).fold(0, |bits, tag| bits | bit(tag.family));
        let numbers = units.iter().filter_map(|u| u.number.map(|n| (n, u.shown.clone()))).collect();
        let folded = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        Self {
            courtesy: if units.is_empty() { folded(text) } else { String::new() },
            symbols: text.chars().filter(|&c| is_symbol(c)).collect(),
            is_plain: text.len() <= READ_WHOLE && !has_quotation(text),
            families,
            numbers,
            ids,
            quotes: quotes::of(text),
            versions,
            negations: negation::of(&tokens),
            aspect: aspect::of(&tokens),
            direction: direction::ends(&units),
            passive: direction::is_passive(&tokens),
            units,
        }
    }

    /// Whether both say the same words in the same order, but for case, punctuation and politeness. Texts with quotations
    /// never do here, for in those every word counts, and neither do long ones, which are not read to their end.
    pub fn same_words<'r>(&'r self, other: &'r Self) -> bool {
        let said = |reading: &'r Self| reading.units.iter().map(|unit| &unit.shown);
        said(self).eq(said(other))
            && self.courtesy == other.courtesy
            && self.symbols == other.symbols
            && self.is_plain
            && other.is_plain
    }

    /// Share of function words, in [0, 1]: low in a note, a third or more in a sentence.
    #[expect(clippy::cast_precision_loss, reason = "token counts are small")]
    pub(super) fn function_share(&self) -> f32 {
        let function = self.units.iter().filter(|u| u.class == text::Class::Function).count();
        function as f32 / self.units.len().max(1) as f32
    }

    /// Whether any word belongs to `family`.
    pub(super) fn has(&self, family: Family) -> bool {
        self.families & bit(family) != 0
    }
}

fn has_quotation(text: &str) -> bool {
    let opens = |word: &str| word.starts_with(['\'', '\u{2018}']);
    text.contains(['"', '`', '\u{201c}', '\u{201d}', '\u{201e}', '\u{ab}', '\u{bb}'])
        || text.split_whitespace().any(opens)
}

fn is_symbol(c: char) -> bool {
    !(c.is_alphanumeric() || c.is_whitespace() || matches!(c, '.' | '?' | '!' | ',' | ';' | ':' | '\'' | '\u{2019}'))
}

fn bit(family: Family) -> u32 {
    1 << (family as u32)
}

/// `turn the lights off` reads as `turn off the lights`.
fn rejoin_particles(mut tokens: Vec<Token>) -> Vec<Token> {
    let verb =
        |w: &str| matches!(w, "turn" | "switch" | "turning" | "turned" | "switched" | "switching" | "turns" | "shut");
    let particle = |w: &str| matches!(w, "on" | "off" | "down" | "up");
    let Some(at) = tokens.iter().position(|t| verb(&t.word)) else { return tokens };
    let far =
        (at + 2..tokens.len().min(at + 6)).find(|&i| matches!(tokens[i].word.as_str(), "on" | "off" | "down" | "up"));
    if tokens.get(at + 1).is_some_and(|t| particle(&t.word)) {
        return tokens;
    }
    if let Some(far) = far {
        let token = tokens.remove(far);
        tokens.insert(at + 1, token);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        Reading::of(a).same_words(&Reading::of(b))
    }

    #[test]
    fn case_punctuation_and_politeness_leave_the_words_the_same() {
        assert!(same("How do I bake bread?", "how do i bake bread"));
        assert!(same("How do I bake bread?", "Hi, how do I bake bread please? Thanks!"));
        assert!(same("What's the return policy?", "what is the return policy"));
        assert!(same("Hello", "hello!"));
    }

    #[test]
    fn another_word_order_symbol_or_quotation_does_not() {
        assert!(!same("How do I bake bread?", "How do I bake rye bread?"));
        assert!(!same("Does Ann owe Bob?", "Does Bob owe Ann?"));
        assert!(!same("What is 3 + 4?", "What is 3 * 4?"));
        assert!(!same("C++ vector", "C vector"));
        assert!(!same("Translate \"please\" into French", "Translate \"hello\" into French"));
        assert!(!same("please", "thanks"));
    }
}
