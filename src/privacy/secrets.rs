//! API keys, tokens, private keys and passwords: by their issuers' prefixes, or because a word says so.

use std::ops::Range;

use super::words::Words;

/// What issuers begin their secrets with, and how many characters must follow at least.
const PREFIXES: [(&str, usize); 31] = [
    ("sk-ant-", 12),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("rk_test_", 10),
    ("whsec_", 16),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghu_", 16),
    ("ghs_", 16),
    ("ghr_", 16),
    ("github_pat_", 16),
    ("glpat-", 16),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxa-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xoxe-", 10),
    ("xapp-", 10),
    ("AIza", 30),
    ("hf_", 20),
    ("npm_", 30),
    ("gsk_", 20),
    ("xai-", 20),
    ("dop_v1_", 40),
    ("ya29.", 20),
    ("pypi-AgE", 20),
    ("shpat_", 20),
    ("lin_api_", 20),
    ("SG.", 30),
];

const PASSWORD: [&str; 13] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "passwort",
    "kennwort",
    "contraseña",
    "senha",
    "wachtwoord",
    "mdp",
    "pw",
    "lösenord",
];
const OWN: [&str; 8] = ["my", "our", "mein", "mon", "mi", "minha", "mia", "mijn"];
/// Words with digits that say how a password is kept, not what it is.
const METHODS: [&str; 9] = ["base64", "sha256", "sha512", "sha1", "md5", "utf8", "oauth2", "argon2", "argon2id"];
/// Longest secret that is looked at.
const LONGEST: usize = 4096;

/// A secret that begins with the word at `at`, or that the word announces.
pub(super) fn at(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let word = words.get(at)?;
    if !word.text.is_ascii() && !word.is_one_of(&PASSWORD) {
        return None;
    }
    let text = &words.text[word.start..];
    // Most words are told by their length and what follows them.
    let begins = matches!(words.rest(at).as_bytes().first(), Some(b'-' | b'_' | b'.')) || word.text.len() >= 20;
    let found = if begins { prefixed(text).or_else(|| aws(word.text)).or_else(|| web_token(text)) } else { None };
    found
        .map(|length| word.start..word.start + length)
        .or_else(|| private_key(words, at))
        .or_else(|| announced(words, at))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn run(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().take(LONGEST).take_while(|byte| belongs(*byte)).count()
}

fn is_mixed(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn prefixed(text: &str) -> Option<usize> {
    let known = PREFIXES.iter().find_map(|(prefix, least)| {
        let tail = run(text.strip_prefix(prefix)?, |byte| is_token(byte) || byte == b'.');
        (tail >= *least).then_some(prefix.len() + tail)
    });
    known.or_else(|| {
        // Names of styles and packages begin with it too, but hold no digits in such a length.
        let rest = text.strip_prefix("sk-")?;
        let tail = run(rest, is_token);
        (tail >= 16 && rest.get(..tail).is_some_and(is_mixed)).then_some(3 + tail)
    })
}

/// Amazon's access key ids.
fn aws(word: &str) -> Option<usize> {
    let tail = word.strip_prefix("AKIA").or_else(|| word.strip_prefix("ASIA"))?;
    let fits = tail.len() == 16 && tail.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    fits.then_some(word.len())
}

/// A JSON web token: two objects in base64 and a signature.
fn web_token(text: &str) -> Option<usize> {
    text.strip_prefix("eyJ")?;
    let length = run(text, |byte| is_token(byte) || byte == b'.');
    let mut parts = text.get(..length)?.split('.');
    let fits = parts.next().is_some_and(|head| head.len() >= 10)
        && parts.next().is_some_and(|body| body.starts_with("eyJ") && body.len() >= 10)
        && parts.next().is_some_and(|signature| signature.len() >= 8);
    fits.then_some(length)
}

fn private_key(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let word = words.get(at).filter(|word| word.text == "BEGIN" && word.gap.ends_with("-----"))?;
    let mut label = words.from(at + 1).iter().take(5);
    let key = label.position(|word| word.text == "PRIVATE").and_then(|_| label.next()).filter(|w| w.text == "KEY")?;
    // To the end of the block, or as far as there is one.
    let rest = &words.text[key.end()..];
    let length = rest.find("-----END").unwrap_or(rest.len());
    Some(word.start - 5..key.end() + length)
}

/// `password: ...`, `API_KEY=...`, `Bearer ...`.
fn announced(words: &Words<'_>, at: usize) -> Option<Range<usize>> {
    let word = words.get(at)?;
    let before = words.before(at);
    let after_word = |names: &[&str]| before.is_some_and(|b| b.is_one_of(names) && word.gap.len() <= 1);
    let password = word.is_one_of(&PASSWORD) || (word.is_one_of(&["passe"]) && words.said_before(at, &["mot"]));
    let token = word.is_one_of(&["apikey", "secret", "bearer"])
        || (word.is_one_of(&["key"]) && after_word(&["api", "secret", "access", "private", "account"]))
        || (word.is_one_of(&["token"]) && after_word(&["access", "auth", "api", "bearer", "refresh", "bot"]));
    let pin = word.is_one_of(&["pin"]) && after_word(&["my", "card", "atm", "debit"]);
    if !(password || token || pin) {
        return None;
    }
    let rest = words.rest(at);
    let mut value = rest.trim_start_matches(['"', '\'', ' ', '*', '`']);
    let is = ["is ", "is: ", "ist ", "est ", "es ", "é ", "è "].iter().find_map(|is| value.strip_prefix(is));
    value = is.unwrap_or(value).trim_start();
    let marked = value.strip_prefix(":=").or_else(|| value.strip_prefix([':', '=', '：']));
    let begins = marked.unwrap_or(value).trim_start_matches(['"', '\'', '`', '*', ' ']);
    let length = begins
        .bytes()
        .take(LONGEST)
        .take_while(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'\'' | b'`' | b',' | b';'))
        .count();
    let value = begins.get(..length)?.trim_end_matches(['.', '?', '!', ')', '*']);
    let own = before.is_some_and(|before| before.is_one_of(&OWN));
    let bearer = word.is_one_of(&["bearer"]);
    let fits = if password {
        (marked.is_some() || is.is_some()) && is_password(value, marked.is_some(), own)
    } else if pin {
        (marked.is_some() || is.is_some())
            && (4..=6).contains(&value.len())
            && value.bytes().all(|b| b.is_ascii_digit())
    } else {
        (marked.is_some() || is.is_some() || bearer) && value.len() >= 16 && is_mixed(value) && is_no_code(value)
    };
    let start = words.text.len() - begins.len();
    fits.then(|| start..start + value.len())
}

fn is_no_code(value: &str) -> bool {
    let path = value.contains('.') && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'));
    !value.contains(['(', ')', '[', ']', '{', '}', '<', '>']) && !value.starts_with(['$', '%', '*', '/']) && !path
}

fn is_password(value: &str, marked: bool, own: bool) -> bool {
    let letters = || value.bytes().all(|byte| byte.is_ascii_alphabetic());
    let numbers = || value.bytes().all(|byte| byte.is_ascii_digit());
    value.len() >= 6
        && is_no_code(value)
        && !METHODS.contains(&value.to_ascii_lowercase().as_str())
        && (is_mixed(value) || (marked && (numbers() || (own && letters()))))
}
