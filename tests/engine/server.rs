//! Engines of a test's own: real servers on free ports, without files, which end with the test.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The port of a server that all tests of this process share, and which ends with it, however it ends.
pub(crate) fn of_the_process() -> u16 {
    static SHARED: std::sync::OnceLock<(Child, u16)> = std::sync::OnceLock::new();
    let (_, port) = SHARED.get_or_init(|| {
        let port = free_port();
        // The pipe closes when this process ends.
        let script = "redis-server \"$@\" >/dev/null 2>&1 & engine=$!; read _; kill $engine";
        let mut command = Command::new("sh");
        command.args([
            "-c",
            script,
            "sh",
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        wait_for(port);
        (child, port)
    });
    *port
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    program: &'static str,
    child: Child,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    args: Vec<String>,
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    // A cluster's servers also listen 10000 above it.
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 {
            return port;
        }
    }
}

fn start(program: &str, port: u16, dir: &std::path::Path, args: &[String]) -> Child {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap_or_else(|error| {
        panic!("{program} cannot be started ({error}): install it, such as with `apt-get install redis-server redis-sentinel`")
    });
    wait_for(port);
    child
}

fn wait_for(port: u16) {
    for _ in 0..1000 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        nap();
    }
    panic!("nothing listens on port {port}");
}

#[expect(clippy::disallowed_methods, reason = "before the test's runtime has anything to do")]
fn nap() {
    std::thread::sleep(Duration::from_millis(10));
}

impl Server {
    /// A server of its own.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With further settings, as on the command line.
    pub(crate) fn with(settings: &[&str]) -> Self {
        let port = free_port();
        let port_text = port.to_string();
        let base = ["--port", port_text.as_str(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let args: Vec<String> = base.iter().chain(settings).map(|text| (*text).to_owned()).collect();
        let dir = tempfile::tempdir().unwrap();
        Self::run("redis-server", port, dir, args)
    }

    fn run(program: &'static str, port: u16, dir: tempfile::TempDir, args: Vec<String>) -> Self {
        let child = start(program, port, dir.path(), &args);
        Self { program, child, port, dir, args }
    }

    /// A replica of it that has everything it has.
    pub(crate) fn replica(&self) -> Self {
        let replica = Self::with(&["--replicaof", &format!("127.0.0.1 {}", self.port)]);
        for _ in 0..1000 {
            if replica.cli(&["info", "replication"]).contains("master_link_status:up") {
                return replica;
            }
            nap();
        }
        panic!("the replica does not follow");
    }

    /// A Sentinel that watches over it under the name `main`, and alone decides that it is down.
    pub(crate) fn sentinel(&self) -> Self {
        let (port, dir) = (free_port(), tempfile::tempdir().unwrap());
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n",
            self.port
        );
        let file = dir.path().join("sentinel.conf");
        std::fs::write(&file, settings).unwrap();
        let sentinel = Self::run("redis-sentinel", port, dir, vec![file.display().to_string()]);
        for _ in 0..2000 {
            if sentinel.cli(&["sentinel", "replicas", "main"]).contains("slave") {
                return sentinel;
            }
            nap();
        }
        panic!("the Sentinel sees no replica");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Runs a command on it and says what it answered.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }

    /// Kills it at once.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it anew on its port, with nothing in it.
    pub(crate) fn revive(&mut self) {
        self.kill();
        self.child = start(self.program, self.port, self.dir.path(), &self.args);
    }

    /// Stops it from answering, without closing a connection; or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let id = self.child.id().to_string();
        // It may be dead already.
        Command::new("kill").args([signal, &id]).stderr(Stdio::null()).status().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.freeze(false);
        self.kill();
    }
}

pub(crate) fn cli(port: u16, args: &[&str]) -> String {
    let port = port.to_string();
    let output = Command::new("redis-cli").args(["-p", &port]).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Three masters that form a cluster.
pub(crate) fn cluster() -> Vec<Server> {
    let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let servers: Vec<Server> = (0..3).map(|_| Server::with(&settings)).collect();
    let addresses: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    let mut create = Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(&addresses).args(["--cluster-replicas", "0", "--cluster-yes"]);
    assert!(create.stdout(Stdio::null()).status().unwrap().success(), "the cluster is made");
    for server in &servers {
        for _ in 0..1000 {
            if server.cli(&["cluster", "info"]).contains("cluster_state:ok") {
                break;
            }
            nap();
        }
    }
    servers
}

pub(crate) fn cluster_url(servers: &[Server]) -> String {
    let hosts: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    format!("redis+cluster://{}", hosts.join(","))
}
