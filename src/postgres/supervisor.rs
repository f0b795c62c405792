//! `termbase postgres`: the process that owns the private server, and ends it when nobody needs it any more.
//!
//! Every user of the cluster holds a shared lock on the file `lease`. The supervisor asks for it alone: it gets it when
//! the last user has gone, however that ended, because the kernel takes the locks of a killed process back. It then
//! keeps the lease until it has ended itself, so that a newcomer waits, and finds either a server or none, never half of
//! one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::locks::{self, Hold};
use super::log;
use super::place::{Identity, Place};
use super::processes;

/// How often a server that died is started again within [`RESTART_WINDOW`].
const RESTARTS: usize = 3;
const RESTART_WINDOW: Duration = Duration::from_mins(1);

/// The pause before a server is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(250);

/// How long backends of a killed server may keep its shared memory.
const SHARED_MEMORY_LIMIT: Duration = Duration::from_secs(15);

/// How long our own lock may be looked at by somebody else when we start.
const LOCK_LIMIT: Duration = Duration::from_secs(2);

/// What the supervisor has to know; the words after `termbase postgres`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// The cluster's folder.
    pub folder: PathBuf,
    /// Where the server's programs are.
    pub bin_dir: PathBuf,
    /// How long the server stays after its last user.
    pub linger: Duration,
    /// Whom the server runs as, where that isn't ourselves.
    pub identity: Option<Identity>,
}

impl Args {
    /// The words that [`Args::parse`] reads.
    pub fn to_words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![
            "--data".into(),
            self.folder.clone().into(),
            "--bin-dir".into(),
            self.bin_dir.clone().into(),
            "--linger-ms".into(),
            self.linger.as_millis().to_string().into(),
        ];
        if let Some(Identity { uid, gid }) = self.identity {
            words.extend(["--uid".into(), uid.to_string().into(), "--gid".into(), gid.to_string().into()]);
        }
        words
    }

    /// Reads the words after `termbase postgres`. Only [`Args::to_words`] writes them, so a mistake is just named.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, SupervisorError> {
        let mut words = words.into_iter();
        let (mut folder, mut bin_dir, mut linger, mut uid, mut gid) = (None, None, None, None, None);
        while let Some(name) = words.next() {
            let value =
                words.next().ok_or_else(|| SupervisorError::Words(format!("{} has no value", name.display())))?;
            let number = || {
                let number = value.to_str().and_then(|text| text.parse::<u32>().ok());
                number.ok_or_else(|| SupervisorError::Words(format!("{} wants a number", name.display())))
            };
            match name.to_str() {
                Some("--data") => folder = Some(PathBuf::from(value)),
                Some("--bin-dir") => bin_dir = Some(PathBuf::from(value)),
                Some("--linger-ms") => linger = Some(Duration::from_millis(number()?.into())),
                Some("--uid") => uid = Some(number()?),
                Some("--gid") => gid = Some(number()?),
                _ => return Err(SupervisorError::Words(format!("{} is unknown", name.display()))),
            }
        }
        let missing = |name: &str| SupervisorError::Words(format!("{name} is missing"));
        let identity = match (uid, gid) {
            (None, None) => None,
            (Some(uid), Some(gid)) => Some(Identity { uid, gid }),
            _ => return Err(missing("--uid or --gid")),
        };
        Ok(Self {
            folder: folder.ok_or_else(|| missing("--data"))?,
            bin_dir: bin_dir.ok_or_else(|| missing("--bin-dir"))?,
            linger: linger.ok_or_else(|| missing("--linger-ms"))?,
            identity,
        })
    }
}

/// Why the supervisor gave up. Its last line in the server's log.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// The command line is not ours.
    #[error("this command is started by termbase itself, not by hand: {0}")]
    Words(String),
    /// There is a supervisor already.
    #[error("the cluster {} has a supervisor already ({holder})", folder.display())]
    NotAlone { folder: PathBuf, holder: String },
    /// The folder that we know is gone; what is there now is another supervisor's affair.
    #[error("the folder {} was removed or replaced while its server ran", folder.display())]
    Replaced { folder: PathBuf },
    /// The server can't be kept up.
    #[error("the server ended {times} times within a minute, at last with {status}; see its lines above", times = RESTARTS + 1)]
    KeepsDying { status: ExitStatus },
    /// A file or a process can't be used.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
}

fn io_error<What: Into<String>>(what: What) -> impl FnOnce(io::Error) -> SupervisorError {
    |source| SupervisorError::Io { what: what.into(), source }
}

/// Why a server is not watched any longer.
enum End {
    /// Nobody uses the cluster. The file is the lease, held alone.
    Unused(File),
    /// We were asked to end.
    Asked,
    /// The server ended by itself.
    Died(ExitStatus),
}

