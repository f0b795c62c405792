//! The private Postgres cluster: one server for a data folder, shared by all who need it, gone when nobody does.
//!
//! `serve` and every test process do the same: they [attach](Cluster::attach), which starts the server where none runs,
//! and hold a lease as long as their [`Cluster`] lives. The [supervisor](super::supervisor) ends the server when the
//! last lease has gone, be it returned or taken back by the kernel after a SIGKILL.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::data;
use super::fetch::{self, FetchError, Source};
use super::locate::{self, Found, Programs, Rejected, Search};
use super::locks::{self, Hold};
use super::log;
use super::place::{self, Place};
use super::processes;
use super::session::{self, DATABASE, PORT, SessionError, USER};
use super::supervisor::Args;

/// How long one process may take to start or join the cluster while others wait for their turn.
const TURN_LIMIT: Duration = Duration::from_mins(1);

/// How long a server that is being stopped may take; longer than the supervisor's own patience.
const LEASE_LIMIT: Duration = Duration::from_mins(1);

/// How long a server may say nothing after its start. One that says that it recovers gets as long as it needs.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// After which time a server that is still starting is spoken of.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(2);

/// How often a supervisor is started that somebody kills before its server answers.
const STARTS: u32 = 3;

/// How often a starting server is asked.
const READY_POLL: Duration = Duration::from_millis(20);

/// How often it is looked whether the supervisor lives.
const WATCH_POLL: Duration = Duration::from_millis(200);

/// How many lines of the server's log an error message shows.
const SHOWN_LINES: usize = 12;

/// What a cluster needs to know; all that comes from the environment is handed in.
#[derive(Clone, Debug)]
pub struct Options {
    /// The termbase executable: its hidden command `postgres` is the supervisor.
    pub program: PathBuf,
    /// termbase's data folder; made where it is missing.
    pub data_dir: PathBuf,
    /// `PG_BIN_DIR`: the only place to look for a server, where it is set.
    pub bin_dir: Option<PathBuf>,
    /// `PATH`, where servers are looked for first.
    pub path: Option<OsString>,
    /// The user's cache, for a server that is fetched where none is found; `None` fetches nothing.
    pub cache_dir: Option<PathBuf>,
    /// How long the server stays after its last user.
    pub linger: Duration,
}

/// Gets a line for people whenever something takes long or is worth knowing.
pub type Progress<'a> = &'a mut (dyn FnMut(&str) + Send);

