use proptest::prelude::*;
use serde_json::Value as Json;

use super::{strategies::*, *};

fn bytes_of(text: &str) -> Vec<u8> {
    canonical(text.as_bytes()).unwrap()
}

fn same(a: &str, b: &str) {
    assert_eq!(bytes_of(a), bytes_of(b), "{a} and {b}");
}

fn different(a: &str, b: &str) {
    assert_ne!(bytes_of(a), bytes_of(b), "{a} and {b}");
}

#[test]
fn numbers_compare_by_value() {
    for (a, b) in [
        ("0", "0.0"),
        ("0", "-0.0e7"),
        ("1", "1e0"),
        ("100", "1E+2"),
        ("0.1", "1e-1"),
        ("12.50", "125e-1"),
        ("-5", "-5.0"),
        ("0e99999999999999999999999", "0"),
        ("1e400", "10e399"),
        ("18446744073709551616", "18446744073709551616.0"),
    ] {
        same(a, b);
    }
    for (a, b) in [
        ("9007199254740992", "9007199254740993"),
        ("18446744073709551616", "18446744073709551617"),
        ("1e400", "1e401"),
        ("0.1", "0.10000000000000000001"),
        ("1", "-1"),
        ("1", "\"1\""),
        ("1e99999999999999999999999", "1e99999999999999999999998"),
    ] {
        different(a, b);
    }
}

#[test]
fn whole_numbers_are_read_by_value() {
    for (text, value) in [
        ("50", Some(50)),
        ("5e1", Some(50)),
        ("50.0", Some(50)),
        ("50.5", None),
        ("-1", None),
        ("1e99", None),
        ("18446744073709551615", Some(u64::MAX)),
    ] {
        assert_eq!(parse(text.as_bytes()).unwrap().as_u64(), value, "{text}");
    }
}

