//! Random JSON, written in random ways; shared by the tests of the wire.

use proptest::prelude::*;
use serde_json::{Map, Value};

/// Any JSON value of modest size.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Exact in binary, so that no reader rounds it.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 64.0)),
        "[a-c\"\\\\\n é€😀]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[a-e\n\"]{0,3}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// `value` as text with the members of each object rotated by `turn` and white space as `turn` says.
pub(crate) fn written(value: &Value, turn: usize, out: &mut String) {
    let blank = [" ", "", "\n\t", "\r\n"][turn % 4];
    out.push_str(blank);
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                written(item, turn / 2 + at, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            if !members.is_empty() {
                let by = turn % members.len();
                members.rotate_left(by);
            }
            out.push('{');
            for (at, (key, item)) in members.into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(blank);
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push_str(blank);
                out.push(':');
                written(item, turn / 3 + at, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
    out.push_str(blank);
}
