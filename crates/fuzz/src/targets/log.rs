//! Opening a log whose files were changed.

use crate::Target;
use env::Env;
use env::seeded::World;
use eventlog::{Frame, FrameDraft, Keyring, LocalLog, Log, LogError, LogOptions};
use model::id::{Position, Term, Timestamp};
use model::record::{RecordKind, encode_record};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub(crate) const TARGET: Target = Target {
    name: "log",
    promise: "a damaged log is refused, or gives back a beginning of what was written, and opens the same way again",
    check,
    seeds,
    words: &[
        b"\x00\x01\x00\x00\x00\x08",
        b"\x03\x00\x10\x00\x40",
        b"\x01\xff\xff\x00\x01",
        b"\x02\x00\x80\x00\x00",
    ],
};

const FOLDER: &str = "/data";
const FRAMES: u64 = 9;

/// A log as it was written: its files, and what is in them.
struct Written {
    files: BTreeMap<PathBuf, Vec<u8>>,
    frames: Vec<Frame>,
}

fn options(sealed: bool) -> LogOptions {
    LogOptions {
        shard: 2,
        region: 5,
        segment_bytes: 1 << 10,
        block_bytes: 300,
        spare_segments: 0,
        keyring: sealed.then(|| Keyring { active: 1, keys: BTreeMap::from([(1, [7; 32])]) }),
        ..LogOptions::default()
    }
}

fn written(sealed: bool) -> &'static Written {
    static WRITTEN: [OnceLock<Written>; 2] = [OnceLock::new(), OnceLock::new()];
    WRITTEN[usize::from(sealed)].get_or_init(|| {
        let world = World::new(1, 0);
        let (mut log, _) =
            LocalLog::open(&world.env(), Path::new(FOLDER), options(sealed)).expect("an empty log opens");
        for number in 0..FRAMES {
            append(&mut log, number);
        }
        let frames = read(&log).expect("what was written can be read");
        let segments = log.handle().segments();
        drop(log);
        let files = segments.into_iter().filter_map(|segment| {
            let bytes = world.read_file(&segment.path)?;
            Some((segment.path, bytes))
        });
        Written { files: files.collect(), frames }
    })
}

fn append(log: &mut LocalLog, number: u64) {
    let mut body = Vec::new();
    for record in 0..1 + number % 3 {
        let bytes: Vec<u8> = (0..20 + number * 15).map(|at| (at * (record + 3) % 7) as u8).collect();
        encode_record(&mut body, RecordKind::EVENT, &bytes);
    }
    let received_at = log.last_received_at().plus_us(number as i64);
    let draft = FrameDraft { received_at, control: false, count: 1 + (number % 3) as u32, body };
    let (term, next) = (Term(log.term().0.max(1)), log.next_position());
    log.append(term, next, &[draft]).expect("a log that has opened takes more");
}

fn read(log: &LocalLog) -> Result<Vec<Frame>, LogError> {
    let mut reader = log.read_from(log.first_position())?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next()? {
        frames.push(frame);
    }
    Ok(frames)
}

/// The first byte says whether the log is encrypted; then come changes of its files.
fn check(data: &[u8]) -> bool {
    let Some((first, changes)) = data.split_first() else { return false };
    let sealed = !first.is_multiple_of(2);
    let before = written(sealed);
    let world = World::new(1, 0);
    let env = world.env();
    let mut files: Vec<(PathBuf, Vec<u8>)> =
        before.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
    change(changes, &mut files);
    for (path, bytes) in &files {
        world.write_file(path, bytes);
    }
    let Some(frames) = opened(&env, sealed, before) else { return false };
    world.kill();
    let again = opened(&world.env(), sealed, before);
    assert_eq!(again.as_ref(), Some(&frames), "it opens otherwise the second time");
    world.kill();
    let (mut log, _) =
        LocalLog::open(&world.env(), Path::new(FOLDER), options(sealed)).expect("it opened before");
    append(&mut log, 1);
    let longer = read(&log).expect("what was appended can be read");
    assert_eq!(longer.len(), frames.len() + 1);
    assert_eq!(longer.get(..frames.len()), Some(frames.as_slice()));
    true
}

/// What a log gives back that opens: a beginning of what was written. `None` if it is refused, in opening or in reading.
fn opened(env: &Env, sealed: bool, before: &Written) -> Option<Vec<Frame>> {
    let told = |error: LogError| assert!(error.to_string().contains(' '));
    let (log, report) = LocalLog::open(env, Path::new(FOLDER), options(sealed)).map_err(told).ok()?;
    let frames = read(&log).map_err(told).ok()?;
    assert!(log.next_position() <= before.frames.last().map_or(Position(0), Frame::next));
    assert_eq!(report.next, log.next_position());
    let skipped = before.frames.iter().position(|frame| frame.first == log.first_position());
    if let (Some(skipped), false) = (skipped, frames.is_empty()) {
        let part = before.frames.get(skipped..skipped + frames.len());
        assert_eq!(part, Some(frames.as_slice()), "records are believed that nobody wrote");
    } else {
        assert!(frames.is_empty(), "records are believed that nobody wrote");
    }
    assert!(frames.iter().all(|frame| frame.received_at <= Timestamp(i64::MAX)));
    Some(frames)
}

/// Changes of files, six bytes each: what, which file, where (two bytes), how long, and a byte.
pub(super) fn change(mut data: &[u8], files: &mut [(PathBuf, Vec<u8>)]) {
    const CHANGES_MAX: usize = 16;
    for _ in 0..CHANGES_MAX {
        let [what, which, low, high, long, byte, rest @ ..] = data else { return };
        data = rest;
        let count = files.len().max(1);
        let Some((_, bytes)) = files.get_mut(usize::from(*which) % count) else { return };
        let at = usize::from(u16::from_le_bytes([*low, *high])) % (bytes.len() + 1);
        let end = (at + usize::from(*long)).min(bytes.len());
        match what % 6 {
            0 => bytes.iter_mut().skip(at).take(usize::from(*long)).for_each(|one| *one ^= byte),
            1 => bytes.truncate(at),
            2 => bytes.iter_mut().skip(at).for_each(|one| *one = 0),
            3 => {
                // Something that is whole stands elsewhere too: its checksum holds there.
                let part = bytes.get(at..end).map(<[u8]>::to_vec).unwrap_or_default();
                let to = usize::from(*byte) * 8 % (bytes.len() + 1);
                let over = (to + part.len()).min(bytes.len());
                bytes.splice(to..over, part);
            }
            4 => drop(bytes.drain(at..end)),
            _ => drop(bytes.splice(at..at, std::iter::repeat_n(*byte, usize::from(*long)))),
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0],
        vec![1],
        vec![0, 1, 0, 200, 0, 0, 0],
        vec![1, 0, 1, 100, 0, 8, 255],
        vec![0, 3, 0, 64, 0, 100, 0],
        vec![0, 2, 2, 120, 1, 0, 0],
    ]
}
