//! Our types for what every protocol becomes: a [`Request`] on the way in, an [`Answer`] on the way out.
//!
//! Each protocol family has one file that turns its bodies into these and back. The original request bytes are kept and
//! forwarded; nothing here re-serialises what the upstream will read.

pub mod canonical;
pub mod chat;
mod chunks;
mod completions;
pub mod directives;
mod echo;
pub mod embeddings;
mod extras;
mod fields;
pub mod gemini;
mod messages;
mod model;
mod ollama;
mod openai;
mod parts;
mod recorder;
mod rendering;
mod responses;
pub mod sse;
mod streamed;

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use canonical::Node;
pub use echo::Echo;
pub use model::{model_in_path, model_of};
pub use recorder::{BodyKind, Finished, RecordSettings, Recorder};

use crate::{
    clock::Timestamp,
    outcome::{BypassReason, NotStored},
};

/// A wire protocol: a set of paths that share body, stream and error shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// OpenAI chat completions.
    Chat,
    /// Anthropic messages.
    Messages,
    /// OpenAI responses.
    Responses,
    /// OpenAI's legacy completions.
    Completions,
    /// OpenAI embeddings, whose unit is one element of a batch: see [`embeddings`].
    Embeddings,
    /// Ollama's chat and generation.
    Ollama,
    /// Gemini's content generation.
    Gemini,
}

impl Family {
    /// Every family.
    pub const ALL: &'static [Self] =
        &[Self::Chat, Self::Messages, Self::Responses, Self::Completions, Self::Embeddings, Self::Ollama, Self::Gemini];

    /// Stable name: hashed into partitions, stored with answers, used as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Ollama => "ollama",
            Self::Gemini => "gemini",
        }
    }

    /// What its streams are.
    pub const fn streams_as(self) -> BodyKind {
        match self {
            Self::Ollama => BodyKind::Lines,
            _ => BodyKind::Stream,
        }
    }

    /// The family with this stable name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|family| family.as_str() == name)
    }

    /// The family whose provider and whose errors a request on any path belongs to, cached or not. Each family has paths
    /// of its own; on the others Anthropic's requests carry `anthropic-version`, Google's `x-goog-api-key`, and the rest
    /// counts as OpenAI's chat.
    pub fn spoken(path_and_query: &str, headers: &HeaderMap) -> Self {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let gemini = ["/v1beta/", "/v1alpha/"].iter().any(|version| path.starts_with(version));
        if gemini || model_in_path(path).is_some() {
            return Self::Gemini;
        }
        let path = path.strip_prefix("/v1").unwrap_or(path);
        match path.split('/').nth(1) {
            Some("api") => Self::Ollama,
            Some("messages") => Self::Messages,
            Some("chat") => Self::Chat,
            Some("completions") => Self::Completions,
            Some("responses") => Self::Responses,
            Some("embeddings") => Self::Embeddings,
            _ if headers.contains_key("anthropic-version") => Self::Messages,
            _ if headers.contains_key("x-goog-api-key") => Self::Gemini,
            _ => Self::Chat,
        }
    }
}

/// The shape a client asked for. Decided by the request's body, never by `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One JSON body.
    Json,
    /// An event stream; `include_usage` when the client asked for the usage chunk itself.
    Stream {
        /// `stream_options.include_usage` of the client's own request; true where the protocol always tells.
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
    /// The model's own reasoning is in the conversation.
    Reasoning,
    /// A prompt of the legacy completions API is text to go on with, not a question.
    Completion,
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
            Self::Reasoning => "reasoning",
            Self::Completion => "completion",
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
    /// Texts of all user turns, oldest first: what an answer's category may rest on.
    pub user_turns: Vec<String>,
    /// True when there are no earlier user or assistant turns: such a query has no context to lean on.
    pub first_turn: bool,
    /// System and developer texts joined by newlines, for route rules; empty when none.
    pub system: String,
    /// Upper bound on completion tokens, kept out of the partition (wire.md 2.1, note 3).
    pub max_tokens: Option<u64>,
    /// The model may call tools: an answer that does is for this very request.
    pub offers_tools: bool,
    /// The answer must parse as JSON before it is stored (`response_format`).
    pub wants_json: bool,
    /// Why the cache must not be consulted at all, if so.
    pub bypass: Option<BypassReason>,
    /// Body for the upstream: the client's own bytes, but for `stream_options.include_usage` added and `cache` stripped.
    pub upstream_body: Bytes,
    /// The same without usage asked for: what goes upstream when the cache is not consulted after all.
    pub plain_body: Bytes,
    /// True when usage was asked upstream on the client's behalf, so it must be stripped from what the client sees.
    pub usage_added: bool,
    /// LiteLLM's body `cache: {...}`, as directives.
    pub body_directives: directives::Directives,
    /// The answer holds ids that only the credential that made it can use in its next turn, and this long at most
    /// (wire.md 3.5): it is never shared beyond that credential, whatever the policy says, nor served when older.
    pub handles: Option<Duration>,
    /// What of the request an answer repeats although it does not shape it.
    pub echo: Echo,
}

