//! Sealing, recycling and rewriting, step by step.

use crate::{append_one, directory, keyring, open, read_all, small_options};
use env::seeded::{Faults, World};
use env::{Disk, DiskFile, DiskLock, Env, OpenMode};
use eventlog::{Frame, LocalLog, Log, LogError, LogOptions, SealStep, verify};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A spare's name that a crash left on the file of a segment is taken away, not used.
#[test]
fn a_spare_is_never_a_segment() {
    let world = World::new(1, 0);
    let options = small_options(false);
    let (mut log, _) = open(&world.env(), &options);
    let mut expected = vec![append_one(&mut log, 100)];
    let active = log.handle().segments().pop().unwrap();
    let alias = directory().join("log").join("spare-00000000000000000009.seg");
    world.env().disk.hard_link(&active.path, &alias).unwrap();
    drop(log);
    let (mut log, report) = open(&world.env(), &options);
    assert_eq!(report.removed_files, 1);
    for _ in 0..60 {
        expected.push(append_one(&mut log, 100));
    }
    assert_eq!(read_all(&log), expected);
}

/// A reader that stands in an open segment reads on while that is sealed and its successor is written.
#[test]
fn a_slow_reader_keeps_the_old_file() {
    let world = World::new(1, 0);
    // Larger than what a reader reads at once, so that it comes back to the file.
    let options = LogOptions { segment_bytes: 1 << 20, ..small_options(false) };
    let (mut log, _) = open(&world.env(), &options);
    let mut expected: Vec<_> = (0..150).map(|_| append_one(&mut log, 5_000)).collect();
    let mut reader = log.read_from(log.first_position()).unwrap();
    let mut found = vec![reader.next().unwrap().unwrap()];
    for _ in 0..1_000 {
        expected.push(append_one(&mut log, 5_000));
        seal_all(&log);
    }
    while let Some(frame) = reader.next().unwrap() {
        found.push(frame);
        seal_all(&log);
    }
    assert_eq!(found, expected);
}

/// A reader that stands in a sealed segment reads on in whatever takes its place, and learns where it is gone.
#[test]
fn a_reader_reads_on_where_a_sealed_segment_is_replaced() {
    for sealed in [false, true] {
        let world = World::new(1, 0);
        // Segments of several reads each, so that the reader comes back to the file.
        let options = LogOptions { segment_bytes: 1 << 20, block_bytes: 20_000, ..small_options(sealed) };
        let (mut log, _) = open(&world.env(), &options);
        let mut expected = Vec::new();
        let mut body = vec![0; 20_000];
        let mut noise = env::seeded::Seed::new(7);
        while log.handle().segments().len() < 4 {
            body.fill_with(|| noise.next_u64() as u8);
            expected.push(crate::append_body(&mut log, &body));
        }
        seal_all(&log);
        let firsts: Vec<_> = log.handle().segments().iter().map(|segment| segment.first).collect();
        let mut reader = log.read_from(log.first_position()).unwrap();
        let mut found = Vec::new();
        for (index, first) in firsts.iter().take(3).enumerate() {
            while found.last().is_none_or(|frame: &Frame| frame.next().0 < first.0 + 3) {
                found.push(reader.next().unwrap().unwrap());
            }
            // Everything but the first records says less from now on: all that follows lies elsewhere in the file.
            let kept = found.len();
            let erase = &mut |mut frame: Frame| {
                if frame.first.0 >= kept as u64 && frame.first.0 % 3 == index as u64 {
                    frame.body.clear();
                    model::record::encode_record(&mut frame.body, model::record::RecordKind::EVENT, b"");
                }
                frame
            };
            log.handle().rewrite_segment(*first, erase).unwrap();
            expected = expected
                .into_iter()
                .map(|frame| {
                    if frame.first >= *first && frame.first.0 < firsts[index + 1].0 {
                        erase(frame)
                    } else {
                        frame
                    }
                })
                .collect();
        }
        // What was read ahead of the change is still what it was: a reader holds at most one buffer of it.
        while let Some(frame) = reader.next().unwrap() {
            found.push(frame);
        }
        assert_eq!(found.len(), expected.len());
        let differ = found.iter().zip(&expected).filter(|(found, expected)| found != expected).count();
        let ahead = 3 * (256 << 10) / 20_000 + 3;
        assert!(differ <= ahead, "{differ} frames are as they were before: more than were read ahead");
        assert!(found.iter().zip(&expected).all(|(found, expected)| found.first == expected.first));
    }
}

