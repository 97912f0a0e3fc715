//! File destinations on the seeded disk: whatever happens, what was acknowledged is there, whole lines in order, and a
//! finished file never changes.

use delivery::env::Env;
use delivery::env::seeded::{Faults, Seed, World};
use outbound::ndjson::{FileError, Ndjson, NdjsonConfig, NdjsonError, Writer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// More with `OUTBOUND_SEEDS=100000`.
const SEEDS: u64 = 2_000;
const STEPS: u64 = 60;

#[derive(Default, Debug)]
struct Seen {
    batches: u64,
    failures: u64,
    crashes: u64,
    failed_opens: u64,
    finished: u64,
    too_many: u64,
    repeated: u64,
}

struct Life {
    seed: Seed,
    world: World,
    config: NdjsonConfig,
    writer: Option<Writer>,
    acknowledged: Vec<u64>,
    next: u64,
    now_ms: u64,
    /// Finished files as they were first seen, taken away or not.
    finished: BTreeMap<String, Vec<u8>>,
    /// Lines of files that were taken away.
    taken: Vec<(String, Vec<u8>)>,
}

fn folder() -> PathBuf {
    PathBuf::from("/data/files")
}

impl Life {
    fn new(number: u64) -> Self {
        let mut seed = Seed::new(number.wrapping_mul(0x5851_F42D_4C95_7F2D));
        let config = NdjsonConfig {
            file_bytes_max: 1 + seed.below(400),
            file_age_max_ms: 1 + seed.below(5_000),
            files_max: 1 + seed.below(12) as usize,
            ..NdjsonConfig::new(folder(), "out")
        };
        Self {
            world: World::new(number, 0),
            config,
            writer: None,
            acknowledged: Vec::new(),
            next: 0,
            now_ms: 0,
            finished: BTreeMap::new(),
            taken: Vec::new(),
            seed,
        }
    }

    fn open(&mut self, seen: &mut Seen) {
        if self.seed.one_in(3) {
            self.faults();
        }
        loop {
            let disk = self.world.env().disk;
            match Writer::open(&disk, self.config.clone(), self.now_ms) {
                Ok(writer) => {
                    self.writer = Some(writer);
                    break;
                }
                Err(_) => {
                    seen.failed_opens += 1;
                    self.world.set_faults(Faults::default());
                    self.stop();
                }
            }
        }
        self.check(seen);
    }

    fn faults(&mut self) {
        let at = self.seed.below(5);
        let capacity = self.seed.below(3_000);
        let mut faults = Faults::default();
        match self.seed.below(6) {
            0 | 1 => faults.power_off_at_write = Some(at),
            2 => faults.fail_sync = Some(at),
            3 => faults.fail_write = Some(at),
            4 => faults.fail_read = Some(at),
            _ => faults.capacity_bytes = Some(capacity),
        }
        self.world.set_faults(faults);
    }

    fn stop(&mut self) {
        self.writer = None;
        if self.world.is_off() || self.seed.one_in(2) { self.world.crash() } else { self.world.kill() }
    }

    fn append(&mut self, seen: &mut Seen) {
        let count = 1 + self.seed.below(5);
        let numbers: Vec<u64> = (self.next..self.next + count).collect();
        let lines: Vec<String> = numbers
            .iter()
            .map(|number| format!("{{\"n\":{number},\"p\":\"{}\"}}", "x".repeat(*number as usize % 50)))
            .collect();
        let Some(writer) = &mut self.writer else { return };
        seen.batches += 1;
        match writer.append(lines.iter().map(String::as_bytes), self.now_ms) {
            Ok(()) => {
                self.acknowledged.extend(numbers);
                self.next += count;
            }
            Err(FileError::TooManyFiles { count, limit }) => {
                assert!(count >= limit);
                seen.too_many += 1;
            }
            // The same lines come again with the next batch.
            Err(_) => seen.failures += 1,
        }
    }

    fn step(&mut self, seen: &mut Seen) {
        self.now_ms += self.seed.below(500);
        match self.seed.below(14) {
            0..8 => self.append(seen),
            8 => self.faults(),
            9 | 10 => self.world.set_faults(Faults::default()),
            11 => {
                let stopping = self.seed.one_in(2);
                if let Some(writer) = &mut self.writer {
                    let _ = writer.tend(self.now_ms, stopping);
                }
            }
            12 => self.take_away(),
            _ => {
                seen.crashes += 1;
                self.stop();
                self.open(seen);
            }
        }
        if self.world.is_off() {
            seen.crashes += 1;
            self.stop();
            self.open(seen);
        }
    }

    /// Somebody carries a finished file away.
    fn take_away(&mut self) {
        let disk = self.world.env().disk;
        let Ok(names) = disk.list(&folder()) else { return };
        let Some(name) = names.iter().find(|name| name.ends_with(".ndjson")) else { return };
        let bytes = self.world.read_file(&folder().join(name)).unwrap();
        if disk.remove(&folder().join(name)).is_ok() && disk.sync_directory(&folder()).is_ok() {
            self.taken.push((name.clone(), bytes));
        }
    }

    /// Reads everything back as a consumer would.
    fn check(&mut self, seen: &mut Seen) {
        let disk = self.world.env().disk;
        let mut files: Vec<(String, Vec<u8>)> = self.taken.clone();
        for name in disk.list(&folder()).unwrap() {
            if let Some(bytes) =
                self.world.read_file(&folder().join(&name)).filter(|_| !name.ends_with("lock"))
            {
                files.push((name, bytes));
            }
        }
        files.sort();
        let mut numbers = Vec::new();
        for (name, bytes) in files {
            let text = String::from_utf8(bytes.clone()).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'), "half a line in {name}");
            for line in text.lines() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                numbers.push(value["n"].as_u64().unwrap());
            }
            if !name.ends_with("part") {
                assert!(!text.is_empty());
                let before = self.finished.entry(name.clone()).or_insert_with(|| {
                    seen.finished += 1;
                    bytes.clone()
                });
                assert_eq!(*before, bytes, "{name} has changed");
            }
        }
        // First occurrences are in order and without a gap; what was not acknowledged may come twice.
        let mut expected = 0;
        for number in numbers {
            if number < expected {
                seen.repeated += 1;
                continue;
            }
            assert_eq!(number, expected, "a line is missing");
            expected += 1;
        }
        assert!(expected >= self.acknowledged.len() as u64, "acknowledged lines are lost");
    }
}

