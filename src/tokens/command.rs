//! `termbase token`: for whoever has the machine, with `serve` running or not.

use std::io::Write;

use clap::{Subcommand, builder::PossibleValuesParser};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use super::{Role, Token, TokenCreate};
use crate::{
    clock::{Day, Timestamp},
    editorial::document::Choice,
    error::Error,
    state::State,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token, and print its secret: it is stored nowhere
    Create {
        /// Whose it is, or what for; revisions show it as their author
        name: String,
        /// What it may do; each role may do all that those before it may
        #[arg(long, value_parser = PossibleValuesParser::new(Role::ALL.iter().map(|role| role.as_str())))]
        role: String,
        /// From when on it opens nothing: a day (from its begin in UTC), or a number of days from now such as 90d
        #[arg(long)]
        expires: Option<String>,
    },
    /// List all tokens, the newest first
    List,
    /// Make a token open nothing from now on
    Revoke {
        /// The token's id, as the list has it
        id: Uuid,
    },
}

/// Runs the command on the tables.
///
/// # Errors
/// What is wrong with the words, or why it can't be done; a database that does not answer.
pub async fn run(command: Command, state: &State) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        Command::Create { name, role, expires } => {
            let now = state.clock.now();
            let expires_at = expires.map(|text| expiry(&text, now)).transpose()?;
            let wanted = json!({"name": name, "role": role, "expires_at": expires_at});
            let wanted =
                TokenCreate::parse(&wanted, now).map_err(|faults| Error::Refused { faults, conflicts: vec![] })?;
            let (token, secret) = super::create(state, wanted).await?;
            let end = token.expires_at.map_or_else(|| "has no end".to_owned(), |end| format!("expires at {end}"));
            eprintln!("termbase: made token {} of the role {}, which {end}; this is shown once:", token.id, token.role);
            writeln!(std::io::stdout(), "{}", secret.expose_secret())?;
        }
        Command::List => {
            let tokens = super::list(&state.database(), None, None).await.map_err(Error::from)?;
            match write!(std::io::stdout(), "{}", table(&tokens)) {
                // Whoever reads has read enough: `head`, say.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        Command::Revoke { id } => {
            super::revoke(state, id).await?;
            eprintln!("termbase: token {id} is revoked");
        }
    }
    Ok(())
}

fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
    days.and_then(|days| now.plus_days(days)).or_else(|| Day::parse(text).map(Day::begin)).ok_or_else(|| {
        format!("--expires is \"{text}\"; expected a day such as 2027-01-31, or a number of days such as 90d")
    })
}

/// Columns as wide as their longest value; the name is last, since it may be of any script.
fn table(tokens: &[Token]) -> String {
    let head = ["id", "role", "created", "expires", "last used", "revoked", "name"].map(ToOwned::to_owned);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(tokens.iter().map(row)).collect();
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..6).map(width).chain([0]).collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ") + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(token: &Token) -> [String; 7] {
    let Token { id, name, role, created_at, expires_at, last_used_at, revoked_at } = token;
    let time = |time: &Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.to_string());
    let times = [&Some(*created_at), expires_at, last_used_at, revoked_at].map(time);
    let [created, expires, last_used, revoked] = times;
    [id.to_string(), role.to_string(), created, expires, last_used, revoked, name.clone()]
}
