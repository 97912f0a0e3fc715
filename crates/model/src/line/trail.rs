//! What one node did that the line is measured by: touches, purchases, words about consent, and how far orders came.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::{Event, EventKind};
use crate::feature::{Value, json_value};
use crate::id::{Key, Timestamp};
use crate::line::settings::LineSettings;
use crate::suppression::Scope;
use std::borrow::Cow;

/// The most touches of one node; the oldest make room and stay counted as they were.
pub const MAX_TOUCHES: usize = 512;
/// The most purchases, words about consent, and milestones of one node, each.
pub const MAX_FACTS: usize = 256;
/// The longest name of a campaign, in bytes; a longer one is cut.
pub const MAX_CAMPAIGN_BYTES: usize = 64;
/// The highest cost of one touch that is believed: a million units.
const MAX_COST_MICRO: i64 = 1_000_000 * 1_000_000;
const HALF_HOUR_US: i64 = 1_800 * 1_000_000;

/// What somebody did or was shown. Numbers are stored: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TouchKind {
    /// `Ad Impression`.
    Impression = 1,
    /// `Ad Click`.
    Click = 2,
    /// `Email Opened`.
    MailOpen = 3,
    /// `Email Link Clicked`.
    MailClick = 4,
    /// Anything in a browser or an app: once for every half hour.
    Session = 5,
    /// `Product Added`.
    Cart = 6,
    /// `Checkout Started`, `Payment Info Entered`.
    Pay = 7,
}

impl TouchKind {
    /// Whether it is attention.
    pub fn is_attention(self) -> bool {
        !matches!(self, Self::Cart | Self::Pay)
    }

    /// Whether the shorter window is its own.
    pub fn is_view(self) -> bool {
        matches!(self, Self::Impression | Self::MailOpen)
    }

    fn from_u8(number: u8) -> Result<Self, DecodeError> {
        let all = [
            Self::Impression,
            Self::Click,
            Self::MailOpen,
            Self::MailClick,
            Self::Session,
            Self::Cart,
            Self::Pay,
        ];
        all.into_iter().find(|one| *one as u8 == number).ok_or(DecodeError::Unknown(u64::from(number)))
    }
}

/// A touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The event's clamped time.
    pub at: Timestamp,
    /// From the event's identity; breaks ties, and makes a touch the same touch.
    pub id: u64,
    /// What it was.
    pub kind: TouchKind,
    /// Which campaign, see [`campaign`]; 0 is none.
    pub campaign: u64,
    /// The advertised product and its category; [`Scope::EVERYTHING`] where none was named.
    pub product: Scope,
    /// See `product`.
    pub category: Scope,
    /// In millionths of the line's currency.
    pub cost_micro: i64,
    /// It had a cost in a currency that no rate is known of.
    pub unpriced: bool,
    /// Invalid, not viewable, or not rendered.
    pub invalid: bool,
    /// What it advertised could not be had.
    pub unavailable: bool,
}

/// Something bought, as far as the line looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// The order.
    pub order: Key,
    /// When.
    pub at: Timestamp,
    /// How long advertising what was bought is scrap.
    pub until: Timestamp,
    /// What was bought, sorted.
    pub scopes: Box<[Scope]>,
    /// Cancelled or refunded.
    pub lifted: bool,
    /// Its value is counted under this node.
    pub value: Option<Worth>,
}

/// What an order brought in, less what went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// In millionths of the line's currency.
    Micro(i64),
    /// In a currency that no rate is known of.
    Unpriced,
}

/// A word about consent to advertising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// When.
    pub at: Timestamp,
    /// Breaks ties.
    pub id: u64,
    /// Given, or withdrawn.
    pub granted: bool,
}

/// How far the confirmation of an order came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Milestone {
    /// The order.
    pub order: Key,
    /// `Order Confirmation Accepted`, or else `Order Confirmation Queued`.
    pub accepted: bool,
    /// When, at first.
    pub at: Timestamp,
}

