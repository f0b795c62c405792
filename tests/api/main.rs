//! The tests: HTTP to the real server on a real Postgres, each on a database of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that fails is to stop here"
)]

mod cache;
mod categories;
mod changes;
mod check;
mod cluster;
mod companies;
mod compatibility;
mod contract;
mod crashes;
mod desk;
mod documents;
mod drafts;
mod editing;
mod editorial;
mod fetch;
mod history;
mod http;
mod jsonld;
mod lists;
mod members;
mod model;
mod pages;
mod plans;
mod preconditions;
mod promises;
mod samples;
mod schema;
mod search;
mod serve;
mod settings;
mod site;
mod support;
mod terms;
mod tokens;
mod transfer;
mod trash;
mod writers;
mod writing;
