use bytes::Bytes;
use proptest::prelude::*;

use super::{
    answer::{decode, dimensions_of, encode, shares},
    *,
};
use crate::{
    outcome::{BypassReason, NotStored},
    wire::{Answer, canonical, chat::ChatSettings},
};

fn batch(members: &str) -> Batch {
    let body = Bytes::from(format!(r#"{{"model":"text-embedding-3-small",{members}}}"#));
    parse(&body, &ChatSettings::default()).unwrap_or_else(|why| panic!("{members}: {why:?}"))
}

fn keys(members: &str) -> Vec<Vec<u8>> {
    batch(members).elements.into_iter().map(|element| element.key).collect()
}

fn answer(vectors: &[&str]) -> Bytes {
    let item = |(at, vector): (usize, &&str)| format!(r#"{{"object":"embedding","index":{at},"embedding":{vector}}}"#);
    let data: Vec<String> = vectors.iter().enumerate().map(item).collect();
    let data = data.join(",");
    let usage = r#"{"prompt_tokens":7,"total_tokens":7}"#;
    Bytes::from(format!(r#"{{"object":"list","data":[{data}],"model":"m-1","usage":{usage}}}"#))
}

/// `elements` as one answer.
fn rendered(elements: &[Answer], encoding: Encoding) -> serde_json::Value {
    let elements: Vec<&Answer> = elements.iter().collect();
    serde_json::from_slice(&render(&elements, encoding).unwrap()).unwrap()
}

/// The numbers of a single element, each as the nearest f64.
fn floats_of(elements: &[Answer]) -> Vec<f64> {
    let whole = render(&elements.iter().collect::<Vec<_>>(), Encoding::Float).unwrap();
    let root = canonical::parse(&whole).unwrap();
    let vector = root.get("data").unwrap().as_array().unwrap()[0].get("embedding").unwrap().as_array().unwrap();
    vector.iter().map(|number| number.as_f64().unwrap()).collect()
}

#[test]
fn an_element_is_the_same_alone_and_in_a_list() {
    assert_eq!(keys(r#""input":"a""#), keys(r#""input":["a"]"#));
    assert_eq!(keys(r#""input":[1,2]"#), keys(r#""input":[[1,2]]"#));
    assert_eq!(keys(r#""input":["a","b"]"#), [keys(r#""input":"a""#), keys(r#""input":"b""#)].concat());
}

#[test]
fn case_62_token_ids_are_distinct_from_the_text_that_looks_like_them() {
    assert_ne!(keys(r#""input":"1""#), keys(r#""input":[1]"#));
    assert_ne!(keys(r#""input":"[1,2]""#), keys(r#""input":[1,2]"#));
    assert_ne!(keys(r#""input":[1,2]"#), keys(r#""input":[12]"#));
    assert_eq!(keys(r#""input":[1,2]"#).len(), 1);
    assert_eq!(keys(r#""input":[[1],[2]]"#).len(), 2);
}

#[test]
fn what_may_shape_a_vector_parts_and_what_cannot_does_not() {
    let partition = |members: &str| batch(&format!(r#""input":"a"{members}"#)).partition;
    let plain = partition("");
    for same in [r#","encoding_format":"base64""#, r#","user":"u""#, r#","dimensions":null"#, r#","cache":{"ttl":5}"#] {
        assert_eq!(partition(same), plain, "{same}");
    }
    for other in [r#","dimensions":256"#, r#","input_type":"query""#, r#","cache":true"#] {
        assert_ne!(partition(other), plain, "{other}");
    }
    assert_eq!(partition(r#","dimensions":256"#), partition(r#","dimensions":256.0"#));
}

#[test]
fn what_the_api_refuses_or_does_not_document_is_not_taken_apart() {
    for body in [
        r#"{"model":"m"}"#,
        r#"{"input":"a"}"#,
        r#"{"model":"m","input":""}"#,
        r#"{"model":"m","input":[]}"#,
        r#"{"model":"m","input":["a",""]}"#,
        r#"{"model":"m","input":["a",1]}"#,
        r#"{"model":"m","input":{"text":"a"}}"#,
        r#"{"model":"m","input":[{"text":"a"}]}"#,
        r#"{"model":"m","input":"a","encoding_format":"int8"}"#,
        r#"{"model":"m","input":"a","input":"b"}"#,
    ] {
        let refused = parse(&Bytes::from(body), &ChatSettings::default());
        assert_eq!(refused.err(), Some(BypassReason::Unparsable), "{body}");
    }
}

#[test]
fn the_body_for_some_elements_asks_for_them_in_order_and_changes_nothing_else() {
    let batch = batch(r#" "input" : [ "a" , "b\u00e9", "c" ],"dimensions":8,"cache":{"no-cache":true}"#);
    let sent = String::from_utf8(batch.body_for(&[1, 2]).to_vec()).unwrap();
    assert_eq!(sent, r#"{"model":"text-embedding-3-small", "input" : ["b\u00e9","c"],"dimensions":8}"#);
    let whole = String::from_utf8(batch.body_for(&[0, 1, 2]).to_vec()).unwrap();
    assert!(whole.contains(r#"[ "a" , "b\u00e9", "c" ]"#) && !whole.contains("cache"), "{whole}");
}

#[test]
fn decimals_come_back_as_the_upstream_wrote_them() {
    for vector in [
        "[0.0023064255,-0.009327292,1.5e-7]",
        "[0.002306425478309393,-0.009327292069792747]",
        "[0.1234567890123,0.5]",
        "[1,0,-3]",
        "[0.5,-0.0,1.0]",
    ] {
        let elements = read(&answer(&[vector]), &[1]).unwrap();
        let back = rendered(&elements, Encoding::Float);
        assert_eq!(back["data"][0]["embedding"], serde_json::from_str::<serde_json::Value>(vector).unwrap());
        let text = rendered(&elements, Encoding::Base64)["data"][0]["embedding"].as_str().unwrap().to_owned();
        let floats: Vec<f32> = serde_json::from_str(vector).unwrap();
        assert_eq!(decode(&text), Some(floats), "{vector}");
    }
}

#[test]
fn base64_comes_back_bit_for_bit_and_as_the_exact_value_of_each_f32() {
    let values = [0.1f32, -1.0e-20, 3.0];
    let vector = format!("\"{}\"", encode(&values));
    let elements = read(&answer(&[&vector]), &[1]).unwrap();
    assert_eq!(rendered(&elements, Encoding::Base64)["data"][0]["embedding"], encode(&values));
    assert_eq!(floats_of(&elements), values.map(f64::from));
}

#[test]
fn items_are_ordered_by_index_however_they_came() {
    let body = Bytes::from_static(
        br#"{"object":"list","model":"m","data":[
            {"object":"embedding","index":1,"embedding":[0.25]},{"object":"embedding","index":0,"embedding":[0.5]}]}"#,
    );
    let elements = read(&body, &[1, 1]).unwrap();
    let whole = rendered(&elements, Encoding::Float);
    assert_eq!((&whole["data"][0]["embedding"][0], &whole["data"][1]["embedding"][0]), (&0.5.into(), &0.25.into()));
    assert!(whole.get("usage").is_none(), "none was told");
}

#[test]
fn nothing_is_kept_of_an_answer_that_is_not_whole_and_plain() {
    let whole = String::from_utf8(answer(&["[0.5]", "[0.25]"]).to_vec()).unwrap();
    let spoilt = [
        whole.replace("\"index\":1", "\"index\":0"),
        whole.replace("\"index\":1", "\"index\":2"),
        whole.replace("[0.25]", "[0.25,1.0]"),
        whole.replace("[0.25]", "[]"),
        whole.replace("[0.25]", "[1e99]"),
        whole.replace("[0.25]", "\"AAA=\""),
        whole.replace("[0.25]", "null"),
        whole.replace("[0.25]", "[0.25],\"sparse\":[1]"),
        whole.replace("\"model\":\"m-1\",", ""),
        whole.replace("\"total_tokens\":7", "\"total_tokens\":9"),
        whole.replace("{\"object\":\"list\"", "{\"warnings\":[1],\"object\":\"list\""),
        "[]".to_owned(),
    ];
    for body in spoilt {
        assert_eq!(read(&Bytes::from(body.clone()), &[1, 1]), Err(NotStored::Malformed), "{body}");
    }
    assert_eq!(read(&Bytes::from(whole.clone()), &[1]), Err(NotStored::Malformed));
    let error = whole.replace("{\"object\":\"list\"", "{\"error\":{\"message\":\"x\"},\"object\":\"list\"");
    assert_eq!(read(&Bytes::from(error), &[1, 1]), Err(NotStored::ErrorBody));
    assert!(read(&Bytes::from(whole), &[1, 1]).is_ok());
}

#[test]
fn vectors_of_two_models_or_two_lengths_never_stand_in_one_answer() {
    let one = read(&answer(&["[0.5]"]), &[1]).unwrap();
    let longer = read(&answer(&["[0.5,0.25]"]), &[1]).unwrap();
    assert!(render(&[&one[0], &longer[0]], Encoding::Float).is_none());
    let other = String::from_utf8(answer(&["[0.5]"]).to_vec()).unwrap().replace("m-1", "m-2");
    let other = read(&Bytes::from(other), &[1]).unwrap();
    assert!(render(&[&one[0], &other[0]], Encoding::Base64).is_none());
}

#[test]
fn usage_is_shared_out_by_length_and_adds_up_again() {
    let elements = read(&answer(&["[0.5]", "[0.25]", "[0.125]"]), &[10, 1, 10]).unwrap();
    let tokens: Vec<u64> = elements.iter().map(|element| element.usage.unwrap().input).collect();
    assert_eq!((tokens.as_slice(), tokens.iter().sum::<u64>()), ([3, 0, 4].as_slice(), 7));
    assert_eq!(rendered(&elements, Encoding::Float)["usage"]["total_tokens"], 7);
}

proptest! {
    #[test]
    fn shares_add_up(total in 0u64..1 << 40, weights in prop::collection::vec(1u64..1 << 20, 1..50)) {
        prop_assert_eq!(shares(total, &weights).iter().sum::<u64>(), total);
    }

    #[test]
    fn any_finite_vector_survives_both_encodings(values in prop::collection::vec(any::<f32>(), 1..20)) {
        prop_assume!(values.iter().all(|value| value.is_finite()));
        let text = encode(&values);
        prop_assert_eq!(dimensions_of(&text), values.len());
        let elements = read(&answer(&[&format!("\"{text}\"")]), &[1]).unwrap();
        prop_assert_eq!(floats_of(&elements), values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
    }
}
