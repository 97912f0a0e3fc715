//! Keeps the line's figures in step with what people were shown, did and bought.
//!
//! Whatever changes a trail, or whose it is, is bracketed: what the people concerned come to before is taken from the
//! figures, what they come to afterwards is added. The rules are `model::line`'s.

mod hours;

pub(crate) use hours::Hours;
pub use hours::{LineHours, MAX_SHOWN_BYTES};

use crate::effect::Body;
use crate::resolve::Step;
use crate::state::{State, THE_CAMPAIGNS};
use crate::view::Change;
use engine::Value;
use model::codec::{DecodeError, Decoder, Encoder};
use model::event::{Event, OrderFact};
use model::id::{Key, Timestamp};
use model::line::{
    Bought, CampaignNames, Figures, Ledger, Milestone, Noted, Place, Touch, Trail, Word, Worth, campaign,
    changed_from, noted, open_from, reckon, session,
};
use model::money::exponent;
use model::order::{Order, order_key};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const HOUR_US: i64 = 3_600 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// The most campaigns that are told apart; further ones are one together, under [`OTHER_CAMPAIGNS`].
pub const MAX_CAMPAIGNS: usize = 1_000;
/// The most of them that only browsers have named: the rest is for the shop's servers.
pub const MAX_CLAIMED_CAMPAIGNS: usize = 500;
/// The name of all campaigns beyond [`MAX_CAMPAIGNS`].
pub const OTHER_CAMPAIGNS: &str = "(other)";
/// How long figures are kept.
pub const KEPT_US: i64 = 800 * DAY_US;
/// An hour that was published and then corrected is published again, but not more often than this.
const AGAIN_AFTER_US: i64 = 60 * 1_000_000;
/// The highest value of an order that is believed here: a thousand million units.
const MAX_ORDER_MICRO: i64 = 1_000_000_000 * 1_000_000;

/// The trail of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrailRow(pub Trail);

impl Value for TrailRow {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(&mut Encoder(out));
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let trail = Trail::decode(decoder)?;
        decoder.finish()?;
        Ok(Self(trail))
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }
}

/// The figures of one hour and campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineRow {
    /// Which.
    pub place: Place,
    /// What they are now.
    pub figures: Figures,
    /// How often they were published; the second time and later ones are corrections.
    pub published: u32,
    /// They changed since.
    pub changed: bool,
}

impl Value for LineRow {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.signed(i64::from(self.place.hour));
        encoder.u64(self.place.campaign);
        self.figures.encode(encoder);
        encoder.u32(self.published);
        encoder.bool(self.changed);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let hour = i32::try_from(decoder.signed()?).map_err(|_| DecodeError::Overlong)?;
        let place = Place { hour, campaign: decoder.u64()? };
        let figures = Figures::decode(decoder)?;
        let row = Self { place, figures, published: decoder.u32()?, changed: decoder.bool()? };
        decoder.finish()?;
        Ok(row)
    }

    fn heap_bytes(&self) -> usize {
        self.figures.heap_bytes()
    }
}

/// The campaigns that are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Campaigns {
    /// Their names, by number.
    pub names: CampaignNames,
    /// Those that only browsers have named: their write key is public, and must not use up every name.
    pub claimed: BTreeSet<u64>,
}

impl Campaigns {
    /// Whether there is room for another name.
    fn has_room(&self, from_server: bool) -> bool {
        self.names.len() < MAX_CAMPAIGNS && (from_server || self.claimed.len() < MAX_CLAIMED_CAMPAIGNS)
    }
}

impl Value for Campaigns {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.varint(self.names.len() as u64);
        for (number, name) in &self.names {
            encoder.text(name);
            encoder.bool(self.claimed.contains(number));
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let (mut names, mut claimed) = (BTreeMap::new(), BTreeSet::new());
        for _ in 0..decoder.count()? {
            let name = decoder.text()?;
            names.insert(campaign(name), name.into());
            if decoder.bool()? {
                claimed.insert(campaign(name));
            }
        }
        decoder.finish()?;
        Ok(Self { names, claimed })
    }

    fn heap_bytes(&self) -> usize {
        let names: usize = self.names.values().map(|name| name.len() + 32).sum();
        names + self.claimed.len() * 16
    }
}

