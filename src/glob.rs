//! The one pattern that settings and policies know: a literal, or what stands before a `*` at the end.

/// Whether `pattern` names `text` itself, or with a trailing `*` everything that begins like it.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == text, |start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_at_the_end_stands_for_anything_and_elsewhere_for_itself() {
        for (pattern, text, fits) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o*", "gpt-4o", true),
            ("gpt-4o*", "gpt-4o-mini", true),
            ("gpt-4o*", "GPT-4o", false),
            ("*", "", true),
            ("", "", true),
            ("/v1/*/x", "/v1/a/x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
