//! Names of attributes, operations and providers: OpenTelemetry's conventions for generative AI, and our own under
//! `semblance.`.
//!
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/>

use crate::wire::Family;

pub(super) const OPERATION: &str = "gen_ai.operation.name";
pub(super) const PROVIDER: &str = "gen_ai.provider.name";
pub(super) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(super) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(super) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(super) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(super) const TOKEN_TYPE: &str = "gen_ai.token.type";
pub(super) const ERROR: &str = "error.type";
pub(super) const METHOD: &str = "http.request.method";
pub(super) const STATUS: &str = "http.response.status_code";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";
pub(super) const REQUEST_ID: &str = "semblance.request_id";
pub(super) const OUTCOME: &str = "semblance.outcome";
pub(super) const REASON: &str = "semblance.reason";
pub(super) const CATEGORY: &str = "semblance.category";
pub(super) const SIMILARITY: &str = "semblance.similarity";
pub(super) const ENTRY: &str = "semblance.entry";
pub(super) const AGE: &str = "semblance.age_ms";
pub(super) const NOT_STORED: &str = "semblance.not_stored";
pub(super) const FAMILY: &str = "semblance.family";

/// `gen_ai.operation.name` of a protocol.
pub(super) const fn operation(family: Family) -> &'static str {
    match family {
        Family::Chat | Family::Messages | Family::Responses | Family::Ollama => "chat",
        Family::Completions => "text_completion",
        Family::Embeddings => EMBEDDINGS,
        Family::Gemini => "generate_content",
    }
}

/// `gen_ai.operation.name` of making vectors.
pub(super) const EMBEDDINGS: &str = "embeddings";

/// `gen_ai.provider.name`: as far as the protocol tells, whoever answers it behind the base URL.
pub(super) const fn provider(family: Family) -> &'static str {
    match family {
        Family::Chat | Family::Responses | Family::Completions | Family::Embeddings => "openai",
        Family::Messages => "anthropic",
        Family::Ollama => "ollama",
        Family::Gemini => "gcp.gemini",
    }
}
