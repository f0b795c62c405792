//! How far long work is: a bar on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How long nothing is said where nobody watches.
const PAUSE: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    Bytes,
    Things,
}

/// One piece of long work, told on standard error.
pub struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    began: Instant,
    said: Instant,
}

impl Progress {
    /// `what` says what is being done, such as `reading`.
    #[must_use]
    pub fn begin(what: &'static str, unit: Unit) -> Self {
        let template = match unit {
            Unit::Bytes => "{msg} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
            Unit::Things => "{msg} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left",
        };
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style).with_message(what)
        });
        Progress { bar, what, began: Instant::now(), said: Instant::now() }
    }

    /// `done` of `all`, as far as that is known.
    pub fn tell(&mut self, done: u64, all: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(all);
            bar.set_position(done);
        } else if self.said.elapsed() >= PAUSE {
            self.said = Instant::now();
            let seconds = self.began.elapsed().as_secs().max(1);
            let percent = done.saturating_mul(100) / all.max(1);
            let left = all.saturating_sub(done).saturating_mul(seconds) / done.max(1);
            let what = self.what;
            eprintln!("termbase: {what}: {done} of {all} ({percent} %), {} a second, {left} s left", done / seconds);
        }
    }

    /// The work is done; a bar leaves no trace.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
