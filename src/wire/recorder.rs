//! Recording: an upstream's answer, watched as it passes, becomes a storable [`Answer`] or the reason it is not one.
//!
//! Only a whole, successful, unrefused, untruncated answer is storable (I2). An answer that is whole but not storable is
//! still returned, so that a follower that asked for the other shape can be served.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::{Answer, Family, Recorded, chat, completions, gemini, messages, ollama, responses, sse::Frame};
use crate::outcome::NotStored;

/// What an operator may set about recording, per upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSettings {
    /// Store answers that call tools (found by fingerprint only).
    pub allow_tool_calls: bool,
    /// Accept streams without their terminal marker, as some compatible servers send them, if they finished.
    pub lenient_end: bool,
    /// Obey the upstream's `Cache-Control: no-store` and `private`.
    pub obey_upstream: bool,
    /// Largest answer kept, in bytes as received.
    pub max_bytes: usize,
}

impl Default for RecordSettings {
    fn default() -> Self {
        Self { allow_tool_calls: false, lenient_end: false, obey_upstream: true, max_bytes: 2 << 20 }
    }
}

/// What an upstream's body is, by its content type. The request's shape does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// One JSON value.
    Json,
    /// An event stream.
    Stream,
    /// One JSON value a line.
    Lines,
    /// None of these.
    Other,
}

impl BodyKind {
    /// The kind that these response headers announce.
    pub fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/event-stream" => Self::Stream,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Lines,
            "application/json" => Self::Json,
            other if other.ends_with("+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

/// What came of an upstream's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The answer, when it is whole: storable or not, it can be rendered.
    pub answer: Option<Answer>,
    /// Why it may not be stored, if so.
    pub verdict: Result<(), NotStored>,
    /// Whether it ended as a whole answer ends, storable or not.
    pub whole: bool,
}

impl Finished {
    /// The answer if it may be stored, else the reason it may not.
    pub fn recorded(self) -> Recorded {
        let Self { answer, verdict, whole: _ } = self;
        verdict?;
        answer.ok_or(NotStored::Malformed)
    }
}

/// Watches one answer of the upstream. Never fails: what it cannot read is not stored.
#[derive(Debug)]
pub struct Recorder {
    family: Family,
    settings: RecordSettings,
    wants_json: bool,
    refused: Option<NotStored>,
    bytes: usize,
    frames: Vec<Bytes>,
    reduction: Reduction,
}

/// One reduction for each family.
#[derive(Debug)]
enum Reduction {
    Chat(Box<chat::Reduction>),
    Messages(Box<messages::Reduction>),
    Responses(responses::Reduction),
    Completions(Box<completions::Reduction>),
    Ollama(Box<ollama::Reduction>),
    Gemini(Box<gemini::Reduction>),
    /// Of a family that has no streams nothing is made of one.
    Nothing,
}

impl Reduction {
    fn new(family: Family) -> Self {
        match family {
            Family::Chat => Self::Chat(Box::default()),
            Family::Messages => Self::Messages(Box::default()),
            Family::Responses => Self::Responses(responses::Reduction::default()),
            Family::Completions => Self::Completions(Box::default()),
            Family::Embeddings => Self::Nothing,
            Family::Ollama => Self::Ollama(Box::default()),
            Family::Gemini => Self::Gemini(Box::default()),
        }
    }
}

impl Recorder {
    /// A recorder for an answer of `family`; `wants_json` as in [`super::Request`].
    pub fn new(family: Family, settings: RecordSettings, wants_json: bool) -> Self {
        let reduction = Reduction::new(family);
        Self { family, settings, wants_json, refused: None, bytes: 0, frames: Vec::new(), reduction }
    }

    /// Takes the response's head. A body in a content coding must be decoded, and its header removed, before.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap) -> BodyKind {
        let listed = |name, tokens: &[&str]| {
            let lines = headers.get_all(name).into_iter().filter_map(|value: &http::HeaderValue| value.to_str().ok());
            lines.flat_map(|line| line.split(',')).any(|item| {
                let token = item.split('=').next().unwrap_or_default().trim();
                tokens.iter().any(|wanted| token.eq_ignore_ascii_case(wanted))
            })
        };
        let encoded =
            headers.contains_key(header::CONTENT_ENCODING) && !listed(header::CONTENT_ENCODING, &["identity"]);
        if status != StatusCode::OK {
            self.refuse(NotStored::Status);
        } else if self.settings.obey_upstream && listed(header::CACHE_CONTROL, &["no-store", "private"]) {
            self.refuse(NotStored::UpstreamForbids);
        } else if encoded {
            self.refuse(NotStored::Encoded);
        }
        BodyKind::of(headers)
    }

    /// Notes that the answer may not be stored; the first reason counts.
    pub fn refuse(&mut self, reason: NotStored) {
        self.refused.get_or_insert(reason);
    }

