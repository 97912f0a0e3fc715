//! Files with a line of JSON for each message.
//!
//! Lines are appended to `NAME-NUMBER.ndjson.part`, synced before they count as delivered. When the file is large or old
//! enough it is finished: renamed in one step to `NAME-NUMBER.ndjson`, after which it changes only where somebody is
//! erased ([`Ndjson::forget`]): it is replaced in one step by one without the lines about them. No number is used
//! twice. Whoever reads only finished files never sees half a line. A crash may leave lines that were not acknowledged; they come again, so a
//! reader drops repeats by the message's `id`.

mod forget;
mod writer;

pub use forget::{ForgottenLines, Goes, forget_at_rest, forget_finished, names};
pub use writer::{FileError, Writer};

use crate::error::ConfigError;
use delivery::env::{Clock, Disk, Env};
use delivery::{Destination, LaneOptions, Later, Outcome, Parcel};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// A file destination as it is configured.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct NdjsonConfig {
    /// The folder; it is created.
    pub folder: PathBuf,
    /// How file names begin: letters, digits, `_` and `-`. One destination for each name in a folder.
    pub name: String,
    /// A file that has so many bytes is finished.
    #[serde(default = "default_file_bytes_max")]
    pub file_bytes_max: u64,
    /// A file whose first line is so old is finished, in milliseconds.
    #[serde(default = "default_file_age_max_ms")]
    pub file_age_max_ms: u64,
    /// Finished files that may lie in the folder. Beyond, delivery waits until somebody takes some away.
    #[serde(default = "default_files_max")]
    pub files_max: usize,
}

fn default_file_bytes_max() -> u64 {
    64 * 1024 * 1024
}

fn default_file_age_max_ms() -> u64 {
    60_000
}

fn default_files_max() -> usize {
    10_000
}

impl NdjsonConfig {
    /// Files in this folder under this name, with the defaults.
    pub fn new(folder: impl Into<PathBuf>, name: &str) -> Self {
        Self {
            folder: folder.into(),
            name: name.to_owned(),
            file_bytes_max: default_file_bytes_max(),
            file_age_max_ms: default_file_age_max_ms(),
            files_max: default_files_max(),
        }
    }

    /// The lane that suits it: large batches, one at a time, since each costs a sync.
    pub fn lane(&self, name: &str) -> LaneOptions {
        LaneOptions {
            concurrency_max: 1,
            batch_parcels_max: 1_000,
            flush_after_ms: 20,
            attempt_timeout_ms: 30_000,
            ..LaneOptions::named(name)
        }
    }

    /// Refuses values that cannot work, naming the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if self.folder.as_os_str().is_empty() {
            return Err(ConfigError::new("folder", "is empty: name a folder"));
        }
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(plain) {
            return Err(ConfigError::new("name", "must be 1 to 64 letters, digits, `_` or `-`"));
        }
        if self.file_bytes_max == 0 || self.file_bytes_max > 1 << 40 {
            return Err(ConfigError::new("file_bytes_max", "must be 1 to 1099511627776"));
        }
        if self.file_age_max_ms == 0 || self.file_age_max_ms > 7 * 24 * 60 * 60 * 1_000 {
            return Err(ConfigError::new("file_age_max_ms", "must be 1 to 604800000, a week"));
        }
        if self.files_max == 0 || self.files_max > 1_000_000 {
            return Err(ConfigError::new("files_max", "must be 1 to 1000000"));
        }
        Ok(())
    }
}

/// A file destination that can be sent to.
pub struct Ndjson {
    writer: Arc<Mutex<Writer>>,
    clock: Arc<dyn Clock>,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    name: String,
}

impl Ndjson {
    /// Checks the configuration, takes the folder's lock, and continues a file that a crash left open.
    pub fn open(env: &Env, config: NdjsonConfig) -> Result<Self, NdjsonError> {
        config.validate()?;
        let (folder, name) = (config.folder.clone(), config.name.clone());
        let writer = Writer::open(&env.disk, config, now_ms(&*env.clock))?;
        let (clock, disk) = (Arc::clone(&env.clock), Arc::clone(&env.disk));
        Ok(Self { writer: Arc::new(Mutex::new(writer)), clock, disk, folder, name })
    }

    /// Takes lines out of everything that was written up to now. The file in progress is finished for it; lines that are
    /// appended meanwhile go to the next one, and are not looked at.
    pub async fn forget(&self, goes: Goes) -> Result<ForgottenLines, FileError> {
        let finished = self.on_writer(|writer, now_ms| writer.tend(now_ms, true)).await;
        finished.unwrap_or(Err(FileError::Panicked))?;
        let (disk, folder, name) = (Arc::clone(&self.disk), self.folder.clone(), self.name.clone());
        // Finished files are not the writer's: nobody who writes waits for this.
        let work = tokio::task::spawn_blocking(move || forget_finished(&*disk, &folder, &name, &goes));
        work.await.unwrap_or(Err(FileError::Panicked))
    }

    /// Works where waiting for the disk holds up no connection.
    async fn on_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer, u64) -> T + Send + 'static,
    ) -> Option<T> {
        let (writer, clock) = (Arc::clone(&self.writer), Arc::clone(&self.clock));
        let done = tokio::task::spawn_blocking(move || {
            // A panic in here leaves the writer as it was told the disk is: it repairs itself before the next line.
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut writer, now_ms(&*clock))
        });
        done.await.ok()
    }
}

/// Why a file destination did not open.
#[derive(Debug, thiserror::Error)]
pub enum NdjsonError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
}

impl NdjsonError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::File(error) => error.code(),
        }
    }
}

fn now_ms(clock: &dyn Clock) -> u64 {
    clock.monotonic_ns() / 1_000_000
}

impl Destination for Ndjson {
    fn send(&self, parcels: Arc<[Parcel]>, _timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move {
            let lines = move |writer: &mut Writer, now_ms| {
                writer.append(parcels.iter().map(|parcel| &parcel.body[..]), now_ms)
            };
            match self.on_writer(lines).await {
                Some(Ok(())) => Outcome::Delivered,
                Some(Err(FileError::NotALine)) => {
                    Outcome::Refused { reason: FileError::NotALine.code().to_owned() }
                }
                Some(Err(error)) => {
                    tracing::warn!(code = error.code(), %error, "a file destination failed");
                    Outcome::Retry { reason: error.code().to_owned(), after_ms: None }
                }
                None => Outcome::Unknown { reason: "writer_panicked".to_owned() },
            }
        })
    }

    fn tend(&self, stopping: bool) -> Later<'_, ()> {
        Box::pin(async move {
            let tended = self.on_writer(move |writer, now_ms| writer.tend(now_ms, stopping)).await;
            if let Some(Err(error)) = tended {
                tracing::warn!(code = error.code(), %error, "a file could not be finished");
            }
        })
    }
}
