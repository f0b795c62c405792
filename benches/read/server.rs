//! Servers under load: each a process of its own, so that the kernel says what it costs.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::stage::{Ground, client};

/// The same for all of them, so that none has another share of the machine.
pub const WORKERS: usize = 2;
/// Connections to Postgres of whoever asks it; the service's own default.
pub const CONNECTIONS: u32 = 10;
pub const TOKEN: &str = "tb_0123456789abcdefghijklmnopqrstuvwxyz";

/// In which the kernel counts; the same on every Linux that there is.
const TICKS_A_SECOND: f64 = 100.0;

pub struct Server {
    child: Child,
    /// Ends the server where this process can't any more.
    watch: Child,
    pub address: SocketAddr,
}

impl Server {
    /// The service, as `cargo build --release` makes it.
    pub fn termbase(ground: &Ground, database: &str, cache_mib: usize, others: &[(&str, &str)]) -> Self {
        Server::termbase_at(ground, &ground.url_as(database, "termbase"), cache_mib, others)
    }

    /// The same at an address of one's own in the database.
    pub fn termbase_at(ground: &Ground, url: &str, cache_mib: usize, others: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_termbase"));
        // A folder without a .env, and nothing of whoever runs this.
        command.arg("serve").current_dir(ground.folder()).env_clear();
        command.envs([("DATABASE_URL", url), ("TERMBASE_LISTEN", "127.0.0.1:0"), ("TERMBASE_LOG", "error")]);
        command.envs([("TERMBASE_ADMIN_TOKEN", TOKEN), ("TERMBASE_SAMPLES", "false")]);
        command.env("TERMBASE_WORKERS", WORKERS.to_string()).env("TERMBASE_CONNECTIONS", CONNECTIONS.to_string());
        command.env("TERMBASE_CACHE_MIB", cache_mib.to_string()).envs(others.iter().copied());
        Server::start(command)
    }

    /// The page without a cache.
    pub fn afternoon(ground: &Ground, database: &str) -> Self {
        Server::peer(&["serve-afternoon", &ground.url_as(database, "afternoon")])
    }

    /// One of the peers: this very program, by one of its hidden words.
    pub fn peer(words: &[&str]) -> Self {
        Server::start(this_program(words))
    }

    /// Each of them says where it listens.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let watch = this_program(&["watch", &child.id().to_string()]).stdin(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.split_once("http://").map(|(_, rest)| rest.trim().to_owned()));
        let address = address.unwrap_or_else(|| panic!("{command:?} did not start")).parse().unwrap();
        // The rest of its greeting goes somewhere, until its end.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, watch, address }
    }

    pub fn url(&self, address: &str) -> String {
        format!("http://{}{address}", self.address)
    }

    /// What it has computed so far.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(&self.child.id().to_string())
    }

    /// A line of the kernel's on its memory, `VmRSS` or `VmHWM`, in MiB.
    pub fn memory_mib(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
    }

    /// What the service counts under this name; all that have the labels.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        let response = client().get(self.url("/metrics")).bearer_auth(TOKEN).send().await.unwrap();
        let text = response.error_for_status().unwrap().text().await.unwrap();
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// How many answers came from the cache, and how many there were.
    pub async fn hits(&self) -> (f64, f64) {
        let name = "termbase_cache_answers_total";
        (self.metric(name, "\"hit\"").await, self.metric(name, "").await)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in [&mut self.watch, &mut self.child] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn this_program(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(words);
    command
}

/// `watch`: ends a process when the one that started this has ended, however it did: its end of the pipe closes.
pub fn watch(process: &str) {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    let _ = kill(Pid::from_raw(process.parse().unwrap()), Signal::SIGKILL);
}

/// What a process has computed so far; `self` is this one, with the load generator.
pub fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name before it may have spaces in it; utime and stime are the 14th and 15th field.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: f64 = fields.map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / TICKS_A_SECOND
}
