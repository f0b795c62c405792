//! The data directory of the private cluster: making one, and telling which Postgres it belongs to.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::cluster::ClusterError;
use super::fetch;
use super::locate::{OLDEST_MAJOR, Programs};
use super::place::{Identity, Place};
use super::session::USER;

/// How the folder of a data directory in the making begins.
const UNFINISHED: &str = "postgres.new-";

/// Character types under which `lower('É')` is `é` and trigrams keep letters beyond ASCII. Not every system knows the
/// first.
const CTYPES: [&str; 2] = ["C.UTF-8", "en_US.UTF-8"];

/// The major version that wrote the data; `None` where there are none yet.
pub fn major(place: &Place) -> Result<Option<u32>, ClusterError> {
    let data = place.data();
    let empty = fs::read_dir(&data).is_ok_and(|mut entries| entries.next().is_none());
    if empty || data.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let version = fs::read_to_string(data.join("PG_VERSION")).and_then(|text| {
        let parsed = text.trim().parse();
        parsed.map_err(|error| io::Error::other(format!("it says '{}': {error}", text.trim())))
    });
    version.map(Some).map_err(|source| ClusterError::NoData { data, source })
}

/// Makes the data directory: aside first, then renamed, so that there is a whole one or none.
pub fn create(place: &Place, programs: &Programs) -> Result<(), ClusterError> {
    let unusable = |source| ClusterError::Folder { folder: place.folder().to_owned(), source };
    remove_unfinished(place).map_err(unusable)?;
    let new = unfinished(place).map_err(unusable)?;
    place.make_private(&new).map_err(unusable)?;
    let made = run_initdb(place, programs, &new);
    if made.is_err() {
        // What stays is removed by the next one who makes a database.
        let _ = fs::remove_dir_all(&new);
    }
    made?;
    // initdb has written all of it to the disk; the new name has to follow before anybody counts on it.
    fs::rename(&new, place.data()).and_then(|()| File::open(place.folder())?.sync_all()).map_err(unusable)
}

fn run_initdb(place: &Place, programs: &Programs, new: &Path) -> Result<(), ClusterError> {
    let failed = |said| Err(ClusterError::Initdb { folder: place.folder().to_owned(), said });
    let mut unknown = Vec::new();
    for ctype in CTYPES {
        let output = match initdb(place, programs, new, ctype) {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => output,
            Err(error) => {
                return failed(format!("{} can't be run: {error}", programs.bin_dir.join("initdb").display()));
            }
        };
        let said = String::from_utf8_lossy(&output.stderr);
        if !said.contains("invalid locale") {
            return failed(format!("it ended with {} and said:\n{}", output.status, said.trim()));
        }
        unknown.push(ctype);
    }
    let unknown = unknown.join(" and ");
    failed(format!("this system knows neither of the locales {unknown} (see 'locale -a'). Install one of them."))
}

/// Runs initdb with everything said explicitly: in an empty environment it would make `SQL_ASCII`, in another one
/// whatever that says.
fn initdb(place: &Place, programs: &Programs, new: &Path, ctype: &str) -> io::Result<Output> {
    let mut command = Command::new(programs.bin_dir.join("initdb"));
    command.arg("--pgdata").arg(new);
    // Trust: who gets to the socket is already the right user, see `Place::make_socket_dir`.
    command.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--lc-collate=C", "--data-checksums"]);
    command.args([format!("--lc-ctype={ctype}"), format!("--username={USER}"), "--no-instructions".to_owned()]);
    // The server takes its time zone from here. termbase writes and reads UTC only.
    command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").env("TZ", "UTC");
    // The folder that we were started in may be closed to the server's user.
    command.current_dir(new).stdin(Stdio::null());
    Identity::apply(place.identity(), &mut command).output()
}

/// Removes what interrupted attempts left. Nobody else can be at it: making data is for who holds the start lock.
fn remove_unfinished(place: &Place) -> io::Result<()> {
    for entry in fs::read_dir(place.folder())? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(UNFINISHED.as_bytes()) {
            // The initdb of a killed process may still be writing there: it fails by this, and the rest goes next time.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

fn unfinished(place: &Place) -> io::Result<PathBuf> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(place.folder().join(format!("{UNFINISHED}{:08x}", u32::from_ne_bytes(random))))
}

/// What to do about data whose Postgres isn't here.
pub fn needs_programs(folder: &Path, major: u32, usable: &[Programs]) -> String {
    let data = folder.join("postgres");
    let data = data.display();
    let each: Vec<String> =
        usable.iter().map(|found| format!("{} in {}", found.major, found.bin_dir.display())).collect();
    let found = if each.is_empty() { "none".to_owned() } else { each.join(", ") };
    let install = if major < OLDEST_MAJOR {
        format!("termbase runs on Postgres {OLDEST_MAJOR} or later, so move the data")
    } else {
        let hint = fetch::install_hint(&fs::read_to_string("/etc/os-release").unwrap_or_default());
        format!(
            "Install Postgres {major} (like: {hint}) or set PG_BIN_DIR to the folder of its programs. Or move the data"
        )
    };
    format!(
        "the database in {data} was written by Postgres {major}, which termbase can't run here (found: {found}).\n{install}: \
         start Postgres {major} on them where there is one, save them by its pg_dumpall, rename {data}, start termbase, \
         and load the saved file by psql. Renaming alone makes a new, empty database."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_data_say_how_to_move_them() {
        let usable = [Programs { bin_dir: "/usr/lib/postgresql/15/bin".into(), major: 15 }];
        let text = needs_programs(Path::new("/srv"), 13, &usable);
        for part in ["/srv/postgres", "Postgres 13", "15 in /usr/lib/postgresql/15/bin", "pg_dumpall", "14 or later"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(needs_programs(Path::new("/srv"), 17, &[]).contains("Install Postgres 17"));
    }
}