/// Runs the server until nobody uses it, or a signal says so. Needs tokio with signals and time.
pub async fn run(args: Args) -> Result<(), SupervisorError> {
    let place = Place::known(args.folder.clone(), args.identity);
    let lock = lock_supervisor(&place, &args.bin_dir)?;
    let mut signals = Signals::listen().map_err(io_error("can't listen to signals"))?;
    let mut unused = watch_lease(&place, args.linger)?;
    let mut deaths = Deaths::default();
    loop {
        let log_start = log::length(&place);
        let mut server = start(&place, &args.bin_dir)?;
        note(&format!("started the server, process {}", server.id().unwrap_or_default()));
        let end = tokio::select! {
            lease = &mut unused => match lease {
                Ok(Ok(lease)) => End::Unused(lease),
                Ok(Err(source)) => {
                    stop(&mut server).await?;
                    return Err(io_error("can't wait for the lease")(source));
                }
                // The waiting thread always answers.
                Err(_) => End::Asked,
            },
            () = signals.asked() => End::Asked,
            status = server.wait() => End::Died(status.map_err(io_error("can't wait for the server"))?),
        };
        match end {
            End::Unused(_lease) => {
                note("nobody uses the server any more: stopping it");
                // The lease goes with this process, after the server.
                return stop(&mut server).await;
            }
            End::Asked => {
                note("asked to end: stopping the server");
                return stop(&mut server).await;
            }
            End::Died(status) => {
                note(&format!("the server ended by itself, with {status}"));
                let in_memory = log::says_since(&place, log_start, "pre-existing shared memory block");
                if !is_still(&lock, &place.supervisor_lock()) {
                    return Err(SupervisorError::Replaced { folder: args.folder });
                }
                if !deaths.may_restart(Instant::now(), in_memory) {
                    return Err(SupervisorError::KeepsDying { status });
                }
                processes::end_orphans(&place).map_err(io_error("can't end the dead server's processes"))?;
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        }
    }
}

/// Takes the lock by which others know that we live, and says in it where the programs are.
fn lock_supervisor(place: &Place, bin_dir: &Path) -> Result<File, SupervisorError> {
    let path = place.supervisor_lock();
    let cannot = || io_error(format!("can't lock {}", path.display()));
    let file = locks::open(&path).map_err(cannot())?;
    // Whoever looks whether we live holds the lock for that moment.
    if !locks::hold_within(&file, Hold::Alone, LOCK_LIMIT, &mut || {}).map_err(cannot())? {
        return Err(SupervisorError::NotAlone { folder: place.folder().to_owned(), holder: locks::holder(&file) });
    }
    locks::sign(&file, &format!("{}\n", bin_dir.display())).map_err(cannot())?;
    Ok(file)
}

/// Whether a path still leads to this open file.
fn is_still(file: &File, path: &Path) -> bool {
    let file = file.metadata().map(|found| (found.dev(), found.ino()));
    let there = path.metadata().map(|found| (found.dev(), found.ino()));
    matches!((file, there), (Ok(file), Ok(there)) if file == there)
}

/// Waits for the last user in a thread of its own, because a lock without a time limit can't be awaited.
fn watch_lease(place: &Place, linger: Duration) -> Result<oneshot::Receiver<io::Result<File>>, SupervisorError> {
    let path = place.lease();
    let file = locks::open(&path).map_err(io_error(format!("can't open {}", path.display())))?;
    let (tell, told) = oneshot::channel();
    let wait = move || {
        // Nobody listens any more when the supervisor ends for another reason.
        let _ = tell.send(wait_until_unused(file, linger));
    };
    std::thread::Builder::new().name("lease".to_owned()).spawn(wait).map_err(io_error("can't start a thread"))?;
    Ok(told)
}

/// Returns the lease, held alone, once nobody has used the cluster for `linger`.
fn wait_until_unused(file: File, linger: Duration) -> io::Result<File> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => outcome?,
        }
        if linger.is_zero() {
            return Ok(file);
        }
        // Let go meanwhile: whoever comes now should find a running server, and not wait for its end.
        file.unlock()?;
        std::thread::sleep(linger);
        if locks::try_hold(&file, Hold::Alone)? {
            return Ok(file);
        }
    }
}

/// When the server ended by itself lately, and since when it can't start for shared memory.
#[derive(Debug, Default)]
struct Deaths {
    times: Vec<Instant>,
    in_memory_since: Option<Instant>,
}

impl Deaths {
    /// Counts a death and says whether the server is started again. One that only waits for its predecessor's backends
    /// to leave the shared memory is not held against it for a while.
    fn may_restart(&mut self, now: Instant, in_memory: bool) -> bool {
        if in_memory && now.duration_since(*self.in_memory_since.get_or_insert(now)) < SHARED_MEMORY_LIMIT {
            return true;
        }
        if !in_memory {
            self.in_memory_since = None;
        }
        self.times.retain(|time| now.duration_since(*time) < RESTART_WINDOW);
        self.times.push(now);
        self.times.len() <= RESTARTS
    }
}

