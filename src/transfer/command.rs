//! `termbase import` and `termbase export`: for whoever has the machine, with `serve` running or not.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, builder::PossibleValuesParser};

use super::{
    check, export,
    export_yaml::export_yaml,
    import::{self, Format, Plan, Report, Source},
    pages,
    progress::{Progress, Unit},
    yaml,
};
use crate::{
    editorial::{Kind, Mistake, Mode, Outcome, What, document::Choice as _},
    state::State,
    tokens::Author,
};

/// What stands in revisions of what the command line brings in.
const AUTHOR: &str = "termbase import";

#[derive(Debug, Args)]
pub struct Import {
    /// YAML (.yaml, .yml) or NDJSON (.ndjson), or a folder of such files; - is NDJSON from standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// create: everything must be new. upsert: what is there is changed, members that are left out stay as they are.
    /// replace: what is there gets the whole document, members that are left out take their defaults
    #[arg(long, default_value = "upsert", value_parser = PossibleValuesParser::new(Mode::ALL.iter().map(|mode| mode.as_str())))]
    mode: String,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    /// Why: it stands in the history
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

impl Import {
    /// # Errors
    /// What is wrong with the files, all of it; what can't be read; a database that does not answer.
    pub async fn run(self, state: &State) -> Result<(), Box<dyn std::error::Error>> {
        let sources = sources(&self.paths)?;
        let bytes = sources.iter().map(|source| source.file.metadata().map_or(0, |data| data.len())).sum::<u64>();
        let mode = Mode::ALL.iter().copied().find(|mode| mode.as_str() == self.mode).unwrap_or(Mode::Upsert);
        let plan = Plan { mode, dry_run: self.dry_run };
        let mut reading = Progress::begin("reading", Unit::Bytes);
        let mut writing = None;
        let (mut all, mut done) = (0, 0);
        let mut tell = |progress: import::Progress| match progress {
            import::Progress::Read { bytes: read, documents } => {
                (all, done, writing) = (documents, 0, None);
                reading.tell(read, bytes.max(read));
            }
            import::Progress::Done(outcomes) => {
                reading.end();
                done += outcomes.len() as u64;
                writing.get_or_insert_with(|| Progress::begin("writing", Unit::Things)).tell(done, all.max(done));
                if plan.dry_run {
                    say_outcomes(&outcomes);
                }
            }
        };
        let report =
            import::import(state, &Author::program(AUTHOR), self.message.as_deref(), plan, &sources, &mut tell).await;
        reading.end();
        writing.iter().for_each(Progress::end);
        let report = report?;
        if !report.mistakes.is_empty() {
            return Err(say_mistakes(&sources, &report).into());
        }
        let end = match report.position {
            Some(position) => format!("at position {position}"),
            None => "nothing was written, since this was a dry run".into(),
        };
        eprintln!("termbase: {}; {end}", summary(&report, plan.dry_run));
        Ok(())
    }
}

/// The files that paths stand for; of standard input a file is made, since a write may have to begin once more.
fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Box<dyn std::error::Error>> {
    let mut sources = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut file = tempfile::tempfile()?;
            std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
            sources.push(Source { name: "standard input".into(), file, format: Format::Ndjson });
            continue;
        }
        for path in check::files(std::slice::from_ref(path))? {
            let format = if check::is_yaml(&path) { Format::Yaml } else { Format::Ndjson };
            let file = File::open(&path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
            sources.push(Source { name: path.display().to_string(), file, format });
        }
    }
    Ok(sources)
}

