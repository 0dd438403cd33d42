//! The gateway as its users meet it: a real server on a free port, a scripted model behind it, a clock moved by hand.
//!
//! One binary. A new test goes where its subject lives; a bug's test carries the behaviour in its name.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod engine; // real servers of the shared store
mod harness;

mod abuse; // what nobody sends by accident
mod admin; // the control plane
mod at_rest; // what lies in the data directory, sealed and erased
mod audit; // wrong hits: found, blocked, counted, and the category tripped
mod bans; // purges by meaning, now and for what arrives later
mod chat; // recording and replay of chat completions
mod client_side; // both HTTP versions, TLS, codings, web pages
mod completions; // legacy completions
mod control; // Cache-Control and our own request headers
mod embeddings; // batches, element by element
mod errors; // what clients see when something is wrong
mod faults; // when things break: a row of the README's table each
mod flight; // one upstream call for many
mod freshness; // ttl, stale windows, hot reload of policies
mod gemini; // recording and replay of Gemini
mod isolation; // who may be served what
mod keys; // the gateway's own keys, and who may write for others
mod matching; // by meaning: paraphrases served, near misses refused
mod messages; // recording and replay of Anthropic's messages
mod models; // lists, kept for a minute
mod nodes; // several over one store
mod ollama; // recording and replay of Ollama
mod otel; // what an OpenTelemetry collector gets
mod overload; // every stage bounded, and what happens beyond
mod passthrough; // everything that is not cached
mod personal_data; // kept out, or for the same question of the same credential
mod policies; // shown in plain English, edited, kept and restored
mod replay; // fixtures, as an evaluator replays them
mod responses; // recording and replay of responses
mod restart; // what survives, what does not
mod same_meaning; // joining a running fetch by meaning
mod simulate; // other policies over the same traffic, held against the gateway
mod sources; // what answers are built from, and the groups that an upstream names
mod tidy; // rules of the house, held against the source
mod traffic; // records of requests, the ledger and the overview
mod transfer; // entries out and in, what an operator writes, and the fixtures of the desk
mod upstreams; // named ones, their fallbacks and keys
mod zero_sla; // what must never leave a trace