/// The key of a row.
pub(crate) fn line_key(place: Place) -> Key {
    Key::of_text("line", "")
        .with(Key(u128::from(place.hour.cast_unsigned()) << 64 | u128::from(place.campaign)))
}

/// What an order is worth in the line's currency, less what went back; `None` where its value does not count.
fn worth(order: &Order, settings: &model::line::LineSettings, at: Timestamp) -> Option<Worth> {
    let parts = order.contributions();
    if parts.is_empty() {
        return None;
    }
    let micro = parts.iter().try_fold(0_i64, |sum, part| {
        let scale = 10_i64.pow(6_u32.saturating_sub(u32::from(exponent(part.currency))));
        let own = part.value_minor.saturating_sub(part.refunded_minor).saturating_mul(scale);
        let own = own.clamp(-MAX_ORDER_MICRO, MAX_ORDER_MICRO);
        Some(sum.saturating_add(settings.convert(own, part.currency, at)?))
    });
    Some(micro.map_or(Worth::Unpriced, Worth::Micro))
}

/// What an event changes in trails.
enum Edit {
    Touch(Touch),
    Word(Word),
    Reach(Milestone),
    Buy(Bought),
    Unbuy(Key),
}

impl State {
    /// Whether the line is measured.
    pub(crate) fn line_is_on(&self) -> bool {
        self.known_settings().is_some_and(|settings| settings.line.is_on())
    }
}

