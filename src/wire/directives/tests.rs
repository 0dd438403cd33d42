use http::{HeaderName, HeaderValue};

use super::*;
use crate::wire::canonical;

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    lines.iter().map(pair).fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(name, value);
        map
    })
}

fn read(lines: &[(&str, &str)]) -> Directives {
    Directives::from_headers(&headers(lines)).unwrap()
}

fn refused(lines: &[(&str, &str)]) -> BadHeader {
    Directives::from_headers(&headers(lines)).unwrap_err()
}

fn cache_control(value: &str) -> Directives {
    read(&[("cache-control", value)])
}

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn cache_control_is_read_in_any_case_and_quoting() {
    let read = cache_control(r#"No-Cache, MAX-AGE="10" , min-fresh=5,max-stale=60, only-if-cached, stale-if-error=7"#);
    let expected = Directives {
        no_cache: true,
        only_if_cached: true,
        max_age: Some(secs(10)),
        min_fresh: Some(secs(5)),
        max_stale: Some(MaxStale::Within(secs(60))),
        stale_if_error: Some(secs(7)),
        ..Directives::default()
    };
    assert_eq!(read, expected);
}

#[test]
fn max_stale_without_a_number_accepts_any_age() {
    assert_eq!(cache_control("max-stale").max_stale, Some(MaxStale::Any));
    assert_eq!(cache_control("max-stale, max-stale=5").max_stale, Some(MaxStale::Within(secs(5))));
}

#[test]
fn invalid_numbers_count_as_zero_and_huge_ones_saturate() {
    for bad in ["max-age=abc", "max-age=", "max-age", "max-age=-1", "max-age=1.5", "max-age=\"\""] {
        assert_eq!(cache_control(bad).max_age, Some(Duration::ZERO), "{bad}");
        assert!(cache_control(bad).refresh(), "{bad}");
    }
    assert_eq!(cache_control("max-age=99999999999999999999999").max_age, Some(secs(1 << 31)));
    assert_eq!(cache_control("max-stale=x").max_stale, Some(MaxStale::Within(Duration::ZERO)));
}

#[test]
fn unknown_directives_and_commas_in_quotes_are_passed_over() {
    let read = cache_control(r#"no-transform, ext="a, no-store, \" no-cache", s-maxage=9, private, , max-age=3"#);
    assert_eq!(read, Directives { max_age: Some(secs(3)), ..Directives::default() });
}

#[test]
fn repeated_directives_and_lines_give_the_tightest() {
    let read =
        read(&[("cache-control", "max-age=9, min-fresh=1"), ("cache-control", "max-age=3, min-fresh=4, no-store")]);
    assert_eq!((read.max_age, read.min_fresh, read.no_store), (Some(secs(3)), Some(secs(4)), true));
}

#[test]
fn pragma_counts_only_without_cache_control() {
    assert!(read(&[("pragma", "No-Cache")]).no_cache);
    assert!(!read(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]).no_cache);
}

#[test]
fn own_headers_are_read() {
    let read = read(&[
        ("x-semblance-category", "product-faq"),
        ("x-semblance-namespace", "shop"),
        ("x-semblance-ttl", "15m"),
        ("x-semblance-tags", "b a, a"),
        ("x-semblance-sources", "doc:42@v7 doc:77"),
        ("x-semblance-query", "Wie öffnet man das?"),
        ("x-semblance-mode", "Exact"),
        ("x-semblance-threshold", "0.95"),
    ]);
    let source = |name: &str, version: Option<&str>| SourceRef { name: name.into(), version: version.map(Into::into) };
    let expected = Directives {
        category: Some("product-faq".into()),
        namespace: Some("shop".into()),
        ttl: Some(secs(900)),
        tags: vec!["a".into(), "b".into()],
        sources: vec![source("doc:42", Some("v7")), source("doc:77", None)],
        query: Some("Wie öffnet man das?".into()),
        mode: Some(Mode::Exact),
        threshold: Some(0.95),
        ..Directives::default()
    };
    assert_eq!(read, expected);
}

#[test]
fn a_ttl_may_be_plain_seconds() {
    assert_eq!(read(&[("x-semblance-ttl", "90")]).ttl, Some(secs(90)));
}

#[test]
fn a_malformed_own_header_says_what_is_wrong_and_what_is_right() {
    let bad = refused(&[("x-semblance-mode", "fuzzy")]);
    assert_eq!(bad.to_string(), "header x-semblance-mode cannot be understood; give off, exact, shadow or semantic");
    let cases = [
        ("x-semblance-ttl", "soon", Wrong::Form),
        ("x-semblance-ttl", "-5", Wrong::Form),
        ("x-semblance-threshold", "1.1", Wrong::Form),
        ("x-semblance-threshold", "NaN", Wrong::Form),
        ("x-semblance-sources", "doc:1@", Wrong::Form),
        ("x-semblance-sources", "@v1", Wrong::Form),
        ("x-semblance-category", " ", Wrong::Empty),
        ("x-semblance-namespace", "a\tb", Wrong::NotText),
    ];
    for (name, value, wrong) in cases {
        let bad = refused(&[(name, value)]);
        assert_eq!((bad.name, bad.wrong), (name, wrong), "{name}: {value}");
    }
}

#[test]
fn own_headers_are_bounded() {
    let long = "x".repeat(9000);
    for name in ["x-semblance-query", "x-semblance-namespace", "x-semblance-tags", "x-semblance-mode"] {
        assert_eq!(refused(&[(name, &long)]).wrong, Wrong::TooLong, "{name}");
    }
    let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    assert_eq!(refused(&[("x-semblance-tags", &many.join(" "))]).wrong, Wrong::TooMany);
    assert_eq!(refused(&[("x-semblance-mode", "off"), ("x-semblance-mode", "exact")]).wrong, Wrong::Repeated);
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let mut map = HeaderMap::new();
    map.insert("x-semblance-query", HeaderValue::from_bytes(b"\xff").unwrap());
    assert_eq!(Directives::from_headers(&map).unwrap_err().wrong, Wrong::NotText);
}

#[test]
fn litellm_cache_becomes_directives() {
    let body = br#"{"ttl":60,"s-maxage":"30","s-max-age":20,"no-store":true,"no-cache":false,"namespace":"n"}"#;
    let read = Directives::from_body(&canonical::parse(body).unwrap()).unwrap();
    let expected = Directives {
        ttl: Some(secs(60)),
        max_age: Some(secs(20)),
        no_store: true,
        namespace: Some("n".into()),
        ..Directives::default()
    };
    assert_eq!(read, expected);
}

#[test]
fn a_cache_member_of_another_kind_is_not_litellms() {
    for body in ["true", "{}", r#"{"type":"ephemeral"}"#, "[]"] {
        assert_eq!(Directives::from_body(&canonical::parse(body.as_bytes()).unwrap()), None, "{body}");
    }
}

#[test]
fn merging_takes_the_tighter_wish() {
    let a =
        Directives { max_age: Some(secs(5)), mode: Some(Mode::Exact), threshold: Some(0.9), ..Directives::default() };
    let b = Directives {
        max_age: Some(secs(9)),
        min_fresh: Some(secs(1)),
        mode: Some(Mode::Semantic),
        threshold: Some(0.95),
        ttl: Some(secs(7)),
        no_store: true,
        tags: vec!["t".into()],
        ..Directives::default()
    };
    let merged = a.merged(b);
    assert_eq!((merged.max_age, merged.min_fresh, merged.ttl), (Some(secs(5)), Some(secs(1)), Some(secs(7))));
    assert_eq!((merged.mode, merged.threshold, merged.no_store), (Some(Mode::Exact), Some(0.95), true));
    assert_eq!(merged.tags, ["t"]);
}
