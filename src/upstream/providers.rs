//! Two providers behind one gateway: the protocol of a request tells whose it is.
//!
//! Anthropic's have paths of their own or carry an `anthropic-version` header; all others are OpenAI's.

use futures_util::future::BoxFuture;
use http::HeaderMap;

use super::{Upstream, UpstreamError, UpstreamRequest, UpstreamResponse};
use crate::wire::Family;

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

    fn chosen(&self, path_and_query: &str, headers: &HeaderMap) -> &dyn Upstream {
        let anthropics = Family::spoken(path_and_query, headers) == Family::Messages;
        if anthropics { &self.anthropic } else { &self.openai }
    }
}

impl<O: Upstream, A: Upstream> Upstream for Providers<O, A> {
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>> {
        self.chosen(&request.path_and_query, &request.headers).send(request)
    }

    fn base_url(&self, path_and_query: &str, headers: &HeaderMap) -> &str {
        self.chosen(path_and_query, headers).base_url(path_and_query, headers)
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
        let both = Providers::new(openai.with_base_url("o"), anthropic.with_base_url("a"));
        let mut version = HeaderMap::new();
        version.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        both.send(request("/v1/chat/completions", HeaderMap::new())).await.unwrap();
        assert_eq!(both.base_url("/v1/models", &version), "a");
        assert_eq!(both.base_url("/v1/chat/completions", &version), "o", "a path of its own says more than a header");
        both.send(request("/v1/models?after_id=x", version)).await.unwrap();
        for path in ["/v1/messages?beta=true", "/messages", "/v1/messages/batches"] {
            both.send(request(path, HeaderMap::new())).await.unwrap();
            assert_eq!(both.base_url(path, &HeaderMap::new()), "a", "{path}");
        }
        assert_eq!((to_openai.calls(), to_anthropic.calls()), (1, 4));
        assert_eq!(both.base_url("/v1/chat/completions", &HeaderMap::new()), "o");
    }
}
