//! `Cache-Control` request directives (RFC 9111 section 5.2.1, RFC 5861).

use std::time::Duration;

use super::{Directives, MaxStale, tighter};

/// One directive: a name, and an argument as token or quoted string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    name: String,
    argument: Option<String>,
}

impl Item {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// The argument in seconds; a missing or invalid one is zero.
    fn seconds(&self) -> Duration {
        self.argument.as_deref().map_or(Duration::ZERO, delta_seconds)
    }
}

/// Adds what one header line asks to `directives`; of repeated directives the tighter counts.
pub(super) fn read(line: &[u8], directives: &mut Directives) {
    for item in items(line) {
        let mut asked = Directives::default();
        match item.name.as_str() {
            "no-store" => asked.no_store = true,
            "no-cache" => asked.no_cache = true,
            "only-if-cached" => asked.only_if_cached = true,
            "max-age" => asked.max_age = Some(item.seconds()),
            "min-fresh" => asked.min_fresh = Some(item.seconds()),
            "max-stale" if item.argument.is_none() => asked.max_stale = Some(MaxStale::Any),
            "max-stale" => asked.max_stale = Some(MaxStale::Within(item.seconds())),
            "stale-if-error" => asked.stale_if_error = Some(item.seconds()),
            _ => continue,
        }
        merge_ages(directives, &asked);
    }
}

fn merge_ages(directives: &mut Directives, asked: &Directives) {
    directives.no_store |= asked.no_store;
    directives.no_cache |= asked.no_cache;
    directives.only_if_cached |= asked.only_if_cached;
    directives.max_age = tighter(directives.max_age, asked.max_age, Ord::min);
    directives.min_fresh = tighter(directives.min_fresh, asked.min_fresh, Ord::max);
    directives.max_stale = tighter(directives.max_stale, asked.max_stale, Ord::min);
    directives.stale_if_error = tighter(directives.stale_if_error, asked.stale_if_error, Ord::min);
}

/// Whole seconds; digits beyond what we count saturate, anything but digits is zero.
pub(super) fn delta_seconds(text: &str) -> Duration {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Duration::ZERO;
    }
    capped(text.parse().unwrap_or(u64::MAX))
}

/// RFC 9111 section 1.2.2: a cache that cannot count so far takes 2^31.
pub(super) fn capped(seconds: u64) -> Duration {
    Duration::from_secs(seconds.min(1 << 31))
}

/// The directives of one header line. Commas inside quoted strings do not separate.
pub(super) fn items(line: &[u8]) -> Vec<Item> {
    let text = String::from_utf8_lossy(line);
    split_outside_quotes(&text).filter_map(item).collect()
}

fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return true,
            _ => {}
        }
        false
    })
}

fn item(part: &str) -> Option<Item> {
    let (name, argument) =
        part.split_once('=').map_or((part, None), |(name, value)| (name, Some(unquote(value.trim()))));
    let name = name.trim().to_ascii_lowercase();
    (!name.is_empty()).then_some(Item { name, argument })
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}
