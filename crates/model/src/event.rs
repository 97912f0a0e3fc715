//! An event as the door hands it to the log: something that happened, in Segment form, hot fields extracted.
//!
//! An [`Event`] borrows: from the request body when the door builds it, from the log's frame when the machine reads
//! it. [`Event::encode`] and [`Event::decode`] are the bytes of a record of kind [`RecordKind::EVENT`]
//! (format version 1).
//!
//! [`RecordKind::EVENT`]: crate::record::RecordKind::EVENT

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::id::{Key, Timestamp};

/// The most identifiers that one event may carry.
pub const MAX_IDENTIFIERS: usize = 8;
/// The most products that one event may carry; the door refuses more.
pub const MAX_PRODUCTS: usize = 1_000;

const FORMAT_VERSION: u8 = 1;

/// The six calls of the Segment specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// Who somebody is.
    Identify = 1,
    /// What somebody did.
    Track = 2,
    /// A page seen.
    Page = 3,
    /// An app screen seen.
    Screen = 4,
    /// A membership in an account.
    Group = 5,
    /// Two ids of the same person.
    Alias = 6,
}

impl EventKind {
    fn from_u8(value: u8) -> Result<Self, DecodeError> {
        Ok(match value {
            1 => Self::Identify,
            2 => Self::Track,
            3 => Self::Page,
            4 => Self::Screen,
            5 => Self::Group,
            6 => Self::Alias,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }

    /// The name on the wire: `identify`, `track`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }
}

/// A type of identifier. Numbers are stored: never change one. Custom types start at 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentifierKind(pub u8);

impl IdentifierKind {
    /// The shop's own customer id.
    pub const USER_ID: Self = Self(1);
    /// An e-mail address. Its value is sealed.
    pub const EMAIL: Self = Self(2);
    /// A phone number in E.164. Its value is sealed.
    pub const PHONE: Self = Self(3);
    /// A browser's own id: a session, not a person.
    pub const ANONYMOUS_ID: Self = Self(4);
    /// An app installation's id: a session, not a person.
    pub const DEVICE_ID: Self = Self(5);

    /// Whether this type names a device in somebody's hand rather than somebody.
    pub fn is_session(self) -> bool {
        self == Self::ANONYMOUS_ID || self == Self::DEVICE_ID
    }

    /// Whether values of this type are personal and therefore kept sealed.
    pub fn is_sealed(self) -> bool {
        self == Self::EMAIL || self == Self::PHONE
    }
}

/// A (type, value) pair, normalised, with the keyed hash under which it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identifier<'a> {
    /// The type, see [`IdentifierKind`].
    pub kind: u8,
    /// Keyed hash of type and normalised value (see [`crate::seal::Keys::identifier`]).
    pub key: Key,
    /// The normalised value; sealed where [`IdentifierKind::is_sealed`].
    pub value: &'a [u8],
}

/// The identifiers of one event, most important first, without an allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identifiers<'a> {
    items: [Identifier<'a>; MAX_IDENTIFIERS],
    count: usize,
}

impl<'a> Identifiers<'a> {
    /// Adds one. `false` if there is no room.
    pub fn push(&mut self, identifier: Identifier<'a>) -> bool {
        match self.items.get_mut(self.count) {
            Some(slot) => {
                *slot = identifier;
                self.count += 1;
                true
            }
            None => false,
        }
    }

    /// All of them, in order.
    pub fn as_slice(&self) -> &[Identifier<'a>] {
        self.items.get(..self.count).unwrap_or_default()
    }
}

/// What an order event says about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OrderChange {
    /// `Order Completed`: the order exists and has this value.
    Completed = 1,
    /// `Order Updated`: it now has this value.
    Updated = 2,
    /// `Order Cancelled`: it has no value any more.
    Cancelled = 3,
    /// `Order Refunded`: this much went back.
    Refunded = 4,
}

/// The order part of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderFact<'a> {
    /// What happened to it.
    pub change: OrderChange,
    /// The shop's order id: the order's own identity, whichever door reports it.
    pub order_id: &'a str,
    /// The refund's own id, for refunds; the `messageId` stands in where the sender gave none.
    pub refund_id: &'a str,
    /// Order value or refund amount, in minor units of `currency`.
    pub value_minor: i64,
    /// ISO 4217, upper case; `XXX` where none was sent.
    pub currency: [u8; 3],
}

/// A product of a product or order event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product<'a> {
    /// `product_id`, or `sku` where there is none.
    pub product_id: &'a str,
    /// `category`; empty where none was sent.
    pub category: &'a str,
    /// `quantity`; 1 where none was sent.
    pub quantity: u32,
    /// Unit `price` in minor units of the event's currency; 0 where none was sent.
    pub price_minor: i64,
}

