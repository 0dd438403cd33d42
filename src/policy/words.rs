//! Words of a question: folding, phrase search and the reading of hurried spelling. Pure and free of language: what
//! counts as shorthand or as a word worth recognising comes from the policy files.

use std::collections::{HashMap, HashSet};

use super::file::typing_errors;

/// `text` in lower case, typographic apostrophes made plain, runs of white space made one space.
pub(super) fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() {
            gap = !out.is_empty();
            continue;
        }
        if std::mem::take(&mut gap) {
            out.push(' ');
        }
        match c {
            '\u{2019}' | '\u{2018}' | '\u{02bc}' | '`' | '\u{b4}' => out.push('\''),
            _ => out.extend(c.to_lowercase()),
        }
    }
    out
}

/// The words of a folded text: runs of letters, digits and inner apostrophes.
pub(super) fn words(folded: &str) -> Vec<&str> {
    folded
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
        .collect()
}

/// Finds whole-word phrases in a list of words; each phrase carries a `T`.
#[derive(Debug)]
pub(super) struct Phrases<T> {
    by_first: HashMap<Box<str>, Vec<Phrase<T>>>,
}

#[derive(Debug)]
struct Phrase<T> {
    rest: Box<[Box<str>]>,
    tag: T,
}

impl<T> Default for Phrases<T> {
    fn default() -> Self {
        Self { by_first: HashMap::new() }
    }
}

impl<T> Phrases<T> {
    /// Adds a phrase; false when it holds no word.
    pub(super) fn add(&mut self, phrase: &str, tag: T) -> bool {
        let folded = fold(phrase);
        let mut parts = words(&folded).into_iter();
        let Some(first) = parts.next() else { return false };
        let rest = parts.map(Box::from).collect();
        self.by_first.entry(Box::from(first)).or_default().push(Phrase { rest, tag });
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_first.is_empty()
    }

    /// Calls `found` with the tag of each phrase that occurs in `words`.
    pub(super) fn find<'p>(&'p self, words: &[&str], mut found: impl FnMut(&'p T)) {
        for (at, word) in words.iter().enumerate() {
            for phrase in self.by_first.get(*word).into_iter().flatten() {
                let rest = words.get(at + 1..at + 1 + phrase.rest.len());
                if rest.is_some_and(|rest| rest.iter().zip(&phrase.rest).all(|(a, b)| *a == &**b)) {
                    found(&phrase.tag);
                }
            }
        }
    }
}

/// Shortest word whose misspellings are recognised.
const SHORTEST: usize = 5;
/// From this length on a word may hold two typing errors.
const LONG: usize = 8;
/// Fewest consonants by which a word written without vowels is recognised.
const CONSONANTS: usize = 4;

/// Reads hurried spelling: shorthand, typing errors and dropped vowels.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    shorthand: HashMap<Box<str>, Box<str>>,
    by_initial: HashMap<char, Vec<Known>>,
    correct: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Known {
    word: Box<str>,
    skeleton: String,
    letters: Letters,
}

/// Which letters a word holds, several of them to a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Letters(u32);

impl Letters {
    fn of(word: &str) -> Self {
        Self(word.bytes().fold(0, |letters, byte| letters | 1 << (byte & 31)))
    }

    /// Typing errors between two words with these letters, at least: one error brings one letter and takes one.
    fn least_errors(self, other: Self) -> usize {
        (self.0 & !other.0).count_ones().max((other.0 & !self.0).count_ones()) as usize
    }
}

impl Spelling {
    pub(super) fn add_shorthand(&mut self, short: &str, full: &str) {
        self.shorthand.insert(Box::from(fold(short)), Box::from(fold(full)));
    }

    /// A word whose misspellings are to be recognised.
    pub(super) fn add_word(&mut self, word: &str) {
        let word = fold(word);
        if let Some(initial) = word.chars().next() {
            let known = Known { skeleton: skeleton(&word), letters: Letters::of(&word), word: Box::from(word) };
            self.correct.insert(known.word.clone());
            self.by_initial.entry(initial).or_default().push(known);
        }
    }

    /// Words of `text` are spelt as meant, so they are left alone.
    pub(super) fn add_correct(&mut self, text: &str) {
        let folded = fold(text);
        self.correct.extend(words(&folded).into_iter().map(Box::from));
    }

