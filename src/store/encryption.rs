//! The key under which texts are kept on disk, as an operator gives it.

use std::fmt;

use base64::{Engine, engine::general_purpose};

/// Bytes of a key.
const LENGTH: usize = 32;

/// 32 secret bytes. Whoever has them and the database can read every question and answer; without them nobody can.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey([u8; LENGTH]);

/// The text was no key. It is not shown: it may be a key with a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a key: write 32 bytes as base64 or as 64 hex digits, such as `openssl rand -base64 32` prints")]
pub struct NotAKey;

impl EncryptionKey {
    /// Wraps a key's bytes.
    pub const fn from_bytes(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hex digits, or base64 in either alphabet, padded or not.
    ///
    /// # Errors
    /// [`NotAKey`] for everything else, an empty text included.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let text = text.trim();
        if let Ok(hash) = blake3::Hash::from_hex(text) {
            return Ok(Self(*hash.as_bytes()));
        }
        let bare = text.trim_end_matches('=');
        let bytes = general_purpose::STANDARD_NO_PAD
            .decode(bare)
            .or_else(|_| general_purpose::URL_SAFE_NO_PAD.decode(bare))
            .map_err(|_| NotAKey)?;
        bytes.try_into().map(Self).map_err(|_| NotAKey)
    }

    /// The secret bytes, for the cipher alone.
    pub(super) const fn expose(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_every_usual_spelling_and_nothing_else_is_one() {
        let key = EncryptionKey::from_bytes([0xfb; LENGTH]);
        for text in [
            "fb".repeat(LENGTH),
            format!(" {}\n", "FB".repeat(LENGTH)),
            general_purpose::STANDARD.encode([0xfb; LENGTH]),
            general_purpose::URL_SAFE_NO_PAD.encode([0xfb; LENGTH]),
        ] {
            assert_eq!(EncryptionKey::parse(&text), Ok(key.clone()), "{text}");
        }
        for text in ["", "secret", &"fb".repeat(31), &general_purpose::STANDARD.encode([1; 33])] {
            assert_eq!(EncryptionKey::parse(text), Err(NotAKey), "{text}");
        }
        assert!(!format!("{key:?}").contains("fb"));
    }
}
