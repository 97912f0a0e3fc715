//! The log, the feed and the audit log of a data directory that a server may be writing.

use super::shelf::{Draft, open_if_there};
use super::{BackupError, take::LOOKS_MAX};
use engine::feed::FEED_FOLDER;
use env::Env;
use eventlog::{Keyring, LogError, LogSummary, SegmentSummary};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

/// The folder of the log in a data directory.
const LOG_FOLDER: &str = "log";
/// The folder of the audit log.
const AUDIT_FOLDER: &str = "audit";
/// The header of a segment, and in it the byte that says whether it is sealed (`docs/format-log.md`).
const HEADER_BYTES: usize = 128;
const STATE_OFFSET: usize = 9;
const SEALED: u8 = 2;
/// An append that was caught halfway is complete by then.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// The end of an audit file that is looked through for its last whole line; no line is longer.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Takes the log in, up to its end now. `needed_from`: what holds this position or a later one must be there; what is
/// older too, as far as it lasts, unless `recent`.
pub(super) fn take_log(
    env: &Env,
    directory: &Path,
    keyring: Option<&Keyring>,
    needed_from: u64,
    recent: bool,
    draft: &mut Draft,
) -> Result<(), BackupError> {
    let summary = look(env, directory, keyring)?;
    (draft.contents.log_first, draft.contents.log_next) = (summary.next.0, summary.next.0);
    // From the newest to the oldest: retention removes the oldest first, so what is met gone ends the copy.
    for segment in summary.segments.iter().rev() {
        let needed = segment.next.0 > needed_from || segment.next == summary.next;
        if recent && !needed {
            break;
        }
        if !take_segment(segment, draft)? {
            if needed {
                return Err(BackupError::Restless(directory.join(LOG_FOLDER)));
            }
            break;
        }
        draft.contents.log_first = segment.first.0;
    }
    Ok(())
}

/// A scan that meets an append halfway may take it for damage: damage stays, an append does not.
fn look(env: &Env, directory: &Path, keyring: Option<&Keyring>) -> Result<LogSummary, LogError> {
    let mut looks = 1;
    loop {
        match eventlog::inspect(env, directory, keyring) {
            Err(LogError::Corrupt { .. }) if looks < LOOKS_MAX => looks += 1,
            other => return other,
        }
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

/// `false` if retention removed it.
fn take_segment(segment: &SegmentSummary, draft: &mut Draft) -> Result<bool, BackupError> {
    let from = &segment.path;
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    let path = format!("{LOG_FOLDER}/{name}");
    for _ in 0..LOOKS_MAX {
        let Some(file) = open_if_there(from)? else { return Ok(false) };
        let header = header_of(&file, from)?;
        // Sealed files never change. Of an open one the frames that were found stay as they are; it may be longer by now.
        let bytes = match header.get(STATE_OFFSET) {
            Some(&SEALED) => file.metadata().map_err(BackupError::io("read", from))?.len(),
            _ => segment.used_bytes,
        };
        draft.take(&path, &file, from, bytes)?;
        // Once a segment is sealed, its former file is used again, and gets a new header first. The same header
        // afterwards says that all bytes were read before that.
        if header_of(&file, from)? == header {
            return Ok(true);
        }
        draft.put_back(&path)?;
    }
    Err(BackupError::Restless(from.clone()))
}

fn header_of(file: &File, path: &Path) -> Result<[u8; HEADER_BYTES], BackupError> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).map_err(BackupError::io("read", path))?;
    Ok(header)
}

/// Reads the whole log of a copy: every checksum, every chain and every seal.
pub(super) fn check(
    env: &Env,
    copy: &Path,
    keyring: Option<&Keyring>,
    draft: &Draft,
) -> Result<(), BackupError> {
    let not_whole = |why: String| BackupError::NotWhole { path: copy.to_owned(), why };
    let report = eventlog::verify(env, copy, keyring)?;
    if let Some(damage) = report.damage.or(report.torn) {
        let why = format!("{} at byte {}: {}", damage.segment.display(), damage.offset, damage.what);
        return Err(not_whole(why));
    }
    let (found, wanted) = (
        (report.summary.first.0, report.summary.next.0),
        (draft.contents.log_first, draft.contents.log_next),
    );
    let newest = draft.contents.checkpoints.last().map_or(0, |checkpoint| checkpoint.position);
    if found != wanted || newest > found.1 {
        let why = format!(
            "its log holds positions {} to {}, and {} to {} were expected, with a checkpoint at {newest}",
            found.0, found.1, wanted.0, wanted.1
        );
        return Err(not_whole(why));
    }
    Ok(())
}

/// Takes the change feed in, as far as it was written. It is derived; but without it destinations would miss what they
/// had not got yet.
pub(super) fn take_feed(directory: &Path, draft: &mut Draft) -> Result<(), BackupError> {
    let folder = directory.join(FEED_FOLDER);
    // A file of the feed becomes a part of its history before it goes: looked at in this order, none falls between.
    for prefix in ["identity", "feed-", "history-"] {
        let mut names = names_in(&folder)?;
        names.retain(|name| name.starts_with(prefix) && (name.ends_with(".log") || name == "identity"));
        // Newest first, as with the log.
        for name in names.iter().rev() {
            if !draft.take_if_there(&format!("{FEED_FOLDER}/{name}"), &folder.join(name))? {
                break;
            }
        }
    }
    Ok(())
}

/// Takes the record of who read whose profile in, up to its last whole line.
pub(super) fn take_audit(directory: &Path, draft: &mut Draft) -> Result<(), BackupError> {
    let folder = directory.join(AUDIT_FOLDER);
    for name in names_in(&folder)? {
        let from = folder.join(&name);
        let Some(file) = open_if_there(&from)? else { continue };
        let failed = || BackupError::io("read", &from);
        let length = file.metadata().map_err(failed())?.len();
        let start = length.saturating_sub(LINE_BYTES_MAX);
        let mut end = vec![0; usize::try_from(length - start).unwrap_or(0)];
        file.read_exact_at(&mut end, start).map_err(failed())?;
        let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| start + at as u64 + 1);
        draft.take(&format!("{AUDIT_FOLDER}/{name}"), &file, &from, whole)?;
    }
    Ok(())
}

pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, BackupError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let failed = || BackupError::io("list", folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_type().map_err(failed())?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
