//! Header hygiene: which headers pass, which are dropped, which make the scope, and how an outcome is written as one.
//!
//! Invariants: hop-by-hop fields never cross the gateway in either direction; our own and other caches' control fields
//! never reach the upstream; a credential is read whole and never shortened, so two credentials cannot become one.

mod cache_status;
pub mod groups;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub use cache_status::{CacheFacts, Stored, UNTRUSTED, append_cache_status, cache_status};

/// Our one grep-able outcome header: `hit-exact`, `hit-semantic`, `stale`, `miss`, `collapsed` or `bypass`.
pub const CACHE: HeaderName = HeaderName::from_static("x-semblance-cache");
/// The category a request was given; on requests, the category the app names.
pub const CATEGORY: HeaderName = HeaderName::from_static("x-semblance-category");
/// The entry that answered a hit.
pub const ENTRY: HeaderName = HeaderName::from_static("x-semblance-entry");
/// Similarity of a semantic hit.
pub const SIMILARITY: HeaderName = HeaderName::from_static("x-semblance-similarity");
/// Our id of the request, new for each one.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-semblance-request-id");
/// What a hit saved, in US dollars.
pub const SAVED_USD: HeaderName = HeaderName::from_static("x-semblance-saved-usd");
/// Prompt tokens that a hit saved.
pub const SAVED_INPUT_TOKENS: HeaderName = HeaderName::from_static("x-semblance-saved-input-tokens");
/// Completion tokens that a hit saved.
pub const SAVED_OUTPUT_TOKENS: HeaderName = HeaderName::from_static("x-semblance-saved-output-tokens");
/// The upstream's own id of the answer that a hit replays.
pub const ORIGIN_ID: HeaderName = HeaderName::from_static("x-semblance-origin-id");
/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// Tells the official SDKs whether a retry makes sense.
pub const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// The request id that OpenAI's SDKs show.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The request id that Anthropic's SDKs show.
pub const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Hop-by-hop fields (RFC 9110 7.6.1, and the historical ones still seen).
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "proxy-connection",
];

/// Cache controls of ours and of other gateways, by prefix (wire.md 4.3). `cf-aig-authorization` and its like are not
/// here: they are credentials of an upstream that is itself a gateway.
const CACHE_CONTROL_PREFIXES: &[&str] = &[
    "x-semblance-",
    "x-portkey-cache-",
    "cf-aig-cache-",
    "cf-aig-skip-cache",
    "cf-skip-cache",
    "x-bf-cache-",
    "x-bifrost-cache-",
    "helicone-cache-",
    "x-openrouter-cache",
    "x-litellm-cache-",
];

/// Fields that belong to one answer on one connection and are never replayed from a stored one.
const PER_ANSWER: &[&str] = &[
    "x-request-id",
    "request-id",
    "x-generation-id",
    "x-litellm-call-id",
    "openai-processing-ms",
    "x-envoy-upstream-service-time",
    "set-cookie",
    "date",
    "age",
    "expires",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "cache-status",
    "x-cache",
    "x-cache-status",
    "helicone-cache",
    "content-length",
    "content-encoding",
    "server-timing",
    "traceparent",
    "tracestate",
    "traceresponse",
    "alt-svc",
    "via",
];

/// As [`PER_ANSWER`], by prefix.
const PER_ANSWER_PREFIXES: &[&str] =
    &["x-ratelimit-", "anthropic-ratelimit-", "ratelimit", "cf-", "x-semblance-", "x-ai-cache-", "x-openrouter-cache"];

/// Fields that can carry a credential; the first four in the order in which they are looked at.
const CREDENTIALS: &[&str] = &[
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-portkey-api-key",
    "cf-aig-authorization",
    "helicone-auth",
    "cookie",
    "ocp-apim-subscription-key",
];

/// Query parameters in which clients send a credential (Gemini's `?key=`, OAuth's `access_token`).
const PARAMETERS: [&str; 5] = ["key", "api_key", "api-key", "apikey", "access_token"];
/// Kind of a credential that stands in the query.
const QUERY: &str = "query";

/// Parts of names that carry a credential in some gateway or other. Fail closed: a field that may tell two callers apart
/// keeps their answers apart.
const CREDENTIAL_MARKS: &[&str] = &["auth", "token", "secret", "cookie", "-key", "-vk", "apikey", "session"];
/// Names with such a part that are no credentials.
const NO_CREDENTIALS: &[&str] = &["idempotency-key", "x-idempotency-key", "sec-websocket-key"];

