//! What the kernel says that a process has used.

use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::Path;

/// The kernel counts processor time of a process in hundredths of a second, on every machine that Linux runs on today
/// (`getconf CLK_TCK`).
const TICK_NS: u64 = 10_000_000;

/// Processor time and memory of a process.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Of all threads, also those that ended: user and system.
    pub cpu_ns: u64,
    /// Of it, in the kernel.
    pub system_ns: u64,
    /// Memory that is resident.
    pub resident_bytes: u64,
    /// By thread name without its number.
    pub threads: BTreeMap<String, ThreadUsage>,
}

/// Threads of one name.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThreadUsage {
    /// How many there are.
    pub count: u64,
    /// Their processor time.
    pub cpu_ns: u64,
}

impl Usage {
    /// Reads it now.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        let folder = Path::new("/proc").join(process.to_string());
        let read = |name: &str| {
            std::fs::read_to_string(folder.join(name))
                .with_context(|| format!("cannot read {name} of {process}"))
        };
        let (user_ns, system_ns) = times(&read("stat")?).context("the kernel's stat is not understood")?;
        let resident_bytes = resident(&read("status")?).unwrap_or_default();
        let mut usage =
            Self { cpu_ns: user_ns + system_ns, system_ns, resident_bytes, threads: BTreeMap::new() };
        for entry in std::fs::read_dir(folder.join("task"))? {
            let task = entry?.path();
            // A thread may end while it is looked at.
            let (Ok(name), Ok(stat)) =
                (std::fs::read_to_string(task.join("comm")), std::fs::read_to_string(task.join("schedstat")))
            else {
                continue;
            };
            let cpu_ns = stat.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
            let thread = usage.threads.entry(stage_of(name.trim())).or_default();
            thread.count += 1;
            thread.cpu_ns += cpu_ns;
        }
        Ok(usage)
    }

    /// What was used since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let mut difference = self.clone();
        difference.cpu_ns = self.cpu_ns.saturating_sub(before.cpu_ns);
        difference.system_ns = self.system_ns.saturating_sub(before.system_ns);
        for (name, usage) in &mut difference.threads {
            let earlier = before.threads.get(name).map_or(0, |thread| thread.cpu_ns);
            usage.cpu_ns = usage.cpu_ns.saturating_sub(earlier);
        }
        difference
    }
}

/// `read-3` and `read-11` are one stage.
fn stage_of(name: &str) -> String {
    name.trim_end_matches(|character: char| character.is_ascii_digit()).trim_end_matches('-').to_owned()
}

/// User and system time from `/proc/PID/stat`: fields 14 and 15. The name, field 2, may hold anything.
fn times(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user * TICK_NS, system * TICK_NS))
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_processor_time_and_memory() {
        let before = Usage::of(std::process::id()).unwrap();
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 60 {
            std::hint::spin_loop();
        }
        let used = Usage::of(std::process::id()).unwrap().since(&before);
        assert!(used.cpu_ns > 0);
        assert!(used.resident_bytes > 1 << 20);
        assert!(used.threads.values().map(|thread| thread.count).sum::<u64>() > 0);
    }

    #[test]
    fn names_with_blanks_and_brackets_do_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 34 0 0 20 0 5 0 9 1 1";
        assert_eq!(times(stat), Some((120_000_000, 340_000_000)));
        assert_eq!(stage_of("read-11"), "read");
        assert_eq!(stage_of("commit"), "commit");
    }
}
