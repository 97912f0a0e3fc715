//! Measures the store on the real disk: `bench_store rows DIR [MILLIONS]`, `bench_store read DIR`,
//! `bench_store ids DIR [MILLIONS]`, `bench_store reopen-ids DIR`. To measure cold reads, drop the files of DIR from
//! the page cache between `rows` and `read` (`dd if=FILE iflag=nocache count=0` for each).
//!
//! CPU is that of the measuring thread, which does all the work.
#![allow(clippy::print_stdout, reason = "printing is what a bench is for")]

use env::seeded::Seed;
use env::{Env, OpenMode};
use model::id::{Key, Position, Term, Timestamp};
use std::path::Path;
use std::sync::Arc;
use store::{
    CheckpointMeta, Chunk, DedupOptions, DedupWindow, Hint, LocalObjects, Store, StoreError, StoreOptions,
    TableId,
};

const ROW_BYTES: usize = 300;
const CHECKPOINT_ROWS: u64 = 200_000;
const READS: u64 = 20_000;
const TABLE: TableId = TableId(1);
/// Ids between two checkpoints of the window.
const INTERVAL_IDS: u64 = 1_000_000;
const HOUR_US: i64 = 3_600_000_000;

fn main() -> Result<(), StoreError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |number: usize| arguments.get(number).map(String::as_str);
    let millions = argument(2).and_then(|text| text.parse::<u64>().ok());
    let bench = Bench { env: Env::real() };
    let folder = Path::new(argument(1).unwrap_or("/tmp/bench-store"));
    match argument(0) {
        Some("rows") => bench.rows(folder, millions.unwrap_or(10) * 1_000_000),
        Some("read") => bench.read(folder),
        Some("ids") => bench.ids(folder, millions.unwrap_or(50) * 1_000_000),
        Some("reopen-ids") => bench.reopen_ids(folder),
        _ => {
            println!("usage: bench_store rows|read|ids|reopen-ids DIR [MILLIONS]");
            Ok(())
        }
    }
}

struct Bench {
    env: Env,
}

/// A point in wall and CPU time, in nanoseconds.
#[derive(Clone, Copy)]
struct Moment {
    wall: u64,
    cpu: u64,
}

fn spread(number: u64) -> Key {
    let mut seed = Seed::new(number);
    Key(u128::from(seed.next_u64()) << 64 | u128::from(seed.next_u64()))
}

impl Bench {
    fn now(&self) -> Moment {
        let mut raw = [0; 64];
        let file = self.env.disk.open(Path::new("/proc/thread-self/schedstat"), OpenMode::Read);
        let read = file.and_then(|file| file.read_at(0, &mut raw)).unwrap_or(0);
        let text = std::str::from_utf8(raw.get(..read).unwrap_or_default()).unwrap_or_default();
        let cpu = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Moment { wall: self.env.clock.monotonic_ns(), cpu }
    }

    fn report(&self, what: &str, count: u64, since: Moment) {
        let now = self.now();
        let (wall, cpu) = ((now.wall - since.wall) as f64, (now.cpu - since.cpu) as f64);
        let rate = count as f64 * 1e9 / wall;
        println!(
            "{what}: {count} in {:.2} s, {rate:.0}/s, {:.3} µs CPU each",
            wall / 1e9,
            cpu / count as f64 / 1e3
        );
    }

    fn open(&self, folder: &Path) -> Result<Store, StoreError> {
        let objects = Arc::new(LocalObjects::open(&self.env, folder)?);
        let bucket_us = 4 * HOUR_US;
        let dedup = DedupOptions { bucket_us, ..DedupOptions::default() };
        Ok(Store::open(objects, StoreOptions { dedup, ..StoreOptions::default() })?.0)
    }

    fn rows(&self, folder: &Path, count: u64) -> Result<(), StoreError> {
        let store = self.open(folder)?;
        let (mut commits, mut preparing) = (Vec::new(), 0);
        let start = self.now();
        for first in (0..count).step_by(CHECKPOINT_ROWS as usize) {
            let before = self.now();
            let mut chunk = Chunk::default();
            let mut value = [0; ROW_BYTES];
            for number in first..first + CHECKPOINT_ROWS {
                for (to, from) in value.iter_mut().zip(number.to_le_bytes()) {
                    *to = from;
                }
                assert!(chunk.put(TABLE, spread(number), &value));
            }
            let begun = self.now();
            preparing += begun.cpu - before.cpu;
            let mut writer = store.checkpoint()?;
            writer.add(chunk)?;
            writer.commit(CheckpointMeta {
                position: Position(first + 1),
                term: Term(1),
                ..CheckpointMeta::default()
            })?;
            commits.push(self.now().wall - begun.wall);
        }
        println!("(of the CPU below, {:.3} µs each made the rows)", preparing as f64 / count as f64 / 1e3);
        self.report("checkpoints", count, start);
        quantiles("commit of 200,000 rows, ms", &mut commits, 1e6);
        let start = self.now();
        while store.merge_step(64 << 20)? {}
        self.report("merges", count, start);
        println!("{:?}", store.stats());
        Ok(())
    }

