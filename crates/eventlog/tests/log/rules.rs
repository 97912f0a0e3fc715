//! What the log refuses, and what it lets go of.

use crate::{append_one, directory, draft, drain, keyring, open, read_all, small_options};
use env::seeded::{Faults, Seed, World};
use eventlog::{FrameDraft, LocalLog, Log, LogError, LogOptions, Retention, SealStep, inspect, verify};
use model::id::{Position, Term, Timestamp};
use model::record::{RecordKind, decode_records, encode_record};

fn plain(received_at: i64, count: u32) -> FrameDraft {
    FrameDraft { received_at: Timestamp(received_at), control: false, count, body: vec![0; 8] }
}

#[test]
fn a_wrong_append_is_refused_and_changes_nothing() {
    let world = World::new(1, 0);
    let (mut log, _) = open(&world.env(), &small_options(false));
    log.append(Term(5), Position(0), &[plain(100, 3)]).unwrap();
    let writes = world.writes();
    let cases: Vec<(&str, Term, Position, Vec<FrameDraft>)> = vec![
        ("Deposed", Term(4), Position(3), vec![plain(100, 1)]),
        ("Unexpected", Term(5), Position(2), vec![plain(100, 1)]),
        ("Unexpected", Term(5), Position(4), vec![plain(100, 1)]),
        ("TimeWentBack", Term(5), Position(3), vec![plain(99, 1)]),
        ("TimeWentBack", Term(5), Position(3), vec![plain(101, 1), plain(100, 1)]),
        ("OutOfLimits", Term(5), Position(3), vec![plain(100, 0)]),
        ("OutOfLimits", Term(5), Position(3), vec![plain(100, u32::MAX), plain(100, 1)]),
        ("OutOfLimits", Term(5), Position(3), vec![FrameDraft { body: vec![0; 4 << 10], ..plain(100, 1) }]),
        ("OutOfLimits", Term(5), Position(3), vec![FrameDraft { body: vec![0; 17 << 20], ..plain(100, 1) }]),
    ];
    for (wanted, term, expected, drafts) in cases {
        let error = log.append(term, expected, &drafts).unwrap_err();
        assert!(format!("{error:?}").starts_with(wanted), "{error:?} instead of {wanted}");
        assert!(!error.to_string().is_empty());
    }
    assert_eq!(world.writes(), writes, "a refused append wrote something");
    assert_eq!(
        (log.next_position(), log.term(), log.last_received_at()),
        (Position(3), Term(5), Timestamp(100))
    );
    assert_eq!(log.append(Term(5), Position(3), &[]).unwrap(), Position(3));
    assert_eq!(log.append(Term(6), Position(3), &[plain(100, 1)]).unwrap(), Position(4));
}

#[test]
fn one_append_is_one_write_whatever_the_frames() {
    let world = World::new(1, 0);
    let (mut log, _) = open(&world.env(), &small_options(true));
    let before = world.writes();
    log.append(Term(1), Position(0), &[plain(1, 1), plain(1, 2), plain(2, 3)]).unwrap();
    assert_eq!(world.writes(), before + 1);
    assert_eq!(log.handle().stats().appends, 1);
}

#[test]
fn a_failed_write_or_sync_poisons_for_good() {
    for faults in [
        Faults { fail_sync: Some(0), ..Faults::default() },
        Faults { fail_write: Some(0), ..Faults::default() },
    ] {
        let world = World::new(1, 0);
        let (mut log, _) = open(&world.env(), &small_options(false));
        append_one(&mut log, 10);
        let handle = log.handle();
        world.set_faults(faults);
        assert!(matches!(log.append(Term(1), Position(1), &[plain(0, 1)]), Err(LogError::Io { .. })));
        for _ in 0..3 {
            let error = log.append(Term(1), Position(1), &[plain(0, 1)]).unwrap_err();
            assert!(
                matches!(&error, LogError::Poisoned { cause } if cause.contains("seeded fault")),
                "{error}"
            );
        }
        assert_eq!(handle.durable_position(), Position(1), "readers never see what is not durable");
        assert!(handle.stats().closed);
        assert_eq!(read_all(&log).len(), 1);
    }
}

