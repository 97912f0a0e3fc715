//! What was sold.

use super::cart::{Address, Attribute, Buyer};
use super::money::Currency;
use super::stock::Taken;
use crate::id::{Key, Timestamp};
use crate::stored;

stored! {
    /// What a cart costs, to the last unit: every total is the sum of what it is the total of.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Totals {
        /// In what.
        pub currency: Currency,
        /// Whether the amounts of lines and shipping hold the tax.
        pub prices_include_tax: bool,
        /// By line, in the cart's order.
        pub lines: Vec<LineTotal>,
        /// Sending it; `None` where nothing has to be sent, or no way is chosen.
        pub shipping: Option<ShippingTotal>,
        /// Sum of the lines before discounts.
        pub subtotal_minor: i64,
        /// What discounts take off lines and shipping.
        pub discount_minor: i64,
        /// Sending it, after discounts.
        pub shipping_minor: i64,
        /// All tax, whether it is held by the prices or comes on top.
        pub tax_minor: i64,
        /// What is paid.
        pub total_minor: i64,
        /// Each code that was entered, and whether it holds.
        pub codes: Vec<CodeStanding>,
    }

    /// What a line costs.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LineTotal {
        /// The line's number.
        pub number: u32,
        /// What.
        pub variant: u64,
        /// How many.
        pub quantity: u32,
        /// The price of one.
        pub unit_price_minor: i64,
        /// The price of one before, if it is to be shown.
        pub compare_at_minor: Option<i64>,
        /// The price of all.
        pub subtotal_minor: i64,
        /// What each discount takes off, by code.
        pub discounts: Vec<(String, i64)>,
        /// The tax.
        pub taxes: Vec<TaxLine>,
        /// What is paid for the line: with tax.
        pub total_minor: i64,
    }

    /// A tax on something.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct TaxLine {
        /// What it is called.
        pub name: String,
        /// In millionths.
        pub rate_ppm: u32,
        /// How much.
        pub amount_minor: i64,
    }

    /// What sending costs.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ShippingTotal {
        /// The way.
        pub handle: String,
        /// What buyers are shown.
        pub title: String,
        /// The price.
        pub price_minor: i64,
        /// What discounts take off.
        pub discount_minor: i64,
        /// The tax.
        pub taxes: Vec<TaxLine>,
        /// What is paid for it: with tax.
        pub total_minor: i64,
    }

    /// Whether a code holds.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CodeStanding {
        /// The code, as it was entered.
        pub code: String,
        /// Whether it takes something off.
        pub applicable: bool,
        /// Why not: a word such as `unknown`, `expired`, `subtotal`, `used_up`, `currency`, `combination`.
        pub reason: Option<String>,
    }

    /// An order.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Order {
        /// Its number; they have no gaps.
        pub number: u64,
        /// Hash of the secret token of its page.
        pub key: Key,
        /// The cart that it was.
        pub cart: Key,
        /// What was bought.
        pub lines: Vec<OrderLine>,
        /// What it costs.
        pub totals: Totals,
        /// Who bought.
        pub buyer: Buyer,
        /// Where it goes.
        pub address: Option<Address>,
        /// What the buyer wrote.
        pub note: String,
        /// Whatever else the storefront keeps.
        pub attributes: Vec<Attribute>,
        /// The payment.
        pub payment: Key,
        /// The stock that is reserved for it: what was not sent yet.
        pub taken: Vec<Taken>,
        /// The stock that it was sent from, and that did not come back.
        pub sent: Vec<Taken>,
        /// The visitor to the shop's own analytics, if known.
        pub anonymous_id: Option<String>,
        /// What was sent.
        pub fulfilments: Vec<Fulfilment>,
        /// What was given back.
        pub refunds: Vec<Refund>,
        /// When and why it was cancelled, if it was.
        pub cancelled: Option<(Timestamp, String)>,
        /// When it came to be.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// A line of an order: what it was called and cost when it was bought.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OrderLine {
        /// The line's number.
        pub number: u32,
        /// The product.
        pub product: u64,
        /// The variant.
        pub variant: u64,
        /// What the product was called.
        pub title: String,
        /// What the variant was called.
        pub variant_title: String,
        /// The shop's own number for it.
        pub sku: String,
        /// How many.
        pub quantity: u32,
        /// Whether it has to be sent.
        pub requires_shipping: bool,
        /// Whatever else the storefront keeps.
        pub attributes: Vec<Attribute>,
    }

    /// Something that was sent.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Fulfilment {
        /// Its number in the order.
        pub number: u32,
        /// Which lines, and how many of each.
        pub lines: Vec<(u32, u32)>,
        /// Who carries it.
        pub carrier: String,
        /// By what it can be followed.
        pub tracking_number: String,
        /// Where.
        pub tracking_url: String,
        /// When.
        pub at: Timestamp,
    }

    /// Something that was given back.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Refund {
        /// Its number in the order.
        pub number: u32,
        /// Which lines, and how many of each; empty where only money is given back.
        pub lines: Vec<(u32, u32)>,
        /// Of these, what was not sent before and is not sent any more.
        pub unsent: Vec<(u32, u32)>,
        /// How much.
        pub amount_minor: i64,
        /// Whether the goods are on hand again.
        pub restock: bool,
        /// Why.
        pub reason: String,
        /// Where it stands.
        pub state: RefundState,
        /// When it was asked for.
        pub at: Timestamp,
    }

    /// Where a refund stands.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RefundState {
        /// The provider does not know yet, or has not answered.
        Pending = 1,
        /// The money went back.
        Done = 2,
        /// The provider refused.
        Refused = 3,
    }
}
