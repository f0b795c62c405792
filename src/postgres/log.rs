//! The log of the private server: what Postgres prints, and its supervisor.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};

use super::place::Place;

/// A log longer than this is put aside at a start.
const LONGEST: u64 = 16 << 20;

/// How much of its end is looked through for the last lines.
const END: u64 = 32 << 10;

/// Begins a new log when the old one has grown long; the one before that goes.
pub fn put_aside(place: &Place) -> io::Result<()> {
    let log = place.log();
    if length(place) > LONGEST {
        fs::rename(&log, log.with_extension("log.1"))?;
    }
    Ok(())
}

/// How long the log is now.
pub fn length(place: &Place) -> u64 {
    place.log().metadata().map_or(0, |log| log.len())
}

/// The last lines, for a message; never fails, because the message is about something worse.
pub fn last_lines(place: &Place, count: usize) -> String {
    let text = match read(place, length(place).saturating_sub(END)) {
        Ok(text) => text,
        Err(error) => return format!("(the log can't be read: {error})"),
    };
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(count)).copied().collect::<Vec<_>>().join("\n")
}

/// Whether a text stands in the log behind a position. The server writes English, see [`data`](super::data).
pub fn says_since(place: &Place, position: u64, text: &str) -> bool {
    read(place, position).is_ok_and(|said| said.contains(text))
}

fn read(place: &Place, position: u64) -> io::Result<String> {
    let mut log = File::open(place.log())?;
    log.seek(SeekFrom::Start(position))?;
    let mut said = Vec::new();
    log.take(1 << 20).read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