/// Why there is no private cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The data folder, or a file in it, can't be used.
    #[error("can't use {}: {source}. The data folder must be one that this user may write to.", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    /// Root finds the data, but the server's user can't get there.
    #[error(
        "the database in {} belongs to user {}, who can't get into that folder. Let that user pass through the \
         folders above it (chmod o+x), or move the data folder.",
        folder.display(), place::user_name(*uid)
    )]
    Unreachable { folder: PathBuf, uid: u32 },
    /// Root, and nobody to run the server as.
    #[error(
        "Postgres refuses to run as root, and this system has neither a user 'postgres' nor 'nobody' to run it as. \
         Start termbase as an ordinary user, or set DATABASE_URL to a Postgres of yours."
    )]
    NoUser,
    /// The socket's folder is not ours alone.
    #[error(
        "can't use {} for the database server's socket: {source}. Remove that folder, or choose a data folder with a \
         shorter path.",
        folder.display()
    )]
    SocketFolder { folder: PathBuf, source: io::Error },
    /// Another process has been starting the cluster for too long.
    #[error(
        "{holder} has been starting the database in {} for {} seconds. See what it does, or end it, and start again.",
        folder.display(), TURN_LIMIT.as_secs()
    )]
    Busy { folder: PathBuf, holder: String },
    /// The previous server does not end.
    #[error(
        "the earlier database server in {} ({holder}) has not ended within {} seconds. End that process and start \
         again.\n{log}",
        folder.display(), LEASE_LIMIT.as_secs()
    )]
    Leaving { folder: PathBuf, holder: String, log: String },
    /// A server that nobody supervises can't be stopped.
    #[error("a database server of an earlier run in {} can't be stopped: {source}", folder.display())]
    Orphan { folder: PathBuf, source: io::Error },
    /// `PG_BIN_DIR` names something else.
    #[error(
        "PG_BIN_DIR is {}, but no server can be used there: {why}. It takes the folder with the programs 'postgres' \
         and 'initdb' of Postgres {} or later, with its extension pg_trgm; /usr/lib/postgresql/17/bin, say.",
        bin_dir.display(), locate::OLDEST_MAJOR
    )]
    BinDir { bin_dir: PathBuf, why: String },
    /// No server was found, and none fetched.
    #[error("{}", no_server(rejected, fetch.as_deref()))]
    NoServer { rejected: Vec<Rejected>, fetch: Option<Box<FetchError>> },
    /// The data were written by a Postgres that isn't here.
    #[error("{}", data::needs_programs(folder, *major, usable))]
    OtherMajor { folder: PathBuf, major: u32, usable: Vec<Programs> },
    /// The data directory holds something else.
    #[error(
        "{} is no Postgres data directory (it has no readable PG_VERSION: {source}). Rename that folder, and termbase \
         makes a new, empty database.",
        data.display()
    )]
    NoData { data: PathBuf, source: io::Error },
    /// The database couldn't be made.
    #[error("initdb could not make the database in {}: {said}", folder.display())]
    Initdb { folder: PathBuf, said: String },
    /// The supervisor can't be started.
    #[error("can't start {} for the database server: {source}", program.display())]
    Supervisor { program: PathBuf, source: io::Error },
    /// The server ended instead of answering.
    #[error("the database server in {} ended at its start. Its last lines ({}):\n{log}", folder.display(), folder.join("postgres.log").display())]
    Ended { folder: PathBuf, log: String },
    /// The server runs and does not answer.
    #[error(
        "the database server in {} has not answered for {} seconds ({last}). Its last lines ({}):\n{log}",
        folder.display(), READY_LIMIT.as_secs(), folder.join("postgres.log").display()
    )]
    Silent { folder: PathBuf, last: SessionError, log: String },
    /// The server runs, but has no database for us.
    #[error("can't make the database '{DATABASE}' in the private cluster: {0}")]
    Database(SessionError),
}

/// A running cluster, and our lease on it: the server stays as long as this value.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    bin_dir: PathBuf,
    /// The open file is the lease.
    _lease: File,
    /// The supervisor, if we started it: it has to be waited for when it ends before us.
    supervisor: Option<Child>,
}

/// What came of one turn.
enum Turn {
    Attached(Cluster),
    /// There is no server to start.
    NoServer(Vec<Rejected>),
    /// The supervisor that we started ended; a killed one has no reason that would last.
    Ended {
        killed: bool,
    },
}

impl Cluster {
    /// Joins the cluster of a data folder, or makes and starts it.
    ///
    /// It blocks, for some seconds where the database has to be made: from async code call it by `spawn_blocking`.
    pub fn attach(options: &Options, progress: Progress<'_>) -> Result<Self, ClusterError> {
        let place = Place::prepare(&options.data_dir, progress)?;
        let mut fetched = None;
        let mut starts = 0;
        loop {
            let rejected = match Self::take_turn(options, &place, fetched.as_deref(), progress)? {
                Turn::Attached(cluster) => return Ok(cluster),
                Turn::NoServer(rejected) => rejected,
                Turn::Ended { killed } => {
                    starts += 1;
                    if !killed || starts == STARTS {
                        let log = log::last_lines(&place, SHOWN_LINES);
                        return Err(ClusterError::Ended { folder: place.folder().to_owned(), log });
                    }
                    continue;
                }
            };
            // Outside our turn: a slow download must not make others give up, who may have found a server themselves.
            let (Some(cache_dir), None) = (&options.cache_dir, &fetched) else {
                return Err(ClusterError::NoServer { rejected, fetch: None });
            };
            let outcome =
                Source::pinned().and_then(|source| fetch::install(&source, cache_dir, place.identity(), progress));
            match outcome {
                Ok(bin_dir) => fetched = Some(bin_dir),
                Err(error) => return Err(ClusterError::NoServer { rejected, fetch: Some(Box::new(error)) }),
            }
        }
    }

