//! What one person's trails come to: a pure function, so what an event, a merge or a parting changes is the difference
//! between before and after, and every order of arrival ends at the same figures.

use crate::attribution::last_touch;
use crate::id::{Key, Timestamp};
use crate::line::figures::{Ledger, Measure, Place, SCRAP, Span};
use crate::line::settings::LineSettings;
use crate::line::trail::{Bought, CampaignNames, Milestone, Touch, TouchKind, Trail, Word, Worth};
use crate::suppression::Scope;
use std::collections::BTreeSet;

const HOUR_US: i64 = 3_600 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// How far back figures are still open: what arrives later, or merges later, changes them no more.
pub const OPEN_US: i64 = 14 * DAY_US;

/// What is open at log time `now`: figures of hours from the first instant on are restated; what lies between the
/// second and the first is only looked at.
pub fn open_from(now: Timestamp, settings: &LineSettings) -> (Timestamp, Timestamp) {
    let open = Timestamp(now.0.saturating_sub(OPEN_US).div_euclid(DAY_US).saturating_mul(DAY_US));
    (open, open.plus_us(-settings.widest_us()))
}

/// The hour that an instant lies in.
pub fn hour_of(at: Timestamp) -> i32 {
    i32::try_from(at.0.div_euclid(HOUR_US)).unwrap_or(if at.0 < 0 { i32::MIN } else { i32::MAX })
}

/// Where people are counted: the first hour of a day, no campaign.
fn day_place(day: i64) -> Place {
    Place { hour: hour_of(Timestamp(day.saturating_mul(DAY_US))), campaign: 0 }
}

/// A touch, and under which of the person's identifiers it was.
#[derive(Clone, Copy)]
struct Seen<'a> {
    node: usize,
    touch: &'a Touch,
}

/// Where an order passed on its way, as far as it did. Each is at or before the next.
struct Stations {
    click: Option<Timestamp>,
    cart: Option<Timestamp>,
    pay: Option<Timestamp>,
}

impl Stations {
    /// Found backwards from the order, so that nothing of a way that led nowhere is taken for its own: the last that was
    /// put into the cart before paying, the first step of paying after that, the last click before both. `own`: what lies
    /// between the first impression and the order and behind the order before, in order of time.
    fn of(own: &[&Touch]) -> Self {
        let last = |kind: TouchKind, until: Option<Timestamp>| {
            let mut back = own.iter().rev();
            let found = back.find(|touch| touch.kind == kind && until.is_none_or(|until| touch.at <= until));
            found.map(|touch| touch.at)
        };
        let cart = last(TouchKind::Cart, last(TouchKind::Pay, None));
        let paying = |touch: &&&Touch| touch.kind == TouchKind::Pay && Some(touch.at) >= cart;
        let pay = own.iter().find(paying).map(|touch| touch.at);
        Self { click: last(TouchKind::Click, cart.or(pay)), cart, pay }
    }
}

/// Everything about a person, in order.
struct Person<'a> {
    seen: Vec<Seen<'a>>,
    /// By order; the node under which its value counts first.
    bought: Vec<&'a Bought>,
    words: Vec<&'a Word>,
    milestones: Vec<&'a Milestone>,
    settings: &'a LineSettings,
}

/// From where on figures have to be found again after something that happened at an instant was put in or taken out.
///
/// Every rule looks back only: what a touch or an order comes to is said by itself and by what was before it. Whether
/// somebody paid attention on a day is the only thing that is asked of a whole day, so this is where the day begins.
pub fn changed_from(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_euclid(DAY_US).saturating_mul(DAY_US))
}

/// The figures of one person from an instant on, from the trails of all their nodes. Touches and orders before it are
/// looked at and not counted. `names` are those of the campaigns.
pub fn reckon(trails: &[&Trail], settings: &LineSettings, names: &CampaignNames, from: Timestamp) -> Ledger {
    let mut ledger = Ledger::default();
    if trails.iter().all(|trail| trail.is_empty()) {
        return ledger;
    }
    let person = Person::of(trails, settings, names, from);
    let days = person.touches(from, &mut ledger);
    person.orders(from, &days, &mut ledger);
    ledger
}

