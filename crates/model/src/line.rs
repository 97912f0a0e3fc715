//! The line: throughput, cycle time and scrap rate, from what people were shown, did and bought.
//!
//! Each node keeps a [`Trail`]: its touches, purchases, words about consent, and how far confirmations came. What a
//! person contributes to the [`Figures`] of each hour and campaign is [`reckon`], a pure function of the trails of all
//! their nodes. Whatever changes a trail, or who a trail belongs to, changes the figures by the difference between
//! before and after. So the figures are the same for every order of arrival and every late merge, within
//! [`OPEN_US`]; and a correction is a difference that can be published.
//!
//! Times are those of events (clamped, see [`crate::event::Event::clamped_at`]), not of their arrival: a span must not
//! depend on which of two doors was quicker. Money is in millionths of one currency, converted when it arrives. The
//! definitions, one by one: `docs/line.md`.

mod figures;
mod noted;
mod reckon;
mod settings;
mod spread;
mod trail;

pub use figures::{Figures, Ledger, Measure, Place, SCRAP, Span};
pub use noted::{MAX_CAMPAIGN_BYTES, Noted, campaign, kept_properties, noted, session};
pub use reckon::{OPEN_US, changed_from, hour_of, open_from, reckon};
pub use settings::{LineError, LineSettings, MAX_FORMER, MAX_LINE_WINDOW_US, MAX_RATES, NANO, Rate};
pub use spread::Spread;
pub use trail::{
    Bought, CampaignNames, MAX_FACTS, MAX_SCOPES, MAX_TOUCHES, Milestone, Touch, TouchKind, Trail, Word,
    Worth, tie,
};
