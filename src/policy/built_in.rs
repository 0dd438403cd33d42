//! Categories that no wording decides, with what holds for them while no file says otherwise.

use std::time::Duration;

use super::{Harm, MIN_SIMILARITY, PersonalData, Policy, Privacy, Reuse, Sharing, Tier, Write};
use crate::freshness::Freshness;

/// Category of embeddings: a file of this name replaces the built-in policy, and needs no `[match]`.
pub const EMBEDDINGS: &str = "embeddings";

/// A vector follows from text and model alone, so it does not age; a month is a bound on what is kept, no more.
const EMBEDDINGS_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// What holds for embeddings unless a file says otherwise.
pub(super) fn embeddings() -> Policy {
    Policy {
        category: EMBEDDINGS.to_owned(),
        summary: "Vectors of single texts, found by the same text only.".to_owned(),
        owner: String::new(),
        freshness: Freshness {
            ttl: EMBEDDINGS_TTL,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        },
        reuse: Reuse {
            tier: Tier::Exact,
            harm: Harm::Annoying,
            max_wrong_hits: 0.0,
            scope: Sharing::Credential,
            writers: None,
            write: Write::Behind,
            audit: 0.0,
            cost_of_wrong_usd: None,
        },
        // An answer is a vector: there is no text in it.
        privacy: Privacy { questions: PersonalData::Exact, answers: PersonalData::Allow, traffic_text: false },
        min_similarity: MIN_SIMILARITY,
        revision: "built-in".to_owned(),
    }
}
