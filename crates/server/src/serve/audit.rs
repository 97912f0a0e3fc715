//! Who read whose personal data, and when: one JSON line per read, in files of bounded size and number.

use crate::calendar;
use crate::config::Private;
use model::id::{Key, public_id};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use thiserror::Error;

const CURRENT: &str = "profile-reads.log";
const PREFIX: &str = "profile-reads-";

/// The audit log cannot be opened.
#[derive(Debug, Error)]
#[error("the audit log {path} cannot be opened ({error}): check the permissions of the data directory")]
pub(crate) struct AuditError {
    path: PathBuf,
    error: io::Error,
}

/// The open audit log.
pub(crate) struct AuditLog {
    folder: PathBuf,
    file_bytes_max: u64,
    files_max: u64,
    current: Mutex<Current>,
}

struct Current {
    file: File,
    bytes: u64,
}

impl AuditLog {
    pub(crate) fn open(folder: &Path, settings: &Private) -> Result<Self, AuditError> {
        let failed = |error| AuditError { path: folder.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let current = open_current(folder).map_err(failed)?;
        Ok(Self {
            folder: folder.to_owned(),
            file_bytes_max: settings.audit_file_bytes_max,
            files_max: settings.audit_files_max,
            current: Mutex::new(current),
        })
    }

    /// Notes that a profile was shown. The line is with the operating system when this returns.
    pub(crate) fn read(
        &self,
        token_name: &str,
        token_number: u32,
        profile: Key,
        clear: bool,
    ) -> io::Result<()> {
        let at_us = calendar::now_us();
        let line = json!({
            "at": calendar::iso(at_us),
            "action": "profile_read",
            "token": token_name,
            "token_number": token_number,
            "profile": public_id("prf", profile),
            "sealed_values_shown": clear,
        });
        self.append(at_us, &line)
    }

    /// The same of an event in quarantine.
    pub(crate) fn quarantined(
        &self,
        token_name: &str,
        token_number: u32,
        number: u64,
        clear: bool,
    ) -> io::Result<()> {
        let at_us = calendar::now_us();
        let line = json!({
            "at": calendar::iso(at_us),
            "action": "quarantined_event_read",
            "token": token_name,
            "token_number": token_number,
            "event": number,
            "sealed_values_shown": clear,
        });
        self.append(at_us, &line)
    }

    fn append(&self, at_us: i64, line: &Value) -> io::Result<()> {
        let mut line = line.to_string();
        line.push('\n');
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.bytes >= self.file_bytes_max {
            let kept = self.folder.join(format!("{PREFIX}{at_us:020}.log"));
            std::fs::rename(self.folder.join(CURRENT), kept)?;
            *current = open_current(&self.folder)?;
            self.remove_oldest()?;
        }
        current.file.write_all(line.as_bytes())?;
        current.bytes += line.len() as u64;
        Ok(())
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let ours =
                path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX));
            if ours {
                kept.push(path);
            }
        }
        kept.sort();
        // The current file is one of them.
        let beyond = (kept.len() as u64 + 1).saturating_sub(self.files_max);
        for path in kept.into_iter().take(usize::try_from(beyond).unwrap_or(usize::MAX)) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn open_current(folder: &Path) -> io::Result<Current> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join(CURRENT))?;
    let bytes = file.metadata()?.len();
    Ok(Current { file, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded_in_size_and_number_and_the_newest_line_stays() {
        let folder = std::env::temp_dir().join(format!("throughline-audit-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let settings = Private {
            audit_file_bytes_max: 600,
            audit_files_max: 3,
            ..crate::config::Config::default().private
        };
        let audit = AuditLog::open(&folder, &settings).unwrap();
        for number in 0..100 {
            audit.read("a \"token\"\n", number, Key(7), false).unwrap();
        }
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 3);
        let mut numbers = Vec::new();
        for file in &files {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(text.len() < 600 + 300, "{}", text.len());
            for line in text.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(line["token"], "a \"token\"\n");
                numbers.push(line["token_number"].as_u64().unwrap());
            }
        }
        assert_eq!(numbers.iter().max(), Some(&99));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
