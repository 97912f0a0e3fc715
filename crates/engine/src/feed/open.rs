//! From a folder to a feed that can be read and written.
//!
//! What is behind the checkpoint is cut: the replay makes it again. A file's blocks count up to where the next file
//! begins, so a cut that a crash undid does no harm. If what is left does not reach the checkpoint exactly, the feed
//! begins anew there. The history counts up to where the feed's files begin; what was condensed of a file that is there
//! still, or that the replay makes again, is cut too. If it does not reach so far, it begins where the feed does.

use super::head::Holds;
use super::segment::{Seals, Segment};
use super::writer::TEMPORARY;
use super::{Appender, Feed, FeedError, FeedOptions, Shared, State, Writer, history};
use env::{Env, OpenMode};
use eventlog::Keyring;
use model::codec::{Decoder, Encoder};
use model::id::{Position, Timestamp};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

const IDENTITY: &str = "identity";
const IDENTITY_TEMPORARY: &str = "identity.tmp";
const IDENTITY_BYTES: usize = 13;
const IDENTITY_VERSION: u8 = 1;

/// The three ends of an open feed.
pub struct Feeding {
    /// For readers.
    pub feed: Feed,
    /// For the applying side.
    pub appender: Appender,
    /// For the thread that writes.
    pub writer: Writer,
    /// What was found.
    pub report: FeedReport,
}

/// What opening found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedReport {
    /// Items before this position are gone.
    pub start: Position,
    /// Of what was accepted before this position nothing is known.
    pub history: Position,
    /// The files did not reach the checkpoint, so older cursors are refused. Not set where nothing ever was.
    pub began_anew: bool,
}

/// Opens the feed in a folder. `next` is where the replay begins: the position of the checkpoint, 0 without one.
pub fn open(
    env: &Env,
    directory: &Path,
    next: Position,
    log_time: Timestamp,
    keyring: Option<Keyring>,
    options: FeedOptions,
) -> Result<Feeding, FeedError> {
    let seals = Seals { keyring, env: env.clone() };
    let made = env.disk.create_directory(directory);
    made.map_err(FeedError::io("the feed's folder could not be made"))?;
    let (identity, fresh) = identity(env, directory)?;
    let (mut segments, mut history) = (Vec::new(), Vec::new());
    if !fresh {
        segments = whole_run(scan_all(env, directory, identity, Holds::Items)?, next)?;
        history = scan_all(env, directory, identity, Holds::History)?;
    }
    let reaches = segments.last().is_some_and(|last| last.complete() == next);
    if !reaches {
        segments.clear();
    }
    let start = segments.first().map_or(next, |first| first.head.first);
    trim(&seals, directory, &mut history, start)?;
    let history = whole_run(history, start)?;
    // Retention may have let every file go.
    let began_anew = !reaches && history.is_empty() && next > Position(0);
    let history_start = history.first().map_or(start, |first| first.head.first);
    remove_others(env, directory, segments.iter().chain(&history))?;
    let state = State {
        identity,
        start,
        complete: next,
        log_time,
        synced: next,
        segments,
        history,
        history_start,
        ..State::default()
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        arrived: Condvar::new(),
        work: Condvar::new(),
        room: Condvar::new(),
        settled: Condvar::new(),
        seals,
        options,
    });
    Ok(Feeding {
        feed: Feed { shared: Arc::clone(&shared) },
        appender: Appender::new(Arc::clone(&shared), next, log_time),
        writer: Writer::new(shared, directory.to_owned(), next),
        report: FeedReport { start, history: history_start, began_anew },
    })
}

/// The identity of the folder, and whether it was made just now.
fn identity(env: &Env, directory: &Path) -> Result<(u64, bool), FeedError> {
    match read_identity(env, directory)? {
        Some(identity) => Ok((identity, false)),
        None => Ok((make_identity(env, directory)?, true)),
    }
}

/// The identity of the folder; `None` if it has none that can be read.
pub(super) fn read_identity(env: &Env, directory: &Path) -> Result<Option<u64>, FeedError> {
    let failed = FeedError::io("the feed's identity could not be read or made");
    let path = directory.join(IDENTITY);
    if !env.disk.exists(&path) {
        return Ok(None);
    }
    let file = env.disk.open(&path, OpenMode::Read).map_err(&failed)?;
    let mut bytes = [0; IDENTITY_BYTES];
    if file.len().map_err(&failed)? != IDENTITY_BYTES as u64 {
        return Ok(None);
    }
    file.read_exact_at(0, &mut bytes).map_err(&failed)?;
    Ok(decode_identity(&bytes))
}

