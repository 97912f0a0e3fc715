//! How fast the disk of the data makes things durable, and how much room it has.

use super::{Finding, shown_bytes};
use crate::config::Config;
use crate::serve::DataDirectory;
use engine::recovery::STATE_FOLDER;
use env::Env;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the disk is measured.
const MEASURED: Duration = Duration::from_secs(1);
/// A small append.
const WRITE_BYTES: usize = 4_096;
/// The file is written in advance, as segments of the log are, so that no write makes it longer.
const FILE_BYTES: usize = 4 << 20;
/// Samples beyond this say nothing new.
const SAMPLES_MAX: usize = 100_000;
/// Every answer waits for one sync: slower than this and people notice.
const P99_WARN: Duration = Duration::from_millis(50);
/// Slower than this and clients give up.
const P99_FAIL: Duration = Duration::from_millis(500);
/// No medium that keeps its data without power answers faster; one with a protected cache may.
const P50_TOO_FAST: Duration = Duration::from_micros(15);
/// Segments that the log prepares in advance, and the open one.
const SEGMENTS_AHEAD: u64 = 4;

/// How long syncs take.
pub(super) fn speed(env: &Env, directory: &DataDirectory) -> Finding {
    const CHECK: &str = "disk speed";
    let place = existing(env, directory.path());
    let mut samples = match measure(&place) {
        Ok(samples) if !samples.is_empty() => samples,
        outcome => {
            let why = outcome.err().map_or_else(|| "no sync came back".to_owned(), |error| error.to_string());
            let found = format!("nothing can be written in {} ({why})", place.display());
            return Finding::fail(CHECK, found, "Check the path, its owner and the file system.");
        }
    };
    samples.sort_unstable();
    judged(CHECK, quantile(&samples, 50), quantile(&samples, 99), samples.len(), &place)
}

fn judged(check: &'static str, p50: Duration, p99: Duration, count: usize, place: &Path) -> Finding {
    let shown = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    let found = format!("{count} syncs in {}: p50 {}, p99 {}", place.display(), shown(p50), shown(p99));
    if p99 > P99_FAIL {
        Finding::fail(
            check,
            found,
            "Every answer waits for a sync: put the data on another disk (local NVMe or SSD).",
        )
    } else if p99 > P99_WARN {
        Finding::warn(
            check,
            found,
            "Every answer waits for a sync: look for what else writes here, or use a faster disk.",
        )
    } else if p50 < P50_TOO_FAST {
        let advice = "That is faster than most disks: make sure that this is no memory (tmpfs) and no cache that loses \
                      its content with the power.";
        Finding::warn(check, found, advice)
    } else {
        Finding::ok(check, found)
    }
}

/// How much room there is.
pub(super) fn space(env: &Env, config: &Config, directory: &DataDirectory) -> Finding {
    const CHECK: &str = "free space";
    let place = existing(env, directory.path());
    let free = match env.disk.free_bytes(&place) {
        Ok(free) => free,
        Err(error) => {
            let found = format!("{} does not say ({error})", place.display());
            return Finding::warn(CHECK, found, "Watch the free space by other means.");
        }
    };
    // A merge writes the state a second time before it removes the first.
    let state_bytes = bytes_in(&directory.path().join(STATE_FOLDER));
    let ahead_bytes = SEGMENTS_AHEAD.saturating_mul(config.log.segment_bytes);
    let found = format!("{} free in {}", shown_bytes(free), place.display());
    if free < 2 * config.log.segment_bytes {
        let advice =
            "There is no room for the next segments of the log: free some space now, or events are refused.";
        Finding::fail(CHECK, found, advice)
    } else if free < ahead_bytes.saturating_add(state_bytes) {
        let needed = shown_bytes(ahead_bytes.saturating_add(state_bytes));
        let advice =
            format!("Make room: the log's next segments and a merge of the state may need {needed}.");
        Finding::warn(CHECK, found, advice)
    } else {
        Finding::ok(CHECK, found)
    }
}

/// The directory, or the nearest one above it that is there.
fn existing(env: &Env, path: &Path) -> PathBuf {
    let above = path.ancestors().find(|place| !place.as_os_str().is_empty() && env.disk.exists(place));
    above.unwrap_or(Path::new(".")).to_owned()
}

/// Times of small writes with a sync each.
fn measure(place: &Path) -> io::Result<Vec<Duration>> {
    // A file without a name: nothing is left, whatever happens.
    let opened =
        rustix::fs::open(place, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    let file = File::from(opened);
    file.write_all_at(&vec![1; FILE_BYTES], 0)?;
    file.sync_all()?;
    let (bytes, begun) = (vec![2; WRITE_BYTES], Instant::now());
    let mut samples = Vec::new();
    while begun.elapsed() < MEASURED && samples.len() < SAMPLES_MAX {
        let offset = samples.len() % (FILE_BYTES / WRITE_BYTES) * WRITE_BYTES;
        let started = Instant::now();
        file.write_all_at(&bytes, offset as u64)?;
        file.sync_data()?;
        samples.push(started.elapsed());
    }
    Ok(samples)
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default()
}

/// Bytes of the files of a folder; 0 where it cannot be read.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        for (percent, wanted) in [(50, 100), (99, 198), (100, 200), (1, 2)] {
            assert_eq!(quantile(&times, percent), Duration::from_millis(wanted), "{percent}");
        }
        assert_eq!(quantile(&times[..1], 50), times[0]);
        assert_eq!(quantile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn slow_disks_and_such_as_are_none_are_told() {
        for (p50_us, p99_us, verdict) in [
            (200, 900, Verdict::Ok),
            (5_000, 50_000, Verdict::Ok),
            (5_000, 50_001, Verdict::Warn),
            (5_000, 500_001, Verdict::Fail),
            (14, 100, Verdict::Warn),
        ] {
            let (p50, p99) = (Duration::from_micros(p50_us), Duration::from_micros(p99_us));
            assert_eq!(judged("x", p50, p99, 1, Path::new("/")).verdict, verdict, "{p50_us} {p99_us}");
        }
    }
}
