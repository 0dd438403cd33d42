//! What SQL cannot tell: nearness in meaning, and words in texts that may be sealed. Every row that the rest of a selector
//! selects is looked at.

use rusqlite::{Connection, Row, params_from_iter};

use super::{
    codec,
    selection::Selection,
    vault::{Part, Vault},
};
use crate::{
    entry::EntryId,
    similarity::Similarity,
    store::{Selector, StoreError, bans::Near},
};

/// Row and similarity of what `selector` selects and `text` is found in.
pub(super) fn matching(
    conn: &Connection,
    vault: &Vault,
    selector: &Selector,
    text: Option<&str>,
) -> Result<Vec<(i64, Option<Similarity>)>, StoreError> {
    let Selection { condition, values } = Selection::of(selector);
    let sql = match selector.near {
        Some(_) => format!(
            "SELECT entries.id, query, embedder, embedding FROM entries JOIN vectors ON vectors.entry_id = entries.id
             WHERE {condition}"
        ),
        None => format!("SELECT entries.id, query FROM entries WHERE {condition}"),
    };
    let text = text.map(str::to_lowercase);
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        if let Some(text) = &text
            && !holds(vault, id, row, text)?
        {
            continue;
        }
        match &selector.near {
            None => found.push((id, None)),
            Some(near) => {
                let similarity = similarity(vault, id, row, near)?.filter(|similarity| near.reaches(*similarity));
                found.extend(similarity.map(|similarity| (id, Some(similarity))));
            }
        }
    }
    Ok(found)
}

/// The ids of [`matching`], ascending.
pub(super) fn selected(conn: &Connection, vault: &Vault, selector: &Selector) -> Result<Vec<EntryId>, StoreError> {
    let found = matching(conn, vault, selector, None)?;
    let mut ids: Vec<EntryId> = found.into_iter().map(|(id, _)| EntryId(id.unsigned_abs())).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn holds(vault: &Vault, id: i64, row: &Row<'_>, text: &str) -> Result<bool, StoreError> {
    let query = row.get::<_, Option<String>>(1)?.and_then(|query| vault.open_text(Part::Query, id, query));
    Ok(query.is_some_and(|query| query.to_lowercase().contains(text)))
}

/// `None` for another embedder's vector and for one that cannot be read.
fn similarity(vault: &Vault, id: i64, row: &Row<'_>, near: &Near) -> Result<Option<Similarity>, StoreError> {
    let embedder: String = row.get(2)?;
    if embedder != near.embedder {
        return Ok(None);
    }
    let vector = codec::open_vector(vault, id, row.get(3)?);
    Ok(near.similarity(Some(&embedder), vector.as_ref()))
}
