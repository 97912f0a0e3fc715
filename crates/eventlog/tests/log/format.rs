//! Files that an earlier version wrote must stay readable for ever: `tests/fixtures/v1` is such a log, with a sealed,
//! a full and an unfinished segment, once plain and once sealed with a keyring.
//!
//! To write one for a new format version: `cargo test -p eventlog --test log -- --ignored write_fixture`.

use crate::{append_one, directory, draft, open, read_all, small_options};
use env::seeded::{Seed, World};
use eventlog::{Frame, LocalLog, Log, LogOptions, SealStep, verify};
use model::id::{Term, Timestamp};
use std::path::{Path, PathBuf};

fn fixture(sealed: bool) -> PathBuf {
    let name = if sealed { "with-keyring" } else { "plain" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1").join(name)
}

fn options(sealed: bool) -> LogOptions {
    LogOptions { segment_bytes: 1_024, ..small_options(sealed) }
}

/// What the fixture holds, by construction and not by reading it.
fn write(log: &mut LocalLog) -> Vec<Frame> {
    let mut seed = Seed::new(2_026);
    let mut expected = Vec::new();
    for step in 0..14_u64 {
        let first = log.next_position();
        let term = Term(1 + step / 3);
        let drafts: Vec<_> = (0..1 + step % 3)
            .map(|_| draft(&mut seed, Timestamp(1_700_000_000_000_000 + step as i64 * 9), 3, 50))
            .collect();
        log.append(term, first, &drafts).unwrap();
        expected.extend(crate::frames_of(&drafts, first, term));
        if step == 6 {
            while log.handle().seal_step().unwrap() != SealStep::Idle {}
        }
    }
    expected
}

#[test]
fn version_1_reads_as_it_was_written() {
    for sealed in [false, true] {
        let (mut scratch_log, _) = open(&World::new(9, 0).env(), &options(sealed));
        let expected = write(&mut scratch_log);
        let disk = env::Env::real().disk;
        let world = World::new(10, 0);
        let names = disk.list(&fixture(sealed)).unwrap();
        assert!(names.len() >= 3, "the fixture is incomplete");
        for name in names {
            let file = disk.open(&fixture(sealed).join(&name), env::OpenMode::Read).unwrap();
            let mut bytes = vec![0; file.len().unwrap() as usize];
            file.read_exact_at(0, &mut bytes).unwrap();
            world.write_file(&directory().join("log").join(&name), &bytes);
        }
        let report = verify(&world.env(), directory(), options(sealed).keyring.as_ref()).unwrap();
        assert_eq!((report.damage, report.torn), (None, None));
        let (mut log, report) = open(&world.env(), &options(sealed));
        assert_eq!(report.cut, None);
        let states: Vec<_> = log.handle().segments().iter().map(|segment| segment.sealed).collect();
        assert!(
            states.contains(&true) && states.iter().filter(|sealed| !**sealed).count() >= 2,
            "{states:?}"
        );
        assert_eq!(read_all(&log), expected);
        let more = append_one(&mut log, 30);
        assert_eq!(read_all(&log), [expected, vec![more]].concat());
    }
}

#[test]
#[ignore = "writes the fixture of the current format version"]
fn write_fixture() {
    for sealed in [false, true] {
        let world = World::new(9, 0);
        let (mut log, _) = open(&world.env(), &options(sealed));
        write(&mut log);
        let disk = env::Env::real().disk;
        disk.create_directory(&fixture(sealed)).unwrap();
        for segment in log.handle().segments() {
            let path = fixture(sealed).join(segment.path.file_name().unwrap());
            let file = disk.open(&path, env::OpenMode::CreateNew).unwrap();
            file.write_all_at(0, &world.read_file(&segment.path).unwrap()).unwrap();
        }
    }
}
