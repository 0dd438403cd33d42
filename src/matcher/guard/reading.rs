//! What the guard knows of one question, extracted once.

use super::lexicon::Family;
use super::numbers::Number;
use super::text::{self, Token, Unit};
use super::{aspect, direction, ids, negation, quotes};

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
        Self {
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