    /// The words as meant, joined by spaces; `None` when they already are.
    pub(super) fn read(&self, words: &[&str]) -> Option<String> {
        let meant: Vec<Option<&str>> = words.iter().map(|word| self.meant(word)).collect();
        if meant.iter().all(Option::is_none) {
            return None;
        }
        let read: Vec<&str> = words.iter().zip(meant).map(|(typed, meant)| meant.unwrap_or(typed)).collect();
        Some(read.join(" "))
    }

    fn meant(&self, typed: &str) -> Option<&str> {
        if let Some(full) = self.shorthand.get(typed) {
            return Some(full);
        }
        let initial = typed.chars().next()?;
        let candidates = self.by_initial.get(&initial)?;
        if self.correct.contains(typed) || typed.len() + 1 < SHORTEST {
            return None;
        }
        let (bones, letters) = (skeleton(typed), Letters::of(typed));
        candidates.iter().find(|known| misspells((typed, &bones, letters), known)).map(|known| &*known.word)
    }
}

fn misspells((typed, bones, letters): (&str, &str, Letters), known: &Known) -> bool {
    let word = &*known.word;
    // An inflection is another word, not an error: "balanced" is not "balance".
    if word.len() < SHORTEST || typed.starts_with(word) {
        return false;
    }
    let allowed = if word.len() >= LONG { 2 } else { 1 };
    (bones.len() >= CONSONANTS && bones == known.skeleton)
        || (typed.len().abs_diff(word.len()) <= allowed
            && (letters.least_errors(known.letters) <= allowed || !typed.is_ascii() || !word.is_ascii())
            && typing_errors(typed, word) <= allowed)
}

/// The first letter and the consonants after it, doubled ones once: what is left of a word typed in a hurry.
fn skeleton(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for (at, c) in word.chars().enumerate() {
        if (at == 0 || !matches!(c, 'a' | 'e' | 'i' | 'o' | 'u')) && !out.ends_with(c) {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(phrases: &[&'static str], text: &str) -> Vec<&'static str> {
        let mut index = Phrases::default();
        for phrase in phrases {
            assert!(index.add(phrase, *phrase));
        }
        let folded = fold(text);
        let mut out = Vec::new();
        index.find(&words(&folded), |tag| out.push(*tag));
        out
    }

    #[test]
    fn a_phrase_is_found_as_whole_words_in_any_case_and_spacing() {
        let phrases = ["in stock", "what's left"];
        assert_eq!(found(&phrases, "Is it IN-STOCK?"), ["in stock"]);
        assert_eq!(found(&phrases, "What\u{2019}s   left"), ["what's left"]);
        assert!(found(&phrases, "protein stocks in stockholm").is_empty());
    }

    #[test]
    fn a_phrase_without_words_is_refused() {
        assert!(!Phrases::default().add(" ?! ", ()));
    }

    fn read(text: &str) -> Option<String> {
        let mut spelling = Spelling::default();
        for word in ["balance", "account", "available", "results"] {
            spelling.add_word(word);
        }
        spelling.add_shorthand("rn", "right now");
        spelling.add_correct("accent");
        spelling.read(&words(text))
    }

    #[test]
    fn shorthand_typing_errors_and_dropped_vowels_are_read_as_meant() {
        assert_eq!(read("my acount balnce rn").as_deref(), Some("my account balance right now"));
        assert_eq!(read("rslts avialable").as_deref(), Some("results available"));
        assert_eq!(read("accoun balanc").as_deref(), Some("account balance"));
        assert_eq!(read("avlbl blnce").as_deref(), Some("available balance"));
    }

    proptest::proptest! {
        #[test]
        fn words_never_have_fewer_errors_between_them_than_their_letters_tell(a in "[a-z0-9']{0,10}", b in "[a-z0-9']{0,10}") {
            let least = Letters::of(&a).least_errors(Letters::of(&b));
            proptest::prop_assert!(least <= typing_errors(&a, &b), "{a} {b}");
        }
    }

    #[test]
    fn inflections_short_words_and_correct_words_are_left_alone() {
        assert_eq!(read("a balanced accent is a resort"), None);
        assert_eq!(read("my account balance"), None);
    }
}
