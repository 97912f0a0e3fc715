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
//! let opened = config.open(name, &env, &egress, &folder)?;
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

pub use api::{Counters, Credential};

use audience::{Audiences, AudiencesError};
use criteo::CriteoConfig;
use delivery::egress::Egress;
use delivery::env::Env;
use delivery::{Destination, LaneOptions};
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
}

impl PlatformConfig {
    /// Checks the configuration and opens the destination. `name` is the lane's; destinations with lists keep their shadow
    /// under it in `folder`.
    pub fn open(
        self,
        name: &str,
        env: &Env,
        egress: &Egress,
        folder: &Path,
    ) -> Result<Opened, AudiencesError> {
        let clock = || Arc::clone(&env.clock);
        let lists = |options, audiences| {
            let audiences = Arc::new(audiences);
            let destination = Arc::clone(&audiences) as Arc<dyn Destination>;
            Opened { options, destination, audiences: Some(audiences) }
        };
        let events = |options, destination| Opened { options, destination, audiences: None };
        Ok(match self {
            Self::MetaAudience(config) => lists(config.lane(name), config.open(name, env, egress, folder)?),
            Self::GoogleAudience(config) => lists(config.lane(name), config.open(name, env, egress, folder)?),
            Self::CriteoAudience(config) => lists(config.lane(name), config.open(name, env, egress, folder)?),
            Self::MetaConversions(config) => {
                let options = config.lane(name);
                events(options, Arc::new(MetaConversions::new(name, config, egress, clock())?))
            }
            Self::GoogleEvents(config) => {
                let options = config.lane(name);
                events(options, Arc::new(GoogleEvents::new(name, config, egress, clock())?))
            }
            Self::TiktokEvents(config) => {
                let options = config.lane(name);
                events(options, Arc::new(Tiktok::new(name, config, egress, clock())?))
            }
        })
    }
}
