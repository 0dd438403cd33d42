//! Entries as lines, oldest id first: a walk that sees each entry that is there from its beginning to its end.

use std::{collections::HashMap, sync::Arc};

use futures_util::{Stream, TryStreamExt, stream};

use super::line::{Beside, MovedLine};
use crate::{
    entry::EntryId,
    key::{Fingerprint, PrincipalKey},
    store::{Page, Selector, StoreError, Upkeep},
};

/// Ids read at a time.
const PAGE: u32 = 256;

/// Tells a node's principal key without giving anything of it away: scopes and principals of two keys have nothing to do
/// with each other.
pub fn key_mark(key: &PrincipalKey) -> String {
    key.mac("export", b"").iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Questions that must not share an answer, by either of them.
type Pairs = Arc<HashMap<Fingerprint, Vec<Fingerprint>>>;

/// The lines of what `selector` selects, without their ends. What is queued when it begins is written first.
///
/// # Errors
/// What the store said. An entry that turns out to be damaged is left out.
pub async fn lines(
    store: Arc<dyn Upkeep>,
    selector: Selector,
    key: String,
) -> Result<impl Stream<Item = Result<String, StoreError>> + Send + 'static, StoreError> {
    store.flush().await?;
    let mut pairs: HashMap<Fingerprint, Vec<Fingerprint>> = HashMap::new();
    for pair in store.blocked().await? {
        let (first, second) = pair.questions();
        pairs.entry(first).or_default().push(second);
        pairs.entry(second).or_default().push(first);
    }
    let (pairs, walked) = (Arc::new(pairs), Arc::clone(&store));
    let pages = stream::try_unfold(Some(None), move |at: Option<Option<EntryId>>| {
        let (store, selector) = (Arc::clone(&walked), selector.clone());
        async move {
            let Some(after) = at else { return Ok::<_, StoreError>(None) };
            let Page { items, next } = store.ids(selector, after, PAGE).await?;
            Ok(Some((stream::iter(items.into_iter().map(Ok)), next.map(Some))))
        }
    });
    Ok(pages.try_flatten().try_filter_map(move |id| {
        let (store, pairs, key) = (Arc::clone(&store), Arc::clone(&pairs), key.clone());
        async move { line(store.as_ref(), id, &pairs, &key).await }
    }))
}

async fn line(store: &dyn Upkeep, id: EntryId, pairs: &Pairs, key: &str) -> Result<Option<String>, StoreError> {
    let entry = match store.get(id).await {
        Ok(Some(entry)) => entry,
        Ok(None) => return Ok(None),
        Err(StoreError::Damaged { id, what }) => {
            tracing::warn!(entry = %id, what, "a damaged entry is not exported");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let aliases = store.aliases(id).await?;
    let blocked = pairs.get(&entry.fingerprint).cloned().unwrap_or_default();
    let line = MovedLine::of(&entry, &Beside { aliases, blocked }, key);
    let text = line.and_then(|line| serde_json::to_string(&line).ok());
    if text.is_none() {
        tracing::warn!(entry = %id, "an entry of before 1970 is not exported");
    }
    Ok(text)
}
