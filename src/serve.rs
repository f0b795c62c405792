//! `termbase serve`: from a folder or a `DATABASE_URL` to a service that answers, and back to nothing.

use std::{
    io::{IsTerminal, Write},
    net::{SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use actix_web::{dev::ServerHandle, web::Data};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    app, changes,
    clock::Clock,
    config::{Config, DatabaseSettings, ServerSettings},
    error::Error,
    postgres::{
        self,
        cluster::{Cluster, ClusterError, Options},
        locks::{ServeLock, ServeLockError},
    },
    samples,
    state::{HttpSettings, State},
    terms, tokens,
};

/// How long a Postgres of one's own may take to answer at the start.
const OWN_PATIENCE: Duration = Duration::from_secs(30);

/// How many lines of its log are shown of a private database that keeps dying.
const SHOWN_LINES: usize = 12;

/// How long the private cluster may take to stop after the last request.
const CLUSTER_END: Duration = Duration::from_secs(30);

/// Why the service did not start, or ended by itself. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(
        "can't listen on {address}, which TERMBASE_LISTEN names: {source}. Stop what listens there, or choose another: TERMBASE_LISTEN=127.0.0.1:0 picks a free port."
    )]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Folder(#[from] ServeLockError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("the Postgres that {variable} names can't be used: {why}.")]
    Own { variable: &'static str, why: String },
    #[error(
        "TERMBASE_MIGRATE_URL is set, and DATABASE_URL is not: it is the same database by another way. Set both, or neither for the private Postgres."
    )]
    MigrateAlone,
    #[error("migrate needs DATABASE_URL; the private Postgres is brought up to date by serve")]
    NothingToMigrate,
    #[error(
        "the tables can't be brought up to date: {0}. Nothing is served until they are; see the message, mend it, and start again."
    )]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the start failed: {}", cause(.0))]
    Start(#[from] Error),
    #[error("the server failed: {0}")]
    Server(#[from] std::io::Error),
    #[error("the private database ended, and can't be started again: {0}")]
    Ended(ClusterError),
    #[error("the private database keeps dying. The last lines of its log say why:\n{log}")]
    Dying { log: String },
}

/// Where there is a cause, the error itself is written for who sent a request.
fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

impl From<sqlx::Error> for ServeError {
    fn from(error: sqlx::Error) -> Self {
        ServeError::Start(error.into())
    }
}

/// Runs the service until it is told to stop.
///
/// # Errors
/// What keeps it from starting, or ended it.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    let Config { server, database, http, log: _ } = config;
    // Before the slow part: a taken port should be said at once.
    let address = server.listen;
    let listener = TcpListener::bind(address).map_err(|source| ServeError::Listen { address, source })?;
    let mut stop = Stop::new()?;

    // One service at a time on a data folder; it is free again when the cluster has ended.
    let _lock = if database.own.is_none() { Some(ServeLock::take(&server.data_dir)?) } else { None };
    let base = stop.or_given_up(Base::prepare(&server, &database));
    let Some(base) = base.await else { return Ok(()) };
    let mut base = base?;
    let Some(content) = stop.or_given_up(Content::prepare(&server, &database, http, &base)).await else {
        base.end().await;
        return Ok(());
    };
    let Content { state, loaded, token } = content?;

    let running = app::serve(state.clone(), listener.try_clone()?)?;
    let handle = running.handle();
    let first = first_address(&state, loaded).await?;
    greet(listener.local_addr()?, &first, &token, &base);
    drop(listener);
    let mut running = tokio::spawn(running);
    let ended = tokio::select! {
        result = &mut running => result.map_err(std::io::Error::other)?.map_err(ServeError::from),
        () = stop.wait() => Ok(()),
        error = base.keep(&server, &database) => Err(error),
    };
    state.unfollow();
    drain(&handle, &state.database(), &mut stop).await;
    base.end().await;
    ended
}

/// Runs a command on the tables, brought up to date, whether they are served at this moment or not.
///
/// # Errors
/// A Postgres that can't be used, or refuses a migration; what the command fails with.
pub async fn on_tables(
    config: Config,
    command: impl AsyncFnOnce(&State) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let Config { server, database, http, log: _ } = config;
    let base = Base::prepare(&server, &database).await?;
    base.migrate(&database).await?;
    // Past a proxy that pools transactions: what a command does is done by one connection, perhaps for minutes.
    let options = database.migrate.as_ref().unwrap_or_else(|| base.options());
    let pool = postgres::pool(options.clone(), 1, http.patience);
    let log_id = postgres::log_id(&pool).await?;
    let state = State::new(pool, Clock::system(), http, log_id);
    let done = command(&state).await;
    state.database().close().await;
    done
}

