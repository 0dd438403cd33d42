//! Any bytes as a responses request: what goes upstream gives the same key, and so does the request with its text as an
//! item.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use semblance::wire::{Family, Request, chat::ChatSettings, parse};

fuzz_target!(|body: &[u8]| {
    let read = |body: &Bytes| parse(Family::Responses, "", body, &ChatSettings::default());
    let Ok(request) = read(&Bytes::copy_from_slice(body)) else { return };
    let key = (request.partition, request.last_turn);
    let sent = read(&request.upstream_body).expect("what goes upstream parses");
    assert_eq!((sent.partition, sent.last_turn), key);

    let Ok(mut asked) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    // What serde_json does not keep as written has another key by right.
    let plain = read(&Bytes::from(asked.to_string()));
    if asked["input"].is_string() {
        let said = serde_json::json!([{"type": "input_text", "text": asked["input"]}]);
        asked["input"] = serde_json::json!([{"type": "message", "role": "user", "content": said}]);
    }
    let keyed = |parsed: Result<Request, _>| parsed.ok().map(|it| (it.partition, it.last_turn));
    assert_eq!(keyed(plain), keyed(read(&Bytes::from(asked.to_string()))));
});
