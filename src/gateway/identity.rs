//! Who asks and what: credential to principal, body to request, both to keys.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Call, Gateway, flight::FlightKey, may, personal::Personal};
use crate::{
    cache::Epoch,
    freshness::Bounds,
    headers,
    http::error::ClientError,
    key::{Fingerprint, Partition, Principal, Scope, ScopeParts},
    keys::{Holder, Right},
    otel::Trace,
    outcome::BypassReason,
    policy::{Facts, Reuse, Sharing},
    store::shared::FlightName,
    upstream::Target,
    wire::{
        self, Family, Request,
        directives::{Directives, MaxStale, Mode},
    },
};

/// Label under which requests without a credential get a principal of their own.
const ANONYMOUS: &str = "anonymous";
/// Label of the principal whom no request can have: who asked for what an operator brings for everybody.
const OPERATOR: &str = "operator";
/// Label under which the holders of the gateway's own keys are principals by their names.
const HOLDER: &str = "holder";

/// A body of at most so many bytes may lie in the buffer that its connection reads into.
const CONNECTION_BUFFER: usize = 16 << 10;

/// The three keys of a request in one scope.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// Isolation boundary.
    pub(super) scope: Scope,
    /// Where similarity is searched.
    pub(super) partition: Partition,
    /// Exact identity.
    pub(super) fingerprint: Fingerprint,
}

/// A request that the cache may be asked about.
#[derive(Debug, Clone)]
pub(super) struct Question {
    /// The parsed body.
    pub(super) request: Request,
    /// What the request asks of the cache, headers and body merged.
    pub(super) directives: Directives,
    /// Who asks.
    pub(super) principal: Principal,
    /// Keys in the scope of the credential, which every policy allows.
    pub(super) own: Keys,
    shape: Vec<u8>,
    /// Base URL of the provider that the question goes to.
    upstream: String,
    /// All user turns, for the policies' rules.
    user_text: String,
    /// The personal data in them, if any.
    pub(super) personal: Option<Personal>,
    /// Who asks, where that is the holder of a key of the gateway's own.
    holder: Option<Arc<Holder>>,
    /// The trace that its request belongs to.
    pub(super) trace: Trace,
}

impl Question {
    /// Whether its answer may be stored at all.
    pub(super) fn may_be_kept(&self) -> bool {
        may(self.holder.as_deref(), Right::Write)
    }

    /// Whether what it leads to may be kept in the scope of this sharing, of which `reuse` decides.
    pub(super) fn may_write(&self, sharing: Sharing, reuse: &Reuse) -> bool {
        self.may_be_kept() && (sharing == Sharing::Credential || self.is_trusted_by(reuse))
    }

    /// Whether what it leads to may be kept where `reuse` lets others be served from.
    pub(super) fn is_trusted_by(&self, reuse: &Reuse) -> bool {
        is_trusted(self.holder.as_deref(), reuse)
    }

    /// The text to match by meaning, if meaning may be used.
    pub(super) fn query(&self) -> Option<&str> {
        match &self.request.query {
            Ok(query) if self.directives.mode != Some(Mode::Exact) => Some(query),
            _ => None,
        }
    }

    /// The text whose meaning tells the category: the last user turn, personal data masked.
    pub(super) fn last_words(&self) -> &str {
        self.personal.as_ref().map_or_else(|| last_words(&self.request), |personal| &personal.last_words)
    }

    /// What users said, turn by turn, personal data masked.
    pub(super) fn user_turns(&self) -> &[String] {
        self.personal.as_ref().map_or(&self.request.user_turns, |personal| &personal.user_turns)
    }

    /// What the policies' rules look at: all user turns, for an answer may rest on an earlier one.
    pub(super) fn facts<'a>(&'a self, call: &'a Call) -> Facts<'a> {
        let path = call.path_and_query.split('?').next().unwrap_or_default();
        Facts {
            path,
            model: &self.request.model,
            system: &self.request.system,
            query: &self.user_text,
            header_category: self.directives.category.as_deref(),
        }
    }

