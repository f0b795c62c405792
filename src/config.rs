//! Every setting: read once at the start, from the environment that it is given, and checked as a whole. Nothing else
//! in the crate reads the environment.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use actix_web::http::header::HeaderValue;
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

use crate::{
    editorial::document::nearest,
    names::check_name,
    site::{SiteSettings, TermUrl},
    state::{HttpSettings, Origins},
};

/// All settings of a process.
#[derive(Debug)]
pub struct Config {
    pub server: ServerSettings,
    pub database: DatabaseSettings,
    pub http: HttpSettings,
    pub log: LogSettings,
}

/// Where the service listens, and what it does at its start.
#[derive(Debug)]
pub struct ServerSettings {
    /// `TERMBASE_LISTEN`: address and port; port 0 picks a free one. Default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `TERMBASE_DATA_DIR`: the private cluster, and the first admin token. Default `./data`.
    pub data_dir: PathBuf,
    /// `TERMBASE_ADMIN_TOKEN`: the first admin token, `tb_` and 32 to 120 letters, digits, `-` and `_`; a random one
    /// where it is not set.
    pub admin_token: Option<SecretString>,
    /// `TERMBASE_SAMPLES`: whether an empty database gets the sample glossary. The private cluster does by default, a
    /// database of one's own does not.
    pub samples: bool,
}

/// Which Postgres.
#[derive(Debug)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`: a Postgres of one's own, 14 or later; the private cluster where it is not set.
    pub own: Option<PgConnectOptions>,
    /// `TERMBASE_MIGRATE_URL`: the same database past a transaction-pooling proxy, for migrations.
    pub migrate: Option<PgConnectOptions>,
    /// `TERMBASE_CONNECTIONS`: how many connections are held, 2 to 500, of which half may be writing at a time
    /// and a third searching; the follower of the log has two more. Default 10.
    pub connections: u32,
    /// `PG_BIN_DIR`: the programs of the private cluster; found where it is not set.
    pub bin_dir: Option<PathBuf>,
    /// `PATH`, where the private cluster's programs are looked for.
    pub path: Option<OsString>,
    /// Where a fetched Postgres is kept: `XDG_CACHE_HOME`, else below `HOME`.
    pub cache_dir: Option<PathBuf>,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct LogSettings {
    /// `TERMBASE_LOG`: `error`, `warn`, `info`, `debug`, or a filter of tracing's form. Default `info`, less the framework's noise.
    pub filter: String,
    /// `TERMBASE_LOG_FORMAT`: `text` or `json`. Default `text`.
    pub json: bool,
}

/// Every variable of ours, in the order of `.env.example`.
pub const VARIABLES: &[&str] = &[
    "TERMBASE_LISTEN",
    "DATABASE_URL",
    "TERMBASE_MIGRATE_URL",
    "TERMBASE_CONNECTIONS",
    "TERMBASE_DATA_DIR",
    "PG_BIN_DIR",
    "TERMBASE_ADMIN_TOKEN",
    "TERMBASE_SAMPLES",
    "TERMBASE_CACHE_CONTROL",
    "TERMBASE_SURROGATE_KEYS",
    "TERMBASE_WRITE_ORIGINS",
    "TERMBASE_REQUIRE_IF_MATCH",
    "TERMBASE_CACHE_MIB",
    "TERMBASE_CHANGES_DAYS",
    "TERMBASE_PATIENCE_MILLIS",
    "TERMBASE_SITE_TERM_URL",
    "TERMBASE_SITE_NAME",
    "TERMBASE_REQUEST_SECONDS",
    "TERMBASE_DRAIN_SECONDS",
    "TERMBASE_WORKERS",
    "TERMBASE_LOG",
    "TERMBASE_LOG_FORMAT",
];

/// What our names begin with, but for those that others have made known.
const PREFIX: &str = "TERMBASE_";

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Without what the framework says of each broken connection: that is the client's doing.
const LOG: &str = "info,actix_http=off,actix_server=warn";
const CACHE_CONTROL: &str = "public, max-age=0, s-maxage=60, stale-while-revalidate=30, stale-if-error=86400";

