//! Where commands write: answers to standard output, errors to standard error, colours only where a person looks.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};

/// Standard output, which a closed pipe ends quietly.
#[derive(Debug)]
pub struct Output {
    colour: bool,
}

impl Output {
    /// Colours when standard output is a terminal and `NO_COLOR` is not set.
    pub fn stdout() -> Self {
        Self { colour: io::stdout().is_terminal() && crate::config::colours_wanted() }
    }

    /// Writes a line.
    pub fn line(&self, text: &str) -> anyhow::Result<()> {
        match writeln!(io::stdout().lock(), "{text}") {
            // Whoever read has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    /// Writes a value as one line of JSON.
    pub fn json<T: serde::Serialize>(&self, value: &T) -> anyhow::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    /// `text` in good, bad or quiet colours.
    pub fn good(&self, text: &str) -> String {
        self.styled(text, AnsiColor::Green.on_default().bold())
    }

    /// See [`Output::good`].
    pub fn bad(&self, text: &str) -> String {
        self.styled(text, AnsiColor::Yellow.on_default().bold())
    }

    /// See [`Output::good`].
    pub fn quiet(&self, text: &str) -> String {
        self.styled(text, Style::new().dimmed())
    }

    /// A heading.
    pub fn bold(&self, text: &str) -> String {
        self.styled(text, Style::new().bold())
    }

    fn styled(&self, text: &str, style: Style) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Writes an error with its causes to standard error.
pub(super) fn error(error: &anyhow::Error) {
    let mut message = format!("error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !message.contains(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
    }
    // There is nowhere left to report a failure of this to.
    let _ = writeln!(io::stderr().lock(), "{message}");
}