    /// The same apart from the buffer that its connection reads into, which a small body may lie in.
    pub(super) fn detached(mut self) -> Self {
        let request = &mut self.request;
        let same = request.plain_body.as_ptr() == request.upstream_body.as_ptr();
        request.upstream_body = detached(&request.upstream_body);
        request.partition.shrink_to_fit();
        request.last_turn.shrink_to_fit();
        request.plain_body = if same { request.upstream_body.clone() } else { detached(&request.plain_body) };
        self
    }

    /// What makes two requests the same flight: the question, every term it is asked under, what its answer repeats of it,
    /// and the purges before it: who asks after a purge must not be given what was begun before.
    pub(super) fn flight_key(&self, epoch: Epoch) -> FlightKey {
        flight_key(self.own.fingerprint, &format!("{}{epoch:?}", self.terms()))
    }

    /// What makes two requests on different nodes the same flight. What a purge came before is not kept (I6), so that who
    /// waits for it finds nothing.
    pub(super) fn flight_name(&self) -> FlightName {
        let FlightKey { fingerprint, terms } = flight_key(self.own.fingerprint, &self.terms());
        FlightName { fingerprint, terms }
    }

    fn terms(&self) -> String {
        let Request { max_tokens, echo, .. } = &self.request;
        // Two keys of one name may have different rights.
        let rights = self.holder.as_ref().map(|holder| &holder.rights);
        format!("{max_tokens:?}{:?}{echo:?}{rights:?}", self.directives)
    }
}

/// Whether answers of whoever asks may be kept where `reuse` lets others be served from: what is kept for the credential
/// alone takes no trust.
pub(super) fn is_trusted(holder: Option<&Holder>, reuse: &Reuse) -> bool {
    reuse.scope == Sharing::Credential
        || (may(holder, Right::Shared) && reuse.trusts(holder.map(|holder| holder.name.as_str())))
}

/// A copy of a small body; a large one has a buffer of its own.
fn detached(body: &Bytes) -> Bytes {
    if body.len() > CONNECTION_BUFFER { body.clone() } else { Bytes::copy_from_slice(body) }
}

fn last_words(request: &Request) -> &str {
    request.query.as_deref().unwrap_or(request.user_turns.last().map_or("", String::as_str))
}

/// The flight of whoever asks the same under the same terms.
pub(super) fn flight_key(fingerprint: Fingerprint, terms: &str) -> FlightKey {
    let digest = blake3::hash(terms.as_bytes());
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    FlightKey { fingerprint, terms: u64::from_le_bytes(first) }
}

