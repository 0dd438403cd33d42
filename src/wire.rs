//! Our types for what every protocol becomes: a [`Request`] on the way in, an [`Answer`] on the way out.
//!
//! Each protocol family has one file that turns its bodies into these and back. The original request bytes are kept and
//! forwarded; nothing here re-serialises what the upstream will read.

pub mod canonical;
pub mod chat;
pub mod directives;
pub mod sse;

use bytes::Bytes;

use crate::outcome::{BypassReason, NotStored};

/// A wire protocol: a set of paths that share body, stream and error shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// OpenAI chat completions.
    Chat,
}

impl Family {
    /// Stable name: hashed into partitions, stored with answers, used as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
        }
    }

    /// The family with this stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == "chat").then_some(Self::Chat)
    }
}

/// The shape a client asked for. Decided by the request's body, never by `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One JSON body.
    Json,
    /// An event stream; `include_usage` when the client asked for the usage chunk itself.
    Stream {
        /// `stream_options.include_usage` of the client's own request.
        include_usage: bool,
    },
}

/// Why a request can only be answered by its fingerprint, never by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExactOnly {
    /// The last message is not from the user (prefill, tool result).
    LastTurnNotUser,
    /// A tool call or tool result is in the conversation.
    ToolTurns,
    /// Content other than text.
    NonText,
    /// The user's text is empty.
    EmptyQuery,
    /// Sampling was pinned or biased (`seed`, `logit_bias`).
    PinnedSampling,
}

impl ExactOnly {
    /// Stable name for headers, logs and explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LastTurnNotUser => "last-turn-not-user",
            Self::ToolTurns => "tool-turns",
            Self::NonText => "non-text",
            Self::EmptyQuery => "empty-query",
            Self::PinnedSampling => "pinned-sampling",
        }
    }
}

/// A parsed request: what the cache needs to know, beside the bytes the upstream will read.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its protocol.
    pub family: Family,
    /// The model named, literally.
    pub model: String,
    /// The shape asked for.
    pub shape: Shape,
    /// Canonical bytes of every answer-shaping field and all earlier turns (wire.md section 2), without the query.
    pub partition: Vec<u8>,
    /// Canonical bytes of the last turn: with the partition they identify the request exactly.
    pub last_turn: Vec<u8>,
    /// Text of the last user turn; `Err` says why meaning may not be used.
    pub query: Result<String, ExactOnly>,
    /// True when there are no earlier user or assistant turns: such a query has no context to lean on.
    pub first_turn: bool,
    /// System and developer texts joined by newlines, for route rules; empty when none.
    pub system: String,
    /// Upper bound on completion tokens, kept out of the partition (wire.md 2.1, note 3).
    pub max_tokens: Option<u64>,
    /// The answer must parse as JSON before it is stored (`response_format`).
    pub wants_json: bool,
    /// Why the cache must not be consulted at all, if so.
    pub bypass: Option<BypassReason>,
    /// Body for the upstream: the client's own bytes, but for `stream_options.include_usage` added and `cache` stripped.
    pub upstream_body: Bytes,
    /// True when usage was asked upstream on the client's behalf, so it must be stripped from what the client sees.
    pub usage_added: bool,
    /// LiteLLM's body `cache: {...}`, as directives.
    pub body_directives: directives::Directives,
}

/// Token counts as the upstream reported them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Prompt tokens.
    pub input: u64,
    /// Completion tokens.
    pub output: u64,
}

/// A whole, successful answer in its family's canonical form: the object the non-streaming API would have returned.
/// Both shapes are rendered from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its protocol.
    pub family: Family,
    /// The canonical JSON object with the upstream's own `id` and `created`.
    pub body: Bytes,
    /// Where `id`'s and `created`'s values stand in `body` (byte ranges), so that a hit is a splice and not a re-serialisation.
    pub id_span: Option<(u32, u32)>,
    /// See `id_span`.
    pub created_span: Option<(u32, u32)>,
    /// The answer's text, all choices joined; what an audit compares and a report shows.
    pub text: String,
    /// Model name the upstream returned.
    pub model: String,
    /// Tokens, when the upstream said.
    pub usage: Option<Usage>,
    /// The frames as received, kept only when the reduction to `body` lost something; then only streams can be served.
    pub raw_stream: Option<Bytes>,
}

impl Answer {
    /// Approximate bytes in memory.
    pub fn weight(&self) -> usize {
        128 + self.body.len() + self.text.len() + self.model.len() + self.raw_stream.as_ref().map_or(0, Bytes::len)
    }
}

/// What came of recording an upstream's answer: storable, or the reason it is not.
pub type Recorded = Result<Answer, NotStored>;
