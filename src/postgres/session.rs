//! The few bytes of Postgres's protocol that tell whether the private server answers, and make our database.
//!
//! `pg_isready` and `createdb` would do, but they are the client's programs: systems that package those apart would
//! need one more package for a question of forty bytes. Opening a session also proves more than that a server is there:
//! our role can log in.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The superuser of a private cluster, and the role that termbase uses.
pub const USER: &str = "termbase";

/// The database of the glossary in a private cluster.
pub const DATABASE: &str = "termbase";

/// Exists in every cluster.
const FIRST_DATABASE: &str = "postgres";

/// How long a server may be silent in the middle of a session.
const SILENCE: Duration = Duration::from_secs(10);

/// Longer than anything that the server has to say here; a protection against reading nonsense as a length.
const LONGEST_MESSAGE: usize = 1 << 20;

/// Protocol 3.0, which every server from 7.4 on speaks.
const PROTOCOL: u32 = 0x0003_0000;

/// Why there was no session, or no result.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Nothing listens, or it does not speak Postgres.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server refused.
    #[error("{message} (SQLSTATE {code})")]
    Refused { code: String, message: String },
}

impl SessionError {
    /// Whether the server is there and recovering: it needs time, not help.
    pub fn is_starting(&self) -> bool {
        matches!(self, Self::Refused { code, message } if code == "57P03" && !message.contains("shutting down"))
    }
}

/// Whether the server at this socket opens a session for us.
pub fn probe(socket: &Path) -> Result<(), SessionError> {
    Session::open(socket, FIRST_DATABASE).map(drop)
}

/// Makes our database where it is missing. `initdb` only makes `postgres`.
pub fn ensure_database(socket: &Path) -> Result<(), SessionError> {
    let mut session = Session::open(socket, FIRST_DATABASE)?;
    let rows = session.run(&format!("select from pg_database where datname = '{DATABASE}'"))?;
    if rows == 0 {
        session.run(&format!("create database {DATABASE}"))?;
    }
    Ok(())
}

struct Session {
    stream: UnixStream,
}

impl Session {
    fn open(socket: &Path, database: &str) -> Result<Self, SessionError> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.set_write_timeout(Some(SILENCE))?;
        let mut session = Self { stream };
        let mut body = PROTOCOL.to_be_bytes().to_vec();
        for text in ["user", USER, "database", database, ""] {
            body.extend_from_slice(text.as_bytes());
            body.push(0);
        }
        session.send(None, &body)?;
        session.until_ready()?;
        Ok(session)
    }

    /// Runs one statement and returns the number of its rows.
    fn run(&mut self, sql: &str) -> Result<usize, SessionError> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.send(Some(b'Q'), &body)?;
        self.until_ready()
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
        // The length counts itself, not the kind before it. Our messages are a few bytes long.
        let length = u32::try_from(body.len() + 4).map_err(io::Error::other)?;
        let mut message = Vec::from_iter(kind);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        self.stream.write_all(&message)
    }

    /// Reads on to where the server waits for us; an error on the way is the outcome, else the number of rows.
    fn until_ready(&mut self) -> Result<usize, SessionError> {
        let mut rows = 0;
        let mut refused = None;
        loop {
            let (kind, body) = match self.receive() {
                Ok(message) => message,
                // After a refused login the server says why, and hangs up.
                Err(error) => return Err(refused.unwrap_or(SessionError::Io(error))),
            };
            match kind {
                b'E' => refused = Some(refusal(&body)),
                b'R' if body != [0; 4] => return Err(io::Error::other("the server wants a password").into()),
                b'D' => rows += 1,
                b'Z' => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut kind = [0];
        self.stream.read_exact(&mut kind)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = (u32::from_be_bytes(length) as usize).saturating_sub(4);
        if length > LONGEST_MESSAGE {
            return Err(io::Error::other("what listens there is no Postgres"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        let [kind] = kind;
        Ok((kind, body))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A goodbye spares the server's log a line about a lost client; that it fails changes nothing.
        let _ = self.send(Some(b'X'), &[]);
    }
}

/// Reads an error message: fields of one letter and a text each.
fn refusal(body: &[u8]) -> SessionError {
    let mut code = String::new();
    let mut message = String::new();
    for field in body.split(|byte| *byte == 0) {
        match field.split_first() {
            Some((b'C', text)) => code = String::from_utf8_lossy(text).into_owned(),
            Some((b'M', text)) => message = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    SessionError::Refused { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_by_its_fields() {
        let error = refusal(b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0");
        assert_eq!(error.to_string(), "the database system is starting up (SQLSTATE 57P03)");
        assert!(error.is_starting());
        assert!(!refusal(b"C57P03\0Mthe database system is shutting down\0\0").is_starting());
        assert!(!refusal(b"\0").is_starting());
    }

    #[test]
    fn nothing_listening_is_an_error_at_once() {
        assert!(probe(Path::new("/nonexistent/socket")).is_err());
    }
}
