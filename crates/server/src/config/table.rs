//! The one table of keys.

use super::Config;
use super::field::Field;
use std::ops::RangeInclusive;

/// A key as an operator sees it.
pub struct KeyDoc {
    /// The table of the file that it stands in.
    pub section: &'static str,
    /// Its name there. A number carries its unit as the last word.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// What to write.
    pub expects: &'static str,
    /// The least and greatest number, for numbers.
    pub range: Option<RangeInclusive<u64>>,
    pub(crate) set: fn(&mut Config, &str) -> bool,
    pub(crate) show: fn(&Config) -> String,
}

impl KeyDoc {
    /// `section.name`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("THROUGHLINE_{}_{}", self.section, self.name).replace('.', "_").to_ascii_uppercase()
    }

    /// The value that holds where nothing is set.
    pub fn default_text(&self) -> String {
        (self.show)(&Config::default())
    }

    /// Sets the key from text, or says what it expects.
    pub(crate) fn assign(&self, config: &mut Config, text: &str) -> Result<(), String> {
        if let Some(range) = &self.range {
            let within = u64::read(text).is_some_and(|number| range.contains(&number));
            if !within {
                return Err(format!("a whole number from {} to {}", range.start(), range.end()));
            }
        }
        if (self.set)(config, text) { Ok(()) } else { Err(self.expects.to_owned()) }
    }
}

fn expects<T: Field>(_: fn(&Config) -> &T) -> &'static str {
    T::EXPECTS
}

fn put<T: Field>(slot: &mut T, text: &str) -> bool {
    match T::read(text) {
        Some(value) => {
            *slot = value;
            true
        }
        None => false,
    }
}