#[test]
fn a_full_disk_is_waited_out() {
    let world = World::new(1, 0);
    let options = small_options(false);
    let (mut log, _) = open(&world.env(), &options);
    let mut expected = vec![append_one(&mut log, 1_000)];
    world.set_faults(Faults { capacity_bytes: Some(options.segment_bytes), ..Faults::default() });
    let mut full = 0;
    let next = loop {
        let next = log.next_position();
        match log.append(Term(0), next, &[plain(0, 1)]) {
            Ok(_) => expected.extend(drain(log.read_from(next).unwrap().as_mut())),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                full += 1;
                if full == 3 {
                    break next;
                }
            }
        }
    };
    assert!(!log.handle().stats().closed);
    world.set_faults(Faults::default());
    log.append(Term(0), next, &[plain(0, 1)]).unwrap();
    expected.extend(drain(log.read_from(next).unwrap().as_mut()));
    assert_eq!(read_all(&log), expected);
}

#[test]
fn two_cannot_open_one_directory() {
    let world = World::new(1, 0);
    let (log, _) = open(&world.env(), &small_options(false));
    let handle = log.handle();
    drop(log);
    let error = LocalLog::open(&world.env(), directory(), small_options(false)).err().unwrap();
    assert!(error.to_string().contains("fuser /data/lock"), "{error}");
    drop(handle);
    open(&world.env(), &small_options(false));
}

#[test]
fn wrong_options_and_foreign_files_are_refused() {
    let world = World::new(1, 0);
    open(&world.env(), &small_options(false));
    let good = small_options(false);
    let mut keyless = keyring();
    keyless.active = 2;
    for (wanted, options) in [
        ("Option", LogOptions { segment_bytes: 1, ..good.clone() }),
        ("Option", LogOptions { segment_bytes: 2 << 30, ..good.clone() }),
        ("Option", LogOptions { block_bytes: 1 << 30, ..good.clone() }),
        ("Option", LogOptions { spare_segments: 100, ..good.clone() }),
        ("Option", LogOptions { keyring: Some(keyless), ..good.clone() }),
        ("Foreign", LogOptions { shard: 9, ..good.clone() }),
        ("Foreign", LogOptions { region: 9, ..good.clone() }),
    ] {
        let error = LocalLog::open(&world.env(), directory(), options).err().unwrap();
        assert!(format!("{error:?}").starts_with(wanted), "{error:?}");
    }
}

#[test]
fn a_reader_begins_exactly_where_it_is_told() {
    for do_seal in [false, true] {
        let world = World::new(3, 0);
        let (mut log, _) = open(&world.env(), &small_options(false));
        let mut seed = Seed::new(5);
        let mut records = Vec::new();
        for _ in 0..40 {
            let (next, now) = (log.next_position(), log.last_received_at());
            let drafts = [draft(&mut seed, now, 5, 80), draft(&mut seed, now.plus_us(1), 5, 80)];
            log.append(Term(1), next, &drafts).unwrap();
        }
        for frame in read_all(&log) {
            let decoded = decode_records(&frame.body, frame.first, frame.received_at);
            records.extend(
                decoded.map(|record| record.map(|record| (record.position, record.body.to_vec())).unwrap()),
            );
        }
        while do_seal && log.handle().seal_step().unwrap() != SealStep::Idle {}
        assert_eq!(log.handle().segments()[0].sealed, do_seal);
        for from in 0..records.len() as u64 {
            let frame = log.read_from(Position(from)).unwrap().next().unwrap().unwrap();
            assert_eq!(frame.first, Position(from));
            let first = decode_records(&frame.body, frame.first, frame.received_at).next().unwrap().unwrap();
            assert_eq!((first.position, first.body.to_vec()), records[from as usize]);
            let count = decode_records(&frame.body, frame.first, frame.received_at).count();
            assert_eq!(count, frame.count as usize);
        }
        let end = log.next_position();
        assert_eq!(log.read_from(end).unwrap().next().unwrap(), None);
        assert!(matches!(log.read_from(end.plus(1)), Err(LogError::Beyond { .. })));
    }
}

#[test]
fn trimming_drops_whole_segments_and_never_the_newest_record() {
    let world = World::new(3, 0);
    let options = small_options(false);
    let (mut log, _) = open(&world.env(), &options);
    for _ in 0..60 {
        append_one(&mut log, 200);
    }
    let all = read_all(&log);
    let segments = log.handle().segments();
    assert!(segments.len() > 3);
    log.trim(Position(segments[1].next.0 + 1)).unwrap();
    assert_eq!(log.first_position(), segments[2].first, "only whole segments go");
    assert!(matches!(log.read_from(Position(0)), Err(LogError::Trimmed { .. })));
    assert!(matches!(log.trim(log.next_position().plus(1)), Err(LogError::Beyond { .. })));
    while log.handle().seal_step().unwrap() != SealStep::Idle {}
    assert!(!world.env().disk.exists(&segments[0].path));
    assert_eq!(read_all(&log), all[segments[2].first.0 as usize..]);
    log.trim(log.next_position()).unwrap();
    while log.handle().seal_step().unwrap() != SealStep::Idle {}
    assert!(log.first_position() < log.next_position());
    let (term, last, next) = (log.term(), log.last_received_at(), log.next_position());
    drop(log);
    let (log, _) = open(&world.env(), &options);
    assert_eq!((log.term(), log.last_received_at(), log.next_position()), (term, last, next));
}

