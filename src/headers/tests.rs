use http::StatusCode;

use super::*;
use crate::{
    outcome::{BypassReason, HitKind, MissReason, NotStored, Outcome, StaleWhy},
    similarity::Similarity,
};

fn map(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn hop_by_hop_fields_and_those_that_connection_names_are_dropped() {
    let mut headers = map(&[
        ("connection", "close, X-Private"),
        ("connection", "X-Other"),
        ("x-private", "1"),
        ("x-other", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "secret"),
        ("traceparent", "00-1-2-01"),
        ("accept", "a"),
        ("accept", "b"),
    ]);
    strip_hop_by_hop(&mut headers);
    assert_eq!(names(&headers), ["accept", "traceparent"]);
    assert_eq!(headers.get_all("accept").iter().count(), 2);
}

#[test]
fn connection_cannot_remove_a_credential_or_a_length() {
    let mut headers = map(&[
        ("connection", "authorization, content-length, openai-organization, x-gone"),
        ("authorization", "Bearer k"),
        ("content-length", "2"),
        ("openai-organization", "org"),
        ("x-gone", "1"),
    ]);
    strip_hop_by_hop(&mut headers);
    assert_eq!(names(&headers), ["authorization", "content-length", "openai-organization"]);
}

#[test]
fn cache_controls_of_ours_and_of_peers_stay_here() {
    let mut headers = map(&[
        ("host", "gw"),
        ("expect", "100-continue"),
        ("x-semblance-category", "c"),
        ("x-portkey-cache-namespace", "n"),
        ("cf-aig-skip-cache", "true"),
        ("cf-aig-cache-ttl", "1"),
        ("x-bf-cache-key", "k"),
        ("Helicone-Cache-Enabled", "true"),
        ("X-OpenRouter-Cache", "true"),
        ("X-OpenRouter-Cache-TTL", "1"),
        ("cf-aig-authorization", "Bearer k"),
        ("x-portkey-provider", "openai"),
        ("cache-control", "no-cache"),
        ("x-stainless-retry-count", "0"),
        ("authorization", "Bearer k"),
    ]);
    prepare_for_upstream(&mut headers);
    assert_eq!(
        names(&headers),
        ["authorization", "cache-control", "cf-aig-authorization", "x-portkey-provider", "x-stainless-retry-count"]
    );
}

#[test]
fn fields_of_one_answer_are_not_replayed() {
    let mut headers = map(&[
        ("x-request-id", "r"),
        ("request-id", "r"),
        ("openai-processing-ms", "9"),
        ("x-ratelimit-remaining-tokens", "9"),
        ("anthropic-ratelimit-requests-limit", "9"),
        ("set-cookie", "a=b"),
        ("cf-ray", "x"),
        ("date", "now"),
        ("retry-after", "1"),
        ("retry-after-ms", "1"),
        ("age", "1"),
        ("x-semblance-cache", "miss"),
        ("transfer-encoding", "chunked"),
        ("content-type", "application/json"),
        ("openai-version", "2020-10-01"),
    ]);
    strip_per_answer(&mut headers);
    assert_eq!(names(&headers), ["content-type", "openai-version"]);
}

#[test]
fn a_credential_is_the_raw_value_of_the_field_that_carried_it() {
    for (name, value) in
        [("authorization", "Bearer sk-1"), ("x-api-key", "sk-1"), ("api-key", "sk-1"), ("x-goog-api-key", "sk-1")]
    {
        let headers = map(&[(name, value)]);
        let found = credential(&headers, "").unwrap();
        assert_eq!((found.kind, found.bytes.as_ref()), (name, value.as_bytes()));
        assert!(!format!("{found:?}").contains("sk-1"));
    }
}

#[test]
fn no_field_or_an_empty_one_is_no_credential() {
    for headers in [map(&[]), map(&[("authorization", "")]), map(&[("authorization", "Bearer "), ("x-api-key", " ")])] {
        assert_eq!(credential(&headers, ""), None);
    }
}

#[test]
fn several_credentials_all_count() {
    let of = |pairs: &[(&str, &str)]| credential(&map(pairs), "").map(|c| (c.kind, c.bytes.into_owned()));
    let both = of(&[("authorization", "Bearer dummy"), ("x-api-key", "mine")]);
    assert_ne!(both, of(&[("authorization", "Bearer dummy"), ("x-api-key", "yours")]));
    assert_ne!(both, of(&[("authorization", "Bearer dummy")]));
    assert_ne!(both, of(&[("x-api-key", "mine")]));
    let twice = of(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
    assert_ne!(twice, of(&[("authorization", "Bearer a")]));
    assert_eq!(twice.unwrap().0, "several");
}

#[test]
fn betas_are_a_set_and_versions_are_not() {
    let ab = versions(&map(&[("anthropic-beta", "a,b"), ("anthropic-version", "2023-06-01")]));
    assert_eq!(
        ab,
        versions(&map(&[("anthropic-beta", "b"), ("anthropic-beta", "a"), ("anthropic-version", "2023-06-01")]))
    );
    assert_ne!(ab, versions(&map(&[("anthropic-beta", "a,b"), ("anthropic-version", "2026-10-21")])));
    assert_ne!(ab, versions(&map(&[("anthropic-version", "2023-06-01")])));
}

#[test]
fn organisations_keep_their_places_and_their_bytes() {
    let org = organisation(&map(&[("openai-organization", "x")]));
    assert_ne!(org, organisation(&map(&[("openai-project", "x")])));
    let mut latin = HeaderMap::new();
    latin.insert("openai-organization", HeaderValue::from_bytes(b"\xe9").unwrap());
    let mut other = HeaderMap::new();
    other.insert("openai-organization", HeaderValue::from_bytes(b"\xe8").unwrap());
    assert_ne!(organisation(&latin), organisation(&other));
}

fn facts(ttl: i64) -> CacheFacts {
    CacheFacts { ttl: Some(ttl), ..CacheFacts::default() }
}

fn fetched(stored: Stored, ttl: Option<i64>) -> CacheFacts {
    CacheFacts { ttl, fwd_status: Some(StatusCode::OK), stored, apart: false }
}

#[test]
fn hits_render_as_the_wire_says() {
    let semantic = HitKind::Semantic(Similarity::new(0.9619).unwrap());
    for (outcome, ttl, expected) in [
        (Outcome::Hit(HitKind::Exact), 3412, "semblance; hit; ttl=3412; detail=exact"),
        (Outcome::Hit(HitKind::Alias), 3412, "semblance; hit; ttl=3412; detail=alias"),
        (Outcome::Hit(semantic), 3412, "semblance; hit; ttl=3412; detail=\"semantic; sim=0.962\""),
        (
            Outcome::StaleHit(HitKind::Exact, StaleWhy::WhileRevalidate),
            -37,
            "semblance; hit; ttl=-37; detail=stale-while-revalidate",
        ),
        (Outcome::StaleHit(semantic, StaleWhy::IfError), -37, "semblance; hit; ttl=-37; detail=stale-if-error"),
    ] {
        assert_eq!(cache_status(outcome, &facts(ttl)), expected);
    }
}

#[test]
fn forwarded_requests_render_as_the_wire_says() {
    use MissReason::{BelowThreshold, CacheError, Empty, ExactOnly, Expired, GuardRejected, Refresh};
    for (outcome, facts, expected) in [
        (Outcome::Miss(BelowThreshold), fetched(Stored::Yes, Some(3600)), "fwd=miss; fwd-status=200; stored; ttl=3600"),
        (Outcome::Miss(Empty), fetched(Stored::Yes, Some(3600)), "fwd=uri-miss; fwd-status=200; stored; ttl=3600"),
        (Outcome::Miss(Empty), fetched(Stored::Unknown, None), "fwd=uri-miss; fwd-status=200"),
        (
            Outcome::Miss(ExactOnly),
            fetched(Stored::No(NotStored::FinishLength), None),
            "fwd=miss; fwd-status=200; detail=finish-length",
        ),
        (Outcome::Miss(Refresh), fetched(Stored::Yes, None), "fwd=request; fwd-status=200; stored"),
        (Outcome::Miss(Expired), fetched(Stored::Yes, None), "fwd=stale; fwd-status=200; stored"),
        (
            Outcome::Miss(GuardRejected),
            fetched(Stored::Yes, Some(60)),
            "fwd=miss; fwd-status=200; stored; ttl=60; detail=guard-rejected",
        ),
        (Outcome::Miss(CacheError), CacheFacts::default(), "fwd=miss; detail=cache-error"),
        (Outcome::Bypass(BypassReason::SeveralChoices), CacheFacts::default(), "fwd=bypass; detail=n-gt-1"),
        (Outcome::Collapsed(Empty), CacheFacts::default(), "fwd=miss; collapsed; detail=exact"),
        (Outcome::Collapsed(MissReason::SameMeaning), CacheFacts::default(), "fwd=miss; collapsed; detail=semantic"),
        (Outcome::Unsatisfied, CacheFacts::default(), "detail=only-if-cached"),
    ] {
        assert_eq!(cache_status(outcome, &facts), format!("semblance; {expected}"));
    }
}

#[test]
fn our_member_stands_behind_the_upstreams() {
    let mut headers = map(&[("cache-status", "edge; hit"), ("cache-status", "upstreamcdn; fwd=bypass")]);
    append_cache_status(&mut headers, "semblance; hit; ttl=60");
    let lines: Vec<&HeaderValue> = headers.get_all(CACHE_STATUS).iter().collect();
    assert_eq!(lines, ["edge; hit, upstreamcdn; fwd=bypass, semblance; hit; ttl=60"]);
}
