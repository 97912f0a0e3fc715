//! The log under everything that may happen to it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's helpers fail as the test itself does, and what a long test met is worth a line"
)]

mod crash;
mod damage;
mod format;
mod rules;
mod seal;
mod tail;

use env::Env;
use env::seeded::Seed;
use eventlog::{Frame, FrameDraft, Keyring, LocalLog, Log, LogOptions, LogReader, OpenReport};
use model::id::{Position, Term, Timestamp};
use model::record::{RecordKind, encode_record};
use std::collections::BTreeMap;
use std::path::Path;

const DIRECTORY: &str = "/data";

fn directory() -> &'static Path {
    Path::new(DIRECTORY)
}

fn keyring() -> Keyring {
    Keyring { active: 3, keys: BTreeMap::from([(1, [7; 32]), (3, [9; 32])]) }
}

/// Small segments and blocks, so that a test of a few kilobytes meets every border.
fn small_options(sealed: bool) -> LogOptions {
    LogOptions {
        shard: 2,
        region: 5,
        segment_bytes: 4 << 10,
        block_bytes: 700,
        keyring: sealed.then(keyring),
        ..LogOptions::default()
    }
}

fn open(env: &Env, options: &LogOptions) -> (LocalLog, OpenReport) {
    LocalLog::open(env, directory(), options.clone()).unwrap()
}

/// A frame whose records are made from the seed: some compress, some do not.
fn draft(seed: &mut Seed, received_at: Timestamp, records_max: u64, record_bytes_max: u64) -> FrameDraft {
    let count = 1 + seed.below(records_max);
    let mut body = Vec::new();
    for _ in 0..count {
        let bytes = seed.below(record_bytes_max + 1);
        let random = seed.one_in(2);
        let record: Vec<u8> = (0..bytes).map(|_| if random { seed.next_u64() as u8 } else { 7 }).collect();
        encode_record(&mut body, RecordKind::EVENT, &record);
    }
    FrameDraft { received_at, control: seed.one_in(5), count: count as u32, body }
}

/// What the log must give back for drafts appended at `first`.
fn frames_of(drafts: &[FrameDraft], mut first: Position, term: Term) -> Vec<Frame> {
    let mut frames = Vec::new();
    for draft in drafts {
        frames.push(Frame {
            first,
            count: draft.count,
            term,
            received_at: draft.received_at,
            control: draft.control,
            body: draft.body.clone(),
        });
        first = first.plus(u64::from(draft.count));
    }
    frames
}

fn drain(reader: &mut dyn LogReader) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(frame) = reader.next().unwrap() {
        frames.push(frame);
    }
    frames
}

fn read_all(log: &LocalLog) -> Vec<Frame> {
    drain(log.read_from(log.first_position()).unwrap().as_mut())
}

/// Appends one frame of one record of that many bytes at the log's own term and time.
fn append_one(log: &mut LocalLog, record_bytes: usize) -> Frame {
    let record = vec![log.next_position().0 as u8; record_bytes];
    append_body(log, &record)
}

/// The same with one record of these bytes.
fn append_body(log: &mut LocalLog, record: &[u8]) -> Frame {
    let mut body = Vec::new();
    encode_record(&mut body, RecordKind::EVENT, record);
    let draft = FrameDraft { received_at: log.last_received_at(), control: false, count: 1, body };
    let first = log.next_position();
    let term = log.term();
    log.append(term, first, std::slice::from_ref(&draft)).unwrap();
    frames_of(&[draft], first, term).remove(0)
}
