//! Phone numbers: by a country code, by the way a country writes them, or because a word says so.

use std::ops::Range;

use super::{
    bank::{IS, NUMBER},
    checksums::isbn10,
    words::{Groups, Number, Words},
};

/// Words before a phone number that say what it is.
const PHONE: [&str; 26] = [
    "phone",
    "telephone",
    "cellphone",
    "mobile",
    "cell",
    "tel",
    "fax",
    "whatsapp",
    "telegram",
    "telefon",
    "telefono",
    "teléfono",
    "téléphone",
    "telefone",
    "telefonnummer",
    "handy",
    "handynummer",
    "mobilnummer",
    "rufnummer",
    "móvil",
    "movil",
    "celular",
    "cellulare",
    "portable",
    "telefoonnummer",
    "telephonenumber",
];
/// The same in scripts without spaces: what a word ends with.
const PHONE_ENDINGS: [&str; 5] = ["电话", "電話", "手机", "手機", "电话号码"];
/// Verbs that take a number.
const CALL: [&str; 8] = ["call", "ring", "dial", "sms", "appelez", "llámame", "ligue", "chiamami"];
/// Verbs that take somebody, and then a number.
const REACH: [&str; 5] = ["text", "reach", "contact", "message", "erreichst"];
/// Whom.
const SOMEBODY: [&str; 7] = ["me", "us", "him", "her", "them", "mich", "uns"];
/// What may stand between such a word and the number.
const LEADS: [&str; 25] = [
    "s", "para", "at", "on", "me", "us", "my", "him", "her", "them", "mich", "uns", "to", "au", "al", "unter", "em",
    "en", "la", "le", "der", "die", "or", "back", "via",
];
/// Numbers of these things look like phone numbers and are not.
const OTHER_THINGS: [&str; 10] =
    ["order", "ticket", "invoice", "isbn", "tracking", "case", "model", "part", "sku", "timestamp"];
/// North American prefixes of lines that cost the caller nothing: a company's, never a person's.
const TOLL_FREE: [&str; 7] = ["800", "833", "844", "855", "866", "877", "888"];

/// A phone number that begins with the word at `at`.
pub(super) fn at(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    words.get(at).filter(|word| word.is_number)?;
    if words.said_before(at, &OTHER_THINGS) {
        return None;
    }
    if let Some(range) = international(words, at) {
        return Some(range);
    }
    let groups = words.groups(at)?;
    let said = is_said(words, at);
    let found = north_american(&groups, said)
        .or_else(|| with_trunk(words, &groups, at))
        .or_else(|| paired(&groups))
        .or_else(|| other(words, &groups, at))
        .or_else(|| said.then(|| any(&groups)).flatten())?;
    let free = found.digits.strip_prefix('1').unwrap_or(&found.digits);
    let toll_free = free.len() == 10 && TOLL_FREE.iter().any(|prefix| free.starts_with(prefix));
    (!toll_free && !found.digits.starts_with("0800")).then_some(found.range)
}

/// `+44 20 7946 0958`, `+1 (212) 555-0123`, `0049 30 1234567`.
fn international(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let first = words.get(at)?;
    let sign = first.gap.strip_suffix('(').unwrap_or(first.gap).strip_suffix('+');
    let added = sign.is_some_and(|before| before.is_empty() && at > 0)
        || (sign.is_some() && words.before(at).is_some_and(|before| before.is_number && first.gap.starts_with(' ')));
    let groups = words.groups(at)?;
    let code = if sign.is_some() && !added {
        first.text
    } else {
        // Without the plus a single group is any number.
        first.text.strip_prefix("00").filter(|_| groups.count() > 1)?
    };
    if !code.starts_with(|c: char| matches!(c, '1'..='9')) {
        return None;
    }
    let number = longest(&groups, if sign.is_some() { 8..=15 } else { 11..=17 })?;
    let free = number.digits.strip_prefix('1').is_some_and(|rest| TOLL_FREE.iter().any(|free| rest.starts_with(free)));
    (!number.digits.ends_with("00000") && !free).then_some(number.range)
}

/// `(212) 555-0123`, `212-555-0123`, `1-212-555-0123`; by spaces alone where a word says so.
fn north_american<'t>(groups: &Groups<'_, 't>, said: bool) -> Option<Number<'t>> {
    let number = groups.of(&[1, 3, 3, 4]).filter(|n| n.digits.starts_with('1')).or_else(|| groups.of(&[3, 3, 4]))?;
    let area = number.digits.len() - 10;
    let from_2 = |at: usize| number.digits.as_bytes().get(at).is_some_and(|byte| matches!(byte, b'2'..=b'9'));
    let &[.., middle, last] = number.gaps.as_slice() else { return None };
    let bracketed = middle.starts_with(')') && matches!(last, "-" | "." | " ");
    let even = middle == last && (matches!(last, "-" | ".") || (said && last == " "));
    (from_2(area) && from_2(area + 3) && (even || bracketed)).then_some(number)
}

