//! What one node did that the line is measured by: touches, purchases, words about consent, and how far orders came.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::id::{Key, Timestamp};
use crate::suppression::{MAX_PURCHASE_SCOPES, Scope};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The most touches of one node; the oldest make room and stay counted as they were.
pub const MAX_TOUCHES: usize = 512;
/// The most scopes of all purchases of one node together.
pub const MAX_SCOPES: usize = 8_192;
/// The most purchases, words about consent, and milestones of one node, each.
pub const MAX_FACTS: usize = 256;

/// Names of campaigns by number, see [`crate::line::campaign`].
pub type CampaignNames = BTreeMap<u64, Box<str>>;

/// The number by which touches at the same instant are told apart: the first eight bytes of the SHA-256 of the message id,
/// as a big-endian number. Everybody can compute it; it is short, and it stays when a message id has to go.
pub fn tie(message_id: &str) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, message_id.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What somebody did or was shown, in the order in which touches of one instant are taken. Numbers are stored: never change
/// one.
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
    /// Anything in a browser or an app: once for every half hour, at its beginning.
    Session = 5,
    /// `Product Added`.
    Cart = 6,
    /// `Checkout Started`, `Payment Info Entered`.
    Pay = 7,
}

impl TouchKind {
    /// Whether it is counted by itself, with what it cost: everything but steps towards an order.
    pub fn is_shown(self) -> bool {
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
    /// What it was.
    pub kind: TouchKind,
    /// [`tie`] of its message id; of a session the number of its half hour; 0 of steps towards an order, where two at one
    /// instant are as good as one.
    pub id: u64,
    /// The number of the write key that it came with; 0 of sessions and steps.
    pub source: u32,
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
    /// Invalid, not viewable, or not rendered: nobody's attention. It is counted and costs what it costs, but no order
    /// is its doing, no journey begins with it, and it uses up nothing of the frequency cap.
    pub invalid: bool,
    /// What it advertised could not be had.
    pub unavailable: bool,
}

impl Touch {
    /// Whether somebody paid attention: what may earn an order.
    pub fn is_attention(&self) -> bool {
        self.kind.is_shown() && !self.invalid
    }

    /// Which of two touches comes first: the earlier; at the same instant by kind, by the name of the campaign as bytes,
    /// by message id, and by write key. Nothing of it is a secret or depends on what arrived first, so anybody can tell it
    /// from the raw events. `names` are the campaigns' by number; 0, which is none, has none.
    pub fn before(&self, other: &Self, names: &CampaignNames) -> Ordering {
        let name = |touch: &Self| names.get(&touch.campaign).map_or("", |name| name);
        let named = || {
            if self.campaign == other.campaign { Ordering::Equal } else { name(self).cmp(name(other)) }
        };
        (self.at, self.kind)
            .cmp(&(other.at, other.kind))
            .then_with(named)
            .then_with(|| (self.id, self.source).cmp(&(other.id, other.source)))
    }

    /// What a touch is found by in a trail.
    fn place(&self) -> (Timestamp, TouchKind, u64, u64, u32) {
        (self.at, self.kind, self.campaign, self.id, self.source)
    }

    pub(crate) fn plain(at: Timestamp, id: u64, kind: TouchKind) -> Self {
        Self {
            at,
            kind,
            id,
            source: 0,
            campaign: 0,
            product: Scope::EVERYTHING,
            category: Scope::EVERYTHING,
            cost_micro: 0,
            unpriced: false,
            invalid: false,
            unavailable: false,
        }
    }
}

/// Something bought, as far as the line looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    /// The order.
    pub order: Key,
    /// When: for whose value counts here the earliest time that its reports say, see [`crate::order::Stated::at`].
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

/// A word about consent to advertising. Of two at the same instant the later is the one that withdraws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Word {
    /// When.
    pub at: Timestamp,
    /// Withdrawn, or else given.
    pub is_withdrawn: bool,
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
    /// Sorted by time, kind, number of the campaign, id and write key.
    pub(crate) touches: Vec<Touch>,
    /// Sorted by order.
    pub(crate) bought: Vec<Bought>,
    /// Sorted.
    pub(crate) words: Vec<Word>,
    /// Sorted.
    pub(crate) milestones: Vec<Milestone>,
}

impl Trail {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.touches.is_empty()
            && self.bought.is_empty()
            && self.words.is_empty()
            && self.milestones.is_empty()
    }

    /// Forgets what can change nothing any more: touches and words before `context_from`, purchases before it that were
    /// over by `open_from` (one behind it may be the order before another). Before something new is taken in, the oldest makes room.
    pub fn prune(&mut self, open_from: Timestamp, context_from: Timestamp) {
        let old = self.touches.partition_point(|touch| touch.at < context_from);
        let surplus = (self.touches.len() + 1).saturating_sub(MAX_TOUCHES);
        self.touches.drain(..old.max(surplus));
        self.bought.retain(|bought| bought.at >= context_from || bought.until >= open_from);
        if self.bought.len() >= MAX_FACTS
            && let Some(oldest) =
                (0..self.bought.len()).min_by_key(|at| self.bought.get(*at).map(|one| one.at))
        {
            self.bought.remove(oldest);
        }
        self.forget_oldest_scopes();
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

    /// The oldest purchases forget what was bought, not that it was, until the next one surely has room.
    fn forget_oldest_scopes(&mut self) {
        let mut kept: usize = self.bought.iter().map(|bought| bought.scopes.len()).sum();
        while kept + MAX_PURCHASE_SCOPES > MAX_SCOPES {
            let named = self.bought.iter_mut().filter(|bought| !bought.scopes.is_empty());
            let Some(oldest) = named.min_by_key(|bought| bought.at) else { return };
            kept -= oldest.scopes.len();
            oldest.scopes = Box::default();
        }
    }

    /// Takes in a touch.
    pub fn touch(&mut self, touch: Touch) {
        if let Err(place) = self.touches.binary_search_by_key(&touch.place(), Touch::place) {
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

    /// Whether an order that was known here is not any more because it made room: only where there is no more room.
    /// It stays counted as it was.
    pub fn made_room(&self, order: Key) -> bool {
        self.bought.len() + 1 >= MAX_FACTS && self.bought(order).is_none()
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
            encoder.u8(touch.kind as u8);
            encoder.u64(touch.id);
            encoder.varint(u64::from(touch.source));
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
            encoder.bool(word.is_withdrawn);
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
            let at = Timestamp(decoder.signed()?);
            trail.words.push(Word { at, is_withdrawn: decoder.bool()? });
        }
        for _ in 0..decoder.count()? {
            let (order, accepted) = (Key(decoder.u128()?), decoder.bool()?);
            trail.milestones.push(Milestone { order, accepted, at: Timestamp(decoder.signed()?) });
        }
        Ok(trail)
    }
}

fn decode_touch(decoder: &mut Decoder<'_>) -> Result<Touch, DecodeError> {
    let at = Timestamp(decoder.signed()?);
    let kind = TouchKind::from_u8(decoder.u8()?)?;
    let id = decoder.u64()?;
    let source = u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
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
        kind,
        id,
        source,
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