    /// Joins or starts the cluster while nobody else does.
    fn take_turn(
        options: &Options,
        place: &Place,
        fetched: Option<&Path>,
        progress: Progress<'_>,
    ) -> Result<Turn, ClusterError> {
        let unusable = |source| ClusterError::Folder { folder: place.folder().to_owned(), source };
        let _turn = wait_for_turn(place, progress)?;
        let lease = take_lease(place, progress)?;
        place.make_socket_dir()?;
        // With our lease taken a living supervisor stays; one that was told to end by a signal, or fails, does not.
        if supervisor_lives(&place.supervisor_lock()) && wait_until_ready(place, None, progress)? {
            return Self::joined(place, lease, None);
        }
        let orphan = |source| ClusterError::Orphan { folder: place.folder().to_owned(), source };
        if processes::end_orphans(place).map_err(orphan)? {
            progress("stopped a database server that an earlier run had left behind");
        }
        let major = data::major(place)?;
        let programs = match choose(options, place, fetched, major)? {
            Ok(programs) => programs,
            Err(rejected) => return Ok(Turn::NoServer(rejected)),
        };
        if major.is_none() {
            progress(&format!("making a new database in {} (Postgres {})", place.data().display(), programs.major));
            data::create(place, &programs)?;
        }
        log::put_aside(place).map_err(unusable)?;
        let mut supervisor = spawn_supervisor(options, place, &programs)?;
        if !wait_until_ready(place, Some(&mut supervisor), progress)? {
            let killed = supervisor.wait().is_ok_and(|status| status.signal().is_some());
            return Ok(Turn::Ended { killed });
        }
        Self::joined(place, lease, Some(supervisor))
    }

    fn joined(place: &Place, lease: File, supervisor: Option<Child>) -> Result<Turn, ClusterError> {
        let file = locks::open(&place.supervisor_lock())
            .map_err(|source| ClusterError::Folder { folder: place.folder().to_owned(), source })?;
        let (_, bin_dir) = locks::signature(&file);
        let bin_dir = PathBuf::from(bin_dir.trim_end_matches('\n'));
        Ok(Turn::Attached(Self { place: place.clone(), bin_dir, _lease: lease, supervisor }))
    }

    /// The address of a database in the cluster, as sqlx and libpq read it.
    ///
    /// The role stands in the query: before an empty host (`postgres://termbase@/`) a URL may not have one.
    pub fn url(&self, database: &str) -> String {
        let host = percent_encoded(self.place.socket_dir().as_os_str().as_bytes());
        let database = percent_encoded(database.as_bytes());
        format!("postgres:///{database}?host={host}&port={PORT}&user={USER}&sslmode=disable")
    }

