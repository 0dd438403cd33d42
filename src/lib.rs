//! Semblance: a semantic cache gateway for LLM and RAG answers.
//!
//! # The life of a request
//! `http` turns a connection's request into a [`gateway::Call`]. The gateway parses it ([`wire`]), derives its keys
//! ([`key`]), asks the cache by fingerprint ([`cache`]), tells its category ([`policy`]), joins or leads a flight
//! ([`gateway::flight`]), asks by meaning ([`embed`], [`index`], [`matcher`]), calls the provider ([`upstream`]) while
//! recording, and admits the answer into the [`store`]. What became of it is one [`outcome::Outcome`].
//!
//! # Who may import whom
//! `http, admin -> gateway -> {key, policy, cache, matcher, upstream} -> {store, index, embed} -> leaves`. axum stays in
//! `http` and `admin`, rusqlite in `store::sqlite`, the HNSW crate in `index::graph`, reqwest in the network adapters.
//! Only [`app`] names concrete adapters. `tests/it/tidy.rs` holds these arrows against the source.
//!
//! # Invariants
//! - I1 isolation: no lookup without a scope taken from the authenticated credential; entries never cross scopes unless
//!   the policy says `scope = "shared"`.
//! - I2 completeness: only a whole, successful, unrefused, untruncated answer is stored.
//! - I3 verified: no semantic hit is served on similarity alone.
//! - I4 expiry is absolute: a hit never prolongs an entry's life, an alias inherits its parent's clock, freshness is
//!   decided on read.
//! - I5 zero means zero: a never-cache category leaves no entry, no vector, no prompt text in a log.
//! - I6 a purge wins: an answer whose generation began before a purge is not stored as fresh after it.
//! - I7 fail open for the cache, closed for identity.
//! - I8 one outcome: header, metric and log line are rendered from it.
//! - I9 overrides only tighten.
//! - I10 the store is the truth: index and hot tier are derived.
//! - I11 bytes: what passes through is byte-equal to the upstream's.
//!
//! # Deliberately absent
//! No global state, no background thread that a request must wait for, no re-serialised upstream request.

pub mod admin;
pub mod app;
pub mod binomial;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod embed;
pub mod entry;
pub mod explain;
pub mod freshness;
pub mod gateway;
mod glob;
pub mod headers;
pub mod http;
pub mod index;
pub mod jobs;
pub mod key;
pub mod keys;
pub mod matcher;
pub mod metrics;
pub mod model;
pub mod otel;
pub mod outcome;
pub mod policy;
pub mod prices;
pub mod privacy;
pub mod replay;
mod scratch;
pub mod similarity;
pub mod simulate;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod tls;
pub mod traffic;
pub mod transfer;
pub mod upstream;
pub mod wire;
