//! `Cache-Status` (RFC 9211), rendered from an [`Outcome`] and the facts beside it.

use std::fmt::Write;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::CACHE_STATUS;
use crate::outcome::{HitKind, MissReason, NotStored, Outcome};

/// Why an answer of a shared category is kept for the credential that asked alone.
pub const UNTRUSTED: &str = "untrusted-writer";
/// Name of this cache in the list.
const NAME: &str = "semblance";

/// What is known about storing the answer when the headers leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stored {
    /// Not decided yet: streamed answers, whose headers leave first.
    #[default]
    Unknown,
    /// Stored, or certain to be.
    Yes,
    /// Not stored, and why.
    No(NotStored),
}

/// What [`cache_status`] says besides the outcome itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheFacts {
    /// Seconds of freshness left; negative past the ttl.
    pub ttl: Option<i64>,
    /// The upstream's status, when it was asked.
    pub fwd_status: Option<StatusCode>,
    /// Whether the answer was stored.
    pub stored: Stored,
    /// Others are not served it although its category is shared: who asked is not trusted to write there.
    pub apart: bool,
}

/// Our member of `Cache-Status`, such as `semblance; hit; ttl=3412; detail=exact`.
pub fn cache_status(outcome: Outcome, facts: &CacheFacts) -> String {
    let mut member = String::from(NAME);
    match outcome {
        Outcome::Hit(kind) => hit(&mut member, facts, kind, None),
        Outcome::StaleHit(kind, why) => hit(&mut member, facts, kind, Some(why.as_str())),
        Outcome::Miss(reason) => miss(&mut member, facts, reason),
        Outcome::Collapsed(reason) => {
            let how = if reason == MissReason::SameMeaning { "semantic" } else { "exact" };
            // Writing to a String cannot fail, here and below.
            let _ = write!(member, "; fwd={}; collapsed; detail={how}", collapsed_fwd(reason));
        }
        Outcome::Bypass(reason) => {
            let _ = write!(member, "; fwd=bypass; detail={}", reason.as_str());
        }
        Outcome::Unsatisfied => member.push_str("; detail=only-if-cached"),
    }
    member
}

fn hit(member: &mut String, facts: &CacheFacts, kind: HitKind, stale: Option<&str>) {
    member.push_str("; hit");
    ttl(member, facts);
    let _ = match (stale, kind) {
        (Some(why), _) => write!(member, "; detail={why}"),
        (None, HitKind::Exact) => write!(member, "; detail=exact"),
        (None, HitKind::Alias) => write!(member, "; detail=alias"),
        (None, HitKind::Semantic(similarity)) => {
            write!(member, "; detail=\"semantic; sim={:.3}\"", similarity.get())
        }
    };
}

fn miss(member: &mut String, facts: &CacheFacts, reason: MissReason) {
    let _ = write!(member, "; fwd={}", fwd(reason));
    if let Some(status) = facts.fwd_status {
        let _ = write!(member, "; fwd-status={}", status.as_u16());
    }
    match facts.stored {
        Stored::Yes => {
            member.push_str("; stored");
            ttl(member, facts);
            detail(member, facts, reason);
        }
        Stored::No(why) => {
            let _ = write!(member, "; detail={}", why.as_str());
        }
        Stored::Unknown => detail(member, facts, reason),
    }
}

fn ttl(member: &mut String, facts: &CacheFacts) {
    if let Some(seconds) = facts.ttl {
        let _ = write!(member, "; ttl={seconds}");
    }
}

/// The reason of a miss, where it says more than its `fwd` token does.
fn detail(member: &mut String, facts: &CacheFacts, reason: MissReason) {
    if facts.apart {
        member.push_str("; detail=");
        member.push_str(UNTRUSTED);
        return;
    }
    let telling = match reason {
        MissReason::Empty
        | MissReason::Partial
        | MissReason::BelowThreshold
        | MissReason::ExactOnly
        | MissReason::Expired
        | MissReason::Refresh => false,
        MissReason::GuardRejected
        | MissReason::VerifierRejected
        | MissReason::VerifierDown
        | MissReason::Blocked
        | MissReason::Tripped
        | MissReason::Shadow
        | MissReason::PersonalData
        | MissReason::SameMeaning
        | MissReason::TokenLimit
        | MissReason::OtherShape
        | MissReason::EmbedderDown
        | MissReason::CacheError => true,
    };
    if telling {
        let _ = write!(member, "; detail={}", reason.as_str());
    }
}

const fn fwd(reason: MissReason) -> &'static str {
    match reason {
        MissReason::Empty => "uri-miss",
        MissReason::Partial => "partial",
        MissReason::Refresh => "request",
        MissReason::Expired => "stale",
        MissReason::BelowThreshold
        | MissReason::GuardRejected
        | MissReason::VerifierRejected
        | MissReason::VerifierDown
        | MissReason::Blocked
        | MissReason::Tripped
        | MissReason::Shadow
        | MissReason::PersonalData
        | MissReason::SameMeaning
        | MissReason::TokenLimit
        | MissReason::OtherShape
        | MissReason::ExactOnly
        | MissReason::EmbedderDown
        | MissReason::CacheError => "miss",
    }
}

/// A flight of the same question was found, so an empty partition is no news to a follower.
const fn collapsed_fwd(reason: MissReason) -> &'static str {
    match reason {
        MissReason::Empty => "miss",
        other => fwd(other),
    }
}

/// Adds `member` behind whatever caches nearer to the upstream have said, in one field line.
pub fn append_cache_status(headers: &mut HeaderMap, member: &str) {
    let mut line: Vec<u8> = Vec::new();
    for earlier in headers.get_all(CACHE_STATUS).iter().map(HeaderValue::as_bytes).map(<[u8]>::trim_ascii) {
        if !earlier.is_empty() {
            line.extend_from_slice(earlier);
            line.extend_from_slice(b", ");
        }
    }
    line.extend_from_slice(member.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&line) {
        headers.insert(CACHE_STATUS, value);
    }
}
