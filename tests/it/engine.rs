//! Engines for tests; the same are started by the store's own tests.

#[path = "../engine/server.rs"]
mod server;

pub(crate) use server::{Server, cluster, cluster_url, of_the_process};
