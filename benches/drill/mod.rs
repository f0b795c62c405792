//! What the drills stand on: a private cluster of their own, instances of the built program, each reaching that cluster
//! through a [`Wire`](wire::Wire) that can fail, and clients light enough for thousands of them.
#![expect(clippy::unwrap_used, reason = "a drill that fails is to stop here")]
#![allow(dead_code, reason = "each drill uses a part of it")]

pub mod http;
pub mod ledger;
pub mod report;
pub mod wire;

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use serde_json::Value;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use termbase::postgres::cluster::{Cluster, Options};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use http::{Answer, Client, Request};
use wire::Wire;

/// The first admin token of each database here.
pub const ADMIN: &str = "tb_drilldrilldrilldrilldrilldrilldrill";
/// The header with it.
pub const AUTHORIZATION: (&str, &str) = ("authorization", "Bearer tb_drilldrilldrilldrilldrilldrilldrill");
/// How long a start, a migration, or an end may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether something has come about.
const POLL: Duration = Duration::from_millis(2);

/// A whole drill. Told to stop, it takes all that it has started with it.
pub async fn whole(drill: impl Future<Output = ExitCode>) -> ExitCode {
    let (mut terminated, mut interrupted) =
        (signal(SignalKind::terminate()).unwrap(), signal(SignalKind::interrupt()).unwrap());
    tokio::select! {
        code = drill => code,
        _ = terminated.recv() => ExitCode::FAILURE,
        _ = interrupted.recv() => ExitCode::FAILURE,
    }
}

/// A private cluster in a folder of its own.
pub struct Ground {
    cluster: Cluster,
    folder: Folder,
}

/// A folder that goes when this does.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Ground {
    pub async fn prepare(name: &str) -> Self {
        allow_many_files();
        let folder = std::env::temp_dir().join(format!("termbase-drill-{name}-{}", std::process::id()));
        let options = Options {
            program: env!("CARGO_BIN_EXE_termbase").into(),
            data_dir: folder.clone(),
            bin_dir: std::env::var_os("PG_BIN_DIR").map(PathBuf::from),
            path: std::env::var_os("PATH"),
            cache_dir: None,
            linger: Duration::ZERO,
        };
        let attach = move || Cluster::attach(&options, &mut |line| eprintln!("{line}")).unwrap();
        let cluster = tokio::task::spawn_blocking(attach).await.unwrap();
        Ground { cluster, folder: Folder(folder) }
    }

    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// The database, past all wires.
    pub fn url(&self) -> String {
        self.cluster.url("termbase")
    }

    pub async fn connect(&self) -> PgConnection {
        let options: PgConnectOptions = self.url().parse().unwrap();
        PgConnection::connect_with(&options).await.unwrap()
    }

    /// Whether Postgres takes a new session and answers within a moment.
    pub async fn answers(&self) -> bool {
        let options: PgConnectOptions = self.url().parse().unwrap();
        let asking = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            sqlx::query("select 1").execute(&mut connection).await?;
            connection.close().await
        };
        tokio::time::timeout(Duration::from_millis(500), asking).await.is_ok_and(|asked| asked.is_ok())
    }

    pub async fn wire(&self) -> Wire {
        Wire::lay(self.cluster.socket_dir().join(".s.PGSQL.5432")).await
    }

    /// The server's first process; none while there is none.
    pub fn postmaster(&self) -> Option<Pid> {
        let file = self.cluster.folder().join("postgres/postmaster.pid");
        let pid = fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()?;
        Path::new("/proc").join(format!("{pid}")).exists().then_some(Pid::from_raw(pid))
    }

    /// All processes of the server, the first one first.
    pub fn server_processes(&self) -> Vec<Pid> {
        let Some(first) = self.postmaster() else { return Vec::new() };
        let parent = format!("{first}");
        let is_child = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.split_whitespace().nth(1) == Some(&parent))
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        let all = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        std::iter::once(first).chain(all.filter(is_child).map(Pid::from_raw)).collect()
    }

    /// Stops all of the server until the guard goes.
    pub fn freeze(&self) -> Frozen {
        // The first one before the others are looked for: it makes no new ones then.
        let first = self.postmaster().unwrap();
        kill(first, Signal::SIGSTOP).unwrap();
        Frozen(self.server_processes().into_iter().filter(|pid| kill(*pid, Signal::SIGSTOP).is_ok()).collect())
    }

    /// A program that belongs to the server, such as `pg_dump`.
    pub fn program(&self, name: &str) -> PathBuf {
        let first = self.postmaster().unwrap();
        fs::read_link(format!("/proc/{first}/exe")).unwrap().with_file_name(name)
    }

    /// Ends the cluster, and waits for that.
    pub async fn clear(self) {
        let Ground { folder, cluster } = self;
        let ended = cluster.watch();
        drop(cluster);
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            eprintln!("the cluster in {} does not end", folder.0.display());
        }
    }
}

