//! The folder of an export: written beside the one that is to be replaced, and put in its place when it is complete.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use actix_web::web::Bytes;

use super::PagesError;
use crate::http::negotiate::{Coding, SMALLEST_BYTES};

/// What says that a folder is ours to replace.
const MARKER: &str = "termbase.json";
/// Where nginx keeps its process id: it stays when the rest is replaced, so that a running one can be told to reload.
const RUN: &str = "run";
/// What is inside from the beginning, so that writing a file is one step.
const FOLDERS: [&str; 7] = [
    "public/terms",
    "public/categories",
    "public/companies",
    "public/pages",
    "public/problems",
    "public/sitemaps",
    RUN,
];

/// A folder that is being written; removed where it is dropped before its end.
pub struct Folder {
    target: PathBuf,
    new: PathBuf,
}

impl Folder {
    /// Makes the new folder beside `target`.
    ///
    /// # Errors
    /// [`PagesError::Foreign`] where something else is at `target`; a file system that refuses.
    pub fn begin(target: &Path) -> Result<Self, PagesError> {
        let target = resolve(target).map_err(|source| PagesError::file(target, source))?;
        if !may_replace(&target).map_err(|source| PagesError::file(&target, source))? {
            return Err(PagesError::Foreign(target));
        }
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let folder = Folder { new: target.with_file_name(name), target };
        for inner in FOLDERS {
            let inner = folder.new.join(inner);
            fs::create_dir_all(&inner).map_err(|source| PagesError::file(&inner, source))?;
        }
        Ok(folder)
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Writes a file that is served; beside it the same compressed, where that is worth it.
    ///
    /// # Errors
    /// A file system that refuses.
    pub async fn write_public(&self, name: &str, bytes: Bytes) -> Result<(), PagesError> {
        let path = self.new.join("public").join(name);
        let (file, zipped) = (path.clone(), path.with_added_extension("gz"));
        let write = move || {
            if bytes.len() >= SMALLEST_BYTES {
                fs::write(zipped, Coding::Gzip.encode(bytes.clone())?)?;
            }
            fs::write(file, bytes)
        };
        let written = tokio::task::spawn_blocking(write).await.map_err(io::Error::other).flatten();
        written.map_err(|source| PagesError::file(&path, source))
    }

    /// Writes a file that is not served.
    ///
    /// # Errors
    /// A file system that refuses.
    pub fn write(&self, name: &str, text: &str) -> Result<(), PagesError> {
        let path = self.new.join(name);
        fs::write(&path, text).map_err(|source| PagesError::file(&path, source))
    }

    /// Puts it in its place, all at once, with `about` as its mark.
    ///
    /// # Errors
    /// A file system that refuses.
    pub fn finish(self, about: &str) -> Result<(), PagesError> {
        self.write(MARKER, about)?;
        let failed = |source| PagesError::file(&self.target, source);
        if !self.target.exists() {
            return fs::rename(&self.new, &self.target).map_err(failed);
        }
        if self.target.join(RUN).exists() {
            fs::remove_dir(self.new.join(RUN)).map_err(failed)?;
            fs::rename(self.target.join(RUN), self.new.join(RUN)).map_err(failed)?;
        }
        // What is dropped now is the old one.
        exchange(&self.new, &self.target).map_err(failed)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.new)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("{} can't be removed: {error}", self.new.display());
        }
    }
}

/// The folder itself, where a symbolic link leads to it.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::path::absolute(path),
        resolved => resolved,
    }
}

/// Nothing, an empty folder, or an export.
fn may_replace(target: &Path) -> io::Result<bool> {
    match fs::read_dir(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
        Ok(mut files) => Ok(files.next().is_none() || target.join(MARKER).is_file()),
    }
}

/// Each of the two folders takes the other's name; where the system can, nobody sees a moment without one.
fn exchange(new: &Path, target: &Path) -> io::Result<()> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        // Some file systems, and old kernels, can't.
        if renameat2(AT_FDCWD, new, AT_FDCWD, target, RenameFlags::RENAME_EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    let old = new.with_added_extension("old");
    fs::rename(target, &old)?;
    fs::rename(new, target)?;
    fs::rename(old, new)
}
