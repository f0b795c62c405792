//! termbase: a glossary and the directory around it, as a JSON REST API on Postgres.
//!
//! # The map
//!
//! | module | what it is for |
//! |---|---|
//! | [`cli`] | the command line: `serve` (the default), `migrate`, `export`, `openapi`, `token`, and the hidden supervisor of the private Postgres |
//! | [`config`] | every setting, read once, checked as a whole |
//! | [`serve`] | from nothing to a service that answers, and back to nothing |
//! | [`app`] | the only place where routes and middleware are put together |
//! | [`state`] | what every handler may use |
//! | [`terms`], [`categories`], [`companies`] | the resources: each its routes, wire types, document, handlers and SQL |
//! | [`site`] | what the site that shows the glossary passes on: the sitemap and the feed |
//! | [`editorial`] | what the three share as things that editors write: documents, the one [write](editorial::Write), [edits](editorial::edit), [history](editorial::history), [trash](editorial::trash) |
//! | [`search`] | what is found by a name, the beginning of one, a misspelt one, or words; searching's own share of the connections |
//! | [`changes`] | the log: positions and keys, the [follower](changes::follow) that hands each change to all that is derived from it, and the feed |
//! | [`cache`] | answers kept as ready bytes, what makes them stale, and one miss in flight an address |
//! | [`load`] | how much may be in flight |
//! | [`metrics`] | what the service counts |
//! | [`http`] | what HTTP needs and no resource owns: answers, [kept ones](http::kept), tags, codings, pages, queries, tokens, the boundary |
//! | [`error`] | every way to fail, as a problem (RFC 9457), and the table of their kinds |
//! | [`openapi`] | the description, collected from the handlers |
//! | [`service`] | the service's own addresses: index, docs, problems, health |
//! | [`postgres`] | the pool, the migrations, snapshots, and the private [cluster](postgres::cluster) |
//! | [`names`] | when two names are the same, and how they sort |
//! | [`markdown`] | a body as safe HTML |
//! | [`countries`] | the codes of ISO 3166-1 |
//! | [`clock`] | time and randomness, which a test can hold still |
//! | [`samples`] | the glossary that a first start loads |
//! | [`transfer`] | in and out: files and streams of the whole glossary, their check and schema, the public pages as files |
//! | [`tokens`] | who may do what: roles, authors, `/tokens`, `/me`, and `termbase token` |
//! | [`telemetry`] | logs |
//!
//! # What always holds
//!
//! - Postgres is the only source of truth, and every rule that it can hold is in it as well as in the validation.
//! - There is one way to write: [`editorial::Write`]. A trigger refuses every other, psql included.
//! - One edit of one entity is one version, one revision, one change and one position. A write that changes nothing is
//!   none of them.
//! - Writers wait for each other, and hold half of the connections at most, searches a third: reading goes on meanwhile. What is
//!   in flight is bounded, and what is over is refused at once.
//! - A transaction begins to its end whoever leaves meanwhile ([`postgres::begin`]): none is left open on a connection.
//! - An answer comes from one snapshot, knows its position in the change log, and names the keys that it was made from.
//!   A change that alters the answer touches one of them.
//! - What is derived from the log is written by its follower alone, never by a handler, and can be thrown away at any time.
//! - A kept answer is given while no change has touched it and the log was looked at less than a second ago; else only while
//!   Postgres does not answer, with its age. Whoever wrote through an instance reads it there.
//! - What is public is the same bytes for every caller. What is not answers as what never existed.
//! - A permission is a handler's argument ([`http::auth`]), and there is no other author for a write than the one in it.
//! - A change is made on the document as it is under its row's lock, and the whole of it is validated: one validation for
//!   every way in. A role is an argument of the handler, and what is public is the editors'.
//! - A path and a method stand once, on their handler; the handler is named once, in its module's `routes`.
//! - Nothing but [`config`] and [`cli`] reads the environment. There are no global variables, and no features.
//! - Nothing that a client sends makes a 5xx; a test holds the table of what was tried.
//!
//! # To add a field to a term
//!
//! 1. A migration, `migrations/000N_….sql`, that says why.
//! 2. `src/terms/document.rs` (the struct is taken apart without `..`: the compiler names every place that must know
//!    it) and `src/terms/page.rs`; then `scripts/prepare-queries`, and `UPDATE=1 cargo test contract` twice.
//! 3. Its test in `tests/api/terms.rs`, and a line in `CHANGELOG.md`.
//!
//! # To add an endpoint
//!
//! 1. A handler with `#[utoipa::path]` and `#[get("…")]` in its resource's module; its errors are part of it.
//! 2. Its name in that module's `routes`. `UPDATE=1 cargo test contract` twice brings it into the description.
//! 3. Its test, in the file of its resource.

pub mod app;
pub mod cache;
pub mod categories;
pub mod changes;
pub mod cli;
pub mod clock;
pub mod companies;
pub mod config;
pub mod countries;
pub mod editorial;
pub mod error;
pub mod http;
pub mod load;
pub mod markdown;
pub mod metrics;
pub mod names;
pub mod openapi;
pub mod postgres;
pub mod samples;
pub mod search;
pub mod serve;
pub mod service;
pub mod site;
pub mod state;
pub mod telemetry;
pub mod terms;
pub mod tokens;
pub mod transfer;