/// Labels for group purge: the app's own and the upstream's.
pub(super) fn tags(directives: &Directives, more: &[String]) -> Vec<String> {
    let mut tags = [&directives.tags[..], more].concat();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// The bounds on an entry's age that a request sets.
pub(super) fn bounds(directives: &Directives) -> Bounds {
    let Directives { max_age, min_fresh, max_stale, stale_if_error, ttl, .. } = directives;
    let max_stale = max_stale.map(|stale| match stale {
        MaxStale::Within(time) => time,
        MaxStale::Any => Duration::MAX,
    });
    Bounds { max_age: *max_age, min_fresh: *min_fresh, max_stale, stale_if_error: *stale_if_error, ttl_limit: *ttl }
}

/// Why a request is not a question for the cache.
#[derive(Debug)]
pub(super) enum Unanswerable {
    /// Refused outright.
    Refused(ClientError),
    /// Goes to the upstream without the cache.
    Bypassed(BypassReason, Bytes),
}

impl Gateway {
    /// The keys of `question` under which entries of this sharing are kept.
    pub(super) fn keys(&self, question: &Question, sharing: Sharing) -> Keys {
        if sharing == Sharing::Credential {
            return question.own;
        }
        let scope = self.scope_of(sharing, question.own.scope, &question.upstream, &question.directives);
        derive(scope, &question.request, &question.shape)
    }

    /// The principal behind a call's credential.
    pub(super) fn identify(&self, call: &Call) -> Result<Principal, ClientError> {
        let key = &self.parts.principal_key;
        if let Some(holder) = &call.holder {
            return Ok(key.principal(HOLDER, holder.name.as_bytes()));
        }
        match headers::credential(&call.headers, query(&call.path_and_query)) {
            Some(credential) => Ok(key.principal(credential.kind, &credential.bytes)),
            None if self.parts.settings.allow_anonymous => Ok(key.principal(ANONYMOUS, b"")),
            None => Err(ClientError::Unauthenticated),
        }
    }

    /// What a call asks of the cache in its headers; who may not read asks for nothing that is there.
    pub(super) fn directives(&self, call: &Call) -> Result<Directives, ClientError> {
        let mut asked =
            Directives::from_headers(&call.headers).map_err(|error| ClientError::BadDirective(error.to_string()))?;
        asked.no_cache |= !call.may(Right::Read);
        Ok(asked)
    }

    /// The principal of whoever asks with `secret` as clients of `family` usually send it.
    pub(super) fn principal_of(&self, secret: &str, family: Family) -> Option<Principal> {
        let key = &self.parts.principal_key;
        if let Some(name) = self.parts.keys.name_of(secret) {
            return Some(self.holder(&name));
        }
        let (name, value) = match family {
            Family::Messages => ("x-api-key", secret.to_owned()),
            Family::Gemini => ("x-goog-api-key", secret.to_owned()),
            _ => ("authorization", format!("Bearer {secret}")),
        };
        let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::try_from(value).ok()?)]);
        headers::credential(&headers, "").map(|it| key.principal(it.kind, &it.bytes))
    }

    /// The principal of who holds keys of the gateway's own under this name.
    pub(super) fn holder(&self, name: &str) -> Principal {
        self.parts.principal_key.principal(HOLDER, name.as_bytes())
    }

    /// The principal of what an operator brings for everybody: nobody's question, so that no erasure is about it.
    pub(super) fn operator(&self) -> Principal {
        self.parts.principal_key.principal(OPERATOR, b"")
    }

    /// Whoever asks with this key or token, in any header it can come in.
    pub fn principals_of(&self, secret: &str) -> Vec<Principal> {
        let key = &self.parts.principal_key;
        if let Some(name) = self.parts.keys.name_of(secret) {
            return vec![key.principal(HOLDER, name.as_bytes())];
        }
        headers::carrying(secret)
            .iter()
            .filter_map(|headers| headers::credential(headers, ""))
            .map(|it| key.principal(it.kind, &it.bytes))
            .collect()
    }

    /// Parses a call into a question, or says where it goes instead.
    pub(super) fn understand(&self, call: &Call) -> Result<Question, Unanswerable> {
        let principal = self.identify(call).map_err(Unanswerable::Refused)?;
        let asked = self.directives(call).map_err(Unanswerable::Refused)?;
        let parsed = wire::parse(
            call.family.unwrap_or(Family::Chat),
            &call.path_and_query,
            &call.body,
            &self.parts.settings.chat,
        );
        let bypass = |why, body| {
            let refused = asked.only_if_cached;
            Err(if refused {
                Unanswerable::Refused(ClientError::OnlyIfCached)
            } else {
                Unanswerable::Bypassed(why, body)
            })
        };
        let request = match parsed {
            Ok(request) => request,
            Err(why) => return bypass(why, call.body.clone()),
        };
        let directives = asked.clone().merged(request.body_directives.clone());
        if let Some(why) = request.bypass.or_else(|| opted_out(&directives)) {
            return bypass(why, request.plain_body);
        }
        Ok(self.question(call, principal, request, directives))
    }

    pub(super) fn question(
        &self,
        call: &Call,
        principal: Principal,
        request: Request,
        directives: Directives,
    ) -> Question {
        let scope = self.own_scope(call, Some(&request.model), principal, &directives);
        let mut shape = answer_shape(&request.partition, &call.headers, &call.path_and_query, &directives);
        if request.handles.is_some() {
            // Wherever the policy lets entries be kept, these stay with the credential that can use their ids.
            shape.extend_from_slice(scope.as_bytes());
        }
        let own = derive(scope, &request, &shape);
        let upstream = self.provider(call, Some(&request.model)).to_owned();
        let user_text = request.user_turns.join("\n");
        let personal = Personal::of(last_words(&request), &request.user_turns, &user_text);
        let (holder, trace) = (call.holder.clone(), call.trace.clone());
        Question { request, directives, principal, own, shape, upstream, user_text, personal, holder, trace }
    }

    /// The scope of what is kept for the credential of `call`, which names `model`, alone.
    pub(super) fn own_scope(
        &self,
        call: &Call,
        model: Option<&str>,
        principal: Principal,
        directives: &Directives,
    ) -> Scope {
        let organisation = headers::organisation(&call.headers);
        let names: Vec<&str> = organisation.iter().map(String::as_str).collect();
        Scope::derive(&ScopeParts {
            principal: Some(principal),
            tenant: &self.parts.settings.tenant,
            upstream: self.provider(call, model),
            organisation: &names,
            namespace: directives.namespace.as_deref().unwrap_or_default(),
        })
    }

    /// Base URL of the provider that `call`, which names `model`, goes to.
    pub(super) fn provider(&self, call: &Call, model: Option<&str>) -> &str {
        let Call { path_and_query, headers, .. } = call;
        self.parts.upstream.base_url(&Target { path_and_query, headers, model })
    }

    /// The scope of what is kept of `upstream` for all that `sharing` names; `own` where that is the credential alone.
    pub(super) fn scope_of(&self, sharing: Sharing, own: Scope, upstream: &str, directives: &Directives) -> Scope {
        let tenant = match sharing {
            Sharing::Credential => return own,
            Sharing::Tenant => &self.parts.settings.tenant,
            Sharing::Shared => "",
        };
        let namespace = directives.namespace.as_deref().unwrap_or_default();
        Scope::derive(&ScopeParts { principal: None, tenant, upstream, organisation: &[], namespace })
    }
}