impl<'a> Person<'a> {
    fn of(trails: &[&'a Trail], settings: &'a LineSettings, names: &CampaignNames, from: Timestamp) -> Self {
        let since = from.plus_us(-settings.widest_us());
        let recent = |trail: &'a Trail| {
            let before = trail.touches.partition_point(|touch| touch.at < since);
            trail.touches.get(before..).unwrap_or_default()
        };
        let mut seen: Vec<Seen<'a>> =
            Vec::with_capacity(trails.iter().map(|trail| recent(trail).len()).sum());
        for (node, trail) in trails.iter().enumerate() {
            seen.extend(recent(trail).iter().map(|touch| Seen { node, touch }));
        }
        seen.sort_by(|one, other| one.touch.before(other.touch, names));
        // The half hour that somebody spent under two identifiers is one.
        seen.dedup_by(|one, other| {
            one.touch.kind == TouchKind::Session
                && other.touch.kind == TouchKind::Session
                && one.touch.at == other.touch.at
        });
        let mut bought: Vec<&Bought> = trails.iter().flat_map(|trail| &trail.bought).collect();
        bought.sort_by_key(|bought| (bought.order, bought.value.is_none(), bought.at));
        let mut words: Vec<&Word> = trails.iter().flat_map(|trail| &trail.words).collect();
        words.sort_unstable();
        let milestones = trails.iter().flat_map(|trail| &trail.milestones).collect();
        Self { seen, bought, words, milestones, settings }
    }

    /// Counts touches, and what of them is scrap. Gives the days on which the person paid attention.
    fn touches(&self, from: Timestamp, ledger: &mut Ledger) -> BTreeSet<i64> {
        let mut days = BTreeSet::new();
        for (index, seen) in self.seen.iter().enumerate() {
            let touch = seen.touch;
            if touch.at < from || !touch.kind.is_shown() {
                continue;
            }
            if touch.is_attention() {
                days.insert(touch.at.0.div_euclid(DAY_US));
            }
            let figures = ledger.at(Place { hour: hour_of(touch.at), campaign: touch.campaign });
            figures.add(
                match touch.kind {
                    TouchKind::Impression => Measure::Impressions,
                    TouchKind::Click => Measure::Clicks,
                    TouchKind::MailOpen => Measure::MailOpens,
                    TouchKind::MailClick => Measure::MailClicks,
                    _ => Measure::Sessions,
                },
                1,
            );
            figures.add(Measure::SpendMicro, touch.cost_micro);
            figures.add(Measure::UnpricedTouches, i64::from(touch.unpriced));
            if touch.kind != TouchKind::Impression {
                continue;
            }
            let unaware = self.unaware_us(touch);
            if let Some((count, cost)) =
                self.scrap(index, *seen, unaware).and_then(|reason| SCRAP.get(reason))
            {
                figures.add(*count, 1);
                figures.add(*cost, touch.cost_micro);
            }
            if let Some(unaware_us) = unaware {
                figures.add_span(Span::AfterPurchase, unaware_us);
            }
        }
        for day in &days {
            ledger.at(day_place(*day)).add(Measure::PeopleWithAttention, 1);
        }
        days
    }

    /// The first reason for which an impression is scrap, as a place in [`SCRAP`].
    fn scrap(&self, index: usize, seen: Seen<'_>, unaware_us: Option<i64>) -> Option<usize> {
        let touch = seen.touch;
        if touch.invalid {
            return Some(0);
        }
        if unaware_us.is_some() {
            return Some(1);
        }
        let settings = self.settings.at(touch.at);
        let cap_since = touch.at.plus_us(-settings.cap_window_us);
        let seen_before = self.earlier(index, cap_since).filter(|other| other.touch.at > cap_since);
        if seen_before.count() as u64 >= u64::from(settings.frequency_cap) {
            return Some(2);
        }
        if touch.unavailable {
            return Some(3);
        }
        let before = self.words.partition_point(|word| word.at <= touch.at);
        if before.checked_sub(1).and_then(|last| self.words.get(last)).is_some_and(|word| word.is_withdrawn) {
            return Some(4);
        }
        let mut earlier = self.earlier(index, touch.at.plus_us(-settings.duplicate_window_us));
        earlier.any(|other| other.node != seen.node).then_some(5)
    }

