//! What a scripted call gets: steps of a body, or a failure.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::watch;

use super::{Received, anthropic, gemini, ollama, openai};
use crate::{
    upstream::{BodyError, UpstreamError, UpstreamResponse},
    wire::Family,
};

/// A door that holds replies until it is opened; once open it stays open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    fn default() -> Self {
        Self::closed()
    }
}

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything held here go on.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Returns when the gate is open.
    pub async fn passed(&self) {
        // The sender lives in `self`, so the channel cannot close.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// One step of a scripted body.
#[derive(Debug, Clone)]
pub enum Step {
    /// Bytes to send as one chunk.
    Send(Bytes),
    /// Wait until the gate opens.
    Hold(Gate),
    /// Wait (tokio time, which tests can pause).
    Pause(Duration),
    /// Break the body here: an `Err` item, never a clean end.
    Break,
}

/// The reply to one call.
#[derive(Debug, Clone)]
pub struct Reply {
    gate: Option<Gate>,
    kind: Kind,
    headers: HeaderMap,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Status and steps as given.
    Raw(StatusCode, Vec<Step>),
    /// An assistant's text, in the shape that the request asks for.
    Text { text: String, finish: String },
    /// Fails before a response.
    Fail(UpstreamError),
}

impl Reply {
    const fn of(kind: Kind, headers: HeaderMap) -> Self {
        Self { gate: None, kind, headers }
    }

    /// A whole answer with this text in the request's own protocol, as JSON or as a stream, whichever is asked for.
    pub fn text(text: &str) -> Self {
        Self::of(Kind::Text { text: text.to_owned(), finish: "stop".to_owned() }, HeaderMap::new())
    }

    /// As [`Reply::text`], with another `finish_reason`.
    pub fn finishing(text: &str, finish: &str) -> Self {
        Self::of(Kind::Text { text: text.to_owned(), finish: finish.to_owned() }, HeaderMap::new())
    }

    /// A JSON body.
    pub fn json(status: StatusCode, body: &serde_json::Value) -> Self {
        Self::steps(status, [Step::Send(Bytes::from(body.to_string()))])
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    /// An error in OpenAI's shape.
    pub fn error(status: StatusCode, kind: &str, message: &str) -> Self {
        Self::json(status, &openai::error(kind, message, None))
    }

    /// A body step by step, without headers.
    pub fn steps(status: StatusCode, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::of(Kind::Raw(status, steps.into_iter().collect()), HeaderMap::new())
    }

    /// An event stream, one chunk a step.
    pub fn events(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::steps(StatusCode::OK, steps)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"))
    }

    /// No connection.
    pub fn connect_error() -> Self {
        Self::of(Kind::Fail(UpstreamError::Connect("connection refused".to_owned())), HeaderMap::new())
    }

    /// No answer in time.
    pub fn timeout() -> Self {
        Self::of(Kind::Fail(UpstreamError::Timeout), HeaderMap::new())
    }

    /// The connection breaks before a response.
    pub fn broken() -> Self {
        Self::of(Kind::Fail(UpstreamError::Broken("connection reset".to_owned())), HeaderMap::new())
    }

    /// With one more response header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Held back, response headers included, until `gate` opens.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.gate = Some(gate.clone());
        self
    }

    pub(super) async fn play(
        self,
        request: &Received,
        context: &openai::Context,
    ) -> Result<UpstreamResponse, UpstreamError> {
        if let Some(gate) = &self.gate {
            gate.passed().await;
        }
        let (status, steps, mut headers) = match self.kind {
            Kind::Fail(error) => return Err(error),
            Kind::Raw(status, steps) => (status, steps, HeaderMap::new()),
            Kind::Text { text, finish } => {
                let answer = match request.family() {
                    Family::Messages => anthropic::answer,
                    Family::Ollama => ollama::answer,
                    Family::Gemini => gemini::answer,
                    _ => openai::answer,
                };
                let Self { kind: Kind::Raw(status, steps), headers, .. } = answer(request, context, &text, &finish)
                else {
                    return Err(UpstreamError::Broken("an answer renders to steps".to_owned()));
                };
                (status, steps, headers)
            }
        };
        headers.extend(self.headers);
        Ok(UpstreamResponse { status, headers, body: run(steps).boxed(), stand_in: false })
    }
}

/// The body that the steps make. It ends at the first [`Step::Break`].
fn run(steps: Vec<Step>) -> impl futures_util::Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    stream::unfold(VecDeque::from(steps), |mut steps| async move {
        loop {
            match steps.pop_front()? {
                Step::Send(bytes) => return Some((Ok(bytes), steps)),
                Step::Hold(gate) => gate.passed().await,
                Step::Pause(pause) => tokio::time::sleep(pause).await,
                Step::Break => return Some((Err(BodyError("connection reset".to_owned())), VecDeque::new())),
            }
        }
    })
}
