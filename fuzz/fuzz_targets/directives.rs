//! Any header values as directives: read without a panic, and merging an ask with itself changes nothing.
#![no_main]

use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use semblance::wire::directives::Directives;

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (cache_control, sources, ttl) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CACHE_CONTROL, cache_control),
        (header::HeaderName::from_static("x-semblance-sources"), sources),
        (header::HeaderName::from_static("x-semblance-ttl"), ttl),
    ] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    if let Ok(directives) = Directives::from_headers(&headers) {
        assert_eq!(directives.clone().merged(directives.clone()), directives);
    }
});
