//! The `semblance` binary: hands its arguments to [`semblance::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    semblance::cli::run()
}
