//! The built-in model behind `--upstream demo`, `demo`, `replay` and the tests: a provider in process that speaks the
//! protocols of OpenAI, Anthropic, Ollama and Gemini.
//!
//! Deterministic: the same question always gets the same answer. [`Scripted`] is the upstream; a [`Script`] is the hand
//! that programs it: what to answer next, when to hold, break or refuse, and what was asked so far.
//!
//! ```
//! use semblance::upstream::scripted::{Reply, Scripted};
//!
//! let (upstream, script) = Scripted::programmable();
//! script.push(Reply::text("Paris.")); // the next call only
//! script.answer("Capital of Spain?", "Madrid."); // whenever exactly this is asked
//! assert_eq!(script.calls(), 0);
//! # let _ = upstream;
//! ```

mod anthropic;
mod canned;
mod completions;
mod embeddings;
mod gemini;
mod ollama;
mod openai;
mod reply;
mod responses;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::BoxFuture};
use http::{HeaderMap, Method};
use tokio::sync::watch;

use super::{Target, Upstream, UpstreamBody, UpstreamError, UpstreamRequest, UpstreamResponse};
use crate::{clock::Clock, wire::Family};

pub use reply::{Gate, Reply, Step};

/// Pause between two words of a streamed demo answer.
const DEMO_PAUSE: Duration = Duration::from_millis(12);

/// A request as the scripted model received it.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method.
    pub method: Method,
    /// Path with query.
    pub path_and_query: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Received {
    /// The body as JSON; `Null` when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or(serde_json::Value::Null)
    }

    /// The protocol that it speaks.
    fn family(&self) -> Family {
        Family::spoken(&self.path_and_query, &self.headers)
    }
}

/// The built-in model. Cheap to clone; clones share one script.
#[derive(Debug, Clone)]
pub struct Scripted {
    script: Script,
    clock: Clock,
    pause: Duration,
    base_url: String,
}

impl Scripted {
    /// The demo's model: canned answers, streamed word by word at a readable pace.
    pub fn demo(clock: Clock) -> Self {
        Self { script: Script::new(false), clock, pause: DEMO_PAUSE, base_url: "demo".to_owned() }
    }

    /// A model without pauses and the hand that programs it. Its clock is the system's; see [`Scripted::with_clock`].
    pub fn programmable() -> (Self, Script) {
        let script = Script::new(true);
        let clock = Clock::system();
        (Self { script: script.clone(), clock, pause: Duration::ZERO, base_url: "scripted".to_owned() }, script)
    }

    /// The hand on this model.
    pub const fn script(&self) -> &Script {
        &self.script
    }

    /// With `clock` behind its answers' `created`.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// With `pause` between two words of a streamed answer.
    #[must_use]
    pub const fn with_pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// With another base URL, so that two scripted upstreams make two scopes.
    #[must_use]
    pub fn with_base_url(mut self, base_url: &str) -> Self {
        base_url.clone_into(&mut self.base_url);
        self
    }

    async fn respond(&self, request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        let UpstreamRequest { method, path_and_query, headers, body, model: _, may_fall_back: _, needs_own_key: _ } =
            request;
        // A copy of its own: what is remembered must not keep alive what the gateway counts.
        let body = Bytes::copy_from_slice(&collect(body).await?);
        let received = Received { method, path_and_query, headers, body };
        let (call, reply) = self.script.receive(received.clone());
        let context = openai::Context { call, created: self.clock.now().as_secs(), pause: self.pause };
        match reply {
            Some(reply) => reply.play(&received, &context).await,
            None => {
                let answer = |question: &str| self.script.answer_to(question);
                let respond = match received.family() {
                    Family::Messages => anthropic::respond,
                    Family::Ollama => ollama::respond,
                    Family::Gemini => gemini::respond,
                    _ => openai::respond,
                };
                respond(&received, &context, &answer).play(&received, &context).await
            }
        }
    }
}

impl Upstream for Scripted {
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>> {
        Box::pin(self.respond(request))
    }

    fn base_url(&self, _target: &Target<'_>) -> &str {
        &self.base_url
    }

    fn asks_for_no_key(&self) -> bool {
        true
    }
}

async fn collect(body: UpstreamBody) -> Result<Bytes, UpstreamError> {
    match body {
        UpstreamBody::Whole(bytes) => Ok(bytes),
        UpstreamBody::Stream(mut stream) => {
            let mut whole = BytesMut::new();
            while let Some(chunk) = stream.next().await {
                whole.extend_from_slice(&chunk.map_err(|error| UpstreamError::ClientBody(error.0))?);
            }
            Ok(whole.freeze())
        }
    }
}

/// The hand that programs a [`Scripted`] model and reads what it was asked. Cheap to clone.
///
/// A call takes the first queued [`Reply`]; with none queued, the standing reply; with none standing, the answer
/// registered for its last user message; else the demo's own answer.
#[derive(Debug, Clone)]
pub struct Script(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    calls: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Reply>,
    standing: Option<Reply>,
    answers: HashMap<String, String>,
    received: Vec<Received>,
    /// Off for the demo, which runs for days.
    record: bool,
}

impl Script {
    fn new(record: bool) -> Self {
        let state = State { record, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), calls: watch::Sender::new(0) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the reply to one call.
    pub fn push(&self, reply: Reply) {
        self.state().queue.push_back(reply);
    }

    /// Sets the reply to every call for which none is queued.
    pub fn always(&self, reply: Reply) {
        self.state().standing = Some(reply);
    }

    /// Sets the answer to `question`, the exact text of a last user message.
    pub fn answer(&self, question: &str, text: &str) {
        self.state().answers.insert(question.to_owned(), text.to_owned());
    }

    /// How many requests came so far.
    pub fn calls(&self) -> usize {
        *self.0.calls.borrow()
    }

    /// Every request so far, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// The newest request.
    pub fn last(&self) -> Option<Received> {
        self.state().received.last().cloned()
    }

    /// Returns once at least `calls` requests have come.
    pub async fn reached(&self, calls: usize) {
        // The sender lives in `self`, so the channel cannot close.
        let _ = self.0.calls.subscribe().wait_for(|count| *count >= calls).await;
    }

    /// Records `request` and takes its reply; the number counts calls from 1.
    fn receive(&self, request: Received) -> (usize, Option<Reply>) {
        let reply = {
            let mut state = self.state();
            if state.record {
                state.received.push(request);
            }
            state.queue.pop_front().or_else(|| state.standing.clone())
        };
        let mut call = 0;
        self.0.calls.send_modify(|count| {
            *count += 1;
            call = *count;
        });
        (call, reply)
    }

    fn answer_to(&self, question: &str) -> String {
        self.state().answers.get(question).cloned().unwrap_or_else(|| canned::answer(question))
    }
}

#[cfg(test)]
mod tests;
