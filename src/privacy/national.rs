//! Numbers that states know people by, and passports.
//!
//! Those with check digits are verified. A bare row of digits that would fit by chance too often needs a word that says
//! what it is.

use std::ops::Range;

use super::{
    Kind,
    bank::{IS, NUMBER},
    checksums::{codice_fiscale, cpf, dni, nir, personalausweis, steuer_id, verhoeff},
    words::Words,
};

const SOCIAL_SECURITY: [&str; 3] = ["ssn", "social", "itin"];
const AADHAAR: [&str; 4] = ["aadhaar", "aadhar", "adhaar", "uidai"];
const INSURANCE: [&str; 3] = ["nino", "insurance", "ni"];
const IDENTITY_CARD: [&str; 5] =
    ["personalausweis", "ausweis", "ausweisnummer", "personalausweisnummer", "personalausweisnr"];
const PASSPORT: [&str; 7] =
    ["passport", "reisepass", "reisepassnummer", "passeport", "pasaporte", "passaporto", "passaporte"];

/// An id or a passport that begins with the word at `at`.
pub(super) fn at(words: &Words<'_>, at: usize) -> Option<(Kind, Range<usize>)> {
    if let Some(range) = passport(words, at) {
        return Some((Kind::Passport, range));
    }
    let word = words.get(at)?;
    if !word.text.is_ascii() || !words.from(at).iter().take(3).any(|w| w.text.bytes().any(|b| b.is_ascii_digit())) {
        return None;
    }
    let found = digits_only(words, at)
        .or_else(|| french(words, at))
        .or_else(|| spanish(words, at))
        .or_else(|| british(words, at))
        .or_else(|| single(words, at));
    found.map(|range| (Kind::NationalId, range))
}

/// United States, India, Brazil, Germany.
fn digits_only(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let groups = words.groups(at)?;
    let written = |lengths: &[usize], gaps: &[&str]| groups.of(lengths).filter(|number| number.is_split_by(gaps));
    let named = |names: &[&str]| words.said_before(at, names);
    let american = written(&[3, 2, 4], &["-"]).or_else(|| {
        let loose = written(&[3, 2, 4], &[" ", "."]).or_else(|| groups.of(&[9]));
        loose.filter(|_| named(&SOCIAL_SECURITY))
    });
    let indian = written(&[4, 4, 4], &[" ", "-"]).or_else(|| groups.of(&[12]).filter(|_| named(&AADHAAR)));
    let brazilian = written(&[3, 3, 3, 2], &[".", "-", " "]).or_else(|| groups.of(&[11]));
    let german = written(&[2, 3, 3, 3], &[" "]).or_else(|| groups.of(&[11]));
    american
        .filter(|number| is_social_security(&number.digits))
        .or_else(|| indian.filter(|n| n.digits.as_str() >= "2" && !n.is_dull(3) && verhoeff(&n.digits)))
        .or_else(|| brazilian.filter(|number| cpf(&number.digits)))
        .or_else(|| german.filter(|number| steuer_id(&number.digits)))
        .map(|number| number.range)
}

/// What the Social Security Administration gives out, and the tax ids of the same form.
fn is_social_security(digits: &str) -> bool {
    let part = |range: Range<usize>| digits.get(range).and_then(|part| part.parse::<u32>().ok()).unwrap_or_default();
    let (area, group, serial) = (part(0..3), part(3..5), part(5..9));
    let issued = area != 0 && area != 666 && area < 900;
    let taxpayer = area >= 900 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99);
    (issued || taxpayer) && group != 0 && serial != 0
}

fn french(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let (compact, range) = joined(words, at, 15)?;
    let is_shape = compact.starts_with(['1', '2'])
        && compact.bytes().enumerate().all(|(at, byte)| byte.is_ascii_digit() || (at == 6 && b"ABab".contains(&byte)));
    (is_shape && nir(&compact)).then_some(range)
}

