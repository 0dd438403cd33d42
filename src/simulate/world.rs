//! One simulated cache under one policy set: what is stored, what is on its way, and each decision.
//!
//! It goes the request path of `gateway::lookup` and `gateway::lead` with their pieces; what those do with a store, a
//! queue and a clock is a map, a heap and a number here.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    report::Decided,
    request::{Event, Fixed, Traffic},
};
use crate::{
    clock::Timestamp,
    entry::EntryId,
    freshness::{self, Bounds, Facts as Aged, Freshness, Verdict},
    index::partitions::{Partitions, Settings},
    key::Partition,
    matcher::{Asked, Judgement, Matcher, Terms, calibration::PSame, guard},
    outcome::{BypassReason, HitKind, MissReason, Outcome, StaleWhy},
    policy::{Classification, Examples, Facts, PersonalData, Policy, PolicySet, Sharing, Tier, Write},
    privacy,
    similarity::{Embedding, Similarity},
};

/// A refresh of the same question is not begun again within this time, as in the gateway.
const REFRESH_AGAIN_MS: i64 = 30_000;

/// What both worlds use.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    pub(super) traffic: &'a Traffic,
    /// Of each distinct text.
    pub(super) vectors: &'a [Option<Embedding>],
    pub(super) matcher: &'a Arc<Matcher>,
    /// What the guard said of a pair under terms.
    pub(super) screened: HashMap<Weighing, Judgement>,
    /// What was decided about it: p, or why it was refused.
    pub(super) verdicts: HashMap<Weighing, Result<f32, MissReason>>,
    /// Pairs whose p is known.
    pub(super) verified: HashSet<(u32, u32)>,
}

/// Cached text, asked text, and the terms: budget of wrong hits and cost of one.
type Weighing = (u32, u32, [u64; 2]);

/// Where an entry is found: who may see it, what shapes its answer, and the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    /// `None` in the scope that all share.
    principal: Option<u32>,
    partition: u32,
    identity: u32,
}

#[derive(Debug)]
struct Stored {
    place: Place,
    text: Option<u32>,
    policy: Arc<Policy>,
    generated_at: i64,
    ttl_limit: Option<Duration>,
    /// Other wordings that lead here.
    aliases: Vec<Place>,
    /// Its text may be matched by meaning.
    by_meaning: bool,
}

/// An answer on its way.
#[derive(Debug)]
struct Coming {
    flight: Place,
    stored: Option<Stored>,
}

/// What is told of a text under this policy set.
#[derive(Debug, Clone)]
struct Told {
    class: Classification,
    /// Lifetimes that rules alone give it.
    by_rules: Option<Freshness>,
    treatment: PersonalData,
}

/// One cache.
pub(super) struct World<'a> {
    policies: &'a PolicySet,
    examples: &'a Examples,
    sharings: Vec<Sharing>,
    /// By text, named category and whether it holds personal data.
    told: HashMap<(Option<u32>, Option<u32>, bool), Told>,
    entries: HashMap<u64, Stored>,
    exact: HashMap<Place, u64>,
    /// An accepted wording, the p it was accepted with.
    aliases: HashMap<Place, (u64, f32)>,
    index: Partitions,
    flights: HashMap<Place, i64>,
    coming: BinaryHeap<Reverse<(i64, u64)>>,
    on_the_way: HashMap<u64, Coming>,
    refreshed: HashMap<Place, i64>,
    next_id: u64,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World({} entries)", self.entries.len())
    }
}

impl<'a> World<'a> {
    pub(super) fn new(policies: &'a PolicySet, examples: &'a Examples) -> Self {
        Self {
            policies,
            examples,
            sharings: policies.sharings(),
            told: HashMap::new(),
            entries: HashMap::new(),
            exact: HashMap::new(),
            aliases: HashMap::new(),
            index: Partitions::new(Settings::default()),
            flights: HashMap::new(),
            coming: BinaryHeap::new(),
            on_the_way: HashMap::new(),
            refreshed: HashMap::new(),
            next_id: 1,
        }
    }

