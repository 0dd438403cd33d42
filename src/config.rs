//! Process settings, read once at start: [`ConfigFile`] and [`ServeArgs`] as typed, [`Config`] as usable.
//!
//! A setting has one name in three spellings: `log.format` in the file, `--log-format` as a flag, `SEMBLANCE_LOG_FORMAT`
//! in the environment. A flag wins over the environment, that over the file, that over the default. Every mistake is
//! reported at once, each with where it stands; nothing is bound or opened before all are mended. This module alone
//! reads the environment.

mod args;
mod file;
mod problem;
mod resolve;
mod table;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use args::ServeArgs;
pub use file::ConfigFile;
use http::HeaderValue;
pub use problem::Problem;

use crate::{
    index::partitions,
    otel,
    store::encryption::EncryptionKey,
    store::redis::Address,
    telemetry::LogConfig,
    tls::TlsFiles,
    traffic::TrafficSettings,
    upstream::{
        http::{Settings, Transport},
        routes::{OwnKey, Route},
    },
};

/// Where apps connect, unless told otherwise.
pub const LISTEN: &str = "127.0.0.1:8080";
/// Where operators connect, unless told otherwise.
pub const ADMIN_LISTEN: &str = "127.0.0.1:8081";
/// Where the database lives, unless told otherwise.
pub const DATA_DIR: &str = "semblance-data";
/// The file read when none is named.
pub const DEFAULT_FILE: &str = "semblance.toml";
/// OpenAI's public API: the default upstream of its protocol families.
pub const OPENAI: &str = "https://api.openai.com/v1";
/// Anthropic's public API: the default upstream of its protocol family.
pub const ANTHROPIC: &str = "https://api.anthropic.com/v1";
/// Google's public API of Gemini.
pub const GEMINI: &str = "https://generativelanguage.googleapis.com";
/// Where Ollama listens unless told otherwise.
pub const OLLAMA: &str = "http://127.0.0.1:11434";

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the comparison or the header that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Who answers what the cache does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamChoice {
    /// The public APIs, by protocol family: [`OPENAI`], [`ANTHROPIC`], [`GEMINI`]; and [`OLLAMA`] on this machine.
    Providers,
    /// The built-in model.
    Demo,
    /// The provider, or the gateway to providers, at this base URL.
    Url(String),
}

/// One `[upstreams.NAME]`: who answers some of the requests instead of the default upstreams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedUpstream {
    /// Its name.
    pub name: String,
    /// Who it is; never [`UpstreamChoice::Providers`].
    pub choice: UpstreamChoice,
    /// What it takes.
    pub route: Route,
    /// What it is asked with instead of the client's credential.
    pub own_key: Option<OwnKey>,
    /// Place in [`Config::upstreams`] of the one that is asked when it fails.
    pub fallback: Option<usize>,
    /// How it is reached.
    pub transport: Transport,
}

/// Bounds on what is read and held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body, in bytes; larger ones get 413.
    pub body_bytes: usize,
    /// Largest request body that the cache looks at; larger ones are passed through.
    pub cacheable_body_bytes: usize,
    /// Largest answer kept, in bytes.
    pub answer_bytes: usize,
    /// Requests answered at the same time; more get 503.
    pub requests: usize,
    /// Followers of one flight; more go upstream on their own.
    pub followers: usize,
    /// Flights in memory at the same time; requests that would start more go upstream without the cache.
    pub flights: usize,
    /// Bytes of request bodies read for the cache at the same time; bodies beyond pass through uncached.
    pub bodies_bytes: usize,
    /// Open connections of apps; more get 503 and are closed.
    pub connections: usize,
    /// A client that sends nothing of its body, or takes nothing of its answer, for this long is dropped.
    pub client_stall: Duration,
}

/// Which embedder, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderConfig {
    /// Where vectors come from.
    pub kind: EmbedderKind,
    /// Threads of the in-process model.
    pub threads: usize,
    /// Texts that may wait.
    pub queue: usize,
    /// How long a caller waits.
    pub timeout: Duration,
}

/// Where vectors come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedderKind {
    /// all-MiniLM-L6-v2 in process.
    MiniLm,
    /// An OpenAI-compatible endpoint.
    Remote {
        /// Its base URL.
        url: String,
        /// Its model.
        model: String,
        /// Length of its vectors.
        dimensions: usize,
        /// Its key, when it wants one.
        api_key: Option<Secret>,
    },
}

/// How candidates are found and when they are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatcherConfig {
    /// Candidates below this similarity are not looked at.
    pub floor: f32,
    /// Least similarity of a semantic hit, where no policy says more.
    pub min_similarity: f32,
    /// Candidates looked at.
    pub candidates: usize,
}

/// A language model that judges close refusals in the background.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeConfig {
    /// Base URL of its OpenAI-compatible API.
    pub url: String,
    /// Its model.
    pub model: String,
    /// Its key, when it wants one.
    pub api_key: Option<Secret>,
    /// How far below the bar a candidate may be to be put to it.
    pub margin: f32,
}

/// Where entries are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// In the data directory of this node.
    Sqlite,
    /// In an engine that several nodes share.
    Shared(Box<SharedStore>),
}

/// An engine that several nodes share, and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStore {
    /// Where it is.
    pub address: Address,
    /// What its keys begin with.
    pub prefix: String,
    /// How long a node may serve from memory after it last knew that it had missed no purge.
    pub lease: Duration,
    /// Whether it may go on to, until the lease ends, while the engine does not answer.
    pub serves_lease: bool,
    /// Replicas that must have a purge before it is acknowledged.
    pub replicas: u32,
    /// How long an answer of the engine may take.
    pub timeout: Duration,
    /// How long a request waits for an answer that another node is fetching; zero for not at all.
    pub wait: Duration,
    /// How long an entry stays at most.
    pub max_age: Duration,
    /// PEM file of the authorities that vouch for it, where they are not the system's.
    pub authorities: Option<PathBuf>,
}

