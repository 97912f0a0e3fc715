//! Looks at a log without opening it: read-only, without the lock, also while a server is writing it.

use crate::cursor::Cursor;
use crate::error::LogError;
use crate::handle::SegmentSummary;
use crate::keyring::Keyring;
use crate::open::{damaged, read_whole, sealed_content};
use crate::scan::{Chain, Tail, scan};
use crate::segment::{self, Content, DATA_OFFSET, NameKind, Segment};
use env::{Env, OpenMode};
use model::id::{Position, Term, Timestamp};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How often a segment is looked at again when a server replaced or removed it meanwhile.
const LOOKS_MAX: u32 = 5;

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSummary {
    /// Its segments, oldest first.
    pub segments: Vec<SegmentSummary>,
    /// The oldest position.
    pub first: Position,
    /// The next position.
    pub next: Position,
    /// Spare segment files.
    pub spares: u64,
}

/// The first place where a log is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub segment: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// What reading a log from end to end found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// What it holds, up to the damage.
    pub summary: LogSummary,
    /// The first damage, if there is any.
    pub damage: Option<Damage>,
    /// The end of an append that was not acknowledged (or that a server is writing just now), if there is one.
    pub torn: Option<Damage>,
    /// Records read.
    pub records: u64,
    /// Plain bytes of all bodies read.
    pub body_bytes: u64,
}

/// Says what each segment holds. Reads open segments, and the headers of sealed ones. Damage is an error.
pub fn inspect(env: &Env, directory: &Path, keyring: Option<&Keyring>) -> Result<LogSummary, LogError> {
    let report = look(env, directory, keyring, false)?;
    match report.damage {
        None => Ok(report.summary),
        Some(Damage { segment, offset, what }) => Err(LogError::Corrupt { segment, offset, what }),
    }
}

/// Reads everything and checks every checksum, every chain and every seal. The first damage ends the reading and is
/// reported; a missing key or a failing disk is an error.
pub fn verify(env: &Env, directory: &Path, keyring: Option<&Keyring>) -> Result<VerifyReport, LogError> {
    look(env, directory, keyring, true)
}

fn look(
    env: &Env,
    directory: &Path,
    keyring: Option<&Keyring>,
    deep: bool,
) -> Result<VerifyReport, LogError> {
    let directory = segment::log_directory(directory);
    let names = env.disk.list(&directory).map_err(|error| LogError::io("list", &directory, error))?;
    let kinds: Vec<NameKind> = names.iter().map(|name| segment::parse_name(name)).collect();
    let mut firsts: Vec<Position> = Vec::new();
    let mut report = VerifyReport::default();
    for kind in kinds {
        match kind {
            NameKind::Segment(first) => firsts.push(first),
            NameKind::Spare(_) => report.summary.spares += 1,
            NameKind::Temporary | NameKind::Other => {}
        }
    }
    firsts.sort_unstable();
    let last = firsts.last().copied();
    let mut chain = None;
    for first in firsts {
        let looked =
            look_at_segment(env, &directory, first, Some(first) == last, chain, keyring, deep, &mut report);
        match looked {
            Ok(next) => chain = next.or(chain),
            Err(LogError::Corrupt { segment, offset, what }) => {
                report.damage = Some(Damage { segment, offset, what });
                break;
            }
            Err(error) => return Err(error),
        }
    }
    report.summary.first = report.summary.segments.first().map_or(Position(0), |segment| segment.first);
    report.summary.next = report.summary.segments.last().map_or(Position(0), |segment| segment.next);
    Ok(report)
}

