//! What an operator can change while the door is open.

use crate::rules::KeyRules;
use model::event::IdentifierKind;
use model::money::NO_CURRENCY;
use model::normalise::PhoneCountry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// Everything that a request is judged by. Immutable: a change makes a new one (see [`SettingsCell`]).
#[derive(Clone, Debug, Default)]
pub struct DoorSettings {
    /// Who may send, by the key they present.
    pub write_keys: HashMap<String, WriteKey>,
    /// What keys may send, by their number; a key that is not here may send anything.
    pub rules: HashMap<u32, Arc<KeyRules>>,
    /// Which identifiers events may carry beside the built-in ones.
    pub identity: IdentitySettings,
    /// How much one request may hold.
    pub limits: Limits,
    /// Where phone numbers without a country code are at home; without one they are no identifiers.
    pub default_country: Option<PhoneCountry>,
    /// The currency of amounts that come without one.
    pub default_currency: DefaultCurrency,
    /// Which web pages may send.
    pub cors: Cors,
    /// How much the shard keeps in quarantine.
    pub quarantine: QuarantineBounds,
}

/// How much the shard keeps in quarantine: the oldest go beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineBounds {
    /// Events.
    pub rows_max: u32,
    /// For so long, in seconds.
    pub kept_s: u32,
}

impl Default for QuarantineBounds {
    fn default() -> Self {
        Self { rows_max: 100_000, kept_s: 30 * 24 * 3_600 }
    }
}

/// The currency of amounts that come without one; `XXX` unless set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultCurrency(pub [u8; 3]);

impl Default for DefaultCurrency {
    fn default() -> Self {
        Self(NO_CURRENCY)
    }
}

/// A write key as the door knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteKey {
    /// The number that events carry instead of the key.
    pub number: u32,
    /// Who holds it.
    pub kind: WriteKeyKind,
    /// A disabled key is known and refused.
    pub enabled: bool,
    /// Whether order values of a browser key count. Those of server keys always do.
    pub value_counts: bool,
}

/// Who holds a write key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKeyKind {
    /// Printed in web pages, so anybody has it: its word is a claim.
    Browser,
    /// Kept secret on a server.
    Server,
}

/// Identifier types beyond the built-in ones.
#[derive(Clone, Debug, Default)]
pub struct IdentitySettings {
    /// From the `type` of a `context.externalIds` entry to the identifier type it is. `user_id`, `email`, `phone`,
    /// `anonymous_id`, `android.id` and `ios.id` are known without an entry; other types are ignored.
    pub external_kinds: HashMap<String, IdentifierKind>,
}

/// How much one request may hold.
///
/// Segment's SDKs put the write key into the body and keep to Segment's published limits; RudderStack's do not and
/// send up to 4 MiB, so requests are judged by the family that their shape shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests whose body names its write key.
    pub segment: FamilyLimits,
    /// All others.
    pub rudder: FamilyLimits,
    /// Bytes of a body, as sent and unpacked, whoever sends it.
    pub body_bytes_max: usize,
    /// How deep JSON may nest.
    pub depth_max: u32,
    /// Bytes of the context that a batch's envelope adds to each of its events.
    pub envelope_context_bytes_max: usize,
    /// Bytes of the records that one request may become.
    pub records_bytes_max: usize,
}

/// Limits of one family of SDKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyLimits {
    /// Bytes of one event.
    pub event_bytes_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// Events of one batch.
    pub events_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let largest_rudder_body_bytes = 4 * 1024 * 1024;
        Self {
            segment: FamilyLimits {
                event_bytes_max: 32 * 1024,
                body_bytes_max: 500 * 1024,
                events_max: 2_500,
            },
            // RudderStack's Python SDK fills its batches up to 4 MiB of events; the envelope comes on top.
            rudder: FamilyLimits {
                event_bytes_max: largest_rudder_body_bytes,
                body_bytes_max: largest_rudder_body_bytes + 64 * 1024,
                events_max: 10_000,
            },
            body_bytes_max: largest_rudder_body_bytes + 64 * 1024,
            depth_max: 64,
            envelope_context_bytes_max: 16 * 1024,
            records_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// Which web pages may send events with a browser's help.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// Every page: a browser write key is public, and the door reads no cookies.
    #[default]
    AnyOrigin,
    /// Pages of these origins (`https://shop.example`).
    Origins(BTreeSet<String>),
}

impl Cors {
    /// Whether a page of this origin may send.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::AnyOrigin => true,
            Self::Origins(origins) => origins.contains(origin),
        }
    }
}

/// The current settings, shared by all threads of the door. Reading is one lock and one reference count.
#[derive(Debug, Default)]
pub struct SettingsCell {
    current: RwLock<Arc<DoorSettings>>,
}

impl SettingsCell {
    /// Starts with these settings.
    pub fn new(settings: DoorSettings) -> Self {
        Self { current: RwLock::new(Arc::new(settings)) }
    }

    /// The settings now. A request uses one snapshot from beginning to end.
    pub fn load(&self) -> Arc<DoorSettings> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings; requests that began before finish under the old ones.
    pub fn store(&self, settings: DoorSettings) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}
