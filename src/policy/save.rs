//! Writes an edit of several policy files into their directory so that a kill at any instant leaves the old set or the
//! new one to be loaded.
//!
//! Each file is written beside its place, flushed and renamed. Between the first rename and the last the directory would
//! be a mixture, so an edit of several files is written down first, in a hidden journal; who starts on a directory with a
//! journal calls [`finish`] before it is read.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Texts by the names of their files.
pub type Texts = BTreeMap<String, String>;

const JOURNAL: &str = ".semblance-save.json";

/// Longest name of a file.
const LONGEST_NAME: usize = 100;

/// Whether `name` is a file's that may be written: letters, digits, `-`, `_` and `.`, not hidden, ending in `.toml`. Such a
/// name leads nowhere else.
pub(super) fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    name.len() <= LONGEST_NAME
        && name.strip_suffix(".toml").is_some_and(|stem| !stem.is_empty())
        && !name.starts_with('.')
        && name.bytes().all(plain)
}

/// What is to become of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    file: String,
    /// Its text until now; none when it was not there.
    before: Option<String>,
    /// Its text from now on; none when it goes.
    after: Option<String>,
}

/// What [`finish`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// No file was changed.
    Nothing,
    /// An edit that was cut off is whole now.
    Completed,
    /// Somebody changed the files since: they stay as they are.
    Abandoned,
}

/// Makes `dir` hold `after` where it held `before`. On an error it holds `before`.
pub(super) fn write(dir: &Path, before: &Texts, after: &Texts) -> io::Result<()> {
    let steps = steps(before, after);
    let done = prepare(dir, &steps).and_then(|()| carry_out(dir, &steps));
    if done.is_err() {
        put_back(dir, &steps);
    }
    if steps.len() > 1 {
        absent(fs::remove_file(dir.join(JOURNAL)))?;
    }
    done
}

/// Completes an edit of `dir` that was cut off.
///
/// # Errors
/// When the directory cannot be read or written; it is as it was then.
pub fn finish(dir: &Path) -> io::Result<Finished> {
    let path = dir.join(JOURNAL);
    let Some(text) = absent(fs::read_to_string(&path))? else { return Ok(Finished::Nothing) };
    // It was whole before it had this name, so what cannot be read is not of this program.
    let steps = serde_json::from_str::<Vec<Step>>(&text).unwrap_or_default();
    let (mut is_ours, mut is_begun) = (!steps.is_empty(), false);
    for step in &steps {
        let now = absent(fs::read_to_string(dir.join(&step.file)))?;
        is_ours &= is_plain_name(&step.file) && (now == step.before || now == step.after);
        is_begun |= now == step.after;
    }
    if !is_ours || !is_begun {
        fs::remove_file(&path)?;
        // Without a first step the directory holds the old set, and nobody was told of a new one.
        return Ok(if is_ours { Finished::Nothing } else { Finished::Abandoned });
    }
    prepare_files(dir, &steps)?;
    carry_out(dir, &steps)?;
    fs::remove_file(&path)?;
    Ok(Finished::Completed)
}

/// Every file that differs, in the order of names.
fn steps(before: &Texts, after: &Texts) -> Vec<Step> {
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let step =
        |name: &String| Step { file: name.clone(), before: before.get(name).cloned(), after: after.get(name).cloned() };
    names.into_iter().map(step).filter(|step| step.before != step.after).collect()
}