/// Fields that choose whose account, or which provider, answers; in this order in [`organisation`].
const ORGANISATION: &[&str] = &[
    "openai-organization",
    "openai-project",
    "anthropic-organization-id",
    "anthropic-workspace-id",
    "anthropic-user-profile-id",
    "x-goog-user-project",
    "x-portkey-provider",
    "x-portkey-virtual-key",
    "x-portkey-config",
    "helicone-target-url",
];

/// Removes hop-by-hop fields, those that `Connection` names included.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        // A client must not be able to make us forget a credential or a length by naming it here.
        .filter(|name| !is_protected(name))
        .collect();
    remove_where(headers, |name| HOP_BY_HOP.contains(&name.as_str()) || named.contains(name));
}

/// End-to-end fields that `Connection` may not remove: without them a request would mean something else.
fn is_protected(name: &HeaderName) -> bool {
    let name = name.as_str();
    CREDENTIALS.contains(&name)
        || ORGANISATION.contains(&name)
        || matches!(name, "host" | "content-length" | "content-type" | "content-encoding" | "anthropic-version")
}

/// Makes a client's headers fit for the upstream: no hop-by-hop fields, no cache controls of ours or of our peers, no
/// `Host` and no `Expect` (the server side has already answered it). Order and repeated fields are kept.
pub fn prepare_for_upstream(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    remove_where(headers, |name| {
        let text = name.as_str();
        name == header::HOST
            || name == header::EXPECT
            || CACHE_CONTROL_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
    });
}

/// True for fields that must never be replayed from a stored answer.
pub fn is_per_answer(name: &HeaderName) -> bool {
    let name = name.as_str();
    PER_ANSWER.contains(&name)
        || HOP_BY_HOP.contains(&name)
        || PER_ANSWER_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Removes every field of which [`is_per_answer`] is true.
pub fn strip_per_answer(headers: &mut HeaderMap) {
    remove_where(headers, is_per_answer);
}

/// Removes fields and keeps the order of the others, which [`HeaderMap::remove`] does not.
pub(crate) fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    if !headers.keys().any(&unwanted) {
        return;
    }
    let mut kept = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers.iter().filter(|(name, _)| !unwanted(name)) {
        kept.append(name.clone(), value.clone());
    }
    *headers = kept;
}

/// A credential as it came: what [`crate::key::PrincipalKey::principal`] takes.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential<'a> {
    /// The header that carried it, or `several`.
    pub kind: &'static str,
    /// The header's raw value; for `several`, the length-prefixed names and values of all of them.
    pub bytes: Cow<'a, [u8]>,
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The credential of a request with these headers and this query; `None` when it carries none, or only empty ones.
///
/// When more than one field carries a credential, all of them make it: which one the upstream believes is not ours to
/// guess, and a guess would let two callers with the same dummy `Authorization` share answers.
pub fn credential<'a>(headers: &'a HeaderMap, query: &'a str) -> Option<Credential<'a>> {
    let mut found: Vec<(&str, &[u8])> = Vec::with_capacity(1);
    for name in CREDENTIALS.iter().filter(|name| has(headers, name)) {
        found.extend(
            headers.get_all(*name).iter().filter(|value| !is_blank(value)).map(|value| (*name, value.as_bytes())),
        );
    }
    let mut others: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| may_identify(name))
        .collect();
    others.sort_by_key(|(name, _)| *name);
    found.extend(others);
    found.extend(query.split('&').filter(|parameter| is_credential(parameter)).map(|given| (QUERY, given.as_bytes())));
    match found.as_slice() {
        [] => None,
        [(name, value)] if let Some(kind) = CREDENTIALS.iter().find(|known| *known == name) => {
            Some(Credential { kind, bytes: Cow::Borrowed(value) })
        }
        [(QUERY, value)] => Some(Credential { kind: QUERY, bytes: Cow::Borrowed(value) }),
        several => {
            let mut bytes = Vec::new();
            for (kind, value) in several {
                for part in [kind.as_bytes(), value] {
                    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                    bytes.extend_from_slice(part);
                }
            }
            Some(Credential { kind: "several", bytes: Cow::Owned(bytes) })
        }
    }
}

/// Whether a query parameter carries a credential, however its name is written.
pub fn is_credential(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default();
    let name = unescaped(name).to_ascii_lowercase();
    PARAMETERS.iter().any(|known| known.as_bytes() == name)
}