    /// Impressions of the same campaign that somebody could see before one, from an instant on.
    fn earlier(&self, index: usize, since: Timestamp) -> impl Iterator<Item = &Seen<'a>> {
        let before = self.seen.get(..index).unwrap_or_default();
        let campaign = self.seen.get(index).map(|seen| seen.touch.campaign);
        before.iter().rev().take_while(move |seen| seen.touch.at >= since).filter(move |seen| {
            seen.touch.kind == TouchKind::Impression
                && seen.touch.is_attention()
                && campaign == Some(seen.touch.campaign)
        })
    }

    /// How long ago what an impression advertises had been bought, if advertising it was to stop; of several purchases
    /// the last.
    fn unaware_us(&self, touch: &Touch) -> Option<i64> {
        let grace_us = self.settings.at(touch.at).grace_us;
        let advertised = [Scope::EVERYTHING, touch.product, touch.category];
        let known = self.bought.iter().filter(|bought| {
            !bought.lifted
                && bought.at.plus_us(grace_us) < touch.at
                && touch.at < bought.until
                && advertised.iter().any(|scope| bought.scopes.binary_search(scope).is_ok())
        });
        known.map(|bought| touch.at.since_us(bought.at)).min()
    }

    /// Counts orders. `days`: those on which the person paid attention.
    fn orders(&self, from: Timestamp, days: &BTreeSet<i64>, ledger: &mut Ledger) {
        let mut paid = BTreeSet::new();
        // The same order under two of the person's identifiers is one; the one that counts comes first.
        let mut counted: Vec<(&Bought, Worth)> = Vec::new();
        let mut last = None;
        for bought in &self.bought {
            if last.replace(bought.order) != Some(bought.order) {
                counted.extend(bought.value.map(|worth| (*bought, worth)));
            }
        }
        let times: BTreeSet<Timestamp> = counted.iter().map(|(bought, _)| bought.at).collect();
        for (bought, worth) in counted.into_iter().filter(|(bought, _)| bought.at >= from) {
            let touches = self.seen.iter().map(|seen| seen.touch);
            let credited = last_touch(touches, bought.at, self.settings.at(bought.at));
            let place =
                Place { hour: hour_of(bought.at), campaign: credited.map_or(0, |touch| touch.campaign) };
            let figures = ledger.at(place);
            let micro = match worth {
                Worth::Micro(micro) => micro,
                Worth::Unpriced => {
                    figures.add(Measure::UnpricedOrders, 1);
                    0
                }
            };
            figures.add(Measure::Orders, 1);
            figures.add(Measure::CashMicro, micro);
            if credited.is_some() {
                figures.add(Measure::OrdersWithAttention, 1);
                figures.add(Measure::CashWithAttentionMicro, micro);
                paid.insert(bought.at.0.div_euclid(DAY_US));
            }
            let previous = times.range(..bought.at).next_back().copied();
            self.cycle(bought, previous, place, ledger);
        }
        for day in paid.intersection(days) {
            ledger.at(day_place(*day)).add(Measure::PeoplePaid, 1);
        }
    }

    /// From the first impression to the accepted confirmation. `previous`: when the person last ordered before that.
    fn cycle(&self, bought: &Bought, previous: Option<Timestamp>, place: Place, ledger: &mut Ledger) {
        // The wider window: an order that an impression is credited with is never one without an impression.
        let settings = self.settings.at(bought.at);
        let since = bought.at.plus_us(-settings.click_window_us.max(settings.view_window_us));
        let seen = self.seen.iter().map(|seen| seen.touch);
        let valid = seen.filter(|touch| !touch.invalid && touch.at >= since && touch.at <= bought.at);
        let first = valid.clone().find(|touch| touch.kind == TouchKind::Impression);
        let Some(impression) = first.map(|touch| touch.at) else {
            ledger.at(place).add(Measure::OrdersWithoutImpression, 1);
            return;
        };
        let own: Vec<&Touch> = valid
            .filter(|touch| touch.at >= impression && previous.is_none_or(|previous| touch.at > previous))
            .collect();
        let Stations { click, cart, pay } = Stations::of(&own);
        let queued = self.milestone(bought.order, false);
        let accepted = self.milestone(bought.order, true);
        let figures = ledger.at(place);
        for (span, from, to) in [
            (Span::ImpressionToClick, Some(impression), click),
            (Span::ClickToCart, click, cart),
            (Span::CartToPay, cart, pay),
            (Span::PayToCapture, pay, Some(bought.at)),
            (Span::CaptureToQueued, Some(bought.at), queued),
            (Span::QueuedToAccepted, queued, accepted),
        ] {
            if let (Some(from), Some(to)) = (from, to) {
                figures.add_span(span, to.since_us(from));
            }
        }
        match accepted {
            None => figures.add(Measure::OrdersUnconfirmed, 1),
            Some(accepted) if accepted < impression => figures.add(Measure::NegativeSpans, 1),
            Some(accepted) => {
                figures.add_span(Span::Cycle, accepted.since_us(impression));
                let campaign = place.campaign;
                ledger.at(Place { hour: hour_of(impression), campaign }).add(Measure::JourneysBegun, 1);
                ledger.at(Place { hour: hour_of(accepted), campaign }).add(Measure::JourneysEnded, 1);
            }
        }
    }

    fn milestone(&self, order: Key, accepted: bool) -> Option<Timestamp> {
        let of = self.milestones.iter().filter(|one| one.order == order && one.accepted == accepted);
        of.map(|one| one.at).min()
    }
}
