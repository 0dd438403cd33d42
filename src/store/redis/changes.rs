//! Changes as the log holds them: JSON, sealed where texts are, so that neither a purge's text nor its vector stands plain.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    entry::EntryId,
    key::{Fingerprint, Principal, Scope},
    similarity::Similarity,
    store::{
        Hardness, Selector, StoreError,
        bans::{Ban, BanId, Near},
        codec,
        shared::Change,
        sources::{Groups, SourceSelector, SourceUpdate, Versions},
        vault::{Part, Vault},
        verdicts::Pair,
    },
};

/// What a change is known by on every node: two of one name are one.
pub(super) type ChangeId = u64;

/// A change as it is written.
pub(super) fn write(change: &Change, id: ChangeId, vault: &Vault) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(&Written::from(change)).map_err(|error| StoreError::Unfit(Box::new(error)))?;
    vault.seal(Part::Change, id.cast_signed(), json)
}

/// The inverse; `None` for what cannot be read, or is of a later version.
pub(super) fn read(stored: Vec<u8>, id: ChangeId, vault: &Vault) -> Option<Change> {
    let json = vault.open(Part::Change, id.cast_signed(), stored)?;
    serde_json::from_slice::<Written>(&json).ok()?.into_change()
}

/// A ban as it is kept.
pub(super) fn write_ban(ban: &Ban, vault: &Vault) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(&KeptBan::from(ban)).map_err(|error| StoreError::Unfit(Box::new(error)))?;
    vault.seal(Part::BanText, ban.id.0.cast_signed(), json)
}

