//! The year, event by event, in the order in which it is sent: a pure function of the data.
//!
//! Baskets are real orders, told by the shop's server at their real time. Around each, a synthetic session on one of
//! the household's synthetic devices. Campaigns and coupons are real and told on their real day. Around
//! some of them a made-up ad network shows ads (`ads.rs`). A heap holds what is already written and not yet due: a week
//! of ads, an hour of sessions, and the few events that come late or twice.

use super::ads::{BEFORE_US_MAX, Lag, Network, Shown, knows};
use super::chance::{Purpose, between, draw, happens, index, uuid};
use super::people::{People, Session};
use super::retail::{Basket, Retail};
use super::wire::{Message, Sold, Speaker};
use crate::calendar::{DAY_US, HOUR_US, MINUTE_US, SECOND_US};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// A session begins at most this long before its order.
const SESSION_US_MAX: i64 = 40 * MINUTE_US;
/// Orders without any session before them: bought in the shop, or by telephone.
const NO_SESSION_PER_MILLE: u64 = 150;
/// Orders that the browser reports as well, where it knows the customer.
const ALSO_BY_BROWSER_PER_MILLE: u64 = 300;
/// Products seen that arrive late, from a phone without a net.
const LATE_PER_MILLE: u64 = 3;
/// They are late by an hour to three days.
const LATE_US: (i64, i64) = (HOUR_US, 3 * DAY_US);
/// Messages that are sent a second time.
const REPEATED_PER_MILLE: u64 = 4;
/// Within the window of de-duplication, with room for how log time moves in steps.
const REPEATED_US: (i64, i64) = (SECOND_US, 16 * HOUR_US);

/// Whose write key an event comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Browser,
    Server,
}

/// What an event is, for the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Viewed,
    Added,
    LoggedIn,
    Order { total_minor: i64 },
    OrderByBrowser,
    Exposure,
    Redemption,
    Impression,
    Click,
    CheckoutStarted,
    Confirmation,
}

/// A question to ask the moment an order was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// Type and value of an identifier other than the order's.
    pub(super) identifier: (&'static str, String),
    pub(super) product_id: u32,
    pub(super) category: String,
    pub(super) order_id: u64,
    /// The buyer's customer id.
    pub(super) user_id: u32,
}

/// An event, due.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) sent_at_us: i64,
    sequence: u64,
    /// Events with the same number must stay in their order.
    pub(super) circle: usize,
    pub(super) door: Door,
    pub(super) what: What,
    pub(super) json: Vec<u8>,
    pub(super) question: Option<Question>,
    pub(super) late: bool,
    /// The same message was planned before.
    pub(super) repeated: bool,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.sent_at_us, self.sequence).cmp(&(other.sent_at_us, other.sequence))
    }
}

/// The events of the year, in the order of `sent_at_us`.
#[derive(Debug)]
pub(super) struct Story<'a> {
    retail: &'a Retail,
    pub(super) people: People,
    network: Network,
    due: BinaryHeap<Reverse<Planned>>,
    sequence: u64,
    basket: usize,
    exposure: usize,
    redemption: usize,
}

impl<'a> Story<'a> {
    pub(super) fn new(retail: &'a Retail, lag: Arc<Lag>) -> Self {
        Self {
            retail,
            people: People::new(&retail.households),
            network: Network::new(retail, lag),
            due: BinaryHeap::new(),
            sequence: 0,
            basket: 0,
            exposure: 0,
            redemption: 0,
        }
    }

    /// Plans the next real thing. False when there is none.
    fn plan_next(&mut self) -> bool {
        let baskets_at = self.retail.baskets.get(self.basket).map(|basket| basket.at_us);
        let exposure_at = self.retail.exposures.get(self.exposure).map(|one| one.day_us);
        let redemption_at = self.retail.redemptions.get(self.redemption).map(|one| one.day_us);
        let Some(first) = [baskets_at, exposure_at, redemption_at].into_iter().flatten().min() else {
            return false;
        };
        if exposure_at == Some(first) {
            self.plan_exposure();
        } else if redemption_at == Some(first) {
            self.plan_redemption();
        } else {
            self.plan_basket();
        }
        true
    }

