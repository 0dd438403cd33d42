//! Entries out of the cache and into it, as lines of JSON.

use axum::{
    Json,
    body::{Body, BodyDataStream},
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use bytes::{Buf, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use http::header;
use serde::{Deserialize, Serialize};

use super::{AdminError, Shared};
use crate::{
    store::Selector,
    transfer::{export, import::Importer, tally::Tally},
};

/// Lines taken in one go.
const BATCH: usize = 64;
/// Bytes of lines taken in one go.
const BATCH_BYTES: usize = 4 << 20;
/// The longest line: an answer and its stream, written as JSON.
const LONGEST_LINE: usize = 64 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    category: Option<String>,
    tag: Option<String>,
}

/// Every entry, or those of a category, a tag or both.
pub(super) async fn export(State(control): Shared, Query(query): Query<ExportQuery>) -> Result<Response, AdminError> {
    let ExportQuery { category, tag } = query;
    let selector = Selector { category, tag, ..Selector::default() };
    let key = export::key_mark(&control.gateway.parts().principal_key);
    let lines = export::lines(std::sync::Arc::clone(&control.store), selector, key).await?;
    // An error breaks the body off, so that nobody takes a part for the whole.
    let body = Body::from_stream(lines.map_ok(|line| line + "\n"));
    let headers = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"semblance-export.jsonl\""),
    ];
    Ok((headers, body).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportQuery {
    dry_run: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Imported {
    dry_run: bool,
    #[serde(flatten)]
    tally: Tally,
}

/// Takes lines as they come; with `dry_run` nothing is stored.
pub(super) async fn import(
    State(control): Shared,
    Query(query): Query<ImportQuery>,
    body: Body,
) -> Result<Json<Imported>, AdminError> {
    let dry_run = match query.dry_run.as_deref() {
        None | Some("0" | "false") => false,
        Some("" | "1" | "true") => true,
        Some(other) => return Err(AdminError::BadRequest(format!("dry_run: {other:?} is neither 1 nor 0"))),
    };
    let importer = Importer::begin(std::sync::Arc::clone(&control.gateway), dry_run).await?;
    let mut lines = Lines { body: body.into_data_stream(), read: BytesMut::new(), ended: false };
    let (mut tally, mut before) = (Tally::default(), 0);
    loop {
        let batch = lines.batch().await?;
        if batch.is_empty() {
            break;
        }
        let taken = batch.len() as u64;
        tally.add(importer.take(batch).await?, before);
        before += taken;
    }
    let Tally { imported, replaced, skipped, expired, failed, .. } = tally;
    tracing::info!(imported, replaced, skipped, expired, failed, dry_run, "import");
    Ok(Json(Imported { dry_run, tally }))
}

/// A body, line by line.
struct Lines {
    body: BodyDataStream,
    read: BytesMut,
    ended: bool,
}

impl Lines {
    /// The next lines, blank ones among them so that they count; empty at the end.
    async fn batch(&mut self) -> Result<Vec<String>, AdminError> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < BATCH && bytes < BATCH_BYTES {
            let Some(line) = self.next().await? else { break };
            bytes += line.len();
            lines.push(line);
        }
        Ok(lines)
    }

    async fn next(&mut self) -> Result<Option<String>, AdminError> {
        let mut searched = 0;
        loop {
            let end = self.read.iter().skip(searched).position(|byte| *byte == b'\n').map(|at| at + searched);
            if let Some(end) = end {
                let line = self.read.split_to(end);
                self.read.advance(1);
                return Ok(Some(text(&line)));
            }
            searched = self.read.len();
            if self.ended {
                let rest = self.read.split();
                return Ok((!rest.is_empty()).then(|| text(&rest)));
            }
            if searched > LONGEST_LINE {
                return Err(AdminError::BadRequest(format!("a line is longer than {LONGEST_LINE} bytes")));
            }
            match self.body.next().await {
                Some(Ok(bytes)) => self.read.extend_from_slice(&bytes),
                Some(Err(error)) => return Err(AdminError::BadRequest(format!("the body broke off: {error}"))),
                None => self.ended = true,
            }
        }
    }
}

/// A line that is no text is read all the same, so that it is told with its number: it is no JSON either.
fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}
