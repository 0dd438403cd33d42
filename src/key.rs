//! Identity of a request: principal -> scope -> partition -> fingerprint.
//!
//! Invariants: a scope comes only from an authenticated principal (I1); every answer-shaping field, unknown ones
//! included, is in the partition; parts are length-prefixed before they are hashed, so no two lists of parts collide.
//! None of these types has a `Default`: a forgotten key is a compile error, not a shared answer.

use std::{fmt, sync::LazyLock};

use ring::hmac;

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps a digest read back from the store.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Reads 64 hex digits.
            pub fn from_hex(hex: &str) -> Option<Self> {
                blake3::Hash::from_hex(hex).ok().map(|hash| Self(*hash.as_bytes()))
            }

            /// All 64 hex digits.
            pub fn to_hex(&self) -> String {
                blake3::Hash::from_bytes(self.0).to_hex().to_string()
            }

            /// The 32 bytes of the digest.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl fmt::Display for $name {
            /// The first 16 hex digits: enough to tell two apart in a log.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in &self.0[..8] {
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }
    };
}

digest_type!(
    /// Who asks: the keyed hash of a credential. The credential itself is never kept.
    Principal
);
digest_type!(
    /// Who may share: an isolation boundary that no entry crosses.
    Scope
);
digest_type!(
    /// Scope plus every answer-shaping field plus all earlier turns; similarity is only searched inside one.
    Partition
);
digest_type!(
    /// Partition plus the query: equal fingerprints are the same question to the same model with the same parameters.
    Fingerprint
);

/// A domain label, hashed once: every request derives three keys, and a fresh hasher would hash its label each time.
struct Domain(LazyLock<blake3::Hasher>);

static SCOPE: Domain = Domain(LazyLock::new(|| blake3::Hasher::new_derive_key("semblance 2026-11 scope")));
static PARTITION: Domain = Domain(LazyLock::new(|| blake3::Hasher::new_derive_key("semblance 2026-11 partition")));
static FINGERPRINT: Domain = Domain(LazyLock::new(|| blake3::Hasher::new_derive_key("semblance 2026-11 fingerprint")));

impl Domain {
    fn parts(&self) -> Parts {
        Parts(self.0.clone())
    }
}

/// Hashes length-prefixed parts under a domain label (blake3 `derive_key` mode). Never moved: a hasher is 2 kB.
#[derive(Debug)]
struct Parts(blake3::Hasher);

impl Parts {
    fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// The node's secret that turns credentials into principals; made at first start, kept with mode 600.
#[derive(Clone)]
pub struct PrincipalKey([u8; 32]);

impl fmt::Debug for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrincipalKey(..)")
    }
}

impl PrincipalKey {
    /// Wraps the secret's bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret's bytes, for the place where it is kept.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA-256 (RFC 2104) of `bytes` under this secret, apart from that of the same bytes under another `label`.
    pub fn mac(&self, label: &str, bytes: &[u8]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(&(label.len() as u64).to_le_bytes());
        context.update(label.as_bytes());
        context.update(bytes);
        let mut mac = [0u8; 32];
        // HMAC-SHA-256 gives 32 bytes.
        mac.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        mac
    }

    /// The principal behind a credential, which is the raw value of the header that carried it.
    /// `kind` keeps a bearer token apart from an `x-api-key` of the same text.
    pub fn principal(&self, kind: &str, credential: &[u8]) -> Principal {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&(kind.len() as u64).to_le_bytes());
        hasher.update(kind.as_bytes());
        hasher.update(credential);
        Principal(*hasher.finalize().as_bytes())
    }
}

/// What a [`Scope`] is made of.
#[derive(Debug, Clone, Copy)]
pub struct ScopeParts<'a> {
    /// The principal, or `None` when the category's policy shares among all principals of a tenant or all.
    pub principal: Option<Principal>,
    /// Name of the deployment's tenant.
    pub tenant: &'a str,
    /// The upstream's base URL: the same question to another provider is another question.
    pub upstream: &'a str,
    /// Organisation and project header values, in a fixed order; empty when absent.
    pub organisation: &'a [&'a str],
    /// The app's own `x-semblance-namespace`, empty when absent.
    pub namespace: &'a str,
}

impl Scope {
    /// Derives the scope from its parts.
    pub fn derive(parts: &ScopeParts<'_>) -> Self {
        let ScopeParts { principal, tenant, upstream, organisation, namespace } = *parts;
        let mut hasher = SCOPE.parts();
        match principal {
            Some(p) => hasher.part(b"principal").part(p.as_bytes()),
            None => hasher.part(b"shared"),
        };
        hasher.part(tenant.as_bytes()).part(upstream.as_bytes()).part(namespace.as_bytes());
        for value in organisation {
            hasher.part(value.as_bytes());
        }
        Self(hasher.finish())
    }
}

impl Partition {
    /// Derives the partition of `scope` from the protocol family's name and the canonical bytes of everything that
    /// shapes the answer except the query text.
    pub fn derive(scope: &Scope, family: &str, shape: &[u8]) -> Self {
        let mut hasher = PARTITION.parts();
        Self(hasher.part(scope.as_bytes()).part(family.as_bytes()).part(shape).finish())
    }
}

impl Fingerprint {
    /// Derives the fingerprint of the canonical query inside `partition`.
    pub fn derive(partition: &Partition, query: &[u8]) -> Self {
        let mut hasher = FINGERPRINT.parts();
        Self(hasher.part(partition.as_bytes()).part(query).finish())
    }
}
