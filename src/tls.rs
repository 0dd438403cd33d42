//! The certificate of the TLS listener: read from PEM files, checked, and replaced while connections are served.
//!
//! Content is compared, not modification times: that sees a renewal that renames, a volume that swaps a symbolic link and
//! a network share alike. A pair that does not fit together never replaces one that does.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    InconsistentKeys, ServerConfig, crypto,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are read.
const EVERY: Duration = Duration::from_millis(500);
/// Protocols offered inside TLS (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where the certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the certificate, followed by its chain.
    pub cert: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// Why a certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsProblem {
    /// The certificate's file cannot be read.
    #[error("{path} cannot be read: {source}; name a PEM file that this user may read")]
    CertUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key's file cannot be read.
    #[error("{path} cannot be read: {source}; name a PEM file that this user may read")]
    KeyUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate in its file.
    #[error("{0} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate(PathBuf),
    /// What is there is no certificate.
    #[error("the certificate in {0} cannot be used: {1}")]
    BadCertificate(PathBuf, #[source] rustls::Error),
    /// No key in its file.
    #[error("{0} holds no private key in PEM form without a password (-----BEGIN PRIVATE KEY-----)")]
    NoKey(PathBuf),
    /// What is there is no key that can sign.
    #[error("the private key in {0} cannot be used: {1}; RSA, ECDSA (P-256, P-384) and Ed25519 keys can")]
    BadKey(PathBuf, #[source] rustls::Error),
    /// Two halves of different pairs.
    #[error("the key in {key} does not belong to the certificate in {cert}")]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

impl TlsProblem {
    /// The setting that has to be mended.
    pub const fn setting(&self) -> &'static str {
        match self {
            Self::CertUnreadable { .. } | Self::NoCertificate(_) | Self::BadCertificate(..) => "tls.cert",
            Self::KeyUnreadable { .. } | Self::NoKey(_) | Self::BadKey(..) | Self::Mismatch { .. } => "tls.key",
        }
    }
}

impl TlsFiles {
    /// Everything that is wrong with the two files.
    pub fn problems(&self) -> Vec<TlsProblem> {
        let (cert, key) = (self.chain(), self.signing_key());
        match (cert, key) {
            (Ok(chain), Ok(key)) => self.joined(chain, key).err().into_iter().collect(),
            (cert, key) => cert.err().into_iter().chain(key.err()).collect(),
        }
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
        let path = || self.cert.clone();
        let pem = read(&self.cert).map_err(|source| TlsProblem::CertUnreadable { path: path(), source })?;
        let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&pem).collect();
        chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| TlsProblem::NoCertificate(path()))
    }

    fn signing_key(&self) -> Result<PrivateKeyDer<'static>, TlsProblem> {
        let path = || self.key.clone();
        let pem = read(&self.key).map_err(|source| TlsProblem::KeyUnreadable { path: path(), source })?;
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsProblem::NoKey(path()))
    }

    fn joined(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<CertifiedKey, TlsProblem> {
        let key = crypto::ring::default_provider().key_provider.load_private_key(key);
        let key = key.map_err(|error| TlsProblem::BadKey(self.key.clone(), error))?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(TlsProblem::Mismatch { cert: self.cert.clone(), key: self.key.clone() })
            }
            Err(error) => Err(TlsProblem::BadCertificate(self.cert.clone(), error)),
        }
    }

    fn load(&self) -> Result<CertifiedKey, TlsProblem> {
        self.joined(self.chain()?, self.signing_key()?)
    }

    /// Digest of what the files hold, or of the trouble with reading them.
    fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for path in [&self.cert, &self.key] {
            let (tag, content) = read(path).map_or_else(|error| (1, error.to_string().into_bytes()), |pem| (0, pem));
            hasher.update(&[tag]).update(&(content.len() as u64).to_le_bytes()).update(&content);
        }
        hasher.finalize()
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// The certificate in use, which can be replaced while connections are served.
#[derive(Debug)]
pub struct Certificates {
    files: TlsFiles,
    loaded: blake3::Hash,
    current: ArcSwap<CertifiedKey>,
}

impl Certificates {
    /// Reads the files.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>, TlsProblem> {
        let loaded = files.digest();
        let current = ArcSwap::from_pointee(files.load()?);
        Ok(Arc::new(Self { files: files.clone(), loaded, current }))
    }

    /// What turns TCP connections into TLS ones, always with the certificate of the moment.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let resolver = Arc::<Self>::clone(self);
        let mut config = config.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files twice a second until `stop`. A change is taken up once two looks in a row saw the same, so that a
    /// pair of which one half is still being written is not read as a bad one; a bad one is logged once and changes nothing.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = Changes { settled: self.loaded, last_seen: self.loaded };
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let certificates = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || {
                changes.due(certificates.files.digest()).then(|| certificates.reload());
                changes
            });
            // A panic in the reading thread leaves everything as it is, like a look that never was.
            changes = look.await.unwrap_or(changes);
        }
    }

    fn reload(&self) {
        match self.files.load() {
            Ok(pair) => {
                self.current.store(Arc::new(pair));
                tracing::info!(cert = %self.files.cert.display(), "certificate reloaded");
            }
            Err(error) => {
                tracing::error!(setting = error.setting(), %error, "new certificate refused, the old one stays in use");
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// Which content has been taken up, good or bad, and which was seen last.
#[derive(Debug, Clone, Copy)]
struct Changes {
    settled: blake3::Hash,
    last_seen: blake3::Hash,
}

impl Changes {
    /// Whether what is seen now is to be taken up, which it is once.
    fn due(&mut self, seen: blake3::Hash) -> bool {
        let stable = seen == self.last_seen;
        self.last_seen = seen;
        let due = stable && seen != self.settled;
        if due {
            self.settled = seen;
        }
        due
    }
}

#[cfg(test)]
pub(crate) mod tests;
