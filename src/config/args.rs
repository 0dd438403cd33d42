//! The one list of settings: for each its key in the file, its flag with help, its variable and its kind.

use std::path::PathBuf;

use super::{
    problem::{Origin, Problem},
    table::UpstreamTable,
    value::{ByteSize, Setting, Texts},
};

/// A value as typed, and where.
#[derive(Debug, Clone)]
pub(super) struct Typed<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

macro_rules! settings {
    ($($(#[$attribute:meta])* $field:ident: $kind:ty = $key:literal,)+) => {
        /// Flags of `serve`, each with its variable. Texts as typed: they are checked together with the file, so that
        /// all mistakes are told at once.
        #[derive(Debug, Clone, Default, clap::Args)]
        pub struct ServeArgs {
            /// Settings file; without it ./semblance.toml is read, if there is one
            ///
            /// Holds what the flags below can say, each under the same name, and what they cannot: further providers for some
            /// protocols, paths or models, as tables `[upstreams.NAME]` (see README.md).
            #[arg(long, env = "SEMBLANCE_CONFIG", value_name = "FILE")]
            pub config: Option<PathBuf>,
            $($(#[$attribute])* pub $field: Option<String>,)+
            /// Print machine-readable lines on standard output
            #[arg(long)]
            pub json: bool,
        }

        /// A settings file as typed: every field optional, each with its line.
        #[derive(Debug, Clone, Default)]
        pub struct ConfigFile {
            $(pub(super) $field: Option<Typed<$kind>>,)+
            /// Named upstreams, in the file's order.
            pub(super) upstreams: Vec<UpstreamTable>,
        }

        impl ConfigFile {
            /// Every key, dotted.
            pub(super) const KEYS: &'static [&'static str] = &[$($key,)+];

            /// What the flags and variables say; an empty one is as good as none.
            pub(super) fn from_args(args: &ServeArgs, problems: &mut Vec<Problem>) -> Self {
                let mut read = Self::default();
                $(if let Some(text) = args.$field.as_deref().filter(|text| !text.is_empty()) {
                    match <$kind>::from_text(text) {
                        Some(value) => read.$field = Some(Typed { value, origin: Origin::Flag }),
                        None => problems.push(Origin::Flag.problem($key, format!("{text:?} is not {}", <$kind>::WANTS))),
                    }
                })+
                read
            }

            /// Takes a file's value for the dotted `key`, which must be one of [`Self::KEYS`].
            pub(super) fn take(&mut self, key: &str, value: &toml_edit::Value, origin: Origin) -> Result<(), Problem> {
                match key {
                    $($key => match <$kind>::from_toml(value) {
                        Some(value) => self.$field = Some(Typed { value, origin }),
                        None => return Err(origin.problem(key, format!("{value} is not {}", <$kind>::WANTS).trim_start())),
                    },)+
                    _ => return Err(origin.problem(key, "unknown key")),
                }
                Ok(())
            }

            /// Each setting from `self` where it is set, else from `below`.
            pub(super) fn over(self, below: Self) -> Self {
                let upstreams = if self.upstreams.is_empty() { below.upstreams } else { self.upstreams };
                Self { $($field: self.$field.or(below.$field),)+ upstreams }
            }
        }
    };
}

settings! {
    /// Where apps connect; port 0 picks a free one
    ///
    /// Point an SDK's base URL at it: `http://127.0.0.1:8080/v1`. Default: 127.0.0.1:8080.
    #[arg(long, env = "SEMBLANCE_LISTEN", value_name = "ADDRESS")]
    listen: String = "listen",
    /// Where operators connect: metrics, entries, purge
    ///
    /// Off loopback an admin token is required. Default: 127.0.0.1:8081.
    #[arg(long, env = "SEMBLANCE_ADMIN_LISTEN", value_name = "ADDRESS")]
    admin_listen: String = "admin_listen",
    /// Bearer token that the admin listener asks for
    ///
    /// Better set as `SEMBLANCE_ADMIN_TOKEN`: a flag shows in the process list.
    #[arg(long, env = "SEMBLANCE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    admin_token: String = "admin_token",
    /// PEM file of the certificate, its chain behind it: apps then connect by https
    ///
    /// Needs --tls-key. HTTP/2 is offered as well. Read anew when it changes.
    #[arg(long, env = "SEMBLANCE_TLS_CERT", value_name = "FILE", hide_short_help = true)]
    tls_cert: PathBuf = "tls.cert",
    /// PEM file of the certificate's private key, without a password
    #[arg(long, env = "SEMBLANCE_TLS_KEY", value_name = "FILE", hide_short_help = true)]
    tls_key: PathBuf = "tls.key",
    /// Origins whose web pages may ask, such as `https://app.example.com`; * for all
    ///
    /// A list in the file, commas between them in a flag or variable. The gateway then answers OPTIONS itself. Default: none,
    /// and OPTIONS passes through.
    #[arg(long, env = "SEMBLANCE_CORS_ORIGINS", value_name = "ORIGINS", hide_short_help = true)]
    cors_origins: Texts = "cors_origins",
    /// Base URL of the provider, with or without /v1, or "demo" for the built-in model
    ///
    /// Examples: `https://api.openai.com/v1`, `http://localhost:11434/v1`, `demo`. Default: the public API of each protocol
    /// (OpenAI's, Anthropic's).
    #[arg(long, env = "SEMBLANCE_UPSTREAM", value_name = "URL")]
    upstream: String = "upstream",
    /// Base URL of the provider of Anthropic's protocol, with or without /v1, or "demo" for the built-in model
    ///
    /// Example: `https://api.anthropic.com`, which is the default where --upstream is not given; where it is, that answers
    /// both protocols.
    #[arg(long, env = "SEMBLANCE_ANTHROPIC_UPSTREAM", value_name = "URL", hide_short_help = true)]
    anthropic_upstream: String = "anthropic_upstream",
    /// Where the database lives
    ///
    /// Made when missing. One gateway a directory. Default: ./semblance-data.
    #[arg(long, env = "SEMBLANCE_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf = "data_dir",
    /// Where entries are kept: `sqlite`, in the data directory, or the URL of a Redis or Valkey that several nodes share
    ///
    /// `redis://HOST:PORT`, `rediss://` for TLS, `redis+cluster://A,B,C` or `redis+sentinel://A,B,C/MASTER`. Better set as
    /// `SEMBLANCE_STORE` when it holds a password: a flag shows in the process list. Default: sqlite.
    #[arg(long, env = "SEMBLANCE_STORE", value_name = "sqlite|URL", hide_env_values = true)]
    store: String = "store",
    /// What the keys of the shared store begin with (semblance): deployments that share an engine each have their own
    #[arg(long, env = "SEMBLANCE_CLUSTER_PREFIX", value_name = "NAME", hide_short_help = true)]
    cluster_prefix: String = "cluster.prefix",
    /// How long a node may serve from memory after it last knew that it had missed no purge (1000)
    #[arg(long, env = "SEMBLANCE_CLUSTER_LEASE_MS", value_name = "MS", hide_short_help = true)]
    cluster_lease_ms: u64 = "cluster.lease_ms",
    /// What a node does while the shared store does not answer: miss, or serve-lease until the lease ends (miss)
    #[arg(long, env = "SEMBLANCE_CLUSTER_DEGRADED", value_name = "miss|serve-lease", hide_short_help = true)]
    cluster_degraded: String = "cluster.degraded",
    /// Replicas of the shared store that must have a purge before it is acknowledged (0)
    #[arg(long, env = "SEMBLANCE_CLUSTER_REPLICAS", value_name = "N", hide_short_help = true)]
    cluster_replicas: u64 = "cluster.replicas",
    /// Longest wait for an answer of the shared store (1000)
    #[arg(long, env = "SEMBLANCE_CLUSTER_TIMEOUT_MS", value_name = "MS", hide_short_help = true)]
    cluster_timeout_ms: u64 = "cluster.timeout_ms",
    /// Longest wait for an answer that another node is fetching; 0 lets each node ask for itself (5000)
    #[arg(long, env = "SEMBLANCE_CLUSTER_WAIT_MS", value_name = "MS", hide_short_help = true)]
    cluster_wait_ms: u64 = "cluster.wait_ms",
    /// Days after which the shared store drops an answer, whatever its policy says (30)
    #[arg(long, env = "SEMBLANCE_CLUSTER_MAX_AGE_DAYS", value_name = "DAYS", hide_short_help = true)]
    cluster_max_age_days: u64 = "cluster.max_age_days",
    /// PEM file of the authorities that vouch for a shared store by rediss://, where they are not the system's
    #[arg(long, env = "SEMBLANCE_CLUSTER_CA", value_name = "FILE", hide_short_help = true)]
    cluster_ca: PathBuf = "cluster.ca",
    /// Directory of policy files, one content type each
    ///
    /// Edits take effect without a restart. Default: the shipped set.
    #[arg(long, env = "SEMBLANCE_POLICIES", value_name = "DIR")]
    policies: PathBuf = "policies",
    /// Directory of fixtures that the dashboard shows and runs
    ///
    /// Cases added there go to desk.jsonl in it. Default: fixtures in the data directory.
    #[arg(long, env = "SEMBLANCE_FIXTURES", value_name = "DIR", hide_short_help = true)]
    fixtures: PathBuf = "fixtures",
    /// Name of the tenant: entries shared by scope = "tenant" stay inside it
    #[arg(long, env = "SEMBLANCE_TENANT", value_name = "NAME", hide_short_help = true)]
    tenant: String = "tenant",
    /// Key under which questions, answers and vectors are kept on disk: 32 bytes as base64 or hex
    ///
    /// Better set as `SEMBLANCE_ENCRYPTION_KEY`: a flag shows in the process list. A database is encrypted from its first
    /// start on or never. Default: not encrypted.
    #[arg(long, env = "SEMBLANCE_ENCRYPTION_KEY", value_name = "KEY", hide_env_values = true, hide_short_help = true)]
    encryption_key: String = "encryption_key",
    /// Let requests without a credential use the cache, in a scope of their own
    ///
    /// Default: true when --listen is on loopback, else false.
    #[arg(long, env = "SEMBLANCE_ALLOW_ANONYMOUS", value_name = "true|false", hide_short_help = true)]
    allow_anonymous: bool = "allow_anonymous",
    /// Refuse every request that carries no key of this gateway's own, `sk-semblance-...` (false)
    ///
    /// `semblance keys add NAME` makes one. Such a key never goes to a provider: give the upstreams keys of their own, with
    /// `api_key_env` in `[upstreams.NAME]`.
    #[arg(long, env = "SEMBLANCE_REQUIRE_KEYS", value_name = "true|false", hide_short_help = true)]
    require_keys: bool = "require_keys",
    /// Log as text or json
    #[arg(long, env = "SEMBLANCE_LOG_FORMAT", value_name = "text|json")]
    log_format: String = "log.format",
    /// Log level, or filter directives such as `info,semblance::gateway=debug`
    #[arg(long, env = "SEMBLANCE_LOG_LEVEL", value_name = "LEVEL")]
    log_level: String = "log.level",
    /// Colour log lines: auto, always or never; `NO_COLOR` counts as never
    #[arg(long, env = "SEMBLANCE_LOG_COLOR", value_name = "WHEN", hide_short_help = true)]
    log_color: String = "log.color",
    /// Base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://127.0.0.1:4318`
    ///
    /// Traces and metrics then go there, beside `/metrics`. `OTEL_EXPORTER_OTLP_ENDPOINT` says the same, and further
    /// `OTEL_*` variables hold (see README.md). Default: none.
    #[arg(long, env = "SEMBLANCE_OTLP", value_name = "URL", hide_short_help = true)]
    otlp: String = "otlp",
    /// Largest request body, such as 32MiB; larger ones, or ones that become larger when decoded, get 413
    #[arg(long, env = "SEMBLANCE_LIMITS_BODY_BYTES", value_name = "SIZE", hide_short_help = true)]
    limits_body_bytes: ByteSize = "limits.body_bytes",
    /// Largest request body that the cache looks at (1MiB); larger ones pass through
    #[arg(long, env = "SEMBLANCE_LIMITS_CACHEABLE_BODY_BYTES", value_name = "SIZE", hide_short_help = true)]
    limits_cacheable_body_bytes: ByteSize = "limits.cacheable_body_bytes",
    /// Largest answer kept (4MiB)
    #[arg(long, env = "SEMBLANCE_LIMITS_ANSWER_BYTES", value_name = "SIZE", hide_short_help = true)]
    limits_answer_bytes: ByteSize = "limits.answer_bytes",
    /// Request bodies held in memory at the same time (256MiB); more pass through uncached
    #[arg(long, env = "SEMBLANCE_LIMITS_BODIES_BYTES", value_name = "SIZE", hide_short_help = true)]
    limits_bodies_bytes: ByteSize = "limits.bodies_bytes",
    /// Open connections of apps (16384); more get 503
    #[arg(long, env = "SEMBLANCE_LIMITS_CONNECTIONS", value_name = "N", hide_short_help = true)]
    limits_connections: u64 = "limits.connections",
    /// Requests answered at the same time (8192); more get 503
    #[arg(long, env = "SEMBLANCE_LIMITS_REQUESTS", value_name = "N", hide_short_help = true)]
    limits_requests: u64 = "limits.requests",
    /// Fetches running or being read at the same time (4096); more go upstream without the cache
    #[arg(long, env = "SEMBLANCE_LIMITS_FLIGHTS", value_name = "N", hide_short_help = true)]
    limits_flights: u64 = "limits.flights",
    /// Drop a client that sends nothing of its body, or takes nothing of its answer, for this long (60000)
    #[arg(long, env = "SEMBLANCE_LIMITS_CLIENT_STALL_MS", value_name = "MS", hide_short_help = true)]
    limits_client_stall_ms: u64 = "limits.client_stall_ms",
    /// Followers of one running fetch (8192); more go upstream on their own
    #[arg(long, env = "SEMBLANCE_LIMITS_FOLLOWERS", value_name = "N", hide_short_help = true)]
    limits_followers: u64 = "limits.followers",
    /// Entries held in memory (64MiB)
    #[arg(long, env = "SEMBLANCE_HOT_TIER_BYTES", value_name = "SIZE", hide_short_help = true)]
    hot_tier_bytes: ByteSize = "hot_tier_bytes",
    /// What the database may take on disk (10GiB); above it entries are evicted
    #[arg(long, env = "SEMBLANCE_DISK_BUDGET_BYTES", value_name = "SIZE", hide_short_help = true)]
    disk_budget_bytes: ByteSize = "disk_budget_bytes",
    /// Requests with a higher temperature bypass the cache (1.0)
    #[arg(long, env = "SEMBLANCE_TEMPERATURE_CEILING", value_name = "T", hide_short_help = true)]
    temperature_ceiling: f64 = "temperature_ceiling",
    /// Store a stream only when it ends with its terminal marker (true)
    ///
    /// Turn off for an upstream that never sends `data: [DONE]`.
    #[arg(long, env = "SEMBLANCE_REQUIRE_DONE", value_name = "true|false", hide_short_help = true)]
    require_done: bool = "require_done",
    /// Store answers that call tools, for the very same request only (false)
    #[arg(long, env = "SEMBLANCE_STORE_TOOL_CALLS", value_name = "true|false", hide_short_help = true)]
    store_tool_calls: bool = "store_tool_calls",
    /// Refresh answers that are asked for often shortly before they are stale (true)
    ///
    /// One request in the background, at a random moment near the end of the ttl; a question asked seldom has none.
    #[arg(long, env = "SEMBLANCE_REFRESH_AHEAD", value_name = "true|false", hide_short_help = true)]
    refresh_ahead: bool = "refresh_ahead",
    /// Ask the provider some hits by meaning again in the background, as many as each policy's `audit` says (true)
    #[arg(long, env = "SEMBLANCE_AUDITS", value_name = "true|false", hide_short_help = true)]
    audits: bool = "audits",
    /// Keep a record of each request: outcome, category, tokens, latency (false)
    ///
    /// For the dashboard's decisions and for `semblance simulate`. Words of questions are in it only where a category's
    /// policy says `traffic_text = true`.
    #[arg(long, env = "SEMBLANCE_TRAFFIC_RECORD", value_name = "true|false")]
    traffic_record: bool = "traffic.record",
    /// Days that a record stays (30)
    #[arg(long, env = "SEMBLANCE_TRAFFIC_RETENTION_DAYS", value_name = "DAYS", hide_short_help = true)]
    traffic_retention_days: u64 = "traffic.retention_days",
    /// Records kept at most (2000000), the newest
    #[arg(long, env = "SEMBLANCE_TRAFFIC_MAX_ROWS", value_name = "N", hide_short_help = true)]
    traffic_max_rows: u64 = "traffic.max_rows",
    /// Price list of models, for the ledger of what was saved: your copy of the shipped prices.toml
    #[arg(long, env = "SEMBLANCE_PRICES", value_name = "FILE", hide_short_help = true)]
    prices: PathBuf = "prices",
    /// What happens to an upstream call whose client has gone: finish or cancel
    ///
    /// finish stores the answer, which is paid for. Default: finish.
    #[arg(long, env = "SEMBLANCE_CLIENT_GONE", value_name = "finish|cancel", hide_short_help = true)]
    client_gone: String = "client_gone",
    /// How long a stop waits for work in flight, in milliseconds (10000)
    #[arg(long, env = "SEMBLANCE_DRAIN_MS", value_name = "MS", hide_short_help = true)]
    drain_ms: u64 = "drain_ms",
    /// Longest wait for a connection to the provider (5000)
    #[arg(long, env = "SEMBLANCE_TIMEOUTS_CONNECT_MS", value_name = "MS", hide_short_help = true)]
    timeouts_connect_ms: u64 = "timeouts.connect_ms",
    /// Longest wait for the provider's answer to begin (600000)
    #[arg(long, env = "SEMBLANCE_TIMEOUTS_FIRST_BYTE_MS", value_name = "MS", hide_short_help = true)]
    timeouts_first_byte_ms: u64 = "timeouts.first_byte_ms",
    /// Longest silence inside the provider's answer (600000)
    #[arg(long, env = "SEMBLANCE_TIMEOUTS_IDLE_MS", value_name = "MS", hide_short_help = true)]
    timeouts_idle_ms: u64 = "timeouts.idle_ms",
    /// Where vectors come from: minilm (in process) or remote (an OpenAI-compatible endpoint)
    #[arg(long, env = "SEMBLANCE_EMBEDDER_KIND", value_name = "minilm|remote", hide_short_help = true)]
    embedder_kind: String = "embedder.kind",
    /// Base URL of the remote embedder, such as `http://localhost:11434/v1`
    #[arg(long, env = "SEMBLANCE_EMBEDDER_URL", value_name = "URL", hide_short_help = true)]
    embedder_url: String = "embedder.url",
    /// Model of the remote embedder, such as text-embedding-3-small
    #[arg(long, env = "SEMBLANCE_EMBEDDER_MODEL", value_name = "MODEL", hide_short_help = true)]
    embedder_model: String = "embedder.model",
    /// Length of the remote embedder's vectors (1536)
    #[arg(long, env = "SEMBLANCE_EMBEDDER_DIMENSIONS", value_name = "N", hide_short_help = true)]
    embedder_dimensions: u64 = "embedder.dimensions",
    /// Name of the variable that holds the remote embedder's key
    #[arg(long, env = "SEMBLANCE_EMBEDDER_API_KEY_ENV", value_name = "NAME", hide_short_help = true)]
    embedder_api_key_env: String = "embedder.api_key_env",
    /// Threads of the in-process embedder; a text at a time each; default: one for each core
    #[arg(long, env = "SEMBLANCE_EMBEDDER_THREADS", value_name = "N", hide_short_help = true)]
    embedder_threads: u64 = "embedder.threads",
    /// Texts that may wait for the embedder (256); above it requests go upstream
    #[arg(long, env = "SEMBLANCE_EMBEDDER_QUEUE", value_name = "N", hide_short_help = true)]
    embedder_queue: u64 = "embedder.queue",
    /// Longest wait for a vector (1000); after it requests go upstream
    #[arg(long, env = "SEMBLANCE_EMBEDDER_TIMEOUT_MS", value_name = "MS", hide_short_help = true)]
    embedder_timeout_ms: u64 = "embedder.timeout_ms",
    /// What large partitions are searched by: cells or hnsw
    ///
    /// cells divides them into cells of near vectors, hnsw builds neighbour graphs, which takes minutes of a core and 2.6 kB a
    /// vector (see benches/README.md). Default: cells.
    #[arg(long, env = "SEMBLANCE_INDEX_ENGINE", value_name = "cells|hnsw", hide_short_help = true)]
    index_engine: String = "index.engine",
    /// Vectors of a partition from which on a search asks the engine (16384; with hnsw 100000); below, it looks at all of them
    #[arg(long, env = "SEMBLANCE_INDEX_SEAL_AT", value_name = "N", hide_short_help = true)]
    index_seal_at: u64 = "index.seal_at",
    /// Candidates below this similarity are not looked at (0.50)
    #[arg(long, env = "SEMBLANCE_MATCHER_FLOOR", value_name = "COSINE", hide_short_help = true)]
    matcher_floor: f64 = "matcher.floor",
    /// Least similarity of a semantic hit, where no policy says more (0.90)
    #[arg(long, env = "SEMBLANCE_MATCHER_MIN_SIMILARITY", value_name = "COSINE", hide_short_help = true)]
    matcher_min_similarity: f64 = "matcher.min_similarity",
    /// Candidates looked at (8)
    #[arg(long, env = "SEMBLANCE_MATCHER_CANDIDATES", value_name = "N", hide_short_help = true)]
    matcher_candidates: u64 = "matcher.candidates",
    /// Look up by meaning, record what would have been served, and serve none of it (false)
    ///
    /// For a trial on live traffic: every answer comes from the provider or from the very same question.
    #[arg(long, env = "SEMBLANCE_SHADOW", value_name = "true|false", hide_short_help = true)]
    shadow: bool = "shadow",
    /// Base URL of an OpenAI-compatible model that judges close refusals in the background
    ///
    /// The two questions are sent to it. A yes makes the wording known for next time, a no blocks the pair.
    #[arg(long, env = "SEMBLANCE_JUDGE_URL", value_name = "URL", hide_short_help = true)]
    judge_url: String = "judge.url",
    /// Model of the judge
    #[arg(long, env = "SEMBLANCE_JUDGE_MODEL", value_name = "MODEL", hide_short_help = true)]
    judge_model: String = "judge.model",
    /// Name of the variable that holds the judge's key
    #[arg(long, env = "SEMBLANCE_JUDGE_API_KEY_ENV", value_name = "NAME", hide_short_help = true)]
    judge_api_key_env: String = "judge.api_key_env",
    /// How far below the bar a candidate may be to be put to the judge (0.10)
    #[arg(long, env = "SEMBLANCE_JUDGE_MARGIN", value_name = "MARGIN", hide_short_help = true)]
    judge_margin: f64 = "judge.margin",
}
