//! Answers that no request led to: what an operator writes for a question, and entries that come from another store.
//!
//! What is written becomes an entry exactly as an answer to a live request would: the request that a client will send is
//! parsed, keyed, told a category and held against the rules for personal data by the same code, and the answer is judged
//! as the provider's would be. An entry from another store has its keys already; today's rules are held against what is
//! known of it.
//!
//! # Invariants
//! - What a live request may not leave, this may not bring: nothing of a never-cache category (I5), no answer that is not
//!   whole (I2), no personal data that the category's policy keeps out.
//! - Whose answer it is must be said, unless the category's policy shares (I1).
//! - Purges are the caller's to hold against it, by the trail; [`Gateway::bring_in`] refuses what a purge has overtaken
//!   since its epoch (I6).
//!
//! # Decisions
//! The category that an operator names for an answer stands, also where it is looser than what the question would be told:
//! a request may only tighten, for whoever sends it did not write the policies; whoever imports could write them. Only
//! never stays never.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{Call, Gateway, category::Told, identity, identity::Question, lead, lead::Head, personal};
use crate::{
    cache::{Epoch, Hit},
    clock::Timestamp,
    embed::EmbedError,
    entry::{Entry, EntryId},
    freshness::{self, AHEAD, Verdict},
    key::Principal,
    outcome::{BypassReason, NotStored},
    policy::{Classification, Facts, PersonalData, Policy, Sharing, Tier, Write},
    privacy,
    store::{Durability, StoreError},
    wire::{
        self, Answer, Family, Recorder,
        directives::{Directives, SourceRef},
    },
};

/// Revision of what is searched for personal data again on each read.
const SEARCH_AGAIN: &str = "imported";

/// Whose an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Everybody's that the category's policy shares with.
    Nobody,
    /// Whoever asks with this key or token.
    Credential(String),
    /// Who holds keys of the gateway's own under this name.
    Holder(String),
    /// This principal.
    Principal(Principal),
}

/// An answer to the request that a client will send.
#[derive(Debug, Clone)]
pub struct Written {
    /// The request; it carries no credential.
    pub call: Call,
    /// Whose question it is.
    pub owner: Owner,
    /// The category that the operator names for it.
    pub category: Option<String>,
    /// The answer as the provider would send it.
    pub answer: Bytes,
    /// When it was true.
    pub generated_at: Timestamp,
    /// Labels beside those of the request.
    pub tags: Vec<String>,
    /// Documents that the answer is built from, beside those of the request.
    pub sources: Vec<SourceRef>,
}

/// Why something is not brought in.
#[derive(Debug, thiserror::Error)]
pub enum NotBrought {
    /// A request like this never asks the cache.
    #[error("a request like this is not answered from the cache ({})", .0.as_str())]
    Bypassed(BypassReason),
    /// A header of the request cannot be read.
    #[error("{0}")]
    BadHeader(String),
    /// No policy has this name.
    #[error("there is no category {0:?}; `semblance check` lists those of a directory")]
    NoCategory(String),
    /// Its category is never cached.
    #[error("it counts as {0}, which is never cached (ttl = \"0s\"); `semblance explain --ask` says why")]
    NeverCached(String),
    /// The policy keeps the personal data in it out.
    #[error("it holds personal data, which the policy of {0} keeps out of the cache")]
    PersonalData(String),
    /// The policy shares with nobody and no owner is named.
    #[error(
        "answers of category {0} are kept for each credential: say whose it is with credential_env, holder or principal, or share the category in its policy"
    )]
    NoOwner(String),
    /// The answer is for one credential alone and no owner is named.
    #[error(
        "such an answer is kept for one credential alone: say whose it is with credential_env, holder or principal"
    )]
    OneCredential,
    /// No header can carry the credential.
    #[error("the credential cannot be sent in a header")]
    NoCredential,
    /// The answer's id must be known to the provider.
    #[error("answers of this protocol carry ids that the provider must know; they can only be exported, not written")]
    Handles,
    /// The answer may not be stored.
    #[error("such an answer is not stored ({})", .0.as_str())]
    NotStored(NotStored),
    /// There is no vector, without which its category is not known.
    #[error("the question has no vector now ({0}); import it again later")]
    NoVector(&'static str),
    /// Its age is not known.
    #[error("generated_at lies in the future")]
    FromTheFuture,
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
}

