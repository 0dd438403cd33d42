//! The gateway's own keys: names, rights, rates and ends of `sk-semblance-...`, so that apps need no key of a provider.
//!
//! [`mod@file`] keeps them, [`presented`] finds them in a request, a [`Keyring`] says who holds one. The holder's name is the
//! principal: two names never share an answer, two keys of one name do, so that a key can be replaced under its name.
//!
//! # Invariants
//! - The text of a key is shown once, when it is made. What is kept is its HMAC under the node's principal key, and that
//!   is compared in constant time.
//! - Fail closed: a key that is unknown, revoked or past its end, or a file of keys that cannot be read, refuses the request.
//! - An edit of the file holds from the next request on.

pub mod file;
pub mod presented;
mod rate;
mod secret;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use rate::Rate;
pub use secret::principal_key;

use self::rate::Bucket;
use crate::{clock::Timestamp, key::PrincipalKey};

/// What every key of a gateway begins with, and no provider's key does.
pub const PREFIX: &str = "sk-semblance-";
/// Longest name of a holder.
const LONGEST_NAME: usize = 64;

/// What the holder of a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Be served from the cache.
    Read,
    /// Have its answers stored.
    Write,
    /// Have them stored where others are served from, if the policy lets it.
    Shared,
}

impl Right {
    /// Every right with its word.
    pub const ALL: [(&str, Self); 3] = [("read", Self::Read), ("write", Self::Write), ("shared", Self::Shared)];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Shared => "shared",
        }
    }
}

/// The MAC of a key's text, in hex where it is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    fn of(text: &str, secret: &PrincipalKey) -> Self {
        Self(secret.mac("own key", text.as_bytes()))
    }

    /// Takes the same time whatever the two are.
    fn matches(self, other: Self) -> bool {
        // blake3's `Hash` compares in constant time; what it holds is not its matter.
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

impl TryFrom<String> for KeyHash {
    type Error = blake3::HexError;

    fn try_from(hex: String) -> Result<Self, Self::Error> {
        blake3::Hash::from_hex(hex).map(|hash| Self(*hash.as_bytes()))
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        blake3::Hash::from_bytes(hash.0).to_hex().to_string()
    }
}

/// What is kept of a key. A field that this version does not know may be a restriction, so there may be none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Who holds it: the principal.
    pub name: String,
    /// The MAC of its text.
    pub hash: KeyHash,
    /// The last characters of its text, to tell two of one name apart.
    pub ends_in: String,
    /// What its holder may do.
    pub scopes: Vec<Right>,
    /// How often it may be used.
    pub rate: Option<Rate>,
    /// When it was made, in Unix milliseconds.
    pub created_at_ms: i64,
    /// From when on it is refused, in Unix milliseconds.
    pub expires_at_ms: Option<i64>,
    /// When it was revoked, in Unix milliseconds.
    pub revoked_at_ms: Option<i64>,
}

impl KeyRecord {
    /// Whether it is good at `now`, and why not.
    pub fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.revoked_at_ms.is_some() {
            Err(Refusal::Revoked)
        } else if self.expires_at_ms.is_some_and(|end| end <= now.as_millis()) {
            Err(Refusal::Expired)
        } else {
            Ok(())
        }
    }
}

/// Whether `name` can be a holder's.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// Who holds a key that was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub name: String,
    /// What the key gives it.
    pub rights: Vec<Right>,
}

impl Holder {
    /// Whether it has this right.
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}

/// Why a key is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such key.
    #[error("this gateway knows no such key; `semblance keys list` names those it knows")]
    Unknown,
    /// It was revoked.
    #[error("this key was revoked; ask for another (`semblance keys add`)")]
    Revoked,
    /// Its time is over.
    #[error("this key has expired; ask for another (`semblance keys add`)")]
    Expired,
    /// Two different ones in one request.
    #[error("the request carries two different keys of this gateway; send one")]
    Several,
    /// None, and the gateway is for holders only.
    #[error("this gateway asks for a key of its own, sk-semblance-...; send one where your SDK sends its API key")]
    Missing,
    /// Used more often than it may be.
    #[error("this key is used more often than it may be; try again later")]
    TooOften {
        /// When it may be used again.
        after: Duration,
    },
    /// The file of keys cannot be read.
    #[error("this gateway cannot read its keys; try again later")]
    Unreadable,
}

impl Refusal {
    /// Stable reason for clients, logs and metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_key",
            Self::Revoked => "revoked_key",
            Self::Expired => "expired_key",
            Self::Several => "several_keys",
            Self::Missing => "key_required",
            Self::TooOften { .. } => "key_rate_limited",
            Self::Unreadable => "keys_unreadable",
        }
    }
}

/// The keys of a running gateway, as the file has them at every moment.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    secret: PrincipalKey,
    read: Mutex<Option<(file::Stamp, Arc<Vec<KeyRecord>>)>>,
    /// How much of its rate each key has used.
    used: Mutex<HashMap<KeyHash, Bucket>>,
}

impl Keyring {
    /// The keys kept in `dir`, made under `secret`. Reads nothing yet.
    pub fn new(dir: &Path, secret: PrincipalKey) -> Self {
        Self { path: file::path(dir), secret, read: Mutex::default(), used: Mutex::default() }
    }

    /// Who holds the key with this text at `now`; uses up a part of its rate.
    pub fn holder(&self, text: &str, now: Timestamp) -> Result<Holder, Refusal> {
        let keys = self.keys().map_err(|error| {
            tracing::error!(%error, "the gateway's keys cannot be read");
            Refusal::Unreadable
        })?;
        let hash = KeyHash::of(text, &self.secret);
        let found = find(&keys, hash).ok_or(Refusal::Unknown)?;
        found.check(now)?;
        if let Some(rate) = &found.rate {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.entry(hash).or_default().take(*rate, now).map_err(|after| Refusal::TooOften { after })?;
        }
        Ok(Holder { name: found.name.clone(), rights: found.scopes.clone() })
    }

    /// The name that a key with this text has or had, whatever it may still do.
    pub fn name_of(&self, text: &str) -> Option<String> {
        let keys = self.keys().ok()?;
        find(&keys, KeyHash::of(text, &self.secret)).map(|key| key.name.clone())
    }

    /// Today's keys: read anew only when the file is another one than before.
    fn keys(&self) -> Result<Arc<Vec<KeyRecord>>, file::KeysError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = file::Stamp::of(&self.path)?;
        if let Some((_, keys)) = read.as_ref().filter(|(known, _)| *known == stamp) {
            return Ok(Arc::clone(keys));
        }
        *read = None;
        let (stamp, keys) = file::read(&self.path)?;
        let keys = Arc::new(keys);
        *read = Some((stamp, Arc::clone(&keys)));
        Ok(keys)
    }
}

/// Looks at all of them, so that the time says nothing of where one stands.
fn find(keys: &[KeyRecord], hash: KeyHash) -> Option<&KeyRecord> {
    keys.iter().fold(None, |found, key| if key.hash.matches(hash) { Some(key) } else { found })
}

#[cfg(test)]
mod tests;