/// `termbase migrate`: brings the tables of a Postgres of one's own up to date.
///
/// # Errors
/// A Postgres that can't be used, or refuses a migration.
pub async fn migrate(database: &DatabaseSettings) -> Result<(), ServeError> {
    let (variable, options) = match (&database.migrate, &database.own) {
        (Some(options), _) => ("TERMBASE_MIGRATE_URL", options),
        (None, Some(options)) => ("DATABASE_URL", options),
        (None, None) => return Err(ServeError::NothingToMigrate),
    };
    wait_for(variable, options).await?;
    Ok(postgres::migrate(options).await?)
}

async fn wait_for(variable: &'static str, options: &PgConnectOptions) -> Result<(), ServeError> {
    postgres::wait_for(options, OWN_PATIENCE).await.map_err(|why| ServeError::Own { variable, why })
}

/// What is served: the tables with their first content.
struct Content {
    state: Data<State>,
    /// Whether the samples have just been loaded.
    loaded: bool,
    token: Token,
}

impl Content {
    async fn prepare(
        server: &ServerSettings,
        database: &DatabaseSettings,
        http: HttpSettings,
        base: &Base,
    ) -> Result<Self, ServeError> {
        base.migrate(database).await?;
        let mut options = base.options().clone();
        if database.migrate.is_none() {
            // A query whose request was given up ends as well. A pooling proxy refuses such a parameter; it has its own.
            let patience = format!("{}s", http.request_timeout.as_secs());
            options =
                options.options([("statement_timeout", &patience), ("idle_in_transaction_session_timeout", &patience)]);
        }
        let pool = postgres::pool(options, database.connections, http.patience);
        let log_id = postgres::log_id(&pool).await?;
        let state = Data::new(State::new(pool, Clock::system(), http, log_id));
        changes::settle(&state).await?;
        let rendered = terms::render_again(&state).await?;
        if rendered > 0 {
            say(&format!("rendered {rendered} bodies anew"));
        }
        let loaded = if server.samples { load_samples(&state).await? } else { false };
        let token = make_token(&state, server).await?;
        Ok(Content { state, loaded, token })
    }
}

/// Finishes what is in flight; a second signal ends it at once. (The framework takes no second word: it is left behind.)
async fn drain(handle: &ServerHandle, database: &PgPool, stop: &mut Stop) {
    tracing::info!("stopping: requests in flight are finished; a second signal ends them");
    let finished = async {
        handle.stop(true).await;
        database.close().await;
    };
    if stop.or_given_up(finished).await.is_none() {
        tracing::warn!("requests in flight are ended");
    }
}

/// SIGTERM and Ctrl-C.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// `work`, unless a signal comes first.
    async fn or_given_up<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            value = work => Some(value),
            () = self.wait() => None,
        }
    }
}

/// The Postgres underneath: one's own, or the private cluster with its lease.
enum Base {
    Own(PgConnectOptions),
    Private { options: PgConnectOptions, cluster: Cluster, psql: String },
}

impl Base {
    async fn prepare(server: &ServerSettings, database: &DatabaseSettings) -> Result<Self, ServeError> {
        if let Some(options) = &database.own {
            wait_for("DATABASE_URL", options).await?;
            return Ok(Base::Own(options.clone()));
        }
        if database.migrate.is_some() {
            return Err(ServeError::MigrateAlone);
        }
        let cluster = attach(server, database).await?;
        let options = PgConnectOptions::from_str(&cluster.url("termbase"))?;
        let psql = cluster.psql_command("termbase");
        Ok(Base::Private { options, cluster, psql })
    }

    fn options(&self) -> &PgConnectOptions {
        match self {
            Base::Own(options) | Base::Private { options, .. } => options,
        }
    }

    async fn migrate(&self, database: &DatabaseSettings) -> Result<(), ServeError> {
        match self {
            Base::Own(_) => migrate(database).await,
            Base::Private { options, .. } => Ok(postgres::migrate(options).await?),
        }
    }

    /// Gives the lease back, and waits until the private cluster has stopped: nothing of ours stays behind.
    async fn end(self) {
        if let Base::Private { cluster, .. } = self {
            let ended = cluster.watch();
            drop(cluster);
            if tokio::time::timeout(CLUSTER_END, ended).await.is_err() {
                tracing::warn!("the private database is still stopping");
            }
        }
    }

    /// Keeps the private cluster running: one that lost its supervisor is attached again. Ends with the reason why that
    /// is not possible, or is of no use.
    async fn keep(&mut self, server: &ServerSettings, database: &DatabaseSettings) -> ServeError {
        let Base::Private { cluster, .. } = self else { return std::future::pending().await };
        loop {
            cluster.watch().await;
            if cluster.gave_up() {
                return ServeError::Dying { log: cluster.last_log_lines(SHOWN_LINES) };
            }
            tracing::warn!("the private database has lost its supervisor; starting it again");
            match attach(server, database).await {
                Ok(again) => *cluster = again,
                Err(error) => return ServeError::Ended(error),
            }
        }
    }
}

