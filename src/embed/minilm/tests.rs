use std::time::Duration;

use super::*;
use crate::embed::breaker::BreakerSettings;

fn settings() -> PoolSettings {
    PoolSettings { workers: 2, queue: 2000, deadline: Duration::from_secs(600), ..PoolSettings::default() }
}

/// The fp32 original's vectors: per row a scale and int16 codes.
fn reference() -> impl Iterator<Item = Embedding> {
    let bytes: &[u8] = include_bytes!("../../../tests/data/minilm/vectors.bin");
    let (rows, rest) = bytes.as_chunks::<{ 4 + 2 * 384 }>();
    assert!(rest.is_empty());
    rows.iter().map(|row| {
        let scale = f32::from_le_bytes(row[..4].try_into().unwrap());
        let (codes, _) = row[4..].as_chunks::<2>();
        Embedding::normalised(codes.iter().map(|code| f32::from(i16::from_le_bytes(*code)) * scale).collect()).unwrap()
    })
}

#[tokio::test]
async fn vectors_are_those_of_the_original() {
    let model = MiniLm::load(settings()).unwrap();
    let questions: Vec<&str> = include_str!("../../../tests/data/minilm/questions.txt").lines().collect();
    assert_eq!(questions.len(), 1000);
    let vectors = futures_util::future::join_all(questions.iter().map(|question| model.embed(question))).await;
    let mut all: Vec<f32> = Vec::new();
    for (vector, original) in vectors.into_iter().zip(reference()) {
        all.push(vector.unwrap().similarity(&original).unwrap().get());
    }
    all.sort_by(f32::total_cmp);
    println!("least {} median {}", all[0], all[500]);
    assert_eq!(all.len(), 1000);
    assert!(all[0] >= 0.998, "least cosine {}", all[0]);
}

#[tokio::test]
async fn a_vector_does_not_depend_on_what_else_is_in_flight() {
    let model = MiniLm::load(settings()).unwrap();
    let alone = model.embed("How do I reset my password?").await.unwrap();
    let texts: Vec<String> = (0..20).map(|n| format!("noise {n} ").repeat(n + 1)).collect();
    let noise = futures_util::future::join_all(texts.iter().map(|text| model.embed(text)));
    let (among, noise) = tokio::join!(model.embed("How do I reset my password?"), noise);
    assert!(noise.iter().all(Result::is_ok));
    assert_eq!(among.unwrap(), alone);
}

#[tokio::test]
async fn the_window_is_exact_and_a_longer_text_is_an_error() {
    let model = MiniLm::load(PoolSettings {
        breaker: BreakerSettings { failures: 1, ..BreakerSettings::default() },
        ..settings()
    })
    .unwrap();
    let (fits, over) = ("word ".repeat(254), "word ".repeat(255));
    assert_eq!((token_count(&fits), token_count(&over)), (256, 257));
    assert!(model.embed(&fits).await.is_ok());
    assert_eq!(model.embed(&over).await, Err(EmbedError::TooLong { tokens: 257, window: 256 }));
    assert_eq!(model.embed(&"word ".repeat(200_000)).await.unwrap_err().reason(), "query-too-long");
    assert!(model.embed("").await.is_ok(), "no breaker opened, and an empty text has a vector");
}

#[test]
fn the_fingerprint_is_stable_and_names_the_model() {
    let model = MiniLm::load(settings()).unwrap();
    assert_eq!(model.fingerprint(), "all-MiniLM-L6-v2:0369d2fbcb136612");
    assert_eq!(model.dimensions(), 384);
}