impl NotBrought {
    /// Stable reason for logs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Bypassed(why) => why.as_str(),
            Self::BadHeader(_) => "bad-header",
            Self::NoCategory(_) => "category-unknown",
            Self::NeverCached(_) => "zero-ttl",
            Self::PersonalData(_) => "personal-data",
            Self::NoOwner(_) | Self::OneCredential => "no-owner",
            Self::NoCredential => "no-credential",
            Self::Handles => "handles",
            Self::NotStored(why) => why.as_str(),
            Self::NoVector(_) => "no-vector",
            Self::FromTheFuture => "from-the-future",
            Self::Store(error) => error.reason(),
        }
    }
}

/// What bringing an entry in came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// It is new.
    New,
    /// It took an older answer's place.
    Replaced,
    /// The same answer, or a newer one, is there.
    There,
    /// Nobody could be served it any more.
    Expired,
}

impl Gateway {
    /// The entry that `written` becomes, without an id.
    pub async fn written(&self, written: &Written) -> Result<Entry, NotBrought> {
        let question = self.question_of(written)?;
        let facts = question.facts(&written.call);
        if let Some(category) = self.keeps_out(&question, &facts) {
            return Err(NotBrought::PersonalData(category));
        }
        let told = self.tell_category(&question, &facts).await.map_err(refused)?;
        if told.embedder_down || !told.may_store {
            return Err(NotBrought::NoVector("embedder-down"));
        }
        let policies = self.parts.policies.current();
        let policy = match &written.category {
            Some(name) => Arc::clone(policies.get(name).ok_or_else(|| NotBrought::NoCategory(name.clone()))?),
            None => Arc::clone(&told.class.policy),
        };
        if policy.is_never_cached() || policy.reuse.write == Write::Around {
            return Err(NotBrought::NeverCached(policy.category.clone()));
        }
        let answer = self.judged(&question, &written.answer)?;
        self.assembled(written, &question, told, (&policy, answer))
    }

    fn question_of(&self, written: &Written) -> Result<Question, NotBrought> {
        let call = &written.call;
        let asked = Directives::from_headers(&call.headers).map_err(|e| NotBrought::BadHeader(e.to_string()))?;
        let family = call.family.unwrap_or(Family::Chat);
        let request = wire::parse(family, &call.path_and_query, &call.body, &self.parts.settings.chat);
        let request = request.map_err(NotBrought::Bypassed)?;
        let directives = asked.merged(request.body_directives.clone());
        if let Some(why) = request.bypass.or_else(|| identity::opted_out(&directives)) {
            return Err(NotBrought::Bypassed(why));
        }
        if request.handles.is_some() {
            return Err(NotBrought::Handles);
        }
        let principal = match &written.owner {
            Owner::Nobody => self.operator(),
            Owner::Holder(name) => self.holder(name),
            Owner::Principal(principal) => *principal,
            Owner::Credential(secret) => self.principal_of(secret, family).ok_or(NotBrought::NoCredential)?,
        };
        Ok(self.question(call, principal, request, directives))
    }

    /// The answer, if the provider's would be stored.
    fn judged(&self, question: &Question, body: &Bytes) -> Result<Answer, NotBrought> {
        let request = &question.request;
        let mut recorder = Recorder::new(request.family, self.parts.settings.record.clone(), request.wants_json);
        recorder.head(StatusCode::OK, &HeaderMap::new());
        recorder.finish_json(body, true).recorded().map_err(NotBrought::NotStored)
    }

