//! Ad platforms as destinations: Meta, Google, TikTok, Criteo.
//!
//! What leaves, in order: a parcel's body is read ([`message`]); what is known of the person becomes a [`contact`], phone
//! numbers in E.164; the platform's own rules make it comparable and hash it (`normalise` of each platform, held against
//! the platforms' own libraries); a payload of up to thousands is built, sent through `delivery`'s egress client, and the
//! answer judged ([`answer`]) for each parcel.
//!
//! Two kinds of destination:
//! - **lists** ([`audience::Audiences`]): people are put into and taken out of a platform's list. A durable [`shadow`] of
//!   what the platform was told makes it send only differences and repeat what may have got lost;
//! - **events** ([`meta::conversions`], [`google::events`], [`tiktok`]): what people did, each event once by its id.
//!
//! # How to wire one
//!
//! ```ignore
//! let config: PlatformConfig = …;                       // from a file or a definition: `{"platform": "tiktok_events", …}`
//! let opened = config.open(name, &env, &egress, &Keeping { folder: &folder, keys })?;
//! runner.open(LaneParts { options: opened.options, source, destination: opened.destination }).await?;
//! ```
//!
//! [`Opened::audiences`] is there for destinations with lists: for a re-sync, and for what status pages show.
//!
//! Class: every call is safe to repeat, so parcels should be `Transactional`: an unknown outcome is then repeated instead
//! of becoming a dead letter. Whether something may be sent at all remains the permits' matter.

pub mod answer;
pub mod audience;
pub mod contact;
pub mod criteo;
pub mod google;
pub mod message;
pub mod meta;
pub mod shadow;
pub mod tiktok;

mod api;
mod events;
mod oauth;

pub use api::{Counters, Credential};

use crate::error::ConfigError;
use audience::{Audiences, AudiencesError};
use criteo::CriteoConfig;
use delivery::egress::Egress;
use delivery::env::Env;
use delivery::{Destination, JournalKeys, LaneOptions};
use google::audience::GoogleAudienceConfig;
use google::events::{GoogleEvents, GoogleEventsConfig};
use meta::audience::MetaAudienceConfig;
use meta::conversions::{MetaConversions, MetaConversionsConfig};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use tiktok::{Tiktok, TiktokConfig};

/// A platform as it is configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "platform", rename_all = "snake_case")]
pub enum PlatformConfig {
    /// Custom audiences.
    MetaAudience(MetaAudienceConfig),
    /// The Conversions API.
    MetaConversions(MetaConversionsConfig),
    /// Customer Match.
    GoogleAudience(GoogleAudienceConfig),
    /// Conversions through the Data Manager API.
    GoogleEvents(GoogleEventsConfig),
    /// The Events API.
    TiktokEvents(TiktokConfig),
    /// Contact lists.
    CriteoAudience(CriteoConfig),
}

/// A platform that can be sent to.
pub struct Opened {
    /// The lane that suits it.
    pub options: LaneOptions,
    /// What the lane sends to.
    pub destination: Arc<dyn Destination>,
    /// The same destination, where it keeps lists.
    pub audiences: Option<Arc<Audiences>>,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// How long the platform itself takes until what it accepted works, in seconds, where it documents that.
    pub own_lag_s: Option<u64>,
}

/// Where destinations keep what has to outlive them.
#[derive(Clone, Debug)]
pub struct Keeping<'a> {
    /// The folder of shadows.
    pub folder: &'a Path,
    /// Keys that seal them, since they hold hashes of personal data. `None` leaves them in clear.
    pub keys: Option<JournalKeys>,
}

impl<'a> Keeping<'a> {
    /// In this folder, in clear.
    pub fn in_clear(folder: &'a Path) -> Self {
        Self { folder, keys: None }
    }
}

impl PlatformConfig {
    /// Checks what can be checked without opening it: that there is one credential.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            Self::GoogleAudience(config) => api::one_of(config.access_token.as_ref(), config.oauth.as_ref()),
            Self::GoogleEvents(config) => api::one_of(config.access_token.as_ref(), config.oauth.as_ref()),
            Self::CriteoAudience(config) => api::one_of(config.access_token.as_ref(), config.oauth.as_ref()),
            Self::MetaAudience(_) | Self::MetaConversions(_) | Self::TiktokEvents(_) => Ok(()),
        }
    }

    /// How long the platform itself takes, as it documents it: Meta's guide of custom audiences, Google's help on Customer
    /// Match.
    fn own_lag_s(&self) -> Option<u64> {
        match self {
            Self::MetaAudience(_) => Some(24 * 3_600),
            Self::GoogleAudience(_) => Some(48 * 3_600),
            _ => None,
        }
    }

    /// Checks the configuration and opens the destination. `name` is the lane's; destinations with lists keep their shadow
    /// under it.
    pub fn open(
        self,
        name: &str,
        env: &Env,
        egress: &Egress,
        keeping: &Keeping<'_>,
    ) -> Result<Opened, AudiencesError> {
        let clock = || Arc::clone(&env.clock);
        let own_lag_s = self.own_lag_s();
        let lists = |options, audiences: Audiences| {
            let counters = audiences.counters();
            let audiences = Arc::new(audiences);
            let destination = Arc::clone(&audiences) as Arc<dyn Destination>;
            Opened { options, destination, audiences: Some(audiences), counters, own_lag_s }
        };
        let events = |options, destination, counters| Opened {
            options,
            destination,
            audiences: None,
            counters,
            own_lag_s,
        };
        Ok(match self {
            Self::MetaAudience(config) => lists(config.lane(name), config.open(name, env, egress, keeping)?),
            Self::GoogleAudience(config) => {
                lists(config.lane(name), config.open(name, env, egress, keeping)?)
            }
            Self::CriteoAudience(config) => {
                lists(config.lane(name), config.open(name, env, egress, keeping)?)
            }
            Self::MetaConversions(config) => {
                let options = config.lane(name);
                let opened = Arc::new(MetaConversions::new(name, config, egress, clock())?);
                let counters = opened.counters();
                events(options, opened, counters)
            }
            Self::GoogleEvents(config) => {
                let options = config.lane(name);
                let opened = Arc::new(GoogleEvents::new(name, config, egress, env, keeping)?);
                let counters = opened.counters();
                events(options, opened, counters)
            }
            Self::TiktokEvents(config) => {
                let options = config.lane(name);
                let opened = Arc::new(Tiktok::new(name, config, egress, clock())?);
                let counters = opened.counters();
                events(options, opened, counters)
            }
        })
    }
}