async fn attach(server: &ServerSettings, database: &DatabaseSettings) -> Result<Cluster, ClusterError> {
    let options = Options {
        // The path of a running program is known on every system that we run on; `termbase` in PATH is the same program.
        program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("termbase")),
        data_dir: server.data_dir.clone(),
        bin_dir: database.bin_dir.clone(),
        path: database.path.clone(),
        cache_dir: database.cache_dir.clone(),
        linger: Duration::ZERO,
    };
    let attached = tokio::task::spawn_blocking(move || Cluster::attach(&options, &mut |line| say(line))).await;
    match attached {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn say(line: &str) {
    eprintln!("termbase: {line}");
}

async fn load_samples(state: &State) -> Result<bool, Error> {
    let began = Instant::now();
    // Only a look, so that most starts write nothing; the write looks again under its lock.
    if sqlx::query_scalar!(r#"select exists(select from changes) as "any!""#).fetch_one(&state.database()).await? {
        return Ok(false);
    }
    let loaded = samples::load(state, samples::edits().map_err(Error::internal)?).await?;
    if let Some((count, _)) = loaded {
        say(&format!("loaded the sample glossary, {count} documents, in {:.1} s", began.elapsed().as_secs_f64()));
    }
    Ok(loaded.is_some())
}

/// Where the first admin token is to be found.
enum Token {
    /// There was one already, or it was given.
    Known,
    Shown(SecretString),
    File(PathBuf),
}

async fn make_token(state: &State, server: &ServerSettings) -> Result<Token, Error> {
    let on_terminal = std::io::stdout().is_terminal();
    let mut kept = Token::Known;
    let made = tokens::make_first(state, server.admin_token.as_ref(), |token| {
        kept = if on_terminal {
            Token::Shown(token.clone())
        } else {
            let written = write_secret(&server.data_dir, token).map_err(|error| {
                std::io::Error::other(format!(
                    "the first admin token can't be written to {}: {error}. Choose a TERMBASE_DATA_DIR that this user \
                     may write to, or give a token: TERMBASE_ADMIN_TOKEN",
                    server.data_dir.join("admin-token").display()
                ))
            })?;
            Token::File(written)
        };
        Ok(())
    })
    .await?;
    if let (false, Some(token)) = (made, &server.admin_token)
        && tokens::find(state, token).await?.is_none()
    {
        tracing::warn!("TERMBASE_ADMIN_TOKEN has no effect: it is not the first token of this database");
    }
    Ok(kept)
}

/// Into `admin-token`, or `admin-token-2` and so on: the token of another database may be in the first, and nowhere else.
fn write_secret(folder: &Path, token: &SecretString) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let mut number = 1;
    loop {
        let name = if number == 1 { "admin-token".to_owned() } else { format!("admin-token-{number}") };
        let path = folder.join(name);
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                writeln!(file, "{}", token.expose_secret())?;
                return Ok(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The address of the greeting's curl line: the page with the most to show where the samples have just been loaded.
async fn first_address(state: &State, loaded: bool) -> Result<String, sqlx::Error> {
    if !loaded {
        return Ok("/terms".into());
    }
    let slug = sqlx::query_scalar!(
        r#"
        select t.slug as "slug!" from term_cards t
         order by (select count(*) from term_relations r where t.id in (r.owner, r.other))
                  + (select count(*) from term_companies l where l.term_id = t.id) desc,
                  t.slug
         limit 1
        "#
    )
    .fetch_optional(&state.database())
    .await?;
    Ok(slug.map_or_else(|| "/terms".into(), |slug| format!("/terms/{slug}")))
}

fn greet(address: SocketAddr, first: &str, token: &Token, base: &Base) {
    let host =
        if address.ip().is_unspecified() { format!("localhost:{}", address.port()) } else { address.to_string() };
    let mut lines = vec![
        format!("termbase {} listens on http://{host}", env!("CARGO_PKG_VERSION")),
        format!("  docs         http://{host}/docs"),
        format!("  try          curl http://{host}{first}"),
    ];
    match token {
        Token::Known => {}
        Token::Shown(token) => {
            lines.push(format!("  admin token  {}  (shown this once: keep it)", token.expose_secret()));
        }
        Token::File(file) => lines.push(format!("  admin token  in {}", file.display())),
    }
    if let Base::Private { psql, .. } = base {
        tracing::debug!("psql on the private database: {psql}");
    }
    // A closed standard output is no reason not to serve.
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
}
