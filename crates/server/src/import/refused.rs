//! Rows that were refused, each with the reason: an NDJSON file that can be looked at while it grows.

use crate::send::{Lines, Problem};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[derive(Serialize)]
struct Line<'a> {
    row: u64,
    reason: &'a str,
    /// The message that was made of it, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Known {
    row: u64,
}

/// The file. It is made when the first row is refused.
#[derive(Debug)]
pub(super) struct Refused {
    path: PathBuf,
    writer: Mutex<(Option<BufWriter<File>>, u64)>,
}

impl Refused {
    /// Of a file from before only what concerns rows up to `done_before` is kept: the others are judged anew.
    pub(super) fn open(path: &Path, done_before: u64) -> Result<Self> {
        let (writer, count) = match File::open(path) {
            Ok(before) => kept(path, before, done_before).map(|(writer, count)| (Some(writer), count))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, 0),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        Ok(Self { path: path.to_owned(), writer: Mutex::new((writer, count)) })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Writes one down. Gives how many there are.
    pub(super) fn add(&self, problem: &Problem, message: &[u8]) -> Result<u64> {
        let context = || format!("{} cannot be written", self.path.display());
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (writer, count) = &mut *guard;
        *count += 1;
        let writer = match writer {
            Some(writer) => writer,
            None => writer.insert(BufWriter::new(File::create(&self.path).with_context(context)?)),
        };
        let message = serde_json::from_slice(message).ok();
        let line = Line { row: problem.line, reason: &problem.reason, message };
        serde_json::to_writer(&mut *writer, &line).with_context(context)?;
        writer.write_all(b"\n").with_context(context)?;
        Ok(*count)
    }

    /// Hands everything to the system.
    pub(super) fn flush(&self) -> Result<()> {
        let mut guard = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = &mut guard.0 else { return Ok(()) };
        let written = writer.flush().and_then(|()| writer.get_ref().sync_data());
        written.with_context(|| format!("{} cannot be written", self.path.display()))
    }

    /// The same at the end; a file that holds nothing goes.
    pub(super) fn finish(&self) -> Result<()> {
        self.flush()?;
        let is_empty = fs::metadata(&self.path).is_ok_and(|about| about.len() == 0);
        if is_empty {
            fs::remove_file(&self.path).with_context(|| format!("{} cannot go", self.path.display()))?;
        }
        Ok(())
    }
}

fn kept(path: &Path, before: File, done_before: u64) -> Result<(BufWriter<File>, u64)> {
    let context = || format!("{} cannot be written", path.display());
    let temporary = super::beside(path, ".new");
    let mut writer = BufWriter::new(File::create(&temporary).with_context(context)?);
    let mut count = 0;
    let mut lines = Lines::new(BufReader::new(before));
    while let Some(line) = lines.next_line().with_context(context)? {
        // A line that a crash cut belongs to a row that is judged anew.
        let Some(text) = line.text else { continue };
        let known: Result<Known, _> = serde_json::from_slice(text);
        if known.is_ok_and(|known| known.row <= done_before) {
            count += 1;
            writer.write_all(text).with_context(context)?;
            writer.write_all(b"\n").with_context(context)?;
        }
    }
    writer.flush().with_context(context)?;
    fs::rename(&temporary, path).with_context(context)?;
    Ok((writer, count))
}
