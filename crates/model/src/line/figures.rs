//! What is measured, per hour and campaign: counts, money and spreads that can be added and taken away.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::line::spread::Spread;
use std::collections::BTreeMap;

macro_rules! measures {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// A count or an amount. Numbers are stored by place: add at the end, never change one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Measure {
            $($(#[$doc])* $variant,)*
        }

        impl Measure {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in answers and in the feed; amounts end in `_micro`: millionths of the line's currency.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

measures! {
    /// Ads shown, whether or not anybody could see them.
    Impressions "impressions",
    /// Ads clicked.
    Clicks "clicks",
    /// Mails opened.
    MailOpens "mail_opens",
    /// Links in mails clicked.
    MailClicks "mail_clicks",
    /// Half hours in which somebody was there, where those count.
    Sessions "sessions",
    /// What impressions, clicks and mails cost, where they say so and whoever says it may.
    SpendMicro "spend_micro",
    /// Those whose cost is in a currency without a rate; their cost is in no sum.
    UnpricedTouches "unpriced_touches",
    /// Impressions that were invalid, or that nobody could see.
    ScrapInvalid "scrap_invalid",
    /// Impressions of something that the person had just bought.
    ScrapPurchased "scrap_purchased",
    /// Impressions above the frequency cap; those that nobody could see use up nothing of it.
    ScrapCapped "scrap_capped",
    /// Impressions of what could not be sold or delivered.
    ScrapUnavailable "scrap_unavailable",
    /// Impressions to somebody who had withdrawn consent.
    ScrapUnconsented "scrap_unconsented",
    /// Impressions to a person who had got the campaign as somebody else.
    ScrapDuplicate "scrap_duplicate",
    /// What those cost.
    ScrapInvalidMicro "scrap_invalid_micro",
    /// What those cost.
    ScrapPurchasedMicro "scrap_purchased_micro",
    /// What those cost.
    ScrapCappedMicro "scrap_capped_micro",
    /// What those cost.
    ScrapUnavailableMicro "scrap_unavailable_micro",
    /// What those cost.
    ScrapUnconsentedMicro "scrap_unconsented_micro",
    /// What those cost.
    ScrapDuplicateMicro "scrap_duplicate_micro",
    /// Orders.
    Orders "orders",
    /// Orders of people who had paid attention within the windows before.
    OrdersWithAttention "orders_with_attention",
    /// What orders brought in, less what went back.
    CashMicro "cash_micro",
    /// The same of people who had paid attention: the throughput.
    CashWithAttentionMicro "cash_with_attention_micro",
    /// Orders in a currency without a rate; their value is in no sum.
    UnpricedOrders "unpriced_orders",
    /// Orders that no impression came before: they have no cycle time.
    OrdersWithoutImpression "orders_without_impression",
    /// Orders after an impression whose confirmation is not accepted yet.
    OrdersUnconfirmed "orders_unconfirmed",
    /// Spans that would be negative: errors of data.
    NegativeSpans "negative_spans",
    /// First impressions of orders that were confirmed.
    JourneysBegun "journeys_begun",
    /// Confirmations of orders that began with an impression.
    JourneysEnded "journeys_ended",
    /// People who paid attention on the day that begins with this hour.
    PeopleWithAttention "people_with_attention",
    /// Those of them who also placed an order on that day that attention came before, on that day or earlier; so never
    /// more than those who paid attention.
    PeoplePaid "people_paid",
}

/// How many measures there are.
const MEASURES: usize = Measure::ALL.len();

/// Why an impression is scrap, in the order in which it is asked.
pub const SCRAP: [(Measure, Measure); 6] = [
    (Measure::ScrapInvalid, Measure::ScrapInvalidMicro),
    (Measure::ScrapPurchased, Measure::ScrapPurchasedMicro),
    (Measure::ScrapCapped, Measure::ScrapCappedMicro),
    (Measure::ScrapUnavailable, Measure::ScrapUnavailableMicro),
    (Measure::ScrapUnconsented, Measure::ScrapUnconsentedMicro),
    (Measure::ScrapDuplicate, Measure::ScrapDuplicateMicro),
];

/// A span of time that is spread, in milliseconds. Numbers are stored: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Span {
    /// First impression to accepted confirmation: the cycle time. Here and below the first that somebody could see
    /// within the wider of the windows of views and clicks before the order.
    Cycle = 0,
    /// First impression to the click that led to the cart: the last before it. Here and below only what came after the
    /// person's order before this one.
    ImpressionToClick = 1,
    /// That click to the last product that was put into the cart before paying.
    ClickToCart = 2,
    /// That to the first step of paying after it.
    CartToPay = 3,
    /// That to the order.
    PayToCapture = 4,
    /// The order to its queued confirmation.
    CaptureToQueued = 5,
    /// The queued to the accepted confirmation.
    QueuedToAccepted = 6,
    /// A purchase to an impression of what was bought: how long advertising did not know.
    AfterPurchase = 7,
}

impl Span {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Cycle,
        Self::ImpressionToClick,
        Self::ClickToCart,
        Self::CartToPay,
        Self::PayToCapture,
        Self::CaptureToQueued,
        Self::QueuedToAccepted,
        Self::AfterPurchase,
    ];

    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cycle => "cycle",
            Self::ImpressionToClick => "impression_to_click",
            Self::ClickToCart => "click_to_cart",
            Self::CartToPay => "cart_to_pay",
            Self::PayToCapture => "pay_to_capture",
            Self::CaptureToQueued => "capture_to_queued",
            Self::QueuedToAccepted => "queued_to_accepted",
            Self::AfterPurchase => "after_purchase",
        }
    }
}

