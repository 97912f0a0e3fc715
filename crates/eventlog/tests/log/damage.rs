//! Cuts and damage at any byte of the files.

use crate::{directory, draft, drain, frames_of, open, read_all, small_options};
use env::seeded::{Seed, World};
use eventlog::{Frame, LocalLog, Log, LogError, LogOptions, verify};
use model::id::{Position, Term, Timestamp};
use proptest::prelude::*;
use std::path::PathBuf;

/// A log with some appends, and where each append begins and ends in its file.
struct Written {
    world: World,
    options: LogOptions,
    /// Frames, file, first and last byte (exclusive) of each append group.
    groups: Vec<(Vec<Frame>, PathBuf, usize, usize)>,
}

fn write(number: u64, groups: u64, segment_bytes: u64, sealed: bool) -> Written {
    let world = World::new(number, 0);
    let mut seed = Seed::new(number);
    let options = LogOptions { segment_bytes, ..small_options(sealed) };
    let (mut log, _) = open(&world.env(), &options);
    let mut written = Written { world, options, groups: Vec::new() };
    for _ in 0..groups {
        let drafts: Vec<_> = (0..1 + seed.below(4)).map(|_| draft(&mut seed, Timestamp(5), 3, 50)).collect();
        let first = log.next_position();
        log.append(Term(1), first, &drafts).unwrap();
        let segment = log.handle().segments().pop().unwrap();
        let stored: usize =
            drafts.iter().map(|draft| 64 + draft.body.len() + if sealed { 28 } else { 0 }).sum();
        let end = segment.used_bytes as usize;
        written.groups.push((frames_of(&drafts, first, Term(1)), segment.path, end - stored, end));
    }
    written
}

impl Written {
    fn frames(&self) -> Vec<Frame> {
        self.groups.iter().flat_map(|group| group.0.clone()).collect()
    }

    fn last_file(&self) -> PathBuf {
        self.groups.last().unwrap().1.clone()
    }