    /// Nothing that is planned from now on is due before this.
    fn safe_until_us(&self) -> i64 {
        let first = [
            self.retail.baskets.get(self.basket).map(|basket| basket.at_us - BEFORE_US_MAX),
            self.retail.exposures.get(self.exposure).map(|one| one.day_us),
            self.retail.redemptions.get(self.redemption).map(|one| one.day_us),
        ];
        first.into_iter().flatten().min().unwrap_or(i64::MAX)
    }

    fn plan_exposure(&mut self) {
        let Some(one) = self.retail.exposures.get(self.exposure) else { return };
        self.exposure += 1;
        let key = u64::from(one.campaign) << 32 | one.household as u64;
        let at_us = one.day_us + between(draw(Purpose::Campaign, key, 0), 8 * HOUR_US, 12 * HOUR_US);
        let campaign = one.campaign.to_string();
        self.plan(one.household, Door::Server, What::Exposure, at_us, None, |id, user_id| {
            Message::new("track", id, at_us, Speaker { user_id: Some(user_id), ..Speaker::default() })
                .event("Promotion Viewed")
                .property("promotion_id", &campaign)
                .property("name", &one.kind)
                .property("creative", "mailer")
                .finish_event()
        });
    }

    fn plan_redemption(&mut self) {
        let Some(one) = self.retail.redemptions.get(self.redemption) else { return };
        self.redemption += 1;
        let key = one.coupon ^ (one.household as u64).rotate_left(40);
        let at_us = one.day_us + between(draw(Purpose::Campaign, key, 1), 18 * HOUR_US, 22 * HOUR_US);
        let (coupon, campaign) = (one.coupon.to_string(), one.campaign.to_string());
        self.plan(one.household, Door::Server, What::Redemption, at_us, None, |id, user_id| {
            Message::new("track", id, at_us, Speaker { user_id: Some(user_id), ..Speaker::default() })
                .event("Coupon Applied")
                .property("coupon_id", &coupon)
                .property("coupon_name", &campaign)
                .finish_event()
        });
    }

    fn plan_basket(&mut self) {
        let retail = self.retail;
        let Some(basket) = retail.baskets.get(self.basket) else { return };
        self.basket += 1;
        let drawn = draw(Purpose::Session, basket.id, 0);
        let session = if happens(drawn, NO_SESSION_PER_MILLE) {
            None
        } else {
            self.people.begin_session(basket.household, drawn)
        };
        if let Some(session) = session {
            self.plan_session(basket, session, drawn);
        }
        if knows(basket.household) {
            self.plan_ads(basket, session);
        }
        let total_minor = retail.total_minor(basket);
        let question = self.question(basket, session);
        let (at_us, what) = (basket.at_us, What::Order { total_minor });
        self.plan(basket.household, Door::Server, what, at_us, question, |id, user_id| {
            let speaker = Speaker { user_id: Some(user_id), ..Speaker::default() };
            order(retail, basket, total_minor, Message::new("track", id, at_us, speaker))
        });
        let Some(session) = session.filter(|session| session.known || session.login) else { return };
        let drawn = draw(Purpose::Report, basket.id, 0);
        if happens(drawn, ALSO_BY_BROWSER_PER_MILLE) {
            let at_us = basket.at_us + between(drawn >> 32, -2 * SECOND_US, 5 * SECOND_US);
            self.plan_on_device(
                basket.household,
                session.device,
                true,
                What::OrderByBrowser,
                at_us,
                |message| order(retail, basket, total_minor, message),
            );
        }
    }

