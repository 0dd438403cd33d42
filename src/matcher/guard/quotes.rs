//! Quoted text: what is to be translated, explained or corrected. It is compared word for word.

use super::text::{self, Token};

/// Fewer words than this are a title or a term, which people quote loosely.
const FEWEST_WORDS: usize = 3;

/// Quotes read of one question.
const MOST_QUOTES: usize = 4;

/// The texts that stand between double quotes in `text`, as words.
pub(super) fn of(text: &str) -> Vec<Vec<String>> {
    if !text.contains(['"', '\u{201c}', '\u{201d}', '\u{ab}', '\u{bb}']) {
        return Vec::new();
    }
    text.split(['"', '\u{201c}', '\u{201d}', '\u{ab}', '\u{bb}'])
        .skip(1)
        .step_by(2)
        .map(|quoted| text::tokens(quoted).into_iter().map(|t: Token| t.word).collect::<Vec<_>>())
        .filter(|words| words.len() >= FEWEST_WORDS)
        .take(MOST_QUOTES)
        .collect()
}

/// A quote of each side, when they share no quote.
pub(super) fn differ(a: &[Vec<String>], b: &[Vec<String>]) -> Option<String> {
    let (x, y) = (a.first()?, b.first()?);
    if a.iter().any(|quote| b.contains(quote)) {
        return None;
    }
    Some(format!("'{}' against '{}'", x.join(" "), y.join(" ")))
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_quoted_text_differs() {
        let (a, b) = ("Translate \"I am very late\" into German.", "Translate \"You are very late\" into German.");
        assert!(slots(a, b).contains(&Slot::Wording), "{a} / {b}: {:?}", slots(a, b));
    }

    #[test]
    fn the_same_quote_matches() {
        let (a, b) = ("Translate \"I am very late\" into German.", "How do I say \"I am very late\" in German?");
        assert!(!slots(a, b).contains(&Slot::Wording), "{a} / {b}: {:?}", slots(a, b));
    }
}