    /// Opens after a change of the files, and checks: a prefix, with every group that lies before `damage_from` in the
    /// last file; or a refusal that names the file: never if only the last group is damaged, always if a whole group
    /// follows the damage.
    fn check(&self, damage_from: usize, damage_to: usize) {
        self.world.kill();
        let file = self.last_file();
        let whole: usize =
            self.groups.iter().filter(|group| group.1 != file || group.3 <= damage_from).count();
        let must: Vec<Frame> = self.groups[..whole].iter().flat_map(|group| group.0.clone()).collect();
        let last_group_start = self.groups.last().unwrap().2;
        match LocalLog::open(&self.world.env(), directory(), self.options.clone()) {
            Ok((mut log, _)) => {
                let cut_too_much = damage_to <= last_group_start;
                assert!(!cut_too_much, "a later append is whole, and the damage was cut all the same");
                let found = read_all(&log);
                assert!(
                    found.len() >= must.len(),
                    "lost {} frames before the damage",
                    must.len() - found.len()
                );
                assert_eq!(found, self.frames()[..found.len()]);
                append_more(self, &mut log, found);
            }
            Err(LogError::Corrupt { segment, offset, .. }) => {
                assert_eq!(segment, file);
                assert!(offset as usize <= damage_from.max(128), "offset {offset} is behind the damage");
                assert!(damage_from < last_group_start, "refused, though only the last append is damaged");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// What was cut never comes back, whatever is appended in its place.
fn append_more(written: &Written, log: &mut LocalLog, mut expected: Vec<Frame>) {
    for record_bytes in [0, 1, 40] {
        expected.push(crate::append_one(log, record_bytes));
    }
    assert_eq!(read_all(log), expected);
    let active = log.handle().segments().pop().unwrap();
    let file = written.world.read_file(&active.path).unwrap();
    assert_eq!(file.len() as u64, written.options.segment_bytes, "an append went into a cut file");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The file ends anywhere.
    #[test]
    fn a_cut_anywhere_leaves_a_prefix(number: u64, groups in 1_u64..12, sealed: bool, at: prop::sample::Index) {
        let written = write(number, groups, 4 << 10, sealed);
        let file = written.last_file();
        let mut bytes = written.world.read_file(&file).unwrap();
        let end = written.groups.last().unwrap().3;
        let cut = 128 + at.index(end - 127);
        bytes.truncate(cut);
        written.world.write_file(&file, &bytes);
        written.check(cut, usize::MAX);
    }

    /// A sector turns into zeros or nonsense, in the middle or at the end.
    #[test]
    fn damage_anywhere_is_cut_or_refused(
        number: u64,
        groups in 1_u64..12,
        sealed: bool,
        at: prop::sample::Index,
        len in 1_usize..200,
        fill in prop::option::of(any::<u8>()),
    ) {
        let written = write(number, groups, 4 << 10, sealed);
        let file = written.last_file();
        let mut bytes = written.world.read_file(&file).unwrap();
        let end = written.groups.last().unwrap().3;
        let from = 128 + at.index(end - 128);
        let to = (from + len).min(end);
        let before = bytes.clone();
        for byte in &mut bytes[from..to] {
            *byte = fill.unwrap_or(*byte ^ 0x20);
        }
        prop_assume!(before != bytes);
        let changed = (from..to).find(|at| before[*at] != bytes[*at]).unwrap();
        written.world.write_file(&file, &bytes);
        written.check(changed, to);
    }

    /// Of the last append, any set of pieces is missing: disks reorder. It was not acknowledged, so it is cut, and the
    /// frames behind a hole are not taken for damage.
    #[test]
    fn an_unfinished_append_with_holes_is_cut(number: u64, groups in 2_u64..8, sealed: bool, holes: u64) {
        let written = write(number, groups, 16 << 10, sealed);
        let file = written.last_file();
        let mut bytes = written.world.read_file(&file).unwrap();
        let (_, _, start, end) = written.groups.last().unwrap();
        let piece = 16;
        for (number, at) in (*start..*end).step_by(piece).enumerate() {
            if holes >> (number % 64) & 1 == 1 {
                bytes[at..(at + piece).min(*end)].fill(0);
            }
        }
        written.world.write_file(&file, &bytes);
        written.world.kill();
        let (mut log, _) = open(&written.world.env(), &written.options);
        let found = read_all(&log);
        let all = written.frames();
        let before_last = all.len() - written.groups.last().unwrap().0.len();
        prop_assert!(found.len() >= before_last);
        prop_assert_eq!(&found, &all[..found.len()].to_vec());
        append_more(&written, &mut log, found);
        let expected = read_all(&log);
        drop(log);
        written.world.crash();
        let (log, report) = open(&written.world.env(), &written.options);
        prop_assert_eq!(report.cut, None, "the torn append was found a second time");
        prop_assert_eq!(read_all(&log), expected);
    }

    /// Any bit of a sealed segment, or of a full one: opening or reading or verifying names the file, nothing lies.
    #[test]
    fn damage_in_a_full_segment_is_always_named(
        number: u64,
        sealed: bool,
        do_seal: bool,
        at: prop::sample::Index,
        bit in 0_u8..8,
    ) {
        let written = write(number, 30, 2 << 10, sealed);
        written.world.kill();
        let (log, _) = open(&written.world.env(), &written.options);
        if do_seal {
            while log.handle().seal_step().unwrap() != eventlog::SealStep::Idle {}
        }
        let segments = log.handle().segments();
        let full = &segments[..segments.len() - 1];
        let target = &full[at.index(full.len())];
        prop_assert_eq!(target.sealed, do_seal);
        drop(log);
        let mut bytes = written.world.read_file(&target.path).unwrap();
        let place = at.index(target.used_bytes as usize);
        bytes[place] ^= 1 << bit;
        written.world.write_file(&target.path, &bytes);
        written.world.kill();
        let report = verify(&written.world.env(), directory(), written.options.keyring.as_ref()).unwrap();
        let damage = report.damage.unwrap();
        prop_assert_eq!(&damage.segment, &target.path);
        prop_assert!(damage.offset as usize <= place);
        let all = written.frames();
        match LocalLog::open(&written.world.env(), directory(), written.options.clone()) {
            Err(LogError::Corrupt { segment, .. }) => prop_assert_eq!(&segment, &target.path),
            Err(error) => panic!("{error}"),
            Ok((log, _)) => {
                prop_assert!(do_seal, "a full open segment is read whole when the log is opened");
                let mut reader = log.read_from(Position(0)).unwrap();
                let mut found = Vec::new();
                let error = loop {
                    match reader.next() {
                        Ok(Some(frame)) => found.push(frame),
                        Ok(None) => panic!("the damage was read over"),
                        Err(error) => break error,
                    }
                };
                let LogError::Corrupt { segment, .. } = &error else { panic!("{error}") };
                prop_assert_eq!(segment, &target.path);
                prop_assert_eq!(&found, &all[..found.len()].to_vec());
                let after = drain(log.read_from(target.next).unwrap().as_mut());
                let kept: Vec<_> = all.iter().filter(|frame| frame.first >= target.next).cloned().collect();
                prop_assert_eq!(after, kept, "what lies behind the damage stays readable");
            }
        }
    }
}

/// A segment file is missing from the middle.
#[test]
fn a_missing_segment_is_refused() {
    let written = write(4, 30, 2 << 10, false);
    written.world.kill();
    let (log, _) = open(&written.world.env(), &written.options);
    let segments = log.handle().segments();
    assert!(segments.len() > 3);
    drop(log);
    written.world.env().disk.remove(&segments[1].path).unwrap();
    match LocalLog::open(&written.world.env(), directory(), written.options.clone()) {
        Err(LogError::Corrupt { segment, offset, .. }) => {
            assert_eq!((segment, offset), (segments[0].path.clone(), segments[0].used_bytes));
        }
        other => panic!("{:?}", other.map(|(_, report)| report)),
    }
    let report = verify(&written.world.env(), directory(), None).unwrap();
    assert_eq!(report.damage.unwrap().segment, segments[0].path);
}
