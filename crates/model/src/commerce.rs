//! The shop's rules: what is sold, at which price, from which stock, and how an order comes to be.
//!
//! Products and their variants (`product`) have prices in markets (`market`, `price`), tax by dated rates (`tax`),
//! discounts (`discount`) and ways to be sent (`shipping`). A cart (`cart`) is priced whole: every line is rounded when it
//! is made, and totals are sums of lines (`money`). Stock is reserved before a payment is asked for, and never while
//! (`stock`); a payment goes through one table of transitions (`payment`); what was authorised for reserved units is an
//! order (`order`).
//!
//! Everything here is a function of its arguments. What a cart costs is said by the same function to a page that shows
//! it and to the loop that takes the order.

pub mod cart;
pub mod discount;
pub mod encoded_variants;
pub mod handle;
pub mod market;
pub mod money;
pub mod order;
pub mod payment;
pub mod price;
pub mod product;
pub mod shipping;
pub mod stock;
pub mod tax;

use crate::id::Key;

/// The most lines of a cart.
pub const MAX_LINES: usize = 500;
/// The most of one line.
pub const MAX_QUANTITY: u32 = 1_000_000;
/// The most variants of a product, as on the platform whose API is spoken here.
pub const MAX_VARIANTS: usize = 2_048;
/// The most options of a product.
pub const MAX_OPTIONS: usize = 3;
/// The most values of one option.
pub const MAX_OPTION_VALUES: usize = 2_048;
/// The longest text of one field, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// What a number of the shop names. Numbers are public and count from one, per kind; importing may state them, so that a
/// shop that moves here keeps its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A product.
    Product,
    /// A variant.
    Variant,
    /// A collection.
    Collection,
    /// An order.
    Order,
    /// A customer.
    Customer,
    /// A place that holds stock.
    Location,
}

impl Kind {
    /// The name in public ids: `gid://shopify/Product/1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Product => "Product",
            Self::Variant => "ProductVariant",
            Self::Collection => "Collection",
            Self::Order => "Order",
            Self::Customer => "Customer",
            Self::Location => "Location",
        }
    }

    /// The row of the one with this number.
    pub fn key(self, number: u64) -> Key {
        let mut text = [0_u8; 20];
        let mut at = text.len();
        let mut rest = number;
        loop {
            at -= 1;
            if let Some(digit) = text.get_mut(at) {
                *digit = b'0' + (rest % 10) as u8;
            }
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        let digits = text.get(at..).and_then(|digits| std::str::from_utf8(digits).ok());
        Key::of_text(self.name(), digits.unwrap_or_default())
    }
}