#[test]
fn order_and_space_and_escapes_do_not_count_but_everything_else_does() {
    same(r#"{"a":1,"b":[true,null]}"#, " { \"b\" : [ true , null ] ,\n\"a\":1.0 }");
    same(r#""\u00e9\ud83d\ude00\/""#, "\"é😀/\"");
    different(r#"["a","b"]"#, r#"["b","a"]"#);
    different(r#"["ab"]"#, r#"["a","b"]"#);
    different(r#"[[1],2]"#, r#"[[1,2]]"#);
    different(r#"{"a":{"b":1}}"#, r#"{"a":{},"b":1}"#);
    different("\"a\"", "\"A\"");
    different("\"a\"", "\"a \"");
    different("\"\u{e9}\"", "\"e\u{301}\"");
    different("null", "[]");
    different("{}", "[]");
    different("false", "null");
}

#[test]
fn case_50_duplicate_keys_at_any_depth_are_refused() {
    for text in [r#"{"a":1,"a":1}"#, r#"[{"x":{"b":1,"c":2,"b":3}}]"#, r#"{"a":1,"\u0061":2}"#] {
        assert_eq!(canonical(text.as_bytes()), Err(NotJson::DuplicateKey), "{text}");
    }
}

#[test]
fn case_50_bytes_that_are_not_utf8_are_refused() {
    assert_eq!(canonical(b"\"\xff\""), Err(NotJson::Utf8));
    assert!(matches!(canonical(br#""\ud800""#), Err(NotJson::Syntax(_))));
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "tru",
        "\"a",
        "\"\t\"",
        "1 2",
        "\"\\x\"",
        "\"\\u12g4\"",
        "NaN",
        "[1 2]",
        "{\"a\" 1}",
        "\u{feff}1",
        "nul",
        "'a'",
    ] {
        assert!(canonical(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(NotJson::TooDeep));
}

#[test]
fn spans_point_at_the_source() {
    let text = r#" {"a" : [1, "x\n"], "b":{"c":null} } "#;
    let node = parse(text.as_bytes()).unwrap();
    let object = node.as_object().unwrap();
    assert_eq!(node.get("a").unwrap().raw(text), r#"[1, "x\n"]"#);
    assert_eq!(&text[object.member("b").unwrap().span()], r#""b":{"c":null}"#);
    assert_eq!(node.get("b").unwrap().get("c"), None);
    assert!(node.get("b").unwrap().as_object().unwrap().member("c").is_some());
}

#[test]
fn a_removed_member_leaves_valid_json() {
    for (text, key, left) in [
        (r#"{"a":1,"b":2,"c":3}"#, "a", r#"{"b":2,"c":3}"#),
        (r#"{"a":1,"b":2,"c":3}"#, "b", r#"{"a":1,"c":3}"#),
        (r#"{"a":1 , "b":2 }"#, "b", r#"{"a":1  }"#),
        (r#"{ "a":1 }"#, "a", r#"{  }"#),
    ] {
        let node = parse(text.as_bytes()).unwrap();
        let range = removal(text.as_bytes(), node.as_object().unwrap().member(key).unwrap());
        assert_eq!(splice(text.as_bytes(), &[(range, "")]), left.as_bytes(), "{text} without {key}");
    }
}

/// Changes the `nth` leaf of `value`; false when there are fewer.
fn change_leaf(value: &mut Json, nth: &mut usize) -> bool {
    match value {
        Json::Array(items) => items.iter_mut().any(|item| change_leaf(item, nth)),
        Json::Object(members) => members.values_mut().any(|item| change_leaf(item, nth)),
        leaf if *nth == 0 => {
            *leaf = match leaf {
                Json::Null => Json::from(false),
                Json::Bool(b) => Json::from(!*b),
                Json::Number(n) => Json::from(if n.as_f64() == Some(0.5) { 0.25 } else { 0.5 }),
                Json::String(s) => Json::from([s.as_str(), "x"].concat()),
                _ => Json::from("changed"),
            };
            true
        }
        _ => {
            *nth -= 1;
            false
        }
    }
}

proptest! {
    #[test]
    fn reordered_members_and_other_white_space_encode_alike(value in json(), a in 0_usize..99, b in 0_usize..99) {
        let (mut one, mut other) = (String::new(), String::new());
        written(&value, a, &mut one);
        written(&value, b, &mut other);
        prop_assert_eq!(canonical(one.as_bytes()), canonical(other.as_bytes()));
    }

    #[test]
    fn a_changed_leaf_encodes_differently(value in json(), mut nth in 0_usize..12) {
        // One leaf more, so that there is always one to change.
        let value = serde_json::json!({"a": value, "z": 1});
        let mut changed = value.clone();
        if !change_leaf(&mut changed, &mut nth) {
            prop_assert!(change_leaf(&mut changed, &mut 0));
        }
        prop_assert_ne!(bytes_of(&value.to_string()), bytes_of(&changed.to_string()));
    }

    #[test]
    fn what_is_json_agrees_with_serde_json(text in "[\\[\\]{}:,\"\\\\a10.e+\\- ntfu]{0,12}") {
        let ours = parse(text.as_bytes());
        let theirs = serde_json::from_str::<Json>(&text);
        match ours {
            Ok(_) => prop_assert!(theirs.is_ok() || theirs.unwrap_err().to_string().contains("out of range")),
            Err(NotJson::DuplicateKey) => {}
            Err(_) => prop_assert!(theirs.is_err(), "{text:?}"),
        }
    }

    #[test]
    fn quoting_and_compacting_keep_the_value(value in json(), turn in 0_usize..99, text in "\\PC{0,8}[\\x00-\\x1f]{0,3}") {
        let mut spaced = String::new();
        written(&value, turn, &mut spaced);
        let mut compact = String::new();
        compact_into(&spaced, &mut compact);
        prop_assert_eq!(&serde_json::from_str::<Json>(&compact).unwrap(), &serde_json::from_str::<Json>(&spaced).unwrap());
        prop_assert!(!compact.contains('\n'));
        let mut quoted = String::new();
        quote_into(&text, &mut quoted);
        prop_assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), text);
    }
}
