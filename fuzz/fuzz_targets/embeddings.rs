//! Any bytes as an embeddings request and as an embeddings answer: what is taken apart is put together again the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use semblance::wire::{
    chat::ChatSettings,
    embeddings::{Encoding, parse, read, render},
};

fuzz_target!(|body: &[u8]| {
    let (body, settings) = (Bytes::copy_from_slice(body), ChatSettings::default());
    if let Ok(batch) = parse(&body, &settings) {
        let sent = parse(&batch.whole_body(), &settings).expect("what goes upstream parses");
        let keys = |batch: &semblance::wire::embeddings::Batch| -> Vec<Vec<u8>> {
            batch.elements.iter().map(|element| element.key.clone()).collect()
        };
        assert_eq!((&sent.partition, keys(&sent)), (&batch.partition, keys(&batch)));
        if batch.elements.len() > 1 {
            let part = parse(&batch.body_for(&[1]), &settings).expect("a part parses");
            assert_eq!((&part.partition, &part.elements[0].key), (&batch.partition, &batch.elements[1].key));
        }
    }
    for count in 1..4 {
        let Ok(elements) = read(&body, &vec![1; count]) else { continue };
        let elements: Vec<_> = elements.iter().collect();
        for encoding in [Encoding::Float, Encoding::Base64] {
            let whole = render(&elements, encoding).expect("the elements of one answer belong together");
            assert_eq!(read(&whole, &vec![1; count]).expect("an answer of ours is one").len(), count);
        }
    }
});
