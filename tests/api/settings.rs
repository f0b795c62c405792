//! The settings, from pairs as the environment has them.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, time::Duration};

use secrecy::ExposeSecret;
use termbase::{
    config::{Config, ConfigError, VARIABLES},
    state::Origins,
};

const SECRET: &str = "tb_0123456789abcdefghijklmnopqrstuv";

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::read(variables.iter().map(|(name, value)| (name.into(), value.into())))
}

/// The faults, each of one variable.
fn faults(variables: &[(&str, &str)]) -> Vec<String> {
    read(variables).expect_err("settings that are wrong").0
}

/// The only fault of one variable.
fn fault(name: &str, value: &str) -> String {
    let mut faults = faults(&[(name, value)]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn without_any_variable_there_are_defaults() {
    let Config { server, database, http, log } = read(&[]).unwrap();
    assert_eq!(server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(server.data_dir.to_str(), Some("./data"));
    assert!(server.admin_token.is_none());
    assert!(database.own.is_none() && database.migrate.is_none() && database.bin_dir.is_none());
    assert_eq!(database.connections, 10);
    assert!(http.cache_control.to_str().unwrap().starts_with("public, max-age=0, s-maxage=60"));
    assert!(!http.surrogate_keys);
    assert_eq!(http.write_origins, Origins::These(vec![]));
    assert_eq!((http.cache_bytes, http.changes_kept), (128 * 1024 * 1024, Duration::from_hours(90 * 24)));
    assert_eq!((http.patience, http.request_timeout), (Duration::from_millis(500), Duration::from_secs(10)));
    assert_eq!(http.drain_timeout, Duration::from_secs(15));
    assert_eq!((http.site.term_url, http.site.name.as_str()), (None, "Glossary"));
    assert!(http.workers >= 1);
    assert!(log.filter.starts_with("info") && !log.json);
}

#[test]
fn every_variable_has_its_effect() {
    let Config { server, database, http, log } = read(&[
        ("TERMBASE_LISTEN", "[::1]:9000"),
        ("DATABASE_URL", "postgres://reader@db/glossary"),
        ("TERMBASE_MIGRATE_URL", "postgresql://owner@db:5433/glossary"),
        ("TERMBASE_CONNECTIONS", "500"),
        ("TERMBASE_DATA_DIR", "/srv/termbase"),
        ("PG_BIN_DIR", "/opt/postgres/bin"),
        ("TERMBASE_ADMIN_TOKEN", SECRET),
        ("TERMBASE_SAMPLES", "true"),
        ("TERMBASE_CACHE_CONTROL", "no-store"),
        ("TERMBASE_SURROGATE_KEYS", "true"),
        ("TERMBASE_WRITE_ORIGINS", "https://editor.example, http://localhost:3000"),
        ("TERMBASE_REQUIRE_IF_MATCH", "true"),
        ("TERMBASE_CACHE_MIB", "1"),
        ("TERMBASE_CHANGES_DAYS", "2"),
        ("TERMBASE_PATIENCE_MILLIS", "60000"),
        ("TERMBASE_SITE_TERM_URL", "https://example.org/{slug}.html"),
        ("TERMBASE_SITE_NAME", "Words & more"),
        ("TERMBASE_REQUEST_SECONDS", "300"),
        ("TERMBASE_DRAIN_SECONDS", "0"),
        ("TERMBASE_WORKERS", "256"),
        ("TERMBASE_LOG", "warn,sqlx=debug"),
        ("TERMBASE_LOG_FORMAT", "json"),
    ])
    .unwrap();
    assert_eq!(server.listen.to_string(), "[::1]:9000");
    assert_eq!(database.own.unwrap().get_username(), "reader");
    let migrate = database.migrate.unwrap();
    assert_eq!((migrate.get_username(), migrate.get_port()), ("owner", 5433));
    assert_eq!(database.connections, 500);
    assert_eq!(server.data_dir.to_str(), Some("/srv/termbase"));
    assert_eq!(database.bin_dir.unwrap().to_str(), Some("/opt/postgres/bin"));
    assert_eq!(server.admin_token.unwrap().expose_secret(), SECRET);
    assert!(server.samples);
    assert_eq!(http.cache_control, "no-store");
    assert!(http.surrogate_keys);
    assert_eq!(
        http.write_origins,
        Origins::These(vec!["https://editor.example".into(), "http://localhost:3000".into()])
    );
    assert_eq!((http.cache_bytes, http.changes_kept), (1024 * 1024, Duration::from_hours(48)));
    assert_eq!(http.patience, Duration::from_mins(1));
    assert_eq!(http.site.term_url.unwrap().term("a-b"), "https://example.org/a-b.html");
    assert_eq!(http.site.name, "Words & more");
    assert_eq!((http.request_timeout.as_secs(), http.drain_timeout.as_secs(), http.workers), (300, 0, 256));
    assert_eq!((log.filter.as_str(), log.json), ("warn,sqlx=debug", true));
}

#[test]
fn all_origins_may_be_let_write() {
    let config = read(&[("TERMBASE_WRITE_ORIGINS", "*")]).unwrap();
    assert_eq!(config.http.write_origins, Origins::All);
}

#[test]
fn a_host_name_may_be_listened_on() {
    assert!(read(&[("TERMBASE_LISTEN", "localhost:0")]).unwrap().server.listen.ip().is_loopback());
}

#[test]
fn a_wrong_value_is_named_with_what_would_pass() {
    for (name, value, expected) in [
        ("TERMBASE_LISTEN", "8080", "127.0.0.1:8080"),
        ("TERMBASE_LISTEN", "127.0.0.1:99999", "127.0.0.1:8080"),
        ("TERMBASE_CONNECTIONS", "1", "from 2 to 500"),
        ("TERMBASE_CONNECTIONS", "501", "from 2 to 500"),
        ("TERMBASE_CONNECTIONS", "ten", "from 2 to 500"),
        ("TERMBASE_SAMPLES", "yes", "true or false"),
        ("TERMBASE_CACHE_CONTROL", "a\nb", "Cache-Control"),
        ("TERMBASE_SURROGATE_KEYS", "1", "true or false"),
        ("TERMBASE_WRITE_ORIGINS", "editor.example", "https://editor.example"),
        ("TERMBASE_WRITE_ORIGINS", "https://editor.example/", "without a path"),
        ("TERMBASE_WRITE_ORIGINS", "https://editor.example,", "separated by commas"),
        ("TERMBASE_WRITE_ORIGINS", "https://Editor.example", "https://editor.example"),
        ("TERMBASE_WRITE_ORIGINS", "https://editor.example:443", "https://editor.example"),
        ("TERMBASE_WRITE_ORIGINS", "*,https://editor.example", "* for all"),
        ("TERMBASE_WRITE_ORIGINS", "null", "* for all"),
        ("TERMBASE_REQUIRE_IF_MATCH", "yes", "true or false"),
        ("TERMBASE_SITE_TERM_URL", "https://example.org/glossary/", "{slug} once"),
        ("TERMBASE_SITE_TERM_URL", "https://example.org/{slug}/{slug}", "{slug} once"),
        ("TERMBASE_SITE_TERM_URL", "https://example.org/{category}/{slug}", "{slug} once"),
        ("TERMBASE_SITE_TERM_URL", "https://{slug}.example.org/", "behind its host"),
        ("TERMBASE_SITE_TERM_URL", "https://user@example.org/{slug}", "behind its host"),
        ("TERMBASE_SITE_TERM_URL", "ftp://example.org/{slug}", "http or https"),
        ("TERMBASE_SITE_TERM_URL", "/glossary/{slug}", "such as https://example.org/glossary/{slug}"),
        ("TERMBASE_SITE_TERM_URL", "https://example.org/<b>/{slug}", "such as https://example.org/glossary/{slug}"),
        ("TERMBASE_SITE_NAME", " Glossary", "one line"),
        ("TERMBASE_SITE_NAME", "a\nb", "one line"),
        ("TERMBASE_REQUEST_SECONDS", "0", "from 1 to 300"),
        ("TERMBASE_REQUEST_SECONDS", "1.5", "from 1 to 300"),
        ("TERMBASE_DRAIN_SECONDS", "301", "from 0 to 300"),
        ("TERMBASE_DRAIN_SECONDS", "-1", "from 0 to 300"),
        ("TERMBASE_WORKERS", "0", "from 1 to 256"),
        ("TERMBASE_WORKERS", "257", "from 1 to 256"),
        ("TERMBASE_LOG", "info=loud=er", "error, warn, info, debug"),
        ("TERMBASE_LOG_FORMAT", "xml", "text or json"),
    ] {
        let fault = fault(name, value);
        let (said, would_pass) = fault.split_once("; expected ").unwrap_or_else(|| panic!("{fault}"));
        assert_eq!(said, format!("{name} is \"{value}\""));
        assert!(would_pass.contains(expected), "{fault}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    for (name, value, expected) in [
        ("DATABASE_URL", "mysql://termbase:hunter2@db/glossary", "postgres://user:password@host:5432/database"),
        ("DATABASE_URL", "postgres://termbase:hunter2@db:port/glossary", "postgres://user:password@host:5432/database"),
        ("TERMBASE_MIGRATE_URL", "termbase:hunter2@db", "postgres://user:password@host:5432/database"),
        ("TERMBASE_ADMIN_TOKEN", "hunter2", "32 to 120 letters"),
        ("TERMBASE_ADMIN_TOKEN", "tb_hunter2", "32 to 120 letters"),
        ("TERMBASE_ADMIN_TOKEN", "tb_hunter2 0123456789abcdefghijklmnopqrst", "32 to 120 letters"),
    ] {
        let fault = fault(name, value);
        assert!(fault.starts_with(name) && fault.contains(expected), "{fault}");
        assert!(!fault.contains("hunter2"), "{fault}");
    }
    let config = read(&[("TERMBASE_ADMIN_TOKEN", SECRET)]).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
}

#[test]
fn bytes_that_are_no_text_are_refused_and_not_shown() {
    for name in VARIABLES {
        let value = OsString::from_vec(b"postgres://termbase:hunter2\xff@db/glossary".to_vec());
        let error = Config::read([(name.into(), value)]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("UTF-8"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn all_faults_are_said_at_once() {
    let error =
        read(&[("TERMBASE_LISTEN", "here"), ("TERMBASE_WORKERS", "many"), ("TERMBASE_LISTNE", "there")]).unwrap_err();
    assert_eq!(error.0.len(), 3, "{error}");
    let text = error.to_string();
    for name in ["TERMBASE_LISTEN is", "TERMBASE_WORKERS is", "TERMBASE_LISTNE is"] {
        assert!(text.lines().any(|line| line.trim_start().starts_with(name)), "{text}");
    }
}

#[test]
fn a_misspelt_variable_is_refused_with_the_nearest() {
    for (name, meant) in [
        ("TERMBASE_LISTNE", "TERMBASE_LISTEN"),
        ("TERMBASE_SAMPLE", "TERMBASE_SAMPLES"),
        ("TERMBASE_DATABASE_URL", "DATABASE_URL"),
        ("TERMBASE_PG_BIN_DIR", "PG_BIN_DIR"),
        ("TERMBASE_log", "TERMBASE_LOG"),
    ] {
        let fault = fault(name, "x");
        assert!(fault.starts_with(name) && fault.ends_with(&format!("did you mean {meant}?")), "{fault}");
    }
}

#[test]
fn a_variable_like_none_of_ours_leads_to_the_list() {
    for name in ["TERMBASE_COLOUR", "TERMBASE_PORT"] {
        let fault = fault(name, "8080");
        assert!(fault.starts_with(name) && fault.contains(".env.example"), "{fault}");
    }
}

#[test]
fn what_kubernetes_sets_for_a_service_is_accepted() {
    read(&[
        ("TERMBASE_SERVICE_HOST", "10.0.0.11"),
        ("TERMBASE_SERVICE_PORT_HTTP", "8080"),
        ("TERMBASE_PORT", "tcp://10.0.0.11:8080"),
        ("TERMBASE_PORT_8080_TCP", "tcp://10.0.0.11:8080"),
        ("TERMBASE_PORT_8080_TCP_ADDR", "10.0.0.11"),
    ])
    .unwrap();
}

#[test]
fn an_empty_variable_is_not_set() {
    let empty: Vec<(&str, &str)> = VARIABLES.iter().map(|name| (*name, "")).collect();
    assert_eq!(format!("{:?}", read(&empty).unwrap()), format!("{:?}", read(&[]).unwrap()));
}

#[test]
fn samples_are_for_the_private_database_unless_said() {
    let own = ("DATABASE_URL", "postgres://termbase@db/glossary");
    let samples = |variables: &[(&str, &str)]| read(variables).unwrap().server.samples;
    assert!(samples(&[]));
    assert!(!samples(&[own]));
    assert!(samples(&[own, ("TERMBASE_SAMPLES", "true")]));
    assert!(!samples(&[("TERMBASE_SAMPLES", "false")]));
}

const EXAMPLE: &str = include_str!("../../.env.example");

/// The example's lines that set something, without their `#`.
fn example_lines() -> Vec<&'static str> {
    let lines = EXAMPLE.lines().filter_map(|line| line.strip_prefix('#'));
    lines.filter(|line| !line.is_empty() && !line.starts_with(' ')).collect()
}

#[test]
fn the_example_names_every_variable_in_order() {
    let names: Vec<&str> = example_lines().iter().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(names, VARIABLES);
}

#[test]
fn the_example_explains_every_variable_in_a_line() {
    for paragraph in EXAMPLE.split("\n\n").skip(1) {
        let [comment, _] = paragraph.trim_end().lines().collect::<Vec<_>>()[..] else { panic!("{paragraph}") };
        assert!(comment.starts_with("# ") && comment.ends_with('.'), "{paragraph}");
    }
}

#[test]
fn the_examples_values_are_the_defaults() {
    let file = example_lines().join("\n");
    let variables =
        dotenvy::from_read_iter(file.as_bytes()).map(Result::unwrap).map(|(name, value)| (name.into(), value.into()));
    assert_eq!(format!("{:?}", Config::read(variables).unwrap()), format!("{:?}", read(&[]).unwrap()));
}