/// The signals that end us. A hangup doesn't: our terminal's end is the users' affair.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    _hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts the server: by its socket only, in a process group of its own, with nothing of our environment.
fn start(place: &Place, bin_dir: &Path) -> Result<Child, SupervisorError> {
    let data = place.data();
    let mut command = Command::new(bin_dir.join("postgres"));
    command.arg("-D").arg(&data);
    for setting in
        ["listen_addresses=", "port=5432", "unix_socket_permissions=0700", "fsync=on", "logging_collector=off"]
    {
        command.args(["-c", setting]);
    }
    command.arg("-c").arg(socket_setting(&place.socket_dir()));
    // C: messages in English, which we read, and no threads from a locale's libraries, which macOS would start.
    command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
    command.current_dir(&data).stdin(Stdio::null()).process_group(0);
    Identity::apply(place.identity(), &mut command);
    let program = bin_dir.join("postgres");
    let cannot = io_error(format!("can't start {}", program.display()));
    tokio::process::Command::from(command).spawn().map_err(cannot)
}

/// The setting for the socket's folder. It takes a list: quotes keep a comma in a path from making two of one.
fn socket_setting(folder: &Path) -> OsString {
    let mut setting = b"unix_socket_directories=\"".to_vec();
    for byte in folder.as_os_str().as_bytes() {
        if *byte == b'"' {
            setting.push(b'"');
        }
        setting.push(*byte);
    }
    setting.push(b'"');
    OsString::from_vec(setting)
}

/// Stops the server, more and more firmly.
async fn stop(server: &mut Child) -> Result<(), SupervisorError> {
    for (step, time) in processes::STOP_STEPS {
        // Without an id it has been waited for already.
        let Some(pid) = server.id().and_then(|id| i32::try_from(id).ok()) else { return Ok(()) };
        send(pid, step)?;
        if let Ok(status) = tokio::time::timeout(time, server.wait()).await {
            let status = status.map_err(io_error("can't wait for the server"))?;
            note(&format!("the server ended, with {status}"));
            return Ok(());
        }
    }
    Err(SupervisorError::Io { what: "the server did not end".to_owned(), source: io::ErrorKind::TimedOut.into() })
}

fn send(pid: i32, step: Signal) -> Result<(), SupervisorError> {
    processes::signal(Pid::from_raw(pid), step).map_err(io_error("can't stop the server"))
}

/// Writes a line for the server's log, which our standard error is. Not through `tracing`: these lines have to be there,
/// and readable among the server's, whatever the settings say about termbase's own log.
fn note(text: &str) {
    // Without a log there is nobody to tell.
    let _ = writeln!(io::stderr(), "termbase postgres [{}]: {text}", std::process::id());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read_as_it_is_written() {
        let mut args = Args {
            folder: PathBuf::from("/srv/my data"),
            bin_dir: PathBuf::from("/usr/lib/postgresql/17/bin"),
            linger: Duration::from_millis(1500),
            identity: Some(Identity { uid: 101, gid: 104 }),
        };
        assert_eq!(Args::parse(args.to_words()).unwrap(), args);
        args.identity = None;
        assert_eq!(Args::parse(args.to_words()).unwrap(), args);
        for words in [&["--data"][..], &["--data", "/srv"], &["--what", "x"], &["--uid", "x"]] {
            assert!(Args::parse(words.iter().map(OsString::from)).is_err(), "{words:?}");
        }
    }

    #[test]
    fn a_server_may_die_three_times_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deaths = Deaths::default();
        for second in [0, 10, 20] {
            assert!(deaths.may_restart(at(second), false));
        }
        assert!(!deaths.may_restart(at(30), false));
        assert!(deaths.may_restart(at(95), false));
    }

    #[test]
    fn waiting_for_shared_memory_is_no_death_for_a_while() {
        let start = Instant::now();
        let mut deaths = Deaths::default();
        for tenth in 0..140 {
            assert!(deaths.may_restart(start + Duration::from_millis(tenth * 100), true));
        }
        let end: Vec<bool> =
            (16..20).map(|second| deaths.may_restart(start + Duration::from_secs(second), true)).collect();
        assert_eq!(end, [true, true, true, false]);
    }

    #[test]
    fn a_comma_in_a_path_makes_no_second_socket() {
        let setting = socket_setting(Path::new("/srv/a,b\"c"));
        assert_eq!(setting, OsString::from("unix_socket_directories=\"/srv/a,b\"\"c\""));
    }
}
