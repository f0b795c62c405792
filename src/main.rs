use std::{process::ExitCode, time::Duration};

use clap::Parser;
use mimalloc::MiMalloc;
use termbase::cli::{self, Cli};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long the end waits for a thread that is busy with the private Postgres.
const BLOCKED: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| {
        let result = runtime.block_on(cli::run(cli));
        // A thread that makes the database may finish; one that waits for a lock or a server must not hold up the end.
        runtime.shutdown_timeout(BLOCKED);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("termbase: {error}");
            ExitCode::FAILURE
        }
    }
}