impl Request {
    /// [`upstream_body`](Self::upstream_body) of a request for JSON, asking for a stream instead; `None` where none is to
    /// be had.
    pub fn streamed_body(&self) -> Option<Bytes> {
        streamed::streamed(self.family, &self.upstream_body)
    }
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

/// Bytes that were to be an answer of this family are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a whole {} answer", .0.as_str())]
pub struct NotAnAnswer(pub Family);

impl NotAnAnswer {
    /// Stable reason for metrics and logs.
    pub const fn reason(self) -> &'static str {
        "not-an-answer"
    }
}

/// What an [`Answer`] keeps beside its body, all of it read from the body.
#[derive(Debug)]
struct Description {
    id_span: Option<(u32, u32)>,
    created_span: Option<(u32, u32)>,
    text: String,
    model: String,
    usage: Option<Usage>,
}

impl Description {
    /// What most protocols write alike: `id`, `model`, `usage`, and at `created`, if anywhere, the second of its making.
    fn of(
        root: &Node<'_>,
        created: Option<&str>,
        text: String,
        tokens: impl FnOnce(&Node<'_>) -> Option<Usage>,
    ) -> Self {
        let id = root.get("id").filter(|id| id.as_str().is_some());
        let created = created.and_then(|key| root.get(key)).filter(|created| created.as_f64().is_some());
        Self {
            id_span: id.map(Node::span).and_then(narrow),
            created_span: created.map(Node::span).and_then(narrow),
            text,
            model: root.get("model").and_then(Node::as_str).unwrap_or_default().to_owned(),
            usage: root.get("usage").and_then(tokens),
        }
    }
}

impl Answer {
    /// Reads everything else from `body`, the canonical object; `raw_stream` as in the field. For an answer fresh from
    /// the upstream and for one read back from a store.
    pub fn new(family: Family, body: Bytes, raw_stream: Option<Bytes>) -> Result<Self, NotAnAnswer> {
        let described = match family {
            Family::Chat => chat::describe(&body),
            Family::Messages => messages::describe(&body),
            Family::Responses => responses::describe(&body),
            Family::Completions => completions::describe(&body),
            Family::Embeddings => embeddings::describe(&body),
            Family::Ollama => ollama::describe(&body),
            Family::Gemini => gemini::describe(&body),
        };
        let Description { id_span, created_span, text, model, usage } = described.ok_or(NotAnAnswer(family))?;
        Ok(Self { family, body, id_span, created_span, text, model, usage, raw_stream })
    }

    /// Whether it calls a tool: such an answer may be found by fingerprint only, never by meaning.
    pub fn calls_tools(&self) -> bool {
        match self.family {
            Family::Chat => chat::calls_tools(&self.body),
            Family::Messages => messages::calls_tools(&self.body),
            Family::Responses => responses::calls_tools(&self.body),
            Family::Completions | Family::Embeddings => false,
            Family::Ollama => ollama::calls_tools(&self.body),
            Family::Gemini => gemini::calls_tools(&self.body),
        }
    }

    /// Whether it holds what means something only to the account that it was made for: such an answer is kept for the
    /// credential that asked, whatever the policy shares.
    pub fn is_bound_to_account(&self) -> bool {
        match self.family {
            Family::Chat | Family::Completions | Family::Embeddings | Family::Ollama => false,
            Family::Messages => messages::thinks(&self.body),
            Family::Gemini => gemini::thinks(&self.body),
            // Bound by its partition already, as `Request::handles` says.
            Family::Responses => false,
        }
    }

    /// The upstream's own id.
    pub fn id(&self) -> Option<&str> {
        self.span(self.id_span).map(|text| text.trim_matches('"'))
    }

    fn span(&self, span: Option<(u32, u32)>) -> Option<&str> {
        let (start, end) = span?;
        let bytes = self.body.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
        std::str::from_utf8(bytes).ok()
    }

    /// Whether it can be served in `shape`. A stream that could not be reduced without loss stays a stream.
    pub const fn can_render(&self, shape: Shape) -> bool {
        match shape {
            Shape::Json => self.raw_stream.is_none(),
            Shape::Stream { .. } => true,
        }
    }

    /// The JSON body for a client, under a fresh id where an id is no handle.
    pub fn render_json(&self, fresh: &Fresh) -> Bytes {
        match self.family {
            Family::Chat | Family::Messages | Family::Completions | Family::Gemini => {
                rendering::renamed_body(self, fresh)
            }
            // It has neither an id nor a time that is a number.
            Family::Ollama => self.body.clone(),
            Family::Responses => responses::render_json(self, fresh),
            // An element is a part of an answer: `embeddings::render` makes one.
            Family::Embeddings => self.body.clone(),
        }
    }

    /// The whole event stream for a client, under a fresh id where an id is no handle; with the usage chunk when the
    /// client asked for it.
    pub fn render_stream(&self, fresh: &Fresh, include_usage: bool) -> Bytes {
        match self.family {
            Family::Chat => chat::render_stream(self, fresh, include_usage),
            Family::Messages => messages::render_stream(self, fresh),
            Family::Responses => responses::render_stream(self, fresh),
            Family::Completions => completions::render_stream(self, fresh, include_usage),
            Family::Ollama => ollama::render_stream(self),
            Family::Gemini => gemini::render_stream(self, fresh),
            Family::Embeddings => Bytes::new(),
        }
    }

