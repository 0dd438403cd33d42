//! The file of keys, `keys.json` in the data directory, readable by its owner only.
//!
//! It lies beside the database and not in it: who may ask must not depend on a cache that can be lost. Every change is a
//! new file under the old name, complete before it has it, so a reader sees the one or the other; two who change it at the
//! same time wait for each other.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{KeyHash, KeyRecord, PREFIX, Rate, Right, is_name, secret};
use crate::clock::Timestamp;

const FILE: &str = "keys.json";
const LOCK: &str = "keys.lock";
/// The only version of the file so far.
const VERSION: u32 = 1;
/// Characters of a key that are kept as they are.
const ENDS_IN: usize = 4;

/// Why the keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The disk said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is damaged, or of a newer version.
    #[error("{path} is no file of keys that this version reads: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// No name.
    #[error("{0:?} is no name for a key; write letters, digits, - _ and ., at most 64")]
    Name(String),
    /// Rights that do not go together.
    #[error("scope \"shared\" is about what is written; give \"write\" as well")]
    SharedAlone,
}

/// What makes a file another one: it changes with every change of the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Option<(u64, u64, i64, i64, u64)>);

impl Stamp {
    /// Of the file at `path`; no file is a stamp too.
    pub fn of(path: &Path) -> Result<Self, KeysError> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Self::from(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Err(source) => Err(KeysError::Io { path: path.to_owned(), source }),
        }
    }

    fn from(file: &fs::Metadata) -> Self {
        Self(Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len())))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    keys: Vec<KeyRecord>,
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct Order {
    /// Who holds it.
    pub name: String,
    /// What it gives.
    pub rights: Vec<Right>,
    /// How often it may be used.
    pub rate: Option<Rate>,
    /// How long it is good.
    pub lifetime: Option<Duration>,
}

/// Where the keys of `dir` are kept.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// The keys in the file at `path`, none where there is no file, and the stamp of what was read.
pub fn read(path: &Path) -> Result<(Stamp, Vec<KeyRecord>), KeysError> {
    let failed = |source| KeysError::Io { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Stamp(None), Vec::new())),
        opened => opened.map_err(failed)?,
    };
    let stamp = Stamp::from(&file.metadata().map_err(failed)?);
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let damaged = |what: String| KeysError::Damaged { path: path.to_owned(), what };
    let Kept { version, keys } = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    if version != VERSION {
        return Err(damaged(format!("it is of version {version}, and this program knows {VERSION}")));
    }
    Ok((stamp, keys))
}

/// Makes a key as `order` says and returns its text, which nothing keeps, with what is kept of it.
pub fn add(dir: &Path, order: Order, now: Timestamp) -> Result<(String, KeyRecord), KeysError> {
    let Order { name, mut rights, rate, lifetime } = order;
    if !is_name(&name) {
        return Err(KeysError::Name(name));
    }
    rights.sort_unstable();
    rights.dedup();
    if rights.contains(&Right::Shared) && !rights.contains(&Right::Write) {
        return Err(KeysError::SharedAlone);
    }
    let failed = |source| KeysError::Io { path: dir.to_owned(), source };
    let secret = secret::principal_key(dir).map_err(failed)?;
    let mut random = [0u8; 32];
    getrandom::fill(&mut random).map_err(|error| failed(io::Error::other(error)))?;
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let record = KeyRecord {
        name,
        hash: KeyHash::of(&text, &secret),
        ends_in: text.get(text.len() - ENDS_IN..).unwrap_or_default().to_owned(),
        scopes: rights,
        rate,
        created_at_ms: now.as_millis(),
        expires_at_ms: lifetime.map(|lifetime| now.plus(lifetime).as_millis()),
        revoked_at_ms: None,
    };
    change(dir, |keys| keys.push(record.clone()))?;
    Ok((text, record))
}

/// Revokes the keys of `name`, all or all but the newest, and returns how many were good until then; `None` when the name
/// has no key.
pub fn revoke(dir: &Path, name: &str, but_newest: bool, now: Timestamp) -> Result<Option<usize>, KeysError> {
    change(dir, |keys| {
        let mut of_name: Vec<&mut KeyRecord> = keys.iter_mut().filter(|key| key.name == name).collect();
        if of_name.is_empty() {
            return None;
        }
        // The file is in the order of making.
        let spared = of_name.len() - usize::from(but_newest);
        let good = of_name.iter_mut().take(spared).filter(|key| key.revoked_at_ms.is_none());
        Some(good.map(|key| key.revoked_at_ms = Some(now.as_millis())).count())
    })
}

/// Changes the keys of `dir`, alone.
fn change<T>(dir: &Path, change: impl FnOnce(&mut Vec<KeyRecord>) -> T) -> Result<T, KeysError> {
    let path = path(dir);
    let failed = |source| KeysError::Io { path: path.clone(), source };
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK));
    // Held as long as the file is open.
    let lock = lock.map_err(failed)?;
    lock.lock().map_err(failed)?;
    let (_, mut keys) = read(&path)?;
    let before = keys.clone();
    let result = change(&mut keys);
    if keys == before {
        return Ok(result);
    }
    let text = serde_json::to_vec_pretty(&Kept { version: VERSION, keys }).map_err(|error| failed(error.into()))?;
    let temporary = path.with_extension("json.new");
    secret::write_private(&temporary, &text).map_err(failed)?;
    fs::rename(&temporary, &path).map_err(failed)?;
    // The name is on disk too before anybody is told.
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(result)
}
