//! Text to token ids: BERT's uncased WordPiece, id for id what the reference tokenizer gives.
//!
//! Names of special tokens in a text are plain text: no question can write a separator into a pair.
//! Tokenising stops soon after a limit, so a huge prompt costs no more than its first few hundred tokens and one pass
//! over its longest word.

use std::{collections::HashMap, sync::LazyLock};

use unicode_categories::UnicodeCategories;
use unicode_normalization::UnicodeNormalization;

/// Names the vocabulary and the rules; part of every fingerprint that depends on them.
pub const VERSION: &str = "wordpiece-uncased-1";

const UNKNOWN: u32 = 100;
const START: u32 = 101;
const SEPARATOR: u32 = 102;
/// A longer word is unknown as a whole.
const LONGEST_WORD: usize = 100;

static VOCABULARY: LazyLock<HashMap<&'static str, u32>> =
    LazyLock::new(|| include_str!("../../models/minilm/vocab.txt").lines().zip(0..).collect());

/// Builds the vocabulary now rather than in the first call.
pub fn warm_up() {
    LazyLock::force(&VOCABULARY);
}

/// Tokens of one text or a pair, special ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Ids in the vocabulary.
    pub ids: Vec<u32>,
    /// For each id, which text it belongs to: 0 or 1.
    pub types: Vec<u8>,
}

/// `[CLS] text [SEP]`. More than `limit` tokens: some number above `limit` of them, not all.
pub fn encode(text: &str, limit: usize) -> Tokens {
    let mut ids = vec![START];
    pieces(text, limit, &mut ids);
    ids.push(SEPARATOR);
    let types = vec![0; ids.len()];
    Tokens { ids, types }
}

/// `[CLS] first [SEP] second [SEP]`, with the limit of [`encode`].
pub fn encode_pair(first: &str, second: &str, limit: usize) -> Tokens {
    let Tokens { mut ids, mut types } = encode(first, limit);
    pieces(second, limit, &mut ids);
    ids.push(SEPARATOR);
    types.resize(ids.len(), 1);
    Tokens { ids, types }
}

/// Appends the pieces of `text` to `ids` until it holds more than `limit`.
fn pieces(text: &str, limit: usize, ids: &mut Vec<u32>) {
    let mut word = Word::default();
    let cleaned = text.chars().filter(|c| !is_dropped(*c)).flat_map(spaced_ideograph);
    let folded = cleaned.nfd().filter(|c| !c.is_mark_nonspacing()).flat_map(char::to_lowercase);
    for c in folded {
        let punctuation = is_punctuation(c);
        if punctuation || c.is_whitespace() {
            word.finish(ids);
        } else {
            word.push(c);
        }
        if punctuation {
            word.push(c);
            word.finish(ids);
        }
        if ids.len() > limit {
            return;
        }
    }
    word.finish(ids);
}

/// The word being read, kept no longer than it can matter.
#[derive(Debug, Default)]
struct Word {
    text: String,
    length: usize,
}

impl Word {
    fn push(&mut self, c: char) {
        self.length += 1;
        if self.length <= LONGEST_WORD {
            self.text.push(c);
        }
    }

    /// Appends the word's pieces and empties it.
    fn finish(&mut self, ids: &mut Vec<u32>) {
        if self.length > LONGEST_WORD {
            ids.push(UNKNOWN);
        } else if self.length > 0 {
            split(&self.text, ids);
        }
        self.text.clear();
        self.length = 0;
    }
}

/// The longest known piece first, then the longest continuation, and so on; all or nothing.
fn split(word: &str, ids: &mut Vec<u32>) {
    let before = ids.len();
    let mut piece = String::with_capacity(word.len() + 2);
    let mut rest = word;
    while !rest.is_empty() {
        let found = (1..=rest.len()).rev().filter(|end| rest.is_char_boundary(*end)).find_map(|end| {
            piece.clear();
            piece.push_str(if ids.len() > before { "##" } else { "" });
            piece.push_str(&rest[..end]);
            VOCABULARY.get(piece.as_str()).map(|id| (*id, end))
        });
        let Some((id, end)) = found else {
            ids.truncate(before);
            ids.push(UNKNOWN);
            return;
        };
        ids.push(id);
        rest = &rest[end..];
    }
}

/// Characters without a trace in the tokens: NUL, the replacement character, controls other than white space.
fn is_dropped(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{fffd}' => true,
        c => c.is_other(),
    }
}

/// Sets an ideograph apart as a word of its own.
fn spaced_ideograph(c: char) -> impl Iterator<Item = char> {
    let around = is_ideograph(c).then_some(' ');
    around.into_iter().chain([c]).chain(around)
}

/// The blocks the reference tokenizer calls Chinese; its gap at U+2B820 is kept.
fn is_ideograph(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0xF900..=0xFAFF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B920..=0x2CEAF | 0x2F800..=0x2FA1F)
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.is_punctuation()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        text: String,
        ids: Vec<u32>,
    }

    #[test]
    fn ids_are_those_of_the_reference_tokenizer() {
        let cases = include_str!("../../tests/data/minilm/tokens.jsonl");
        let cases: Vec<Case> = cases.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(cases.len() >= 300, "{} cases", cases.len());
        let wrong: Vec<_> = cases.iter().filter(|case| encode(&case.text, usize::MAX).ids != case.ids).collect();
        for case in &wrong {
            println!("{:?}\n  want {:?}\n  have {:?}", case.text, case.ids, encode(&case.text, usize::MAX).ids);
        }
        assert!(wrong.is_empty(), "{} of {} texts differ", wrong.len(), cases.len());
    }

    #[test]
    fn a_pair_is_two_texts_with_their_types() {
        let pair = encode_pair("hello world", "hello", usize::MAX);
        assert_eq!(pair.ids, [101, 7592, 2088, 102, 7592, 102]);
        assert_eq!(pair.types, [0, 0, 0, 0, 1, 1]);
    }

    #[test]
    fn a_text_cannot_write_special_tokens() {
        let tokens = encode("[SEP] [CLS]", usize::MAX);
        assert_eq!(tokens.ids.iter().filter(|id| [START, SEPARATOR].contains(id)).count(), 2);
    }

    #[test]
    fn a_text_over_the_limit_stops_soon_after_it() {
        let tokens = encode(&"word ".repeat(100_000), 256).ids.len();
        assert!((257..300).contains(&tokens), "{tokens}");
        assert_eq!(encode(&"a".repeat(1_000_000), 256).ids, [START, UNKNOWN, SEPARATOR]);
    }
}