/// See the module. Nothing here depends on the order in which events came, as long as nothing had to make room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// Sorted by time and id.
    pub(crate) touches: Vec<Touch>,
    /// Sorted by order.
    pub(crate) bought: Vec<Bought>,
    /// Sorted.
    pub(crate) words: Vec<Word>,
    /// Sorted.
    pub(crate) milestones: Vec<Milestone>,
}

/// What an event tells the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted<'a> {
    /// A touch, and the name of its campaign.
    Touch(Touch, Cow<'a, str>),
    /// How far a confirmation came.
    Milestone(Milestone),
}

/// The number of a campaign.
pub fn campaign(name: &str) -> u64 {
    if name.is_empty() { 0 } else { (Key::of_text("campaign", name).0 as u64).max(1) }
}

/// What an event tells the line beside orders and consent. A cost counts where an order's value would: a browser's is
/// a claim.
pub fn noted<'a>(event: &Event<'a>, at: Timestamp, settings: &LineSettings) -> Option<Noted<'a>> {
    let kind = match event.name {
        _ if event.kind != EventKind::Track => TouchKind::Session,
        "Ad Impression" => TouchKind::Impression,
        "Ad Click" => TouchKind::Click,
        "Email Opened" => TouchKind::MailOpen,
        "Email Link Clicked" => TouchKind::MailClick,
        "Product Added" => TouchKind::Cart,
        "Checkout Started" | "Payment Info Entered" => TouchKind::Pay,
        "Order Confirmation Queued" | "Order Confirmation Accepted" => {
            let order = text(event.properties, &["order_id"]).filter(|_| event.from_server)?;
            let accepted = event.name.ends_with("Accepted");
            return Some(Noted::Milestone(Milestone {
                order: crate::order::order_key(&order),
                accepted,
                at,
            }));
        }
        _ => TouchKind::Session,
    };
    let mut touch = Touch {
        at,
        id: event.dedup_key.0 as u64,
        kind,
        campaign: 0,
        product: Scope::EVERYTHING,
        category: Scope::EVERYTHING,
        cost_micro: 0,
        unpriced: false,
        invalid: false,
        unavailable: false,
    };
    if kind == TouchKind::Session {
        let seen = matches!(event.kind, EventKind::Track | EventKind::Page | EventKind::Screen);
        if !settings.sessions || event.from_server || !seen {
            return None;
        }
        let slot = at.0.div_euclid(HALF_HOUR_US);
        touch.at = Timestamp(slot * HALF_HOUR_US);
        touch.id = slot.unsigned_abs();
        return Some(Noted::Touch(touch, "".into()));
    }
    if !kind.is_attention() {
        return Some(Noted::Touch(touch, "".into()));
    }
    let properties = event.properties;
    let named = text(properties, &["campaign_id"]).or_else(|| text(event.context, &["campaign", "name"]));
    let name = shortened(named.unwrap_or_default());
    touch.campaign = campaign(&name);
    touch.product = text(properties, &["product_id"]).map_or(Scope::EVERYTHING, |id| Scope::product(&id));
    touch.category = text(properties, &["category"]).map_or(Scope::EVERYTHING, |name| Scope::category(&name));
    touch.invalid = is(properties, "invalid", true)
        || is(properties, "viewable", false)
        || is(properties, "rendered", false);
    touch.unavailable = is(properties, "in_stock", false) || is(properties, "deliverable", false);
    if let Some(cost) = number(properties, "cost").filter(|cost| *cost != 0 && event.value_counts) {
        let currency = text(properties, &["currency"]).and_then(|code| crate::money::currency(&code));
        let micro = currency.and_then(|currency| settings.convert(cost, currency, at));
        touch.unpriced = micro.is_none();
        touch.cost_micro = micro.unwrap_or_default().clamp(0, MAX_COST_MICRO);
    }
    Some(Noted::Touch(touch, name))
}

fn text<'a>(object: &'a [u8], path: &[&str]) -> Option<Cow<'a, str>> {
    match json_value(object, path)? {
        Value::Text(text) => Some(text),
        // Shops have campaigns called 42.
        number @ Value::Number(_) => Some(number.to_string().into()),
        _ => None,
    }
}