    /// The folder of the cluster: the data folder, or one under `/var/lib` where root's is closed to the server.
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// The folder of the server's socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.place.socket_dir()
    }

    /// The file with the server's and the supervisor's output.
    pub fn log(&self) -> PathBuf {
        self.place.log()
    }

    /// The line for a shell that opens psql on a database.
    pub fn psql_command(&self, database: &str) -> String {
        let beside = self.bin_dir.join("psql");
        let psql = if beside.is_file() { beside } else { PathBuf::from("psql") };
        format!("{} {}", quoted(&psql.to_string_lossy()), quoted(&self.url(database)))
    }

    /// The last lines of the server's log, for the message of one who has to give up.
    pub fn last_log_lines(&self, count: usize) -> String {
        log::last_lines(&self.place, count)
    }

    /// Whether the supervisor, which has ended, gave up on a server that keeps dying. One that was killed has no reason that
    /// would last; of one that another process started nothing is known.
    pub fn gave_up(&mut self) -> bool {
        // Its lock is free, so it is ending at this moment, if it has not: there is nothing to wait for but the kernel.
        let status = self.supervisor.as_mut().and_then(|supervisor| supervisor.wait().ok());
        status.and_then(|status| status.code()).is_some_and(|code| code != 0)
    }

    /// Resolves when the supervisor has ended. Whoever still needs the cluster attaches again.
    ///
    /// It polls: a thread blocked in a lock could not be cancelled, and would keep a runtime from shutting down.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static {
        let lock = self.place.supervisor_lock();
        async move {
            while supervisor_lives(&lock) {
                tokio::time::sleep(WATCH_POLL).await;
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A supervisor that ended before us is only an entry in the process table by now: let it go.
        if let Some(supervisor) = &mut self.supervisor {
            let _ = supervisor.try_wait();
        }
    }
}

/// Waits until nobody else starts or joins the cluster.
fn wait_for_turn(place: &Place, progress: Progress<'_>) -> Result<File, ClusterError> {
    let path = place.start_lock();
    let unusable = |source| ClusterError::Folder { folder: path.clone(), source };
    let file = locks::open(&path).map_err(unusable)?;
    let mut waiting = || progress(&format!("waiting for {}, which is starting the database", locks::holder(&file)));
    if !locks::hold_within(&file, Hold::Alone, TURN_LIMIT, &mut waiting).map_err(unusable)? {
        return Err(ClusterError::Busy { folder: place.folder().to_owned(), holder: locks::holder(&file) });
    }
    locks::sign(&file, "").map_err(unusable)?;
    Ok(file)
}

/// Takes our share of the lease; a supervisor that is ending its server holds it alone until it has.
fn take_lease(place: &Place, progress: Progress<'_>) -> Result<File, ClusterError> {
    let path = place.lease();
    let unusable = |source| ClusterError::Folder { folder: path.clone(), source };
    let file = locks::open(&path).map_err(unusable)?;
    let mut waiting = || progress("waiting for the earlier database server to end");
    if !locks::hold_within(&file, Hold::Shared, LEASE_LIMIT, &mut waiting).map_err(unusable)? {
        let holder =
            locks::open(&place.supervisor_lock()).map_or_else(|_| "unknown".to_owned(), |lock| locks::holder(&lock));
        let log = log::last_lines(place, SHOWN_LINES);
        return Err(ClusterError::Leaving { folder: place.folder().to_owned(), holder, log });
    }
    Ok(file)
}

