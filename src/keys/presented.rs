//! Keys of the gateway in a request: finding them, and taking them out.
//!
//! Invariants: a key is found wherever it stands in a header or in the query, whatever the name and however it is escaped,
//! and after [`take_out`] it stands there no more, nor does any other credential: such a request goes out under the
//! upstream's own key or not at all.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};

use super::{PREFIX, Refusal};
use crate::headers;

/// Google's credential, which also tells its protocol on paths that several have.
const GOOGLES: &str = "x-goog-api-key";

/// The key that a request carries, if any. Two different ones are one too many.
pub fn key(headers: &HeaderMap, query: &str) -> Result<Option<String>, Refusal> {
    let mut found: Option<String> = None;
    let values = headers.values().flat_map(|value| keys_in(value.as_bytes()));
    for key in values.chain(query.split('&').flat_map(|parameter| keys_in(&headers::unescaped(parameter)))) {
        match &found {
            Some(known) if *known != key => return Err(Refusal::Several),
            _ => found = Some(key),
        }
    }
    Ok(found)
}

/// Takes keys of the gateway and all other credentials out of a request.
pub fn take_out(headers: &mut HeaderMap, path_and_query: &mut String) {
    let googles = headers.contains_key(GOOGLES);
    headers::strip_credentials(headers);
    if headers.values().any(|value| holds_key(value.as_bytes())) {
        let names: Vec<_> = headers.iter().filter(|(_, value)| holds_key(value.as_bytes())).collect();
        let names: Vec<_> = names.into_iter().map(|(name, _)| name.clone()).collect();
        headers::remove_where(headers, |name| names.contains(name));
    }
    if googles {
        headers.insert(GOOGLES, HeaderValue::from_static(""));
    }
    headers::retain_parameters(path_and_query, |parameter| {
        !headers::is_credential(parameter) && !holds_key(&headers::unescaped(parameter))
    });
}

fn holds_key(value: &[u8]) -> bool {
    !keys_in(value).is_empty()
}

/// Every key inside a value, also inside the Base64 of `Basic`.
fn keys_in(value: &[u8]) -> Vec<String> {
    let mut keys = plain_keys_in(value);
    let basic = value.split_at_checked(6).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"basic "));
    if let Some(decoded) = basic.and_then(|(_, coded)| STANDARD.decode(coded.trim_ascii()).ok()) {
        keys.extend(plain_keys_in(&decoded));
    }
    keys
}

fn plain_keys_in(value: &[u8]) -> Vec<String> {
    let mut keys = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.windows(PREFIX.len()).position(|window| window == PREFIX.as_bytes()) {
        let from = rest.get(start..).unwrap_or_default();
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let length = from.iter().take_while(|byte| is_part(byte)).count();
        let (key, after) = from.split_at(length);
        keys.push(String::from_utf8_lossy(key).into_owned());
        rest = after;
    }
    keys
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_key_is_found_wherever_it_stands_and_is_there_no_more_when_it_was_taken_out() {
        let basic = format!("Basic {}", STANDARD.encode("user:sk-semblance-AbC_-9"));
        for (name, value, query) in [
            ("authorization", "Bearer sk-semblance-AbC_-9", ""),
            ("authorization", basic.as_str(), ""),
            ("x-api-key", "sk-semblance-AbC_-9", ""),
            ("api-key", "sk-semblance-AbC_-9", ""),
            ("x-goog-api-key", "sk-semblance-AbC_-9", ""),
            ("cookie", "a=b; key=sk-semblance-AbC_-9; c=d", ""),
            ("x-anything", "sk-semblance-AbC_-9", ""),
            ("accept", "*/*", "alt=sse&key=sk-semblance-AbC_-9"),
            ("accept", "*/*", "%6bey=sk%2dsemblance-AbC_-9"),
            ("accept", "*/*", "other=sk-semblance-AbC_-9"),
        ] {
            let mut headers = headers(&[(name, value), ("x-auth-token", "a provider's"), ("x-kept", "1")]);
            assert_eq!(key(&headers, query), Ok(Some("sk-semblance-AbC_-9".to_owned())), "{name}: {value} {query}");
            let mut path = format!("/v1/x?{query}");
            take_out(&mut headers, &mut path);
            assert_eq!(key(&headers, path.split_once('?').map_or("", |(_, query)| query)), Ok(None));
            assert!(headers.contains_key("x-kept") && !headers.contains_key("x-auth-token"));
            assert!(!path.contains("semblance"), "{path}");
        }
    }

    #[test]
    fn the_same_key_twice_is_one_and_two_are_refused() {
        let two = [("authorization", "Bearer sk-semblance-a"), ("x-api-key", "sk-semblance-a")];
        assert_eq!(key(&headers(&two), "key=sk-semblance-a"), Ok(Some("sk-semblance-a".to_owned())));
        assert_eq!(key(&headers(&two), "key=sk-semblance-b"), Err(Refusal::Several));
        assert_eq!(key(&headers(&[("x-api-key", "sk-proj-1")]), "key=AIza"), Ok(None));
    }
}
