//! Any bytes as a chat request: our judgement of what is JSON agrees with `serde_json`'s, what goes upstream stays JSON,
//! and asking the upstream's way gives the same key.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use semblance::wire::{Family, canonical, chat::ChatSettings, parse};

fuzz_target!(|body: &[u8]| {
    let theirs = serde_json::from_slice::<serde_json::Value>(body);
    match canonical::parse(body) {
        Ok(_) => assert!(theirs.is_ok() || theirs.is_err_and(|e| e.to_string().contains("out of range"))),
        Err(canonical::NotJson::DuplicateKey) => {}
        Err(_) => assert!(theirs.is_err()),
    }
    let settings = ChatSettings::default();
    if let Ok(request) = parse(Family::Chat, "", &Bytes::copy_from_slice(body), &settings) {
        let sent = parse(Family::Chat, "", &request.upstream_body, &settings).expect("what goes upstream parses");
        assert_eq!((sent.partition, sent.last_turn), (request.partition, request.last_turn));
        assert!(!sent.usage_added);
    }
});