/// Gives the folder a new identity.
pub(super) fn make_identity(env: &Env, directory: &Path) -> Result<u64, FeedError> {
    let failed = FeedError::io("the feed's identity could not be read or made");
    let path = directory.join(IDENTITY);
    let mut number = [0; 8];
    env.entropy.fill(&mut number).map_err(&failed)?;
    let identity = u64::from_le_bytes(number);
    let mut bytes = Vec::with_capacity(IDENTITY_BYTES);
    Encoder(&mut bytes).u8(IDENTITY_VERSION);
    Encoder(&mut bytes).u64(identity);
    let check = crc32c::crc32c(&bytes);
    Encoder(&mut bytes).u32(check);
    let temporary = directory.join(IDENTITY_TEMPORARY);
    if env.disk.exists(&temporary) {
        env.disk.remove(&temporary).map_err(&failed)?;
    }
    let file = env.disk.open(&temporary, OpenMode::CreateNew).map_err(&failed)?;
    file.write_all_at(0, &bytes).map_err(&failed)?;
    file.sync_data().map_err(&failed)?;
    env.disk.rename(&temporary, &path).map_err(&failed)?;
    env.disk.sync_directory(directory).map_err(&failed)?;
    Ok(identity)
}

fn decode_identity(bytes: &[u8]) -> Option<u64> {
    let (content, check) = bytes.split_at_checked(IDENTITY_BYTES - 4)?;
    let mut decoder = Decoder::new(content);
    let version = decoder.u8().ok()?;
    let identity = decoder.u64().ok()?;
    let sound = Decoder::new(check).u32().ok()? == crc32c::crc32c(content);
    (sound && version == IDENTITY_VERSION).then_some(identity)
}

/// Every file of one kind of this feed, by where it begins. What blocks hold is only looked at in the last one: the
/// others were synced before the next was begun.
fn scan_all(env: &Env, directory: &Path, identity: u64, holds: Holds) -> Result<Vec<Segment>, FeedError> {
    let names = env.disk.list(directory).map_err(FeedError::io("the feed's folder could not be listed"))?;
    let mut names: Vec<String> = names.into_iter().filter(|name| holds.first_of(name).is_some()).collect();
    names.sort();
    let mut segments = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let last = index + 1 == names.len();
        let path = directory.join(name);
        let scanned = Segment::scan(&*env.disk, &path, last)?;
        let ours = |segment: &Segment| segment.head.identity == identity && segment.head.holds == holds;
        match scanned.filter(ours) {
            Some(segment) if Some(segment.head.first) == holds.first_of(name) => segments.push(segment),
            // A file that was being made when the power went holds nothing, and one of another feed nothing of ours.
            _ => tracing::warn!(file = name, "a file of the feed is torn or foreign and is removed"),
        }
    }
    Ok(segments)
}

/// Cuts every file where the next one begins, the last one at `end`, and gives the longest run without a hole that
/// leads there. Files that begin behind it are made again by the replay.
fn whole_run(mut segments: Vec<Segment>, end: Position) -> Result<Vec<Segment>, FeedError> {
    let mut next = end;
    let mut kept = Vec::new();
    segments.retain(|segment| segment.head.first < end);
    while let Some(mut segment) = segments.pop() {
        segment.cut(next)?;
        if segment.complete() != next {
            // A hole: what is before it cannot be reached any more.
            break;
        }
        next = segment.head.first;
        kept.push(segment);
    }
    kept.reverse();
    Ok(kept)
}

/// Writes the newest file of the history anew where one of its blocks holds something at or behind its end: what was
/// condensed does not end where checkpoints stand.
fn trim(seals: &Seals, directory: &Path, files: &mut [Segment], end: Position) -> Result<(), FeedError> {
    let Some(last) = files.iter_mut().rev().find(|file| file.head.first < end) else { return Ok(()) };
    if last.complete() <= end || last.blocks.iter().any(|block| block.complete == end) {
        return Ok(());
    }
    match history::rewrite(seals, last, end, &|_| true, &directory.join(TEMPORARY)) {
        Ok(Some(fresh)) => *last = fresh,
        Ok(None) => {}
        // It ends too early then, and goes.
        Err(error @ (FeedError::HistoryDamaged { .. } | FeedError::NoKey { .. })) => {
            tracing::error!(error = %error, "the newest part of the feed's history cannot be read");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Removes every file that is not kept, durably: one that came back later would look like a part of the feed.
fn remove_others<'s>(
    env: &Env,
    directory: &Path,
    kept: impl Iterator<Item = &'s Segment>,
) -> Result<(), FeedError> {
    let failed = FeedError::io("a file of the feed could not be removed");
    let names = env.disk.list(directory).map_err(&failed)?;
    let kept: std::collections::BTreeSet<String> = kept.map(Segment::name).collect();
    let is_kept = |name: &str| kept.contains(name);
    let goes = |name: &&String| name.as_str() != IDENTITY && !is_kept(name);
    let mut removed = false;
    for name in names.iter().filter(goes) {
        env.disk.remove(&directory.join(name)).map_err(&failed)?;
        removed = true;
    }
    if removed {
        env.disk.sync_directory(directory).map_err(&failed)?;
    }
    Ok(())
}