fn number(object: &[u8], name: &str) -> Option<i64> {
    match json_value(object, &[name])?.to_number() {
        Value::Number(micro) => Some(micro),
        _ => None,
    }
}

fn is(properties: &[u8], name: &str, value: bool) -> bool {
    json_value(properties, &[name]) == Some(Value::Bool(value))
}

fn shortened(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.len() <= MAX_CAMPAIGN_BYTES {
        return name;
    }
    let end = (0..=MAX_CAMPAIGN_BYTES).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or_default().to_owned().into()
}

impl Trail {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.touches.is_empty()
            && self.bought.is_empty()
            && self.words.is_empty()
            && self.milestones.is_empty()
    }

    /// Forgets what can change nothing any more: touches and words before `context_from`, purchases that were over by
    /// `open_from`. Before something new is taken in, the oldest makes room.
    pub fn prune(&mut self, open_from: Timestamp, context_from: Timestamp) {
        let old = self.touches.partition_point(|touch| touch.at < context_from);
        let surplus = (self.touches.len() + 1).saturating_sub(MAX_TOUCHES);
        self.touches.drain(..old.max(surplus));
        self.bought.retain(|bought| bought.at.max(bought.until) >= open_from);
        if self.bought.len() >= MAX_FACTS
            && let Some(oldest) =
                (0..self.bought.len()).min_by_key(|at| self.bought.get(*at).map(|one| one.at))
        {
            self.bought.remove(oldest);
        }
        // The last word before the context still holds in it.
        let old = self.words.partition_point(|word| word.at < context_from).saturating_sub(1);
        let surplus = (self.words.len() + 1).saturating_sub(MAX_FACTS);
        self.words.drain(..old.max(surplus));
        self.milestones.retain(|one| one.at >= context_from);
        if self.milestones.len() >= MAX_FACTS
            && let Some(oldest) =
                (0..self.milestones.len()).min_by_key(|at| self.milestones.get(*at).map(|one| one.at))
        {
            self.milestones.remove(oldest);
        }
    }

    /// Takes in a touch.
    pub fn touch(&mut self, touch: Touch) {
        if let Err(place) = self.touches.binary_search_by_key(&(touch.at, touch.id), |own| (own.at, own.id)) {
            self.touches.reserve(1);
            self.touches.insert(place, touch);
        }
    }

    /// Takes in a word about consent.
    pub fn say(&mut self, word: Word) {
        if let Err(place) = self.words.binary_search(&word) {
            self.words.insert(place, word);
        }
    }

    /// Takes in how far a confirmation came. The first time counts.
    pub fn reach(&mut self, milestone: Milestone) {
        let same = |own: &&mut Milestone| own.order == milestone.order && own.accepted == milestone.accepted;
        match self.milestones.iter_mut().find(same) {
            Some(own) => own.at = own.at.min(milestone.at),
            None => self.milestones.push(milestone),
        }
        self.milestones.sort_unstable();
    }

    /// Puts a purchase in place of what is known of the same order.
    pub fn buy(&mut self, bought: Bought) {
        match self.bought.binary_search_by_key(&bought.order, |own| own.order) {
            Ok(place) => {
                if let Some(own) = self.bought.get_mut(place) {
                    *own = bought;
                }
            }
            Err(place) => self.bought.insert(place, bought),
        }
    }

    /// What is known of an order.
    pub fn bought(&self, order: Key) -> Option<&Bought> {
        let place = self.bought.binary_search_by_key(&order, |own| own.order).ok()?;
        self.bought.get(place)
    }

    /// Forgets an order.
    pub fn unbuy(&mut self, order: Key) {
        self.bought.retain(|own| own.order != order);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let scopes: usize = self.bought.iter().map(|bought| bought.scopes.len() * 8).sum();
        self.touches.capacity() * size_of::<Touch>()
            + self.bought.capacity() * size_of::<Bought>()
            + self.words.capacity() * size_of::<Word>()
            + self.milestones.capacity() * size_of::<Milestone>()
            + scopes
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.touches.len() as u64);
        for touch in &self.touches {
            encoder.signed(touch.at.0);
            encoder.u64(touch.id);
            encoder.u8(touch.kind as u8);
            let flags = u8::from(touch.campaign != 0)
                | u8::from(touch.product != Scope::EVERYTHING) << 1
                | u8::from(touch.category != Scope::EVERYTHING) << 2
                | u8::from(touch.unpriced) << 3
                | u8::from(touch.invalid) << 4
                | u8::from(touch.unavailable) << 5;
            encoder.u8(flags);
            for number in [touch.campaign, touch.product.0, touch.category.0] {
                if number != 0 {
                    encoder.u64(number);
                }
            }
            encoder.signed(touch.cost_micro);
        }
        encoder.varint(self.bought.len() as u64);
        for bought in &self.bought {
            encoder.u128(bought.order.0);
            encoder.signed(bought.at.0);
            encoder.signed(bought.until.0);
            encoder.bool(bought.lifted);
            match bought.value {
                None => encoder.u8(0),
                Some(Worth::Micro(micro)) => {
                    encoder.u8(1);
                    encoder.signed(micro);
                }
                Some(Worth::Unpriced) => encoder.u8(2),
            }
            encoder.varint(bought.scopes.len() as u64);
            bought.scopes.iter().for_each(|scope| encoder.u64(scope.0));
        }
        encoder.varint(self.words.len() as u64);
        for word in &self.words {
            encoder.signed(word.at.0);
            encoder.u64(word.id);
            encoder.bool(word.granted);
        }
        encoder.varint(self.milestones.len() as u64);
        for one in &self.milestones {
            encoder.u128(one.order.0);
            encoder.bool(one.accepted);
            encoder.signed(one.at.0);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut trail = Self::default();
        for _ in 0..decoder.count()? {
            trail.touches.push(decode_touch(decoder)?);
        }
        for _ in 0..decoder.count()? {
            trail.bought.push(decode_bought(decoder)?);
        }
        for _ in 0..decoder.count()? {
            let (at, id) = (Timestamp(decoder.signed()?), decoder.u64()?);
            trail.words.push(Word { at, id, granted: decoder.bool()? });
        }
        for _ in 0..decoder.count()? {
            let (order, accepted) = (Key(decoder.u128()?), decoder.bool()?);
            trail.milestones.push(Milestone { order, accepted, at: Timestamp(decoder.signed()?) });
        }
        Ok(trail)
    }
}