    /// Approximate bytes in memory.
    pub fn weight(&self) -> usize {
        128 + self.body.len() + self.text.len() + self.model.len() + self.raw_stream.as_ref().map_or(0, Bytes::len)
    }
}

/// What came of recording an upstream's answer: storable, or the reason it is not.
pub type Recorded = Result<Answer, NotStored>;

/// What is new in each rendering of a stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// The answer's id, in its family's style.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// What the answer repeats of the request; empty leaves what it repeated of the request that made it.
    pub echo: Echo,
}

impl Fresh {
    /// The answer's own id and time: for a client that shares the very call that made it, in the other shape.
    pub fn original(answer: &Answer) -> Self {
        let text = |span: Option<(u32, u32)>| {
            let bytes = span.and_then(|(from, to)| answer.body.get(from as usize..to as usize));
            std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
        };
        let id = serde_json::from_str(text(answer.id_span)).unwrap_or_default();
        Self { id, created: text(answer.created_span).parse().unwrap_or_default(), echo: Echo::default() }
    }

    /// A new id for a hit at `now`.
    pub fn new(family: Family, now: Timestamp) -> Self {
        let (prefix, random) = match family {
            Family::Chat => ("chatcmpl-", 29),
            Family::Messages => ("msg_01", 22),
            Family::Responses => ("resp_", 48),
            Family::Completions => ("cmpl-", 29),
            Family::Embeddings => ("embd-", 29),
            Family::Ollama => ("", 0),
            Family::Gemini => ("", 22),
        };
        let id = prefix.chars().chain(std::iter::repeat_with(fastrand::alphanumeric).take(random)).collect();
        Self { id, created: now.as_secs(), echo: Echo::default() }
    }

    /// The same, repeating this of the request.
    #[must_use]
    pub fn echoing(self, echo: Echo) -> Self {
        Self { echo, ..self }
    }
}

/// Parses a request body of `family` that came to this path. `Err` says why it must pass through untouched.
pub fn parse(
    family: Family,
    path_and_query: &str,
    body: &Bytes,
    settings: &chat::ChatSettings,
) -> Result<Request, BypassReason> {
    match family {
        Family::Chat => chat::parse(body, settings),
        Family::Messages => messages::parse(body, settings),
        Family::Responses => responses::parse(body, settings),
        Family::Completions => completions::parse(body, settings),
        // A batch is many questions: `embeddings::parse` reads it.
        Family::Embeddings => Err(BypassReason::Passthrough),
        Family::Ollama => ollama::parse(path_and_query.split('?').next().unwrap_or_default(), body, settings),
        Family::Gemini => gemini::parse(path_and_query, body, settings),
    }
}

/// What a client that did not ask for usage sees of a stream's frame ([`Request::usage_added`]): `None` for the usage
/// chunk, the frame without its usage, or the frame as received.
pub fn strip_usage(family: Family, frame: &sse::Frame) -> Option<Bytes> {
    match family {
        Family::Chat | Family::Completions => chat::strip_usage(frame),
        // Counted on every stream, whoever asks, or on none.
        Family::Messages | Family::Responses | Family::Embeddings | Family::Ollama | Family::Gemini => {
            Some(frame.raw.clone())
        }
    }
}

/// Whether a frame is the stream's terminal marker, after which nothing comes.
pub fn is_terminal(family: Family, frame: &sse::Frame) -> bool {
    match family {
        Family::Chat | Family::Completions | Family::Embeddings => chat::is_done(frame),
        Family::Messages => messages::is_stop(frame),
        Family::Responses => responses::is_terminal(frame),
        Family::Ollama => ollama::is_done(frame),
        // Nothing marks the end: counts may follow the reason.
        Family::Gemini => false,
    }
}

/// A JSON body with an `error` as the event that SDKs raise; `None` for any other body.
pub fn error_event(family: Family, body: &[u8]) -> Option<Bytes> {
    match family {
        Family::Chat | Family::Completions | Family::Embeddings | Family::Gemini => chat::error_event(body),
        Family::Ollama => ollama::error_event(body),
        Family::Messages => messages::error_event(body),
        Family::Responses => responses::error_event(body),
    }
}

/// An error of ours in the shape of `family`: `kind` is the API's error type, `code` our own stable token.
pub fn error_body(family: Family, status: StatusCode, kind: &str, message: &str, code: &str) -> Bytes {
    match family {
        Family::Ollama => ollama::error_body(message, code),
        Family::Gemini => gemini::error_body(status, message, code),
        Family::Messages => messages::error_body(kind, message, code),
        Family::Chat | Family::Responses | Family::Completions | Family::Embeddings => {
            openai::error_body(kind, message, code)
        }
    }
}

/// A byte range as an [`Answer`] keeps it.
fn narrow(span: Range<usize>) -> Option<(u32, u32)> {
    Some((u32::try_from(span.start).ok()?, u32::try_from(span.end).ok()?))
}
