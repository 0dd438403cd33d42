//! What an import came to, in numbers and by line.

use serde::{Deserialize, Serialize};

use crate::gateway::warm::Brought;

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, in words.
    pub message: String,
}

/// What an import came to. A written line counts once for each of its models and protocols.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Lines read, blank ones left out.
    pub lines: u64,
    /// Answers that are new.
    pub imported: u64,
    /// Answers that took an older one's place.
    pub replaced: u64,
    /// Answers left, because the same or a newer one is there.
    pub skipped: u64,
    /// Answers left, because nobody could be served them any more.
    pub expired: u64,
    /// Lines that failed, wholly or in part.
    pub failed: u64,
    /// What was wrong with them, up to [`Tally::ERRORS`].
    pub errors: Vec<LineError>,
}

impl Tally {
    /// Errors that are kept.
    pub const ERRORS: usize = 1000;

    /// Adds what the lines after `before` came to.
    pub fn add(&mut self, other: Self, before: u64) {
        self.lines += other.lines;
        self.imported += other.imported;
        self.replaced += other.replaced;
        self.skipped += other.skipped;
        self.expired += other.expired;
        self.failed += other.failed;
        let room = Self::ERRORS.saturating_sub(self.errors.len());
        let errors = other.errors.into_iter().map(|error| LineError { line: error.line + before, ..error });
        self.errors.extend(errors.take(room));
    }

    /// Counts a line that failed.
    pub fn fail(&mut self, line: u64, message: String) {
        self.failed += 1;
        if self.errors.len() < Self::ERRORS {
            self.errors.push(LineError { line, message });
        }
    }

    pub(super) const fn count(&mut self, brought: Brought) {
        match brought {
            Brought::New => self.imported += 1,
            Brought::Replaced => self.replaced += 1,
            Brought::There => self.skipped += 1,
            Brought::Expired => self.expired += 1,
        }
    }
}