/// The inverse.
pub(super) fn read_ban(stored: Vec<u8>, id: BanId, vault: &Vault) -> Option<Ban> {
    let json = vault.open(Part::BanText, id.0.cast_signed(), stored)?;
    serde_json::from_slice::<KeptBan>(&json).ok()?.into_ban()
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Written {
    Purged {
        selector: Box<Selected>,
        soft_at: Option<i64>,
    },
    Updated {
        name: String,
        version: Option<String>,
        soft_at: Option<i64>,
        at: i64,
        replaced: Vec<String>,
        revision: u64,
    },
    Forgotten {
        name: String,
        revision: u64,
    },
    Banned {
        ban: Box<KeptBan>,
    },
    Lifted {
        bans: Vec<u64>,
    },
    Blocked {
        first: String,
        second: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selected {
    entry: Option<u64>,
    tag: Option<String>,
    category: Option<String>,
    scope: Option<String>,
    principals: Vec<String>,
    generated_until: Option<i64>,
    source: Option<(String, Option<String>, Option<String>)>,
    prefix: Option<String>,
    groups: Option<(Vec<String>, Vec<String>)>,
    near: Option<KeptNear>,
}

#[derive(Serialize, Deserialize)]
struct KeptNear {
    text: String,
    vector: String,
    embedder: String,
    radius: f32,
}

#[derive(Serialize, Deserialize)]
struct KeptBan {
    id: u64,
    near: KeptNear,
    category: Option<String>,
    scope: Option<String>,
    until: i64,
    soft_at: Option<i64>,
}

const fn soft_at(hardness: Hardness) -> Option<i64> {
    match hardness {
        Hardness::Soft(at) => Some(at.as_millis()),
        Hardness::Hard => None,
    }
}

fn hardness(soft_at: Option<i64>) -> Hardness {
    soft_at.map_or(Hardness::Hard, |at| Hardness::Soft(Timestamp::from_millis(at)))
}

impl From<&Change> for Written {
    fn from(change: &Change) -> Self {
        match change {
            Change::Purged { selector, hardness } => {
                Self::Purged { selector: Box::new(selector.into()), soft_at: soft_at(*hardness) }
            }
            Change::Updated { update: SourceUpdate { name, version, hardness, at }, replaced, revision } => {
                Self::Updated {
                    name: name.clone(),
                    version: version.clone(),
                    soft_at: soft_at(*hardness),
                    at: at.as_millis(),
                    replaced: replaced.clone(),
                    revision: *revision,
                }
            }
            Change::Forgotten { name, revision } => Self::Forgotten { name: name.clone(), revision: *revision },
            Change::Banned(ban) => Self::Banned { ban: Box::new(ban.into()) },
            Change::Lifted(bans) => Self::Lifted { bans: bans.iter().map(|ban| ban.0).collect() },
            Change::Blocked(pair) => {
                let (first, second) = pair.questions();
                Self::Blocked { first: first.to_hex(), second: second.to_hex() }
            }
        }
    }
}

impl Written {
    fn into_change(self) -> Option<Change> {
        Some(match self {
            Self::Purged { selector, soft_at } => {
                Change::Purged { selector: selector.into_selector()?, hardness: hardness(soft_at) }
            }
            Self::Updated { name, version, soft_at, at, replaced, revision } => {
                let update =
                    SourceUpdate { name, version, hardness: hardness(soft_at), at: Timestamp::from_millis(at) };
                Change::Updated { update, replaced, revision }
            }
            Self::Forgotten { name, revision } => Change::Forgotten { name, revision },
            Self::Banned { ban } => Change::Banned(ban.into_ban()?),
            Self::Lifted { bans } => Change::Lifted(bans.into_iter().map(BanId).collect()),
            Self::Blocked { first, second } => {
                Change::Blocked(Pair::of(Fingerprint::from_hex(&first)?, Fingerprint::from_hex(&second)?))
            }
        })
    }
}

impl From<&Selector> for Selected {
    fn from(selector: &Selector) -> Self {
        let Selector { entry, tag, category, scope, principals, generated_until, source, prefix, groups, near } =
            selector;
        let source = source.as_ref().map(|SourceSelector { name, versions }| match versions {
            Versions::Any => (name.clone(), None, None),
            Versions::Only(version) => (name.clone(), Some(version.clone()), None),
            Versions::Except(version) => (name.clone(), None, Some(version.clone())),
        });
        Self {
            entry: entry.map(|id| id.0),
            tag: tag.clone(),
            category: category.clone(),
            scope: scope.map(|scope| scope.to_hex()),
            principals: principals.iter().map(Principal::to_hex).collect(),
            generated_until: generated_until.map(Timestamp::as_millis),
            source,
            prefix: prefix.clone(),
            groups: groups
                .as_ref()
                .map(|Groups { tags, scopes }| (tags.clone(), scopes.iter().map(Scope::to_hex).collect())),
            near: near.as_ref().map(KeptNear::from),
        }
    }
}

impl Selected {
    fn into_selector(self) -> Option<Selector> {
        let scopes = |hex: Vec<String>| hex.iter().map(|hex| Scope::from_hex(hex)).collect::<Option<Vec<_>>>();
        let source = self.source.map(|(name, only, except)| {
            let versions = only.map(Versions::Only).or(except.map(Versions::Except)).unwrap_or(Versions::Any);
            SourceSelector { name, versions }
        });
        let groups = match self.groups {
            Some((tags, hex)) => Some(Groups { tags, scopes: scopes(hex)? }),
            None => None,
        };
        let near = match self.near {
            Some(near) => Some(near.into_near()?),
            None => None,
        };
        let scope = match self.scope {
            Some(hex) => Some(Scope::from_hex(&hex)?),
            None => None,
        };
        Some(Selector {
            entry: self.entry.map(EntryId),
            tag: self.tag,
            category: self.category,
            scope,
            principals: self.principals.iter().map(|hex| Principal::from_hex(hex)).collect::<Option<_>>()?,
            generated_until: self.generated_until.map(Timestamp::from_millis),
            source,
            prefix: self.prefix,
            groups,
            near,
        })
    }
}

impl From<&Near> for KeptNear {
    fn from(Near { text, vector, embedder, radius }: &Near) -> Self {
        let vector = STANDARD.encode(codec::encode_vector(vector));
        Self { text: text.clone(), vector, embedder: embedder.clone(), radius: radius.get() }
    }
}

impl KeptNear {
    fn into_near(self) -> Option<Near> {
        let vector = codec::decode_vector(&STANDARD.decode(self.vector).ok()?)?;
        Some(Near { text: self.text, vector, embedder: self.embedder, radius: Similarity::new(self.radius)? })
    }
}

impl From<&Ban> for KeptBan {
    fn from(Ban { id, near, category, scope, until, hardness }: &Ban) -> Self {
        Self {
            id: id.0,
            near: near.into(),
            category: category.clone(),
            scope: scope.map(|scope| scope.to_hex()),
            until: until.as_millis(),
            soft_at: soft_at(*hardness),
        }
    }
}

impl KeptBan {
    fn into_ban(self) -> Option<Ban> {
        let scope = match self.scope {
            Some(hex) => Some(Scope::from_hex(&hex)?),
            None => None,
        };
        Some(Ban {
            id: BanId(self.id),
            near: self.near.into_near()?,
            category: self.category,
            scope,
            until: Timestamp::from_millis(self.until),
            hardness: hardness(self.soft_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        conformance::{fingerprint, near, scope},
        encryption::EncryptionKey,
    };

    #[test]
    fn every_change_comes_back_as_it_was_and_sealed_ones_show_nothing() {
        let everything = Selector {
            entry: Some(EntryId(7)),
            tag: Some("tea".to_owned()),
            category: Some("faq".to_owned()),
            scope: Some(scope("a")),
            principals: vec![Principal::from_bytes([3; 32])],
            generated_until: Some(Timestamp::from_millis(-4)),
            source: Some(SourceSelector { name: "doc:1".to_owned(), versions: Versions::Except("v2".to_owned()) }),
            prefix: Some("doc:".to_owned()),
            groups: Some(Groups { tags: vec!["g".to_owned()], scopes: vec![scope("b")] }),
            near: Some(near("a secret text", 0.875)),
        };
        let soft = Hardness::Soft(Timestamp::from_millis(9));
        let update =
            SourceUpdate { name: "doc:1".to_owned(), version: None, hardness: soft, at: Timestamp::from_millis(8) };
        let ban = Ban {
            id: BanId(3),
            near: near("a secret text", 0.5),
            category: None,
            scope: Some(scope("a")),
            until: Timestamp::from_millis(i64::MAX),
            hardness: Hardness::Hard,
        };
        let (salt, _) = Vault::found(&EncryptionKey::from_bytes([1; 32])).unwrap();
        let _ = salt;
        for change in [
            Change::Purged { selector: everything, hardness: soft },
            Change::Purged { selector: Selector::default(), hardness: Hardness::Hard },
            Change::Updated { update, replaced: vec!["v1".to_owned()], revision: 4 },
            Change::Forgotten { name: "doc:1".to_owned(), revision: 5 },
            Change::Banned(ban),
            Change::Lifted(vec![BanId(3)]),
            Change::Blocked(Pair::of(fingerprint("a"), fingerprint("b"))),
        ] {
            let written = write(&change, 77, &Vault::Plain).unwrap();
            assert_eq!(read(written, 77, &Vault::Plain), Some(change));
        }
        assert_eq!(read(b"{\"kind\":\"unheard of\"}".to_vec(), 1, &Vault::Plain), None);
    }
}