    /// Takes the next frame of a stream.
    pub fn frame(&mut self, frame: &Frame) {
        let done = match &self.reduction {
            Reduction::Chat(reduction) => reduction.done(),
            Reduction::Messages(reduction) => reduction.done(),
            Reduction::Responses(reduction) => reduction.done(),
            Reduction::Completions(reduction) => reduction.done(),
            Reduction::Ollama(reduction) => reduction.done(),
            Reduction::Gemini(_) | Reduction::Nothing => false,
        };
        if frame.data.is_none() || done || self.lost() {
            return;
        }
        let kept = match &self.reduction {
            Reduction::Chat(_)
            | Reduction::Messages(_)
            | Reduction::Completions(_)
            | Reduction::Ollama(_)
            | Reduction::Gemini(_) => true,
            // The last event is the whole answer.
            Reduction::Responses(_) => responses::is_terminal(frame),
            Reduction::Nothing => false,
        };
        if kept {
            self.bytes += frame.raw.len();
            self.frames.push(frame.raw.clone());
        }
        if self.bytes > self.settings.max_bytes {
            self.refuse(NotStored::TooLarge);
            self.frames.clear();
            return;
        }
        let taken = match &mut self.reduction {
            Reduction::Chat(reduction) => reduction.frame(frame),
            Reduction::Messages(reduction) => reduction.frame(frame),
            Reduction::Responses(reduction) => reduction.frame(frame),
            Reduction::Completions(reduction) => reduction.frame(frame),
            Reduction::Ollama(reduction) => reduction.frame(frame),
            Reduction::Gemini(reduction) => reduction.frame(frame),
            Reduction::Nothing => Err(NotStored::Malformed),
        };
        if let Err(reason) = taken {
            self.refused = Some(reason);
        }
    }

    /// No answer can come of what was seen. A reason of the head (`no-store`, say) still allows a whole answer.
    const fn lost(&self) -> bool {
        match self.refused {
            None | Some(NotStored::UpstreamForbids) => false,
            Some(_) => true,
        }
    }

    /// Ends a stream; `clean` when the body ended as its framing promised: not broken, not cut off by us.
    pub fn finish_stream(mut self, clean: bool) -> Finished {
        let (ended, finished, lossy) = match &self.reduction {
            Reduction::Chat(chat) => (chat.done(), chat.finished(), chat.lossy()),
            // Every server of this protocol sends the marker.
            Reduction::Messages(messages) => (messages.done(), false, messages.lossy()),
            // The last event is the whole answer: nothing else ends one, and nothing is lost.
            Reduction::Responses(responses) => (responses.done(), responses.done(), false),
            Reduction::Completions(text) => (text.done(), text.finished(), text.lossy()),
            Reduction::Ollama(lines) => (lines.done(), false, lines.lossy()),
            // Nothing but the reason tells a whole answer.
            Reduction::Gemini(gemini) => (gemini.finished(), false, gemini.lossy()),
            Reduction::Nothing => (false, false, false),
        };
        let whole = clean && (ended || (finished && self.settings.lenient_end));
        if !whole {
            self.refuse(NotStored::Incomplete);
        }
        if self.lost() {
            return Finished { answer: None, verdict: self.refused.map_or(Ok(()), Err), whole };
        }
        let raw = lossy.then(|| Bytes::from(std::mem::take(&mut self.frames).concat()));
        let body = match std::mem::replace(&mut self.reduction, Reduction::Nothing) {
            Reduction::Chat(reduction) => reduction.into_body(),
            Reduction::Messages(reduction) => reduction.into_body(),
            Reduction::Responses(reduction) => reduction.into_body(),
            Reduction::Completions(reduction) => reduction.into_body(),
            Reduction::Ollama(reduction) => reduction.into_body(),
            Reduction::Gemini(reduction) => reduction.into_body(),
            Reduction::Nothing => None,
        };
        match body {
            Some(body) => self.judged(Bytes::from(body), raw, whole),
            None => Finished { answer: None, verdict: Err(self.refused.unwrap_or(NotStored::EmptyAnswer)), whole },
        }
    }

    /// Ends a JSON answer; `clean` when the body ended as its framing promised.
    pub fn finish_json(mut self, body: &Bytes, clean: bool) -> Finished {
        if !clean {
            self.refuse(NotStored::Incomplete);
        }
        if body.len() > self.settings.max_bytes {
            self.refuse(NotStored::TooLarge);
        }
        if self.lost() {
            return Finished { answer: None, verdict: self.refused.map_or(Ok(()), Err), whole: clean };
        }
        self.judged(body.clone(), None, clean)
    }

    fn judged(self, body: Bytes, raw_stream: Option<Bytes>, whole: bool) -> Finished {
        let verdict = match self.family {
            Family::Chat => chat::judge(&body, &self.settings, self.wants_json),
            Family::Messages => messages::judge(&body, &self.settings, self.wants_json),
            Family::Responses => responses::judge(&body, &self.settings, self.wants_json),
            Family::Completions => completions::judge(&body),
            Family::Ollama => ollama::judge(&body, &self.settings, self.wants_json),
            Family::Gemini => gemini::judge(&body, &self.settings, self.wants_json),
            // Elements of a batch are recorded one by one, by `embeddings::read`.
            Family::Embeddings => Err(NotStored::Malformed),
        };
        let answer = Answer::new(self.family, body, raw_stream).ok();
        Finished { answer, verdict: self.refused.map_or(verdict, Err), whole }
    }
}
