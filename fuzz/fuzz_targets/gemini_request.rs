//! Any bytes as a Gemini request, in either shape: both give the same key, and what goes upstream does too.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use semblance::wire::{Family, Request, chat::ChatSettings, parse};

fuzz_target!(|body: &[u8]| {
    let settings = ChatSettings::default();
    let keyed = |request: Request| (request.partition, request.last_turn);
    let read = |verb: &str, body: &Bytes| parse(Family::Gemini, &format!("/v1beta/models/m:{verb}"), body, &settings);
    let body = Bytes::copy_from_slice(body);
    let (whole, stream) = (read("generateContent", &body), read("streamGenerateContent?alt=sse", &body));
    assert_eq!(whole.is_ok(), stream.is_ok());
    let (Ok(whole), Ok(stream)) = (whole, stream) else { return };
    let sent = read("generateContent", &whole.upstream_body).expect("what goes upstream parses");
    assert_eq!(keyed(sent), keyed(whole.clone()));
    assert_eq!(keyed(stream), keyed(whole));
});
