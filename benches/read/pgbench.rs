//! Postgres' own load generator on the query of the afternoon version: what is left when there is no service at all.

use std::{fs, path::PathBuf, time::Duration};

use tokio::process::Command;

use super::{afternoon, server::CONNECTIONS};
use crate::stage::Ground;

pub struct Pgbench {
    program: PathBuf,
    script: PathBuf,
    socket: PathBuf,
    database: String,
}

impl Pgbench {
    /// Asks for terms that everyone may read, each as likely as another; nothing where there is no pgbench.
    pub fn new(ground: &Ground, database: &str, terms: usize) -> Option<Self> {
        let program = find()?;
        let query = afternoon::QUERY.replace("$1", "'term-' || :number::text");
        // Of fifty in a row the first thirty-three are public.
        let choice = format!("\\set number random(0, {} - 1) * 50 + random(0, 32)\n", terms / 50);
        let script = ground.folder().join(format!("{database}.pgbench"));
        // A statement ends at a semicolon, not at the end of a line.
        fs::write(&script, format!("{choice}{query};\n")).unwrap();
        Some(Pgbench { program, script, socket: ground.socket_dir(), database: database.to_owned() })
    }

    /// How many queries it got an answer to, prepared once a connection, and in how many seconds: at least one, which is its
    /// shortest time.
    pub async fn run(&self, round: Duration) -> (f64, f64) {
        let seconds = round.as_secs().max(1).to_string();
        let mut command = Command::new(&self.program);
        command.args(["--no-vacuum", "--protocol=prepared", "--jobs=1"]);
        command.args([format!("--client={CONNECTIONS}"), format!("--time={seconds}")]);
        command.arg("--file").arg(&self.script).arg("--host").arg(&self.socket);
        command.args(["--port=5432", "--username=termbase"]).arg(&self.database);
        let output = command.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let after = |start: &str| -> Option<f64> {
            text.lines().find_map(|line| line.strip_prefix(start)?.trim().split(' ').next()?.parse().ok())
        };
        match (after("number of transactions actually processed:"), after("tps =")) {
            (Some(queries), Some(rate)) => (queries, queries / rate),
            _ => panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)),
        }
    }
}

/// Beside the server's programs, where it is told; in PATH; where Debian puts it.
fn find() -> Option<PathBuf> {
    let told = std::env::var_os("PG_BIN_DIR").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_debian =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let folders = told.into_iter().chain(std::env::split_paths(&path)).chain(of_debian);
    folders.map(|folder| folder.join("pgbench")).find(|program| program.is_file())
}
