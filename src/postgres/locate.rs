//! Finding a Postgres on this system that a private cluster can run with.
//!
//! A folder is taken by what its programs say of themselves, never by its name. Whatever is turned down is remembered
//! with the reason, because 'no Postgres found' helps nobody who has one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::place::Identity;

/// The oldest Postgres that termbase's SQL runs on.
pub const OLDEST_MAJOR: u32 = 14;

/// What a server needs to be started and its data to be made.
const PROGRAMS: [&str; 2] = ["postgres", "initdb"];

/// The extension without which termbase's migrations fail; many systems package it apart.
const EXTENSION: &str = "extension/pg_trgm.control";

/// Where systems put their servers: a folder, how the names in it begin, and what follows: Debian, Red Hat's PGDG,
/// Alpine, Homebrew on both processors, Postgres.app.
const FAMILIES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];

/// Fedora, Arch, and what is built by hand.
const FOLDERS: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin"];

/// A server that a cluster can run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    pub bin_dir: PathBuf,
    pub major: u32,
}

/// A folder that was looked at and not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub bin_dir: PathBuf,
    pub why: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.bin_dir.display(), self.why)
    }
}

/// All that a search came to, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub usable: Vec<Programs>,
    pub rejected: Vec<Rejected>,
}

/// Where to look. What comes from the environment is handed in: only the configuration reads it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search<'a> {
    /// `PG_BIN_DIR`: where it is set nothing else is looked at.
    pub bin_dir: Option<&'a Path>,
    /// `PATH`.
    pub path: Option<&'a OsStr>,
    /// A server that was fetched earlier; it comes last.
    pub fetched: Option<&'a Path>,
    /// Who will run the programs, and so has to be able to.
    pub run_as: Option<Identity>,
}

/// Looks everywhere and asks every folder that has a server in it.
pub fn search(search: Search<'_>) -> Found {
    let mut found = Found::default();
    let mut seen: Vec<PathBuf> = Vec::new();
    for bin_dir in candidates(search) {
        // A folder that was named is asked whatever is in it; others only where there is a server at all.
        let named = search.bin_dir.is_some();
        if !named && !bin_dir.join("postgres").is_file() {
            continue;
        }
        // `/usr/bin` may lead to `/usr/libexec/postgresql17`: what belongs to a program lies beside its real place.
        let real = bin_dir.join("postgres").canonicalize().ok();
        let bin_dir = real.and_then(|program| Some(program.parent()?.to_owned())).unwrap_or(bin_dir);
        if seen.contains(&bin_dir) {
            continue;
        }
        seen.push(bin_dir.clone());
        match check(&bin_dir, search.run_as) {
            Ok(programs) => found.usable.push(programs),
            Err(why) => found.rejected.push(Rejected { bin_dir, why }),
        }
    }
    found
}

/// Whether a cluster can run with the programs of this folder; else why not, in a clause.
pub fn check(bin_dir: &Path, run_as: Option<Identity>) -> Result<Programs, String> {
    if let Some(missing) = PROGRAMS.iter().find(|program| !bin_dir.join(program).is_file()) {
        return Err(format!("it has no program '{missing}'"));
    }
    // Both have to run: each may lack a library of its own.
    say(&bin_dir.join("initdb"), &["--version"], run_as)?;
    let version = say(&bin_dir.join("postgres"), &["--version"], run_as)?;
    let major = major_of(&version)
        .ok_or_else(|| format!("'postgres --version' answers '{version}', which names no version"))?;
    if major < OLDEST_MAJOR {
        return Err(format!("it is Postgres {major}; termbase needs {OLDEST_MAJOR} or later"));
    }
    if !shared_folders(bin_dir, major, run_as).iter().any(|folder| folder.join(EXTENSION).is_file()) {
        return Err(format!(
            "it is Postgres {major} without the extension pg_trgm, which many systems package as postgresql-contrib"
        ));
    }
    Ok(Programs { bin_dir: bin_dir.to_owned(), major })
}

fn candidates(search: Search<'_>) -> Vec<PathBuf> {
    if let Some(bin_dir) = search.bin_dir {
        return vec![bin_dir.to_owned()];
    }
    let on_path: Vec<PathBuf> = search.path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    // Debian puts only this little program on the path, and the server where it says.
    let told = on_path
        .iter()
        .map(|folder| folder.join("pg_config"))
        .find(|program| program.is_file())
        .and_then(|program| say(&program, &["--bindir"], search.run_as).ok())
        .map(PathBuf::from);
    let families = FAMILIES.iter().flat_map(|(folder, start, end)| newest_first(Path::new(folder), start, end));
    on_path
        .into_iter()
        .filter(|folder| folder.is_absolute())
        .chain(told)
        .chain(families)
        .chain(FOLDERS.map(PathBuf::from))
        .chain(search.fetched.map(Path::to_owned))
        .collect()
}

/// The folders `{folder}/{start}*/{end}`, by the version in their names.
fn newest_first(folder: &Path, start: &str, end: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<OsString> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.retain(|name| name.to_string_lossy().starts_with(start));
    names.sort_by_key(|name| std::cmp::Reverse(version_in(&name.to_string_lossy())));
    names.into_iter().map(|name| folder.join(name).join(end)).collect()
}

/// The first number in a name, or 0: `postgresql@17` is 17.
fn version_in(name: &str) -> u32 {
    let digits: String = name.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// The major version in `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)`.
fn major_of(version: &str) -> Option<u32> {
    let (_, number) = version.split_once("(PostgreSQL) ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Where the server of this folder may have its shared files: where its own `pg_config` says, else beside it in the
/// layouts that there are. The server itself does not tell.
fn shared_folders(bin_dir: &Path, major: u32, run_as: Option<Identity>) -> Vec<PathBuf> {
    let told = say(&bin_dir.join("pg_config"), &["--sharedir"], run_as).ok().map(PathBuf::from);
    let beside = [
        "../share/postgresql".to_owned(),
        "../share".to_owned(),
        "../share/pgsql".to_owned(),
        format!("../share/postgresql{major}"),
        format!("../../share/postgresql{major}"),
        format!("../../../../share/postgresql/{major}"),
    ];
    told.into_iter().chain(beside.iter().map(|folder| bin_dir.join(folder))).collect()
}

/// The first line that a program prints when it is run as the server's user would run it.
fn say(program: &Path, arguments: &[&str], run_as: Option<Identity>) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/").stdin(Stdio::null());
    let name = program.file_name().unwrap_or_default().display();
    let output = Identity::apply(run_as, &mut command)
        .output()
        .map_err(|error| format!("its program '{name}' can't be run: {error}"))?;
    let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_owned();
    if !output.status.success() {
        return Err(format!("its program '{name}' fails: {}", line(&output.stderr)));
    }
    Ok(line(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_print_them() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18.6"), Some(18));
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("postgres (PostgreSQL) devel"), None);
        assert_eq!(major_of(""), None);
    }

    #[test]
    fn names_of_folders_are_compared_by_number() {
        assert!(version_in("postgresql@17") > version_in("postgresql@9.6"));
        assert!(version_in("pgsql-18") > version_in("postgresql"));
    }

    #[test]
    fn a_named_folder_is_the_only_one_and_says_what_it_lacks() {
        let found = search(Search { bin_dir: Some(Path::new("/nonexistent")), ..Search::default() });
        assert_eq!(found.usable, []);
        let why: Vec<String> = found.rejected.iter().map(Rejected::to_string).collect();
        assert_eq!(why, ["/nonexistent: it has no program 'postgres'"]);
    }
}
