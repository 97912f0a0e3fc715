//! Keys, and the data directory.

use super::{Finding, machine};
use crate::calendar::iso;
use crate::serve::DataDirectory;
use engine::recovery::STATE_FOLDER;
use env::Env;
use eventlog::LogError;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use store::{LocalObjects, Store};

/// Held by the server that uses the directory.
const LOCK: &str = "lock";

/// What the log holds.
pub(super) struct LogSeen {
    first: u64,
    next: u64,
    segments: usize,
    /// Log time of its last record; `None` without one.
    pub(super) last_at: Option<i64>,
}

/// Looks at the log, without its lock. `Ok` with no position where there is none yet.
pub(super) fn log(env: &Env, directory: &DataDirectory) -> Result<LogSeen, String> {
    let none = LogSeen { first: 0, next: 0, segments: 0, last_at: None };
    if !directory.holds_data() {
        return Ok(none);
    }
    let keyring = directory.keyring(env).map_err(|error| error.to_string())?;
    // Beside a running server an append may be met halfway; damage stays.
    let mut looks = 0;
    let summary = loop {
        looks += 1;
        match eventlog::inspect(env, directory.path(), keyring.as_ref()) {
            Err(LogError::Corrupt { .. }) if looks < 5 => {}
            other => break other.map_err(|error| error.to_string())?,
        }
    };
    let last = summary.segments.iter().rev().find(|segment| segment.records() > 0);
    Ok(LogSeen {
        first: summary.first.0,
        next: summary.next.0,
        segments: summary.segments.len(),
        last_at: last.map(|segment| segment.last_at.0),
    })
}

/// Whether the keys are there, and only for their owner.
pub(super) fn keys(env: &Env, directory: &DataDirectory) -> Vec<Finding> {
    let secret = directory.master_secret_path();
    let shown = secret.display();
    let secret = match (directory.known_secret(), directory.holds_data()) {
        (Ok(true), _) => {
            Finding::ok("master secret", format!("{shown}, of this data directory; keep a copy elsewhere"))
        }
        (Ok(false), false) => Finding::ok("master secret", format!("{shown} is made at the first start")),
        (Ok(false), true) => Finding::fail(
            "master secret",
            format!("{shown} is not there"),
            "Put the copy back: nobody can be found without it, and the server does not start.",
        ),
        (Err(error), _) => Finding::fail(
            "master secret",
            error.to_string(),
            "The server does not start until this is put right.",
        ),
    };
    let path = directory.keyring_path().display();
    let keyring = match directory.keyring(env) {
        Ok(Some(keyring)) => {
            let found = format!(
                "{path}: key {} seals, {} in all; keep a copy elsewhere",
                keyring.active,
                keyring.keys.len()
            );
            Finding::ok("keyring", found)
        }
        Ok(None) => Finding::warn(
            "keyring",
            "there is none: what events say lies in clear on the disk",
            "Run `throughline keys init`; what is written after the next start is sealed.",
        ),
        Err(error) => {
            Finding::fail("keyring", error.to_string(), "The server does not start until this is put right.")
        }
    };
    vec![secret, keyring]
}

/// Who uses the directory, whose it is, and whether its parts can be read.
pub(super) fn directory(env: &Env, directory: &DataDirectory, log: Result<LogSeen, String>) -> Vec<Finding> {
    const CHECK: &str = "data directory";
    let path = directory.path();
    let shown = path.display();
    let Ok(metadata) = fs::metadata(path) else {
        return vec![Finding::ok(CHECK, format!("{shown} is made at the first start"))];
    };
    let mode = metadata.permissions().mode() & 0o777;
    let user = match holder(&path.join(LOCK)) {
        Some(process) => format!("process {process} uses it"),
        None => "nobody uses it".to_owned(),
    };
    let found = format!("{shown}: mode {mode:o}, {user}");
    let mut findings = vec![if mode & 0o077 == 0 {
        Finding::ok(CHECK, found)
    } else {
        Finding::warn(CHECK, found, format!("Run `chmod 700 {shown}`: nobody else needs to look into it."))
    }];
    let next = match &log {
        Ok(seen) if seen.segments == 0 => {
            findings.push(Finding::ok("log", "none yet"));
            None
        }
        Ok(seen) => {
            let last = seen.last_at.map_or_else(String::new, |at| format!(", the last of {}", iso(at)));
            let found =
                format!("{} segments, positions {} to {}{last}", seen.segments, seen.first, seen.next);
            findings.push(Finding::ok("log", found));
            Some(seen.next)
        }
        Err(error) => {
            let advice =
                "Run `throughline log verify`; if it says that the log is damaged, restore a backup.";
            findings.push(Finding::fail("log", error, advice));
            None
        }
    };
    findings.push(checkpoints(env, path, next));
    findings
}

fn checkpoints(env: &Env, directory: &Path, log_next: Option<u64>) -> Finding {
    const CHECK: &str = "checkpoints";
    let folder = directory.join(STATE_FOLDER);
    if !folder.exists() {
        return Finding::ok(CHECK, "none yet");
    }
    let advice = "See \"When `state/` is damaged or gone\" in docs/data-directory.md: checkpoints are made from the log.";
    let kept = match Store::kept(&LocalObjects::view(env, &folder)) {
        Ok(kept) => kept,
        Err(error) => return Finding::fail(CHECK, error.to_string(), advice),
    };
    let Some(newest) = kept.last() else { return Finding::ok(CHECK, "none yet") };
    let found = format!(
        "{} kept, the newest at position {} of {}",
        kept.len(),
        newest.position.0,
        iso(newest.log_time.0)
    );
    let missing =
        newest.runs.iter().map(|run| &run.name).chain(newest.dedup.files.iter().map(|file| &file.name));
    let missing = missing.filter(|name| !folder.join(name).exists()).count();
    // A running server may have replaced it meanwhile; then the log has gone on, and nothing is missing for long.
    if missing > 0 && holder(&directory.join(LOCK)).is_none() {
        Finding::fail(CHECK, format!("{found}; {missing} of its files are not there"), advice)
    } else if log_next.is_some_and(|next| newest.position.0 > next) && holder(&directory.join(LOCK)).is_none()
    {
        let found = format!("{found}, but the log ends before it");
        Finding::fail(CHECK, found, "The end of the log is gone: restore a backup; see docs/operating.md.")
    } else {
        Finding::ok(CHECK, found)
    }
}

/// The process that holds a lock file, as the kernel lists it: asking for the lock could make a server that starts just
/// now believe that another one runs.
fn holder(path: &Path) -> Option<u32> {
    let inode = fs::metadata(path).ok()?.ino();
    holder_in(&machine::read("/proc/locks")?, inode)
}

/// A line is `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234567 0 EOF`.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (kind, process, place) = (words.get(1)?, words.get(4)?, words.get(5)?);
        let is_it = *kind == "FLOCK" && place.rsplit(':').next()?.parse::<u64>().ok()? == inode;
        if is_it { process.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_list_of_locks_names_the_holder() {
        let locks = "1: POSIX  ADVISORY  WRITE 7 fe:00:42 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 fe:00:42 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 fe:00:43 0 EOF\nsomething else\n";
        assert_eq!(holder_in(locks, 42), Some(4711));
        assert_eq!(holder_in(locks, 43), None, "one that waits holds nothing");
        assert_eq!(holder_in("", 42), None);
    }
}
