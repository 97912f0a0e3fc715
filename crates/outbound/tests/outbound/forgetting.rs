//! Lines that leave finished files, on the seeded disk: whatever happens, other people's lines stay where they were, a
//! file keeps its name, and when it is said to be done nothing is left of the one who is forgotten.

use delivery::env::seeded::{Faults, Seed, World};
use outbound::ndjson::{FileError, Goes, NdjsonConfig, Writer, forget_at_rest, forget_finished, names};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More with `OUTBOUND_SEEDS=100000`.
const SEEDS: u64 = 1_000;

fn folder() -> PathBuf {
    PathBuf::from("/data/files")
}

/// Finished files, and lines of all of them, the one in progress included.
fn read(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut files = BTreeMap::new();
    for name in world.env().disk.list(&folder()).unwrap() {
        if name.ends_with(".ndjson") || name.ends_with(".part") {
            let text = String::from_utf8(world.read_file(&folder().join(&name)).unwrap()).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'), "half a line in {name}");
            files.insert(name, text.lines().map(str::to_owned).collect());
        }
    }
    files
}

fn random_faults(seed: &mut Seed) -> Faults {
    let at = seed.below(8);
    match seed.below(6) {
        0 | 1 => Faults { power_off_at_write: Some(at), ..Faults::default() },
        2 => Faults { fail_sync: Some(at), ..Faults::default() },
        3 => Faults { fail_write: Some(at), ..Faults::default() },
        4 => Faults { fail_read: Some(at), ..Faults::default() },
        _ => Faults::default(),
    }
}

/// Lines about persons 0 to 3 in several files, the last one perhaps in progress.
fn written(world: &World, seed: &mut Seed) -> Vec<String> {
    let config = NdjsonConfig { file_bytes_max: 1 + seed.below(300), ..NdjsonConfig::new(folder(), "out") };
    let mut writer = Writer::open(&world.env().disk, config, 0).unwrap();
    let mut all = Vec::new();
    for number in 0..seed.below(60) {
        let filler = "x".repeat(seed.below(40) as usize);
        let line = format!("{{\"n\":{number},\"who\":{},\"p\":\"{filler}\"}}", seed.below(4));
        writer.append([line.as_bytes()].into_iter(), 0).unwrap();
        all.push(line);
    }
    all
}

#[test]
fn who_is_forgotten_leaves_every_file_and_others_stay_whatever_happens() {
    let seeds = std::env::var("OUTBOUND_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let (mut gone, mut failed, mut crashed, mut emptied) = (0, 0, 0, 0);
    for number in 0..seeds {
        let mut seed = Seed::new(number.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let world = World::new(number, 0);
        let all = written(&world, &mut seed);
        let others: Vec<&String> = all.iter().filter(|line| !line.contains("\"who\":2")).collect();
        let goes: Goes = Arc::new(|line| line.windows(7).any(|window| window == b"\"who\":2"));
        loop {
            world.set_faults(if seed.one_in(3) { Faults::default() } else { random_faults(&mut seed) });
            let before: Vec<String> =
                read(&world).into_keys().filter(|name| name.ends_with("ndjson")).collect();
            let done = forget_at_rest(&world.env().disk, &folder(), "out", &goes);
            if world.is_off() || done.is_err() && seed.one_in(2) {
                crashed += 1;
                if world.is_off() || seed.one_in(2) { world.crash() } else { world.kill() }
            }
            world.set_faults(Faults::default());
            let after = read(&world);
            let kept: Vec<&String> = after.values().flatten().filter(|line| !goes(line.as_bytes())).collect();
            assert_eq!(kept, others, "seed {number}: lines of others changed");
            assert!(
                before.iter().all(|name| after.contains_key(name)),
                "seed {number}: a file lost its name"
            );
            match done {
                Ok(done) if !world.is_off() => {
                    assert!(after.values().flatten().all(|line| !goes(line.as_bytes())), "seed {number}");
                    let leftover = world.env().disk.list(&folder()).unwrap();
                    assert!(leftover.iter().all(|name| !name.ends_with(".next")), "seed {number}");
                    gone += done.lines;
                    let finished =
                        after.iter().filter(|(name, lines)| name.ends_with("ndjson") && lines.is_empty());
                    emptied += finished.count();
                    break;
                }
                Ok(_) => {}
                Err(_) => failed += 1,
            }
        }
    }
    eprintln!("{gone} lines gone, {failed} failures, {crashed} crashes, {emptied} files emptied");
    assert!(gone >= 20 && failed >= 20 && crashed >= 20 && emptied >= 20);
}

#[test]
fn names_are_kept_apart_and_a_file_in_use_is_left_to_its_writer() {
    let world = World::new(1, 0);
    let disk = world.env().disk;
    let mut writers = Vec::new();
    for name in ["out", "out-2", "other"] {
        let config = NdjsonConfig { file_bytes_max: 1, ..NdjsonConfig::new(folder(), name) };
        let mut writer = Writer::open(&disk, config, 0).unwrap();
        writer.append([&b"{\"a\":1}"[..]].into_iter(), 0).unwrap();
        writers.push(writer);
    }
    assert_eq!(names(&*disk, &folder()).unwrap().into_iter().collect::<Vec<_>>(), ["other", "out", "out-2"]);
    assert!(names(&*disk, Path::new("/nowhere")).unwrap().is_empty());
    let all: Goes = Arc::new(|_| true);
    let done = forget_finished(&*disk, &folder(), "out", &all).unwrap();
    assert_eq!((done.files, done.rewritten, done.lines), (1, 1, 1));
    for (file, bytes) in [("out", 0), ("out-2", 8), ("other", 8)] {
        let path = folder().join(format!("{file}-0000000000.ndjson"));
        assert_eq!(world.read_file(&path).unwrap().len(), bytes, "{file}");
    }
    // A file in progress belongs to whoever writes it.
    let mut busy = Writer::open(&disk, NdjsonConfig::new(folder(), "busy"), 0).unwrap();
    busy.append([&b"{}"[..]].into_iter(), 0).unwrap();
    assert!(matches!(forget_at_rest(&disk, &folder(), "busy", &all), Err(FileError::Locked { .. })));
}