#[test]
fn acknowledged_lines_survive_whatever_happens() {
    let mut seen = Seen::default();
    let seeds = std::env::var("OUTBOUND_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for number in 0..seeds {
        let run = std::panic::catch_unwind(|| {
            let mut life = Life::new(number);
            let mut seen = Seen::default();
            life.open(&mut seen);
            for _ in 0..STEPS {
                life.step(&mut seen);
            }
            life.stop();
            life.world.set_faults(Faults::default());
            life.open(&mut seen);
            seen
        });
        let one = run.unwrap_or_else(|_| panic!("seed {number} failed, see above"));
        seen.batches += one.batches;
        seen.failures += one.failures;
        seen.crashes += one.crashes;
        seen.failed_opens += one.failed_opens;
        seen.finished += one.finished;
        seen.too_many += one.too_many;
        seen.repeated += one.repeated;
    }
    eprintln!("{seen:?}");
    let every = [
        seen.batches,
        seen.failures,
        seen.crashes,
        seen.failed_opens,
        seen.finished,
        seen.too_many,
        seen.repeated,
    ];
    assert!(every.iter().all(|count| *count >= 20), "a case is hardly met any more: {seen:?}");
}

#[test]
fn lines_with_breaks_are_refused_and_two_writers_keep_apart() {
    let world = World::new(1, 0);
    let disk = world.env().disk;
    let mut writer = Writer::open(&disk, NdjsonConfig::new(folder(), "out"), 0).unwrap();
    let error = writer.append([&b"a"[..], b"b\nc"].into_iter(), 0).unwrap_err();
    assert_eq!(error.code(), "not_a_line");
    assert_eq!(world.read_file(Path::new("/data/files/out-0000000000.ndjson.part")), Some(Vec::new()));
    assert_eq!(
        Writer::open(&disk, NdjsonConfig::new(folder(), "out"), 0).err().unwrap().code(),
        "folder_locked"
    );
    assert!(Writer::open(&disk, NdjsonConfig::new(folder(), "other"), 0).is_ok());
}

#[test]
fn configuration_that_cannot_work_is_refused() {
    let good = NdjsonConfig::new("/data/files", "out");
    let table = [
        ("folder", NdjsonConfig { folder: PathBuf::new(), ..good.clone() }),
        ("name", NdjsonConfig { name: String::new(), ..good.clone() }),
        ("name", NdjsonConfig { name: "../out".to_owned(), ..good.clone() }),
        ("file_bytes_max", NdjsonConfig { file_bytes_max: 0, ..good.clone() }),
        ("file_age_max_ms", NdjsonConfig { file_age_max_ms: 0, ..good.clone() }),
        ("files_max", NdjsonConfig { files_max: 0, ..good.clone() }),
    ];
    for (field, config) in table {
        let error = Ndjson::open(&World::new(1, 0).env(), config).err().unwrap();
        assert!(matches!(&error, NdjsonError::Config(error) if error.field == field), "{error}");
        assert_eq!(error.code(), "bad_destination");
    }
    assert!(Ndjson::open(&World::new(1, 0).env(), good).is_ok());
}

/// Also on a real disk, so that the seeded one is not all that is believed.
#[test]
fn files_are_finished_on_a_real_disk() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ndjson");
    let disk = Env::real().disk;
    for name in disk.list(&folder).unwrap_or_default() {
        disk.remove(&folder.join(name)).unwrap();
    }
    let config = NdjsonConfig { file_bytes_max: 10, ..NdjsonConfig::new(&folder, "out") };
    let mut writer = Writer::open(&disk, config.clone(), 0).unwrap();
    for line in [&b"{\"n\":1}"[..], b"{\"n\":2}", b"{\"n\":3}"] {
        writer.append([line].into_iter(), 0).unwrap();
    }
    drop(writer);
    let names = disk.list(&folder).unwrap();
    assert_eq!(names, ["out-0000000000.ndjson", "out-0000000001.ndjson.part", "out.ndjson.lock"]);
    let mut writer = Writer::open(&disk, config, 0).unwrap();
    writer.tend(0, true).unwrap();
    let names = disk.list(&folder).unwrap();
    assert_eq!(
        names,
        ["out-0000000000.ndjson", "out-0000000001.ndjson", "out-0000000002.ndjson.part", "out.ndjson.lock"]
    );
}
