//! The lines of an import, and how far an import of them has come.
//!
//! Beside a file lies, while it is imported, `FILE.import`: the target, the lines behind us and a digest of them, so that
//! an import that was cut off goes on behind them and never behind lines that have changed. It goes when the import is
//! done.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Lines taken in one go.
const BATCH: usize = 128;
/// Bytes of lines taken in one go.
const BATCH_BYTES: u64 = 4 << 20;

/// How far an import has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Where the lines go.
    pub(super) target: String,
    /// Lines behind us, blank ones among them.
    pub(super) lines: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Lines of them that failed.
    pub(super) failed: u64,
    /// Digest of these bytes.
    digest: String,
}

/// The next lines, and how far they bring us.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) lines: Vec<String>,
    pub(super) progress: Progress,
}

/// A file or standard input, line by line.
pub(super) struct Input {
    reader: Box<dyn BufRead>,
    size: Option<u64>,
    hasher: blake3::Hasher,
    done: Progress,
    /// Where progress is written; `None` for standard input.
    state: Option<PathBuf>,
}

impl Input {
    /// Opens `path`; with `resume` behind what an import into the same target has done.
    pub(super) fn open(path: &Path, target: &str, resume: bool) -> anyhow::Result<Self> {
        let fresh = Progress { target: target.to_owned(), ..Progress::default() };
        let hasher = blake3::Hasher::new();
        if path == Path::new("-") {
            if resume {
                bail!("--resume needs a file; an import of the same lines leaves alone what is there already");
            }
            return Ok(Self {
                reader: Box::new(BufReader::new(io::stdin())),
                size: None,
                hasher,
                done: fresh,
                state: None,
            });
        }
        let unreadable = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(unreadable)?;
        let size = Some(file.metadata().with_context(unreadable)?.len());
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".import");
        let state = path.with_file_name(name);
        let mut input = Self { reader: Box::new(BufReader::new(file)), size, hasher, done: fresh, state: Some(state) };
        if resume {
            input.skip()?;
        }
        Ok(input)
    }

    /// Goes behind what is done, if there is something.
    fn skip(&mut self) -> anyhow::Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        let text = match fs::read_to_string(state) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.with_context(|| format!("cannot read {}", state.display()))?,
        };
        let done: Progress = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged; delete it and import without --resume", state.display()))?;
        if done.target != self.done.target {
            bail!("{} tells of an import into {}; import into that, or without --resume", state.display(), done.target);
        }
        let copied = io::copy(&mut (&mut self.reader).take(done.bytes), &mut self.hasher)?;
        if copied != done.bytes || self.hasher.finalize().to_hex().as_str() != done.digest {
            bail!(
                "the file has changed since that import; import it without --resume, which leaves alone what is there already"
            );
        }
        self.done = done;
        Ok(())
    }

    /// Bytes of the file.
    pub(super) const fn size(&self) -> Option<u64> {
        self.size
    }

    /// What is behind us.
    pub(super) const fn done(&self) -> &Progress {
        &self.done
    }

    /// The next lines; `None` at the end.
    pub(super) fn batch(&mut self) -> anyhow::Result<Option<Batch>> {
        let (mut lines, mut progress) = (Vec::new(), self.done.clone());
        while lines.len() < BATCH && progress.bytes - self.done.bytes < BATCH_BYTES {
            let mut line = Vec::new();
            if self.reader.read_until(b'\n', &mut line).context("cannot read on")? == 0 {
                break;
            }
            self.hasher.update(&line);
            progress.bytes += line.len() as u64;
            progress.lines += 1;
            while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                line.pop();
            }
            // What is no text is no JSON either, and is told with its number.
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        progress.digest = self.hasher.finalize().to_hex().to_string();
        Ok((!lines.is_empty()).then_some(Batch { lines, progress }))
    }

    /// Notes that a batch, of which so many lines failed, is stored.
    pub(super) fn finish(&mut self, progress: Progress, failed: u64, dry_run: bool) -> anyhow::Result<()> {
        self.done = Progress { failed: self.done.failed + failed, ..progress };
        let Some(state) = self.state.as_ref().filter(|_| !dry_run) else { return Ok(()) };
        let new = state.with_extension("import-new");
        let written = fs::write(&new, serde_json::to_string(&self.done)?).and_then(|()| fs::rename(&new, state));
        written.with_context(|| format!("cannot write {}", state.display()))
    }

    /// Notes that the import has come to its end.
    pub(super) fn close(self, dry_run: bool) -> anyhow::Result<()> {
        let Some(state) = self.state.filter(|_| !dry_run) else { return Ok(()) };
        match fs::remove_file(&state) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", state.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(input: &mut Input) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        while let Some(Batch { lines, progress }) = input.batch().unwrap() {
            all.push(lines);
            input.finish(progress, 1, false).unwrap();
        }
        all
    }

    #[test]
    fn an_import_that_was_cut_off_goes_on_behind_what_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faq.jsonl");
        let text: String = (0..300).map(|n| format!("line {n}\r\n")).collect();
        fs::write(&path, &text).unwrap();
        let mut cut_off = Input::open(&path, "here", true).unwrap();
        let Batch { lines, progress } = cut_off.batch().unwrap().unwrap();
        assert_eq!((lines.len(), lines[127].as_str()), (128, "line 127"));
        cut_off.finish(progress, 2, false).unwrap();
        cut_off.batch().unwrap();
        drop(cut_off);

        assert!(Input::open(&path, "there", true).is_err(), "another target has nothing of it yet");
        // Lines behind those that are done may have been mended.
        fs::write(&path, text.replace("line 299", "the last line")).unwrap();
        let mut resumed = Input::open(&path, "here", true).unwrap();
        assert_eq!((resumed.done().lines, resumed.done().failed), (128, 2));
        let rest = batches(&mut resumed);
        assert_eq!((rest[0][0].as_str(), rest[1].last().unwrap().as_str()), ("line 128", "the last line"));
        assert_eq!((resumed.done().lines, resumed.done().failed), (300, 4));
        resumed.close(false).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the file");
        assert_eq!(Input::open(&path, "here", true).unwrap().done().lines, 0);
    }

    #[test]
    fn lines_that_changed_are_not_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faq.jsonl");
        fs::write(&path, "first\nsecond\n").unwrap();
        batches(&mut Input::open(&path, "here", false).unwrap());
        fs::write(&path, "fresh\nsecond\n").unwrap();
        let error = Input::open(&path, "here", true).err().unwrap().to_string();
        assert!(error.contains("without --resume"), "{error}");
        assert_eq!(Input::open(&path, "here", false).unwrap().done().lines, 0);
    }
}
