//! The command line.

use std::{ffi::OsString, io::Write, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{app, config::Config, openapi, postgres, serve, telemetry, tokens, transfer};

/// A JSON REST API on Postgres that serves a glossary and the directory around it.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Settings come from the environment, or from .env in this folder; .env.example lists them all."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer requests, from a private Postgres or the one that `DATABASE_URL` names; the default
    Serve,
    /// Bring the tables of the Postgres that `DATABASE_URL` names up to date, and end
    Migrate,
    /// Make, list and revoke tokens, whether the service runs or not
    #[command(subcommand)]
    Token(tokens::Command),
    /// Report every mistake of files, or of the files of a folder, without a database
    Check {
        /// YAML (.yaml, .yml) or NDJSON (.ndjson); all of them are one glossary
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Bring files into the glossary, all of them or none, whether the service runs or not
    Import(transfer::command::Import),
    /// Write the glossary to files, or as NDJSON to standard output, whether the service runs or not
    Export(transfer::command::Export),
    /// Print the OpenAPI description
    Openapi,
    /// The supervisor of the private Postgres; started by `serve`
    #[command(hide = true, disable_help_flag = true)]
    Postgres {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// Runs the command; what it returns is for a person to read.
///
/// # Errors
/// Why the command failed, and what to do.
pub async fn run(cli: Cli) -> Result<(), Box<dyn std::error::Error>> {
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            let config = settings()?;
            telemetry::start(&config.log);
            serve::serve(config).await?;
        }
        Command::Migrate => {
            let config = settings()?;
            telemetry::start(&config.log);
            serve::migrate(&config.database).await?;
            println!("the tables are up to date");
        }
        Command::Token(command) => {
            let config = settings()?;
            telemetry::start(&config.log);
            serve::on_tables(config, async |state| tokens::run(command, state).await).await?;
        }
        Command::Check { paths } => transfer::check::run(&paths)?,
        Command::Import(import) => {
            let config = settings()?;
            telemetry::start(&config.log);
            serve::on_tables(config, async |state| import.run(state).await).await?;
        }
        Command::Export(export) => {
            let config = settings()?;
            telemetry::start(&config.log);
            serve::on_tables(config, async |state| export.run(state).await).await?;
        }
        Command::Openapi => match write!(std::io::stdout(), "{}", openapi::to_json(&app::describe())) {
            // Whoever reads has read enough: `head`, say.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
            written => written?,
        },
        Command::Postgres { words } => postgres::supervisor::run(postgres::supervisor::Args::parse(words)?).await?,
    }
    Ok(())
}

/// The environment, and below it `.env` of this very folder: one of a parent folder is somebody else's.
fn settings() -> Result<Config, Box<dyn std::error::Error>> {
    let file = match std::fs::read_to_string(".env") {
        // Some editors begin a file with a byte order mark.
        Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!(".env can't be read: {error}").into()),
    };
    let mut variables = Vec::new();
    for line in dotenvy::from_read_iter(file.as_bytes()) {
        let (name, value) = line.map_err(|error| unreadable(&file, &error))?;
        variables.push((name.into(), value.into()));
    }
    variables.extend(std::env::vars_os());
    Ok(Config::read(variables)?)
}

/// Says which line is wrong, but shows nothing of it: it may hold a secret.
fn unreadable(file: &str, error: &dotenvy::Error) -> String {
    let index = match error {
        dotenvy::Error::LineParse(part, _) => file.lines().position(|line| line.contains(part)),
        _ => None,
    };
    let place = index.map_or_else(|| "a line of .env".to_owned(), |index| format!("line {} of .env", index + 1));
    format!(
        "{place} can't be read (it is not shown here); expected NAME=value, where a value with spaces, quotes or # \
         stands in single quotes."
    )
}
