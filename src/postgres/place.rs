//! Where the private cluster's files are, and as whom its server runs.
//!
//! Postgres refuses to run as root. Started by root, the server gets an unprivileged user of its own, and everything
//! that it must reach has to be reachable for that user; the rest stays with root.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User};
use sha2::{Digest, Sha256};

use super::cluster::{ClusterError, Progress};

/// The name of the data directory (PGDATA) in the cluster's folder.
const DATA: &str = "postgres";

/// The socket's name; the number is the server's port, which nothing listens on.
const SOCKET: &str = ".s.PGSQL.5432";

/// A socket's path may have 103 bytes on macOS and 107 on Linux; a few are left for the names that Postgres derives.
const LONGEST_SOCKET_PATH: usize = 99;

/// Where root keeps clusters whose own folder the server's user can't reach.
const SYSTEM_FOLDER: &str = "/var/lib/termbase";

/// Whom the server runs as when root starts it, most fitting first: Linux, macOS, anywhere.
const SERVER_USERS: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// The unprivileged user whom root runs the server as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
}

impl Identity {
    /// Makes a command run as this user; std drops root's extra groups as well.
    pub fn apply(identity: Option<Self>, command: &mut Command) -> &mut Command {
        if let Some(Self { uid, gid }) = identity {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Whether this user gets into `folder`. Asked by going there, so that groups, ACLs and mounts count.
    pub fn reaches(self, folder: &Path) -> bool {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", ":"]).current_dir(folder).env_clear();
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self::apply(Some(self), &mut shell).status().is_ok_and(|status| status.success())
    }
}

/// The files of one cluster.
#[derive(Clone, Debug)]
pub struct Place {
    folder: PathBuf,
    identity: Option<Identity>,
}

impl Place {
    /// Finds and makes the cluster's folder for a data folder; says so where it is another one.
    pub fn prepare(data_dir: &Path, progress: Progress<'_>) -> Result<Self, ClusterError> {
        let unusable = |source| ClusterError::Folder { folder: data_dir.to_owned(), source };
        make_data_dir(data_dir).map_err(unusable)?;
        let data_dir = data_dir.canonicalize().map_err(unusable)?;
        if !Uid::effective().is_root() {
            return Ok(Self { folder: data_dir, identity: None });
        }
        // A cluster that exists stays where it is, even when modes have changed since: a new, empty one elsewhere
        // would look like lost data.
        let elsewhere = Path::new(SYSTEM_FOLDER).join(digest(&data_dir));
        let existing = [&data_dir, &elsewhere].into_iter().find(|folder| folder.join(DATA).exists());
        let identity = server_identity(&existing.map_or_else(|| data_dir.clone(), |folder| folder.join(DATA)))?;
        let folder = match existing {
            Some(folder) => folder.clone(),
            None if identity.reaches(&data_dir) => data_dir.clone(),
            None => elsewhere,
        };
        make_folder(&folder).map_err(|source| ClusterError::Folder { folder: folder.clone(), source })?;
        if !identity.reaches(&folder) {
            return Err(ClusterError::Unreachable { folder, uid: identity.uid });
        }
        if folder != data_dir {
            progress(&format!(
                "the database server runs as user {} (Postgres refuses root), who can't reach {}: its data are in {}",
                user_name(identity.uid),
                data_dir.display(),
                folder.display()
            ));
        }
        Ok(Self { folder, identity: Some(identity) })
    }

    /// The place as the supervisor is told it.
    pub fn known(folder: PathBuf, identity: Option<Identity>) -> Self {
        Self { folder, identity }
    }

    /// The folder that holds the cluster: its data, locks and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whom the server runs as; `None` is ourselves.
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// The server's data directory (PGDATA).
    pub fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    /// What the supervisor and the server print.
    pub fn log(&self) -> PathBuf {
        self.folder.join("postgres.log")
    }

    /// Held by whoever starts or joins the cluster, for that moment.
    pub fn start_lock(&self) -> PathBuf {
        self.folder.join("start.lock")
    }

    /// Shared by all who use the cluster; the supervisor wants it alone, and ends the server when it gets it.
    pub fn lease(&self) -> PathBuf {
        self.folder.join("lease")
    }

    /// Held by the supervisor as long as it lives.
    pub fn supervisor_lock(&self) -> PathBuf {
        self.folder.join("supervisor.lock")
    }

    /// The folder of the server's socket: inside the cluster's where the path is short enough for a socket.
    pub fn socket_dir(&self) -> PathBuf {
        let inside = self.folder.join("socket");
        if inside.join(SOCKET).as_os_str().len() <= LONGEST_SOCKET_PATH {
            return inside;
        }
        // Not the environment's temporary folder: every process of the cluster has to come to the same one.
        PathBuf::from(format!("/tmp/termbase-{}", digest(&self.folder)))
    }

    /// The server's socket.
    pub fn socket(&self) -> PathBuf {
        self.socket_dir().join(SOCKET)
    }

    /// The lock file that the server keeps beside its socket.
    pub fn socket_lock(&self) -> PathBuf {
        self.socket_dir().join(format!("{SOCKET}.lock"))
    }

    /// Makes the socket's folder private to the server's user, and checks that it is.
    ///
    /// That is the whole authentication: the server trusts everyone who gets to its socket, so only its own user and
    /// root may get into this folder, whoever made it first.
    pub fn make_socket_dir(&self) -> Result<(), ClusterError> {
        let folder = self.socket_dir();
        self.make_private(&folder).map_err(|source| ClusterError::SocketFolder { folder, source })
    }

    /// Makes a folder for the server's user alone; one that exists must be just that.
    pub fn make_private(&self, folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = folder.symlink_metadata()?;
        if !found.is_dir() {
            return Err(io::Error::other("it is no folder"));
        }
        let us = Uid::effective().as_raw();
        let server = self.identity.map_or(us, |identity| identity.uid);
        if found.uid() != us && found.uid() != server {
            return Err(io::Error::other(format!("it belongs to user {}", user_name(found.uid()))));
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(folder, Permissions::from_mode(0o700))?;
        }
        if let Some(Identity { uid, gid }) = self.identity
            && found.uid() != uid
        {
            chown(folder, Some(uid), Some(gid))?;
        }
        Ok(())
    }
}

/// Makes termbase's data folder, for its user alone; one that exists keeps its modes.
///
/// Root's can be passed through (and not listed) by others, among them the server's user, whose own folders in it are
/// closed to everybody else.
pub fn make_data_dir(folder: &Path) -> io::Result<()> {
    make_folder(&std::path::absolute(folder)?)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let root = Uid::effective().is_root();
    let mode = if root { 0o711 } else { 0o700 };
    let mut missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    while let Some(next) = missing.pop() {
        match DirBuilder::new().mode(mode).create(next) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && next.is_dir() => {}
            outcome => outcome?,
        }
        // Said again: a strict umask would close it.
        fs::set_permissions(next, Permissions::from_mode(mode))?;
    }
    let found = folder.metadata()?;
    if root && found.uid() == 0 && found.mode() & 0o011 != 0o011 {
        fs::set_permissions(folder, Permissions::from_mode(found.mode() | 0o011))?;
    }
    if found.is_dir() { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// Whom root runs the server as: whoever owns the data (or the folder for them) already, so that this user can go on
/// without root later; else the first that this system knows.
fn server_identity(owned: &Path) -> Result<Identity, ClusterError> {
    if let Ok(owner) = owned.symlink_metadata()
        && owner.uid() != 0
        // Without a name initdb would refuse this user.
        && matches!(User::from_uid(Uid::from_raw(owner.uid())), Ok(Some(_)))
    {
        return Ok(Identity { uid: owner.uid(), gid: owner.gid() });
    }
    SERVER_USERS
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| Identity { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
        .ok_or(ClusterError::NoUser)
}

/// A user's name for a message, or the number where it has none.
pub fn user_name(uid: u32) -> String {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// A short name for a path that is the same in every process.
fn digest(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    digest.iter().take(8).fold(String::new(), |name, byte| format!("{name}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_has_its_socket_elsewhere() {
        let short = Place::known(PathBuf::from("/srv/termbase/data"), None);
        assert_eq!(short.socket_dir(), Path::new("/srv/termbase/data/socket"));
        let long = Place::known(PathBuf::from(format!("/srv/{}", "x".repeat(90))), None);
        assert!(long.socket_dir().starts_with("/tmp"), "{}", long.socket_dir().display());
        assert!(long.socket().as_os_str().len() <= LONGEST_SOCKET_PATH);
    }

    #[test]
    fn the_socket_is_inside_up_to_the_last_byte_that_fits() {
        for length in 60..100 {
            let place = Place::known(PathBuf::from(format!("/{}", "x".repeat(length))), None);
            assert!(place.socket().as_os_str().len() <= LONGEST_SOCKET_PATH, "{length}");
        }
    }
}