#[test]
fn a_roll_closes_what_holds_records_and_nothing_else() {
    for sealed in [false, true] {
        let world = World::new(3, 0);
        let options = small_options(sealed);
        let (mut log, _) = open(&world.env(), &options);
        while log.handle().seal_step().unwrap() != SealStep::Idle {}
        let writes = world.writes();
        assert!(!log.roll().unwrap(), "there is nothing to close");
        assert_eq!((log.handle().segments().len(), world.writes()), (1, writes));
        let mut expected = vec![append_one(&mut log, 100), append_one(&mut log, 100)];
        assert!(log.roll().unwrap());
        assert!(!log.roll().unwrap(), "what it began holds nothing yet");
        assert_eq!(log.next_position(), Position(2));
        while log.handle().seal_step().unwrap() != SealStep::Idle {}
        let shape = |log: &LocalLog| {
            let segments = log.handle().segments();
            segments.iter().map(|one| (one.first.0, one.next.0, one.sealed)).collect::<Vec<_>>()
        };
        assert_eq!(shape(&log), [(0, 2, true), (2, 2, false)]);
        drop(log);
        world.crash();
        let (mut log, report) = open(&world.env(), &options);
        assert_eq!((report.next, report.cut.clone(), shape(&log).len()), (Position(2), None, 2));
        expected.push(append_one(&mut log, 100));
        assert_eq!(shape(&log), [(0, 2, true), (2, 3, false)]);
        assert_eq!(read_all(&log), expected);
    }
}

#[test]
fn a_roll_waits_for_a_full_disk_and_ends_with_a_poisoned_log() {
    let world = World::new(1, 0);
    let options = LogOptions { spare_segments: 0, ..small_options(false) };
    let (mut log, _) = open(&world.env(), &options);
    let expected = vec![append_one(&mut log, 10)];
    world.set_faults(Faults { capacity_bytes: Some(options.segment_bytes), ..Faults::default() });
    for _ in 0..3 {
        let error = log.roll().unwrap_err();
        assert!(error.is_transient() && !log.handle().stats().closed, "{error}");
        assert_eq!(log.handle().segments().len(), 1);
    }
    world.set_faults(Faults::default());
    assert!(log.roll().unwrap());
    world.set_faults(Faults { fail_write: Some(0), ..Faults::default() });
    assert!(log.append(Term(0), Position(1), &[plain(0, 1)]).is_err());
    assert!(matches!(log.roll(), Err(LogError::Poisoned { .. })));
    assert_eq!(read_all(&log), expected);
}

/// A torn append is cut, but the sync of the cut fails; the next start finds the end clean and begins another segment.
/// Then the power goes, and what was cut is back: behind the end of a full segment, where it means nothing.
#[test]
fn a_cut_that_was_never_durable_comes_back_and_harms_nothing() {
    let mut back = 0;
    for number in 0..200_u64 {
        let world = World::new(number.wrapping_mul(0x9E37_79B9_7F4A_7C15), 0);
        let options = small_options(false);
        let (mut log, _) = open(&world.env(), &options);
        let mut expected = vec![append_one(&mut log, 200)];
        world.set_faults(Faults { power_off_at_write: Some(0), ..Faults::default() });
        let torn = FrameDraft { body: vec![0; 1_000], ..plain(0, 1) };
        assert!(log.append(Term(0), Position(1), &[torn]).is_err());
        drop(log);
        world.crash();
        world.set_faults(Faults { fail_sync: Some(0), ..Faults::default() });
        assert!(LocalLog::open(&world.env(), directory(), options.clone()).is_err());
        world.kill();
        world.set_faults(Faults::default());
        let (mut log, _) = open(&world.env(), &options);
        if log.next_position() != Position(1) {
            // The append was whole on the disk, or its sync was what failed: nothing was cut.
            continue;
        }
        expected.push(append_one(&mut log, 10));
        let first = log.handle().segments().remove(0);
        drop(log);
        world.crash();
        let end = first.used_bytes as usize;
        back += u64::from(world.read_file(&first.path).unwrap()[end..].iter().any(|byte| *byte != 0));
        let (log, _) = open(&world.env(), &options);
        assert_eq!(read_all(&log), expected, "seed {number}");
        let report = verify(&world.env(), directory(), None).unwrap();
        assert_eq!((report.damage, report.records), (None, 2), "seed {number}");
        while log.handle().seal_step().unwrap() != SealStep::Idle {}
        assert_eq!(read_all(&log), expected, "seed {number}, sealed");
    }
    assert!(back > 0, "no cut came back: the test is void");
}

