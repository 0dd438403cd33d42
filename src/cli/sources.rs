//! `semblance sources`: which version of a document is today's, and what answers are built on it, in a running gateway.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Output, purge::AdminArgs, runtime};

/// Arguments of `sources`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say that a document has a new version: what is built on others becomes stale
    Set(Set),
    /// Every document that is known or that an entry is built from
    List(List),
    /// One document and the entries that are built from it
    Show(One),
    /// Forget a document, and remove what is built from it
    Remove(One),
}

#[derive(Debug, clap::Args)]
struct Set {
    /// Which document, such as doc:42.
    source: String,
    /// Its version from now on, such as v8.
    version: String,
    /// Remove what is built on other versions instead of making it stale.
    #[arg(long)]
    hard: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only names that hold this text.
    #[arg(long)]
    text: Option<String>,
    /// So many at most.
    #[arg(long, default_value_t = 50)]
    limit: u64,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct One {
    /// Which document, such as doc:42.
    source: String,
    #[command(flatten)]
    place: Place,
}

/// Which gateway, and how to report.
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    admin: AdminArgs,
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(async {
        let output = Output::stdout();
        let (place, answer) = match &args.command {
            Command::Set(set) => {
                let body = json!({"version": set.version, "hard": set.hard});
                (&set.place, set.place.admin.put(&path(&set.source), &body).await?)
            }
            Command::List(list) => {
                let text = list.text.as_deref().map(|text| format!("&text={}", escaped(text))).unwrap_or_default();
                let path = format!("/semblance/sources?limit={}{text}", list.limit);
                (&list.place, list.place.admin.get(&path).await?)
            }
            Command::Show(one) => (&one.place, one.place.admin.get(&path(&one.source)).await?),
            Command::Remove(one) => (&one.place, one.place.admin.delete(&path(&one.source)).await?),
        };
        if place.json {
            output.json(&answer)?;
        } else {
            lines(&args.command, &answer).iter().try_for_each(|line| output.line(line))?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn lines(command: &Command, answer: &Value) -> Vec<String> {
    match command {
        Command::Set(set) => {
            let verb = if set.hard { "removed" } else { "made stale" };
            vec![format!("{} is {} now: {verb} {} entries", set.source, set.version, answer["affected"])]
        }
        Command::Remove(one) => vec![format!("{} is forgotten: removed {} entries", one.source, answer["affected"])],
        Command::List(_) => answer["sources"].as_array().into_iter().flatten().map(known).collect(),
        Command::Show(_) => {
            let dependents = answer["dependents"].as_array().into_iter().flatten();
            let entry = |entry: &Value| {
                let text = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
                let sources = entry["sources"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let sources: Vec<&str> = sources.collect();
                format!("  {}  {}  {}  {}", text("id"), text("freshness"), sources.join(" "), text("query"))
            };
            std::iter::once(known(answer)).chain(dependents.map(entry)).collect()
        }
    }
}

fn known(source: &Value) -> String {
    let text = |key: &str| source[key].as_str().unwrap_or("-").to_owned();
    format!("{}  {}  {} entries", text("source"), text("version"), source["entries"])
}

fn path(source: &str) -> String {
    format!("/semblance/sources/{}", escaped(source))
}

/// Percent-encoded (RFC 3986 section 2.1), but for what stands for itself.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_a_path_as_it_is() {
        assert_eq!(path("doc:42"), "/semblance/sources/doc:42");
        assert_eq!(path("https://x.test/a?b=ä#1"), "/semblance/sources/https://x.test/a%3Fb%3D%C3%A4%231");
    }
}