    /// What becomes of a request, in the order of time.
    pub(super) async fn decide(&mut self, event: &Event, shared: &mut Shared<'_>) -> Decided {
        self.land(event.at_ms, shared);
        let told = self.tell(event, shared);
        let decided = |outcome, waited_ms| Decided::new(outcome, &told.class.policy.category, waited_ms);
        if event.fixed == Fixed::Bypass {
            return decided(Outcome::Bypass(BypassReason::Passthrough), event.answer_ms);
        }
        if told.treatment == PersonalData::KeepOut {
            return decided(Outcome::Bypass(BypassReason::PersonalData), event.answer_ms);
        }
        let mut reason = MissReason::Refresh;
        if event.fixed == Fixed::No {
            match self.look_up_exact(event, &told) {
                Ok(served) => return self.serve(event, &told, served),
                Err(why) => reason = why,
            }
        }
        if told.class.is_never_cached() {
            return decided(Outcome::Bypass(BypassReason::ZeroTtl), event.answer_ms);
        }
        let flight = place(event, Sharing::Credential);
        if let Some(ready_at) = self.flights.get(&flight) {
            let left = u32::try_from(ready_at - event.at_ms).unwrap_or(0);
            return decided(Outcome::Collapsed(reason), left);
        }
        if event.fixed == Fixed::No {
            match self.look_up_semantic(event, &told, shared).await {
                Ok(served) => return self.serve(event, &told, served),
                Err(why) if reason == MissReason::Empty => reason = why,
                Err(_) => {}
            }
        }
        self.take_off(event, &told);
        decided(Outcome::Miss(reason), event.answer_ms)
    }