    /// What the ad network shows around an order, how the order was begun, and how its confirmation went out.
    fn plan_ads(&mut self, basket: &Basket, session: Option<Session>) {
        let agreed = self.people.households.get(basket.household).is_some_and(|own| own.advertising);
        let shown = if agreed { self.network.around(self.retail, basket) } else { Vec::new() };
        for ad in shown {
            self.plan_ad(basket.household, &ad, What::Impression, "Ad Impression", ad.at_us, ad.cost_micro);
            if let Some(at_us) = ad.clicked_at_us {
                self.plan_ad(basket.household, &ad, What::Click, "Ad Click", at_us, 0);
            }
        }
        let drawn = draw(Purpose::Confirmation, basket.id, 0);
        if let Some(session) = session.filter(|session| session.known) {
            let at_us = basket.at_us - between(drawn >> 24, 20 * SECOND_US, 90 * SECOND_US);
            let (household, device) = (basket.household, session.device);
            self.plan_on_device(household, device, true, What::CheckoutStarted, at_us, |message| {
                message.event("Checkout Started").finish_event()
            });
        }
        let queued_us = basket.at_us + between(drawn, 40_000, 400_000);
        let accepted_us = queued_us + between(drawn >> 12, 200_000, 4 * SECOND_US);
        for (name, at_us) in
            [("Order Confirmation Queued", queued_us), ("Order Confirmation Accepted", accepted_us)]
        {
            self.plan(basket.household, Door::Server, What::Confirmation, at_us, None, |id, user_id| {
                Message::new("track", id, at_us, Speaker { user_id: Some(user_id), ..Speaker::default() })
                    .event(name)
                    .property("order_id", &basket.id.to_string())
                    .finish_event()
            });
        }
    }

    fn plan_ad(&mut self, household: usize, ad: &Shown, what: What, name: &str, at_us: i64, cost_micro: i64) {
        self.plan(household, Door::Server, what, at_us, None, |id, user_id| {
            let speaker = Speaker { user_id: Some(user_id), ..Speaker::default() };
            let message = Message::new("track", id, at_us, speaker)
                .event(name)
                .property("campaign_id", ad.arm.campaign)
                .property("product_id", &ad.product_id.to_string())
                .property("category", &ad.category)
                .flag("viewable", !ad.unseen);
            let message = if cost_micro > 0 { message.micro("cost", cost_micro) } else { message };
            message.finish_event()
        });
    }

    /// A session ends with the order: products seen, some put into the cart, and perhaps a login after the first
    /// look around (on a shared device before it).
    fn plan_session(&mut self, basket: &Basket, session: Session, drawn: u64) {
        let retail = self.retail;
        let begin_us = basket.at_us - between(drawn >> 16, 3 * MINUTE_US, SESSION_US_MAX - MINUTE_US);
        let views = between(drawn >> 8, 1, 5);
        let adds = between(draw(Purpose::Add, basket.id, 0), 1, 3).min(basket.lines.len() as i64);
        let steps = views + adds + 1;
        let step_us = (basket.at_us - SECOND_US - begin_us).max(0) / steps;
        let shared = self.people.devices.get(session.device).is_some_and(|device| device.shared);
        let login_step = if shared { 0 } else { 1 };
        let mut known = session.known && !shared;
        for step in 0..=(views + adds) {
            let at_us = begin_us + step * step_us;
            if session.login && step == login_step {
                self.plan_login(basket.household, session.device, at_us);
                known = true;
                continue;
            }
            let browse = step - i64::from(session.login && step > login_step);
            if browse >= views + adds {
                break;
            }
            let (what, name, from_basket) = if browse < views {
                (What::Viewed, "Product Viewed", browse % 2 == 0)
            } else {
                (What::Added, "Product Added", true)
            };
            let among = if from_basket { basket.lines.clone() } else { 0..retail.lines.len() };
            let drawn = draw(Purpose::View, basket.id, browse as u64);
            let line = retail.lines.get(among.start + index(drawn, among.len()));
            let Some(sold) = line.map(|line| retail.sold(line)) else { continue };
            self.plan_on_device(basket.household, session.device, known, what, at_us, |message| {
                message.event(name).product(sold).finish_event()
            });
        }
    }

    fn plan_login(&mut self, household: usize, device: usize, at_us: i64) {
        self.people.log_in(household, device, at_us);
        let Some(own) = self.people.households.get(household) else { return };
        let (user_id, advertising, email) = (own.id, own.advertising, own.email.clone());
        let Some((anonymous_id, device_id)) = self.device(device) else { return };
        self.plan(household, Door::Browser, What::LoggedIn, at_us, None, |id, _| {
            let speaker = Speaker {
                user_id: Some(user_id),
                anonymous_id: Some(&anonymous_id),
                device_id: device_id.as_deref(),
                advertising: Some(advertising),
            };
            Message::new("identify", id, at_us, speaker).traits(&email).finish()
        });
    }

