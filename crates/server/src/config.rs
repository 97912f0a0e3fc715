//! What an operator can set before the start: one file, overridden by the environment and the command line.
//!
//! [`table::keys`] is the one table: parsing, checking and `docs/config.md` all come from it. What can be changed
//! while the server runs (write keys, tokens, rules of identity and suppression) is not here: those are records.

mod docs;
mod field;
mod load;
mod table;

pub use docs::markdown;
pub use field::{LogFormat, LogLevel, PathSetting};
pub(crate) use load::nearest;
pub use load::{ConfigError, Sources, load};
pub use table::{KeyDoc, keys};

use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that an operator can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who can reach what.
    pub listen: Listen,
    /// Where data lies.
    pub data: Data,
    /// How much of the log is kept.
    pub log: Log,
    /// Memory and checkpoints.
    pub state: State,
    /// What may wait.
    pub queue: Queue,
    /// How long a message id is remembered.
    pub dedup: Dedup,
    /// The change feed.
    pub feed: Feed,
    /// What leaves.
    pub delivery: Delivery,
    /// The shop.
    pub shop: Shop,
    /// The ingest door.
    pub ingest: Ingest,
    /// The private listeners.
    pub private: Private,
    /// What the server says about itself.
    pub telemetry: Telemetry,
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Events come in here.
    pub ingest: SocketAddr,
    /// Operators and metrics.
    pub admin: SocketAddr,
    /// Profiles and decisions.
    pub profiles: SocketAddr,
    /// A proxy that speaks TLS stands in front.
    pub behind_proxy: bool,
    /// Host names, beside loopback, that requests may name; separated by commas.
    pub hosts: String,
}

/// The data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Its path.
    pub directory: PathBuf,
    /// The jurisdiction it belongs to.
    pub region: u16,
    /// The master secret, if it is kept elsewhere.
    pub master_secret_file: PathSetting,
    /// The keyring, if it is kept elsewhere.
    pub keyring_file: PathSetting,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Size of a segment file.
    pub segment_bytes: u64,
    /// Age from which records may go; 0 keeps them for ever.
    pub retention_age_days: u64,
    /// Size from which the oldest records may go; 0 is no limit.
    pub retention_bytes: u64,
}

/// State in memory and its checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Time between checkpoints.
    pub checkpoint_interval_ms: u64,
    /// Rows kept in memory.
    pub resident_bytes_max: u64,
    /// Threads that read rows ahead.
    pub reader_threads: u64,
    /// Speed of background merges.
    pub merge_bytes_per_second: u64,
}

/// The queue before the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests that may wait.
    pub items_max: u64,
    /// Bytes that may wait.
    pub bytes_max: u64,
}

/// De-duplication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dedup {
    /// For how long a repeated message id is recognised, at least.
    pub window_hours: u64,
    /// Disk that message ids may take.
    pub bytes_max: u64,
}

/// The change feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Age from which items may go; 0 keeps them as long as there is room.
    pub retention_age_days: u64,
    /// Size from which the oldest items go.
    pub retention_bytes: u64,
    /// Readers at once.
    pub readers_max: u64,
    /// Time between signs of life to an idle reader.
    pub heartbeat_ms: u64,
    /// Time for which a reader may take nothing.
    pub stall_ms: u64,
}

/// What leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Networks that may be connected to although they are private; separated by commas.
    pub allow: String,
    /// The folder of the credentials that platforms want; empty is none.
    pub credentials: String,
}

/// The shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shop {
    /// Storefronts and buyers come in here.
    pub listen: SocketAddr,
    /// What buyers' browsers find the checkout at; empty is the address itself.
    pub url: String,
    /// Products that are taken in at the start; empty is none.
    pub products: String,
    /// Payments are played, not made.
    pub test_payments: bool,
    /// Bytes of memory for its rows.
    pub resident_bytes_max: u64,
}

/// The ingest door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingest {
    /// Threads; 0 is one per core.
    pub threads: u64,
    /// Open connections.
    pub connections_max: u64,
    /// Bytes of request bodies held at once.
    pub in_flight_bytes_max: u64,
    /// Where phone numbers without a country code are at home; empty is nowhere.
    pub default_country: String,
    /// Currency of amounts that come without one.
    pub default_currency: String,
    /// The folder of scripts that pages load from here; empty is none.
    pub scripts: String,
    /// Events that tracking plans keep in quarantine.
    pub quarantine_events_max: u64,
    /// How long, in days.
    pub quarantine_days: u64,
}

/// The listeners for operators and for profile reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Private {
    /// Bytes of one request body.
    pub body_bytes_max: u64,
    /// Open connections per listener.
    pub connections_max: u64,
    /// Time a request may take.
    pub request_timeout_ms: u64,
    /// Size at which the audit log of personal reads starts a new file.
    pub audit_file_bytes_max: u64,
    /// Files of the audit log that are kept.
    pub audit_files_max: u64,
}

/// What the server says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// The least important lines that are written.
    pub log_level: LogLevel,
    /// Their form.
    pub log_format: LogFormat,
    /// Requests followed through every stage.
    pub traces: Traces,
}

/// Traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// The collector; empty is no traces.
    pub endpoint: String,
    /// Of a million requests whose sender says nothing, how many are followed.
    pub sample_per_million: u64,
    /// Requests followed in a second.
    pub per_second_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            listen: Listen {
                ingest: loopback(7300),
                admin: loopback(7310),
                profiles: loopback(7311),
                behind_proxy: false,
                hosts: String::new(),
            },
            data: Data {
                directory: PathBuf::from("throughline-data"),
                region: 0,
                master_secret_file: PathSetting::default(),
                keyring_file: PathSetting::default(),
            },
            log: Log { segment_bytes: 64 << 20, retention_age_days: 0, retention_bytes: 0 },
            state: State {
                checkpoint_interval_ms: 5_000,
                resident_bytes_max: 4 << 30,
                reader_threads: 4,
                merge_bytes_per_second: 64 << 20,
            },
            queue: Queue { items_max: 16_384, bytes_max: 128 << 20 },
            dedup: Dedup { window_hours: 24, bytes_max: 16 << 30 },
            feed: Feed {
                retention_age_days: 7,
                retention_bytes: 4 << 30,
                readers_max: 32,
                heartbeat_ms: 1_000,
                stall_ms: 10_000,
            },
            delivery: Delivery { allow: String::new(), credentials: String::new() },
            shop: Shop {
                listen: SocketAddr::from(([127, 0, 0, 1], 7340)),
                url: String::new(),
                products: String::new(),
                test_payments: false,
                resident_bytes_max: 1 << 30,
            },
            ingest: Ingest {
                threads: 0,
                connections_max: 4_096,
                in_flight_bytes_max: 256 << 20,
                default_country: String::new(),
                default_currency: String::new(),
                scripts: String::new(),
                quarantine_events_max: 100_000,
                quarantine_days: 30,
            },
            private: Private {
                body_bytes_max: 1 << 20,
                connections_max: 256,
                request_timeout_ms: 10_000,
                audit_file_bytes_max: 64 << 20,
                audit_files_max: 16,
            },
            telemetry: Telemetry {
                log_level: LogLevel::Info,
                log_format: LogFormat::Text,
                traces: Traces { endpoint: String::new(), sample_per_million: 1_000, per_second_max: 10 },
            },
        }
    }
}
