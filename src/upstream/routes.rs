//! Which upstream a request goes to, and which one answers when that fails.
//!
//! A request goes to the first named upstream all of whose conditions hold, else to the default of its protocol family.
//! Where that gives no response, or answers that it cannot ([`is_failure`]), its fallback is asked, then the fallback's.
//! Only an answer that succeeds stands in: of several failures the client gets the first, for it comes from the provider
//! that the client knows.
//!
//! # Invariants
//! - What makes the scope ([`Upstream::base_url`]) and what sends choose alike.
//! - An answer from a fallback says so ([`UpstreamResponse::stand_in`]): the scope names another upstream.
//! - A client's credential never goes out beside a credential of ours. That a fallback elsewhere has one of its own is the
//!   configuration's to check.
//!
//! # Decisions
//! - Only a `POST` with a whole body is sent again. What is read or deleted by its id is one provider's own.
//! - An upstream that timed out may have done the work, so the work may be paid for twice. A call of a model changes
//!   nothing else; ids that a fallback gives (responses, files) are known to that fallback only.
//! - An upstream without conditions takes everything, unless it is another's fallback: then it does nothing but that.

mod key;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};

pub use key::{KeyProblem, OwnKey};

use super::{Target, Upstream, UpstreamBody, UpstreamError, UpstreamRequest, UpstreamResponse};
use crate::{
    glob,
    metrics::Metrics,
    wire::{self, Family},
};

/// Conditions on the requests that an upstream takes; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// Protocols; empty for any.
    pub families: Vec<Family>,
    /// Paths, literal or with a `*` at the end; empty for any.
    pub paths: Vec<String>,
    /// Models, literal or with a `*` at the end; empty for any. Where no model is known, none of these holds.
    pub models: Vec<String>,
}

impl Route {
    /// True when it sets no condition.
    pub const fn is_open(&self) -> bool {
        self.families.is_empty() && self.paths.is_empty() && self.models.is_empty()
    }

    /// Whether all conditions hold of `target`.
    pub fn takes(&self, target: &Target<'_>) -> bool {
        let Target { path_and_query, headers, model } = *target;
        let path = path_and_query.split('?').next().unwrap_or_default();
        let named = |model: &str| self.models.iter().any(|pattern| glob::matches(pattern, model));
        (self.families.is_empty() || self.families.contains(&Family::spoken(path_and_query, headers)))
            && (self.paths.is_empty() || self.paths.iter().any(|pattern| glob::matches(pattern, path)))
            && (self.models.is_empty() || model.or_else(|| wire::model_in_path(path)).is_some_and(named))
    }
}

/// An upstream with a name.
#[derive(Debug)]
pub struct Named {
    /// Its name, for logs, metrics and the scope.
    pub name: String,
    /// What it takes.
    pub route: Route,
    /// Who answers.
    pub upstream: Arc<dyn Upstream>,
    /// What it is asked with instead of the client's credential.
    pub own_key: Option<OwnKey>,
    /// Place of the one that is asked when it fails.
    pub fallback: Option<usize>,
}

/// All upstreams of a gateway.
#[derive(Debug)]
pub struct Routes {
    default: Arc<dyn Upstream>,
    defaults: Vec<(Family, Arc<dyn Upstream>)>,
    named: Vec<Named>,
    /// Base URLs of `named`, each with its name where the account is ours.
    base_urls: Vec<String>,
    metrics: Arc<Metrics>,
}

impl Routes {
    /// Sends everything to `default`, until more is said. Fallbacks are counted in `metrics`.
    pub fn new(default: Arc<dyn Upstream>, metrics: Arc<Metrics>) -> Self {
        Self { default, defaults: Vec::new(), named: Vec::new(), base_urls: Vec::new(), metrics }
    }

    /// Sends what speaks `family` to `upstream`, unless a named one takes it.
    #[must_use]
    pub fn family(mut self, family: Family, upstream: Arc<dyn Upstream>) -> Self {
        self.defaults.push((family, upstream));
        self
    }

    /// Adds the named upstreams, in the order in which they are asked whether they take a request.
    #[must_use]
    pub fn named(mut self, named: Vec<Named>) -> Self {
        let headers = HeaderMap::new();
        let anything = Target { path_and_query: "/", headers: &headers, model: None };
        let base_url = |named: &Named| {
            let base_url = named.upstream.base_url(&anything);
            // Another account may have other models behind the same names.
            if named.own_key.is_some() { format!("{base_url}#{}", named.name) } else { base_url.to_owned() }
        };
        self.base_urls = named.iter().map(base_url).collect();
        self.named = named;
        self
    }

    /// Place of the named upstream that takes `target`.
    fn chosen(&self, target: &Target<'_>) -> Option<usize> {
        self.named.iter().enumerate().position(|(place, named)| {
            let only_stands_in = named.route.is_open() && self.named.iter().any(|other| other.fallback == Some(place));
            !only_stands_in && named.route.takes(target)
        })
    }

