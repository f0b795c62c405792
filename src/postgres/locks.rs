//! Files that processes hold locks on: how `serve`, the tests and the supervisor agree on who may do what.
//!
//! Every lock is a `flock`: the kernel drops it with the process that holds it, a SIGKILL included, so none is ever
//! stale. What a file says (the pid of its holder) is for messages only; nothing decides by it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::Uid;

use super::place;

/// How often a lock with a time limit is tried. The kernel knows no such lock, and a thread blocked in the plain one can't be called back.
const POLL: Duration = Duration::from_millis(20);

/// After which time somebody who waits is told so.
const PATIENCE: Duration = Duration::from_secs(1);

/// The name of the lock that `termbase serve` holds in its data folder.
const SERVE_LOCK: &str = "serve.lock";

/// Whether one process alone holds a lock, or many do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    Alone,
    Shared,
}

/// Opens a file for locking or appending, for us and the folder's owner only.
///
/// It never follows a symlink: as root we may be working in a folder that belongs to somebody else. For the same
/// reason a file that root makes there is given to the owner, who could not open it later otherwise.
pub fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)?;
    if Uid::effective().is_root()
        && let Some(folder) = path.parent()
    {
        let (owner, found) = (folder.metadata()?, file.metadata()?);
        // A file with a second name may be one that the owner has no right to.
        if owner.uid() != found.uid() && found.nlink() == 1 {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(file)
}

/// Takes a lock if nobody stands in the way now.
pub fn try_hold(file: &File, hold: Hold) -> io::Result<bool> {
    let outcome = match hold {
        Hold::Alone => file.try_lock(),
        Hold::Shared => file.try_lock_shared(),
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Waits for a lock up to `limit`; false when it was not to be had. `waiting` is called once, when it takes long.
pub fn hold_within(file: &File, hold: Hold, limit: Duration, waiting: &mut dyn FnMut()) -> io::Result<bool> {
    let start = Instant::now();
    let mut told = false;
    while !try_hold(file, hold)? {
        let waited = start.elapsed();
        if waited >= limit {
            return Ok(false);
        }
        if waited >= PATIENCE && !told {
            told = true;
            waiting();
        }
        std::thread::sleep(POLL);
    }
    Ok(true)
}

/// Writes our pid, and what else a reader may want, into a lock file that we hold.
pub fn sign(mut file: &File, more: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(format!("{}\n{more}", std::process::id()).as_bytes())
}

/// What the holder of a lock wrote into its file: the pid, and the rest.
pub fn signature(mut file: &File) -> (Option<u32>, String) {
    let mut text = String::new();
    // A file that can't be read only makes a message poorer.
    let _ = file.rewind();
    let _ = file.read_to_string(&mut text);
    let (pid, more) = text.split_once('\n').unwrap_or((&text, ""));
    (pid.trim().parse().ok(), more.to_owned())
}

/// How a message names the holder of a lock.
pub fn holder(file: &File) -> String {
    match signature(file).0 {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// Why `termbase serve` may not use a data folder.
#[derive(Debug, thiserror::Error)]
pub enum ServeLockError {
    /// Another `termbase serve` runs on the folder.
    #[error(
        "termbase is already running on {} ({holder}). Stop it first, or give this one a data folder of its own.",
        folder.display()
    )]
    Held { folder: PathBuf, holder: String },
    /// The folder or the file in it can't be used at all.
    #[error("can't lock the data folder {}: {source}. It must be a folder that this user may write to.", folder.display())]
    Unusable { folder: PathBuf, source: io::Error },
}

/// One `termbase serve` at a time for a data folder: held as long as this value lives.
#[derive(Debug)]
pub struct ServeLock {
    /// The open file is the lock.
    _file: File,
}

impl ServeLock {
    /// Takes the lock at once or says who has it. A file that a killed process left behind is no lock.
    pub fn take(data_dir: &Path) -> Result<Self, ServeLockError> {
        let unusable = |source| ServeLockError::Unusable { folder: data_dir.to_owned(), source };
        place::make_data_dir(data_dir).map_err(unusable)?;
        let file = open(&data_dir.join(SERVE_LOCK)).map_err(unusable)?;
        if !try_hold(&file, Hold::Alone).map_err(unusable)? {
            return Err(ServeLockError::Held { folder: data_dir.to_owned(), holder: holder(&file) });
        }
        sign(&file, "").map_err(unusable)?;
        Ok(Self { _file: file })
    }
}
