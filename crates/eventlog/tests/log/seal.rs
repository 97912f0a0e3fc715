//! Sealing, recycling and rewriting, step by step.

use crate::{append_one, directory, keyring, open, read_all, small_options};
use env::seeded::{Faults, World};
use eventlog::{Frame, LocalLog, Log, LogError, LogOptions, SealStep, verify};
use std::path::Path;

const SECRET: &[u8] = b"nobody-may-read-this-on-the-disk";

fn seal_all(log: &LocalLog) {
    while log.handle().seal_step().unwrap() != SealStep::Idle {}
}

/// Whether any file of the log holds these bytes.
fn on_disk(world: &World, wanted: &[u8]) -> bool {
    let log_directory = directory().join("log");
    let names = world.env().disk.list(&log_directory).unwrap();
    names.iter().any(|name| {
        let bytes = world.read_file(&log_directory.join(name)).unwrap();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

fn append_secret(log: &mut LocalLog) -> Frame {
    let mut body = Vec::new();
    model::record::encode_record(&mut body, model::record::RecordKind::EVENT, SECRET);
    let draft = eventlog::FrameDraft { received_at: log.last_received_at(), control: false, count: 1, body };
    let (term, next) = (log.term(), log.next_position());
    log.append(term, next, &[draft]).unwrap();
    log.read_from(next).unwrap().next().unwrap().unwrap()
}

#[test]
fn sealed_segments_are_smaller_and_say_the_same() {
    for sealed in [false, true] {
        let world = World::new(1, 0);
        let (mut log, _) = open(&world.env(), &small_options(sealed));
        for _ in 0..80 {
            append_one(&mut log, 150);
        }
        let before = read_all(&log);
        let open_bytes: u64 = log.handle().segments().iter().map(|segment| segment.used_bytes).sum();
        seal_all(&log);
        let segments = log.handle().segments();
        assert!(segments[..segments.len() - 1].iter().all(|segment| segment.sealed));
        let sealed_bytes: u64 = segments.iter().map(|segment| segment.used_bytes).sum();
        assert!(sealed_bytes * 2 < open_bytes, "{open_bytes} bytes became {sealed_bytes}");
        assert_eq!(read_all(&log), before);
    }
}

#[test]
fn with_a_keyring_nothing_plain_reaches_the_disk() {
    for sealed in [true, false] {
        let world = World::new(1, 0);
        let (mut log, _) = open(&world.env(), &small_options(sealed));
        append_secret(&mut log);
        assert_eq!(on_disk(&world, SECRET), !sealed, "in the segment that is being written");
        for _ in 0..40 {
            append_one(&mut log, 200);
        }
        seal_all(&log);
        assert!(log.handle().segments()[0].sealed);
        if sealed {
            assert!(!on_disk(&world, SECRET), "in a sealed segment");
        }
    }
}

#[test]
fn old_keys_open_what_they_sealed_and_new_ones_seal_from_now_on() {
    let world = World::new(1, 0);
    let mut options = small_options(true);
    let (mut log, _) = open(&world.env(), &options);
    let mut all = vec![append_one(&mut log, 20)];
    drop(log);
    let mut rotated = keyring();
    rotated.keys.insert(4, [1; 32]);
    rotated.active = 4;
    options.keyring = Some(rotated);
    let (mut log, _) = open(&world.env(), &options);
    all.push(append_one(&mut log, 20));
    assert_eq!(read_all(&log), all);
    drop(log);
    options.keyring = Some(keyring());
    let refused = LocalLog::open(&world.env(), directory(), options.clone()).err().unwrap();
    assert!(matches!(refused, LogError::KeyMissing { key: 4, .. }), "{refused}");
    let mut wrong = keyring();
    wrong.keys.insert(4, [2; 32]);
    let report = verify(&world.env(), directory(), Some(&wrong)).unwrap();
    assert!(report.damage.unwrap().what.contains("does not open"), "a wrong key is noticed");
}

/// In the steady state no segment file is written anew, and what a used file still holds is never read.
#[test]
fn used_files_serve_again_and_their_old_frames_stay_dead() {
    let world = World::new(1, 0);
    let options = small_options(false);
    let (mut log, _) = open(&world.env(), &options);
    seal_all(&log);
    let mut expected = Vec::new();
    // All frames have the same size, so that old ones stand exactly where new ones will.
    for step in 0..400 {
        expected.push(append_one(&mut log, 100));
        seal_all(&log);
        if step % 7 == 0 {
            drop(log);
            world.crash();
            let (again, report) = open(&world.env(), &options);
            assert_eq!(report.cut, None);
            log = again;
            assert_eq!(read_all(&log), expected);
        }
    }
    let (mut log, _) = {
        drop(log);
        open(&world.env(), &options)
    };
    for _ in 0..200 {
        expected.push(append_one(&mut log, 100));
        seal_all(&log);
    }
    let stats = log.handle().stats();
    assert!(stats.rolls >= 5 && stats.recycled_spares >= stats.rolls - 1, "{stats:?}");
    assert_eq!(stats.rolls_without_spare, 0, "an append had to wait for a spare");
    assert_eq!(read_all(&log), expected);
}

/// A reader that stands in an open segment reads on while that is sealed and its successor is written.
#[test]
fn a_slow_reader_keeps_the_old_file() {
    let world = World::new(1, 0);
    let (mut log, _) = open(&world.env(), &small_options(false));
    let mut expected = vec![append_one(&mut log, 100)];
    let mut reader = log.read_from(log.first_position()).unwrap();
    let mut found = vec![reader.next().unwrap().unwrap()];
    for _ in 0..200 {
        expected.push(append_one(&mut log, 100));
        seal_all(&log);
    }
    while let Some(frame) = reader.next().unwrap() {
        found.push(frame);
        seal_all(&log);
    }
    assert_eq!(found, expected);
}

#[test]
fn erasing_leaves_no_trace_and_no_hole() {
    for sealed in [false, true] {
        let world = World::new(1, 0);
        let options = small_options(sealed);
        let (mut log, _) = open(&world.env(), &options);
        let secret = append_secret(&mut log);
        for _ in 0..60 {
            append_one(&mut log, 200);
        }
        seal_all(&log);
        let mut expected = read_all(&log);
        let erase = &mut |mut frame: Frame| {
            if frame.first == secret.first {
                frame.body.clear();
                model::record::encode_record(&mut frame.body, model::record::RecordKind::EVENT, b"");
            }
            frame
        };
        let handle = log.handle();
        let last = handle.segments().pop().unwrap().first;
        assert!(matches!(handle.rewrite_segment(last, erase), Err(LogError::Rewrite { .. })));
        let shifted = &mut |mut frame: Frame| {
            frame.count += 1;
            frame
        };
        assert!(matches!(handle.rewrite_segment(secret.first, shifted), Err(LogError::Rewrite { .. })));
        assert_eq!(read_all(&log), expected, "a refused rewrite changed something");
        let report = handle.rewrite_segment(secret.first, erase).unwrap();
        assert_eq!(report.changed_frames, 1);
        expected[0] = erase(expected[0].clone());
        assert_eq!(read_all(&log), expected);
        handle.forget_used_files().unwrap();
        // The next append leaves the used file, and sealing that one lets go of it.
        expected.push(append_one(&mut log, 5));
        let abandoned = handle.segments().len();
        assert!(abandoned >= 2);
        seal_all(&log);
        handle.forget_used_files().unwrap();
        assert!(!on_disk(&world, SECRET));
        drop((log, handle));
        world.crash();
        let (log, _) = open(&world.env(), &options);
        assert_eq!(read_all(&log), expected);
    }
}

/// The power goes at every single write of sealing, recycling and rewriting.
#[test]
fn background_work_may_be_cut_at_any_write() {
    for number in 0..40_u64 {
        for at in 0..24 {
            let world = World::new(number, 0);
            let options = LogOptions { segment_bytes: 1_500, ..small_options(number % 2 == 0) };
            let (mut log, _) = open(&world.env(), &options);
            let expected: Vec<_> = (0..24).map(|_| append_one(&mut log, 90)).collect();
            world.set_faults(Faults { power_off_at_write: Some(at), ..Faults::default() });
            while matches!(log.handle().seal_step(), Ok(step) if step != SealStep::Idle) {}
            let first = log.first_position();
            let _ = log.handle().rewrite_segment(first, &mut |frame| frame);
            drop(log);
            world.crash();
            let (log, _) = open(&world.env(), &options);
            assert_eq!(read_all(&log), expected, "seed {number}, write {at}");
            seal_all(&log);
            assert_eq!(read_all(&log), expected, "seed {number}, write {at}, sealed again");
            let leftovers = world.env().disk.list(&directory().join("log")).unwrap();
            assert!(leftovers.iter().all(|name| Path::new(name).extension().is_none_or(|end| end != "tmp")));
        }
    }
}