impl Step<'_> {
    /// Nodes that an order was reported under before the event changes it.
    pub(crate) fn reporters(&mut self, fact: Option<&OrderFact<'_>>) -> Vec<Key> {
        let Some(fact) = fact.filter(|_| self.settings.line.is_on()) else { return Vec::new() };
        let order = self.state.orders.get(order_key(fact.order_id)).map(|row| &row.0);
        let all =
            order.iter().flat_map(|order| order.reporters.iter().map(|own| own.node).chain([order.owner]));
        all.filter(|node| *node != Key(0)).collect()
    }

    /// Takes an event into the trails that it concerns; `former` are the order's [`Step::reporters`] from before.
    pub(crate) fn line_event(&mut self, event: &Event<'_>, node: Key, at: Timestamp, former: Vec<Key>) {
        if !self.settings.line.is_on() {
            return;
        }
        let mut edits: Vec<(Key, Edit)> = Vec::new();
        let settings = &self.settings.line;
        match noted(event, at, settings) {
            Some(Noted::Touch(mut touch, name)) => {
                touch.campaign = self.campaign(&name);
                edits.push((node, Edit::Touch(touch)));
            }
            Some(Noted::Milestone(milestone)) => edits.push((node, Edit::Reach(milestone))),
            None => {}
        }
        if let Some(half_hour) = session(event, at, settings) {
            edits.push((node, Edit::Touch(half_hour)));
        }
        let category = &self.settings.line.at(at).consent_category;
        for word in event.consent.iter().filter(|word| word.category == &**category) {
            // A browser may tighten consent, never loosen it.
            if event.from_server || !word.granted {
                edits.push((node, Edit::Word(Word { at, is_withdrawn: !word.granted })));
            }
        }
        if let Some(fact) = event.order.filter(|fact| !fact.order_id.is_empty()) {
            self.order_edits(order_key(fact.order_id), former, &mut edits);
        }
        if !edits.is_empty() {
            self.edit_trails(edits);
        }
    }

    fn order_edits(&mut self, key: Key, former: Vec<Key>, edits: &mut Vec<(Key, Edit)>) {
        let order = self.state.orders.get(key).map(|row| row.0.clone()).unwrap_or_default();
        let now = self.reporters_of(&order);
        let known: BTreeSet<Key> = former.into_iter().collect();
        let all: BTreeSet<Key> = known.union(&now).copied().collect();
        for node in all {
            if !now.contains(&node) {
                edits.push((node, Edit::Unbuy(key)));
                continue;
            }
            let made_room = self.state.trails.get(node).is_some_and(|row| row.0.made_room(key));
            if made_room && known.contains(&node) {
                continue;
            }
            let owns = order.owner == node;
            let kept = self.state.trails.get(node).and_then(|row| row.0.bought(key)).cloned();
            let aggregate = self.state.nodes.get(node).and_then(|row| row.aggregate.as_deref());
            let purchase = aggregate.and_then(|own| own.purchases.0.iter().find(|one| one.order == key));
            let stated = order.stated.filter(|_| owns);
            let (mut at, mut until, scopes, lifted) = match (purchase, kept) {
                (Some(own), _) => (own.at, own.until, own.scopes.clone(), own.lifted),
                (None, Some(own)) => {
                    let lifted = self.settings.suppression.refund_lifts && order.is_undone();
                    (own.at, own.until, own.scopes, lifted)
                }
                (None, None) => (self.now, self.now, Box::default(), false),
            };
            // The order's own time; what was bought is bought for as long as before, from then on.
            if let Some(stated) = stated {
                until = until.plus_us(stated.at.since_us(at));
                at = stated.at;
            }
            let value = if owns { worth(&order, &self.settings.line, at) } else { None };
            edits.push((node, Edit::Buy(Bought { order: key, at, until, scopes, lifted, value })));
        }
    }

    fn reporters_of(&self, order: &Order) -> BTreeSet<Key> {
        let owner = order.stated.map(|_| order.owner);
        let all = order.reporters.iter().map(|own| own.node).chain(owner);
        all.filter(|node| *node != Key(0)).collect()
    }

    /// The number of a campaign that is told apart, or that of all others together.
    fn campaign(&mut self, name: &str) -> u64 {
        let number = campaign(name);
        if number == 0 {
            return 0;
        }
        let other = campaign(OTHER_CAMPAIGNS);
        let (has_room, has_other) = match self.state.campaigns.get(THE_CAMPAIGNS) {
            Some(known) if known.names.contains_key(&number) => {
                if self.from_server && known.claimed.contains(&number) {
                    self.change_campaigns(|known| {
                        known.claimed.remove(&number);
                    });
                }
                return number;
            }
            Some(known) => (known.has_room(self.from_server), known.names.contains_key(&other)),
            None => (true, false),
        };
        let (number, name) = if has_room { (number, name) } else { (other, OTHER_CAMPAIGNS) };
        if has_room || !has_other {
            let is_claimed = has_room && !self.from_server;
            self.change_campaigns(|known| {
                known.names.insert(number, name.into());
                if is_claimed {
                    known.claimed.insert(number);
                }
            });
        }
        number
    }

    fn change_campaigns(&mut self, change: impl FnOnce(&mut Campaigns)) {
        if let Some(known) = self.state.campaigns.get_or_insert_with(THE_CAMPAIGNS, Campaigns::default) {
            change(known);
            self.outcome.changes.push(Change::Campaigns(Arc::new(known.clone())));
        }
    }

    fn edit_trails(&mut self, edits: Vec<(Key, Edit)>) {
        let (open, context) = open_from(self.now, &self.settings.line);
        let nodes: BTreeSet<Key> = edits.iter().map(|edit| edit.0).collect();
        let mut people = BTreeSet::new();
        for node in &nodes {
            people.extend(self.profile_of(*node));
            // Making room comes first, so that what was counted with the old stays counted.
            if let Some(row) = self.state.trails.get_mut(*node) {
                row.0.prune(open, context);
            }
        }
        let from = edits.iter().filter_map(|(node, edit)| self.changed_at(*node, edit, &people)).min();
        // Where nobody's figures can change, there is nothing to find.
        let concerned = if from.is_some() { people } else { BTreeSet::new() };
        let from = from.map_or(open, |from| changed_from(from).max(open));
        let mut difference = Ledger::default();
        concerned.iter().for_each(|profile| difference.merge(&self.line_since(*profile, from), -1));
        for (node, edit) in edits {
            if self.state.nodes.get(node).is_none() {
                continue;
            }
            let Some(TrailRow(trail)) = self.state.trails.get_or_insert_with(node, TrailRow::default) else {
                continue;
            };
            match edit {
                Edit::Touch(touch) => trail.touch(touch),
                Edit::Word(word) => trail.say(word),
                Edit::Reach(milestone) => trail.reach(milestone),
                Edit::Buy(bought) => trail.buy(bought),
                Edit::Unbuy(order) => trail.unbuy(order),
            }
        }
        concerned.iter().for_each(|profile| difference.merge(&self.line_since(*profile, from), 1));
        self.post(difference);
    }

    /// The first instant whose figures an edit can change; `None` if it changes none.
    fn changed_at(&mut self, node: Key, edit: &Edit, people: &BTreeSet<Key>) -> Option<Timestamp> {
        let known = |state: &mut State, node: Key, order: Key| {
            state.trails.get(node).and_then(|row| row.0.bought(order)).map(|bought| bought.at)
        };
        match edit {
            Edit::Touch(touch) => Some(touch.at),
            Edit::Word(word) => Some(word.at),
            Edit::Buy(bought) => {
                let before = known(self.state, node, bought.order);
                Some(before.map_or(bought.at, |before| before.min(bought.at)))
            }
            Edit::Unbuy(order) => known(self.state, node, *order),
            // What a confirmation tells is told of its order.
            Edit::Reach(milestone) => {
                let nodes: Vec<Key> = people.iter().flat_map(|profile| self.trail_nodes(*profile)).collect();
                nodes.into_iter().filter_map(|node| known(self.state, node, milestone.order)).min()
            }
        }
    }

    /// The nodes of a profile; what trails they have is in memory.
    fn trail_nodes(&mut self, profile: Key) -> Vec<Key> {
        let component = self.state.component(profile);
        let nodes: Vec<Key> =
            component.into_iter().flat_map(|own| &own.members).map(|own| own.node).collect();
        for node in &nodes {
            self.state.trails.get(*node);
        }
        nodes
    }

    /// What a profile comes to now.
    pub(crate) fn line_of(&mut self, profile: Key) -> Ledger {
        let (open, _) = open_from(self.now, &self.settings.line);
        self.line_since(profile, open)
    }

    /// What a profile comes to from an instant on.
    fn line_since(&mut self, profile: Key, from: Timestamp) -> Ledger {
        if !self.settings.line.is_on() {
            return Ledger::default();
        }
        let nodes = self.trail_nodes(profile);
        self.state.campaigns.get(THE_CAMPAIGNS);
        let trails: Vec<&Trail> =
            nodes.iter().filter_map(|node| Some(&self.state.trails.peek(*node).present()?.0)).collect();
        let nameless = CampaignNames::new();
        let campaigns = self.state.campaigns.peek(THE_CAMPAIGNS).present();
        let names = campaigns.map_or(&nameless, |campaigns| &campaigns.names);
        reckon(&trails, &self.settings.line, names, from)
    }

    /// Adds a difference to the figures, and sees to it that they are published.
    pub(crate) fn post(&mut self, difference: Ledger) {
        for (place, figures) in difference.0 {
            let key = line_key(place);
            let empty = || LineRow { place, figures: Figures::default(), published: 0, changed: false };
            let Some(row) = self.state.line.get_or_insert_with(key, empty) else { continue };
            row.figures.merge(&figures, 1);
            if !row.changed {
                row.changed = true;
                let hour_ends = Timestamp(i64::from(place.hour).saturating_add(1).saturating_mul(HOUR_US));
                self.outcome.timer(key, Some(hour_ends.max(self.now.plus_us(AGAIN_AFTER_US))));
            }
            self.outcome.changes.push(Change::Line { place, difference: Box::new(figures) });
        }
    }

    /// Publishes the figures of an hour that is over, or that were corrected; forgets those of long ago.
    pub(crate) fn line_timer(&mut self, key: Key) {
        let now = self.now;
        let Some(row) = self.state.line.get_mut(key) else { return };
        let ends = Timestamp(i64::from(row.place.hour).saturating_mul(HOUR_US)).plus_us(KEPT_US);
        if now >= ends {
            let place = row.place;
            self.state.line.remove(key);
            self.outcome.changes.push(Change::LineForgotten(place));
            self.outcome.timer(key, None);
            return;
        }
        if row.changed {
            row.changed = false;
            row.published = row.published.saturating_add(1);
            let body = Body::Line {
                place: row.place,
                correction: row.published - 1,
                figures: Box::new(row.figures.clone()),
            };
            self.emit(key, &body);
        }
        self.outcome.timer(key, Some(ends));
    }
}