    /// What has arrived by `now` is stored.
    fn land(&mut self, now: i64, shared: &Shared<'_>) {
        while let Some(Reverse((ready_at, id))) = self.coming.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.coming.pop();
            let Some(Coming { flight, stored }) = self.on_the_way.remove(&id) else { continue };
            if self.flights.get(&flight).is_some_and(|until| *until <= ready_at) {
                self.flights.remove(&flight);
            }
            if let Some(stored) = stored {
                self.admit(id, stored, shared);
            }
        }
    }

    fn admit(&mut self, id: u64, stored: Stored, shared: &Shared<'_>) {
        if let Some(old) = self.exact.insert(stored.place, id) {
            self.forget(old);
        }
        self.aliases.remove(&stored.place);
        let vector = stored.text.filter(|_| stored.by_meaning).and_then(|text| shared.vector(text));
        if let Some(vector) = vector {
            self.index.insert(stored.place.partition_key(), EntryId(id), vector);
        }
        self.entries.insert(id, stored);
    }

    /// Takes out the entry at this place when nothing can be served from it any more, as the gateway's reaping does. True
    /// when it did.
    fn reap(&mut self, place: &Place, now: i64) -> bool {
        let Some(id) = self.exact.get(place).copied() else { return false };
        let gone = self.entries.get(&id).is_none_or(|entry| {
            let lifetimes = entry.policy.freshness;
            let longest = lifetimes.ttl.saturating_add(lifetimes.longest_stale());
            Timestamp::from_millis(now).since(Timestamp::from_millis(entry.generated_at)) > longest
        });
        if gone {
            self.exact.remove(place);
            self.forget(id);
        }
        gone
    }

    fn forget(&mut self, id: u64) {
        self.index.remove(EntryId(id));
        for alias in self.entries.remove(&id).into_iter().flat_map(|stored| stored.aliases) {
            if self.aliases.get(&alias).is_some_and(|(to, _)| *to == id) {
                self.aliases.remove(&alias);
            }
        }
    }

    fn tell(&mut self, event: &Event, shared: &Shared<'_>) -> Told {
        // What the gateway found by itself is found again, perhaps otherwise under other rules; without the words there is
        // nothing to find it by.
        let named = event.category.filter(|_| !event.recorded || event.text.is_none());
        let key = (event.text, named, event.personal);
        if let Some(told) = self.told.get(&key) {
            return told.clone();
        }
        let query = event.text.map_or("", |text| shared.traffic.text(text));
        let header_category = named.map(|name| shared.traffic.name(name));
        let facts = Facts { query, header_category, ..Facts::default() };
        let vector = event.text.and_then(|text| shared.vector(text));
        let rules = self.policies.classify_by_rules(&facts);
        let mut class = self.policies.classify(&facts, vector, Some(self.examples));
        if event.text.is_none()
            && let Some(policy) = header_category.and_then(|name| self.policies.get(name))
        {
            // Only its category is known of it.
            class.policy = Arc::clone(policy);
            class.freshness = policy.freshness;
        }
        let privacy = class.policy.privacy;
        let told = Told {
            by_rules: (rules.decided || rules.volatile.is_some()).then_some(rules.freshness),
            // Of what kind it was, a record does not say.
            treatment: if event.personal { privacy.questions } else { privacy.of_question(privacy::worst(query)) },
            class,
        };
        self.told.insert(key, told.clone());
        told
    }

    /// By fingerprint, in every scope that some policy allows.
    fn look_up_exact(&mut self, event: &Event, told: &Told) -> Result<Served, MissReason> {
        let mut miss = MissReason::Empty;
        for sharing in &self.sharings.clone() {
            let place = place(event, *sharing);
            if self.reap(&place, event.at_ms) {
                miss = MissReason::Expired;
            }
            let alias = || self.aliases.get(&place).map(|(id, p)| (*id, HitKind::Alias, *p));
            let found = self.exact.get(&place).map(|id| (*id, HitKind::Exact, 1.0)).or_else(alias);
            let Some((id, kind, p)) = found else { continue };
            match self.usable(event, id, (kind, *sharing), told.by_rules) {
                Ok(age) => return Ok(Served { kind, p, age }),
                Err(why) => miss = why,
            }
        }
        Err(miss)
    }

    /// By meaning, where the category lets others be served from; closest first, an accepted wording is remembered.
    async fn look_up_semantic(
        &mut self,
        event: &Event,
        told: &Told,
        shared: &mut Shared<'_>,
    ) -> Result<Served, MissReason> {
        let class = &told.class;
        if !may_match(told, event, shared) {
            return Err(match told.treatment {
                PersonalData::Allow => MissReason::ExactOnly,
                PersonalData::Exact | PersonalData::KeepOut => MissReason::PersonalData,
            });
        }
        let Some((text, vector)) = event.text.and_then(|text| Some((text, shared.vector(text)?))) else {
            return Err(MissReason::ExactOnly);
        };
        let settings = *shared.matcher.settings();
        let place = place(event, class.policy.reuse.scope);
        let mut refusal = MissReason::Empty;
        let mut verified = 0;
        for candidate in self.index.search(place.partition_key(), vector, settings.candidates, settings.floor) {
            let Some(entry) = self.entries.get(&candidate.id.0) else { continue };
            let Some(cached) = entry.text else { continue };
            let parents = entry.policy.freshness;
            let terms = Terms::of(&class.policy, None).tightened(&entry.policy);
            let kind = HitKind::Semantic(candidate.similarity);
            let weighing = weighing(cached, text, &terms);
            // Cheap checks first, the verifier last, as in the gateway.
            let screened = shared.screen(weighing, candidate.similarity, &terms);
            let usable = self.usable(event, candidate.id.0, (kind, class.policy.reuse.scope), Some(class.freshness));
            let judged = match (screened, usable) {
                (Some(why), _) | (None, Err(why)) => Err(why),
                (None, Ok(age)) => {
                    let judged = shared.verify(weighing).await;
                    verified += usize::from(shared.verified.contains(&(cached, text)));
                    judged.map(|p| (p, age))
                }
            };
            let refused = match judged {
                Ok((p, age)) => {
                    if parents.tightened(class.freshness) == parents
                        && let Some(entry) = self.entries.get_mut(&candidate.id.0)
                    {
                        entry.aliases.push(place);
                        self.aliases.insert(place, (candidate.id.0, p));
                    }
                    return Ok(Served { kind, p, age });
                }
                Err(why) => why,
            };
            refusal = if refusal == MissReason::Empty { refused } else { refusal };
            if verified >= settings.verified {
                break;
            }
        }
        Err(refusal)
    }

    /// Pairs that these requests will have to be verified for, as far as what is stored now tells.
    pub(super) fn foresee(&mut self, events: &[Event], shared: &mut Shared<'_>) -> HashSet<(u32, u32)> {
        let settings = *shared.matcher.settings();
        let mut pairs = HashSet::new();
        for event in events.iter().filter(|event| event.fixed == Fixed::No) {
            let told = self.tell(event, shared);
            let class = &told.class;
            let place = place(event, class.policy.reuse.scope);
            let known = self.exact.contains_key(&place) || self.aliases.contains_key(&place);
            let Some((text, vector)) = event.text.and_then(|text| Some((text, shared.vector(text)?))) else { continue };
            if known || class.is_never_cached() || !may_match(&told, event, shared) {
                continue;
            }
            let candidates = self.index.search(place.partition_key(), vector, settings.candidates, settings.floor);
            let mut wanted = 0;
            for candidate in candidates {
                let Some(entry) = self.entries.get(&candidate.id.0) else { continue };
                let Some(cached) = entry.text else { continue };
                let terms = Terms::of(&class.policy, None).tightened(&entry.policy);
                let kind = HitKind::Semantic(candidate.similarity);
                let scope = class.policy.reuse.scope;
                let usable = self.usable(event, candidate.id.0, (kind, scope), Some(class.freshness)).is_ok();
                if usable && shared.screen(weighing(cached, text, &terms), candidate.similarity, &terms).is_none() {
                    if !shared.verified.contains(&(cached, text)) {
                        pairs.insert((cached, text));
                    }
                    wanted += 1;
                }
                if wanted >= settings.verified {
                    break;
                }
            }
        }
        pairs
    }

    /// Whether an entry may be served to this question now, and its age.
    fn usable(
        &self,
        event: &Event,
        id: u64,
        (kind, sharing): (HitKind, Sharing),
        own: Option<Freshness>,
    ) -> Result<Age, MissReason> {
        let Some(entry) = self.entries.get(&id) else { return Err(MissReason::Empty) };
        let policy = &entry.policy;
        let lifetimes = own.map_or(policy.freshness, |own| policy.freshness.tightened(own));
        if lifetimes.is_never() {
            return Err(MissReason::Expired);
        }
        if policy.reuse.scope != sharing && sharing != Sharing::Credential {
            return Err(MissReason::Empty);
        }
        if kind != HitKind::Exact && policy.reuse.tier == Tier::Exact {
            return Err(MissReason::ExactOnly);
        }
        let facts = Aged {
            generated_at: Timestamp::from_millis(entry.generated_at),
            invalidated_at: None,
            ttl_limit: entry.ttl_limit,
        };
        let now = Timestamp::from_millis(event.at_ms);
        let assessed = freshness::assess(&facts, &lifetimes, &Bounds::default(), now);
        match assessed.verdict {
            Verdict::Fresh { .. } => Ok(Age { age: assessed.age, stale: false }),
            Verdict::StaleWhileRevalidate { .. } => Ok(Age { age: assessed.age, stale: true }),
            Verdict::StaleAsked { .. } | Verdict::StaleIfErrorOnly { .. } | Verdict::Expired => {
                Err(MissReason::Expired)
            }
        }
    }

    fn serve(&mut self, event: &Event, told: &Told, served: Served) -> Decided {
        let Served { kind, p, age: Age { age, stale } } = served;
        let outcome = if stale { Outcome::StaleHit(kind, StaleWhy::WhileRevalidate) } else { Outcome::Hit(kind) };
        let flight = place(event, Sharing::Credential);
        let again = self.refreshed.get(&flight).is_none_or(|until| *until <= event.at_ms);
        let refreshes = stale && again && !self.flights.contains_key(&flight);
        if refreshes {
            self.refreshed.insert(flight, event.at_ms + REFRESH_AGAIN_MS);
            self.take_off(event, told);
        }
        let mut decided = Decided::new(outcome, &told.class.policy.category, 0);
        decided.age_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        decided.refreshes = refreshes;
        decided.wrong = if kind == HitKind::Exact { 0.0 } else { 1.0 - f64::from(p) };
        decided
    }

    /// The model is asked; its answer comes after the time that it took in the traffic.
    fn take_off(&mut self, event: &Event, told: &Told) {
        let policy = &told.class.policy;
        let ready_at = event.at_ms + i64::from(event.answer_ms);
        let exact = told.treatment == PersonalData::Exact;
        let sharing = if exact { Sharing::Credential } else { policy.reuse.scope };
        let keeps = event.storable && policy.reuse.write != Write::Around && !told.class.is_never_cached();
        let stored = keeps.then(|| Stored {
            place: place(event, sharing),
            text: event.text,
            policy: Arc::clone(policy),
            generated_at: event.at_ms,
            ttl_limit: told.class.volatile.as_ref().map(|_| told.class.freshness.ttl),
            aliases: Vec::new(),
            by_meaning: policy.reuse.tier == Tier::Semantic && !exact,
        });
        let (id, flight) = (self.next_id, place(event, Sharing::Credential));
        self.next_id += 1;
        self.flights.insert(flight, ready_at);
        self.coming.push(Reverse((ready_at, id)));
        self.on_the_way.insert(id, Coming { flight, stored });
    }
}