/// `None` if the segment was trimmed meanwhile.
#[expect(clippy::too_many_arguments, reason = "one call site; a struct of the same eight would say no more")]
fn look_at_segment(
    env: &Env,
    directory: &Path,
    first: Position,
    last: bool,
    chain: Option<Chain>,
    keyring: Option<&Keyring>,
    deep: bool,
    report: &mut VerifyReport,
) -> Result<Option<Chain>, LogError> {
    let path = segment::segment_path(directory, first);
    let mut looks = 0;
    loop {
        looks += 1;
        let Some(segment) = open_read_only(env, &path, first)? else {
            return Ok(None);
        };
        let start = chain.unwrap_or(Chain { next: first, term: Term(0), last_at: Timestamp(0) });
        if let Some(before) = report.summary.segments.last()
            && before.next != first
        {
            let what = format!("it ends at position {}, and the next segment begins at {first}", before.next);
            return Err(LogError::Corrupt { segment: before.path.clone(), offset: before.used_bytes, what });
        }
        let looked = look_inside(&segment, last, start, keyring, deep);
        // A running server may have sealed the segment and used its file again under our eyes: what was read may look
        // damaged, or seem to end early.
        let usable = matches!(looked, Ok(_) | Err(LogError::Corrupt { .. }));
        if usable && looks < LOOKS_MAX && was_replaced(env, &segment)? {
            continue;
        }
        let looked = looked?;
        let len = segment.file.len().map_err(|error| LogError::io("measure", &path, error))?;
        report.summary.segments.push(SegmentSummary::of(&segment, &looked.content, len));
        report.records += looked.records;
        report.body_bytes += looked.body_bytes;
        report.torn = looked.torn;
        return Ok(Some(looked.chain));
    }
}

fn open_read_only(env: &Env, path: &Path, first: Position) -> Result<Option<Arc<Segment>>, LogError> {
    let file = match env.disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LogError::io("open", path, error)),
    };
    let header = segment::read_header(file.as_ref(), path, None)?;
    Ok(Some(Arc::new(Segment { first, path: path.to_owned(), header, file })))
}

fn was_replaced(env: &Env, segment: &Segment) -> Result<bool, LogError> {
    Ok(match open_read_only(env, &segment.path, segment.first)? {
        Some(now) => now.header != segment.header,
        None => true,
    })
}

struct Looked {
    content: Content,
    chain: Chain,
    records: u64,
    body_bytes: u64,
    torn: Option<Damage>,
}

fn look_inside(
    segment: &Arc<Segment>,
    last: bool,
    start: Chain,
    keyring: Option<&Keyring>,
    deep: bool,
) -> Result<Looked, LogError> {
    let mut torn = None;
    let content = match segment.header.sealed {
        Some(content) => sealed_content(segment, content, &start)?,
        None => {
            let scan = scan(&read_whole(segment)?, &segment.header, start);
            match scan.tail {
                Tail::Damaged(_) => return Err(damaged(segment, &scan)),
                Tail::Torn(_) if last => {
                    torn = Some(Damage {
                        segment: segment.path.clone(),
                        offset: scan.content.end_offset,
                        what: "an append that was not finished".to_owned(),
                    });
                }
                // What a cut did not take away for good stands behind the end and means nothing: if a record were
                // missing, the next segment would not begin here.
                Tail::Torn(_) | Tail::Clean => {}
            }
            scan.content
        }
    };
    let (mut records, mut body_bytes) = (0, 0);
    if deep {
        (records, body_bytes) = read_all(segment, &content, start, keyring)?;
    }
    let mut chain = start;
    if !content.is_empty() {
        chain = Chain { next: content.next, term: content.term, last_at: content.last_at };
    }
    Ok(Looked { content, chain, records, body_bytes, torn })
}

/// Opens every body and follows the batches inside, which a scan of the headers does not see.
fn read_all(
    segment: &Arc<Segment>,
    content: &Content,
    start: Chain,
    keyring: Option<&Keyring>,
) -> Result<(u64, u64), LogError> {
    let mut cursor = Cursor::new(Arc::clone(segment), DATA_OFFSET, content.end_offset);
    let mut frames = VecDeque::new();
    let mut chain = start;
    let (mut records, mut body_bytes) = (0, 0);
    loop {
        let offset = cursor.offset;
        if cursor.read(keyring, &mut frames)?.is_none() {
            break;
        }
        for frame in frames.drain(..) {
            let follows =
                frame.first == chain.next && frame.term >= chain.term && frame.received_at >= chain.last_at;
            if !follows {
                return Err(segment.corrupt(offset, "a batch does not continue the one before it"));
            }
            chain = Chain { next: frame.next(), term: frame.term, last_at: frame.received_at };
            records += u64::from(frame.count);
            body_bytes += frame.body.len() as u64;
        }
    }
    if chain.next == content.next {
        Ok((records, body_bytes))
    } else {
        Err(segment.corrupt(cursor.offset, "records are missing at the end of the segment"))
    }
}
