//! The hit decision.

pub mod guard;