/// An entry about to be served.
#[derive(Debug, Clone, Copy)]
struct Served {
    kind: HitKind,
    p: f32,
    age: Age,
}

#[derive(Debug, Clone, Copy)]
struct Age {
    age: Duration,
    stale: bool,
}

fn may_match(told: &Told, event: &Event, shared: &Shared<'_>) -> bool {
    told.class.policy.reuse.tier == Tier::Semantic
        && told.treatment == PersonalData::Allow
        && event.text.is_some_and(|text| !guard::leans_on_context(shared.traffic.text(text)))
}

const fn place(event: &Event, sharing: Sharing) -> Place {
    let principal = match sharing {
        Sharing::Credential => Some(event.principal),
        Sharing::Tenant | Sharing::Shared => None,
    };
    Place { principal, partition: event.partition, identity: event.identity }
}

impl Place {
    /// Where neighbours are searched.
    fn partition_key(&self) -> Partition {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&self.partition.to_le_bytes());
        key[4..8].copy_from_slice(&self.principal.unwrap_or(0).to_le_bytes());
        key[8] = u8::from(self.principal.is_some());
        Partition::from_bytes(key)
    }
}

impl<'a> Shared<'a> {
    fn vector(&self, text: u32) -> Option<&'a Embedding> {
        self.vectors.get(text as usize)?.as_ref()
    }

    /// Why the guard or the similarity refuses the pair, if they do.
    fn screen(&mut self, weighing: Weighing, similarity: Similarity, terms: &Terms) -> Option<MissReason> {
        let (cached, asked, _) = weighing;
        let screened = self.screened.entry(weighing).or_insert_with(|| {
            self.matcher.screen(self.traffic.text(cached), &Asked::new(self.traffic.text(asked)), similarity, terms)
        });
        screened.refused
    }

    /// p of a pair that passed, or why it is refused.
    async fn verify(&mut self, weighing: Weighing) -> Result<f32, MissReason> {
        if let Some(verdict) = self.verdicts.get(&weighing) {
            return *verdict;
        }
        let (cached, asked, _) = weighing;
        let Some(screened) = self.screened.get(&weighing).cloned() else { return Err(MissReason::VerifierDown) };
        let similarity = screened.similarity.get();
        let words = Asked::new(self.traffic.text(asked));
        let judgement = self.matcher.verify(screened, self.traffic.text(cached), &words, None).await;
        let verdict = judgement.refused.map_or(Ok(judgement.p_same.map_or(similarity, PSame::get)), Err);
        self.verified.insert((cached, asked));
        self.verdicts.insert(weighing, verdict);
        verdict
    }
}

fn weighing(cached: u32, asked: u32, terms: &Terms) -> Weighing {
    (cached, asked, [terms.max_wrong_hits.to_bits(), terms.cost_of_wrong_usd.unwrap_or(0.0).to_bits()])
}
