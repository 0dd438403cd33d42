//! One pass over a question: tokens, light stems, and the phrases the lexicon knows.
//!
//! Invariants: text is only ever cut at character boundaries, the same text always gives the same units, and a unit's
//! `key` is equal for two wordings exactly when the guard holds them for the same word.

use super::lexicon::{self, Tag};
use super::numbers::{self, Number};

/// Identity of a word after stemming and synonym folding.
pub(super) type Key = u64;

/// One raw token.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// Lower-cased, contraction-free.
    pub(super) word: String,
    /// Began with an upper-case letter, not at the start of a sentence.
    pub(super) named: bool,
    /// First of its sentence.
    pub(super) opens: bool,
    /// At least two letters and all of them upper-case.
    pub(super) shouted: bool,
}

/// What a unit is to the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Carries the subject of the question.
    Content,
    /// Holds the sentence together.
    Function,
    /// Politeness and padding, ignored everywhere.
    Filler,
    /// A number, compared by value.
    Number,
}

/// A word or a known phrase.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) key: Key,
    pub(super) shown: String,
    pub(super) class: Class,
    pub(super) tags: &'static [Tag],
    pub(super) named: bool,
    pub(super) number: Option<Number>,
}

impl Unit {
    /// Whether the unit carries meaning of its own.
    pub(super) fn is_content(&self) -> bool {
        self.class == Class::Content
    }
}

/// FNV-1a: stable between runs, so that a reading may be kept.
pub(super) fn hash(text: &str) -> Key {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Tokens read of one question. Far more than the embedding model sees, so nothing that can be a candidate is cut.
const MOST_TOKENS: usize = 512;

/// Cuts `text` into tokens.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().map(plain).collect();
    let mut out = Vec::with_capacity(chars.len() / 5 + 2);
    let (mut at, mut start) = (0, true);
    while let Some(&c) = chars.get(at).filter(|_| out.len() < MOST_TOKENS) {
        let end = token_end(&chars, at);
        if end > at {
            push_word(&chars[at..end], start, &mut out);
            start = false;
            at = end;
            continue;
        }
        if matches!(c, '.' | '?' | '!' | ':' | '\n' | '"') {
            start = true;
        } else if let Some(symbol) = symbol(&chars, at) {
            out.push(Token { word: symbol.to_owned(), named: false, opens: false, shouted: false });
        }
        at += 1;
    }
    out
}

