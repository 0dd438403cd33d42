//! The node's principal key on disk: made at the first start, readable by its owner only.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use crate::key::PrincipalKey;

/// The key that turns credentials into principals.
const KEY_FILE: &str = "principal.key";

/// Reads the key of `dir`, or makes it. A new file is complete before it has its name, and of two that make one at the same
/// time both get the first.
pub fn principal_key(dir: &Path) -> io::Result<PrincipalKey> {
    let path = dir.join(KEY_FILE);
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(dir, &path)?;
            read(&path)
        }
        read => read,
    }
}

fn read(path: &Path) -> io::Result<PrincipalKey> {
    let bytes = <[u8; 32]>::try_from(fs::read(path)?).map_err(|_| io::Error::other("it has another length"))?;
    Ok(PrincipalKey::from_bytes(bytes))
}

fn make(dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0u8; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = path.with_extension(format!("new-{:016x}", fastrand::u64(..)));
    write_private(&temporary, &key)?;
    // A link, unlike a new name, replaces nothing.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file that only its owner may read, to the disk.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