/// One row: section (with one inside it, maybe), name, then a range for numbers, then what it does.
macro_rules! key {
    ($section:ident . $name:ident, $about:literal) => {
        key!(@ stringify!($section), [$section.$name], $name, None, $about)
    };
    ($section:ident . $name:ident, $range:expr, $about:literal) => {
        key!(@ stringify!($section), [$section.$name], $name, Some($range), $about)
    };
    ($section:ident . $inner:ident . $name:ident, $about:literal) => {
        key!(@ concat!(stringify!($section), ".", stringify!($inner)), [$section.$inner.$name], $name, None, $about)
    };
    ($section:ident . $inner:ident . $name:ident, $range:expr, $about:literal) => {
        key!(
            @ concat!(stringify!($section), ".", stringify!($inner)),
            [$section.$inner.$name],
            $name,
            Some($range),
            $about
        )
    };
    (@ $section:expr, [$($path:tt)+], $name:ident, $range:expr, $about:literal) => {
        KeyDoc {
            section: $section,
            name: stringify!($name),
            about: $about,
            expects: expects(|config| &config.$($path)+),
            range: $range,
            set: |config, text| put(&mut config.$($path)+, text),
            show: |config| Field::write(&config.$($path)+),
        }
    };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// Every key, in the order of the documentation.
pub fn keys() -> Vec<KeyDoc> {
    let mut all = listen_and_data();
    all.extend(engine());
    all.extend(feed());
    all.extend(doors());
    all.extend(telemetry());
    all
}

fn listen_and_data() -> Vec<KeyDoc> {
    vec![
        key!(listen.ingest, "Where events come in (Segment and RudderStack HTTP APIs)."),
        key!(listen.admin, "Where operators, metrics and health checks come in. Keep it private."),
        key!(listen.profiles, "Where profile reads and decisions come in. Keep it private."),
        key!(
            listen.behind_proxy,
            "Says that a proxy which speaks TLS stands before every address that is not loopback. Without it the server \
             refuses such an address: tokens and personal data would cross the network in clear."
        ),
        key!(
            listen.hosts,
            "Host names, separated by commas, that requests to the admin and profile listeners may name beside \
             `localhost` and the listeners' own addresses. Other names are refused: that stops web pages which make a \
             browser on this machine talk to the server."
        ),
        key!(
            data.directory,
            "The data directory; made on the first start. One running server per directory. See \
             [data-directory.md](data-directory.md)."
        ),
        key!(
            data.region,
            "The number of the jurisdiction that this data stays in; written into every frame of the log. It cannot be \
             changed later."
        ),
        key!(
            data.master_secret_file,
            "The file with the master secret (32 bytes), from which the keys for looking up identifiers and sealing \
             e-mail addresses and phone numbers are derived. Unset: `master.secret` in the data directory, made on the \
             first start. Without it the data cannot be used: keep a copy."
        ),
        key!(
            data.keyring_file,
            "The keyring that seals the log at rest (`throughline keys init`). Unset: `keyring` in the data directory, \
             if there is one; without a keyring the log is not encrypted."
        ),
    ]
}

fn engine() -> Vec<KeyDoc> {
    vec![
        key!(log.segment_bytes, MIB..=1 << 30, "The size of one file of the log."),
        key!(
            log.retention_age_days,
            0..=36_500,
            "Records may go once they are older than this; 0 keeps them for ever. What recovery or a follower still \
             needs is kept in any case."
        ),
        key!(
            log.retention_bytes,
            0..=1024 * TIB,
            "The oldest records may go while the log takes more bytes than this; 0 is no limit."
        ),
        key!(
            state.checkpoint_interval_ms,
            100..=3_600_000,
            "The time between checkpoints. A shorter one makes recovery shorter and writes more."
        ),
        key!(
            state.resident_bytes_max,
            16 * MIB..=64 * TIB,
            "The memory for rows. Rows beyond it are read from disk when they are needed."
        ),
        key!(state.reader_threads, 1..=64, "Threads that read rows from disk ahead of their use."),
        key!(
            state.merge_bytes_per_second,
            MIB..=64 << 30,
            "How fast background merges of checkpoint files may write."
        ),
        key!(
            queue.items_max,
            16..=1_000_000,
            "Requests that may wait for the log; a further one is answered with 429."
        ),
        key!(
            queue.bytes_max,
            MIB..=64 << 30,
            "Bytes of events that may wait for the log; a further request is answered with 429."
        ),
        key!(
            dedup.window_hours,
            24..=24 * 90,
            "For how long a repeated messageId is recognised and dropped, at least."
        ),
        key!(
            dedup.bytes_max,
            16 * MIB..=64 * TIB,
            "The memory and disk that message ids may take. When it is used up the door answers 503: the window never \
             gets shorter silently."
        ),
    ]
}

fn feed() -> Vec<KeyDoc> {
    vec![
        key!(
            feed.retention_age_days,
            0..=36_500,
            "Items of the change feed may go once they are older than this in log time; 0 keeps them as long as there is \
             room. A follower that comes back later takes a snapshot."
        ),
        key!(
            feed.retention_bytes,
            16 * MIB..=64 * TIB,
            "The oldest items go while the change feed takes more bytes."
        ),
        key!(
            feed.readers_max,
            1..=256,
            "Readers of the change feed at once; a further one is answered with 429."
        ),
        key!(
            feed.heartbeat_ms,
            50..=60_000,
            "How often an idle reader of the change feed gets a sign of life, which carries a cursor."
        ),
        key!(
            feed.stall_ms,
            100..=600_000,
            "A reader of the change feed that takes nothing for so long is disconnected; it can go on from its cursor."
        ),
        key!(
            delivery.allow,
            "Where destinations may lead although it is private, loopback or without TLS: networks separated by \
             commas, each as 10.0.0.0/8, with :8443 behind it for one port only, with +http for http:// too. Empty \
             allows public addresses over https only."
        ),
        key!(
            delivery.credentials,
            "The folder of the credentials of ad platforms: each is a file, and destinations name the file. Empty: there \
             are none."
        ),
        key!(
            shop.listen,
            "Where storefronts and buyers come in: the Storefront API and the checkout's pages. Only with the role `commerce`."
        ),
        key!(
            shop.url,
            "What buyers' browsers find the checkout at, e.g. `https://shop.example`; `http://` and `shop.listen` if empty."
        ),
        key!(
            shop.products,
            "A file of products that is taken in at each start: the CSV that Shopify exports (`.csv`), or JSON Lines. A product is \
             known by its handle; what it says replaces what was there, and stock is only set where the product is new."
        ),
        key!(
            shop.test_payments,
            "Offers payments that are played and not made, with every outcome that there can be. For trying things; never on a \
             shop that sells."
        ),
        key!(
            shop.resident_bytes_max,
            64 * MIB..=TIB,
            "Memory for the rows of carts, orders and stock. Rows beyond it are read from disk when wanted."
        ),
    ]
}

fn doors() -> Vec<KeyDoc> {
    vec![
        key!(ingest.threads, 0..=256, "Threads of the ingest door; 0 is one per core."),
        key!(ingest.connections_max, 1..=1_000_000, "Open connections of the ingest door."),
        key!(
            ingest.in_flight_bytes_max,
            16 * MIB..=1 << 40,
            "Bytes of request bodies that the ingest door holds at once; a further request is answered with 503."
        ),
        key!(
            ingest.default_country,
            "Where phone numbers without a country code are at home, as two letters (`DE`). Unset: such numbers are no \
             identifiers."
        ),
        key!(
            ingest.default_currency,
            "The currency of amounts that come without one, as three letters (`EUR`). Unset: their currency is unknown \
             and kept apart."
        ),
        key!(
            ingest.scripts,
            "The folder of scripts (`.js`, `.mjs`, `.js.map`) that pages load from the ingest door, at `/scripts/NAME` and \
             `/analytics.js/v1/KEY/NAME`; read at the start. Empty: there are none."
        ),
        key!(
            ingest.quarantine_events_max,
            1..=1_000_000,
            "Events that tracking plans keep in quarantine; beyond it the oldest go. It holds from the next one that comes."
        ),
        key!(
            ingest.quarantine_days,
            1..=3_650,
            "How long an event stays in quarantine; it needs the log to reach back as far."
        ),
        key!(
            private.body_bytes_max,
            KIB..=64 * MIB,
            "Bytes of one request body of the admin and profile listeners."
        ),
        key!(
            private.connections_max,
            1..=100_000,
            "Open connections of the admin and profile listeners, each."
        ),
        key!(private.request_timeout_ms, 100..=600_000, "The time that one request to them may take."),
        key!(
            private.audit_file_bytes_max,
            64 * KIB..=1 << 40,
            "The size at which the audit log of reads of personal data starts a new file."
        ),
        key!(private.audit_files_max, 1..=10_000, "How many files of the audit log are kept."),
    ]
}

fn telemetry() -> Vec<KeyDoc> {
    vec![
        key!(telemetry.log_level, "The least important lines that are written to standard error."),
        key!(telemetry.log_format, "The form of those lines: for people, or one JSON object each."),
        key!(
            telemetry.traces.endpoint,
            "A collector that takes traces as OTLP over HTTP, such as `http://127.0.0.1:4318`; `/v1/traces` is added. An \
             address that stands here may be connected to at that port; for a host name the rules of `delivery.allow` \
             hold. Unset: no request is followed. See [operating.md](operating.md#follow-single-requests)."
        ),
        key!(
            telemetry.traces.sample_per_million,
            0..=1_000_000,
            "Of a million requests with events, how many are followed. A request that comes with a W3C `traceparent` is \
             followed or not as that says."
        ),
        key!(
            telemetry.traces.per_second_max,
            1..=1_000,
            "Requests followed in a second at most: so many by chance, and so many because their `traceparent` asks for \
             it. Of deliveries that follow from them, so many as well."
        ),
    ]
}
