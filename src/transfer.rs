//! Export and import: entries as lines of JSON, and the questions and answers that a person writes.
//!
//! One format, two kinds of [`mod@line`]: a whole entry, as [`export`] writes it, and a question with its answer. [`import`]
//! takes both, a line at a time: a bad line is told with its number and the rest goes on. A line that is there already is
//! left, so that an import that was cut off can be started again from the beginning.
//!
//! # Invariants
//! - Purges win (I6): what was generated before a purge that covers it is not brought back; where the trail of purges does
//!   not say enough to tell, it is refused as well.
//! - The rules of [`crate::gateway::warm`] hold for each entry.

pub mod export;
pub mod import;
pub mod line;
mod moment;
mod request;
pub mod tally;