/// A log holds few files open, however long it is.
#[test]
#[expect(clippy::disallowed_methods, reason = "the kernel knows which files are open")]
fn sealed_segments_are_not_held_open() {
    let folder = std::env::temp_dir().join(format!("throughline-open-files-{}", std::process::id()));
    let env = Env::real();
    let (mut log, _) = LocalLog::open(&env, &folder, small_options(false)).unwrap();
    for _ in 0..900 {
        append_one(&mut log, 150);
    }
    let held = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        let links = links.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        links.filter(|link| link.starts_with(&folder)).count()
    };
    let open_before = held();
    seal_all(&log);
    let before = read_all(&log);
    assert!(log.handle().segments().len() > 30);
    assert!(open_before > 30, "{open_before} open files before sealing: the test is void");
    assert!(held() < 8, "{} files are held open", held());
    drop(log);
    let (log, _) = LocalLog::open(&env, &folder, small_options(false)).unwrap();
    assert!(held() < 8, "{} files are held open after a start", held());
    assert_eq!(read_all(&log), before);
    drop(log);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn erasing_leaves_no_trace_and_no_hole() {
    for (sealed, quiet) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = World::new(1, 0);
        let options = small_options(sealed);
        let (mut log, _) = open(&world.env(), &options);
        while log.handle().segments()[0].used_bytes < 3_000 {
            append_one(&mut log, 200);
        }
        let secret = append_secret(&mut log);
        for segments in [2, 3] {
            while log.handle().segments().len() < segments {
                append_one(&mut log, 200);
            }
            // The file that held the secret becomes a spare, and then the segment that is being written.
            seal_all(&log);
        }
        assert_eq!(
            on_disk(&world, SECRET),
            !sealed,
            "the used file does not hold the secret: the test is void"
        );
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
        assert!(matches!(
            handle.rewrite_segment(handle.segments()[0].first, shifted),
            Err(LogError::Rewrite { .. })
        ));
        assert_eq!(read_all(&log), expected, "a refused rewrite changed something");
        let report = handle.rewrite_segment(handle.segments()[0].first, erase).unwrap();
        assert_eq!(report.changed_frames, 1);
        expected[secret.first.0 as usize] = erase(secret.clone());
        assert_eq!(read_all(&log), expected);
        handle.forget_used_files().unwrap();
        assert_eq!(handle.stats().files_to_forget, 1);
        if quiet {
            // The segment in the used file holds records or not: it is left in both cases.
            log.roll().unwrap();
        } else {
            expected.push(append_one(&mut log, 5));
        }
        seal_all(&log);
        assert_eq!(handle.stats().files_to_forget, 0);
        assert!(!on_disk(&world, SECRET));
        drop((log, handle));
        world.crash();
        let (log, _) = open(&world.env(), &options);
        assert_eq!(read_all(&log), expected);
    }
}

/// A write that the disk lost leaves an older version's blocks under a new header: they are whole, in place, and old.
#[test]
fn blocks_of_an_older_version_are_not_taken_for_new_ones() {
    for sealed in [false, true] {
        let world = World::new(1, 0);
        let options = small_options(sealed);
        let (mut log, _) = open(&world.env(), &options);
        for _ in 0..40 {
            append_one(&mut log, 200);
        }
        seal_all(&log);
        let target = log.handle().segments()[0].clone();
        let old = world.read_file(&target.path).unwrap();
        log.handle().rewrite_segment(target.first, &mut |frame| frame).unwrap();
        let mut new = world.read_file(&target.path).unwrap();
        assert_eq!(new.len(), old.len());
        assert_ne!(new, old);
        drop(log);
        new[128..].copy_from_slice(&old[128..]);
        world.write_file(&target.path, &new);
        world.kill();
        let damage = verify(&world.env(), directory(), options.keyring.as_ref()).unwrap().damage.unwrap();
        assert_eq!((damage.segment, damage.offset), (target.path.clone(), 128));
        let (log, _) = open(&world.env(), &options);
        assert!(matches!(log.read_from(target.first).unwrap().next(), Err(LogError::Corrupt { .. })));
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

/// A disk that changes one bit of one write to a new version of a segment, and says nothing.
struct LyingDisk {
    disk: Arc<dyn Disk>,
    lies_in: Arc<AtomicU64>,
}

struct LyingFile {
    file: Arc<dyn DiskFile>,
    lies_in: Arc<AtomicU64>,
}

impl DiskFile for LyingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, buffer)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        if self.lies_in.fetch_sub(1, Ordering::Relaxed) == 0 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        self.file.write_all_at(offset, &bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

impl Disk for LyingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(path, mode)?;
        let new_version =
            path.to_string_lossy().ends_with(".seg.tmp") && !path.to_string_lossy().contains("spare");
        Ok(if new_version { Arc::new(LyingFile { file, lies_in: Arc::clone(&self.lies_in) }) } else { file })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_directory(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_bytes(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.disk.lock(path)
    }
}

/// What was written is read back before the old version goes: a disk that lies costs a sealed segment, no record.
#[test]
fn a_new_version_that_reads_back_wrong_is_thrown_away() {
    let mut caught = 0;
    for number in 0..10 {
        let world = World::new(1, 0);
        let lies_in = Arc::new(AtomicU64::new(number));
        let disk = Arc::new(LyingDisk { disk: world.env().disk, lies_in });
        let env = Env { disk, ..world.env() };
        let options = small_options(number % 2 == 0);
        let (mut log, _) = open(&env, &options);
        let expected: Vec<_> = (0..40).map(|_| append_one(&mut log, 200)).collect();
        for _ in 0..50 {
            match log.handle().seal_step() {
                Ok(_) => {}
                Err(LogError::Corrupt { .. }) => caught += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(log.handle().seal_step().unwrap(), SealStep::Idle, "a segment that fails is left alone");
        assert_eq!(read_all(&log), expected);
        drop(log);
        let (log, _) = open(&world.env(), &options);
        assert_eq!(read_all(&log), expected);
    }
    assert_eq!(caught, 10);
}
