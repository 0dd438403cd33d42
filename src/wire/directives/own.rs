//! The `x-semblance-*` request headers, read strictly.

use std::{fmt, time::Duration};

use http::HeaderMap;

use super::{Directives, Mode, SourceRef, union};

/// What the names of all our own headers begin with; none of them goes to the upstream.
pub const HEADER_PREFIX: &str = "x-semblance-";

/// Bytes of a tag, of a source with its version, and of other names.
pub const MAX_NAME: usize = 128;
const MAX_QUERY: usize = 8 * 1024;
const MAX_ITEMS: usize = 64;
const MAX_TTL: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// A header of ours that cannot be understood; the request is answered 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("header {name} {wrong}; {right}")]
pub struct BadHeader {
    /// Which one.
    pub name: &'static str,
    /// What is wrong with it.
    pub wrong: Wrong,
    /// What would be right.
    pub right: &'static str,
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// No value.
    Empty,
    /// Not UTF-8, or control characters.
    NotText,
    /// Given more than once.
    Repeated,
    /// Longer than allowed.
    TooLong,
    /// More items than allowed.
    TooMany,
    /// Not of the form asked for.
    Form,
}

impl Wrong {
    /// Stable name for error codes and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::NotText => "not-text",
            Self::Repeated => "repeated",
            Self::TooLong => "too-long",
            Self::TooMany => "too-many",
            Self::Form => "form",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::NotText => "is not plain UTF-8 text",
            Self::Repeated => "is given more than once",
            Self::TooLong => "is too long",
            Self::TooMany => "has too many items",
            Self::Form => "cannot be understood",
        })
    }
}

impl BadHeader {
    /// Stable reason for metrics and logs.
    pub const fn reason(&self) -> &'static str {
        "bad-header"
    }
}

/// A header being read: its name and what a right value looks like.
#[derive(Clone, Copy)]
struct Field {
    name: &'static str,
    right: &'static str,
}

const CATEGORY: Field =
    Field { name: "x-semblance-category", right: "give the name of one category, at most 128 bytes" };
const NAMESPACE: Field = Field { name: "x-semblance-namespace", right: "give one name, at most 128 bytes" };
const TTL: Field = Field { name: "x-semblance-ttl", right: "give seconds or a duration such as 90s, 15m, 24h or 7d" };
const TAGS: Field =
    Field { name: "x-semblance-tags", right: "give at most 64 names of at most 128 bytes, separated by spaces" };
const SOURCES: Field = Field {
    name: "x-semblance-sources",
    right: "give at most 64 sources such as doc:42@v7 of at most 128 bytes, separated by spaces",
};
const QUERY: Field = Field { name: "x-semblance-query", right: "give the question itself, at most 8192 bytes" };
const MODE: Field = Field { name: "x-semblance-mode", right: "give off, exact, shadow or semantic" };
const THRESHOLD: Field = Field { name: "x-semblance-threshold", right: "give a number from 0 to 1 such as 0.95" };

/// Reads all of our headers.
pub(super) fn read(headers: &HeaderMap) -> Result<Directives, BadHeader> {
    Ok(Directives {
        category: CATEGORY.text(headers, MAX_NAME)?.map(str::to_owned),
        namespace: NAMESPACE.text(headers, MAX_NAME)?.map(str::to_owned),
        ttl: TTL.parsed(headers, ttl)?,
        tags: TAGS.items(headers, |item| Some(item.to_owned()))?,
        sources: SOURCES.items(headers, SourceRef::parse)?,
        query: QUERY.text(headers, MAX_QUERY)?.map(str::to_owned),
        mode: MODE.parsed(headers, mode)?,
        threshold: THRESHOLD.parsed(headers, threshold)?,
        ..Directives::default()
    })
}

impl Field {
    const fn bad(self, wrong: Wrong) -> BadHeader {
        BadHeader { name: self.name, wrong, right: self.right }
    }

    fn plain(self, value: &http::HeaderValue) -> Result<&str, BadHeader> {
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| self.bad(Wrong::NotText))?.trim();
        match text {
            "" => Err(self.bad(Wrong::Empty)),
            _ if text.chars().any(char::is_control) => Err(self.bad(Wrong::NotText)),
            _ => Ok(text),
        }
    }

    /// The header's one value.
    fn text(self, headers: &HeaderMap, limit: usize) -> Result<Option<&str>, BadHeader> {
        let mut values = headers.get_all(self.name).into_iter();
        let Some(first) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(self.bad(Wrong::Repeated));
        }
        let text = self.plain(first)?;
        if text.len() > limit { Err(self.bad(Wrong::TooLong)) } else { Ok(Some(text)) }
    }

    fn parsed<T>(self, headers: &HeaderMap, read: fn(&str) -> Option<T>) -> Result<Option<T>, BadHeader> {
        let Some(text) = self.text(headers, MAX_NAME)? else { return Ok(None) };
        read(text).map(Some).ok_or_else(|| self.bad(Wrong::Form))
    }

    /// All items of all lines of a list header, sorted, without duplicates.
    fn items<T: Ord>(self, headers: &HeaderMap, read: fn(&str) -> Option<T>) -> Result<Vec<T>, BadHeader> {
        let mut items = Vec::new();
        for value in headers.get_all(self.name) {
            for item in self.plain(value)?.split([' ', '\t', ',']).filter(|item| !item.is_empty()) {
                if item.len() > MAX_NAME {
                    return Err(self.bad(Wrong::TooLong));
                }
                items.push(read(item).ok_or_else(|| self.bad(Wrong::Form))?);
                if items.len() > MAX_ITEMS {
                    return Err(self.bad(Wrong::TooMany));
                }
            }
        }
        Ok(union(items, Vec::new()))
    }
}

fn ttl(text: &str) -> Option<Duration> {
    let plain = text.parse::<u64>().ok().map(Duration::from_secs);
    Some(plain.or_else(|| humantime::parse_duration(text).ok())?.min(MAX_TTL))
}

fn mode(text: &str) -> Option<Mode> {
    [("off", Mode::Off), ("exact", Mode::Exact), ("shadow", Mode::Shadow), ("semantic", Mode::Semantic)]
        .into_iter()
        .find_map(|(name, mode)| text.eq_ignore_ascii_case(name).then_some(mode))
}

fn threshold(text: &str) -> Option<f32> {
    text.parse().ok().filter(|bar| (0.0..=1.0).contains(bar))
}