fn decode_touch(decoder: &mut Decoder<'_>) -> Result<Touch, DecodeError> {
    let (at, id) = (Timestamp(decoder.signed()?), decoder.u64()?);
    let kind = TouchKind::from_u8(decoder.u8()?)?;
    let flags = decoder.u8()?;
    let mut numbers = [0; 3];
    for (bit, number) in numbers.iter_mut().enumerate() {
        if flags >> bit & 1 == 1 {
            *number = decoder.u64()?;
        }
    }
    let [campaign, product, category] = numbers;
    Ok(Touch {
        at,
        id,
        kind,
        campaign,
        product: Scope(product),
        category: Scope(category),
        cost_micro: decoder.signed()?,
        unpriced: flags & 8 != 0,
        invalid: flags & 16 != 0,
        unavailable: flags & 32 != 0,
    })
}

fn decode_bought(decoder: &mut Decoder<'_>) -> Result<Bought, DecodeError> {
    let order = Key(decoder.u128()?);
    let (at, until) = (Timestamp(decoder.signed()?), Timestamp(decoder.signed()?));
    let lifted = decoder.bool()?;
    let value = match decoder.u8()? {
        0 => None,
        1 => Some(Worth::Micro(decoder.signed()?)),
        2 => Some(Worth::Unpriced),
        other => return Err(DecodeError::Unknown(u64::from(other))),
    };
    let mut scopes = Vec::new();
    for _ in 0..decoder.count()? {
        scopes.push(Scope(decoder.u64()?));
    }
    Ok(Bought { order, at, until, scopes: scopes.into(), lifted, value })
}