    /// The default upstream of `target`'s protocol.
    fn default_of(&self, target: &Target<'_>) -> &Arc<dyn Upstream> {
        let spoken = Family::spoken(target.path_and_query, target.headers);
        self.defaults.iter().find(|(family, _)| *family == spoken).map_or(&self.default, |(_, upstream)| upstream)
    }

    /// Who stands in for the upstream at `place`, in order, each once; with the one before it.
    fn fallbacks(&self, place: usize) -> impl Iterator<Item = (&Named, &Named)> {
        let next = |place: &usize| self.named.get(*place).and_then(|named| named.fallback);
        let mut passed = vec![place];
        std::iter::successors(Some(place), next).skip(1).map_while(move |place| {
            let before = self.named.get(*passed.last()?)?;
            if passed.contains(&place) {
                return None;
            }
            passed.push(place);
            Some((before, self.named.get(place)?))
        })
    }

    async fn route(&self, request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        let Some(place) = self.chosen(&request.target()) else {
            let upstream = self.default_of(&request.target());
            let name = "none does now, so the default upstream would be asked";
            return if lacks_key(&request, None, upstream) { no_key(name) } else { upstream.send(request).await };
        };
        let Some(named) = self.named.get(place) else { return no_key("no such upstream") };
        let again = named.fallback.and_then(|_| repeatable(&request));
        let first = named.send(request).await;
        let Some(again) = again.filter(|_| is_failure(&first)) else { return first };
        let mut failed = reason(&first);
        for (before, fallback) in self.fallbacks(place) {
            tracing::warn!(upstream = before.name, fallback = fallback.name, reason = failed, "upstream falls back");
            self.metrics.fell_back(&before.name, &fallback.name);
            let Some(copy) = repeatable(&again) else { break };
            let answer = fallback.send(copy).await;
            failed = reason(&answer);
            if let Ok(response) = answer
                && response.status.is_success()
            {
                return Ok(UpstreamResponse { stand_in: true, ..response });
            }
        }
        first
    }
}

impl Named {
    async fn send(&self, mut request: UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        if lacks_key(&request, self.own_key.as_ref(), &self.upstream) {
            return no_key(&format!("that is {}", self.name));
        }
        if let Some(own_key) = &self.own_key {
            own_key.replace_credentials(&mut request);
        }
        self.upstream.send(request).await
    }
}

impl Upstream for Routes {
    fn send(&self, request: UpstreamRequest) -> BoxFuture<'_, Result<UpstreamResponse, UpstreamError>> {
        Box::pin(self.route(request))
    }

    fn base_url(&self, target: &Target<'_>) -> &str {
        match self.chosen(target).and_then(|place| self.base_urls.get(place)) {
            Some(base_url) => base_url,
            None => self.default_of(target).base_url(target),
        }
    }
}

/// Whether a request would reach an upstream without any credential although it asks for one.
fn lacks_key(request: &UpstreamRequest, own_key: Option<&OwnKey>, upstream: &Arc<dyn Upstream>) -> bool {
    request.needs_own_key && own_key.is_none() && !upstream.asks_for_no_key()
}

fn no_key(upstream: &str) -> Result<UpstreamResponse, UpstreamError> {
    Err(UpstreamError::NoKey { upstream: upstream.to_owned() })
}

/// Whether an upstream failed in a way that another may not: no response, too many requests, a fault of its own.
pub fn is_failure(answer: &Result<UpstreamResponse, UpstreamError>) -> bool {
    match answer {
        Ok(response) => is_failing_status(response.status),
        Err(UpstreamError::Connect(_) | UpstreamError::Timeout | UpstreamError::Broken(_)) => true,
        Err(UpstreamError::ClientBody(_) | UpstreamError::NoKey { .. }) => false,
    }
}

/// 529 is Anthropic's "overloaded". Other 5xx (501, 505) say something of the request and hold anywhere.
fn is_failing_status(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504 | 529)
}

/// A stable word for what an upstream gave.
fn reason(answer: &Result<UpstreamResponse, UpstreamError>) -> String {
    match answer {
        Ok(response) => format!("status-{}", response.status.as_u16()),
        Err(error) => error.reason().to_owned(),
    }
}

/// A copy to send again, where that may be done.
fn repeatable(request: &UpstreamRequest) -> Option<UpstreamRequest> {
    let UpstreamRequest { method, path_and_query, headers, model, may_fall_back, needs_own_key, body } = request;
    let UpstreamBody::Whole(body) = body else { return None };
    (*may_fall_back && method == Method::POST).then(|| UpstreamRequest {
        method: method.clone(),
        path_and_query: path_and_query.clone(),
        headers: headers.clone(),
        model: model.clone(),
        may_fall_back: true,
        needs_own_key: *needs_own_key,
        body: UpstreamBody::Whole(body.clone()),
    })
}

#[cfg(test)]
mod tests;