/// Whether somebody holds the supervisor's lock.
fn supervisor_lives(lock: &Path) -> bool {
    match File::open(lock) {
        Ok(file) => !locks::try_hold(&file, Hold::Shared).unwrap_or(false),
        // Having no file left to open with, say, is no sign of anybody's end.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// The programs for these data, or for new ones; else all that was turned down.
fn choose(
    options: &Options,
    place: &Place,
    fetched: Option<&Path>,
    major: Option<u32>,
) -> Result<Result<Programs, Vec<Rejected>>, ClusterError> {
    let cached = options.cache_dir.as_deref().and_then(|cache| fetch::installed(cache, place.identity()));
    let search = Search {
        bin_dir: options.bin_dir.as_deref(),
        path: options.path.as_deref(),
        fetched: fetched.or(cached.as_deref()),
        run_as: place.identity(),
    };
    let Found { mut usable, mut rejected } = locate::search(search);
    if let (Some(bin_dir), [only]) = (&options.bin_dir, &rejected[..]) {
        return Err(ClusterError::BinDir { bin_dir: bin_dir.clone(), why: only.why.clone() });
    }
    let fitting = usable.iter().position(|programs| major.is_none_or(|major| programs.major == major));
    match (fitting, major) {
        (Some(fitting), _) => Ok(Ok(usable.swap_remove(fitting))),
        // The data want another server than those that are here; fetching helps if it would bring just that one.
        (None, Some(major)) => {
            let may_fetch = options.cache_dir.is_some() && options.bin_dir.is_none() && fetched.is_none();
            if !may_fetch || !fetch::brings(major) {
                return Err(ClusterError::OtherMajor { folder: place.folder().to_owned(), major, usable });
            }
            rejected.extend(usable.into_iter().map(|programs| Rejected {
                why: format!("it is Postgres {}, and the database was written by Postgres {major}", programs.major),
                bin_dir: programs.bin_dir,
            }));
            Ok(Err(rejected))
        }
        (None, None) => Ok(Err(rejected)),
    }
}

fn spawn_supervisor(options: &Options, place: &Place, programs: &Programs) -> Result<Child, ClusterError> {
    let args = Args {
        folder: place.folder().to_owned(),
        bin_dir: programs.bin_dir.clone(),
        linger: options.linger,
        identity: place.identity(),
    };
    let spawn = || {
        let log = locks::open(&place.log())?;
        Command::new(std::path::absolute(&options.program)?)
            .arg("postgres")
            .args(args.to_words())
            .current_dir(place.folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for termbase, which still needs the server while it drains.
            .process_group(0)
            .spawn()
    };
    spawn().map_err(|source| ClusterError::Supervisor { program: options.program.clone(), source })
}

/// Waits until the server has our database ready; false when its supervisor ended instead.
fn wait_until_ready(
    place: &Place,
    mut started: Option<&mut Child>,
    progress: Progress<'_>,
) -> Result<bool, ClusterError> {
    let socket = place.socket();
    let began = Instant::now();
    let mut deadline = began + READY_LIMIT;
    let mut told = false;
    loop {
        let error = match session::ensure_database(&socket) {
            Ok(()) => return Ok(true),
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(ClusterError::Database(error)),
        };
        // One that we have just started holds its lock a moment later.
        let starting = started.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        if !starting && !supervisor_lives(&place.supervisor_lock()) {
            return Ok(false);
        }
        if error.is_starting() {
            deadline = Instant::now() + READY_LIMIT;
            // Every server says so for a moment.
            if !told && began.elapsed() >= RECOVERY_PATIENCE {
                told = true;
                progress("the database server is still starting up (after an unclean end it recovers first)");
            }
        } else if Instant::now() >= deadline {
            let log = log::last_lines(place, SHOWN_LINES);
            return Err(ClusterError::Silent { folder: place.folder().to_owned(), last: error, log });
        }
        std::thread::sleep(READY_POLL);
    }
}

fn no_server(rejected: &[Rejected], fetch: Option<&FetchError>) -> String {
    let install = fetch::install_hint(&fs::read_to_string("/etc/os-release").unwrap_or_default());
    let mut lines = vec!["termbase found no Postgres to run its database with.".to_owned()];
    lines.extend(rejected.iter().map(|rejected| format!("  not {rejected}")));
    lines.extend(fetch.map(|error| format!("  not a fetched one: {error}")));
    lines.push(format!("Install one:  {install}"));
    lines.push(
        "or set PG_BIN_DIR to the folder of its programs, or DATABASE_URL to a Postgres that runs already.".to_owned(),
    );
    lines.join("\n")
}

/// Escapes all but what may stand anywhere in a URL.
fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text + &char::from(*byte).to_string(),
        _ => format!("{text}%{byte:02X}"),
    })
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_a_url_and_a_shell() {
        assert_eq!(percent_encoded("/srv/é a".as_bytes()), "%2Fsrv%2F%C3%A9%20a");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn without_a_server_every_way_out_is_named() {
        let rejected = Rejected { bin_dir: "/usr/bin".into(), why: "it has no program 'initdb'".into() };
        let text = no_server(&[rejected], None);
        assert!(text.contains("/usr/bin: it has no program 'initdb'"), "{text}");
        assert!(text.contains("Install one") && text.contains("PG_BIN_DIR") && text.contains("DATABASE_URL"), "{text}");
    }
}
