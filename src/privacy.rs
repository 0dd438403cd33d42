//! Personal data in a text: which kind stands where.
//!
//! Pure, a leaf, and linear in the length of the text: words are read once, and at each word a bounded number of its
//! neighbours is looked at. Numbers that carry a check digit must pass it, for an order number is nobody's card; numbers
//! that carry none need the shape people write them in, or a word that says what they are.
//!
//! # Decisions
//! - RFC 2606's example domains, service addresses (`noreply@`, `git@`) and toll-free lines belong to nobody in person.
//!   Test card numbers and documented example keys do count: whoever pastes one into a prompt pastes the real one next.
//! - No detector is a guarantee: names, street addresses and what only a reader would understand are not looked for.

mod addresses;
mod bank;
mod checksums;
mod national;
mod phones;
mod secrets;
mod words;

use std::ops::Range;

use words::Words;

/// Bytes looked at together, so that memory stays bounded on a long text.
const PIECE: usize = 64 * 1024;
/// Bytes that two pieces share, so that what stands across a border is found.
const SHARED: usize = 512;

/// A kind of personal data; the earlier, the worse it is to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An API key, a token, a private key, a password.
    Secret,
    /// A payment card's number.
    Card,
    /// A bank account: an IBAN, or a number said to be one.
    BankAccount,
    /// A number that a state knows a person by.
    NationalId,
    /// A passport's number, said to be one.
    Passport,
    /// A phone number.
    Phone,
    /// An e-mail address.
    Email,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::Secret, Self::Card, Self::BankAccount, Self::NationalId, Self::Passport, Self::Phone, Self::Email];

    /// Stable token for explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Card => "card",
            Self::BankAccount => "bank-account",
            Self::NationalId => "national-id",
            Self::Passport => "passport",
            Self::Phone => "phone",
            Self::Email => "email",
        }
    }

    /// Whether whoever reads it can use it: such data is kept out wherever personal data is heeded at all.
    pub const fn is_usable_by_anyone(self) -> bool {
        matches!(self, Self::Secret | Self::Card)
    }

    /// What stands for it in a text from which it was taken out.
    const fn stand_in(self) -> &'static str {
        match self {
            Self::Secret => "(a secret)",
            Self::Card => "(a card number)",
            Self::BankAccount => "(an account number)",
            Self::NationalId => "(an id number)",
            Self::Passport => "(a passport number)",
            Self::Phone => "(a phone number)",
            Self::Email => "(an e-mail address)",
        }
    }
}

/// Personal data at a place of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where it stands, in bytes, on character boundaries.
    pub range: Range<usize>,
}

/// Everything found in `text`, in order, without overlaps.
pub fn find(text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut from: usize = 0;
    loop {
        let to = text.floor_char_boundary(from.saturating_add(PIECE));
        let piece = &text[from..to];
        found.extend(
            in_piece(piece)
                .into_iter()
                .map(|Finding { kind, range }| Finding { kind, range: range.start + from..range.end + from }),
        );
        if to >= text.len() {
            return without_overlaps(found);
        }
        from = text.floor_char_boundary(to - SHARED);
    }
}

/// The worst kind that `text` holds.
pub fn worst(text: &str) -> Option<Kind> {
    find(text).into_iter().map(|finding| finding.kind).min()
}

/// The worst kind that `text` holds beside what stands in `known` as well, letter by letter. What anyone can use counts
/// wherever it is known.
pub fn worst_beyond(text: &str, known: &str) -> Option<Kind> {
    let new = |finding: &Finding| finding.kind.is_usable_by_anyone() || !known.contains(&text[finding.range.clone()]);
    find(text).into_iter().filter(new).map(|finding| finding.kind).min()
}

/// `text` with a few plain words in the place of all personal data.
pub fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    for Finding { kind, range } in find(text) {
        masked.push_str(&text[at..range.start]);
        masked.push_str(kind.stand_in());
        at = range.end;
    }
    masked.push_str(&text[at..]);
    masked
}

fn in_piece(text: &str) -> Vec<Finding> {
    let mut found = addresses::find(text);
    let words = Words::of(text);
    let mut at = 0;
    while at < words.len() {
        let range = secrets::at(&words, at)
            .map(|range| (Kind::Secret, range))
            .or_else(|| bank::at(&words, at))
            .or_else(|| national::at(&words, at))
            .or_else(|| phones::at(&words, at).map(|range| (Kind::Phone, range)));
        if let Some((kind, range)) = range {
            at = words.first_after(at, range.end);
            found.push(Finding { kind, range });
        } else {
            at += 1;
        }
    }
    found
}

/// Sorted by place; of two that overlap the worse stays, or else the first.
fn without_overlaps(mut found: Vec<Finding>) -> Vec<Finding> {
    found.sort_by_key(|finding| (finding.range.start, finding.kind));
    let mut apart: Vec<Finding> = Vec::with_capacity(found.len());
    for finding in found {
        match apart.last_mut() {
            Some(last) if finding.range.start < last.range.end => {
                last.range.end = last.range.end.max(finding.range.end);
                last.kind = last.kind.min(finding.kind);
            }
            _ => apart.push(finding),
        }
    }
    apart
}

#[cfg(test)]
mod tests;
