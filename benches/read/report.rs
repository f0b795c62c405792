//! Tables for the terminal and for the documentation, and where both go.

use std::{fmt::Write, fs, path::Path};

use super::{
    chart,
    race::{Figures, Lane},
};

pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        Table { title: title.into(), columns, rows: Vec::new() }
    }

    /// Contestants of one race; the ratios are those of the first one to each other.
    pub fn of_race(title: impl Into<String>, lanes: &[Lane]) -> Self {
        let has_postgres = lanes.iter().any(|lane| lane.postgres().median().is_finite());
        let mut columns = vec!["", "requests a second", "server CPU, µs a request"];
        if has_postgres {
            columns.push("Postgres' CPU");
        }
        columns.extend(["rate, first ÷ this", "CPU, this ÷ first"]);
        let mut table = Table::new(title, &columns);
        for (place, lane) in lanes.iter().enumerate() {
            let mut row = vec![lane.name.clone(), spread(&lane.rate(), 0), spread(&lane.cpu(), 1)];
            if has_postgres {
                row.push(spread(&lane.postgres(), 0));
            }
            if place == 0 {
                row.extend([String::new(), String::new()]);
            } else {
                row.extend([spread(&lanes[0].rate_to(lane), 2), spread(&lanes[0].thrift_to(lane), 2)]);
            }
            table.row(row);
        }
        table
    }

    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("### {}\n\n{}", self.title, line(&self.columns));
        let rules: Vec<&str> = (0..self.columns.len()).map(|place| if place == 0 { "---" } else { "---:" }).collect();
        let _ = writeln!(text, "|{}|", rules.join("|"));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }

    fn plain(&self) -> String {
        let lines = || std::iter::once(&self.columns).chain(&self.rows);
        let width = |column: usize| lines().map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = format!("\n{}\n", self.title);
        for cells in lines() {
            let padded = cells.iter().zip(&widths).enumerate().map(|(place, (cell, &width))| {
                if place == 0 { format!("  {cell:<width$}") } else { format!("  {cell:>width$}") }
            });
            text.push_str(padded.collect::<String>().trim_end());
            text.push('\n');
        }
        text
    }
}

/// What a section found: printed as it comes, and written to `docs/performance/` at its end where that is wanted.
pub struct Report {
    section: &'static str,
    record: bool,
    text: String,
    charts: Vec<(String, String)>,
}

impl Report {
    pub fn new(section: &'static str, title: &str, record: bool) -> Self {
        println!("\n== {section}: {title}");
        let text = format!(
            "# {title}\n\nWritten by `cargo bench --bench read -- {section} record` ([how](../performance.md)), on {}.\n\
             Medians, and in brackets the least and the most of the rounds.\n",
            machine()
        );
        Report { section, record, text, charts: Vec::new() }
    }

    pub fn table(&mut self, table: &Table) {
        print!("{}", table.plain());
        let _ = write!(self.text, "\n{}", table.markdown());
    }

    /// A race as a table, with what may be wrong with it.
    pub fn race(&mut self, title: impl Into<String>, (lanes, own): &(Vec<Lane>, f64)) {
        self.table(&Table::of_race(title, lanes));
        self.generator(lanes, *own);
    }

    /// What the load generator took, and whether all answers were those that were wanted.
    pub fn generator(&mut self, lanes: &[Lane], own: f64) {
        let mut line = format!("The load generator took {own:.1} µs of CPU a request.");
        for lane in lanes {
            let strange: u64 = lane.samples.iter().map(|sample| sample.strange).sum();
            if strange > 0 {
                let _ = write!(line, " **{strange} answers of {} were not what was asked for.**", lane.name);
            }
        }
        self.say(&line);
    }

    pub fn say(&mut self, line: &str) {
        println!("  {line}");
        let _ = write!(self.text, "\n{line}\n");
    }

    pub fn bars(&mut self, name: &str, title: &str, groups: &[chart::Group]) {
        self.add(name, title, chart::bars(title, groups));
    }

    pub fn lines(&mut self, name: &str, title: &str, axes: [&str; 2], lines: &[chart::Line]) {
        self.add(name, title, chart::lines(title, axes, lines));
    }

    fn add(&mut self, name: &str, title: &str, svg: String) {
        let file = format!("{}-{name}.svg", self.section);
        let _ = write!(self.text, "\n![{title}]({file})\n");
        self.charts.push((file, svg));
    }

    pub fn finish(self) {
        if !self.record {
            return;
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{}.md", self.section)), self.text).unwrap();
        for (file, svg) in self.charts {
            fs::write(folder.join(file), svg).unwrap();
        }
    }
}

/// Median, least and most.
pub fn spread(figures: &Figures, digits: usize) -> String {
    match figures.values() {
        [] => "–".into(),
        [only] => number(*only, digits),
        [least, .., most] => {
            format!("{} ({}–{})", number(figures.median(), digits), number(*least, digits), number(*most, digits))
        }
    }
}

/// With commas between the thousands.
pub fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let text = format!("{value:.digits$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// What the figures were measured on.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {}, Linux {}", model.unwrap_or("an unknown processor"), kernel.trim())
}
