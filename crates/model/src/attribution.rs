//! Which touch an order is credited to, and how channels share what they sold together.
//!
//! [`last_touch`] is what the line goes by: streaming, one answer per order. [`Paths`] is for whoever has whole paths and
//! wants to compare models. All of them split observed credit; none proves a cause.

mod shares;

pub use shares::{
    MAX_CHANNEL_BYTES, MAX_CHANNELS, MAX_PATH_TOUCHES, MAX_TOTAL, PathError, Paths, Share, Shares,
};

use crate::id::Timestamp;
use crate::line::{LineSettings, Touch, TouchKind};

/// The touch that an order at `at` is credited to: the last click on an ad or in a mail that is recent enough, else the
/// last view of one, else the last session. What was invalid or could not be seen earns nothing. `touches` are a
/// person's, as [`Touch::before`] has them. `None`: nothing came before it.
pub fn last_touch<'t>(
    touches: impl DoubleEndedIterator<Item = &'t Touch> + Clone,
    at: Timestamp,
    settings: &LineSettings,
) -> Option<&'t Touch> {
    let recent = |window_us: i64, wanted: fn(TouchKind) -> bool| {
        let fits = move |touch: &&Touch| {
            wanted(touch.kind) && !touch.invalid && touch.at <= at && at.since_us(touch.at) <= window_us
        };
        touches.clone().rev().find(fits)
    };
    recent(settings.click_window_us, |kind| matches!(kind, TouchKind::Click | TouchKind::MailClick))
        .or_else(|| recent(settings.view_window_us, TouchKind::is_view))
        .or_else(|| recent(settings.click_window_us, |kind| kind == TouchKind::Session))
}
