//! A credential of the gateway's own, sent upstream instead of the client's. Who the client is stays a matter of its own
//! credential: this one makes no scope.

use http::{HeaderName, HeaderValue, header};

use crate::{headers, upstream::UpstreamRequest};

/// Headers that can carry it; the first is the default and gets `Bearer` before the key.
const HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// A header that no provider reads a key from.
    #[error("is no header for a key; write {}", HEADERS.join(" or "))]
    Header,
    /// Characters that no header can carry.
    #[error("names a variable whose value no header can carry; it must be printable ASCII")]
    Value,
}

/// A key and the header that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnKey {
    name: HeaderName,
    /// Marked sensitive, so that no log shows it.
    value: HeaderValue,
}

impl OwnKey {
    /// A key for the header `name`; `authorization` gets `Bearer KEY`, any other the bare key.
    pub fn new(name: Option<&str>, key: &str) -> Result<Self, KeyProblem> {
        let [bearer, ..] = HEADERS;
        let name = name.unwrap_or(bearer).to_ascii_lowercase();
        if !HEADERS.contains(&name.as_str()) {
            return Err(KeyProblem::Header);
        }
        let text = if name == bearer { format!("Bearer {key}") } else { key.to_owned() };
        let mut value = HeaderValue::try_from(text).map_err(|_| KeyProblem::Value)?;
        value.set_sensitive(true);
        Ok(Self { name: HeaderName::try_from(name).map_err(|_| KeyProblem::Header)?, value })
    }

    /// Puts it in the place of everything by which the client shows who it is.
    pub(super) fn replace_credentials(&self, request: &mut UpstreamRequest) {
        headers::strip_credentials(&mut request.headers);
        headers::remove_where(&mut request.headers, |name| name == header::COOKIE || *name == self.name);
        request.headers.insert(self.name.clone(), self.value.clone());
        headers::retain_parameters(&mut request.path_and_query, |parameter| !headers::is_credential(parameter));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};

    use super::*;
    use crate::upstream::UpstreamBody;

    fn replaced(name: Option<&str>, path: &str, headers: &[(&'static str, &'static str)]) -> (String, HeaderMap) {
        let pairs = headers.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        let mut request = UpstreamRequest {
            method: Method::POST,
            path_and_query: path.to_owned(),
            headers: pairs.collect(),
            model: None,
            may_fall_back: true,
            needs_own_key: false,
            body: UpstreamBody::Whole(Bytes::new()),
        };
        OwnKey::new(name, "own").unwrap().replace_credentials(&mut request);
        (request.path_and_query, request.headers)
    }

    #[test]
    fn nothing_of_the_clients_credentials_is_left_and_the_rest_stays() {
        let sent = [
            ("authorization", "Bearer client"),
            ("x-api-key", "client"),
            ("api-key", "client"),
            ("x-goog-api-key", "client"),
            ("cookie", "client"),
            ("x-auth-token", "client"),
            ("openai-organization", "org-client"),
            ("helicone-target-url", "https://client.example"),
            ("anthropic-version", "2023-06-01"),
            ("idempotency-key", "i1"),
            ("content-type", "application/json"),
        ];
        for (header, value) in [(None, "Bearer own"), (Some("x-api-key"), "own"), (Some("API-Key"), "own")] {
            let (_, headers) = replaced(header, "/v1/x", &sent);
            assert_eq!(headers[header.unwrap_or("authorization")], value);
            assert!(headers.values().all(|value| !value.to_str().unwrap().contains("client")), "{headers:?}");
            assert_eq!(headers.len(), 4, "{headers:?}");
        }
    }

    #[test]
    fn a_credential_in_the_query_goes_and_the_other_parameters_stay_as_they_are() {
        for (sent, left) in [
            ("/v1/x?key=client", "/v1/x"),
            ("/v1/x?alt=sse&key=client&a=%20", "/v1/x?alt=sse&a=%20"),
            ("/v1/x?%6bey=client&a", "/v1/x?a"),
            ("/v1/x?KEY=client&access_token=client", "/v1/x"),
            ("/v1/x?a=1&a=2&keys=3&%zz&", "/v1/x?a=1&a=2&keys=3&%zz&"),
            ("/v1/x?", "/v1/x?"),
        ] {
            assert_eq!(replaced(None, sent, &[]).0, left, "{sent}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_sent_is_refused_and_none_is_ever_printed() {
        assert_eq!(OwnKey::new(Some("x-secret"), "k"), Err(KeyProblem::Header));
        assert_eq!(OwnKey::new(None, "a\nb"), Err(KeyProblem::Value));
        assert!(!format!("{:?}", OwnKey::new(None, "sk-own").unwrap()).contains("sk-own"));
    }
}
