//! The data directory: what lies where, the master secret, the keyring. `docs/data-directory.md` is its description.

use super::secrets::Secrets;
use crate::config::{Config, Data};
use engine::OpenOptions;
use env::Env;
use eventlog::{Keyring, LogError, LogOptions, keyring};
use model::seal::SECRET_BYTES;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use store::{DedupOptions, Sealing, StoreError, StoreOptions};
use thiserror::Error;
use zeroize::Zeroizing;

const MASTER_SECRET: &str = "master.secret";
const FINGERPRINT: &str = "master.fingerprint";
const KEYRING: &str = "keyring";
const LOG_FOLDER: &str = "log";
const AUDIT_FOLDER: &str = "audit";
const ERASURES: &str = "erasures.json";
/// Its presence says that requests drive log time here.
const DRIVEN: &str = "log-time-is-driven";
const HOUR_US: i64 = 3_600 * 1_000_000;
/// Buckets of the de-duplication window: more would mean more files, fewer a coarser end.
const DEDUP_BUCKETS: i64 = 6;

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// The operating system refused.
    #[error("cannot {what} {path} ({error}): check the path and its permissions")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// There is data and no secret.
    #[error(
        "there is data in {directory}, but no master secret at {path}: put the copy of the file back there"
    )]
    SecretMissing {
        /// The data directory.
        directory: PathBuf,
        /// Where the secret should be.
        path: PathBuf,
    },
    /// A file that is no secret.
    #[error(
        "{path} is not a master secret: it must hold exactly {SECRET_BYTES} bytes; put the copy of the file back"
    )]
    SecretMalformed {
        /// The file.
        path: PathBuf,
    },
    /// Everybody can read the secret.
    #[error("others can read {path}: run chmod 600 on it, and think about who may have read it")]
    SecretReadable {
        /// The file.
        path: PathBuf,
    },
    /// Another directory's secret.
    #[error(
        "{path} is the master secret of another data directory: nothing here could be found or opened with it"
    )]
    SecretOfAnother {
        /// The file.
        path: PathBuf,
    },
    /// Log time here follows the clock.
    #[error(
        "log time in {0} follows the clock, so requests cannot drive it: use a new data directory for that"
    )]
    NotDriven(PathBuf),
    /// Log time here is driven.
    #[error(
        "log time in {0} is driven by requests (an import or a demonstration), so it cannot follow the clock: start \
         with --drive-log-time, or use another data directory"
    )]
    Driven(PathBuf),
    /// The keyring cannot be used.
    #[error(transparent)]
    Keyring(#[from] LogError),
    /// Its keys cannot seal checkpoints.
    #[error(transparent)]
    Sealing(#[from] StoreError),
}

/// A data directory that exists.
#[derive(Clone, Debug)]
pub struct DataDirectory {
    path: PathBuf,
    master_secret: PathBuf,
    keyring: PathBuf,
    keyring_named: bool,
}

impl DataDirectory {
    /// Makes the directory if it is not there, and checks that log time is driven as it was before.
    pub fn open(data: &Data, drive_log_time: bool) -> Result<Self, DirectoryError> {
        let directory = Self::at(data);
        let path = &directory.path;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| io_error("create the directory", path, error))?;
        let marker = path.join(DRIVEN);
        match (drive_log_time, marker.exists(), directory.holds_data()) {
            (true, false, true) => return Err(DirectoryError::NotDriven(path.clone())),
            (false, true, _) => return Err(DirectoryError::Driven(path.clone())),
            (true, false, false) => {
                std::fs::write(&marker, "Requests drive log time in this data directory.\n")
                    .map_err(|error| io_error("write", &marker, error))?;
            }
            _ => {}
        }
        Ok(directory)
    }

    /// The directory as configured, without touching it.
    pub fn at(data: &Data) -> Self {
        let path = data.directory.clone();
        Self {
            master_secret: data.master_secret_file.or(&path.join(MASTER_SECRET)),
            keyring: data.keyring_file.or(&path.join(KEYRING)),
            keyring_named: data.keyring_file.0.is_some(),
            path,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the master secret is, or would be.
    pub fn master_secret_path(&self) -> &Path {
        &self.master_secret
    }

    /// Where the keyring is, or would be.
    pub fn keyring_path(&self) -> &Path {
        &self.keyring
    }

    /// Whether requests drive log time here.
    pub fn is_driven(&self) -> bool {
        self.path.join(DRIVEN).exists()
    }

    /// Whether there is a log.
    pub fn holds_data(&self) -> bool {
        self.path.join(LOG_FOLDER).exists()
    }

    /// The keyring, if there is one. A named one must be there.
    pub fn keyring(&self, env: &Env) -> Result<Option<Keyring>, DirectoryError> {
        if !self.keyring_named && !self.keyring.exists() {
            return Ok(None);
        }
        check_private(&self.keyring)?;
        Ok(Some(keyring::load(env, &self.keyring)?))
    }

    pub(super) fn audit_folder(&self) -> PathBuf {
        self.path.join(AUDIT_FOLDER)
    }

    pub(super) fn erasure_file(&self) -> PathBuf {
        self.path.join(ERASURES)
    }

    /// Reads the master secret; makes one where there is no data yet.
    pub(super) fn secrets(&self, env: &Env) -> Result<Secrets, DirectoryError> {
        let path = &self.master_secret;
        let master = match self.read_secret()? {
            Some(master) => master,
            None if self.holds_data() => {
                return Err(DirectoryError::SecretMissing {
                    directory: self.path.clone(),
                    path: path.clone(),
                });
            }
            None => {
                let mut master = Zeroizing::new([0; SECRET_BYTES]);
                env.entropy.fill(&mut *master).map_err(|error| io_error("draw a secret for", path, error))?;
                write_private(path, &*master)?;
                master
            }
        };
        if !self.knows(&master)? {
            write_private(&self.path.join(FINGERPRINT), fingerprint_of(&master).as_bytes())?;
        }
        Ok(Secrets::derive(&master, env.entropy.clone()))
    }

    /// Whether the master secret is there; an error if it cannot be used here. Nothing is made.
    pub(crate) fn known_secret(&self) -> Result<bool, DirectoryError> {
        match self.read_secret()? {
            Some(master) => self.knows(&master).map(|_| true),
            None => Ok(false),
        }
    }

    fn read_secret(&self) -> Result<Option<Zeroizing<[u8; SECRET_BYTES]>>, DirectoryError> {
        let path = &self.master_secret;
        if !path.exists() {
            return Ok(None);
        }
        check_private(path)?;
        let bytes = Zeroizing::new(std::fs::read(path).map_err(|error| io_error("read", path, error))?);
        let mut master = Zeroizing::new([0; SECRET_BYTES]);
        if bytes.len() != SECRET_BYTES {
            return Err(DirectoryError::SecretMalformed { path: path.clone() });
        }
        master.copy_from_slice(&bytes);
        Ok(Some(master))
    }

    /// Whether the secret is known here; `false` where none is yet. A secret of another directory would open nothing and
    /// find nobody, silently: it is refused instead.
    fn knows(&self, master: &[u8; SECRET_BYTES]) -> Result<bool, DirectoryError> {
        let path = self.path.join(FINGERPRINT);
        if !path.exists() {
            return Ok(false);
        }
        let known = std::fs::read_to_string(&path).map_err(|error| io_error("read", &path, error))?;
        if known.trim() == fingerprint_of(master) {
            Ok(true)
        } else {
            Err(DirectoryError::SecretOfAnother { path: self.master_secret.clone() })
        }
    }
}

fn fingerprint_of(master: &[u8; SECRET_BYTES]) -> String {
    let derived = Zeroizing::new(blake3::derive_key("throughline 2026-11 master fingerprint", master));
    blake3::hash(&*derived).to_hex().to_string()
}

/// What the shard is opened with: also by `replay` and `log`, which start nothing.
pub fn open_options(
    config: &Config,
    directory: &DataDirectory,
    env: &Env,
) -> Result<OpenOptions, DirectoryError> {
    let keyring = directory.keyring(env)?;
    let sealing = match &keyring {
        Some(keyring) => Some(Sealing::new(env.entropy.clone(), keyring.active, keyring.keys.clone())?),
        None => None,
    };
    let window_us = i64::try_from(config.dedup.window_hours).unwrap_or(i64::MAX).saturating_mul(HOUR_US);
    let dedup =
        DedupOptions { window_us, bucket_us: window_us / DEDUP_BUCKETS, bytes_limit: config.dedup.bytes_max };
    let log = LogOptions {
        region: config.data.region,
        segment_bytes: config.log.segment_bytes,
        keyring,
        ..LogOptions::default()
    };
    Ok(OpenOptions {
        log,
        feed: feed_options(config),
        store: StoreOptions { sealing, dedup, ..StoreOptions::default() },
    })
}

/// How the shop's own folder is opened: with the same keyring, if there is one, and bounds of its own.
pub(crate) fn shop_options(config: &Config, env: &Env) -> Result<OpenOptions, DirectoryError> {
    open_options(config, &DataDirectory::at(&config.data), env)
}

/// How much of the change feed is kept.
fn feed_options(config: &Config) -> engine::feed::FeedOptions {
    let age_days = i64::try_from(config.feed.retention_age_days).unwrap_or(i64::MAX);
    let age_us = age_days.saturating_mul(24).saturating_mul(HOUR_US);
    engine::feed::FeedOptions {
        retention_age_us: (age_us > 0).then_some(age_us),
        retention_bytes: config.feed.retention_bytes,
        ..engine::feed::FeedOptions::default()
    }
}

fn check_private(path: &Path) -> Result<(), DirectoryError> {
    let mode = std::fs::metadata(path).map_err(|error| io_error("read", path, error))?.permissions().mode();
    if mode & 0o077 == 0 { Ok(()) } else { Err(DirectoryError::SecretReadable { path: path.to_owned() }) }
}

/// Writes a new file that only its owner can read, and makes it durable: data that depends on it follows.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), DirectoryError> {
    let write = || -> io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|error| io_error("write", path, error))
}

fn io_error(what: &'static str, path: &Path, error: io::Error) -> DirectoryError {
    DirectoryError::Io { what, path: path.to_owned(), error }
}
