//! What the disk is like, and what the events take on it.

use super::Run;
use crate::process::ServerProcess;
use anyhow::Context as _;
use env::Env;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Syncs that the probe takes.
const PROBE_SYNCS: usize = 200;
const PROBE_BYTES: usize = 4_096;
/// How long the background may take to seal what was written.
const SEALING_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is looked at.
const SEALING_LOOK: Duration = Duration::from_secs(1);

/// A disk as it was before the run.
pub(super) struct Disk {
    pub(super) filesystem: String,
    pub(super) sync_p50_us: u64,
    pub(super) sync_p99_us: u64,
}

/// Syncs blocks of 4 KiB one after the other.
pub(super) fn probe(folder: &Path) -> anyhow::Result<Disk> {
    let path = folder.join("probe.tmp");
    let mut times_us = Vec::with_capacity(PROBE_SYNCS);
    let mut file =
        std::fs::File::create(&path).with_context(|| format!("{} cannot be made", path.display()))?;
    for _ in 0..PROBE_SYNCS {
        let started = Instant::now();
        file.write_all(&[7; PROBE_BYTES])?;
        file.sync_data()?;
        times_us.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    std::fs::remove_file(&path)?;
    times_us.sort_unstable();
    let at = |permille: usize| times_us.get(PROBE_SYNCS * permille / 1_000).copied().unwrap_or_default();
    Ok(Disk { filesystem: filesystem_of(folder), sync_p50_us: at(500), sync_p99_us: at(990) })
}

/// Type and device of the file system that holds a folder.
fn filesystem_of(folder: &Path) -> String {
    let (Ok(folder), Ok(mounts)) = (folder.canonicalize(), std::fs::read_to_string("/proc/mounts")) else {
        return String::new();
    };
    let mut best = (0, String::new());
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(point), Some(kind)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if folder.starts_with(point) && point.len() >= best.0 {
            best = (point.len(), format!("{kind} on {device}"));
        }
    }
    best.1
}

/// Processor time of this thread.
pub(in crate::bench) fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

impl Run<'_> {
    /// What a sealed event takes; waits until the background has sealed all that is full.
    pub(super) fn disk(&mut self, server: &ServerProcess) -> anyhow::Result<()> {
        self.progress.step("the log is sealed");
        let env = Env::real();
        let started = Instant::now();
        let summary = loop {
            let summary = eventlog::inspect(&env, server.data(), None)?;
            let waiting = summary.segments.iter().rev().skip(1).filter(|segment| !segment.sealed).count();
            if waiting == 0 || started.elapsed() > SEALING_TIMEOUT {
                self.report.detail("segments_waiting_to_be_sealed", "", waiting as f64);
                break summary;
            }
            std::thread::sleep(SEALING_LOOK);
        };
        let (mut records, mut file_bytes, mut body_bytes) = (0, 0, 0);
        for segment in summary.segments.iter().filter(|segment| segment.sealed) {
            records += segment.next.0 - segment.first.0;
            file_bytes += segment.file_bytes;
            body_bytes += segment.body_bytes;
        }
        if records > 0 {
            self.report.goal("disk_per_event_sealed", file_bytes as f64 / records as f64);
            self.report.detail("disk_per_event_plain", "B", body_bytes as f64 / records as f64);
        }
        let state = size_of_folder(&server.data().join(engine::recovery::STATE_FOLDER))?;
        self.report.detail("checkpoints_per_profile", "B", state as f64 / self.args.people as f64);
        Ok(())
    }
}

/// Bytes of the files of a folder. A file that goes meanwhile counts nothing.
fn size_of_folder(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        bytes += entry?.metadata().map_or(0, |data| data.len());
    }
    Ok(bytes)
}