    fn read(&self, folder: &Path) -> Result<(), StoreError> {
        let start = self.now();
        let store = self.open(folder)?;
        let stats = store.stats();
        self.report("open, entries", stats.entries.max(1), start);
        println!("{stats:?}");
        let source = store.source();
        let mut seed = Seed::new(99);
        for what in ["present, first pass", "present, again", "absent"] {
            let mut times = Vec::new();
            let mut found = 0_u64;
            let pass = if what == "present, again" { Seed::new(99) } else { seed.clone() };
            let mut numbers = pass;
            for _ in 0..READS {
                let number = numbers.below(stats.entries);
                let key = if what == "absent" { spread(number + (1 << 60)) } else { spread(number) };
                let before = self.env.clock.monotonic_ns();
                found += u64::from(source.read(TABLE, key)?.is_some());
                times.push(self.env.clock.monotonic_ns() - before);
            }
            seed.next_u64();
            quantiles(&format!("read {what} ({found} of {READS} found), µs"), &mut times, 1e3);
        }
        let start = self.now();
        let scanned = store.scan(TABLE).try_fold(0_u64, |count, row| row.map(|_| count + 1))?;
        self.report("scan", scanned, start);
        Ok(())
    }

    fn commit_ids(&self, store: &Store, window: &mut DedupWindow, position: u64) -> Result<u64, StoreError> {
        let before = self.env.clock.monotonic_ns();
        let interval = window.begin_checkpoint();
        let pause = self.env.clock.monotonic_ns() - before;
        let mut writer = store.checkpoint()?;
        writer.add_dedup(interval);
        writer.commit(CheckpointMeta {
            position: Position(position),
            term: Term(1),
            ..CheckpointMeta::default()
        })?;
        while store.merge_step(64 << 20)? {}
        Ok(pause)
    }

    /// Fills a window evenly over 24 hours of log time, then measures new and repeated ids.
    fn ids(&self, folder: &Path, count: u64) -> Result<(), StoreError> {
        let store = self.open(folder)?;
        let mut window = store.dedup_window()?;
        let at = |number: u64| Timestamp((number as i64).saturating_mul(23 * HOUR_US / count as i64));
        let (start, mut pauses) = (self.now(), Vec::new());
        for number in 0..count {
            assert!(!window.check_and_insert(spread(number), at(number))?);
            if number % INTERVAL_IDS == INTERVAL_IDS - 1 {
                pauses.push(self.commit_ids(&store, &mut window, number)?);
            }
        }
        self.report("fill, with checkpoints and merges", count, start);
        quantiles("begin_checkpoint, ms", &mut pauses, 1e6);
        self.measure_ids(&store, &mut window, count)
    }

    fn measure_ids(&self, store: &Store, window: &mut DedupWindow, first: u64) -> Result<(), StoreError> {
        println!(
            "{} live ids, {} MB of filters, {:?}",
            window.live_ids(),
            window.filter_bytes() >> 20,
            store.stats()
        );
        let at = Timestamp(23 * HOUR_US + HOUR_US / 2);
        let ids: Vec<Key> = (first..first + INTERVAL_IDS).map(|number| spread(number + (1 << 50))).collect();
        let start = self.now();
        let mut hints = Vec::with_capacity(ids.len());
        window.reader().confirm(&ids, &mut hints)?;
        self.report("confirm outside the writer, new ids", INTERVAL_IDS, start);
        let (half, other) = ids.split_at(ids.len() / 2);
        // The sets of the interval are as large as they will be.
        for number in 0..INTERVAL_IDS {
            window.check_and_insert(spread(first + number + (1 << 51)), at)?;
        }
        let start = self.now();
        for (id, hint) in half.iter().zip(&hints) {
            window.check_and_insert_hinted(*id, at, *hint)?;
        }
        self.report("new id, hinted", half.len() as u64, start);
        let start = self.now();
        for id in other {
            window.check_and_insert_hinted(*id, at, Hint::Unknown)?;
        }
        self.report("new id, without hint", other.len() as u64, start);
        let mut slowest = Vec::new();
        let known: Vec<Key> = (0..100_000).map(|number| spread(number * 397)).collect();
        let start = self.now();
        let mut seen = 0_u64;
        for id in &known {
            let before = self.env.clock.monotonic_ns();
            seen += u64::from(window.check_and_insert(*id, at)?);
            slowest.push(self.env.clock.monotonic_ns() - before);
        }
        self.report(&format!("filed id ({seen} seen)"), known.len() as u64, start);
        quantiles("filed id, µs", &mut slowest, 1e3);
        Ok(())
    }

    fn reopen_ids(&self, folder: &Path) -> Result<(), StoreError> {
        let start = self.now();
        let store = self.open(folder)?;
        let mut window = store.dedup_window()?;
        self.report("open and build the filters, ids", window.live_ids().max(1), start);
        let live = window.live_ids();
        self.measure_ids(&store, &mut window, live + (1 << 40))
    }
}

fn quantiles(what: &str, nanoseconds: &mut [u64], unit: f64) {
    nanoseconds.sort_unstable();
    let at = |permille: usize| {
        let last = nanoseconds.len().saturating_sub(1);
        nanoseconds.get(last * permille / 1000).copied().unwrap_or(0) as f64 / unit
    };
    println!("{what}: p50 {:.2}, p99 {:.2}, max {:.2}", at(500), at(990), at(1000));
}
