//! Vectors that come with the program: of the shipped policies' examples, by the shipped model, so that a first start has
//! them at once.
//!
//! Invariant: a vector is given for the text and the model that it was made of and for nothing else. The test below makes
//! the file anew: `SEMBLANCE_WRITE_EXAMPLES=1 cargo test --lib embed::shipped`.

use crate::similarity::Embedding;

/// The model's fingerprint, padded, and then a record for each text.
static FILE: &[u8] = include_bytes!("../../models/minilm/examples.bin");

const FINGERPRINT: usize = 64;
const DIGEST: usize = 16;
const DIMENSIONS: usize = 384;
const RECORD: usize = DIGEST + DIMENSIONS * 4;

/// The vector of `text` by the model of this fingerprint, where it comes with the program.
pub fn vector_of(text: &str, fingerprint: &str) -> Option<Embedding> {
    let (model, records) = FILE.split_at_checked(FINGERPRINT)?;
    if model != padded(fingerprint) {
        return None;
    }
    let digest = digest(text);
    let record = records.as_chunks::<RECORD>().0.iter().find(|record| record.starts_with(&digest))?;
    let (values, _) = record[DIGEST..].as_chunks::<4>();
    Embedding::from_unit(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

fn padded(fingerprint: &str) -> [u8; FINGERPRINT] {
    let mut padded = [0; FINGERPRINT];
    for (to, from) in padded.iter_mut().zip(fingerprint.bytes()) {
        *to = from;
    }
    padded
}

fn digest(text: &str) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    digest.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..DIGEST]);
    digest
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        embed::{Embedder, minilm::MiniLm, pool::PoolSettings},
        policy::PolicySet,
    };

    #[tokio::test]
    async fn every_example_of_the_shipped_policies_has_the_vector_that_the_shipped_model_makes() {
        let settings = PoolSettings { queue: 2000, deadline: Duration::from_secs(600), ..PoolSettings::default() };
        let model = MiniLm::load(settings).unwrap();
        let writes = std::env::var_os("SEMBLANCE_WRITE_EXAMPLES").is_some();
        let mut file = padded(model.fingerprint()).to_vec();
        let policies = PolicySet::shipped().unwrap();
        for (_, text) in policies.example_texts() {
            let made = model.embed(text).await.unwrap();
            file.extend(digest(text));
            file.extend(made.values().iter().flat_map(|value| value.to_le_bytes()));
            if !writes {
                let shipped = vector_of(text, model.fingerprint());
                let likeness = shipped.and_then(|shipped| shipped.similarity(&made)).map(|likeness| likeness.get());
                // Processors add in other orders.
                assert!(likeness.is_some_and(|likeness| likeness > 0.9999), "{text:?}: {likeness:?}");
            }
        }
        if writes {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/models/minilm/examples.bin"), file).unwrap();
        }
        assert_eq!(vector_of("How do I enable two-factor authentication?", "another model"), None);
    }
}
