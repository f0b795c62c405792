//! Server processes that nobody supervises: finding them, making sure that they are ours, ending them.
//!
//! A pid in a file proves nothing: the process may be gone and its number somebody else's. So nothing is ever
//! signalled before its command line or working directory has shown it to be a server of this very data directory.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::place::Place;

/// How the server is asked to end: first in order, then without, then not at all; each with the time that it gets.
pub const STOP_STEPS: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(20)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];

const POLL: Duration = Duration::from_millis(20);

/// Ends every server process of this place that no supervisor owns, and the files by which a new server would take
/// another process for it. True when there was one.
///
/// Only for who holds the start lock and found no supervisor, or for the supervisor after its server's death.
pub fn end_orphans(place: &Place) -> io::Result<bool> {
    let data = place.data();
    let mut found = false;
    if let Some(pid) = postmaster(place) {
        found = true;
        stop(pid, &data)?;
    }
    // Backends of a postmaster that was killed end by themselves as soon as they look up from their work. Until then
    // they keep the shared memory, and no new server may start; with the postmaster gone nothing can be lost by them.
    for pid in strays(&data) {
        found = true;
        signal(pid, Signal::SIGKILL)?;
        wait_for_end(pid, &data, Duration::from_secs(5));
    }
    // Postgres itself refuses to start where a lock file names a living process of the same user, even if that has
    // nothing to do with it (pids start over with every container).
    for lock in [data.join("postmaster.pid"), place.socket_lock()] {
        // One that is empty or holds rubbish, as a full disk or a crash leaves it, stops a server as well.
        if lock.exists() && first_pid(&lock).is_none_or(|pid| kill(pid, None) != Err(Errno::ESRCH)) {
            fs::remove_file(&lock)?;
        }
    }
    Ok(found)
}

/// The living server of this place, by its lock files: in its data, and at its socket where the data were removed.
fn postmaster(place: &Place) -> Option<Pid> {
    let data = place.data();
    [data.join("postmaster.pid"), place.socket_lock()]
        .iter()
        .filter_map(|file| first_pid(file))
        .find(|pid| is_server(*pid, &data))
}

/// The pid on the first line of one of Postgres's lock files.
fn first_pid(file: &Path) -> Option<Pid> {
    parse_pid(&fs::read_to_string(file).ok()?)
}

fn parse_pid(text: &str) -> Option<Pid> {
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    // A standalone backend writes its pid negative; 0 and negative numbers would signal whole groups.
    (pid > 0).then(|| Pid::from_raw(pid))
}

/// Server processes of this data directory, where the system has a process file system to look through.
fn strays(data: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(|pid| is_server(*pid, data))
        .collect()
}

/// Whether a process is a Postgres of this data directory. A zombie is none: it has no command line any more.
fn is_server(pid: Pid, data: &Path) -> bool {
    let process = Path::new("/proc").join(pid.to_string());
    if let Ok(command) = fs::read(process.join("cmdline")) {
        let here = fs::read_link(process.join("cwd")).is_ok_and(|folder| folder == data);
        return is_server_command(&command, data, here);
    }
    if Path::new("/proc/self/cmdline").exists() {
        return false;
    }
    // macOS and the BSDs have no such file system, but always `ps`.
    let Ok(ps) = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output() else {
        return false;
    };
    let command = String::from_utf8_lossy(&ps.stdout);
    command.contains("postgres") && command.contains(&*data.to_string_lossy())
}

/// The same by a null-separated command line, and whether the process works in the data directory.
fn is_server_command(command: &[u8], data: &Path, here: bool) -> bool {
    let mut arguments = command.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let Some(program) = arguments.next() else { return false };
    // Children of the server rename themselves to `postgres: checkpointer` and the like.
    let named = program.as_bytes().starts_with(b"postgres:")
        || Path::new(program).file_name().is_some_and(|name| name == "postgres" || name == "postmaster");
    named && (here || arguments.any(|argument| argument == data.as_os_str()))
}

fn stop(pid: Pid, data: &Path) -> io::Result<()> {
    for (step, time) in STOP_STEPS {
        signal(pid, step)?;
        if wait_for_end(pid, data, time) {
            return Ok(());
        }
    }
    Err(io::Error::other(format!("process {pid} did not end, not even by SIGKILL")))
}

/// Signals a process; one that has just ended is fine.
pub fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(io::Error::other(format!("can't send {signal} to process {pid}: {error}"))),
    }
}

fn wait_for_end(pid: Pid, data: &Path, limit: Duration) -> bool {
    let start = Instant::now();
    while is_server(pid, data) {
        if start.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "/srv/termbase/postgres";

    #[test]
    fn a_server_is_known_by_its_program_and_its_data() {
        let is = |command: &str, here| is_server_command(command.as_bytes(), Path::new(DATA), here);
        assert!(is("/usr/lib/postgresql/15/bin/postgres\0-D\0/srv/termbase/postgres\0", false));
        assert!(is("postgres: checkpointer \0", true));
        assert!(!is("postgres: checkpointer \0", false));
        assert!(!is("/usr/lib/postgresql/15/bin/postgres\0-D\0/srv/other\0", false));
        assert!(!is("tail\0-f\0/srv/termbase/postgres\0", false));
        assert!(!is("vi\0", true));
        assert!(!is("", true));
    }

    #[test]
    fn a_lock_file_never_names_a_group() {
        assert_eq!(parse_pid("4711\n/srv\n"), Some(Pid::from_raw(4711)));
        for text in ["", "\n", "-4711\n", "0\n", "x"] {
            assert_eq!(parse_pid(text), None, "{text:?}");
        }
    }

    #[test]
    fn we_are_no_server() {
        assert!(!is_server(Pid::this(), Path::new(DATA)));
    }
}
