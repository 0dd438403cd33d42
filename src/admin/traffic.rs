//! What went through: records of requests, as they were kept and as they come.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json,
    extract::{Path, Query, State},
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;

use super::{AdminError, Shared};
use crate::{
    store::traffic::TrafficLog,
    traffic::{Record, Wanted},
};

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    /// Whether requests are being recorded.
    enabled: bool,
    records: Vec<Record>,
    /// `before` of the next page; `None` at the end.
    next: Option<i64>,
}

pub(super) async fn list(State(control): Shared, Query(wanted): Query<Wanted>) -> Result<Json<Listed>, AdminError> {
    let limit = wanted.limit;
    let log = log(&control)?;
    // What a page is opened for has just happened.
    log.flush().await?;
    let records = log.records(wanted).await?;
    let next = records.last().and_then(|record| record.id).filter(|_| limit.is_none_or(|limit| records.len() >= limit));
    Ok(Json(Listed { enabled: control.gateway.parts().traffic.records(), records, next }))
}

#[derive(Debug, Serialize)]
pub(super) struct Shown {
    record: Record,
}

pub(super) async fn show(State(control): Shared, Path(id): Path<String>) -> Result<Json<Shown>, AdminError> {
    let log = log(&control)?;
    log.flush().await?;
    let record = log.of_request(id).await?.ok_or(AdminError::NoRecord)?;
    Ok(Json(Shown { record }))
}

/// Every request from now on, as it ends.
pub(super) async fn live(State(control): Shared) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stop = control.closing.clone();
    let coming = stream::unfold((control.gateway.parts().traffic.listen(), stop), |(mut feed, stop)| async move {
        loop {
            let record = tokio::select! {
                record = feed.recv() => record,
                () = stop.cancelled() => return None,
            };
            let event = match record {
                Ok(record) => Event::default().event("request").json_data(record.as_ref()).ok(),
                // Who reads slower than requests come is told that some are missing.
                Err(RecvError::Lagged(missed)) => Some(Event::default().event("missed").data(missed.to_string())),
                Err(RecvError::Closed) => return None,
            };
            if let Some(event) = event {
                return Some((Ok(event), (feed, stop)));
            }
        }
    });
    Sse::new(coming).keep_alive(KeepAlive::default())
}

/// Where records are kept.
pub(super) fn log(control: &super::Control) -> Result<&Arc<dyn TrafficLog>, AdminError> {
    control.gateway.parts().traffic.log().ok_or(AdminError::NoTrafficLog)
}
