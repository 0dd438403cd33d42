//! Purges by meaning that are kept for answers that arrive later.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;

use super::{AdminError, Shared};
use crate::{
    gateway::Gateway,
    store::{
        Hardness,
        bans::{Ban, BanId},
    },
};

/// A ban as listed.
#[derive(Debug, Serialize)]
pub(super) struct ListedBan {
    id: u64,
    near: String,
    radius: f32,
    until_ms: i64,
    hardness: &'static str,
    category: Option<String>,
    scope: Option<String>,
    expires_ms: i64,
}

impl ListedBan {
    fn of(gateway: &Gateway, ban: &Ban) -> Self {
        Self {
            id: ban.id.0,
            near: ban.near.text.clone(),
            radius: ban.near.radius.get(),
            until_ms: ban.until.as_millis(),
            hardness: if ban.hardness == Hardness::Hard { "hard" } else { "soft" },
            category: ban.category.clone(),
            scope: ban.scope.map(|scope| scope.to_hex()),
            expires_ms: gateway.expires(ban).as_millis(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Listed {
    bans: Vec<ListedBan>,
}

pub(super) async fn list(State(control): Shared) -> Json<Listed> {
    let bans = control.gateway.parts().cache.bans();
    Json(Listed { bans: bans.iter().map(|ban| ListedBan::of(&control.gateway, ban)).collect() })
}

/// What was lifted.
#[derive(Debug, Serialize)]
pub(super) struct Lifted {
    lifted: u64,
}

pub(super) async fn lift(State(control): Shared, Path(id): Path<u64>) -> Result<Json<Lifted>, AdminError> {
    let lifted = control.gateway.parts().cache.lift_bans(vec![BanId(id)]).await?;
    let ban = lifted.first().ok_or(AdminError::NoBan)?;
    tracing::info!(ban = ban.0, "a ban is lifted");
    Ok(Json(Lifted { lifted: ban.0 }))
}
