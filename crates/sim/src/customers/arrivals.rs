//! Promise 8 in the end: each effect of a destination arrived, once as to its key, or somebody can say why not.

use super::Customers;
use super::setup::{CART, Wish};
use crate::subject::{Around, Explained};
use anyhow::{Result, bail, ensure};
use delivery::{DeadLetter, DeadReason};
use engage::effect::{
    AUDIENCE_ENTERED, AUDIENCE_EXITED, Body, ERASED, MERGED, SUPPRESSION_ENDED, SUPPRESSION_STARTED,
};
use engage::{Engage, SendingClass};
use engine::feed::{Item, What};
use eventlog::Frame;
use model::event::Event;
use model::id::{EffectId, Position, public_id};
use model::record::{RecordKind, decode_records};
use serde_json::Value;
use std::collections::BTreeMap;

/// What the kinds are called outside, as they are documented.
const NAMES: [(u16, &str); 6] = [
    (SUPPRESSION_STARTED, "suppression.started"),
    (SUPPRESSION_ENDED, "suppression.ended"),
    (MERGED, "profile.merged"),
    (ERASED, "profile.erased"),
    (AUDIENCE_ENTERED, "audience.entered"),
    (AUDIENCE_EXITED, "audience.exited"),
];

/// What is expected of an item at a destination: what it is called there.
fn expected(wish: &Wish, item: &Item, names: &BTreeMap<Position, String>) -> Option<&'static str> {
    match &item.what {
        What::Event { .. } => {
            let name = names.get(&item.id.position)?;
            wish.events.contains(&name.as_str()).then_some("event.accepted")
        }
        What::Effect { kind, body } => {
            let (_, name) = NAMES.iter().find(|(number, _)| number == kind)?;
            let is_about_a_cart = match Body::decode(*kind, body).ok()? {
                Body::Audience { audience, .. } => Some(audience.0 == CART),
                _ => None,
            };
            let passes = wish.audiences.is_empty() || is_about_a_cart != Some(false);
            (wish.kinds.contains(name) && passes).then_some(*name)
        }
    }
}

/// What receivers have of one message.
#[derive(Default)]
struct Had {
    body: Vec<u8>,
    taken: bool,
    promised: bool,
    /// The client was told that it may send it again.
    denied: bool,
}

impl Customers {
    pub(super) fn judge_arrivals(
        &mut self,
        around: &Around<'_, Engage>,
        frames: &[Frame],
        explained: &Explained,
        dead: &[(usize, DeadLetter)],
    ) -> Result<()> {
        let names = names_of_events(frames);
        let wishes = self.setup.wishes().to_vec();
        let settings = around.core.view().settings();
        for (lane, wish) in wishes.into_iter().enumerate() {
            let Some(destination) = settings.destinations.iter().find(|one| one.name == wish.name) else {
                continue;
            };
            let since = destination.since;
            let items = explained.feed.iter().filter(|item| item.id.position >= since);
            let wanted: BTreeMap<String, (&Item, &str)> = items
                .filter_map(|item| Some((item.id.to_string(), (item, expected(wish, item, &names)?))))
                .collect();
            let had = self.had(lane, wish, &wanted)?;
            let letters: BTreeMap<EffectId, DeadReason> = dead
                .iter()
                .filter(|(place, _)| *place == lane)
                .map(|(_, letter)| (letter.parcel.id, letter.reason))
                .collect();
            for (key, (item, _)) in &wanted {
                self.judge_one(lane, wish, item, had.get(key), letters.get(&item.id))?;
            }
        }
        Ok(())
    }

    /// What a receiver got: nothing that the log does not explain, and under one key one message.
    fn had(
        &self,
        lane: usize,
        wish: &Wish,
        wanted: &BTreeMap<String, (&Item, &str)>,
    ) -> Result<BTreeMap<String, Had>> {
        let mut all: BTreeMap<String, Had> = BTreeMap::new();
        let receptions = self.outside.network().receptions_from(0);
        for reception in receptions.into_iter().filter(|reception| reception.lane == lane) {
            let Some((item, name)) = wanted.get(&reception.id) else {
                bail!("promise 8: {} arrived, which the log does not explain", reception.id);
            };
            let is_first = !all.contains_key(&reception.id);
            let had = all.entry(reception.id.clone()).or_default();
            // Better never than twice: only a clear "later" allows another attempt.
            ensure!(
                is_first
                    || wish.class == SendingClass::Transactional
                    || had.denied
                    || self.outside.books().is_resent(lane, item.id),
                "promise 8: {} is marketing and arrived again, although nobody knows what became of it",
                reception.id
            );
            had.denied = reception.denied;
            if had.body.is_empty() {
                let body: Value = serde_json::from_slice(&reception.body)?;
                let fits = body["type"] == **name
                    && body["id"] == reception.id
                    && body["data"]["profile"] == public_id("prf", item.subject);
                ensure!(fits, "promise 8: {} arrived as {body}, and is {item:?}", reception.id);
                had.body.clone_from(&reception.body);
            }
            ensure!(had.body == reception.body, "promise 8: {} arrived with two bodies", reception.id);
            had.taken |= reception.taken;
            had.promised |= reception.promised;
        }
        Ok(all)
    }

    fn judge_one(
        &mut self,
        lane: usize,
        wish: &Wish,
        item: &Item,
        had: Option<&Had>,
        dead: Option<&DeadReason>,
    ) -> Result<()> {
        let (taken, promised) = had.map_or((false, false), |had| (had.taken, had.promised));
        if taken {
            self.told.arrived += 1;
            return Ok(());
        }
        let excused = self.outside.books().is_excused(lane, item.id);
        let is_living = self.living == Some(lane);
        // What nobody knows the outcome of lies among the dead, also where the destination was good all the time.
        let may_be_dead = !is_living || dead == Some(&DeadReason::UnknownOutcome);
        let lied_to = promised && !is_living;
        let is_explained = excused || lied_to || dead.is_some() && may_be_dead;
        ensure!(
            is_explained,
            "promise 8: {} never got {} ({:?}), which no permit refused and which is not among the dead",
            wish.name,
            item.id,
            item.what
        );
        Ok(())
    }
}

fn names_of_events(frames: &[Frame]) -> BTreeMap<Position, String> {
    let records =
        frames.iter().flat_map(|frame| decode_records(&frame.body, frame.first, frame.received_at).flatten());
    let events = records.filter(|record| record.kind == RecordKind::EVENT);
    events
        .filter_map(|record| Some((record.position, Event::decode(record.body).ok()?.name.to_owned())))
        .collect()
}
