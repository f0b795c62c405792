//! In and out: the glossary as files, and files as the glossary.
//!
//! Two formats. [NDJSON](ndjson) is for programs and loses nothing; YAML is for people and git, and holds documents alone.
//! What comes in goes through the one [write](crate::editorial::Write), whichever way it comes.
//! [Pages](pages) go out alone: what the service answers, for a server of files.

pub mod check;
pub mod command;
pub mod export;
pub mod export_yaml;
pub mod http;
pub mod import;
pub mod ndjson;
pub mod pages;
mod progress;
pub mod schema;
pub mod yaml;
