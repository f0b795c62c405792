//! What a drill found, as a table for a terminal and for the docs.

use std::{
    fmt::Write as _,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use tokio::sync::watch;

/// A promise that was not kept, told so that one can look for the cause.
#[derive(Debug, Clone)]
pub struct Broken {
    /// One of a few, by which a run can be told from another.
    pub promise: &'static str,
    pub sentence: String,
}

impl Broken {
    pub fn new(promise: &'static str, sentence: impl Into<String>) -> Self {
        Broken { promise, sentence: sentence.into() }
    }
}

/// The first promise that was broken, whoever saw it; and whether the run is over, for that or another reason.
pub struct Verdict {
    first: OnceLock<Broken>,
    over: watch::Sender<bool>,
}

impl Default for Verdict {
    fn default() -> Self {
        Verdict { first: OnceLock::new(), over: watch::Sender::new(false) }
    }
}

impl Verdict {
    pub fn broken(&self, broken: Broken) {
        let _ = self.first.set(broken);
        self.end();
    }

    pub fn take(&self, result: Result<(), Broken>) {
        if let Err(broken) = result {
            self.broken(broken);
        }
    }

    pub fn first(&self) -> Option<&Broken> {
        self.first.get()
    }

    pub fn end(&self) {
        self.over.send_replace(true);
    }

    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Sleeps, but not past the end.
    pub async fn pause(&self, duration: Duration) {
        let mut over = self.over.subscribe();
        let _ = tokio::time::timeout(duration, over.wait_for(|over| *over)).await;
    }

    /// What `work` gives; none where the run is over before.
    pub async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut over = self.over.subscribe();
        tokio::select! {
            value = work => Some(value),
            _ = over.wait_for(|over| *over) => None,
        }
    }
}

/// Durations, of which the usual ones and the longest are told.
#[derive(Default)]
pub struct Times(Mutex<Vec<Duration>>);

impl Times {
    pub fn add(&self, duration: Duration) {
        self.0.lock().unwrap().push(duration);
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The duration that so many of a hundred do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut all = self.0.lock().unwrap().clone();
        all.sort_unstable();
        let index = (all.len() * percent).div_ceil(100).saturating_sub(1);
        all.get(index).copied().unwrap_or_default()
    }

    pub fn longest(&self) -> Duration {
        self.percentile(100)
    }

    pub fn told(&self) -> String {
        if self.count() == 0 {
            return "-".into();
        }
        format!("{} / {} / {}", ms(self.percentile(50)), ms(self.percentile(99)), ms(self.longest()))
    }
}

/// As a person reads it.
pub fn ms(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// A table with a heading; also Markdown.
pub struct Table {
    heading: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub fn new(heading: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Table { heading: heading.into(), columns, rows: Vec::new(), notes: Vec::new() }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// With its columns under each other, which Markdown allows.
    pub fn markdown(&self) -> String {
        let lines: Vec<&Vec<String>> = std::iter::once(&self.columns).chain(&self.rows).collect();
        let width =
            |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| width(column).unwrap_or_default()).collect();
        let line = |cells: &Vec<String>| {
            let cells = widths.iter().zip(cells).map(|(width, cell)| format!(" {cell:<width$} |"));
            format!("|{}\n", cells.collect::<String>())
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        let mut text = format!("## {}\n\n{}|{}|\n", self.heading, line(&self.columns), rule.join("|"));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

/// Prints what a run found, keeps it in `docs/performance` where that is asked for, and says how it ended.
pub fn conclude(
    name: &str,
    title: &str,
    about: &str,
    tables: &[Table],
    broken: Option<&Broken>,
) -> std::process::ExitCode {
    let tables = tables.iter().map(Table::markdown).collect::<Vec<_>>().join("\n");
    println!("{tables}");
    if let Some(Broken { promise, sentence }) = broken {
        println!("broken: {promise}: {sentence}");
        return std::process::ExitCode::FAILURE;
    }
    println!("every promise was kept");
    if std::env::args().any(|word| word == "record") {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}.md"));
        std::fs::write(&file, format!("# {title}\n\n{about}\n\n{tables}")).unwrap();
        println!("recorded in {}", file.display());
    }
    std::process::ExitCode::SUCCESS
}

/// The number among the arguments.
pub fn seconds(default: u64) -> Duration {
    Duration::from_secs(std::env::args().find_map(|word| word.parse().ok()).unwrap_or(default))
}

/// Whether a word is among the arguments.
pub fn asked(word: &str) -> bool {
    std::env::args().any(|argument| argument == word)
}
