use std::process::ExitCode;

use clap::Parser;
use termbase::cli::{self, Cli};

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("termbase: {error}");
            ExitCode::FAILURE
        }
    }
}