/// Settings that can't be taken: all of them at once, each with its variable, what it was, and what would pass.
#[derive(Debug, thiserror::Error)]
#[error("the settings are wrong:\n{}", .0.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads all settings from `variables` (name and value, as the environment has them).
    ///
    /// # Errors
    /// Every setting that is wrong, and every `TERMBASE_…` that is none of ours.
    pub fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut settings = Settings::new(variables);
        let own = settings.database("DATABASE_URL");
        let config = Config {
            server: ServerSettings {
                listen: settings.value(
                    "TERMBASE_LISTEN",
                    LISTEN,
                    "an address and a port such as 127.0.0.1:8080",
                    |text| text.to_socket_addrs().ok()?.next(),
                ),
                data_dir: settings
                    .value("TERMBASE_DATA_DIR", PathBuf::from("./data"), "a folder", |text| Some(PathBuf::from(text))),
                admin_token: settings.secret("TERMBASE_ADMIN_TOKEN"),
                samples: settings.switch("TERMBASE_SAMPLES", own.is_none()),
            },
            database: DatabaseSettings {
                migrate: settings.database("TERMBASE_MIGRATE_URL"),
                connections: settings.number("TERMBASE_CONNECTIONS", 10, 2, 500),
                bin_dir: settings.text("PG_BIN_DIR").map(PathBuf::from),
                path: settings.other("PATH"),
                cache_dir: settings.other("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(
                    || {
                        settings
                            .other("HOME")
                            .filter(|path| !path.is_empty())
                            .map(|home| PathBuf::from(home).join(".cache"))
                    },
                ),
                own,
            },
            http: HttpSettings {
                cache_control: settings.value(
                    "TERMBASE_CACHE_CONTROL",
                    HeaderValue::from_static(CACHE_CONTROL),
                    "a value of the Cache-Control header",
                    |text| HeaderValue::from_str(text).ok(),
                ),
                surrogate_keys: settings.switch("TERMBASE_SURROGATE_KEYS", false),
                write_origins: settings.value(
                    "TERMBASE_WRITE_ORIGINS",
                    Origins::These(Vec::new()),
                    "origins such as https://editor.example, without a path, separated by commas, or * for all",
                    Origins::parse,
                ),
                require_if_match: settings.switch("TERMBASE_REQUIRE_IF_MATCH", false),
                site: settings.site(),
                cache_bytes: settings.number("TERMBASE_CACHE_MIB", 128, 1, 1024 * 1024) * 1024 * 1024,
                changes_kept: Duration::from_secs(settings.number("TERMBASE_CHANGES_DAYS", 90, 1, 36_500) * 24 * 3600),
                patience: Duration::from_millis(settings.number("TERMBASE_PATIENCE_MILLIS", 500, 100, 60_000)),
                request_timeout: Duration::from_secs(settings.number("TERMBASE_REQUEST_SECONDS", 10, 1, 300)),
                drain_timeout: Duration::from_secs(settings.number("TERMBASE_DRAIN_SECONDS", 15, 0, 300)),
                workers: settings.number(
                    "TERMBASE_WORKERS",
                    std::thread::available_parallelism().map_or(2, usize::from),
                    1,
                    256,
                ),
            },
            log: LogSettings {
                filter: settings.value(
                    "TERMBASE_LOG",
                    LOG.to_owned(),
                    "error, warn, info, debug, or a filter such as info,sqlx=debug",
                    log_filter,
                ),
                json: settings.value("TERMBASE_LOG_FORMAT", false, "text or json", |text| match text {
                    "json" => Some(true),
                    "text" => Some(false),
                    _ => None,
                }),
            },
        };
        if config.database.own.is_none() && settings.other("PGOPTIONS").is_some_and(|options| !options.is_empty()) {
            settings.faults.push("PGOPTIONS is set, and would reach the private Postgres; unset it.".to_owned());
        }
        settings.refuse_unknown();
        if settings.faults.is_empty() { Ok(config) } else { Err(ConfigError(settings.faults)) }
    }
}

struct Settings {
    variables: BTreeMap<OsString, OsString>,
    faults: Vec<String>,
}