/// Each mistake where it stands, on standard output; and what to say at the end.
fn say_mistakes(sources: &[Source], report: &Report) -> String {
    let mut out = std::io::stdout().lock();
    let mut text: Option<(i32, String)> = None;
    for Mistake { file, line, fault } in &report.mistakes.list {
        let Some(source) = usize::try_from(*file).ok().and_then(|at| sources.get(at)) else { continue };
        let shown = match source.format {
            Format::Yaml => {
                if text.as_ref().is_none_or(|(of, _)| of != file) {
                    text = Some((*file, std::fs::read_to_string(&source.name).unwrap_or_default()));
                }
                let at = yaml::locate(text.as_ref().map_or("", |(_, text)| text), *line, fault);
                format!("{}:{}:{}: {}: {}", source.name, at.line, at.column, fault.code, fault.detail)
            }
            Format::Ndjson => {
                let pointer = fault.pointer.as_deref().unwrap_or_default();
                let place = if pointer.is_empty() { String::new() } else { format!("{pointer}: ") };
                format!("{}:{line}:1: {}: {place}{}", source.name, fault.code, fault.detail)
            }
        };
        // Whoever reads has read enough: `head`, say.
        if writeln!(out, "{shown}").is_err() {
            break;
        }
    }
    let more = if report.mistakes.more > 0 {
        format!(", of which the first {} are shown", report.mistakes.list.len())
    } else {
        String::new()
    };
    let count = report.mistakes.list.len() + report.mistakes.more;
    let mistakes = if count == 1 { "mistake" } else { "mistakes" };
    format!("nothing was imported: {count} {mistakes}{more}. Mend them, and import again.")
}

/// What would become of each entity that something would become of, a line each.
fn say_outcomes(outcomes: &[Outcome]) {
    let mut out = std::io::stdout().lock();
    for Outcome { kind, slug, version, what } in outcomes {
        let Some(what) = what else { continue };
        let verb = match what {
            What::Created => "create",
            What::Updated => "update",
            What::Deleted | What::Purged => "delete",
            What::Restored => "restore",
        };
        // Whoever reads has read enough.
        if writeln!(out, "{verb} {} {slug} (version {version})", kind.as_str()).is_err() {
            return;
        }
    }
}

fn summary(report: &Report, dry_run: bool) -> String {
    let of_kind = |kind: Kind| {
        let counts = report.counts.iter().filter(|((of, _), _)| *of == kind);
        let counts: Vec<String> =
            counts.map(|((_, what), count)| format!("{count} {}", what.map_or("unchanged", What::as_str))).collect();
        (!counts.is_empty()).then(|| format!("{}: {}", kind.plural(), counts.join(", ")))
    };
    let kinds: Vec<String> = [Kind::Category, Kind::Company, Kind::Term].into_iter().filter_map(of_kind).collect();
    let verb = if dry_run { "would import" } else { "imported" };
    if kinds.is_empty() { "the files have no documents".into() } else { format!("{verb} {}", kinds.join("; ")) }
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Export {
    /// Write YAML, a file a category, into this folder: documents alone, for people and git
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Write every public page as a file into this folder, with an nginx.conf that serves them at the same addresses
    #[arg(long = "static", value_name = "DIR")]
    pages: Option<PathBuf>,
    /// Write NDJSON with all revisions; without it, NDJSON has each entity as it is
    #[arg(long)]
    revisions: bool,
}

impl Export {
    /// # Errors
    /// What can't be written; a database that does not answer.
    pub async fn run(self, state: &State) -> Result<(), Box<dyn std::error::Error>> {
        match (self.to, self.pages) {
            (Some(folder), _) => {
                let done = export_yaml(state, &folder).await?;
                eprintln!(
                    "termbase: wrote {} categories, {} companies and {} terms into {} files of {}, as they are at position {}",
                    done.categories,
                    done.companies,
                    done.terms,
                    done.files.len(),
                    folder.display(),
                    done.position
                );
                Ok(())
            }
            (None, Some(folder)) => write_pages(state, &folder).await,
            (None, None) => print(state, self.revisions).await,
        }
    }
}

async fn write_pages(state: &State, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut progress = Progress::begin("asking for addresses", Unit::Things);
    let written = pages::write(state, folder, &mut |done, known| progress.tell(done as u64, known as u64)).await;
    progress.end();
    let pages::Written { position, pages, moved, gone } = written?;
    eprintln!(
        "termbase: wrote {pages} pages, {moved} redirects and {gone} deleted addresses to {}, as they are at position {position}",
        folder.display()
    );
    Ok(())
}

async fn print(state: &State, revisions: bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut export = export::Export::begin(state, revisions).await?;
    let mut out = std::io::stdout().lock();
    while let Some(part) = export.part().await? {
        match out.write_all(&part) {
            // Whoever reads has read enough: `head`, say.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    out.flush()?;
    eprintln!("termbase: wrote {} lines, as they are at position {}", export.lines, export.position);
    Ok(())
}
