//! Texts as a store holds them: as they are, or sealed with XChaCha20-Poly1305 under the operator's key.
//!
//! Invariants: a store is sealed from its first byte or never, and says which; every value
//! has a random nonce of its own, and the row and column it stands in as associated data, so that a value that is moved
//! to another row does not open; the key itself is nowhere in it. The cipher's key is made from the operator's and
//! a salt of the store, so that no value opens in another one either.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

use crate::store::{StoreError, encryption::EncryptionKey};

const NONCE: usize = 24;
const SALT: usize = 32;
/// What opens under the right key only.
const PROOF: &[u8] = b"semblance";
pub(super) const PROOF_ROW: i64 = 1;

/// What a sealed value is; part of what it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    Proof = 0,
    Query = 1,
    Answer = 2,
    Vector = 3,
    Detail = 4,
    BanText = 5,
    BanVector = 6,
    Change = 7,
    Secret = 8,
}

/// Seals and opens the texts of one store.
#[derive(Clone)]
pub(super) enum Vault {
    /// Texts stand as they are.
    Plain,
    /// Texts stand sealed.
    Sealed(XChaCha20Poly1305),
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_sealed() { "Sealed(..)" } else { "Plain" })
    }
}

impl Vault {
    /// The salt and the proof of what is sealed from now on under `key`.
    pub(super) fn found(key: &EncryptionKey) -> Result<Sealing, StoreError> {
        let mut salt = [0; SALT];
        getrandom::fill(&mut salt).map_err(StoreError::Randomness)?;
        let proof = Self::under(key, &salt).seal(Part::Proof, PROOF_ROW, PROOF.to_vec())?;
        Ok((salt.to_vec(), proof))
    }

    /// The vault of what holds `sealing`, or is not sealed.
    ///
    /// # Errors
    /// [`StoreError::KeyMissing`], [`StoreError::KeyNotWanted`] and [`StoreError::WrongKey`]: nothing is served from, or
    /// added to, a place whose texts cannot be read or would stand beside sealed ones.
    pub(super) fn unlock(
        sealing: Option<Sealing>,
        key: Option<&EncryptionKey>,
        place: impl FnOnce() -> String,
    ) -> Result<Self, StoreError> {
        match (sealing, key) {
            (None, None) => Ok(Self::Plain),
            (None, Some(_)) => Err(StoreError::KeyNotWanted { path: place() }),
            (Some(_), None) => Err(StoreError::KeyMissing { path: place() }),
            (Some((salt, proof)), Some(key)) => {
                let vault = Self::under(key, &salt);
                if vault.open(Part::Proof, PROOF_ROW, proof).as_deref() == Some(PROOF) {
                    Ok(vault)
                } else {
                    Err(StoreError::WrongKey { path: place() })
                }
            }
        }
    }

    fn under(key: &EncryptionKey, salt: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("semblance 2026-11 texts at rest");
        hasher.update(key.expose()).update(salt);
        Self::Sealed(XChaCha20Poly1305::new(&(*hasher.finalize().as_bytes()).into()))
    }

    pub(super) const fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    /// `plain` as row `row` holds it.
    pub(super) fn seal(&self, part: Part, row: i64, plain: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let Self::Sealed(cipher) = self else { return Ok(plain) };
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(StoreError::Randomness)?;
        let place = place(part, row);
        let sealed = cipher.encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: &place });
        let mut stored = nonce.to_vec();
        // It only fails for texts of more than 256 GiB.
        stored.extend(sealed.map_err(|_| StoreError::NoSpace)?);
        Ok(stored)
    }

    /// The inverse; `None` when it is not what was sealed for this place under this key.
    pub(super) fn open(&self, part: Part, row: i64, stored: Vec<u8>) -> Option<Vec<u8>> {
        let Self::Sealed(cipher) = self else { return Some(stored) };
        let (nonce, sealed) = stored.split_first_chunk::<NONCE>()?;
        let place = place(part, row);
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &place }).ok()
    }

    /// As [`Vault::seal`], for a column of text.
    pub(super) fn seal_text(&self, part: Part, row: i64, plain: String) -> Result<String, StoreError> {
        if !self.is_sealed() {
            return Ok(plain);
        }
        Ok(STANDARD.encode(self.seal(part, row, plain.into_bytes())?))
    }

    /// The inverse; `None` as for [`Vault::open`].
    pub(super) fn open_text(&self, part: Part, row: i64, stored: String) -> Option<String> {
        if !self.is_sealed() {
            return Some(stored);
        }
        String::from_utf8(self.open(part, row, STANDARD.decode(stored).ok()?)?).ok()
    }
}

/// Salt and proof of a sealed place.
pub(super) type Sealing = (Vec<u8>, Vec<u8>);

fn place(part: Part, row: i64) -> [u8; 9] {
    let mut place = [part as u8; 9];
    place[1..].copy_from_slice(&row.to_le_bytes());
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_own_place_under_its_own_key_only() {
        let vault = |key, salt| Vault::under(&EncryptionKey::from_bytes([key; 32]), &[salt; SALT]);
        let sealed = vault(1, 1).seal(Part::Answer, 7, b"use vinegar".to_vec()).unwrap();
        let again = vault(1, 1).seal(Part::Answer, 7, b"use vinegar".to_vec()).unwrap();
        assert_ne!(sealed, again, "a nonce is never used twice");
        assert_eq!(vault(1, 1).open(Part::Answer, 7, sealed.clone()).unwrap(), b"use vinegar");
        for (vault, part, row) in [
            (vault(2, 1), Part::Answer, 7),
            (vault(1, 2), Part::Answer, 7),
            (vault(1, 1), Part::Query, 7),
            (vault(1, 1), Part::Answer, 8),
        ] {
            assert_eq!(vault.open(part, row, sealed.clone()), None);
        }
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert_eq!(vault(1, 1).open(Part::Answer, 7, bent), None, "{at}");
            assert_eq!(vault(1, 1).open(Part::Answer, 7, sealed[..at].to_vec()), None, "{at}");
        }
    }
}
