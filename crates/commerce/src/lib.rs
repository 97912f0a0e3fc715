//! The shop machine: catalogue, stock, carts, checkout, payments and orders, in a loop and a log of their own.
//!
//! The path of one checkout:
//!
//! 1. A door makes a random token for a cart and hands in [`Operation::CartCreate`] with the token's hash; lines, buyer,
//!    address and way of sending follow (`carts.rs`). [`View::price`] says what it costs.
//! 2. [`Operation::Pay`] (`checkout.rs`) prices the cart again, from the state, and refuses if the buyer was told another
//!    total; then it reserves all units together, or none, and writes down a payment that is to be authorised.
//! 3. [`cashier`] sees it in the view, asks the provider outside the loop, and hands in
//!    [`Operation::PaymentAnswered`].
//! 4. `payments.rs` takes the answer in: an order with the next number (`orders.rs`), and the money is to be captured; or
//!    the units are given back; or, where they ran out meanwhile, what was set aside is let go.
//! 5. The order's units stay reserved until they are sent ([`Operation::OrderFulfil`]), or are given back.
//!
//! What is due at a provider follows from the payment's state alone, so a crash between any two steps is made good by
//! asking again under the same key.
//!
//! **This crate never** writes state outside of `apply`, reads a clock or makes a random number there, calls a provider
//! while it decides, believes an amount that a client states, or keeps a card.

mod carts;
pub mod cashier;
mod catalogue;
mod check;
mod checkout;
mod command;
mod customers;
pub mod effect;
pub mod http;
pub mod import;
mod machine;
mod orders;
pub mod page;
mod payments;
mod pricing;
mod query;
mod read;
mod refusal;
mod rules;
mod settings;
mod shop;
mod state;
mod stock;
pub mod storefront;
mod terms;
mod view;

pub use command::{
    CartInput, CartReply, CartShown, CartWarning, CartWarningCode, CodeUses, Command, CustomerInput,
    FulfilInput, LineChange, LineInput, Operation, PayInput, PaymentShown, RefundInput, Reply, StockSetting,
};
pub use machine::Commerce;
pub use orders::to_send;
pub use pricing::{CartPrice, ShippingOffer};
pub use query::{Answer, PAGE_MAX, Query};
pub use refusal::{Refusal, Shortage};
pub use settings::{
    FIRST_ORDER_DEFAULT, Location, Menu, MenuLink, Policy, RESERVATION_DEFAULT_MS, ShopSettings,
};
pub use shop::{Replied, Shop, ShopError};
pub use state::{About, Counters, Customer, CustomerAddress, LedgerRow, State, StockRow};
pub use terms::{FixedRow, Part, Terms};
pub use view::{Catalogue, Change, Shown, View};

use model::id::Key;

/// The version of the rules: another one when `apply` could answer differently for the same log.
pub const RULES_VERSION: u32 = 1;

/// The key of a secret token, by what it opens: `cart`, `order` or `customer`. State knows only this, and never the token.
///
/// BLAKE3, cut to 128 bits: whoever reads the log or a backup cannot go back from it to the token.
pub fn token_key(what: &str, token: &str) -> Key {
    let mut hasher = blake3::Hasher::new_derive_key("throughline 2026-11 shop tokens");
    hasher.update(&(what.len() as u64).to_le_bytes());
    hasher.update(what.as_bytes());
    hasher.update(token.as_bytes());
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    Key(u128::from_le_bytes(bytes))
}
