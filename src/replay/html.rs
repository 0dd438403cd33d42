//! The report as one page: no script, no style sheet, no picture from elsewhere.

use super::{Record, report::Report};

/// The page.
pub fn page(_report: &Report, _records: &[Record]) -> String {
    String::new()
}
