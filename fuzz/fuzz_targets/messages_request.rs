//! Any bytes as a messages request: what goes upstream gives the same key, and so does the request with cache marks.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use semblance::wire::{Family, chat::ChatSettings, parse};

fuzz_target!(|body: &[u8]| {
    let settings = ChatSettings::default();
    let Ok(request) = parse(Family::Messages, "", &Bytes::copy_from_slice(body), &settings) else { return };
    let key = (request.partition, request.last_turn);
    let sent = parse(Family::Messages, "", &request.upstream_body, &settings).expect("what goes upstream parses");
    assert_eq!((sent.partition, sent.last_turn), key);

    let Ok(mut marked) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    // What serde_json does not keep as written has another key by right.
    let plain = parse(Family::Messages, "", &Bytes::from(marked.to_string()), &settings);
    marked["cache_control"] = serde_json::json!({"type": "ephemeral"});
    for turn in marked["messages"].as_array_mut().into_iter().flatten() {
        for block in turn["content"].as_array_mut().into_iter().flatten() {
            block["cache_control"] = serde_json::json!({"type": "ephemeral"});
        }
    }
    let marked = parse(Family::Messages, "", &Bytes::from(marked.to_string()), &settings);
    let keyed = |parsed: Result<semblance::wire::Request, _>| parsed.ok().map(|it| (it.partition, it.last_turn));
    assert_eq!(keyed(plain), keyed(marked));
});
