//! Import: files are read a part at a time, staged, and brought in by one write, or not at all.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;

use super::{
    ndjson::{self, Line, Lines},
    yaml,
};
use crate::{
    changes::Position,
    editorial::{self, Ending, Incoming, IncomingRevision, Kind, Mistakes, Mode, Outcome, PART, What, Write},
    error::{Error, Fault},
    state::State,
    tokens::Author,
};

/// The largest file for people that is read.
pub(super) const YAML_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What to do with the files.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub mode: Mode,
    /// Everything is done, and then undone: only what would happen is told.
    pub dry_run: bool,
}

/// A file to import.
#[derive(Debug)]
pub struct Source {
    /// As messages name it.
    pub name: String,
    pub file: File,
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Ndjson,
    Yaml,
}

/// How far an import is.
#[derive(Debug)]
pub enum Progress {
    /// So many bytes of the files are read, and so many documents are in them.
    Read { bytes: u64, documents: u64 },
    /// Documents were compared, and stored where they change something.
    Done(Vec<Outcome>),
}

/// What an import has done, or would do.
#[derive(Default)]
pub struct Report {
    /// How many entities of a kind were made, changed, deleted, restored; `None` is those that are as they were.
    pub counts: BTreeMap<(Kind, Option<What>), u64>,
    pub mistakes: Mistakes,
    /// The place in the log after it; `None` where nothing was kept.
    pub position: Option<Position>,
}

/// Why an import could not be tried to its end.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{name} can't be read: {source}")]
    Unreadable { name: String, source: std::io::Error },
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Imports files: all of them, or nothing where one has a mistake.
///
/// `tell` hears how far it is; where others were writing the same, from the beginning once more.
///
/// # Errors
/// [`ImportError`]; mistakes of the files are in the report.
pub async fn import(
    state: &State,
    author: &Author,
    message: Option<&str>,
    plan: Plan,
    sources: &[Source],
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report, ImportError> {
    let mut unreadable = None;
    let written = editorial::write_or_not(state, author, message, async |write| {
        let mut report = Report::default();
        if let Err(error) = stage(write, sources, &mut report.mistakes, tell).await {
            return Err(match error {
                ImportError::Failed(error) => error,
                error @ ImportError::Unreadable { .. } => {
                    unreadable = Some(error);
                    Error::internal("a file can't be read")
                }
            });
        }
        let counts = &mut report.counts;
        let mut count = |outcomes: Vec<Outcome>| {
            outcomes.iter().for_each(|outcome| *counts.entry((outcome.kind, outcome.what)).or_default() += 1);
            tell(Progress::Done(outcomes));
        };
        write.take_in(plan.mode, &mut report.mistakes, &mut count).await?;
        let keep = !plan.dry_run && report.mistakes.is_empty();
        Ok((report, if keep { Ending::Commit } else { Ending::RollBack }))
    });
    match (written.await, unreadable) {
        (Err(_), Some(error)) => Err(error),
        (written, _) => {
            let (mut report, position) = written?;
            report.position = position;
            report.mistakes.list.sort_by_key(|mistake| (mistake.file, mistake.line));
            Ok(report)
        }
    }
}

/// Reads all files into the write's temporary table. The next part is read while the one before it is staged.
async fn stage(
    write: &mut Write,
    sources: &[Source],
    mistakes: &mut Mistakes,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<(), ImportError> {
    let (mut documents, mut revisions, mut bytes_before) = (0_i64, 0_i64, 0);
    for (number, source) in (0..).zip(sources) {
        let unreadable = |source_error| ImportError::Unreadable { name: source.name.clone(), source: source_error };
        let mut file = source.file.try_clone().map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, bytes: bytes.clone() };
        let reader = Reader { file: number, format: source.format, lines: Lines::of(BufReader::new(counted)) };
        let read = |mut reader: Reader| tokio::task::spawn_blocking(move || (reader.part(), reader));
        let mut reading = read(reader);
        loop {
            let (part, reader) = reading.await.map_err(Error::internal)?;
            let part = part.map_err(unreadable)?;
            part.mistakes.into_iter().for_each(|(line, fault)| mistakes.add(number, line, fault));
            if part.is_end {
                break;
            }
            reading = read(reader);
            if !part.documents.is_empty() {
                write.stage(documents, &part.documents).await?;
            }
            if !part.revisions.is_empty() {
                write.stage_revisions(revisions, &part.revisions).await?;
            }
            documents += i64::try_from(part.documents.len()).unwrap_or_default();
            revisions += i64::try_from(part.revisions.len()).unwrap_or_default();
            let bytes = bytes_before + bytes.load(Ordering::Relaxed);
            tell(Progress::Read { bytes, documents: u64::try_from(documents).unwrap_or_default() });
        }
        bytes_before += bytes.load(Ordering::Relaxed);
    }
    Ok(())
}

/// What was read of a file.
#[derive(Default)]
struct Part {
    documents: Vec<Incoming>,
    revisions: Vec<IncomingRevision>,
    mistakes: Vec<(i64, Fault)>,
    is_end: bool,
}

struct Reader {
    file: i32,
    format: Format,
    lines: Lines<BufReader<Counted>>,
}

impl Reader {
    fn part(&mut self) -> std::io::Result<Part> {
        match self.format {
            Format::Ndjson => self.lines(),
            Format::Yaml => self.whole(),
        }
    }

    fn lines(&mut self) -> std::io::Result<Part> {
        let mut part = Part::default();
        while [part.documents.len(), part.revisions.len(), part.mistakes.len()].iter().all(|count| *count < PART) {
            let Some((number, line)) = self.lines.next_line()? else {
                part.is_end = part.documents.is_empty() && part.revisions.is_empty() && part.mistakes.is_empty();
                break;
            };
            let parsed = line.map_err(|fault| vec![fault]).and_then(|line| ndjson::parse(self.file, number, line));
            match parsed {
                Ok(Line::Entity(incoming)) => part.documents.push(incoming),
                Ok(Line::Revision(revision)) => part.revisions.push(revision),
                Err(faults) => part.mistakes.extend(faults.into_iter().map(|fault| (number, fault))),
            }
        }
        Ok(part)
    }

    /// A file for people is read at once: it is one that an editor can open.
    fn whole(&mut self) -> std::io::Result<Part> {
        let (mut documents, mistakes) = yaml::read(self.file, &self.lines.rest(YAML_MAX_BYTES)?);
        // Postgres takes no null byte, and each is among the mistakes.
        documents.retain(|incoming| !Value::Object(incoming.document.clone()).to_string().contains("\\u0000"));
        let is_end = documents.is_empty();
        Ok(Part { documents, revisions: Vec::new(), mistakes, is_end })
    }
}

/// A file that says how much of it is read.
struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
