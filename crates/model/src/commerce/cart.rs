//! What somebody means to buy.

use super::market::Country;
use crate::id::{Key, Timestamp};
use crate::stored;

stored! {
    /// A cart. It becomes a checkout when it is paid for, and an order when the payment is known.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Cart {
        /// Hash of its secret token: who has the token has the cart.
        pub key: Key,
        /// What is in it, in order.
        pub lines: Vec<CartLine>,
        /// The number that the next line gets.
        pub next_line: u32,
        /// Who buys.
        pub buyer: Buyer,
        /// What the buyer wrote.
        pub note: String,
        /// Whatever else the storefront keeps.
        pub attributes: Vec<Attribute>,
        /// Codes that were entered, whether they hold or not.
        pub discount_codes: Vec<String>,
        /// Where it goes.
        pub address: Option<Address>,
        /// The way of sending that was chosen.
        pub shipping_method: Option<String>,
        /// Who the visitor is to the shop's own analytics, if known.
        pub anonymous_id: Option<String>,
        /// Where it stands.
        pub standing: Standing,
        /// When it came to be.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
        /// How often it was changed.
        pub revision: u64,
    }

    /// One line.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct CartLine {
        /// Its number in the cart, never used again there.
        pub number: u32,
        /// What.
        pub variant: u64,
        /// How many; at least one.
        pub quantity: u32,
        /// Whatever else the storefront keeps. Lines of one variant with other attributes are other lines.
        pub attributes: Vec<Attribute>,
    }

    /// A name and a value of the storefront's own.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Attribute {
        /// The name.
        pub key: String,
        /// The value.
        pub value: String,
    }

    /// Who buys, as far as known.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Buyer {
        /// The country that prices are for, until there is an address.
        pub country: Option<Country>,
        /// The language.
        pub language: Option<String>,
        /// The e-mail address.
        pub email: Option<String>,
        /// The phone number.
        pub phone: Option<String>,
        /// The number of the customer, if they are logged in.
        pub customer: Option<u64>,
    }

    /// A postal address.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Address {
        /// Given name.
        pub first_name: String,
        /// Family name.
        pub last_name: String,
        /// Company.
        pub company: String,
        /// Street and number.
        pub address1: String,
        /// More of it.
        pub address2: String,
        /// City.
        pub city: String,
        /// Region, as a code such as `CA`; empty where a country has none.
        pub province: String,
        /// Postal code.
        pub zip: String,
        /// Country.
        pub country: Country,
        /// Phone number for the carrier.
        pub phone: String,
    }

    /// Where a cart stands.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Standing {
        /// It can be changed.
        Open = 1,
        /// A payment is under way: units are reserved, and nothing can be changed until it is known.
        Paying(Key) = 2,
        /// It is an order, with this number.
        Ordered(u64) = 3,
    }
}