/// Processes that stand still as long as this lives.
pub struct Frozen(Vec<Pid>);

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(*pid, Signal::SIGCONT);
        }
    }
}

/// Thousands of streams need thousands of files; what is started from here inherits the limit.
fn allow_many_files() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = hard.min(16_384);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
    }
}

/// The built program as a process of its own.
pub struct Instance {
    pub name: String,
    pub address: SocketAddr,
    child: Child,
    command: Command,
}

impl Instance {
    /// Starts it on a database behind `wire`, with more settings, and waits until it is ready.
    pub async fn start(ground: &Ground, wire: &Wire, name: &str, settings: &[(&str, &str)]) -> Self {
        let address = free_address();
        let log = File::create(ground.folder().join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_termbase"));
        command
            .env_clear()
            .env("TERMBASE_LISTEN", address.to_string())
            .env("TERMBASE_DATA_DIR", ground.folder().join(name))
            .env("TERMBASE_ADMIN_TOKEN", ADMIN)
            .env("TERMBASE_WORKERS", "1")
            .env("TERMBASE_DRAIN_SECONDS", "0")
            .env("DATABASE_URL", wire.url())
            .envs(settings.iter().copied())
            .current_dir(ground.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn().unwrap();
        let mut instance = Instance { name: name.to_owned(), address, child, command };
        instance.ready().await;
        instance
    }

    /// Starts it again, at the same address.
    pub async fn start_again(&mut self) {
        self.child = self.command.spawn().unwrap();
        self.ready().await;
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&mut self) {
        let began = Instant::now();
        let mut client = Client::new(self.address);
        loop {
            let asking = tokio::time::timeout(Duration::from_secs(2), client.get("/readyz"));
            if asking.await.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200)) {
                return;
            }
            client.hang_up();
            assert!(self.child.try_wait().unwrap().is_none(), "{} has ended; see its log", self.name);
            assert!(began.elapsed() < PATIENCE, "{} is not ready", self.name);
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Ends it as a crash would, and waits for that.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A number of `/metrics`; of all series of that name that have all of `labels`, the sum.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        let request = Request { headers: &[AUTHORIZATION], ..Request::get("/metrics") };
        let answer = self.client().send(&request).await.unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let series = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// An address that nobody listens on at this moment.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Brings documents in by one import: `(kind, document)`.
pub async fn import(instance: &Instance, documents: &[(&str, Value)]) {
    let line =
        |(kind, document): &(&str, Value)| format!("{}\n", serde_json::json!({"kind": kind, "document": document}));
    let body: String = documents.iter().map(line).collect();
    let headers = [AUTHORIZATION, ("content-type", "application/x-ndjson")];
    let request = Request { method: "POST", path: "/import", headers: &headers, body: Some(&body) };
    let answer = instance.client().send(&request).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A write by a token that may do all.
pub async fn write(client: &mut Client, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<Answer> {
    let body = body.map(Value::to_string);
    let headers = [AUTHORIZATION, ("content-type", "application/json")];
    client.send(&Request { method, path, headers: &headers, body: body.as_deref() }).await
}

/// Marsaglia's xorshift: the same choices in each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        all.get(self.below(all.len())).unwrap()
    }
}
