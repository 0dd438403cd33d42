//! From settings as typed to settings that can be used; collects every problem on the way.

mod listener;
mod otlp;
mod store;
mod upstreams;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    ops::RangeInclusive,
    time::Duration,
};

use super::{
    ClientGone, Config, ConfigFile, EmbedderConfig, EmbedderKind, JudgeConfig, Limits, MatcherConfig, Problem, Secret,
    ServeArgs, UpstreamChoice, args::Typed, problem::Origin, value::ByteSize,
};
use crate::{
    index::partitions::{self, Engine},
    store::encryption::EncryptionKey,
    telemetry::{self, Color, LogConfig, LogFormat},
    traffic::TrafficSettings,
    upstream::http::{BaseUrl, Settings},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = KIB << 10;
const GIB: u64 = MIB << 10;
/// The most that any time may be: a day.
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Merges flags over file over defaults and checks the result. `environment` reads one variable.
pub(super) fn resolve(
    args: &ServeArgs,
    file: ConfigFile,
    mut problems: Vec<Problem>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<Problem>> {
    let typed = ConfigFile::from_args(args, &mut problems).over(file);
    let mut check = Check { problems, environment };
    let config = check.config(args, &typed);
    if check.problems.is_empty() { Ok(config) } else { Err(check.problems) }
}

struct Check<'a> {
    problems: Vec<Problem>,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Check<'_> {
    fn config(&mut self, args: &ServeArgs, typed: &ConfigFile) -> Config {
        let listen = self.address("listen", typed.listen.as_ref(), 8080);
        let (admin_listen, admin_token) = self.admin(typed, listen);
        let allow_anonymous =
            typed.allow_anonymous.as_ref().map_or_else(|| listen.ip().is_loopback(), |typed| typed.value);
        let timeouts = self.timeouts(typed);
        Config {
            listen,
            admin_listen,
            admin_token,
            tls: self.tls(typed),
            cors_origins: self.origins(typed.cors_origins.as_ref()),
            upstream: self.upstream("upstream", typed.upstream.as_ref()).unwrap_or(UpstreamChoice::Providers),
            anthropic_upstream: self.upstream("anthropic_upstream", typed.anthropic_upstream.as_ref()),
            upstreams: self.upstreams(&typed.upstreams, timeouts),
            timeouts,
            data_dir: typed.data_dir.as_ref().map_or_else(|| super::DATA_DIR.into(), |typed| typed.value.clone()),
            store: self.store(typed),
            encryption_key: self.encryption_key(args, typed),
            policies: typed.policies.as_ref().map(|typed| typed.value.clone()),
            fixtures: typed.fixtures.as_ref().map(|typed| typed.value.clone()),
            tenant: self.tenant(typed.tenant.as_ref()),
            allow_anonymous,
            require_keys: typed.require_keys.as_ref().is_some_and(|typed| typed.value),
            log: self.log(typed),
            otlp: self.otlp(typed.otlp.as_ref()),
            limits: self.limits(typed),
            traffic: self.traffic(typed),
            prices: typed.prices.as_ref().map(|typed| typed.value.clone()),
            hot_tier_bytes: self.size("hot_tier_bytes", typed.hot_tier_bytes.as_ref(), 64 * MIB, 0),
            disk_budget_bytes: self.size("disk_budget_bytes", typed.disk_budget_bytes.as_ref(), 10 * GIB, MIB),
            temperature_ceiling: self.number("temperature_ceiling", typed.temperature_ceiling.as_ref(), 1.0, 0.0..=2.0),
            require_done: typed.require_done.as_ref().is_none_or(|typed| typed.value),
            store_tool_calls: typed.store_tool_calls.as_ref().is_some_and(|typed| typed.value),
            refresh_ahead: typed.refresh_ahead.as_ref().is_none_or(|typed| typed.value),
            audits: typed.audits.as_ref().is_none_or(|typed| typed.value),
            client_gone: self.choice(
                "client_gone",
                typed.client_gone.as_ref(),
                &[("finish", ClientGone::Finish), ("cancel", ClientGone::Cancel)],
                ClientGone::Finish,
            ),
            embedder: self.embedder(typed),
            index: self.index(typed),
            matcher: self.matcher(typed),
            shadow: typed.shadow.as_ref().is_some_and(|typed| typed.value),
            judge: self.judge(typed),
            drain: self.time("drain_ms", typed.drain_ms.as_ref(), 10_000, 0),
        }
    }

    fn report<T>(&mut self, key: &str, typed: &Typed<T>, what: impl Into<String>) {
        self.problems.push(typed.origin.problem(key, what));
    }

    fn address(&mut self, key: &str, typed: Option<&Typed<String>>, port: u16) -> SocketAddr {
        let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let Some(typed) = typed else { return default };
        let text = typed.value.trim();
        let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        match named.as_deref().unwrap_or(text).parse() {
            Ok(address) => address,
            Err(_) => {
                let what = format!("{text:?} is not an address; write host and port, such as 127.0.0.1:{port}");
                self.report(key, typed, what);
                default
            }
        }
    }

    fn admin(&mut self, typed: &ConfigFile, listen: SocketAddr) -> (SocketAddr, Option<Secret>) {
        let admin = self.address("admin_listen", typed.admin_listen.as_ref(), 8081);
        let token = typed.admin_token.as_ref().map(|typed| Secret::new(typed.value.clone()));
        let origin = typed.admin_listen.as_ref().map_or(Origin::Default, |typed| typed.origin.clone());
        if admin == listen && admin.port() != 0 {
            let what = format!("{admin} is also where apps connect (listen); choose another port");
            self.problems.push(origin.problem("admin_listen", what));
        }
        if !admin.ip().is_loopback() && token.is_none() {
            let what = format!("{admin} can be reached from outside; set admin_token (SEMBLANCE_ADMIN_TOKEN) as well");
            self.problems.push(origin.problem("admin_listen", what));
        }
        if let Some(typed) = typed
            .admin_token
            .as_ref()
            .filter(|typed| typed.value.is_empty() || !typed.value.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            self.report("admin_token", typed, "must be printable ASCII without blanks, and not empty");
        }
        (admin, token)
    }

    fn encryption_key(&mut self, args: &ServeArgs, typed: &ConfigFile) -> Option<EncryptionKey> {
        if args.encryption_key.as_deref() == Some("") {
            // A secret that was not filled in must not make a plain database.
            self.problems.push(Origin::Flag.problem("encryption_key", "is empty; set a key, or leave it out"));
        }
        let typed = typed.encryption_key.as_ref()?;
        let parsed = EncryptionKey::parse(&typed.value);
        parsed.map_err(|error| self.report("encryption_key", typed, error.to_string())).ok()
    }

    fn upstream(&mut self, key: &str, typed: Option<&Typed<String>>) -> Option<UpstreamChoice> {
        let typed = typed?;
        let text = typed.value.trim();
        if text == "demo" {
            return Some(UpstreamChoice::Demo);
        }
        self.url(key, typed);
        Some(UpstreamChoice::Url(text.to_owned()))
    }

    fn url(&mut self, key: &str, typed: &Typed<String>) {
        if let Err(problem) = BaseUrl::parse(&typed.value) {
            self.report(key, typed, problem.to_string());
        }
    }

    fn timeouts(&mut self, typed: &ConfigFile) -> Settings {
        Settings {
            connect: self.time("timeouts.connect_ms", typed.timeouts_connect_ms.as_ref(), 5_000, 1),
            first_byte: self.time("timeouts.first_byte_ms", typed.timeouts_first_byte_ms.as_ref(), 600_000, 1),
            idle: self.time("timeouts.idle_ms", typed.timeouts_idle_ms.as_ref(), 600_000, 1),
        }
    }

    fn tenant(&mut self, typed: Option<&Typed<String>>) -> String {
        let Some(typed) = typed else { return "default".to_owned() };
        if typed.value.trim().is_empty() {
            self.report("tenant", typed, "is empty; give the tenant a name, or leave it out");
        }
        typed.value.clone()
    }

    fn log(&mut self, typed: &ConfigFile) -> LogConfig {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let format = self.choice("log.format", typed.log_format.as_ref(), &formats, LogFormat::Text);
        let colors = [("auto", Color::Auto), ("always", Color::Always), ("never", Color::Never)];
        let mut color = self.choice("log.color", typed.log_color.as_ref(), &colors, Color::Auto);
        if color == Color::Auto && (self.environment)("NO_COLOR").is_some() {
            color = Color::Never;
        }
        let level = match &typed.log_level {
            None => "info".to_owned(),
            Some(typed) => {
                if let Err(problem) = telemetry::check_level(&typed.value) {
                    self.report("log.level", typed, problem.to_string());
                }
                typed.value.clone()
            }
        };
        LogConfig { format, level, color }
    }

    fn traffic(&mut self, typed: &ConfigFile) -> TrafficSettings {
        let days = self.count("traffic.retention_days", typed.traffic_retention_days.as_ref(), 30, 1..=3650);
        let rows = self.count("traffic.max_rows", typed.traffic_max_rows.as_ref(), 2_000_000, 1..=1_000_000_000);
        TrafficSettings {
            record: typed.traffic_record.as_ref().is_some_and(|typed| typed.value),
            retention: Duration::from_secs(days as u64 * 24 * 3600),
            max_rows: rows as u64,
        }
    }

    fn limits(&mut self, typed: &ConfigFile) -> Limits {
        let body = typed.limits_body_bytes.as_ref();
        let cacheable = typed.limits_cacheable_body_bytes.as_ref();
        let body_bytes = self.size("limits.body_bytes", body, 32 * MIB, KIB);
        let cacheable_bytes = self.size("limits.cacheable_body_bytes", cacheable, MIB.min(body_bytes), KIB);
        if let Some(cacheable) = cacheable.filter(|_| cacheable_bytes > body_bytes) {
            self.report("limits.cacheable_body_bytes", cacheable, "is above limits.body_bytes; lower it or raise that");
        }
        let bodies = self.size("limits.bodies_bytes", typed.limits_bodies_bytes.as_ref(), 256 * MIB, KIB);
        let answer = self.size("limits.answer_bytes", typed.limits_answer_bytes.as_ref(), 4 * MIB, KIB);
        Limits {
            body_bytes: in_memory(body_bytes),
            cacheable_body_bytes: in_memory(cacheable_bytes),
            answer_bytes: in_memory(answer),
            requests: self.count("limits.requests", typed.limits_requests.as_ref(), 8192, 1..=1_000_000),
            followers: self.count("limits.followers", typed.limits_followers.as_ref(), 8192, 0..=1_000_000),
            flights: self.count("limits.flights", typed.limits_flights.as_ref(), 4096, 1..=1_000_000),
            bodies_bytes: in_memory(bodies),
            connections: self.count("limits.connections", typed.limits_connections.as_ref(), 16_384, 1..=1_000_000),
            client_stall: self.time("limits.client_stall_ms", typed.limits_client_stall_ms.as_ref(), 60_000, 1),
        }
    }

    fn embedder(&mut self, typed: &ConfigFile) -> EmbedderConfig {
        let remote =
            self.choice("embedder.kind", typed.embedder_kind.as_ref(), &[("minilm", false), ("remote", true)], false);
        let kind = if remote { self.remote(typed) } else { self.in_process(typed) };
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = cores as u64;
        EmbedderConfig {
            kind,
            threads: self.count("embedder.threads", typed.embedder_threads.as_ref(), threads, 1..=1024),
            queue: self.count("embedder.queue", typed.embedder_queue.as_ref(), 256, 1..=100_000),
            timeout: self.time("embedder.timeout_ms", typed.embedder_timeout_ms.as_ref(), 1_000, 1),
        }
    }

    fn in_process(&mut self, typed: &ConfigFile) -> EmbedderKind {
        let unused = [
            ("embedder.url", &typed.embedder_url),
            ("embedder.model", &typed.embedder_model),
            ("embedder.api_key_env", &typed.embedder_api_key_env),
        ];
        const WHAT: &str = "is for a remote embedder; set embedder.kind = \"remote\" or remove it";
        for (key, typed) in unused {
            if let Some(typed) = typed {
                self.report(key, typed, WHAT);
            }
        }
        if let Some(typed) = &typed.embedder_dimensions {
            self.report("embedder.dimensions", typed, WHAT);
        }
        EmbedderKind::MiniLm
    }

    fn remote(&mut self, typed: &ConfigFile) -> EmbedderKind {
        let origin = typed.embedder_kind.as_ref().map_or(Origin::Default, |typed| typed.origin.clone());
        let mut required = |key: &str, typed: &Option<Typed<String>>| match typed {
            Some(typed) if !typed.value.trim().is_empty() => typed.value.clone(),
            Some(_) | None => {
                self.problems.push(origin.problem(key, "is needed for a remote embedder; set it as well"));
                String::new()
            }
        };
        let url = required("embedder.url", &typed.embedder_url);
        let model = required("embedder.model", &typed.embedder_model);
        if let Some(typed) = typed.embedder_url.as_ref().filter(|_| !url.is_empty()) {
            self.url("embedder.url", typed);
        }
        let api_key = self.key_in("embedder.api_key_env", typed.embedder_api_key_env.as_ref());
        let dimensions = self.count("embedder.dimensions", typed.embedder_dimensions.as_ref(), 1536, 1..=65_536);
        EmbedderKind::Remote { url, model, dimensions, api_key }
    }

    /// The key in the variable that a setting names.
    fn key_in(&mut self, key: &str, typed: Option<&Typed<String>>) -> Option<Secret> {
        let typed = typed?;
        let found = (self.environment)(&typed.value);
        if found.is_none() {
            let what = format!("variable {:?} is not set; set it, or name another one", typed.value);
            self.report(key, typed, what);
        }
        found.map(Secret::new)
    }

    fn index(&mut self, typed: &ConfigFile) -> partitions::Settings {
        let engines = [("cells", Engine::Cells), ("hnsw", Engine::Hnsw)];
        let engine = self.choice("index.engine", typed.index_engine.as_ref(), &engines, Engine::default());
        let default = engine.default_seal_at() as u64;
        let seal_at = self.count("index.seal_at", typed.index_seal_at.as_ref(), default, 64..=10_000_000);
        partitions::Settings { engine, seal_at }
    }

    fn judge(&mut self, typed: &ConfigFile) -> Option<JudgeConfig> {
        let margin = self.number("judge.margin", typed.judge_margin.as_ref(), 0.10, 0.0..=1.0);
        let Some(url) = &typed.judge_url else {
            for (key, typed) in [("judge.model", &typed.judge_model), ("judge.api_key_env", &typed.judge_api_key_env)] {
                if let Some(typed) = typed {
                    self.report(key, typed, "is for a judge; set judge.url as well or remove it");
                }
            }
            return None;
        };
        self.url("judge.url", url);
        let model = typed.judge_model.as_ref().map(|typed| typed.value.clone()).unwrap_or_default();
        if model.trim().is_empty() {
            self.report("judge.model", url, "is needed for a judge; set it as well");
        }
        let api_key = self.key_in("judge.api_key_env", typed.judge_api_key_env.as_ref());
        Some(JudgeConfig { url: url.value.trim().to_owned(), model, api_key, margin: single(margin) })
    }

    fn matcher(&mut self, typed: &ConfigFile) -> MatcherConfig {
        let floor = self.number("matcher.floor", typed.matcher_floor.as_ref(), 0.50, 0.0..=1.0);
        let least = self.number("matcher.min_similarity", typed.matcher_min_similarity.as_ref(), 0.90, 0.0..=1.0);
        if floor > least {
            let (key, guilty) = match (&typed.matcher_min_similarity, &typed.matcher_floor) {
                (Some(typed), _) => ("matcher.min_similarity", Some(typed)),
                (None, other) => ("matcher.floor", other.as_ref()),
            };
            if let Some(typed) = guilty {
                let what = format!("matcher.floor {floor} is above matcher.min_similarity {least}; lower the floor");
                self.report(key, typed, what);
            }
        }
        MatcherConfig {
            floor: single(floor),
            min_similarity: single(least),
            candidates: self.count("matcher.candidates", typed.matcher_candidates.as_ref(), 8, 1..=64),
        }
    }

    fn choice<T: Copy>(&mut self, key: &str, typed: Option<&Typed<String>>, known: &[(&str, T)], default: T) -> T {
        let Some(typed) = typed else { return default };
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == typed.value) {
            return *value;
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        self.report(key, typed, format!("{:?} is unknown; write {}", typed.value, names.join(" or ")));
        default
    }

    fn number(&mut self, key: &str, typed: Option<&Typed<f64>>, default: f64, range: RangeInclusive<f64>) -> f64 {
        let Some(typed) = typed.filter(|typed| !range.contains(&typed.value)) else {
            return typed.map_or(default, |typed| typed.value);
        };
        self.report(key, typed, format!("{} is not between {} and {}", typed.value, range.start(), range.end()));
        default
    }

    fn count(&mut self, key: &str, typed: Option<&Typed<u64>>, default: u64, range: RangeInclusive<u64>) -> usize {
        let value = typed.map_or(default, |typed| typed.value);
        if let Some(typed) = typed.filter(|_| !range.contains(&value)) {
            self.report(key, typed, format!("{value} is not between {} and {}", range.start(), range.end()));
        }
        in_memory(value)
    }

    fn time(&mut self, key: &str, typed: Option<&Typed<u64>>, default: u64, least: u64) -> Duration {
        let value = typed.map_or(default, |typed| typed.value);
        if let Some(typed) = typed.filter(|_| !(least..=DAY_MS).contains(&value)) {
            self.report(key, typed, format!("{value} ms is not between {least} and {DAY_MS}, a day"));
        }
        Duration::from_millis(value)
    }

    fn size(&mut self, key: &str, typed: Option<&Typed<ByteSize>>, default: u64, least: u64) -> u64 {
        let value = typed.map_or(default, |typed| typed.value.0);
        if let Some(typed) = typed.filter(|_| value < least) {
            self.report(key, typed, format!("{value} bytes is too little; at least {least}"));
        }
        value
    }
}

fn in_memory(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "a cosine typed by hand needs no double precision")]
const fn single(value: f64) -> f32 {
    value as f32
}