/// All figures of one hour and campaign, or the difference that something makes to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    counts: [i64; MEASURES],
    /// Sorted by span; none is empty.
    spans: Vec<(Span, Spread)>,
}

impl Default for Figures {
    fn default() -> Self {
        Self { counts: [0; MEASURES], spans: Vec::new() }
    }
}

impl Figures {
    /// A count or amount.
    pub fn get(&self, measure: Measure) -> i64 {
        self.counts.get(measure as usize).copied().unwrap_or_default()
    }

    /// Adds to a count or amount.
    pub fn add(&mut self, measure: Measure, more: i64) {
        if let Some(count) = self.counts.get_mut(measure as usize) {
            // Amounts are bounded at the door, so this wraps only after more money than there is; and wrapping, unlike
            // stopping at the end, can be taken back.
            *count = count.wrapping_add(more);
        }
    }

    /// The spread of a span, if there is any.
    pub fn span(&self, span: Span) -> Option<&Spread> {
        self.spans.iter().find(|own| own.0 == span).map(|own| &own.1)
    }

    /// Adds one span, in microseconds. A negative one is an error of data and counted as that.
    pub fn add_span(&mut self, span: Span, length_us: i64) {
        match u64::try_from(length_us) {
            Ok(length_us) => self.change_span(span, |spread| spread.add(length_us / 1_000, 1)),
            Err(_) => self.add(Measure::NegativeSpans, 1),
        }
    }

    fn change_span(&mut self, span: Span, change: impl FnOnce(&mut Spread)) {
        let place = match self.spans.binary_search_by_key(&span, |own| own.0) {
            Ok(place) => place,
            Err(place) => {
                self.spans.insert(place, (span, Spread::default()));
                place
            }
        };
        let Some((_, spread)) = self.spans.get_mut(place) else { return };
        change(spread);
        if spread.is_empty() {
            self.spans.remove(place);
        }
    }

    /// Takes in others (`sign` 1) or takes them away (-1).
    pub fn merge(&mut self, other: &Self, sign: i64) {
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            *own = own.wrapping_add(more.wrapping_mul(sign));
        }
        for (span, more) in &other.spans {
            self.change_span(*span, |spread| spread.merge(more, sign));
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.counts.iter().all(|count| *count == 0)
    }

    /// The sum of all scrap: impressions, and what they cost.
    pub fn scrap(&self) -> (i64, i64) {
        SCRAP.iter().fold((0, 0), |(count, micro), (one, cost)| {
            (count + self.get(*one), micro.saturating_add(self.get(*cost)))
        })
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let spreads: usize = self.spans.iter().map(|(_, spread)| spread.heap_bytes()).sum();
        self.spans.capacity() * size_of::<(Span, Spread)>() + spreads
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count != 0);
        encoder.varint(filled.clone().count() as u64);
        for (place, count) in filled {
            encoder.u8(place as u8);
            encoder.signed(*count);
        }
        encoder.varint(self.spans.len() as u64);
        for (span, spread) in &self.spans {
            encoder.u8(*span as u8);
            spread.encode(encoder);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut figures = Self::default();
        for _ in 0..decoder.count()? {
            let place = decoder.u8()?;
            let count = decoder.signed()?;
            let own = figures.counts.get_mut(usize::from(place));
            *own.ok_or(DecodeError::Unknown(u64::from(place)))? = count;
        }
        for _ in 0..decoder.count()? {
            let number = decoder.u8()?;
            let span = Span::ALL.into_iter().find(|span| *span as u8 == number);
            let span = span.ok_or(DecodeError::Unknown(u64::from(number)))?;
            figures.spans.push((span, Spread::decode(decoder)?));
        }
        Ok(figures)
    }
}

/// Where figures belong: an hour, and a campaign or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Hours since 1970, UTC.
    pub hour: i32,
    /// See [`crate::line::campaign`]; 0 is none.
    pub campaign: u64,
}

/// Figures by hour and campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger(pub BTreeMap<Place, Figures>);

impl Ledger {
    /// The figures of a place, to be changed.
    pub(crate) fn at(&mut self, place: Place) -> &mut Figures {
        self.0.entry(place).or_default()
    }

    /// Takes in another (`sign` 1) or takes it away (-1); what comes to nothing is left out.
    pub fn merge(&mut self, other: &Self, sign: i64) {
        for (place, figures) in &other.0 {
            let own = self.at(*place);
            own.merge(figures, sign);
            if own.is_empty() {
                self.0.remove(place);
            }
        }
    }
}
