//! A text as words with what stands between them, and runs of digit groups read from there.

use std::ops::Range;

/// Groups of digits in one number at most: a card has five, a French social security number seven.
const GROUPS: usize = 8;

/// What may stand between two groups of one number.
const BETWEEN: [&str; 11] = [" ", "-", ".", "/", "\u{a0}", ") ", ")", " (", "(", ")-", "\u{2011}"];

/// A run of letters and digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'t> {
    /// Its letters.
    pub(super) text: &'t str,
    /// Where it begins, in bytes.
    pub(super) start: usize,
    /// What stands between it and the word before, or the beginning.
    pub(super) gap: &'t str,
    /// ASCII digits only.
    pub(super) is_number: bool,
}

impl Word<'_> {
    pub(super) const fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is one of `words`, in any case.
    pub(super) fn is_one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.text.eq_ignore_ascii_case(word))
    }
}

/// All words of a text.
#[derive(Debug)]
pub(super) struct Words<'t> {
    /// The text.
    pub(super) text: &'t str,
    words: Vec<Word<'t>>,
}

/// What a character is to a word. Scripts without spaces between words are a class of their own, for a number may follow
/// them directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Between,
    Letter,
    Unspaced,
}

fn class(c: char) -> Class {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Letter,
        '\0'..='\x7f' => Class::Between,
        '\u{2e80}'.. if c.is_alphanumeric() => Class::Unspaced,
        _ if c.is_alphanumeric() => Class::Letter,
        _ => Class::Between,
    }
}

impl<'t> Words<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let mut words: Vec<Word<'t>> = Vec::with_capacity(text.len() / 5);
        let (mut open, mut is_in, mut gap_from) = (0, Class::Between, 0);
        for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
            let now = class(c);
            if now == is_in {
                continue;
            }
            if is_in != Class::Between {
                let word = &text[open..at];
                let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
                words.push(Word { text: word, start: open, gap: &text[gap_from..open], is_number });
                gap_from = at;
            }
            (open, is_in) = (at, now);
        }
        Self { text, words }
    }

    pub(super) const fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Word<'t>> {
        self.words.get(at)
    }

    pub(super) fn before(&self, at: usize) -> Option<&Word<'t>> {
        self.words.get(at.checked_sub(1)?)
    }

    /// The words from `at` on.
    pub(super) fn from(&self, at: usize) -> &[Word<'t>] {
        self.words.get(at..).unwrap_or_default()
    }

    /// Place of the first word after `at` that begins at `end` or later.
    pub(super) fn first_after(&self, at: usize, end: usize) -> usize {
        let behind = self.from(at + 1).iter().take_while(|word| word.start < end).count();
        at + 1 + behind
    }

    /// Whether one of the six words before `at` is one of `words`.
    pub(super) fn said_before(&self, at: usize, words: &[&str]) -> bool {
        let before = self.words.get(at.saturating_sub(6)..at).unwrap_or_default();
        before.iter().any(|word| word.is_one_of(words))
    }

    /// The text behind the word at `at`.
    pub(super) fn rest(&self, at: usize) -> &'t str {
        self.words.get(at).map_or("", |word| &self.text[word.end()..])
    }

    /// The digit groups that begin with the word at `at`, if it is one and begins a number.
    pub(super) fn groups(&self, at: usize) -> Option<Groups<'_, 't>> {
        let first = self.get(at).filter(|word| word.is_number)?;
        let sign = first.gap.chars().next_back();
        let belongs_before = matches!(sign, Some('$' | '€' | '£' | '¥' | '₹' | '_' | '#'))
            || (matches!(first.gap, "." | "," | "-" | "/" | ":" | "'")
                && self.before(at).is_some_and(|before| before.text.ends_with(|c: char| c.is_ascii_digit())));
        let behind = self.from(at + 1).iter().take(GROUPS);
        let count = 1 + behind.take_while(|word| word.is_number && BETWEEN.contains(&word.gap)).count();
        (!belongs_before).then_some(Groups { words: self, at, count })
    }
}

/// Digit groups that may be one number: a group, and those behind it.
#[derive(Debug)]
pub(super) struct Groups<'w, 't> {
    words: &'w Words<'t>,
    at: usize,
    count: usize,
}

impl<'t> Groups<'_, 't> {
    /// Lengths of the groups.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        self.words.from(self.at).iter().take(self.count).map(|word| word.text.len())
    }

    /// How many groups there are.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// The first `count` groups, if they are of these lengths and nothing says that the number goes on.
    pub(super) fn of(&self, lengths: &[usize]) -> Option<Number<'t>> {
        (self.count >= lengths.len() && self.lengths().take(lengths.len()).eq(lengths.iter().copied()))
            .then(|| self.first(lengths.len()))
            .flatten()
    }

    /// The first `count` groups, if nothing says that the number goes on.
    pub(super) fn first(&self, count: usize) -> Option<Number<'t>> {
        let groups: Vec<&'t str> = self.words.from(self.at).iter().take(count).map(|word| word.text).collect();
        let gaps: Vec<&'t str> =
            self.words.from(self.at + 1).iter().take(count.checked_sub(1)?).map(|word| word.gap).collect();
        let (first, last) = (self.words.get(self.at)?, self.words.get(self.at + count - 1)?);
        let goes_on = self.words.get(self.at + count).is_some_and(|next| {
            next.is_number && (gaps.last() == Some(&next.gap) || matches!(next.gap, "-" | "." | "," | "/" | ":"))
                || next.gap == "_"
        });
        let continues_another = self
            .words
            .before(self.at)
            .is_some_and(|before| before.is_number && gaps.first().is_some_and(|gap| *gap == first.gap));
        let share = self.words.text[last.end()..].starts_with('%');
        let digits = groups.concat();
        (!goes_on && !continues_another && !share).then(|| Number {
            digits,
            groups,
            gaps,
            range: first.start..last.end(),
        })
    }
}

/// A number as it stands.
#[derive(Debug)]
pub(super) struct Number<'t> {
    /// All its digits.
    pub(super) digits: String,
    /// The groups it is written in.
    pub(super) groups: Vec<&'t str>,
    /// What stands between them.
    pub(super) gaps: Vec<&'t str>,
    /// Where it stands.
    pub(super) range: Range<usize>,
}

impl Number<'_> {
    /// Whether only these stand between its groups.
    pub(super) fn is_split_by(&self, gaps: &[&str]) -> bool {
        self.gaps.iter().all(|gap| gaps.contains(gap))
    }

    /// Whether it has fewer than `count` digits that differ.
    pub(super) fn is_dull(&self, count: usize) -> bool {
        let mut seen = [false; 10];
        for byte in self.digits.bytes().filter(u8::is_ascii_digit) {
            if let Some(seen) = seen.get_mut(usize::from(byte - b'0')) {
                *seen = true;
            }
        }
        seen.iter().filter(|seen| **seen).count() < count
    }
}
