//! Any bytes as a completions request: what goes upstream stays JSON and asking the upstream's way gives the same key.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use semblance::wire::{Family, chat::ChatSettings, parse};

fuzz_target!(|body: &[u8]| {
    let settings = ChatSettings::default();
    if let Ok(request) = parse(Family::Completions, "", &Bytes::copy_from_slice(body), &settings) {
        let sent =
            parse(Family::Completions, "", &request.upstream_body, &settings).expect("what goes upstream parses");
        assert_eq!((sent.partition, sent.last_turn), (request.partition, request.last_turn));
        assert!(!sent.usage_added);
    }
});
