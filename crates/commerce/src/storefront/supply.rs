//! What the loop is asked for before an answer is written: carts, customers, and what became of changes.

use super::fault::Fault;
use super::{RequestContext, Storefront};
use crate::command::CartShown;
use crate::pricing::ShippingOffer;
use crate::query::Query;
use crate::shop::ShopError;
use crate::state::Customer;
use crate::token_key;
use model::commerce::order::Totals;
use model::id::{Key, Timestamp};

/// The beginning of a cart's public id; its secret token follows.
const CART_ID: &str = "gid://shopify/Cart/";

/// What the loop said, for a field.
#[derive(Debug)]
pub(crate) enum Supply {
    /// A cart, if there is one.
    Cart(Option<Box<CartSupply>>),
    /// What came of changing a cart.
    Changed(Box<Changed>),
    /// A customer, if there is one.
    Customer(Option<Box<Customer>>),
    /// What came of changing an account.
    Account(Account),
    /// Something that is written already.
    Written(Vec<u8>),
    /// Nothing can be said.
    Failed(Fault),
}

/// A cart, and all that is said of it.
#[derive(Clone, Debug)]
pub(crate) struct CartSupply {
    /// Its secret.
    pub(crate) token: String,
    /// The cart. Lines of what is no longer sold are left out.
    pub(crate) shown: CartShown,
    /// What it costs.
    pub(crate) totals: Totals,
    /// How it could be sent.
    pub(crate) offers: Vec<ShippingOffer>,
    /// Who buys, if they have an account.
    pub(crate) customer: Option<Box<Customer>>,
}

/// What came of changing a cart.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// The cart after it.
    pub(crate) cart: Option<CartSupply>,
    /// What is wrong with what was asked.
    pub(crate) errors: Vec<UserError>,
    /// What was done in another way than asked.
    pub(crate) warnings: Vec<Warning>,
}

/// Something that is wrong with what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserError {
    /// The published code.
    pub(crate) code: &'static str,
    /// Where in what was sent.
    pub(crate) field: Vec<String>,
    /// A sentence.
    pub(crate) message: String,
}

/// Something that was done in another way than asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    /// The published code.
    pub(crate) code: &'static str,
    /// A sentence.
    pub(crate) message: String,
    /// The id of what it is about.
    pub(crate) target: String,
}

/// What came of changing an account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// The customer.
    pub(crate) customer: Option<Box<Customer>>,
    /// The token that stands for them, and until when.
    pub(crate) token: Option<(String, Timestamp)>,
    /// The token that stands for nobody any more.
    pub(crate) revoked: Option<String>,
    /// What is wrong with what was asked.
    pub(crate) errors: Vec<UserError>,
}

impl UserError {
    /// An error about a part of what was sent, e.g. `input.lines.0`.
    pub(crate) fn new(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        let field = field.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { code, field, message: message.into() }
    }
}

/// The secret token of a cart's public id.
pub(crate) fn cart_token(id: &str) -> Option<&str> {
    let token = id.strip_prefix(CART_ID)?.split('?').next()?;
    let plain = (16..=64).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(token)
}

/// The public id of a cart.
pub(crate) fn cart_id(token: &str) -> String {
    format!("{CART_ID}{token}")
}

/// The key that a cart has in the state.
pub(crate) fn cart_key(token: &str) -> Key {
    token_key("cart", token)
}

/// The key that a customer's token has in the state.
pub(crate) fn customer_key(token: &str) -> Key {
    token_key("customer", token)
}

/// What GraphQL is told when the loop did not answer.
pub(crate) fn unanswered(error: &ShopError) -> Fault {
    match error {
        ShopError::NotTaken(_) => {
            Fault::request("THROTTLED", "the shop has much to do: try again in a moment")
        }
        _ => Fault::request("INTERNAL_SERVER_ERROR", "the shop could not answer: try again in a moment"),
    }
}

impl Storefront {
    /// A cart by its public id.
    pub(crate) async fn read_cart(&self, id: &str, context: &RequestContext) -> Supply {
        let Some(token) = cart_token(id) else { return Supply::Cart(None) };
        match self.shop.cart(cart_key(token)).await {
            Ok(Some(shown)) => Supply::Cart(Some(Box::new(self.supplied(token, *shown, context).await))),
            Ok(None) => Supply::Cart(None),
            Err(error) => Supply::Failed(unanswered(&error)),
        }
    }

    /// A customer by their token.
    pub(crate) async fn read_customer(&self, token: &str) -> Supply {
        match self.shop.customer(Query::CustomerByToken(customer_key(token))).await {
            Ok(customer) => Supply::Customer(customer),
            Err(error) => Supply::Failed(unanswered(&error)),
        }
    }

    /// A cart with what it costs. One that has no price (nothing is sold to its country, say) is shown without its lines
    /// rather than not at all: its buyer can go elsewhere or begin anew.
    pub(crate) async fn supplied(
        &self,
        token: &str,
        mut shown: CartShown,
        context: &RequestContext,
    ) -> CartSupply {
        let view = self.shop.view();
        let (totals, offers) = match view.price(&shown, context.now) {
            Ok(price) => {
                shown.cart.lines.retain(|line| !price.gone.contains(&line.number));
                (price.totals, price.offers)
            }
            Err(refusal) => {
                tracing::warn!(code = refusal.code(), "a cart has no price and is shown without its lines");
                shown.cart.lines.clear();
                (nothing(view.terms().settings.currency), Vec::new())
            }
        };
        let customer = match shown.cart.buyer.customer {
            Some(number) => self.shop.customer(Query::Customer(number)).await.ok().flatten(),
            None => None,
        };
        CartSupply { token: token.to_owned(), shown, totals, offers, customer }
    }
}

fn nothing(currency: [u8; 3]) -> Totals {
    Totals {
        currency,
        prices_include_tax: true,
        lines: Vec::new(),
        shipping: None,
        subtotal_minor: 0,
        discount_minor: 0,
        shipping_minor: 0,
        tax_minor: 0,
        total_minor: 0,
        codes: Vec::new(),
    }
}