impl SharedStore {
    /// What holds where nothing else is set.
    pub fn of(address: Address) -> Self {
        Self {
            address,
            prefix: "semblance".to_owned(),
            lease: Duration::from_secs(1),
            serves_lease: false,
            replicas: 0,
            timeout: Duration::from_secs(1),
            wait: Duration::from_secs(5),
            max_age: Duration::from_secs(30 * 24 * 3600),
            authorities: None,
        }
    }
}

/// What happens to an upstream call whose client has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientGone {
    /// It runs to its end: the answer is paid for.
    Finish,
    /// It is cancelled, unless others wait for it.
    Cancel,
}

/// Process settings, checked and ready to use.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where apps connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub admin_listen: SocketAddr,
    /// Bearer token of the admin listener; `None` only when that is on loopback.
    pub admin_token: Option<Secret>,
    /// The certificate of the listener for apps; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Origins whose web pages may ask, of which one may be `*`; none when empty.
    pub cors_origins: Vec<HeaderValue>,
    /// Who answers what the cache does not, in every protocol unless `anthropic_upstream` takes one.
    pub upstream: UpstreamChoice,
    /// Who answers Anthropic's protocol, where that is not [`Self::upstream`].
    pub anthropic_upstream: Option<UpstreamChoice>,
    /// Who answers some of the requests instead of these, in the order in which they are asked whether they do.
    pub upstreams: Vec<NamedUpstream>,
    /// Limits of waiting for an upstream that sets none of its own.
    pub timeouts: Settings,
    /// Where the database lives.
    pub data_dir: PathBuf,
    /// Where entries are kept.
    pub store: StoreChoice,
    /// Seals what the database holds of questions and answers; `None` for a plain one.
    pub encryption_key: Option<EncryptionKey>,
    /// Where policies live; `None` for the shipped set.
    pub policies: Option<PathBuf>,
    /// Fixtures of the desk; `None` for those in the data directory.
    pub fixtures: Option<PathBuf>,
    /// Name of the tenant: entries shared by `scope = "tenant"` stay inside it.
    pub tenant: String,
    /// True when requests without a credential may use the cache, in a scope of their own.
    pub allow_anonymous: bool,
    /// True when every request must carry a key of the gateway's own.
    pub require_keys: bool,
    /// Logging.
    pub log: LogConfig,
    /// Where traces and metrics go, beside `/metrics`; `None` for nowhere.
    pub otlp: Option<otel::Settings>,
    /// Bounds.
    pub limits: Limits,
    /// Bytes of entries held in memory.
    pub hot_tier_bytes: u64,
    /// Bytes that the database may take; above it entries are evicted.
    pub disk_budget_bytes: u64,
    /// Requests with a higher temperature bypass the cache.
    pub temperature_ceiling: f64,
    /// A stream must end with its terminal marker to be stored.
    pub require_done: bool,
    /// Answers that call tools are stored, and found by the very same request only.
    pub store_tool_calls: bool,
    /// Entries that are asked for often are refreshed before they are stale.
    pub refresh_ahead: bool,
    /// Ask some hits by meaning again, as policies say.
    pub audits: bool,
    /// What is kept of traffic.
    pub traffic: TrafficSettings,
    /// Price list, where it is not the shipped one.
    pub prices: Option<PathBuf>,
    /// What happens to a call whose client has gone.
    pub client_gone: ClientGone,
    /// The embedder.
    pub embedder: EmbedderConfig,
    /// How vectors are searched.
    pub index: partitions::Settings,
    /// Candidates.
    pub matcher: MatcherConfig,
    /// True when nothing is served by meaning, only recorded.
    pub shadow: bool,
    /// The judge, where there is one.
    pub judge: Option<JudgeConfig>,
    /// How long a drain waits for work in flight.
    pub drain: Duration,
}

impl Config {
    /// Reads everything: the file that `args` name (or [`DEFAULT_FILE`], if there is one) and the variables that the
    /// settings point to.
    pub fn load(args: &ServeArgs) -> Result<Self, Vec<Problem>> {
        let (file, problems) = ConfigFile::find(args.config.as_deref());
        resolve::resolve(args, file, problems, &environment)
    }

    /// What holds when nothing is set: no file, no flag, no variable.
    pub fn defaults() -> Result<Self, Vec<Problem>> {
        resolve::resolve(&ServeArgs::default(), ConfigFile::default(), Vec::new(), &|_| None)
    }

    /// As [`Config::load`], with the file given.
    pub fn resolve(args: &ServeArgs, file: ConfigFile) -> Result<Self, Vec<Problem>> {
        resolve::resolve(args, file, Vec::new(), &environment)
    }
}

/// The data directory of commands that work on it beside a gateway: as given, as the settings file says, or the default.
pub fn data_dir(given: Option<PathBuf>, config: Option<&std::path::Path>) -> PathBuf {
    let in_file = || ConfigFile::find(config).0.data_dir.map(|typed| typed.value);
    given.or_else(in_file).unwrap_or_else(|| DATA_DIR.into())
}

/// Whether the user wants colours at all (<https://no-color.org>).
pub fn colours_wanted() -> bool {
    environment("NO_COLOR").is_none()
}

/// The secret in the variable that the user named; `None` when it is not set or empty.
pub fn variable(name: &str) -> Option<Secret> {
    environment(name).map(Secret::new)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