fn spanish(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let (compact, range) = joined(words, at, 9)?;
    let letter = compact.chars().next_back().filter(char::is_ascii_alphabetic)?;
    let body = compact.get(..8)?;
    // A foreigner's number begins with X, Y or Z, which count as 0, 1 and 2.
    let foreign = body.get(..1).and_then(|first| "XYZ".find(&first.to_ascii_uppercase()));
    let number =
        foreign.map_or_else(|| body.to_owned(), |value| format!("{value}{}", body.get(1..).unwrap_or_default()));
    (number.bytes().all(|byte| byte.is_ascii_digit()) && dni(&number, letter)).then_some(range)
}

fn british(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let (compact, range) = joined(words, at, 9)?;
    let compact = compact.to_ascii_uppercase();
    let (prefix, rest) = compact.split_at_checked(2)?;
    let (digits, suffix) = rest.split_at_checked(6)?;
    let is_shape = prefix.bytes().all(|byte| byte.is_ascii_uppercase())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(suffix, "A" | "B" | "C" | "D");
    let is_issued = !prefix.contains(['D', 'F', 'I', 'Q', 'U', 'V'])
        && !prefix.ends_with('O')
        && !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&prefix);
    (is_shape && (is_issued || words.said_before(at, &INSURANCE))).then_some(range)
}

/// Italy, India's tax number, Germany's identity card.
fn single(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let word = words.get(at)?;
    let upper = word.text.to_ascii_uppercase();
    let is_pattern = |pattern: &str| {
        upper.len() == pattern.len()
            && upper.bytes().zip(pattern.bytes()).all(|(byte, kind)| match kind {
                b'A' => byte.is_ascii_uppercase(),
                _ => byte.is_ascii_digit(),
            })
    };
    let italian = is_pattern("AAAAAA99A99A999A") && codice_fiscale(&upper);
    let holder = upper.chars().nth(3).is_some_and(|holder| "ABCFGHJLPT".contains(holder));
    let indian = is_pattern("AAAAA9999A") && ((holder && upper == word.text) || words.said_before(at, &["pan"]));
    let german = upper.len() == 10
        && upper.bytes().any(|byte| byte.is_ascii_digit())
        && words.said_before(at, &IDENTITY_CARD)
        && personalausweis(&upper);
    (italian || indian || german).then(|| word.start..word.end())
}

/// The words from `at` on, joined to exactly `length` characters, where spaces or hyphens are all that parts them.
fn joined(words: &Words<'_>, at: usize, length: usize) -> Option<(String, Range<usize>)> {
    let first = words.get(at)?;
    let is_part = |before: Option<&super::words::Word<'_>>| {
        before.is_some_and(|before| before.is_number && matches!(first.gap, "-" | "." | "/"))
    };
    if is_part(words.before(at)) || !first.text.is_ascii() || first.text.len() > length {
        return None;
    }
    let mut compact = String::with_capacity(length);
    for (place, word) in words.from(at).iter().take(7).enumerate() {
        if (place > 0 && !matches!(word.gap, " " | "-" | "\u{a0}")) || !word.text.is_ascii() {
            return None;
        }
        compact.push_str(word.text);
        if compact.len() >= length {
            return (compact.len() == length).then(|| (compact, first.start..word.end()));
        }
    }
    None
}

/// `passport number X1234567`.
fn passport(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let word = words.get(at).filter(|word| word.is_one_of(&PASSPORT))?;
    let mut announced = word.text.to_ascii_lowercase().ends_with("nummer");
    for place in at + 1..at + 5 {
        let word = words.get(place)?;
        announced |= word.gap.contains([':', '#', '°', 'º']);
        let digits = word.text.bytes().filter(u8::is_ascii_digit).count();
        if digits >= 5 && (6..=10).contains(&word.text.len()) && word.text.is_ascii() {
            return (announced || digits < word.text.len()).then(|| word.start..word.end());
        }
        announced |= word.is_one_of(&NUMBER);
        if !(word.is_one_of(&NUMBER) || word.is_one_of(&IS)) || word.gap.len() > 4 {
            return None;
        }
    }
    None
}
