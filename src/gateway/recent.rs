//! The hits served lately, by request id: what a client's later word on one of them is about.
//!
//! Bounded, in memory only. Misses and everything of a never-cache category are not here, for they served no entry.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    entry::EntryId,
    key::{Fingerprint, Principal},
};

/// Hits remembered.
const REMEMBERED: usize = 4096;
/// Longer questions are remembered without their text.
const LONGEST_TEXT: usize = 2000;

/// A hit that was served.
#[derive(Debug, Clone)]
pub(super) struct Recalled {
    /// The entry.
    pub(super) entry: EntryId,
    /// Its own question.
    pub(super) cached: Fingerprint,
    /// The same as text, if it has one.
    pub(super) cached_text: Option<String>,
    /// The question asked.
    pub(super) asked: Fingerprint,
    /// The same as text, if it may be matched by meaning.
    pub(super) asked_text: Option<String>,
    /// The entry's category.
    pub(super) category: String,
    /// Whose questions the texts are.
    pub(super) of: Vec<Principal>,
}

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    by_request: HashMap<String, Recalled>,
    order: VecDeque<String>,
}

impl Recent {
    pub(super) fn note(&self, request: &str, mut hit: Recalled) {
        hit.asked_text = hit.asked_text.filter(|text| text.len() <= LONGEST_TEXT);
        let mut ring = self.ring();
        ring.by_request.insert(request.to_owned(), hit);
        ring.order.push_back(request.to_owned());
        if ring.order.len() > REMEMBERED
            && let Some(oldest) = ring.order.pop_front()
        {
            ring.by_request.remove(&oldest);
        }
    }

    pub(super) fn of_request(&self, request: &str) -> Option<Recalled> {
        self.ring().by_request.get(request).cloned()
    }

    pub(super) fn of_entry(&self, entry: EntryId) -> Vec<(String, Recalled)> {
        let ring = self.ring();
        let hits = ring.by_request.iter().filter(|(_, hit)| hit.entry == entry);
        hits.map(|(request, hit)| (request.clone(), hit.clone())).collect()
    }

    /// Drops the texts of an entry's questions.
    pub(super) fn forget_texts(&self, entry: EntryId) {
        for hit in self.ring().by_request.values_mut().filter(|hit| hit.entry == entry) {
            hit.cached_text = None;
            hit.asked_text = None;
        }
    }

    /// Drops every hit that holds a question of one of these.
    pub(super) fn forget(&self, principals: &[Principal]) {
        self.ring().by_request.retain(|_, hit| !hit.of.iter().any(|of| principals.contains(of)));
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_hits_are_forgotten_and_long_texts_never_kept() {
        let recent = Recent::default();
        let hit = |text: String| Recalled {
            entry: EntryId(7),
            cached: Fingerprint::from_bytes([1; 32]),
            cached_text: None,
            asked: Fingerprint::from_bytes([2; 32]),
            asked_text: Some(text),
            category: "faq".to_owned(),
            of: vec![Principal::from_bytes([3; 32])],
        };
        recent.note("first", hit("short".to_owned()));
        recent.note("second", hit("x".repeat(LONGEST_TEXT + 1)));
        assert_eq!(recent.of_request("first").unwrap().asked_text.as_deref(), Some("short"));
        assert_eq!(recent.of_request("second").unwrap().asked_text, None);
        recent.forget_texts(EntryId(7));
        assert_eq!(recent.of_request("first").unwrap().asked_text, None);
        (0..REMEMBERED - 1).for_each(|at| recent.note(&format!("r{at}"), hit(String::new())));
        assert!(recent.of_request("first").is_none() && recent.of_request("second").is_some());
        assert_eq!(recent.of_entry(EntryId(7)).len(), REMEMBERED);
    }
}
