//! An OpenAI-compatible embeddings endpoint.
//!
//! Invariants: the key is sent and never shown; a vector of another length than configured is an error and not a
//! vector; a text that the server might cut to its window is refused before it is sent, because nobody says so when it
//! happens; a slow or broken endpoint costs callers no more than the deadline, and soon nothing.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use reqwest::{Client, Response, Url};
use tokio::sync::Semaphore;

use super::{
    EmbedError, Embedder,
    breaker::{Breaker, BreakerSettings},
};
use crate::similarity::Embedding;

/// Bytes of an answer read at most: 100 KB hold 4,096 numbers.
const LARGEST_ANSWER: usize = 1 << 20;

/// Where the endpoint is and how to use it.
#[derive(Clone)]
pub struct RemoteSettings {
    /// The endpoint itself, such as `https://api.openai.com/v1/embeddings`.
    pub url: Url,
    /// The model to ask for.
    pub model: String,
    /// Sent as a bearer token, when there is one.
    pub api_key: Option<String>,
    /// Length of the model's vectors; every answer is checked.
    pub dimensions: usize,
    /// Whether to ask for that length: some models shorten their vectors, other servers refuse to be asked.
    pub request_dimensions: bool,
    /// The model's window in tokens. No tokeniser needs more tokens than bytes, so a text of no more bytes fits.
    pub window: usize,
    /// Calls at a time; more are refused.
    pub in_flight: usize,
    /// From call to vector.
    pub deadline: Duration,
    /// When to stop trying.
    pub breaker: BreakerSettings,
}

impl fmt::Debug for RemoteSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSettings")
            .field("url", &self.url.as_str())
            .field("model", &self.model)
            .field("dimensions", &self.dimensions)
            .finish_non_exhaustive()
    }
}

/// The remote embedder.
#[derive(Debug)]
pub struct RemoteEmbedder {
    client: Client,
    authorization: Option<HeaderValue>,
    settings: RemoteSettings,
    fingerprint: String,
    in_flight: Semaphore,
    breaker: Breaker,
    /// As the endpoint counted them.
    tokens: AtomicU64,
}

/// Why the endpoint gave no vector.
#[derive(Debug, thiserror::Error)]
enum RemoteError {
    #[error("endpoint cannot be reached or broke off")]
    Transport(#[source] reqwest::Error),
    #[error("endpoint answered {0}")]
    Status(StatusCode),
    #[error("answer is larger than any vector")]
    TooLarge,
    #[error("answer is not an embeddings response")]
    Malformed(#[source] serde_json::Error),
    #[error("answer does not hold one vector")]
    NotOne,
    #[error("vector has {got} dimensions and not {want}; set the model's own number")]
    Dimensions { got: usize, want: usize },
    #[error("vector is zero or not finite")]
    NoDirection,
}

impl RemoteError {
    /// True when only this text was refused: the endpoint works, and its breaker need not know.
    fn is_about_the_text(&self) -> bool {
        matches!(
            self,
            Self::Status(StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY)
        )
    }
}

#[derive(serde::Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a str,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(serde::Deserialize)]
struct Answer {
    data: Vec<Datum>,
    usage: Option<Counted>,
}

#[derive(serde::Deserialize)]
struct Counted {
    #[serde(default)]
    prompt_tokens: u64,
}

#[derive(serde::Deserialize)]
struct Datum {
    embedding: Vec<f32>,
}

impl RemoteEmbedder {
    /// An embedder that calls the endpoint through `client`. Nothing is sent yet.
    ///
    /// # Errors
    /// When the key cannot be a header.
    pub fn new(client: Client, mut settings: RemoteSettings) -> Result<Self, EmbedError> {
        let authorization = settings.api_key.take().map(|key| bearer(&key)).transpose()?;
        let mut hash = blake3::Hasher::new();
        for part in [settings.url.as_str(), &settings.model, &settings.dimensions.to_string()] {
            hash.update(&part.len().to_le_bytes()).update(part.as_bytes());
        }
        Ok(Self {
            client,
            authorization,
            fingerprint: format!("{}:{}", settings.model, &hash.finalize().to_hex()[..16]),
            in_flight: Semaphore::new(settings.in_flight.max(1)),
            breaker: Breaker::new(settings.breaker),
            tokens: AtomicU64::new(0),
            settings,
        })
    }

    async fn call(&self, text: String) -> Result<Embedding, EmbedError> {
        let window = self.settings.window;
        if text.len() > window {
            return Err(EmbedError::TooLong { tokens: text.len(), window });
        }
        let _place = self.in_flight.try_acquire().map_err(|_| EmbedError::Busy)?;
        let permit = self.breaker.admit().ok_or(EmbedError::BreakerOpen)?;
        match tokio::time::timeout(self.settings.deadline, self.ask(&text)).await {
            Ok(Ok(embedding)) => {
                permit.success();
                Ok(embedding)
            }
            Ok(Err(error)) => {
                if error.is_about_the_text() {
                    permit.success();
                } else {
                    permit.failure();
                }
                Err(EmbedError::failed(&error))
            }
            Err(_) => {
                permit.failure();
                Err(EmbedError::Timeout)
            }
        }
    }

    async fn ask(&self, text: &str) -> Result<Embedding, RemoteError> {
        let RemoteSettings { url, model, dimensions, request_dimensions, .. } = &self.settings;
        let dimensions = request_dimensions.then_some(*dimensions);
        let question = Question { model, input: text, encoding_format: "float", dimensions };
        let body = serde_json::to_vec(&question).map_err(RemoteError::Malformed)?;
        let mut request = self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/json").body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(RemoteError::Transport)?;
        if !response.status().is_success() {
            return Err(RemoteError::Status(response.status()));
        }
        self.read(&body_of(response).await?)
    }

    fn read(&self, body: &[u8]) -> Result<Embedding, RemoteError> {
        let answer: Answer = serde_json::from_slice(body).map_err(RemoteError::Malformed)?;
        self.tokens.fetch_add(answer.usage.map_or(0, |usage| usage.prompt_tokens), Ordering::Relaxed);
        let [Datum { embedding }] = <[Datum; 1]>::try_from(answer.data).map_err(|_| RemoteError::NotOne)?;
        let (got, want) = (embedding.len(), self.settings.dimensions);
        if got != want {
            return Err(RemoteError::Dimensions { got, want });
        }
        Embedding::normalised(embedding).ok_or(RemoteError::NoDirection)
    }
}

impl Embedder for RemoteEmbedder {
    fn embed(&self, text: &str) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        Box::pin(self.call(text.to_owned()))
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn dimensions(&self) -> usize {
        self.settings.dimensions
    }

    fn bought(&self) -> Option<(&str, u64)> {
        Some((&self.settings.model, self.tokens.load(Ordering::Relaxed)))
    }
}

fn bearer(key: &str) -> Result<HeaderValue, EmbedError> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|error| EmbedError::failed(&error))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn body_of(mut response: Response) -> Result<Vec<u8>, RemoteError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(RemoteError::Transport)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(RemoteError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests;
