//! What a request asks of the cache: `Cache-Control` and `x-semblance-*` request headers, LiteLLM's body `cache`.
//!
//! Overrides only tighten (I9): nothing here can lengthen a lifetime or lower a bar, it can only state a wish that the
//! policy then bounds. `Cache-Control` is read as RFC 9111 asks, leniently: unknown directives are ignored, an invalid
//! number counts as zero. Our own headers are read strictly: a wish that cannot be understood must not be dropped
//! silently.

mod cache_control;
mod own;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use http::{HeaderMap, header};

pub use own::{BadHeader, HEADER_PREFIX, MAX_NAME, Wrong};

use super::canonical::{Node, Object, Value};

/// How far the cache may go for a request; the smaller is the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Not at all.
    Off,
    /// The same question only.
    Exact,
    /// By meaning too, but what is found so is only recorded and never served.
    Shadow,
    /// By meaning too.
    Semantic,
}

/// How far past its ttl an answer may be, if the request says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MaxStale {
    /// By so much.
    Within(Duration),
    /// By any time that the policy allows.
    Any,
}

/// A document an answer is built from, `doc:42@v7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceRef {
    /// Which document.
    pub name: String,
    /// Which version of it, when named.
    pub version: Option<String>,
}

impl SourceRef {
    /// Reads `name` or `name@version`; the last `@` divides, so that a name may hold one. `None` when either is empty, or
    /// when it could not stand in a list of sources.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, version) = text.rsplit_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let divided = |c: char| matches!(c, ' ' | '\t' | ',') || c.is_control();
        let named = !name.is_empty() && version != Some("") && !text.contains(divided);
        named.then(|| Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

impl fmt::Display for SourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

/// What a request asks of the cache. Absent wishes are `None`, false or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Directives {
    /// Neither look up nor store, and leave no trace.
    pub no_store: bool,
    /// Do not serve from the cache; fetch and replace.
    pub no_cache: bool,
    /// Do not call the upstream.
    pub only_if_cached: bool,
    /// Oldest acceptable answer.
    pub max_age: Option<Duration>,
    /// Freshness that must remain.
    pub min_fresh: Option<Duration>,
    /// Staleness accepted.
    pub max_stale: Option<MaxStale>,
    /// Staleness accepted when the upstream fails.
    pub stale_if_error: Option<Duration>,
    /// The category the app claims; may only be at least as strict as the detected one.
    pub category: Option<String>,
    /// Isolation the app adds of its own.
    pub namespace: Option<String>,
    /// Upper bound on the stored answer's ttl.
    pub ttl: Option<Duration>,
    /// Group labels for purge, sorted, without duplicates.
    pub tags: Vec<String>,
    /// What the answer is built from, sorted, without duplicates.
    pub sources: Vec<SourceRef>,
    /// The question to match by meaning, where the user turn also carries other text.
    pub query: Option<String>,
    /// How far the cache may go.
    pub mode: Option<Mode>,
    /// A bar that may only raise the policy's, from 0 to 1.
    pub threshold: Option<f32>,
}

impl Directives {
    /// Reads the request's headers. Fails only on a malformed header of our own.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, BadHeader> {
        let mut directives = own::read(headers)?;
        if headers.contains_key(header::CACHE_CONTROL) {
            for value in headers.get_all(header::CACHE_CONTROL) {
                cache_control::read(value.as_bytes(), &mut directives);
            }
        } else {
            let pragmas = headers.get_all(header::PRAGMA).into_iter();
            directives.no_cache |= pragmas.flat_map(|v| cache_control::items(v.as_bytes())).any(|i| i.is("no-cache"));
        }
        Ok(directives)
    }

    /// Reads LiteLLM's body member `cache`. `None` when it is not one, so that it stays in the body and in the key.
    pub fn from_body(cache: &Node<'_>) -> Option<Self> {
        const KEYS: [&str; 6] = ["ttl", "namespace", "s-maxage", "s-max-age", "no-cache", "no-store"];
        let object = cache.as_object()?;
        if !object.iter().any(|member| KEYS.contains(&member.key.as_ref())) {
            return None;
        }
        let flag = |key| object.get(key).is_some_and(|node| node.as_bool() != Some(false));
        Some(Self {
            no_store: flag("no-store"),
            no_cache: flag("no-cache"),
            max_age: tighter(seconds(object, "s-maxage"), seconds(object, "s-max-age"), Ord::min),
            ttl: seconds(object, "ttl"),
            namespace: object.get("namespace").and_then(Node::as_str).map(str::to_owned),
            ..Self::default()
        })
    }

    /// Both wishes at once: wherever two differ, the tighter one. Names (`namespace`, `category`, `query`) have no
    /// tighter one: `self`'s win.
    #[must_use]
    pub fn merged(self, other: Self) -> Self {
        Self {
            no_store: self.no_store || other.no_store,
            no_cache: self.no_cache || other.no_cache,
            only_if_cached: self.only_if_cached || other.only_if_cached,
            max_age: tighter(self.max_age, other.max_age, Ord::min),
            min_fresh: tighter(self.min_fresh, other.min_fresh, Ord::max),
            max_stale: tighter(self.max_stale, other.max_stale, Ord::min),
            stale_if_error: tighter(self.stale_if_error, other.stale_if_error, Ord::min),
            category: self.category.or(other.category),
            namespace: self.namespace.or(other.namespace),
            ttl: tighter(self.ttl, other.ttl, Ord::min),
            tags: union(self.tags, other.tags),
            sources: union(self.sources, other.sources),
            query: self.query.or(other.query),
            mode: tighter(self.mode, other.mode, Ord::min),
            threshold: tighter(self.threshold, other.threshold, f32::max),
        }
    }

    /// True when the upstream must be asked even if the cache could answer (`no-cache`, `max-age=0`).
    pub fn refresh(&self) -> bool {
        self.no_cache || self.max_age == Some(Duration::ZERO)
    }
}

/// The tighter of two optional wishes; an absent one does not bind.
fn tighter<T>(a: Option<T>, b: Option<T>, pick: impl FnOnce(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(pick(a, b)),
        (a, b) => a.or(b),
    }
}

fn union<T: Ord>(mut a: Vec<T>, b: Vec<T>) -> Vec<T> {
    a.extend(b);
    a.sort_unstable();
    a.dedup();
    a
}

/// A number of seconds, also as text; anything else present counts as zero, the tightest.
fn seconds(object: &Object<'_>, key: &str) -> Option<Duration> {
    let node = object.get(key)?;
    Some(match &node.value {
        Value::String(text) => cache_control::delta_seconds(text),
        _ => node.as_u64().map_or(Duration::ZERO, cache_control::capped),
    })
}
