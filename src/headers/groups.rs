//! Which groups an upstream puts an answer into, and which groups it calls out of date.
//!
//! `Surrogate-Key` (keys divided by spaces), `Cache-Tag` (divided by commas) and `Cache-Groups` (RFC 9875, a list of
//! strings) all become tags. `Cache-Group-Invalidation` (RFC 9875 section 3) names groups, and counts on the answer to an
//! unsafe request only. A field that is not a list of strings is ignored as a whole (RFC 9651 section 4.2).

use http::{HeaderMap, Method, StatusCode};

/// Tags of one answer that are kept. An answer with more is not stored: an invalidation of what was left out would miss it.
pub const MAX_TAGS: usize = 128;
/// Bytes of one tag.
pub const MAX_TAG: usize = 256;

const SURROGATE_KEY: &str = "surrogate-key";
const CACHE_TAG: &str = "cache-tag";
const CACHE_GROUPS: &str = "cache-groups";
const INVALIDATION: &str = "cache-group-invalidation";

/// The upstream named more, or longer ones, than are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooManyTags;

/// The groups that the answer with these headers is in, sorted and without repeats.
///
/// # Errors
/// [`TooManyTags`] when not all of them can be kept.
pub fn tags(headers: &HeaderMap) -> Result<Vec<String>, TooManyTags> {
    let mut tags = strings(headers, CACHE_GROUPS);
    for (name, divider) in [(SURROGATE_KEY, ' '), (CACHE_TAG, ',')] {
        for value in headers.get_all(name) {
            let text = String::from_utf8_lossy(value.as_bytes());
            tags.extend(text.split(divider).map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned));
        }
    }
    tags.sort_unstable();
    tags.dedup();
    let all_fit = tags.len() <= MAX_TAGS && tags.iter().all(|tag| tag.len() <= MAX_TAG);
    if all_fit { Ok(tags) } else { Err(TooManyTags) }
}

/// The groups that an answer to a request of `method` calls out of date, as far as an entry can be in them.
pub fn invalidated(method: &Method, status: StatusCode, headers: &HeaderMap) -> Vec<String> {
    if method.is_safe() || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut groups = strings(headers, INVALIDATION);
    groups.retain(|group| group.len() <= MAX_TAG);
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The members of a list of strings, over all its lines; none when it is none.
fn strings(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines: Option<Vec<&str>> = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    let Some(lines) = lines.filter(|lines| !lines.is_empty()) else { return Vec::new() };
    list(&lines.join(",")).unwrap_or_default()
}

/// RFC 9651 section 4.2.1, of which only strings are members here.
fn list(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim_matches(' ');
    let mut members = Vec::new();
    while !rest.is_empty() {
        let (member, after) = string(rest)?;
        members.push(member);
        rest = skip_parameters(after)?.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            break;
        }
        rest = rest.strip_prefix(',')?.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            // A list does not end in a comma.
            return None;
        }
    }
    Some(members)
}

/// A quoted string and what follows it.
fn string(text: &str) -> Option<(String, &str)> {
    let mut string = String::new();
    let mut chars = text.strip_prefix('"')?.chars();
    loop {
        match chars.next()? {
            '"' => return Some((string, chars.as_str())),
            '\\' => string.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c if (' '..='~').contains(&c) => string.push(c),
            _ => return None,
        }
    }
}

/// What follows the parameters of a member, which mean nothing here.
fn skip_parameters(mut rest: &str) -> Option<&str> {
    while let Some(parameter) = rest.strip_prefix(';') {
        let parameter = parameter.trim_start_matches(' ');
        let key =
            parameter.trim_start_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.*".contains(c));
        if key.len() == parameter.len() {
            return None;
        }
        rest = match key.strip_prefix('=') {
            None => key,
            Some(value) if value.starts_with('"') => string(value)?.1,
            Some(value) => {
                let end = value.find([',', ';', ' ', '\t']).unwrap_or(value.len());
                value.get(end..).filter(|_| end > 0)?
            }
        };
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn keys_tags_and_groups_are_read_each_in_its_own_way() {
        let all = headers(&[
            ("surrogate-key", "doc:42  doc:77"),
            ("surrogate-key", "faq"),
            ("cache-tag", "eu, two words"),
            ("cache-groups", r#""eurovision-results", "a \"b\" \\";x=1; y"#),
            ("cache-groups", r#""late";q="1,2""#),
        ]);
        let expected = ["a \"b\" \\", "doc:42", "doc:77", "eu", "eurovision-results", "faq", "late", "two words"];
        assert_eq!(tags(&all).unwrap(), expected);
        assert_eq!(tags(&HeaderMap::new()), Ok(Vec::new()));
    }

    #[test]
    fn a_field_that_is_no_list_of_strings_counts_for_nothing() {
        for bad in [
            r#""a" "b""#,
            r#""a","#,
            "token",
            r#""open"#,
            r#"("a" "b")"#,
            r#""a\n""#,
            r#""a";"#,
            r#""a";X"#,
            r#""a", 7"#,
        ] {
            assert_eq!(tags(&headers(&[("cache-groups", bad)])), Ok(Vec::new()), "{bad}");
        }
    }

    #[test]
    fn more_than_can_be_kept_is_told() {
        let keys: Vec<String> = (0..=MAX_TAGS).map(|n| format!("k{n}")).collect();
        assert_eq!(tags(&headers(&[("surrogate-key", &keys.join(" "))])), Err(TooManyTags));
        assert_eq!(tags(&headers(&[("surrogate-key", &keys[1..].join(" "))])).unwrap().len(), MAX_TAGS);
        assert_eq!(tags(&headers(&[("surrogate-key", &"k".repeat(MAX_TAG + 1))])), Err(TooManyTags));
    }

    #[test]
    fn only_a_success_of_an_unsafe_request_invalidates() {
        let told = headers(&[("cache-group-invalidation", r#""b", "a", "b""#)]);
        assert_eq!(invalidated(&Method::POST, StatusCode::OK, &told), ["a", "b"]);
        assert_eq!(invalidated(&Method::DELETE, StatusCode::NO_CONTENT, &told), ["a", "b"]);
        for (method, status) in [(Method::GET, 200), (Method::HEAD, 200), (Method::POST, 404), (Method::PUT, 500)] {
            let none = invalidated(&method, StatusCode::from_u16(status).unwrap(), &told);
            assert!(none.is_empty(), "{method} {status}");
        }
    }

    proptest! {
        #[test]
        fn a_list_is_read_back_as_it_was_written(strings in prop::collection::vec("[ -~]{0,9}", 0..9)) {
            let quoted = |string: &String| format!("\"{}\"", string.replace('\\', "\\\\").replace('"', "\\\""));
            let written: Vec<String> = strings.iter().map(quoted).collect();
            prop_assert_eq!(list(&written.join(" ,\t")), Some(strings));
        }

        #[test]
        fn any_text_is_a_list_or_none(text in "[\"\\\\,; a=1\t]{0,12}") {
            let _ = list(&text);
        }
    }
}