/// `020 7946 0958`, `0171 1234567`, `(02) 9374 4000`, `089/1234567`, `07911123456`.
fn with_trunk<'t>(words: &Words<'_>, groups: &Groups<'_, 't>, at: usize) -> Option<Number<'t>> {
    let first = words.get(at)?;
    if !first.text.starts_with('0') || first.text.starts_with("00") {
        return None;
    }
    if let Some(number) = groups.of(&[first.text.len()]).filter(|number| matches!(number.digits.len(), 10..=12)) {
        let mobile = match number.digits.len() {
            10 => ["06", "07"].iter().any(|prefix| number.digits.starts_with(prefix)),
            11 => ["07", "015", "016", "017"].iter().any(|prefix| number.digits.starts_with(prefix)),
            _ => ["015", "016", "017"].iter().any(|prefix| number.digits.starts_with(prefix)),
        };
        // Behind a dot or a slash it is a part of something else, an address or a version.
        let apart = !matches!(first.gap, "." | "/" | "-" | "=");
        return (mobile && apart && !isbn10(&number.digits) && !number.is_dull(4)).then_some(number);
    }
    let bracketed = first.gap.ends_with('(');
    if first.text.len() < if bracketed { 2 } else { 3 } {
        return None;
    }
    let number = longest(groups, 9..=12)?;
    let written = number.groups.len() > 1
        && number.gaps.iter().all(|gap| *gap != "." && !gap.ends_with('('))
        && number.groups.iter().skip(1).all(|group| group.len() > 1);
    let zeros = number.groups.iter().skip(1).all(|group| group.starts_with('0'));
    // A page and a year.
    let cited = matches!(number.groups.as_slice(), [_, second] if is_year(second));
    (written && !zeros && !cited && !number.is_dull(3)).then_some(number)
}

/// `06 12 34 56 78`, as French numbers are written; an arithmetic progression is a puzzle.
fn paired<'t>(groups: &Groups<'_, 't>) -> Option<Number<'t>> {
    let number = groups.of(&[2, 2, 2, 2, 2]).filter(|n| n.digits.starts_with('0') && !n.digits.starts_with("00"))?;
    let same = number.gaps.first().is_some_and(|gap| matches!(*gap, " " | "." | "-") && number.is_split_by(&[gap]));
    let values: Vec<i32> = number.groups.iter().filter_map(|group| group.parse().ok()).collect();
    let mut steps = values.iter().zip(values.iter().skip(1)).map(|(one, next)| next - one);
    let first = steps.next();
    (same && !steps.all(|step| Some(step) == first)).then_some(number)
}

/// `98765 43210` (India), `(11) 91234-5678` (Brazil).
fn other<'t>(words: &Words<'_>, groups: &Groups<'_, 't>, at: usize) -> Option<Number<'t>> {
    let indian = groups.of(&[5, 5]).filter(|number| {
        number.digits.starts_with(['6', '7', '8', '9'])
            && number.is_split_by(&[" "])
            && !number.groups.iter().any(|group| group.ends_with("00"))
    });
    let bracketed = words.get(at).is_some_and(|word| word.gap.ends_with('('));
    indian.or_else(|| {
        groups
            .of(&[2, 5, 4])
            .or_else(|| groups.of(&[2, 4, 4]))
            .filter(|number| bracketed && number.gaps.first().is_some_and(|gap| gap.starts_with(')')))
    })
}

/// Any number of a phone number's length, where a word says that it is one.
fn any<'t>(groups: &Groups<'_, 't>) -> Option<Number<'t>> {
    longest(groups, 7..=15)
        .filter(|number| !number.digits.ends_with("000") && !number.groups.iter().all(|group| is_year(group)))
}

fn is_year(group: &str) -> bool {
    group.len() == 4 && (group.starts_with("19") || group.starts_with("20"))
}

/// The most groups whose digits together are so many.
fn longest<'t>(groups: &Groups<'_, 't>, lengths: std::ops::RangeInclusive<usize>) -> Option<Number<'t>> {
    (1..=groups.count()).rev().find_map(|count| groups.first(count).filter(|n| lengths.contains(&n.digits.len())))
}

/// Whether words directly before the one at `at` say that a phone number follows.
fn is_said(words: &Words<'_>, at: usize) -> bool {
    for place in (at.saturating_sub(5)..at).rev() {
        let (Some(word), Some(next)) = (words.get(place), words.get(place + 1)) else { return false };
        let gap_leads = next.gap.len() <= 6 && !next.gap.contains(['?', '!', '\n']);
        if !gap_leads {
            return false;
        }
        if word.is_one_of(&PHONE) || PHONE_ENDINGS.iter().any(|ending| word.text.ends_with(ending)) {
            return true;
        }
        if word.is_one_of(&CALL) {
            return true;
        }
        if word.is_one_of(&REACH) && next.is_one_of(&SOMEBODY) {
            return true;
        }
        if word.is_one_of(&["my", "whose", "his", "her", "their", "contact"])
            && words.get(place + 1).is_some_and(|next| next.is_one_of(&["number"]))
        {
            return true;
        }
        if !(word.is_one_of(&NUMBER) || word.is_one_of(&IS) || word.is_one_of(&LEADS)) {
            return false;
        }
    }
    false
}