/// One consent category and whether it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent<'a> {
    /// The category, e.g. `Advertising`.
    pub category: &'a str,
    /// Given or withdrawn.
    pub granted: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Which call.
    pub kind: EventKind,
    /// The write key it came with, by its number.
    pub source: u32,
    /// Came with a server write key (promise 11: a browser's word is a claim).
    pub from_server: bool,
    /// Its order value counts: server keys, and browser keys that were told so.
    pub value_counts: bool,
    /// Keyed hash of write key and `messageId`: what de-duplication goes by.
    pub dedup_key: Key,
    /// The client's `messageId`, or one that the door made.
    pub message_id: &'a str,
    /// The client's time after skew correction, not clamped yet: see [`Event::clamped_at`].
    pub occurred_at: Timestamp,
    /// Event name of a `track`, page or screen name, group id of a `group`; may be empty.
    pub name: &'a str,
    /// Who, most important first. Of an `alias`: the surviving id, then the previous one.
    pub identifiers: Identifiers<'a>,
    /// Set on order events.
    pub order: Option<OrderFact<'a>>,
    /// Products of product and order events.
    pub products: Vec<Product<'a>>,
    /// From `context.consent`.
    pub consent: Vec<Consent<'a>>,
    /// Raw JSON object, or empty. Personal.
    pub traits: &'a [u8],
    /// Raw JSON object, or empty. Personal.
    pub properties: &'a [u8],
    /// Raw JSON object, or empty. Personal.
    pub context: &'a [u8],
}

/// How far behind log time an event may be placed.
pub const MAX_AGE_US: i64 = 400 * 24 * 3_600 * 1_000_000;
/// How far ahead of log time an event may be placed.
pub const MAX_AHEAD_US: i64 = 5 * 60 * 1_000_000;

const FROM_SERVER: u8 = 1;
const VALUE_COUNTS: u8 = 2;
const HAS_ORDER: u8 = 4;

impl<'a> Event<'a> {
    /// `occurred_at` clamped to [received_at − max_age, received_at + 5 min]: the instant that places the event in
    /// windows.
    pub fn clamped_at(&self, received_at: Timestamp, max_age_us: i64) -> Timestamp {
        let earliest = received_at.plus_us(max_age_us.max(0).saturating_neg());
        let latest = received_at.plus_us(MAX_AHEAD_US);
        self.occurred_at.clamp(earliest, latest)
    }

    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        encoder.u8(FORMAT_VERSION);
        encoder.u8(self.kind as u8);
        let mut flags = 0;
        if self.from_server {
            flags |= FROM_SERVER;
        }
        if self.value_counts {
            flags |= VALUE_COUNTS;
        }
        if self.order.is_some() {
            flags |= HAS_ORDER;
        }
        encoder.u8(flags);
        encoder.varint(u64::from(self.source));
        encoder.u128(self.dedup_key.0);
        encoder.text(self.message_id);
        encoder.i64(self.occurred_at.0);
        encoder.text(self.name);
        encoder.u8(self.identifiers.as_slice().len() as u8);
        for identifier in self.identifiers.as_slice() {
            encoder.u8(identifier.kind);
            encoder.u128(identifier.key.0);
            encoder.bytes(identifier.value);
        }
        if let Some(order) = &self.order {
            encoder.u8(order.change as u8);
            encoder.text(order.order_id);
            encoder.text(order.refund_id);
            encoder.signed(order.value_minor);
            encoder.0.extend_from_slice(&order.currency);
        }
        encoder.varint(self.products.len() as u64);
        for product in &self.products {
            encoder.text(product.product_id);
            encoder.text(product.category);
            encoder.varint(u64::from(product.quantity));
            encoder.signed(product.price_minor);
        }
        encoder.varint(self.consent.len() as u64);
        for consent in &self.consent {
            encoder.text(consent.category);
            encoder.bool(consent.granted);
        }
        encoder.bytes(self.traits);
        encoder.bytes(self.properties);
        encoder.bytes(self.context);
    }

    /// Reads the stored form, borrowing from it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let version = decoder.u8()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown(u64::from(version)));
        }
        let kind = EventKind::from_u8(decoder.u8()?)?;
        let flags = decoder.u8()?;
        let source = small(decoder.varint()?)?;
        let dedup_key = Key(decoder.u128()?);
        let message_id = decoder.text()?;
        let occurred_at = Timestamp(decoder.i64()?);
        let name = decoder.text()?;
        let identifiers = decode_identifiers(&mut decoder)?;
        let order = if flags & HAS_ORDER != 0 { Some(decode_order(&mut decoder)?) } else { None };
        let products = decode_products(&mut decoder)?;
        let mut consent = Vec::new();
        for _ in 0..decoder.count()? {
            consent.push(Consent { category: decoder.text()?, granted: decoder.bool()? });
        }
        let traits = decoder.bytes()?;
        let properties = decoder.bytes()?;
        let context = decoder.bytes()?;
        decoder.finish()?;
        Ok(Self {
            kind,
            source,
            from_server: flags & FROM_SERVER != 0,
            value_counts: flags & VALUE_COUNTS != 0,
            dedup_key,
            message_id,
            occurred_at,
            name,
            identifiers,
            order,
            products,
            consent,
            traits,
            properties,
            context,
        })
    }

    /// Reads who an event is about and its order part, without the rest: what decides which rows it will touch.
    pub fn peek_who(bytes: &'a [u8]) -> Result<(Identifiers<'a>, Option<OrderFact<'a>>), DecodeError> {
        let mut decoder = Decoder::new(bytes);
        decoder.take(2)?;
        let flags = decoder.u8()?;
        decoder.varint()?;
        decoder.u128()?;
        decoder.bytes()?;
        decoder.i64()?;
        decoder.bytes()?;
        let identifiers = decode_identifiers(&mut decoder)?;
        let order = if flags & HAS_ORDER != 0 { Some(decode_order(&mut decoder)?) } else { None };
        Ok((identifiers, order))
    }

    /// Reads the de-duplication key alone, without decoding the rest.
    pub fn peek_dedup_key(bytes: &[u8]) -> Result<Key, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        decoder.take(3)?;
        decoder.varint()?;
        decoder.u128().map(Key)
    }
}