/// Leaves of the parameters in a query those that `keep` says, as they are.
pub fn retain_parameters(path_and_query: &mut String, keep: impl Fn(&str) -> bool) {
    let Some((path, query)) = path_and_query.split_once('?') else { return };
    let kept: Vec<&str> = query.split('&').filter(|parameter| keep(parameter)).collect();
    let kept = kept.join("&");
    if kept.len() < query.len() {
        *path_and_query = if kept.is_empty() { path.to_owned() } else { format!("{path}?{kept}") };
    }
}

/// The bytes that a part of a URL stands for.
pub(crate) fn unescaped(text: &str) -> Vec<u8> {
    let (mut rest, mut plain) = (text.as_bytes(), Vec::with_capacity(text.len()));
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(escaped.unwrap_or(*byte));
        rest = after.get(if escaped.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    plain
}

/// The headers that a client with this key or token may have sent: each credential field with it, bare and as a bearer
/// token, and the two fields that some clients send together. None when no header can carry it.
pub fn carrying(secret: &str) -> Vec<HeaderMap> {
    let mut maps = Vec::new();
    let values = [secret.to_owned(), format!("Bearer {secret}"), format!("bearer {secret}")];
    let values: Vec<_> = values.iter().filter_map(|value| HeaderValue::from_str(value).ok()).collect();
    for name in CREDENTIALS {
        for value in &values {
            maps.push(HeaderMap::from_iter([(HeaderName::from_static(name), value.clone())]));
        }
    }
    if let [bare, bearer, _] = values.as_slice() {
        for name in ["x-api-key", "api-key"] {
            let both = [(header::AUTHORIZATION, bearer.clone()), (HeaderName::from_static(name), bare.clone())];
            maps.push(HeaderMap::from_iter(both));
        }
    }
    maps
}

/// Removes everything by which a client shows who it is and whose account or provider it wants, for a request that goes
/// out under a credential of ours.
pub fn strip_credentials(headers: &mut HeaderMap) {
    remove_where(headers, |name| {
        let name = name.as_str();
        CREDENTIALS.contains(&name) || ORGANISATION.contains(&name) || may_identify(name)
    });
}

fn may_identify(name: &str) -> bool {
    !CREDENTIALS.contains(&name)
        && !NO_CREDENTIALS.contains(&name)
        && !name.starts_with("x-semblance-")
        && !name.starts_with("proxy-")
        && CREDENTIAL_MARKS.iter().any(|mark| has_part(name, mark))
}

/// As `name.contains(part)`, which for names this short takes longer to begin than to search.
fn has_part(name: &str, part: &str) -> bool {
    name.as_bytes().windows(part.len()).any(|window| window == part.as_bytes())
}

/// Empty, or a scheme with nothing behind it.
fn is_blank(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes().trim_ascii();
    bytes.is_empty() || bytes.eq_ignore_ascii_case(b"bearer") || bytes.eq_ignore_ascii_case(b"basic")
}

/// Values of the fields that choose an account or a provider, in a fixed order, empty where absent: parts of the scope.
pub fn organisation(headers: &HeaderMap) -> Vec<String> {
    ORGANISATION.iter().map(|name| joined(headers, name)).collect()
}

/// Values of the fields that choose an API's version or features, in a fixed order, empty where absent: parts of the
/// partition. Lists of betas are sets, so their order does not matter.
pub fn versions(headers: &HeaderMap) -> Vec<String> {
    vec![
        joined(headers, "anthropic-version"),
        sorted_set(headers, "anthropic-beta"),
        sorted_set(headers, "openai-beta"),
    ]
}

/// Whether `name`, in lower case, is there. Every request is asked for a score of fields that few have; comparing a dozen
/// names is faster than parsing and hashing `name`.
fn has(headers: &HeaderMap, name: &str) -> bool {
    headers.keys().any(|key| key.as_str() == name)
}

/// All values of `name`, escaped so that different bytes never become the same text.
fn joined(headers: &HeaderMap, name: &str) -> String {
    if !has(headers, name) {
        return String::new();
    }
    let values: Vec<String> =
        headers.get_all(name).iter().map(|value| value.as_bytes().escape_ascii().to_string()).collect();
    values.join("\n")
}

fn sorted_set(headers: &HeaderMap, name: &str) -> String {
    let all = joined(headers, name);
    let mut members: Vec<&str> = all.split([',', '\n']).map(str::trim).filter(|member| !member.is_empty()).collect();
    members.sort_unstable();
    members.dedup();
    members.join(",")
}

#[cfg(test)]
mod tests;