    fn plan_on_device(
        &mut self,
        household: usize,
        device: usize,
        known: bool,
        what: What,
        at_us: i64,
        write: impl FnOnce(Message) -> Vec<u8>,
    ) {
        let Some((anonymous_id, device_id)) = self.device(device) else { return };
        self.plan(household, Door::Browser, what, at_us, None, |id, user_id| {
            let speaker = Speaker {
                user_id: known.then_some(user_id),
                anonymous_id: Some(&anonymous_id),
                device_id: device_id.as_deref(),
                advertising: None,
            };
            write(Message::new("track", id, at_us, speaker))
        });
    }

    fn device(&self, device: usize) -> Option<(String, Option<String>)> {
        self.people.devices.get(device).map(|device| (device.anonymous_id.clone(), device.device_id.clone()))
    }

    /// What to ask once this order is accepted; nothing where no other identifier is known yet.
    fn question(&self, basket: &Basket, session: Option<Session>) -> Option<Question> {
        let besides = session.map(|session| session.device);
        let known = self.people.other_identifiers(basket.household, besides, basket.at_us);
        let drawn = draw(Purpose::Question, basket.id, 0);
        let (kind, value) = known.get(index(drawn, known.len()))?;
        let lines = self.retail.lines_of(basket);
        let line = lines.get(index(drawn >> 32, lines.len()))?;
        let product = self.retail.products.get(&line.product_id);
        Some(Question {
            identifier: (kind, (*value).to_owned()),
            product_id: line.product_id,
            category: product.map(|product| product.category.to_string()).unwrap_or_default(),
            order_id: basket.id,
            user_id: self.people.households.get(basket.household)?.id,
        })
    }

    fn plan(
        &mut self,
        household: usize,
        door: Door,
        what: What,
        at_us: i64,
        question: Option<Question>,
        write: impl FnOnce(&str, u32) -> Vec<u8>,
    ) {
        let Some(own) = self.people.households.get(household) else { return };
        let number = self.sequence;
        let id = uuid(Purpose::MessageId, number, 0);
        let json = write(&id, own.id);
        let late = what == What::Viewed && happens(draw(Purpose::Late, number, 0), LATE_PER_MILLE);
        let delay_us = if late { between(draw(Purpose::Late, number, 1), LATE_US.0, LATE_US.1) } else { 0 };
        let planned = Planned {
            sent_at_us: at_us + delay_us,
            sequence: number,
            circle: own.circle,
            door,
            what,
            json,
            question,
            late,
            repeated: false,
        };
        self.sequence += 2;
        if happens(draw(Purpose::Repeat, number, 0), REPEATED_PER_MILLE) {
            let again_us = between(draw(Purpose::Repeat, number, 1), REPEATED_US.0, REPEATED_US.1);
            self.due.push(Reverse(Planned {
                sent_at_us: planned.sent_at_us + again_us,
                sequence: number + 1,
                question: None,
                repeated: true,
                ..planned.clone()
            }));
        }
        self.due.push(Reverse(planned));
    }
}

impl Iterator for Story<'_> {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        loop {
            let safe_until_us = self.safe_until_us();
            if self.due.peek().is_some_and(|first| first.0.sent_at_us < safe_until_us) {
                return self.due.pop().map(|first| first.0);
            }
            if !self.plan_next() {
                return self.due.pop().map(|first| first.0);
            }
        }
    }
}

impl Retail {
    fn sold(&self, line: &super::retail::Line) -> Sold<'_> {
        Sold { line: *line, product: self.products.get(&line.product_id) }
    }
}

fn order(retail: &Retail, basket: &Basket, total_minor: i64, message: Message) -> Vec<u8> {
    message
        .event("Order Completed")
        .property("order_id", &basket.id.to_string())
        .amount("total", total_minor)
        .amount("revenue", total_minor)
        .amount("discount", basket.discount_minor)
        .products(retail.lines_of(basket).iter().map(|line| retail.sold(line)))
        .finish_event()
}