/// Why a request's own directives keep the cache out of it, if they do.
pub(super) fn opted_out(directives: &Directives) -> Option<BypassReason> {
    if directives.no_store {
        return Some(BypassReason::NoStore);
    }
    (directives.mode == Some(Mode::Off)).then_some(BypassReason::ModeOff)
}

/// What stands behind the `?`.
pub(super) fn query(path_and_query: &str) -> &str {
    path_and_query.split_once('?').map_or("", |(_, query)| query)
}

fn derive(scope: Scope, request: &Request, shape: &[u8]) -> Keys {
    let partition = Partition::derive(&scope, request.family.as_str(), shape);
    Keys { scope, partition, fingerprint: Fingerprint::derive(&partition, &request.last_turn) }
}

/// Everything that shapes the answer and is not the query: body fields, protocol headers, query string, sources.
pub(super) fn answer_shape(
    fields: &[u8],
    headers: &HeaderMap,
    path_and_query: &str,
    directives: &Directives,
) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = vec![fields.to_vec()];
    parts.extend(headers::versions(headers).into_iter().map(String::into_bytes));
    // Who asks is a matter of the scope, and `alt=sse` one of the shape.
    let shapes = |parameter: &&str| !headers::is_credential(parameter) && *parameter != "alt=sse";
    let url_query: Vec<&str> = query(path_and_query).split('&').filter(shapes).collect();
    parts.push(url_query.join("&").into_bytes());
    for source in &directives.sources {
        parts.push(source.name.clone().into_bytes());
        parts.push(source.version.clone().unwrap_or_default().into_bytes());
    }
    let mut shape = Vec::with_capacity(parts.iter().map(|p| p.len() + 8).sum());
    for part in parts {
        shape.extend_from_slice(&(part.len() as u64).to_le_bytes());
        shape.extend_from_slice(&part);
    }
    shape
}
