//! Payment cards and bank accounts.

use std::ops::Range;

use super::{
    Kind,
    checksums::{iban, luhn},
    words::Words,
};

/// Ways in which cards' numbers are written, by their groups.
const CARDS: [&[usize]; 11] =
    [&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[8, 8], &[14], &[15], &[16], &[17], &[18], &[19]];

/// Lengths of IBANs by country (SWIFT registry).
const IBANS: [(&str, usize); 77] = [
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 24),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NL", 18),
    ("NO", 15),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
];

/// What an account is called.
const ACCOUNT: [&str; 8] = ["account", "acct", "konto", "compte", "cuenta", "conto", "conta", "rekening"];
/// The same in one word with "number".
const ACCOUNT_NUMBER: [&str; 3] = ["kontonummer", "kontonr", "rekeningnummer"];
/// What says that a number follows.
pub(super) const NUMBER: [&str; 11] =
    ["number", "num", "no", "nr", "nummer", "numero", "número", "numéro", "n", "nº", "nro"];
/// What may stand between that and the number.
pub(super) const IS: [&str; 7] = ["is", "ist", "est", "es", "è", "é", "was"];

/// A card or account that begins with the word at `at`.
pub(super) fn at(words: &Words<'_>, at: usize) -> Option<(Kind, Range<usize>)> {
    card(words, at)
        .map(|range| (Kind::Card, range))
        .or_else(|| iban_at(words, at).or_else(|| said(words, at)).map(|range| (Kind::BankAccount, range)))
}

fn card(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let groups = words.groups(at)?;
    let written = CARDS.iter().filter_map(|lengths| groups.of(lengths));
    let mut cards = written.filter(|number| {
        number.is_split_by(&[" ", "-", ".", "\u{a0}"]) && is_issued(&number.digits) && luhn(&number.digits)
    });
    cards.next().filter(|number| !number.is_dull(2)).map(|number| number.range)
}

/// Whether an issuer gives out numbers that begin like this, of this length (ISO/IEC 7812).
fn is_issued(digits: &str) -> bool {
    let first = |count: usize| digits.get(..count).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or_default();
    let length = digits.len();
    match first(4) {
        4000..=4999 => matches!(length, 16 | 19),
        5100..=5599 | 2221..=2720 => length == 16,
        3400..=3499 | 3700..=3799 => length == 15,
        3000..=3059 | 3600..=3699 | 3800..=3899 => length == 14,
        3528..=3589 | 6000..=6099 | 6200..=6299 | 6440..=6599 | 8100..=8199 => (16..=19).contains(&length),
        5000 | 5018 | 5020 | 5038 | 5600..=5999 | 6300..=6399 | 6700..=6799 => (16..=19).contains(&length),
        _ => false,
    }
}

fn iban_at(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let first = words.get(at)?;
    first.text.get(2..4).filter(|check| check.bytes().all(|byte| byte.is_ascii_digit()))?;
    let country = first.text.get(..2)?;
    let length = IBANS.iter().find(|(name, _)| name.eq_ignore_ascii_case(country)).map(|(_, length)| *length)?;
    let mut compact = String::new();
    for (place, word) in words.from(at).iter().take(12).enumerate() {
        if (place > 0 && !matches!(word.gap, " " | "-" | "\u{a0}")) || !word.text.is_ascii() {
            return None;
        }
        compact.push_str(word.text);
        if compact.len() >= length {
            return (compact.len() == length && iban(&compact)).then(|| first.start..word.end());
        }
    }
    None
}

/// `account number 12345678`, `sort code 12-34-56`.
fn said(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let word = words.get(at)?;
    let next = |count: usize| words.get(at + count);
    if word.is_one_of(&["sortcode"]) || (word.is_one_of(&["sort"]) && next(1).is_some_and(|w| w.is_one_of(&["code"]))) {
        return value(words, at, 6..=6);
    }
    let one_word = word.is_one_of(&ACCOUNT_NUMBER);
    let abbreviated = word.is_one_of(&["a"]) && next(1).is_some_and(|w| w.gap == "/" && w.is_one_of(&["c"]));
    if !(one_word || abbreviated || word.is_one_of(&ACCOUNT)) {
        return None;
    }
    let behind = at + usize::from(abbreviated) + 1;
    let marked = words.get(behind).is_some_and(|w| w.is_one_of(&NUMBER) || w.gap.contains([':', '#', '=', '°', 'º']));
    (one_word || marked).then(|| value(words, at, 6..=17)).flatten()
}

/// The number that follows the word at `at`, with no more between than a few words that lead to it.
pub(super) fn value(words: &Words<'_>, at: usize, lengths: std::ops::RangeInclusive<usize>) -> Option<Range<usize>> {
    for place in at + 1..at + 6 {
        let word = words.get(place)?;
        if word.gap.len() > 6 {
            return None;
        }
        if word.is_number {
            // A mark that makes a number a price or a part elsewhere leads to one here.
            let mut end = word.end();
            let mut length = word.text.len();
            for next in words.from(place + 1).iter().take(6) {
                if !next.is_number || !matches!(next.gap, " " | "-" | "/" | "\u{a0}") || length >= *lengths.end() {
                    break;
                }
                length += next.text.len();
                end = next.end();
            }
            return lengths.contains(&length).then_some(word.start..end);
        }
        let leads = word.is_one_of(&NUMBER) || word.is_one_of(&IS) || word.is_one_of(&["code", "c", "my", "for", "it"]);
        if !leads {
            return None;
        }
    }
    None
}
