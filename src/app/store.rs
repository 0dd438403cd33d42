//! Which store a node has, and what it has in common with the others that use it.

use std::sync::Arc;

use super::StartError;
use crate::{
    clock::Clock,
    config::{Config, SharedStore, StoreChoice},
    embed::Embedder,
    key::PrincipalKey,
    keys,
    matcher::verifier::Verifier,
    store::redis::{RedisSettings, RedisStore},
    store::{
        Upkeep,
        failing::FailingStore,
        shared::Models,
        sqlite::{SqliteStore, StoreSettings},
    },
};

pub(super) async fn open_store(config: &Config, clock: &Clock) -> Result<Arc<dyn Upkeep>, StartError> {
    if let StoreChoice::Shared(shared) = &config.store {
        return connect_store(config, shared, clock).await;
    }
    let dir = config.data_dir.clone();
    let encryption = config.encryption_key.clone();
    let settings = StoreSettings { clock: clock.clone(), encryption, ..StoreSettings::default() };
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&dir, settings)).await;
    match opened.map_err(|_| StartError::Interrupted)? {
        Ok(store) => Ok(Arc::new(store)),
        // Apps need their answers more than the cache. What an operator got wrong is told before anything is served.
        Err(error) if error.is_the_disks() => {
            tracing::error!(reason = error.reason(), %error, "serving without the cache until the next start");
            Ok(Arc::new(FailingStore::dead()))
        }
        Err(error) => Err(error.into()),
    }
}

async fn connect_store(config: &Config, shared: &SharedStore, clock: &Clock) -> Result<Arc<dyn Upkeep>, StartError> {
    crate::upstream::http::install_tls();
    let SharedStore { address, prefix, lease, serves_lease, replicas, timeout, wait: _, max_age, authorities } =
        shared.clone();
    let authorities = match authorities {
        Some(path) => Some(tokio::fs::read(&path).await.map_err(|source| StartError::Authorities { path, source })?),
        None => None,
    };
    let settings = RedisSettings {
        prefix,
        lease,
        serves_lease,
        replicas,
        response: timeout,
        connect: timeout,
        max_age,
        authorities,
        clock: clock.clone(),
        encryption: config.encryption_key.clone(),
        ..RedisSettings::of(address)
    };
    match RedisStore::connect(settings).await {
        Ok(store) => Ok(Arc::new(store)),
        // As for a disk: apps need their answers more than the cache.
        Err(error) if error.is_the_disks() => {
            tracing::error!(reason = error.reason(), %error, "serving without the cache until the next start");
            Ok(Arc::new(FailingStore::dead()))
        }
        Err(error) => Err(error.into()),
    }
}

/// This node's own secret, and the one that all nodes turn credentials into principals with. A node that fits to the others
/// joins them by that.
pub(super) async fn principal_key(
    config: &Config,
    store: &dyn Upkeep,
    embedder: &dyn Embedder,
    verifier: Option<&dyn Verifier>,
) -> Result<(PrincipalKey, PrincipalKey), StartError> {
    let own = keys::principal_key(&config.data_dir)
        .map_err(|source| StartError::Key { path: config.data_dir.clone(), source })?;
    let Some(shared) = store.shared() else { return Ok((own.clone(), own)) };
    let embedder = embedder.fingerprint().to_owned();
    let verifier = verifier.map_or_else(|| "none".to_owned(), |verifier| verifier.fingerprint().to_owned());
    shared.agree(Models { embedder, verifier }).await?;
    let everybodys = shared.principal_key(own.clone()).await?;
    Ok((own, everybodys))
}
