//! Any bytes as an Ollama request, on either path: what goes upstream gives the same key, and so does the request written
//! anew.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use semblance::wire::{Family, Request, chat::ChatSettings, parse};

fuzz_target!(|body: &[u8]| {
    let keyed = |request: Request| (request.partition, request.last_turn);
    for path in ["/api/chat", "/api/generate"] {
        let read = |body: &Bytes| parse(Family::Ollama, path, body, &ChatSettings::default());
        let Ok(request) = read(&Bytes::copy_from_slice(body)) else { continue };
        if let Some(streamed) = request.streamed_body() {
            let streamed = read(&streamed).expect("the same as a stream parses");
            assert_eq!(keyed(streamed), (request.partition.clone(), request.last_turn.clone()));
        }
        let sent = read(&request.upstream_body).expect("what goes upstream parses");
        assert_eq!(keyed(sent), keyed(request));
    }
});
