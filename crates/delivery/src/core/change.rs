//! Lanes that come, go and change while the others go on.

use super::Core;
use super::lane::{Book, Lane};
use crate::error::OptionsError;
use crate::ledger::Entry;
use crate::options::{LANES_MAX, LaneOptions};
use crate::parcel::Moment;

impl Core {
    /// Opens a lane, which goes on where the ledger left it and counts on where it was closed. Gives its place.
    pub fn open_lane(&mut self, options: LaneOptions, now: Moment) -> Result<usize, OptionsError> {
        options.validate()?;
        let bad =
            |what: &str| OptionsError { lane: options.name.clone(), option: "name", what: what.to_owned() };
        if self.lanes.values().any(|lane| lane.options.name == options.name) {
            return Err(bad("is used by two destinations, and must be unique"));
        }
        let known = self.ledger.number_of(&options.name);
        if known.is_none() && self.ledger.lanes.len() >= LANES_MAX {
            return Err(bad("is one too many: the journal holds no more than 1,024, former ones included"));
        }
        let number = known.unwrap_or_else(|| self.ledger.next_number());
        if known.is_none() {
            self.book().write(Entry::Named { lane: number, name: options.name.clone() });
        }
        let counted = self.closed.remove(&options.name);
        let lane_ledger = self.ledger.lanes.get(&number).cloned().unwrap_or_default();
        let mut lane = Lane::new(options, number, &lane_ledger, now);
        if let Some(counted) = counted {
            lane.status = counted;
        }
        if self.unsynced || !self.entries.is_empty() {
            // What the lane settled before it was closed may not be durable yet.
            (lane.sync_first, lane.durable_through) = (true, None);
        }
        let place = self.next_place;
        self.next_place += 1;
        self.lanes.insert(place, lane);
        Ok(place)
    }

    /// Lets a lane begin nothing new; what is under way may end. Gives its place; `None` if there is no such lane.
    pub fn wind_up(&mut self, name: &str) -> Option<usize> {
        let (place, lane) = self.lanes.iter_mut().find(|(_, lane)| lane.options.name == name)?;
        lane.closing = true;
        Some(*place)
    }

    /// Whether a lane has nothing under way.
    pub fn is_at_rest(&self, place: usize) -> bool {
        self.lanes.get(&place).is_none_or(|lane| lane.attempts.is_empty())
    }

    /// Closes a lane; the next step is synced. What it had under way counts as it would after a crash: marketing parcels
    /// have an unknown outcome, others are sent again when the lane is opened again.
    pub fn close_lane(&mut self, place: usize) {
        let Some(mut lane) = self.lanes.remove(&place) else { return };
        let book = &mut Book { ledger: &mut self.ledger, entries: &mut self.entries };
        for id in lane.condemned.clone() {
            lane.settle(id, book);
        }
        lane.flush(book);
        self.sync_now = true;
        self.closed.insert(lane.options.name.clone(), lane.status);
    }
}
