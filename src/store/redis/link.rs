//! The connection to the engine: made when it is needed, given up when it breaks, made anew.
//!
//! A call waits for one round trip, bounded by a timeout. While the engine does not answer, calls fail at once: a request
//! must not wait for what the last one already waited for. A call that a connection broke under is made once more; every
//! script may run twice.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, TlsMode, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, ResponsePolicy, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use tokio::time::Instant;

use super::address::{Address, Kind, Login};
use crate::store::StoreError;

/// Between two attempts to connect.
const BACKOFF: Duration = Duration::from_millis(200);
const NO_SCRIPT: &str = "NOSCRIPT";

/// How the engine is reached.
#[derive(Debug, Clone)]
pub(super) struct LinkSettings {
    pub(super) connect: Duration,
    pub(super) response: Duration,
    /// PEM of the authorities that vouch for the engine, where they are not the system's.
    pub(super) authorities: Option<Vec<u8>>,
}

#[derive(Clone)]
enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// One connection, or one to each node of a cluster.
pub(super) struct Link {
    address: Address,
    settings: LinkSettings,
    current: tokio::sync::Mutex<Option<(u64, Wire)>>,
    reachable: AtomicBool,
    not_before: Mutex<Option<Instant>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.address)
    }
}

impl Link {
    pub(super) fn new(address: Address, settings: LinkSettings) -> Self {
        let (current, reachable) = (tokio::sync::Mutex::default(), AtomicBool::new(true));
        Self { address, settings, current, reachable, not_before: Mutex::default() }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the last call was answered.
    pub(super) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::SeqCst)
    }

    /// One command.
    pub(super) async fn ask(&self, cmd: &Cmd) -> Result<Value, StoreError> {
        self.twice(Request::One(cmd)).await
    }

    /// Several commands of one part in one round trip.
    pub(super) async fn pipe(&self, pipe: &Pipeline) -> Result<Vec<Value>, StoreError> {
        if pipe.is_empty() {
            return Ok(Vec::new());
        }
        super::reply::array(self.twice(Request::Several(pipe)).await?)
    }

    /// What every server that takes writes says.
    pub(super) async fn ask_all(&self, cmd: &Cmd) -> Result<Vec<Value>, StoreError> {
        Ok(match self.twice(Request::Everywhere(cmd)).await? {
            Value::Array(answers) => answers,
            Value::Map(answers) => answers.into_iter().map(|(_, answer)| answer).collect(),
            other => vec![other],
        })
    }

    /// How many replicas confirm what this connection wrote to the server of `key`, waiting for `wanted` of them.
    pub(super) async fn wait_for_replicas(&self, key: &str, wanted: u32, timeout_ms: u64) -> Result<u64, StoreError> {
        let mut wait = redis::cmd("WAIT");
        wait.arg(wanted).arg(timeout_ms);
        super::reply::number(self.twice(Request::At(&wait, key)).await?).map(Option::unwrap_or_default)
    }

    async fn twice(&self, request: Request<'_>) -> Result<Value, StoreError> {
        let mut again = true;
        loop {
            let (number, wire) = self.wire().await?;
            // What the engine refused comes as an answer too.
            let error = match send(wire, request).await.and_then(Value::extract_error) {
                Ok(answer) => {
                    self.reachable.store(true, Ordering::SeqCst);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if !breaks(&error) {
                return Err(engine(&error));
            }
            self.give_up(number).await;
            if !std::mem::replace(&mut again, false) || error.is_timeout() {
                self.reachable.store(false, Ordering::SeqCst);
                return Err(StoreError::Unreachable(error.to_string()));
            }
        }
    }

    async fn give_up(&self, number: u64) {
        // A cluster's connection finds the new master by itself.
        if self.address.kind != Kind::Cluster {
            let mut current = self.current.lock().await;
            current.take_if(|(current, _)| *current == number);
        }
    }

    async fn wire(&self) -> Result<(u64, Wire), StoreError> {
        let mut current = match self.current.try_lock() {
            Ok(current) => current,
            Err(_) if !self.is_reachable() => return Err(StoreError::Unreachable("not connected".to_owned())),
            Err(_) => self.current.lock().await,
        };
        if let Some((number, wire)) = &*current {
            return Ok((*number, wire.clone()));
        }
        let now = Instant::now();
        if self.not_before().is_some_and(|not_before| now < not_before) {
            return Err(StoreError::Unreachable("not connected".to_owned()));
        }
        match self.connect().await {
            Ok(wire) => {
                let number = fastrand::u64(..);
                *current = Some((number, wire.clone()));
                *self.not_before() = None;
                Ok((number, wire))
            }
            Err(error) => {
                self.reachable.store(false, Ordering::SeqCst);
                *self.not_before() = Some(Instant::now() + BACKOFF);
                Err(error)
            }
        }
    }

    fn not_before(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Wire, StoreError> {
        let Address { kind, tls: _, hosts, login, sentinel_login, database } = &self.address;
        match kind {
            Kind::Cluster => self.connect_cluster(hosts, login).await,
            Kind::One => {
                let host = hosts.first().cloned().unwrap_or_default();
                Ok(Wire::One(self.connect_one(host, login, *database).await?))
            }
            Kind::Sentinel { master } => {
                let mut last = StoreError::Unreachable("no Sentinel is named".to_owned());
                for sentinel in hosts {
                    match self.master(sentinel.clone(), sentinel_login, master).await {
                        Ok(host) => return Ok(Wire::One(self.connect_one(host, login, *database).await?)),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// Where the master is, as a Sentinel says.
    async fn master(&self, sentinel: (String, u16), login: &Login, master: &str) -> Result<(String, u16), StoreError> {
        let mut wire = self.connect_one(sentinel, login, 0).await?;
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let told: Option<(String, u16)> = cmd.query_async(&mut wire).await.map_err(|error| unreachable(&error))?;
        told.ok_or_else(|| StoreError::Unreachable(format!("the Sentinels know no master {master:?}")))
    }

    async fn connect_one(
        &self,
        (host, port): (String, u16),
        login: &Login,
        database: i64,
    ) -> Result<MultiplexedConnection, StoreError> {
        let client = self.client((host, port), login, database)?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect))
            .set_response_timeout(Some(self.settings.response));
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| unreachable(&error))
    }

    fn client(&self, host: (String, u16), login: &Login, database: i64) -> Result<Client, StoreError> {
        let info = self.info(host, login, database)?;
        match self.certificates() {
            Some(certificates) if self.address.tls => Client::build_with_tls(info, certificates),
            _ => Client::open(info),
        }
        .map_err(|error| engine(&error))
    }

    fn info(&self, (host, port): (String, u16), login: &Login, database: i64) -> Result<ConnectionInfo, StoreError> {
        let address = if self.address.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let mut settings = RedisConnectionInfo::default().set_db(database);
        if let Some(user) = &login.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &login.password {
            settings = settings.set_password(password);
        }
        Ok(address.into_connection_info().map_err(|error| engine(&error))?.set_redis_settings(settings))
    }

    fn certificates(&self) -> Option<TlsCertificates> {
        let root_cert = self.settings.authorities.clone()?;
        Some(TlsCertificates { client_tls: None, root_cert: Some(root_cert) })
    }

    async fn connect_cluster(&self, hosts: &[(String, u16)], login: &Login) -> Result<Wire, StoreError> {
        let nodes = hosts.iter().map(|host| self.info(host.clone(), login, 0)).collect::<Result<Vec<_>, _>>()?;
        let mut builder = ClusterClient::builder(nodes)
            .connection_timeout(self.settings.connect)
            .response_timeout(self.settings.response)
            .overall_response_timeout(Some(self.settings.response * 2))
            .retries(3);
        if self.address.tls {
            builder = builder.tls(TlsMode::Secure);
        }
        if let Some(certificates) = self.certificates().filter(|_| self.address.tls) {
            builder = builder.certs(certificates);
        }
        if let Some(user) = &login.user {
            builder = builder.username(user);
        }
        if let Some(password) = &login.password {
            builder = builder.password(password);
        }
        let client = builder.build().map_err(|error| engine(&error))?;
        Ok(Wire::Cluster(client.get_async_connection().await.map_err(|error| unreachable(&error))?))
    }
}

/// What is asked.
#[derive(Clone, Copy)]
enum Request<'a> {
    One(&'a Cmd),
    Several(&'a Pipeline),
    Everywhere(&'a Cmd),
    /// The server that has this key.
    At(&'a Cmd, &'a str),
}

async fn send(wire: Wire, request: Request<'_>) -> Result<Value, RedisError> {
    match (wire, request) {
        (Wire::One(mut wire), Request::Several(pipe)) => {
            wire.send_packed_commands(pipe, 0, pipe.len()).await.map(Value::Array)
        }
        (Wire::One(mut wire), Request::One(cmd) | Request::At(cmd, _)) => wire.send_packed_command(cmd).await,
        (Wire::One(mut wire), Request::Everywhere(cmd)) => {
            wire.send_packed_command(cmd).await.map(|answer| Value::Array(vec![answer]))
        }
        (Wire::Cluster(mut wire), Request::One(cmd)) => wire.req_packed_command(cmd).await,
        (Wire::Cluster(mut wire), Request::Several(pipe)) => {
            wire.req_packed_commands(pipe, 0, pipe.len()).await.map(Value::Array)
        }
        (Wire::Cluster(mut wire), Request::Everywhere(cmd)) => {
            let all = (MultipleNodeRoutingInfo::AllMasters, Some(ResponsePolicy::Special));
            wire.route_command(cmd.clone(), RoutingInfo::MultiNode(all)).await
        }
        (Wire::Cluster(mut wire), Request::At(cmd, key)) => {
            let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
            wire.route_command(cmd.clone(), RoutingInfo::SingleNode(route)).await
        }
    }
}

/// Whether a call that failed so has to be made over another connection: the engine is gone, or no longer the master.
fn breaks(error: &RedisError) -> bool {
    let elsewhere = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
        ) | ErrorKind::ClusterConnectionNotFound
    );
    elsewhere || error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

fn unreachable(error: &RedisError) -> StoreError {
    match error.kind() {
        ErrorKind::AuthenticationFailed => StoreError::EngineUnusable(format!("it refuses the login ({error})")),
        _ => StoreError::Unreachable(error.to_string()),
    }
}

/// What the engine said no with.
fn engine(error: &RedisError) -> StoreError {
    match error.code() {
        Some(NO_SCRIPT) => StoreError::Engine(NO_SCRIPT.to_owned()),
        Some("OOM") => StoreError::EngineFull,
        Some("NOREPLICAS") => StoreError::Unreachable("it has too few replicas to take writes".to_owned()),
        Some("NOAUTH" | "WRONGPASS") => StoreError::EngineUnusable(format!("it refuses the login ({error})")),
        _ => StoreError::Engine(error.to_string()),
    }
}

/// Whether the engine does not know the script.
pub(super) fn lacks_script(error: &StoreError) -> bool {
    matches!(error, StoreError::Engine(what) if what == NO_SCRIPT)
}
