//! The public APIs behind one gateway: the protocol of a request tells whose it is.
//!
//! Anthropic's requests carry an `anthropic-version` header, on every path; all others are OpenAI's.

use futures_util::future::BoxFuture;

use super::{Upstream, UpstreamError, UpstreamRequest, UpstreamResponse};

/// Two upstreams, chosen by protocol.
#[derive(Debug)]
pub struct Providers<O, A> {
    openai: O,
    anthropic: A,
}

impl<O: Upstream, A: Upstream> Providers<O, A> {
    /// Sends OpenAI's protocols to `openai` and Anthropic's to `anthropic`.
    pub const fn new(openai: O, anthropic: A) -> Self {
        Self { openai, anthropic }
    }
}

fn is_anthropic(request: &UpstreamRequest) -> bool {
    let path = request.path_and_query.split('?').next().unwrap_or_default();
    request.headers.contains_key("anthropic-version") || path == "/v1/messages" || path.starts_with("/v1/messages/")
}

impl<O: Upstream, A: Upstream> Upstream for Providers<O, A> {
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>> {
        if is_anthropic(&request) { self.anthropic.send(request) } else { self.openai.send(request) }
    }

    fn base_url(&self) -> &str {
        self.openai.base_url()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};

    use super::*;
    use crate::upstream::{UpstreamBody, scripted::Scripted};

    fn request(path: &str, headers: HeaderMap) -> UpstreamRequest {
        let body = UpstreamBody::Whole(bytes::Bytes::from_static(b"{}"));
        UpstreamRequest { method: Method::POST, path_and_query: path.to_owned(), headers, body }
    }

    #[tokio::test]
    async fn a_request_goes_to_the_provider_whose_protocol_it_speaks() {
        let ((openai, to_openai), (anthropic, to_anthropic)) = (Scripted::programmable(), Scripted::programmable());
        let both = Providers::new(openai, anthropic);
        let mut version = HeaderMap::new();
        version.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        both.send(request("/v1/chat/completions", HeaderMap::new())).await.unwrap();
        both.send(request("/v1/models?after_id=x", version)).await.unwrap();
        both.send(request("/v1/messages?beta=true", HeaderMap::new())).await.unwrap();
        assert_eq!((to_openai.calls(), to_anthropic.calls()), (1, 2));
    }
}
