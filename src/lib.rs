//! Semblance: a semantic cache gateway for LLM and RAG answers.

pub mod clock;
pub mod config;
pub mod embed;
pub mod entry;
pub mod index;
pub mod key;
pub mod matcher;
pub mod metrics;
pub mod model;
pub mod outcome;
pub mod policy;
pub mod similarity;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod upstream;
pub mod wire;