/// A roll whose append failed leaves an empty segment: the log's term and time are then known by the one before it.
#[test]
fn trimming_behind_an_empty_segment_keeps_term_and_time() {
    let world = World::new(3, 0);
    let options = small_options(false);
    let (mut log, _) = open(&world.env(), &options);
    while log.handle().seal_step().unwrap() != SealStep::Idle {}
    log.append(Term(7), Position(0), &[plain(70, 1), FrameDraft { body: vec![0; 3 << 10], ..plain(77, 1) }])
        .unwrap();
    world.set_faults(Faults { fail_write: Some(0), ..Faults::default() });
    let large = FrameDraft { body: vec![0; 3 << 10], ..plain(78, 1) };
    assert!(matches!(log.append(Term(8), Position(2), &[large]), Err(LogError::Io { .. })));
    drop(log);
    world.kill();
    for _ in 0..2 {
        let (mut log, report) = open(&world.env(), &options);
        assert_eq!((report.segments, log.next_position()), (2, Position(2)));
        assert_eq!((log.term(), log.last_received_at()), (Term(7), Timestamp(77)));
        log.trim(Position(2)).unwrap();
        while log.handle().seal_step().unwrap() != SealStep::Idle {}
    }
}

#[test]
fn retention_counts_age_in_log_time_and_size_on_disk() {
    let world = World::new(3, 0);
    let (mut log, _) = open(&world.env(), &small_options(false));
    let mut body = Vec::new();
    encode_record(&mut body, RecordKind::EVENT, &[1; 400]);
    for hour in 0..60 {
        let draft =
            FrameDraft { received_at: Timestamp(hour * 3_600), control: false, count: 1, body: body.clone() };
        let next = log.next_position();
        log.append(Term(1), next, &[draft]).unwrap();
    }
    let handle = log.handle();
    let segments = handle.segments();
    let now = Timestamp(60 * 3_600);
    let floor = |age_us, bytes| handle.retention_floor(now, &Retention { age_us, bytes });
    assert_eq!(floor(None, None), Position(0));
    let third = &segments[2];
    let age_us = now.since_us(third.last_at);
    assert_eq!(floor(Some(age_us), None), third.first, "as old as the limit is not older");
    assert_eq!(floor(Some(age_us - 1), None), third.next);
    let two_less: u64 = segments[2..].iter().map(|segment| segment.file_bytes).sum();
    assert_eq!(floor(None, Some(two_less)), third.first);
    assert_eq!(floor(None, Some(two_less - 1)), third.next);
    assert_eq!(floor(Some(0), Some(0)), segments.last().unwrap().first, "what is being written stays");
}

#[test]
fn inspecting_and_verifying_need_no_lock_and_change_nothing() {
    let world = World::new(3, 0);
    let options = small_options(true);
    let (mut log, _) = open(&world.env(), &options);
    for _ in 0..50 {
        append_one(&mut log, 200);
    }
    while log.handle().seal_step().unwrap() != SealStep::Idle {}
    append_one(&mut log, 10);
    let writes = world.writes();
    let summary = inspect(&world.env(), directory(), None).unwrap();
    assert_eq!(summary.segments, log.handle().segments());
    assert_eq!((summary.first, summary.next, summary.spares), (Position(0), log.next_position(), 2));
    assert!(matches!(verify(&world.env(), directory(), None), Err(LogError::KeyMissing { key: 3, .. })));
    let report = verify(&world.env(), directory(), options.keyring.as_ref()).unwrap();
    let frames = read_all(&log);
    assert_eq!((report.damage, report.torn, report.records), (None, None, log.next_position().0));
    assert_eq!(report.body_bytes, frames.iter().map(|frame| frame.body.len() as u64).sum::<u64>());
    assert_eq!(world.writes(), writes);
}
