//! What the machine allows: time, files, memory.

use super::{Finding, shown_bytes};
use crate::calendar::{MINUTE_US, iso};
use crate::config::Config;
use env::Env;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::Path;

/// A clock that shows an earlier time was never set: 2025-01-01.
const EARLIEST_US: i64 = 1_735_689_600_000_000;
/// And one that shows a later one was set wrongly: 2100-01-01.
const LATEST_US: i64 = 4_102_444_800_000_000;
/// Wall clock and monotonic clock may part by so much in the second that they are watched.
const PARTING_US: i64 = 50_000;
/// Files that a server has open beside its connections: segments, runs, the feed, libraries.
const FILES_BESIDE: u64 = 1_024;
/// Fewer open files than this and even an idle server stumbles.
const FILES_LEAST: u64 = 1_024;
/// `/proc` and `/sys` files are short.
const KERNEL_FILE_BYTES_MAX: usize = 64 << 10;
/// What programs that set the clock leave behind once they have.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
const CLOCK_DAEMONS: [&str; 3] = ["/run/chrony/chronyd.pid", "/run/chronyd.pid", "/run/ntpd.pid"];

/// A look at the clock that lasts as long as something else does.
pub(super) struct ClockWatch {
    wall_us: i64,
    monotonic_ns: u64,
}

impl ClockWatch {
    pub(super) fn start(env: &Env) -> Self {
        Self { wall_us: env.clock.now_us(), monotonic_ns: env.clock.monotonic_ns() }
    }

    /// `last_at_us`: log time of the last record, if there is one.
    pub(super) fn finish(self, env: &Env, last_at_us: Option<i64>) -> Finding {
        let now_us = env.clock.now_us();
        let steady_ns = env.clock.monotonic_ns().saturating_sub(self.monotonic_ns);
        let steady_us = i64::try_from(steady_ns / 1_000).unwrap_or(i64::MAX);
        judged(now_us, now_us - self.wall_us - steady_us, last_at_us)
    }
}

fn judged(now_us: i64, parting_us: i64, last_at_us: Option<i64>) -> Finding {
    const CHECK: &str = "clock";
    let found = iso(now_us);
    if !(EARLIEST_US..LATEST_US).contains(&now_us) {
        return Finding::fail(
            CHECK,
            found,
            "Set the clock: everything that happens would be given this time for ever.",
        );
    }
    if let Some(ahead_us) = last_at_us.map(|last| last - now_us).filter(|ahead| *ahead > 5 * MINUTE_US) {
        let found = format!("{found}, {} min before the last record of the log", ahead_us / MINUTE_US);
        let advice = "Log time never goes back, so nothing gets older until the clock has caught up: find out which of \
                      the two is wrong.";
        return Finding::fail(CHECK, found, advice);
    }
    if parting_us.abs() > PARTING_US {
        let found = format!("{found}, and it moved by {} ms within a second", parting_us / 1_000);
        return Finding::warn(CHECK, found, "Something sets the clock in steps: let NTP slew it instead.");
    }
    Finding::ok(CHECK, found)
}

/// Whether something keeps the clock right, as far as that can be seen from here.
pub(super) fn synchronised() -> Finding {
    const CHECK: &str = "clock source";
    if Path::new(SYNCHRONISED).exists() {
        return Finding::ok(CHECK, "systemd-timesyncd has synchronised the clock");
    }
    match CLOCK_DAEMONS.iter().find(|path| Path::new(path).exists()) {
        Some(path) => Finding::ok(CHECK, format!("a time daemon runs ({path})")),
        None => {
            // In a container, and on many machines of clouds, the host does it unseen: that is no complaint.
            Finding::ok(
                CHECK,
                "not to be seen from here; make sure that the host's clock is synchronised (NTP)",
            )
        }
    }
}

/// How many files and connections may be open at once.
pub(super) fn open_files(config: &Config) -> Finding {
    const CHECK: &str = "open files";
    let doors =
        config.ingest.connections_max.saturating_add(config.private.connections_max.saturating_mul(2));
    let wanted = doors.saturating_add(FILES_BESIDE);
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Finding::ok(CHECK, "no limit") };
    let found = format!("{limit} allowed here");
    let advice = format!(
        "Allow {wanted} (LimitNOFILE in systemd, ulimits in containers): every connection that the configuration allows \
         is one."
    );
    if limit < FILES_LEAST {
        Finding::fail(CHECK, found, advice)
    } else if limit < wanted {
        Finding::warn(CHECK, found, advice)
    } else {
        Finding::ok(CHECK, found)
    }
}

/// Whether the memory that the configuration allows is there.
pub(super) fn memory(config: &Config) -> Finding {
    const CHECK: &str = "memory";
    let budget = config
        .state
        .resident_bytes_max
        .saturating_add(config.dedup.bytes_max)
        .saturating_add(config.queue.bytes_max)
        .saturating_add(config.ingest.in_flight_bytes_max);
    let machine = read("/proc/meminfo").and_then(|text| total_of(&text));
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok());
    let Some(there) = machine.into_iter().chain(group).min() else {
        return Finding::ok(CHECK, "the system does not say how much there is");
    };
    let found = format!("{} here, {} in the configured budgets", shown_bytes(there), shown_bytes(budget));
    // The program itself, the page cache that syncs go through, and the kernel need a quarter.
    if budget > there {
        let advice = "Lower state.resident_bytes_max, dedup.bytes_max, queue.bytes_max or ingest.in_flight_bytes_max: \
                      with all of them used the kernel would end the server.";
        Finding::fail(CHECK, found, advice)
    } else if budget > there / 4 * 3 {
        Finding::warn(
            CHECK,
            found,
            "Leave a quarter to the program and the page cache: lower state.resident_bytes_max.",
        )
    } else {
        Finding::ok(CHECK, found)
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// A file of the kernel, unless it is longer than such files are.
pub(super) fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().filter(|text| text.len() <= KERNEL_FILE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_must_be_set_move_evenly_and_not_be_behind_the_log() {
        let now = 1_795_000_000_000_000;
        for (now, parting, last, verdict) in [
            (now, 0, None, Verdict::Ok),
            (now, 40_000, Some(now - 1), Verdict::Ok),
            (now, 0, Some(now + 5 * MINUTE_US), Verdict::Ok),
            (now, 0, Some(now + 6 * MINUTE_US), Verdict::Fail),
            (now, -60_000, None, Verdict::Warn),
            (now, 60_000, Some(0), Verdict::Warn),
            (0, 0, None, Verdict::Fail),
            (LATEST_US, 0, None, Verdict::Fail),
        ] {
            assert_eq!(judged(now, parting, last).verdict, verdict, "{now} {parting} {last:?}");
        }
    }

    #[test]
    fn the_kernels_word_for_memory_is_understood() {
        let text = "MemTotal:       16384 kB\nMemFree: 1 kB\n";
        assert_eq!(total_of(text), Some(16 << 20));
        for wrong in ["", "MemTotal: many", "MemTotal: 5 MB", "MemFree: 1 kB"] {
            assert_eq!(total_of(wrong), None, "{wrong}");
        }
    }
}