/// Typographic quotes and dashes become plain ones.
fn plain(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{02bc}' | '`' | '\u{00b4}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{00ab}' | '\u{00bb}' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{00a0}' | '\u{202f}' => ' ',
        other => other,
    }
}

fn symbol(chars: &[char], at: usize) -> Option<&'static str> {
    let next = chars.get(at + 1).copied();
    Some(match chars[at] {
        '$' => "$",
        '€' => "€",
        '£' => "£",
        '¥' => "¥",
        '₹' => "₹",
        '%' => "percent",
        '°' => "degree",
        '&' => "and",
        '+' if next == Some(' ') => "and",
        '-' if next == Some('>') => "to",
        '→' => "to",
        '#' if next.is_some_and(|c| c.is_ascii_digit()) => "#",
        '<' => "<",
        '>' if at == 0 || chars[at - 1] != '-' => ">",
        _ => return None,
    })
}

/// End of the token that starts at `at`; equal to `at` when none does.
fn token_end(chars: &[char], at: usize) -> usize {
    let mut end = at;
    while let Some(&c) = chars.get(end) {
        let before = end.checked_sub(1).filter(|&i| i >= at).and_then(|i| chars.get(i));
        let after = chars.get(end + 1);
        let between_digits = || before.is_some_and(char::is_ascii_digit) && after.is_some_and(char::is_ascii_digit);
        let between_letters =
            || before.is_some_and(|b| b.is_alphanumeric()) && after.is_some_and(|a| a.is_alphabetic());
        let inside = c.is_alphanumeric()
            || (c == '\'' && between_letters())
            || (matches!(c, '.' | ',' | ':' | '/') && between_digits())
            || (c == '+' && end > at && (after == Some(&'+') || before == Some(&'+')))
            || (c == '#' && end == at + 1 && before.is_some_and(|b| b.is_alphabetic()))
            || (c == '/' && end == at + 1 && before.is_some_and(|b| matches!(b, 'w' | 'W')))
            || (c == '-' && is_ticket(chars, at, end));
        if !inside {
            break;
        }
        end += 1;
    }
    end
}

/// `PROJ-123`: capitals, a dash, digits.
fn is_ticket(chars: &[char], at: usize, dash: usize) -> bool {
    dash >= at + 2
        && chars[at..dash].iter().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        && chars[at].is_ascii_uppercase()
        && chars.get(dash + 1).is_some_and(char::is_ascii_digit)
}

fn push_word(chars: &[char], start: bool, out: &mut Vec<Token>) {
    let upper = chars.first().is_some_and(|c| c.is_uppercase());
    let letters = chars.iter().filter(|c| c.is_alphabetic()).count();
    let shouted = letters >= 2 && !chars.iter().any(|c| c.is_lowercase());
    let lower: String = chars.iter().flat_map(|c| c.to_lowercase()).collect();
    let named = upper && !start && lower != "i" && !lower.starts_with("i'");
    let mut opens = start;
    let mut push = |word: &str, named: bool| {
        out.push(Token { word: word.to_owned(), named, opens, shouted });
        opens = false;
    };
    if shouted && lower == "us" {
        return push("usa", true);
    }
    if let Some(parts) = lexicon::expansion(&lower) {
        for part in parts.split(' ') {
            push(part, false);
        }
        return;
    }
    let Some((head, tail)) = lower.split_once('\'') else {
        split_amount(&lower, named, &mut push);
        return;
    };
    match tail {
        "t" if head.len() > 1 && head.ends_with('n') => {
            push(&head[..head.len() - 1], false);
            push("not", false);
        }
        "re" | "m" | "ve" | "ll" | "d" => push(head, named),
        "s" if lexicon::takes_is(head) => {
            push(head, false);
            push("is", false);
        }
        _ => push(head, named),
    }
}

/// `30min`, `5km`, `350f`, `3hr`: a number glued to a unit becomes two tokens.
fn split_amount(word: &str, named: bool, push: &mut impl FnMut(&str, bool)) {
    let digits = word.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ',' | ':'))).unwrap_or(0);
    let (head, tail) = word.split_at(digits);
    if digits > 0 && super::units::is_glued(tail) {
        push(head, false);
        push(tail, false);
    } else {
        push(word, named);
    }
}

/// A light stem: inflections fall together, derivations mostly do not.
pub(super) fn stem(word: &str) -> String {
    if let Some(base) = lexicon::irregular(word) {
        return drop_e(base);
    }
    if word.len() < 4 || word == "none" || !word.is_ascii() {
        return word.to_owned();
    }
    let vowel = |s: &str| s.bytes().any(|b| matches!(b, b'a' | b'e' | b'i' | b'o' | b'u' | b'y'));
    if let Some(base) = word.strip_suffix("ies").or_else(|| word.strip_suffix("ied"))
        && base.len() > 1
    {
        return format!("{base}y");
    }
    if let Some(base) = word.strip_suffix("es")
        && (base.ends_with("ss")
            || base.ends_with('x')
            || base.ends_with("ch")
            || base.ends_with("sh")
            || base.ends_with('z'))
    {
        return base.to_owned();
    }
    if let Some(base) = word.strip_suffix('s')
        && !(base.ends_with('s') || base.ends_with('u') || base.ends_with('i'))
    {
        return stem(base);
    }
    if let Some(base) = word.strip_suffix("ing").or_else(|| word.strip_suffix("ed"))
        && base.len() >= 2
        && vowel(base)
        && !word.ends_with("eed")
    {
        let base = undouble(base);
        return if base.len() == 2 { format!("{base}e") } else { drop_e(base) };
    }
    drop_e(word)
}

fn undouble(base: &str) -> &str {
    let b = base.as_bytes();
    let n = b.len();
    let doubled = n >= 3 && b[n - 1] == b[n - 2] && !matches!(b[n - 1], b'l' | b's' | b'z' | b'e' | b'o');
    if doubled { &base[..n - 1] } else { base }
}

fn drop_e(base: &str) -> String {
    match base.strip_suffix('e') {
        Some(head) if head.len() >= 3 && !head.ends_with('e') => head.to_owned(),
        _ => base.to_owned(),
    }
}

/// How many tokens of padding `tokens` begin with.
pub(super) fn padding(tokens: &[Token]) -> usize {
    let stems: Vec<Key> = tokens.iter().take(8).map(|t| hash(&stem(&t.word))).collect();
    lexicon::longest(&stems, 0).filter(|(entry, _)| entry.class == Some(Class::Filler)).map_or(0, |(_, n)| n)
}

/// The units of a question, fillers left out.
pub(super) fn units(tokens: &[Token]) -> Vec<Unit> {
    let stems: Vec<Key> = tokens.iter().map(|t| hash(&stem(&t.word))).collect();
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let found = lexicon::longest(&stems, at);
        // "two factor authentication" is no number.
        let figure = if found.is_some_and(|(_, n)| n > 1) { None } else { numbers::parse(tokens, at) };
        if let Some((number, used)) = figure {
            out.push(Unit {
                key: number.key(),
                shown: shown(&tokens[at..at + used]),
                class: Class::Number,
                tags: &[],
                named: false,
                number: Some(number),
            });
            at += used;
            continue;
        }
        let used = found.map_or(1, |(_, n)| n);
        let span = &tokens[at..at + used];
        let entry = found.map(|(entry, _)| entry);
        let class = entry.and_then(|e| e.class).unwrap_or(Class::Content);
        if class != Class::Filler {
            out.push(Unit {
                key: entry.and_then(|e| e.canonical).unwrap_or(stems[at]),
                shown: shown(span),
                class,
                tags: entry.map_or(&[], |e| &e.tags),
                named: span.iter().any(|t| t.named),
                number: None,
            });
        }
        at += used;
    }
    out
}

fn shown(tokens: &[Token]) -> String {
    tokens.iter().map(|t| t.word.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{stem, tokens};

    #[test]
    fn inflections_share_a_stem() {
        for (a, b) in [
            ("changing", "change"),
            ("shipped", "ship"),
            ("policies", "policy"),
            ("boxes", "box"),
            ("bought", "buy"),
            ("used", "use"),
            ("children", "child"),
        ] {
            assert_eq!(stem(a), stem(b), "{a} {b}");
        }
        assert_ne!(stem("https"), stem("http"));
        assert_ne!(stem("none"), stem("non"));
    }

    #[test]
    fn contractions_and_short_forms_are_written_out() {
        let words = |text: &str| tokens(text).into_iter().map(|t| t.word).collect::<Vec<_>>().join(" ");
        assert_eq!(words("I can\u{2019}t pay w/o a card"), "i can not pay without a card");
        assert_eq!(words("what's the Node's v2 price, $5?"), "what is the node v2 price $ 5");
        assert_eq!(words("C++ and C#, 30min, 3.11"), "c++ and c# 30 min 3.11");
    }

    #[test]
    fn only_names_inside_a_sentence_count_as_named() {
        let named: Vec<_> =
            tokens("Does Anna fly? She and Ben do.").into_iter().filter(|t| t.named).map(|t| t.word).collect();
        assert_eq!(named, ["anna", "ben"]);
    }
}
