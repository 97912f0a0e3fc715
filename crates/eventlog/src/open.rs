//! Opens a log: takes the lock, finds what a crash left, cuts it, and believes only what it has written again.

use crate::error::LogError;
use crate::local::{Active, LocalLog};
use crate::options::LogOptions;
use crate::scan::{Chain, Scan, Tail, scan};
use crate::segment::{self, Content, DATA_OFFSET, NameKind, Segment};
use crate::shared::{Entry, Shared};
use crate::spare::Spare;
use env::{DiskLock, Env, OpenMode};
use model::id::{Position, Term, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// At least this much of the end of the log is written and synced again before it is believed: after a failed sync
/// the page cache may show what the disk never got.
const REWRITTEN_BYTES_MIN: u64 = 1 << 20;

/// What was cut off the end of the log: an append that nobody was told about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub segment: PathBuf,
    /// Where the log ends now.
    pub offset: u64,
    /// How far the pieces reached that were cut off, at least.
    pub bytes: u64,
}

/// What was found on open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The oldest readable position.
    pub first: Position,
    /// The next position.
    pub next: Position,
    /// Segments found.
    pub segments: u64,
    /// The torn end, if there was one.
    pub cut: Option<Cut>,
    /// Bytes at the end that were written and synced again.
    pub rewritten_bytes: u64,
    /// Temporary files of unfinished background work that were removed.
    pub removed_files: u64,
}

pub(crate) fn open(
    env: &Env,
    directory: &Path,
    options: LogOptions,
) -> Result<(LocalLog, OpenReport), LogError> {
    options.check()?;
    let log_directory = segment::log_directory(directory);
    let lock = prepare_directory(env, directory, &log_directory)?;
    let mut report = OpenReport::default();
    let found = list(env, &log_directory, &mut report)?;
    let mut chain = Chain { next: options.start, term: Term(0), last_at: Timestamp(0) };
    let mut entries = Vec::with_capacity(found.segments.len() + 1);
    let mut tail = None;
    let last = found.segments.last().copied();
    for first in found.segments {
        if entries.is_empty() {
            chain.next = first;
        }
        let path = segment::segment_path(&log_directory, first);
        let segment = open_segment(env, path, first, &options)?;
        check_start(&segment, &chain, entries.last())?;
        let opened = if Some(first) == last {
            let (entry, end) = open_last(segment, &mut chain, &options, &mut report)?;
            tail = Some(end);
            entry
        } else {
            open_full(segment, &mut chain)?
        };
        entries.push(opened);
    }
    report.segments = entries.len() as u64;
    let spares = open_spares(env, &log_directory, &found.spares, &entries, &options, &mut report)?;
    env.disk.sync_directory(&log_directory).map_err(|error| LogError::io("sync", &log_directory, error))?;
    let shared = Arc::new(Shared::new(env.clone(), log_directory, options, lock, entries, spares));
    let active = match tail {
        Some(active) => active,
        None => begin(&shared, chain.next)?,
    };
    report.first = shared.state().first_position();
    report.next = chain.next;
    let log = LocalLog {
        shared,
        active,
        next: chain.next,
        term: chain.term,
        last_received_at: chain.last_at,
        poison: None,
        buffer: Vec::new(),
        headers: Vec::new(),
    };
    Ok((log, report))
}

fn prepare_directory(
    env: &Env,
    directory: &Path,
    log_directory: &Path,
) -> Result<Box<dyn DiskLock>, LogError> {
    let disk = &env.disk;
    disk.create_directory(log_directory).map_err(|error| LogError::io("create", log_directory, error))?;
    let lock_path = directory.join("lock");
    let lock = disk.lock(&lock_path).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => LogError::Locked { path: lock_path.clone() },
        _ => LogError::io("lock", &lock_path, error),
    })?;
    disk.sync_directory(directory).map_err(|error| LogError::io("sync", directory, error))?;
    Ok(lock)
}

struct Found {
    segments: Vec<Position>,
    spares: Vec<u64>,
}

fn list(env: &Env, directory: &Path, report: &mut OpenReport) -> Result<Found, LogError> {
    let names = env.disk.list(directory).map_err(|error| LogError::io("list", directory, error))?;
    let mut found = Found { segments: Vec::new(), spares: Vec::new() };
    for name in names {
        match segment::parse_name(&name) {
            NameKind::Segment(first) => found.segments.push(first),
            NameKind::Spare(number) => found.spares.push(number),
            NameKind::Other => {}
            NameKind::Temporary => {
                let path = directory.join(name);
                env.disk.remove(&path).map_err(|error| LogError::io("remove", &path, error))?;
                report.removed_files += 1;
            }
        }
    }
    found.segments.sort_unstable();
    Ok(found)
}