fn small(value: u64) -> Result<u32, DecodeError> {
    u32::try_from(value).map_err(|_| DecodeError::Overlong)
}

fn decode_identifiers<'a>(decoder: &mut Decoder<'a>) -> Result<Identifiers<'a>, DecodeError> {
    let count = decoder.u8()?;
    let mut identifiers = Identifiers::default();
    for _ in 0..count {
        let identifier =
            Identifier { kind: decoder.u8()?, key: Key(decoder.u128()?), value: decoder.bytes()? };
        if !identifiers.push(identifier) {
            return Err(DecodeError::Unknown(u64::from(count)));
        }
    }
    Ok(identifiers)
}

fn decode_order<'a>(decoder: &mut Decoder<'a>) -> Result<OrderFact<'a>, DecodeError> {
    let change = match decoder.u8()? {
        1 => OrderChange::Completed,
        2 => OrderChange::Updated,
        3 => OrderChange::Cancelled,
        4 => OrderChange::Refunded,
        other => return Err(DecodeError::Unknown(u64::from(other))),
    };
    let order_id = decoder.text()?;
    let refund_id = decoder.text()?;
    let value_minor = decoder.signed()?;
    let mut currency = [0; 3];
    currency.copy_from_slice(decoder.take(3)?);
    Ok(OrderFact { change, order_id, refund_id, value_minor, currency })
}

fn decode_products<'a>(decoder: &mut Decoder<'a>) -> Result<Vec<Product<'a>>, DecodeError> {
    let count = decoder.count()?;
    if count > MAX_PRODUCTS {
        return Err(DecodeError::Unknown(count as u64));
    }
    let mut products = Vec::with_capacity(count);
    for _ in 0..count {
        products.push(Product {
            product_id: decoder.text()?,
            category: decoder.text()?,
            quantity: small(decoder.varint()?)?,
            price_minor: decoder.signed()?,
        });
    }
    Ok(products)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample<'a>(text: &'a str, bytes: &'a [u8], number: i64) -> Event<'a> {
        let mut identifiers = Identifiers::default();
        identifiers.push(Identifier { kind: 1, key: Key(number as u128), value: bytes });
        identifiers.push(Identifier { kind: 4, key: Key(9), value: b"anon" });
        Event {
            kind: EventKind::Track,
            source: number.unsigned_abs() as u32,
            from_server: number % 2 == 0,
            value_counts: number % 3 == 0,
            dedup_key: Key(77),
            message_id: text,
            occurred_at: Timestamp(number),
            name: text,
            identifiers,
            order: Some(OrderFact {
                change: OrderChange::Completed,
                order_id: text,
                refund_id: "",
                value_minor: number,
                currency: *b"EUR",
            }),
            products: vec![Product { product_id: text, category: "c", quantity: 2, price_minor: number }],
            consent: vec![Consent { category: "Advertising", granted: true }],
            traits: bytes,
            properties: b"{}",
            context: bytes,
        }
    }

    proptest! {
        #[test]
        fn an_event_reads_back(text in ".{0,40}", bytes: Vec<u8>, number: i64) {
            let event = sample(&text, &bytes, number);
            let mut out = Vec::new();
            event.encode(&mut out);
            prop_assert_eq!(Event::peek_dedup_key(&out), Ok(event.dedup_key));
            prop_assert_eq!(Event::peek_who(&out), Ok((event.identifiers, event.order)));
            prop_assert_eq!(Event::decode(&out), Ok(event));
        }

        #[test]
        fn damaged_bytes_give_an_error_or_another_event(bytes: Vec<u8>, at: prop::sample::Index, to: u8) {
            let _ = Event::decode(&bytes);
            let _ = Event::peek_who(&bytes);
            let mut out = Vec::new();
            sample("text", b"bytes", 5).encode(&mut out);
            let index = at.index(out.len());
            out[index] = to;
            let _ = Event::decode(&out);
            let _ = Event::decode(&out[..index]);
        }
    }
}