    fn assembled(
        &self,
        written: &Written,
        question: &Question,
        told: Told,
        (policy, answer): (&Arc<Policy>, Answer),
    ) -> Result<Entry, NotBrought> {
        let Told { class, vector, revision, .. } = told;
        let kept_out = |policy: &Policy| {
            personal::exact_only(question, &answer, policy)
                .map_err(|_| NotBrought::PersonalData(policy.category.clone()))
        };
        let exact = kept_out(policy)? | kept_out(&class.policy)?;
        let apart = exact || answer.is_bound_to_account();
        let sharing = if apart { Sharing::Credential } else { policy.reuse.scope };
        if written.owner == Owner::Nobody && sharing == Sharing::Credential {
            return Err(match apart {
                true => NotBrought::OneCredential,
                false => NotBrought::NoOwner(policy.category.clone()),
            });
        }
        let keys = self.keys(question, sharing);
        let by_meaning =
            policy.reuse.tier == Tier::Semantic && lead::may_match(question) && !exact && !answer.calls_tools();
        let vector = vector.filter(|_| by_meaning);
        let cap = class.volatile.as_ref().map(|_| class.freshness.ttl);
        let ttl_limit = [question.directives.ttl, cap].into_iter().flatten().min();
        let mut sources = [&question.directives.sources[..], &written.sources].concat();
        sources.sort_unstable();
        sources.dedup();
        Ok(Entry {
            id: EntryId(0),
            scope: keys.scope,
            principal: Some(question.principal),
            partition: keys.partition,
            fingerprint: keys.fingerprint,
            category: policy.category.clone(),
            policy_revision: revision,
            query: question.query().filter(|_| vector.is_some()).map(str::to_owned),
            embedder: vector.as_ref().map(|_| self.parts.embedder.fingerprint().to_owned()),
            embedding: vector,
            answer,
            generated_at: written.generated_at,
            invalidated_at: None,
            ttl_limit_ms: ttl_limit.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            tags: identity::tags(&question.directives, &written.tags),
            sources,
        })
    }

    /// An entry of another store as today's rules let it in here, with a vector of today's embedder.
    pub async fn moved(&self, mut entry: Entry) -> Result<Entry, NotBrought> {
        let policies = self.parts.policies.current();
        let policy = policies.get(&entry.category).unwrap_or_else(|| policies.default_policy());
        if policy.is_never_cached() || policy.reuse.write == Write::Around {
            return Err(NotBrought::NeverCached(policy.category.clone()));
        }
        self.search(&mut entry, (policy, policies.revision()))?;
        if policy.reuse.tier == Tier::Exact {
            entry.query = None;
        }
        if entry.query.is_none() {
            // Without its text no guard could judge a neighbour.
            entry.embedding = None;
        }
        let Some(query) = entry.query.clone() else { return Ok(entry) };
        let facts = Facts { query: &query, ..Facts::default() };
        let never = |class: &Classification| Err(NotBrought::NeverCached(class.policy.category.clone()));
        let rules = policies.classify_by_rules(&facts);
        if rules.is_never_cached() {
            return never(&rules);
        }
        let todays = self.parts.embedder.fingerprint();
        if entry.embedding.is_none() || entry.embedder.as_deref() != Some(todays) {
            entry.embedding = match self.parts.embedder.embed(&query).await {
                Ok(vector) => Some(vector),
                Err(EmbedError::TooLong { .. }) => None,
                Err(error) => return Err(NotBrought::NoVector(error.reason())),
            };
            entry.embedder = entry.embedding.as_ref().map(|_| todays.to_owned());
        }
        // Whoever admitted it under these policies knew more of the request: its path, model and system prompt.
        if entry.policy_revision == policies.revision() {
            return Ok(entry);
        }
        let examples = self.examples_of(policies.revision()).ok_or(NotBrought::NoVector("warming"))?;
        let class = policies.classify(&facts, entry.embedding.as_ref(), Some(&examples));
        if class.is_never_cached() { never(&class) } else { Ok(entry) }
    }