fn prepare(dir: &Path, steps: &[Step]) -> io::Result<()> {
    prepare_files(dir, steps)?;
    if steps.len() > 1 {
        let text = serde_json::to_string(steps)?;
        write_beside(dir, JOURNAL, &text)?;
        fs::rename(beside(dir, JOURNAL), dir.join(JOURNAL))?;
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

fn prepare_files(dir: &Path, steps: &[Step]) -> io::Result<()> {
    steps.iter().try_for_each(|step| step.after.as_ref().map_or(Ok(()), |text| write_beside(dir, &step.file, text)))
}

fn carry_out(dir: &Path, steps: &[Step]) -> io::Result<()> {
    for step in steps {
        let place = dir.join(&step.file);
        if step.after.is_some() {
            fs::rename(beside(dir, &step.file), place)?;
        } else {
            absent(fs::remove_file(place))?;
        }
    }
    File::open(dir)?.sync_all()
}

/// As well as it can be done: the error that led here is what is told.
fn put_back(dir: &Path, steps: &[Step]) {
    for step in steps {
        let place = dir.join(&step.file);
        let now = absent(fs::read_to_string(&place)).ok().flatten();
        if now != step.before {
            let _ = match &step.before {
                Some(text) => {
                    write_beside(dir, &step.file, text).and_then(|()| fs::rename(beside(dir, &step.file), &place))
                }
                None => fs::remove_file(&place),
            };
        }
        let _ = fs::remove_file(beside(dir, &step.file));
    }
}

/// A hidden name beside `file`, which no reader of policies looks at.
fn beside(dir: &Path, file: &str) -> PathBuf {
    dir.join(format!(".{}.new", file.trim_start_matches('.')))
}

/// Writes `text` to the disk, with the permissions that the file in place has.
fn write_beside(dir: &Path, file: &str, text: &str) -> io::Result<()> {
    let path = beside(dir, file);
    // A link that somebody left under this name is replaced, not followed.
    absent(fs::remove_file(&path))?;
    let mut new = File::options().write(true).create_new(true).open(&path)?;
    if let Some(old) = absent(fs::metadata(dir.join(file)))? {
        new.set_permissions(old.permissions())?;
    }
    new.write_all(text.as_bytes())?;
    new.sync_all()
}

/// `None` for a file that is not there.
pub(super) fn absent<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        done => done.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(of: &[(&str, &str)]) -> Texts {
        of.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn dir_with(of: &Texts) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in of {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn held(dir: &Path) -> Texts {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| (name.clone(), fs::read_to_string(dir.join(name)).unwrap())).collect()
    }

    /// Everything that an edit can do to a file, and one that it leaves.
    fn an_edit() -> (Texts, Texts) {
        let before = texts(&[("a.toml", "1"), ("b.toml", "2"), ("same.toml", "s")]);
        let after = texts(&[("a.toml", "3"), ("c.toml", "4"), ("same.toml", "s")]);
        (before, after)
    }

    #[test]
    fn an_edit_is_written_and_leaves_nothing_else() {
        let (before, after) = an_edit();
        let dir = dir_with(&before);
        write(dir.path(), &before, &after).unwrap();
        assert_eq!(held(dir.path()), after);
    }

    #[test]
    fn an_edit_cut_off_after_any_step_is_completed_and_before_the_first_is_none() {
        let (before, after) = an_edit();
        let steps = steps(&before, &after);
        for done in 0..=steps.len() {
            let dir = dir_with(&before);
            prepare(dir.path(), &steps).unwrap();
            carry_out(dir.path(), &steps[..done]).unwrap();
            let (told, then) = if done == 0 { (Finished::Nothing, &before) } else { (Finished::Completed, &after) };
            assert_eq!(finish(dir.path()).unwrap(), told, "cut off after {done}");
            let seen: Texts = held(dir.path()).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
            assert_eq!(seen, *then, "cut off after {done}");
            assert_eq!(finish(dir.path()).unwrap(), Finished::Nothing);
        }
    }

    #[test]
    fn an_edit_cut_off_before_its_journal_is_as_if_it_had_not_been() {
        let (before, after) = an_edit();
        let dir = dir_with(&before);
        prepare_files(dir.path(), &steps(&before, &after)).unwrap();
        assert_eq!(finish(dir.path()).unwrap(), Finished::Nothing);
        let seen: Texts = held(dir.path()).into_iter().filter(|(name, _)| !name.starts_with('.')).collect();
        assert_eq!(seen, before);
        write(dir.path(), &before, &after).unwrap();
        assert_eq!(held(dir.path()), after, "what was left is taken away by the next edit");
    }

    #[test]
    fn what_somebody_wrote_since_is_not_overwritten() {
        let (before, after) = an_edit();
        let dir = dir_with(&before);
        prepare(dir.path(), &steps(&before, &after)).unwrap();
        fs::write(dir.path().join("b.toml"), "by hand").unwrap();
        assert_eq!(finish(dir.path()).unwrap(), Finished::Abandoned);
        assert_eq!(fs::read_to_string(dir.path().join("b.toml")).unwrap(), "by hand");
        assert_eq!(fs::read_to_string(dir.path().join("a.toml")).unwrap(), "1");
        assert_eq!(finish(dir.path()).unwrap(), Finished::Nothing);
    }

    #[test]
    fn an_edit_that_fails_puts_everything_back() {
        let before = texts(&[("a.toml", "1")]);
        let dir = dir_with(&before);
        // A directory cannot be replaced by a file.
        fs::create_dir(dir.path().join("b.toml")).unwrap();
        let after = texts(&[("a.toml", "2"), ("b.toml", "3")]);
        assert!(write(dir.path(), &before, &after).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a.toml")).unwrap(), "1");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn only_names_that_lead_nowhere_else_are_plain() {
        for name in ["a.toml", "product-faq.toml", "v1.2_b.toml"] {
            assert!(is_plain_name(name), "{name}");
        }
        let long = format!("{}.toml", "a".repeat(100));
        for name in [
            "",
            ".toml",
            "..toml",
            ".a.toml",
            "../a.toml",
            "a/b.toml",
            "/a.toml",
            "a\\b.toml",
            "C:a.toml",
            "a.tml",
            "a.toml/",
            "a.toml\0",
            "a b.toml",
            "a.TOML",
            "\u{e4}.toml",
            &long,
        ] {
            assert!(!is_plain_name(name), "{name:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_permissions_and_a_link_is_replaced_and_not_followed() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let before = texts(&[("a.toml", "1"), ("b.toml", "2")]);
        let dir = dir_with(&texts(&[("a.toml", "1")]));
        let outside = dir_with(&texts(&[("b.toml", "2")]));
        symlink(outside.path().join("b.toml"), dir.path().join("b.toml")).unwrap();
        fs::set_permissions(dir.path().join("a.toml"), fs::Permissions::from_mode(0o640)).unwrap();
        write(dir.path(), &before, &texts(&[("a.toml", "3"), ("b.toml", "4")])).unwrap();
        assert_eq!(fs::metadata(dir.path().join("a.toml")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(outside.path().join("b.toml")).unwrap(), "2");
        assert_eq!(fs::read_to_string(dir.path().join("b.toml")).unwrap(), "4");
    }
}
