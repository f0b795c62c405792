//! Logs: readable lines or JSON on standard error, with fields to search by.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogSettings;

/// Begins logging; called once, before anything that logs.
pub fn start(settings: &LogSettings) {
    // The filter was checked when the settings were read.
    let filter = EnvFilter::new(&settings.filter);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    if settings.json {
        lines.json().init();
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).init();
    }
}
