//! A directory for the length of a command.

use std::path::{Path, PathBuf};

/// Removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new directory among the system's temporary ones, with `purpose` in its name.
    pub(crate) fn new(purpose: &str) -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("semblance-{purpose}-{:016x}", fastrand::u64(..)));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover in the temporary directory is the system's to clean.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