fn open_segment(
    env: &Env,
    path: PathBuf,
    first: Position,
    options: &LogOptions,
) -> Result<Arc<Segment>, LogError> {
    let file =
        env.disk.open(&path, OpenMode::ReadWrite).map_err(|error| LogError::io("open", &path, error))?;
    let header = segment::read_header(file.as_ref(), &path, Some((options.shard, options.region)))?;
    let file = if header.sealed.is_some() { segment::sealed_file(env, &path) } else { file };
    Ok(Arc::new(Segment { first, path, header, file }))
}

fn check_start(segment: &Segment, chain: &Chain, before: Option<&Entry>) -> Result<(), LogError> {
    if segment.first == chain.next {
        return Ok(());
    }
    // The one that ends too early (or too late) is named: it, or a whole file behind it, is what to restore.
    let what =
        format!("it ends at position {}, and the next segment begins at {}", chain.next, segment.first);
    Err(match before {
        Some(before) => before.segment.corrupt(before.content.end_offset, &what),
        None => segment.corrupt(0, &what),
    })
}

/// Reads all bytes of an open segment. The size of a segment is limited, and so is this.
pub(crate) fn read_whole(segment: &Segment) -> Result<Vec<u8>, LogError> {
    let failed = |error| LogError::io("read", &segment.path, error);
    let len = segment.file.len().map_err(failed)?;
    let limit = crate::SEGMENT_BYTES_MAX;
    if len > limit {
        return Err(segment.corrupt(limit, "the file is larger than a segment may be"));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    segment.file.read_exact_at(0, &mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The content of a sealed segment as its header states it, checked against the file and the chain.
pub(crate) fn sealed_content(
    segment: &Segment,
    content: Content,
    chain: &Chain,
) -> Result<Content, LogError> {
    let len = segment.file.len().map_err(|error| LogError::io("measure", &segment.path, error))?;
    if content.first != segment.first || content.next <= content.first {
        return Err(segment.corrupt(0, "its header states other positions than its name"));
    }
    if len != content.end_offset {
        return Err(segment
            .corrupt(len.min(content.end_offset), "its file has another length than its header states"));
    }
    if content.term < chain.term || content.first_at < chain.last_at {
        return Err(segment.corrupt(0, "its term or log time is earlier than the segment before it"));
    }
    Ok(content)
}

fn open_full(segment: Arc<Segment>, chain: &mut Chain) -> Result<Entry, LogError> {
    let (content, index) = match segment.header.sealed {
        Some(content) => (sealed_content(&segment, content, chain)?, Vec::new()),
        None => {
            let scan = scan(&read_whole(&segment)?, &segment.header, *chain);
            if let Tail::Damaged(_) = scan.tail {
                return Err(damaged(&segment, &scan));
            }
            (scan.content, scan.index)
        }
    };
    *chain = Chain { next: content.next, term: content.term, last_at: chain.last_at.max(content.last_at) };
    let file_bytes = segment.file.len().map_err(|error| LogError::io("measure", &segment.path, error))?;
    // What stands behind its end is not known any more.
    let stale = !segment.is_sealed();
    Ok(Entry { segment, content, index, file_bytes, stale, forget_requests: 0, seal_failed: false })
}

pub(crate) fn damaged(segment: &Segment, scan: &Scan) -> LogError {
    segment
        .corrupt(scan.content.end_offset, "a frame is damaged, and frames that were appended later follow it")
}

fn open_last(
    segment: Arc<Segment>,
    chain: &mut Chain,
    options: &LogOptions,
    report: &mut OpenReport,
) -> Result<(Entry, Active), LogError> {
    if segment.is_sealed() {
        return Err(segment.corrupt(0, "it is sealed, so the segment that was being written is missing"));
    }
    let bytes = read_whole(&segment)?;
    let scan = scan(&bytes, &segment.header, *chain);
    if let Tail::Damaged(_) = scan.tail {
        return Err(damaged(&segment, &scan));
    }
    if let Some((key, offset)) = scan.key
        && !options.keyring.as_ref().is_some_and(|keyring| keyring.keys.contains_key(&key))
    {
        return Err(LogError::KeyMissing { key, segment: segment.path.clone(), offset });
    }
    let end = scan.content.end_offset;
    let mut capacity = bytes.len() as u64;
    if let Tail::Torn(reached) = scan.tail {
        // A piece of the torn append could fit behind a later one by chance of position: the file ends here, and the
        // next append begins a new segment with a new tag.
        segment.file.set_len(end).map_err(|error| LogError::io("cut", &segment.path, error))?;
        report.cut = Some(Cut { segment: segment.path.clone(), offset: end, bytes: reached - end });
        capacity = end;
    }
    report.rewritten_bytes = rewrite_tail(&segment, &bytes, &scan)?;
    let used = usize::try_from(end).unwrap_or(usize::MAX);
    let stale = bytes.get(used..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0));
    if !scan.content.is_empty() {
        *chain = Chain { next: scan.content.next, term: scan.content.term, last_at: scan.content.last_at };
    }
    let active = Active { segment: Arc::clone(&segment), offset: end, capacity };
    let entry = Entry {
        segment,
        content: scan.content,
        index: scan.index,
        file_bytes: capacity,
        stale,
        forget_requests: 0,
        seal_failed: false,
    };
    Ok((entry, active))
}

fn rewrite_tail(segment: &Segment, bytes: &[u8], scan: &Scan) -> Result<u64, LogError> {
    let end = scan.content.end_offset;
    let start = scan.last_group_offset.min(end.saturating_sub(REWRITTEN_BYTES_MIN)).max(DATA_OFFSET);
    let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
    let tail = bytes.get(range).unwrap_or_default();
    if !tail.is_empty() {
        segment
            .file
            .write_all_at(start, tail)
            .map_err(|error| LogError::io("write again the end of", &segment.path, error))?;
    }
    segment.file.sync_data().map_err(|error| LogError::io("sync", &segment.path, error))?;
    Ok(tail.len() as u64)
}

/// Keeps the spares that fit. A crash in the middle of a rename may leave a spare's name on a segment's file, which
/// the tag tells: then only the name goes.
fn open_spares(
    env: &Env,
    directory: &Path,
    numbers: &[u64],
    entries: &[Entry],
    options: &LogOptions,
    report: &mut OpenReport,
) -> Result<Vec<Spare>, LogError> {
    let mut spares: Vec<Spare> = Vec::new();
    for &number in numbers {
        let path = segment::spare_path(directory, number);
        let file =
            env.disk.open(&path, OpenMode::ReadWrite).map_err(|error| LogError::io("open", &path, error))?;
        let len = file.len().map_err(|error| LogError::io("measure", &path, error))?;
        let header = segment::read_header(file.as_ref(), &path, Some((options.shard, options.region))).ok();
        let fits = header.filter(|header| {
            let taken = entries.iter().any(|entry| entry.segment.header.tag == header.tag)
                || spares.iter().any(|spare| spare.header.tag == header.tag);
            header.sealed.is_none()
                && !taken
                && len == options.segment_bytes
                && spares.len() < options.spare_segments
        });
        match fits {
            // What it held before is not known any more.
            Some(header) => spares.push(Spare { number, path, header, file, stale: true }),
            None => {
                env.disk.remove(&path).map_err(|error| LogError::io("remove", &path, error))?;
                report.removed_files += 1;
            }
        }
    }
    Ok(spares)
}

/// Creates the first segment of a new log.
fn begin(shared: &Shared, first: Position) -> Result<Active, LogError> {
    let ready = shared.state().spares.pop();
    let spare = match ready {
        Some(spare) => spare,
        None => shared.write_spare()?,
    };
    let path = segment::segment_path(&shared.directory, first);
    let disk = &shared.env.disk;
    disk.rename(&spare.path, &path).map_err(|error| LogError::io("rename a spare to", &path, error))?;
    disk.sync_directory(&shared.directory).map_err(|error| LogError::io("sync", &shared.directory, error))?;
    let segment = Arc::new(Segment { first, path, header: spare.header, file: spare.file });
    let capacity = shared.options.segment_bytes;
    let mut state = shared.state();
    state.durable = first;
    state.segments.push(Entry {
        segment: Arc::clone(&segment),
        content: Content::empty(first),
        index: Vec::new(),
        file_bytes: capacity,
        stale: spare.stale,
        forget_requests: 0,
        seal_failed: false,
    });
    Ok(Active { segment, offset: DATA_OFFSET, capacity })
}
