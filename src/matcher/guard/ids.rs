//! Identifiers and versions: order numbers, SKUs, error codes, hashes, ticket keys, `3.11`, `v2`.

use super::text::Token;

/// Identifiers and versions among `tokens`.
pub(super) fn of(tokens: &[Token]) -> (Vec<String>, Vec<String>) {
    let (mut ids, mut versions) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let word = token.word.as_str();
        let before = at.checked_sub(1).and_then(|i| tokens.get(i)).map_or("", |t| t.word.as_str());
        if is_version(word, before) {
            versions.push(word.trim_start_matches('v').to_owned());
        } else if is_id(word, before) {
            // FY23 is FY2023.
            let year = word.strip_prefix("fy").filter(|year| year.len() == 2);
            ids.push(year.map_or_else(|| word.to_owned(), |year| format!("fy20{year}")));
        }
    }
    (ids, versions)
}

fn is_id(word: &str, before: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    let plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let measure = word.trim_start_matches(|c: char| c.is_ascii_digit()).len() < 3
        && letters < 3
        && !word.starts_with(char::is_alphabetic);
    plain
        && ((digits >= 2 && letters >= 1 && word.len() >= 4 && !measure && !is_ordinal(word))
            || (digits == word.len() && (digits >= 6 || before == "#")))
}

fn is_ordinal(word: &str) -> bool {
    ["st", "nd", "rd", "th", "s"]
        .iter()
        .any(|s| word.strip_suffix(s).is_some_and(|h| h.bytes().all(|b| b.is_ascii_digit())))
}

/// Software whose next word is its version.
fn is_versioned(word: &str) -> bool {
    matches!(
        word,
        "python"
            | "ios"
            | "android"
            | "windows"
            | "macos"
            | "ubuntu"
            | "debian"
            | "java"
            | "node"
            | "php"
            | "ruby"
            | "rust"
            | "version"
            | "v"
            | "release"
            | "django"
            | "react"
            | "angular"
            | "vue"
            | "postgres"
            | "postgresql"
            | "mysql"
            | "iphone"
            | "galaxy"
            | "pixel"
            | "ps"
            | "gpt"
            | "pandas"
            | "numpy"
            | "swift"
            | "kotlin"
            | "rails"
            | "laravel"
            | "tls"
            | "http"
            | "usb"
            | "bluetooth"
            | "es"
            | "excel"
            | "office"
            | "kubernetes"
            | "docker"
            | "terraform"
    )
}

fn is_version(word: &str, before: &str) -> bool {
    let numeric =
        |w: &str| w.starts_with(|c: char| c.is_ascii_digit()) && w.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    word.strip_prefix('v').is_some_and(numeric)
        || (numeric(word) && (is_versioned(before) || word.bytes().filter(|b| *b == b'.').count() >= 2))
}

/// The words that `a` and `b` do not share, when both have one.
pub(super) fn conflict(a: &[String], b: &[String]) -> Option<String> {
    let x = a.iter().find(|x| !b.contains(x))?;
    let y = b.iter().find(|y| !a.contains(y))?;
    Some(format!("'{x}' against '{y}'"))
}

#[cfg(test)]
mod tests {
    use crate::matcher::guard::Slot;
    use crate::matcher::guard::tests::slots;

    #[test]
    fn other_identifiers_differ() {
        for (a, b) in [
            ("Where is parcel LX48207?", "Where is parcel LX48270?"),
            ("Explain error E0382.", "Explain error E0499."),
            ("Show commit 9f8e7d6.", "Show commit 9f8e7d5."),
        ] {
            assert!(slots(a, b).contains(&Slot::Id), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn the_same_identifier_in_any_case_matches() {
        for (a, b) in [
            ("Where is parcel LX48207?", "where's parcel lx48207"),
            ("What grew in FY23?", "What grew in FY2023?"),
            ("Is 350g enough?", "Is 400g enough?"),
        ] {
            assert!(!slots(a, b).contains(&Slot::Id), "{a} / {b}: {:?}", slots(a, b));
        }
    }

    #[test]
    fn versions_are_compared_as_text() {
        let found = slots("How do I install Python 3.1?", "How do I install Python 3.10?");
        assert!(found.contains(&Slot::Version), "{found:?}");
        assert!(slots("Is v2 stable?", "is v2 stable").is_empty());
    }
}