impl Settings {
    fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Settings { variables: variables.into_iter().collect(), faults: Vec::new() }
    }

    /// A variable that is not ours, as it is.
    fn other(&self, name: &str) -> Option<OsString> {
        self.variables.get(&OsString::from(name)).cloned()
    }

    /// An empty variable is one that is not set: compose files can't leave one out.
    fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.other(name).filter(|value| !value.is_empty())?;
        let text = value.into_string().ok();
        if text.is_none() {
            // It may be a secret: nothing of it is shown.
            self.faults.push(format!("{name} has bytes that are no UTF-8 (they are not shown here)."));
        }
        text
    }

    /// `parse` of the variable; `default` where it is not set, or is wrong, which is a fault.
    fn value<T>(&mut self, name: &'static str, default: T, expected: &str, parse: impl Fn(&str) -> Option<T>) -> T {
        let Some(text) = self.text(name) else { return default };
        parse(&text).unwrap_or_else(|| {
            self.faults.push(format!("{name} is \"{text}\"; expected {expected}."));
            default
        })
    }

    fn site(&mut self) -> SiteSettings {
        let expected =
            "an address of http or https with {slug} once behind its host, such as https://example.org/glossary/{slug}";
        let SiteSettings { term_url, name } = SiteSettings::default();
        SiteSettings {
            term_url: self.value("TERMBASE_SITE_TERM_URL", term_url, expected, |text| TermUrl::parse(text).map(Some)),
            name: self.value("TERMBASE_SITE_NAME", name, "one line of at most 200 visible characters", |text| {
                check_name(text).is_ok().then(|| text.to_owned())
            }),
        }
    }

    fn switch(&mut self, name: &'static str, default: bool) -> bool {
        self.value(name, default, "true or false", |text| bool::from_str(text).ok())
    }

    fn number<T>(&mut self, name: &'static str, default: T, min: T, max: T) -> T
    where
        T: Copy + FromStr + PartialOrd + std::fmt::Display,
    {
        let expected = format!("a whole number from {min} to {max}");
        self.value(name, default, &expected, |text| text.parse().ok().filter(|number| (min..=max).contains(number)))
    }

    /// The value is never shown: it may hold a password.
    fn database(&mut self, name: &'static str) -> Option<PgConnectOptions> {
        let text = self.text(name)?;
        let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
        match PgConnectOptions::from_str(&text) {
            Ok(options) if is_postgres => Some(options),
            _ => {
                self.faults.push(format!(
                    "{name} is not an address of Postgres (it is not shown here, since it may hold a password); expected \
                     postgres://user:password@host:5432/database."
                ));
                None
            }
        }
    }

    /// The value is never shown.
    fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        let token = self.text(name)?;
        let rest = token.strip_prefix("tb_").unwrap_or_default();
        let fits = (32..=120).contains(&rest.len())
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !fits {
            self.faults.push(format!(
                "{name} has {} characters (it is not shown here); expected tb_ and 32 to 120 letters, digits, hyphens and underscores.",
                token.chars().count()
            ));
            return None;
        }
        Some(SecretString::from(token))
    }

    /// A misspelt variable would be silently without effect.
    fn refuse_unknown(&mut self) {
        let ours = self.variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value)));
        let ours = ours.filter(|(name, _)| name.starts_with(PREFIX) && !VARIABLES.contains(name));
        let faults: Vec<String> = ours
            .filter(|(name, value)| !is_of_kubernetes(name, value))
            .map(|(name, _)| match nearest_setting(name) {
                Some(known) => format!("{name} is no setting; did you mean {known}?"),
                None => format!("{name} is no setting; .env.example lists them all."),
            })
            .collect();
        self.faults.extend(faults);
    }
}

/// A level is one of ours, with the libraries kept quieter; anything else must be a filter, which names what it is for.
fn log_filter(text: &str) -> Option<String> {
    match text {
        "error" | "warn" => Some(text.to_owned()),
        "info" => Some(LOG.to_owned()),
        "debug" | "trace" => Some(format!("{LOG},termbase={text}")),
        _ if text.contains('=') => tracing_subscriber::EnvFilter::try_new(text).ok().map(|_filter| text.to_owned()),
        _ => None,
    }
}

/// Kubernetes sets these by itself for a service named termbase. A bare port in `TERMBASE_PORT` is somebody's mistake.
fn is_of_kubernetes(name: &str, value: &OsStr) -> bool {
    let is_address = value.to_str().is_some_and(|value| value.contains("://"));
    name.starts_with("TERMBASE_SERVICE_")
        || name.starts_with("TERMBASE_PORT_")
        || (name == "TERMBASE_PORT" && is_address)
}

/// The setting that is meant, by what follows the prefix: with it all names would be alike.
fn nearest_setting(name: &str) -> Option<&'static str> {
    fn bare(name: &str) -> &str {
        name.strip_prefix(PREFIX).unwrap_or(name)
    }
    let known: Vec<&'static str> = VARIABLES.iter().copied().map(bare).collect();
    let meant = nearest(&bare(name).to_ascii_uppercase(), &known)?;
    VARIABLES.iter().copied().find(|variable| bare(variable) == meant)
}