    /// Holds today's rules for personal data against an entry that was admitted elsewhere, or under other policies.
    fn search(&self, entry: &mut Entry, (policy, revision): (&Policy, &str)) -> Result<(), NotBrought> {
        let asked = policy.privacy.of_question(entry.query.as_deref().and_then(privacy::worst));
        let calls = std::str::from_utf8(&entry.answer.body).ok().filter(|_| entry.answer.calls_tools());
        let said = privacy::worst(&entry.answer.text).into_iter().chain(calls.and_then(privacy::worst)).min();
        let said = match policy.privacy.of_answer(said) {
            // Whoever admitted it under these policies knew its system prompt, and what of it the answer repeats.
            PersonalData::Exact if entry.policy_revision == revision => PersonalData::Allow,
            said => said,
        };
        match asked.min(said) {
            PersonalData::Allow => Ok(()),
            PersonalData::KeepOut => Err(NotBrought::PersonalData(policy.category.clone())),
            PersonalData::Exact => {
                entry.query = None;
                SEARCH_AGAIN.clone_into(&mut entry.policy_revision);
                Ok(())
            }
        }
    }

    /// What bringing `entry` in would come to, and the live entry of its own question.
    pub async fn would_bring(&self, entry: &Entry) -> Result<(Brought, Option<Arc<Entry>>), NotBrought> {
        let now = self.parts.clock.now();
        if entry.generated_at > now.plus(AHEAD) {
            return Err(NotBrought::FromTheFuture);
        }
        let found = self.parts.cache.find(entry.fingerprint).await?;
        let own = found.filter(|Hit { via_alias, .. }| !via_alias).map(|hit| hit.entry);
        if own.as_ref().is_some_and(|own| own.generated_at >= entry.generated_at) {
            return Ok((Brought::There, own));
        }
        let policies = self.parts.policies.current();
        let policy = policies.get(&entry.category).unwrap_or_else(|| policies.default_policy());
        let facts = freshness::Facts {
            generated_at: entry.generated_at,
            invalidated_at: entry.invalidated_at,
            ttl_limit: entry.ttl_limit_ms.map(Duration::from_millis),
        };
        let verdict = freshness::assess(&facts, &policy.freshness, &freshness::Bounds::default(), now).verdict;
        Ok(match (verdict, own) {
            (Verdict::Expired, own) => (Brought::Expired, own),
            (_, Some(own)) => (Brought::Replaced, Some(own)),
            (_, None) => (Brought::New, None),
        })
    }

    /// Stores `entry`, of which every purge before `began` has been heeded: it is found at once.
    pub async fn bring_in(&self, entry: Entry, began: Epoch) -> Result<Arc<Entry>, NotBrought> {
        let entry = Entry { id: self.parts.cache.store().next_id(entry.fingerprint), ..entry };
        self.parts.cache.admit(entry, began, Durability::Behind).await.map_err(NotBrought::NotStored)
    }

    /// Whether `entry` is what an operator brought for everybody.
    pub fn is_nobodys(&self, entry: &Entry) -> bool {
        entry.principal == Some(self.operator())
    }
}

/// Why a question is sent on without the cache.
fn refused(head: Head) -> NotBrought {
    match head {
        Head::Bypass(BypassReason::ZeroTtl, category) => NotBrought::NeverCached(category),
        Head::Bypass(BypassReason::PersonalData, category) => NotBrought::PersonalData(category),
        Head::Bypass(BypassReason::Warming, _) => NotBrought::NoVector("warming"),
        Head::Bypass(why, _) => NotBrought::Bypassed(why),
        // Telling a category comes to nothing else.
        _ => NotBrought::Bypassed(BypassReason::Overloaded),
    }
}
