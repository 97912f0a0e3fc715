//! The fields at the top of a mutation: each is one command to the loop, in the order of the document.

use super::context::{Locale, country, number_of};
use super::input::{Arg, Value};
use super::names::Name;
use super::plan::Field;
use super::supply::{
    Account, Changed, Supply, UserError, Warning, cart_id, cart_key, cart_token, customer_key, unanswered,
};
use super::{RequestContext, Storefront, cart};
use crate::command::{
    CartInput, CartShown, CartWarningCode, Command, LineChange, LineInput, Operation, Reply,
};
use crate::query::Query;
use crate::refusal::Refusal;
use model::commerce::cart::{Attribute, Buyer};
use model::id::Key;

/// One field of a mutation, and what it is asked with.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The field.
    pub(crate) field: &'a Field,
    /// The variables of the request.
    pub(crate) variables: &'a [Option<Value>],
    /// Country and language.
    pub(crate) locale: &'a Locale,
    /// The rest of the request.
    pub(crate) context: &'a RequestContext,
}

/// What is wrong, where nothing was sent to the loop.
pub(super) type Refused<T> = Result<T, UserError>;

impl<'a> Asked<'a> {
    /// An argument.
    pub(crate) fn arg(&self, name: &str) -> Arg<'a> {
        let value = self.field.arguments.iter().find(|(one, _)| one == name).map(|(_, value)| value);
        Arg::new(value, self.variables)
    }

    /// The command for an operation on a cart: done once where the caller gave a key. The key is the cart's, so that
    /// nobody can use up another's.
    pub(crate) fn command(&self, cart: Key, operation: Operation) -> Command {
        match self.context.idempotency {
            Some(key) => {
                let key = key.with(cart).with(Key::of_text("field", &self.field.key));
                Command::once(key, operation)
            }
            None => Command::of(operation),
        }
    }
}

impl Storefront {
    /// Carries out a field of a mutation.
    pub(crate) async fn mutate(&self, asked: Asked<'_>) -> Supply {
        match asked.field.name {
            Name::CustomerCreate
            | Name::CustomerAccessTokenCreate
            | Name::CustomerAccessTokenDelete
            | Name::CustomerAccessTokenRenew => self.change_account(asked).await,
            Name::CartMetafieldsSet => without_metafields("metafields", "INVALID_OWNER"),
            Name::CartMetafieldDelete => without_metafields("input", "METAFIELD_DOES_NOT_EXIST"),
            Name::CartCreate => self.create_cart(asked).await,
            _ => self.change_cart(asked).await,
        }
    }

    async fn create_cart(&self, asked: Asked<'_>) -> Supply {
        let given = asked.arg("input");
        let mut warnings = Vec::new();
        let token = self.random_token();
        if given.field("giftCardCodes").is_given() {
            warnings.push(no_gift_cards(&token));
        }
        let input = self.cart_input(asked, given).await;
        let operation = input.map(|input| Operation::CartCreate { cart: cart_key(&token), input });
        let mut supply = match operation {
            // A cart that is made twice does no harm: nobody knows the token of the first.
            Ok(operation) => self.done(asked, &token, &Command::of(operation), "input").await,
            Err(error) => refused(error),
        };
        if let Supply::Changed(changed) = &mut supply {
            changed.warnings.append(&mut warnings);
        }
        supply
    }

    async fn cart_input(&self, asked: Asked<'_>, given: Arg<'_>) -> Refused<CartInput> {
        if given.field("metafields").list().len() > 0 {
            return Err(UserError::new("INVALID_METAFIELDS", "input.metafields", NO_METAFIELDS));
        }
        let none = Buyer { language: asked.locale.asked_language.clone(), ..Buyer::default() };
        let buyer = self.buyer(none, given.field("buyerIdentity"), "input.buyerIdentity").await?;
        let country = buyer.country.or(asked.locale.asked_country);
        let addresses = given.field("delivery").field("addresses");
        let address = self.one_address(addresses, &buyer, "input.delivery.addresses").await?;
        Ok(CartInput {
            lines: self.lines(asked, given.field("lines"), "input.lines")?,
            buyer: Buyer { country, ..buyer },
            note: given.field("note").text().unwrap_or_default().to_owned(),
            attributes: attributes(given.field("attributes")),
            discount_codes: texts(given.field("discountCodes")),
            address,
            anonymous_id: None,
        })
    }

    async fn change_cart(&self, asked: Asked<'_>) -> Supply {
        let id = asked.arg("cartId").text().unwrap_or_default();
        let Some(token) = cart_token(id) else {
            return refused(no_cart());
        };
        if matches!(
            asked.field.name,
            Name::CartGiftCardCodesAdd | Name::CartGiftCardCodesRemove | Name::CartGiftCardCodesUpdate
        ) {
            let error = UserError::new("INVALID", "giftCardCodes", "this shop takes no gift cards");
            return self.with_cart(asked, token, error).await;
        }
        match self.operation(asked, token).await {
            Ok(operation) => self.done(asked, token, &asked.command(cart_key(token), operation), "").await,
            Err(error) => self.with_cart(asked, token, error).await,
        }
    }

    /// What is to be done with a cart.
    async fn operation(&self, asked: Asked<'_>, token: &str) -> Refused<Operation> {
        let cart = cart_key(token);
        Ok(match asked.field.name {
            Name::CartLinesAdd => {
                Operation::CartLinesAdd { cart, lines: self.lines(asked, asked.arg("lines"), "lines")? }
            }
            Name::CartLinesUpdate => Operation::CartLinesUpdate { cart, lines: self.line_changes(asked)? },
            Name::CartLinesRemove => {
                let number = |(index, id): (usize, Arg<'_>)| line_number(id, &format!("lineIds.{index}"));
                let lines = asked.arg("lineIds").list().enumerate().map(number).collect::<Refused<_>>()?;
                Operation::CartLinesRemove { cart, lines }
            }
            Name::CartNoteUpdate => {
                Operation::CartNote { cart, note: asked.arg("note").text().unwrap_or_default().to_owned() }
            }
            Name::CartAttributesUpdate => {
                Operation::CartAttributes { cart, attributes: attributes(asked.arg("attributes")) }
            }
            Name::CartDiscountCodesUpdate => {
                Operation::CartDiscountCodes { cart, codes: texts(asked.arg("discountCodes")) }
            }
            Name::CartBuyerIdentityUpdate => {
                let before = self.cart_now(cart).await?.cart.buyer;
                let buyer = self.buyer(before, asked.arg("buyerIdentity"), "buyerIdentity").await?;
                Operation::CartBuyer { cart, buyer }
            }
            Name::CartSelectedDeliveryOptionsUpdate => {
                Operation::CartShipping { cart, method: self.chosen_option(asked, token).await? }
            }
            _ => Operation::CartAddress { cart, address: self.address_change(asked, token).await? },
        })
    }

    /// Sends a command about a cart, and shows the cart after it.
    async fn done(&self, asked: Asked<'_>, token: &str, command: &Command, at: &str) -> Supply {
        let reply = match self.shop.command(command).await {
            Ok(replied) => replied.reply,
            Err(error) => return Supply::Failed(unanswered(&error)),
        };
        match reply {
            Reply::Cart(reply) => {
                let mut warnings: Vec<Warning> = Vec::new();
                for warning in &reply.warnings {
                    let target = match warning.line {
                        0 => format!("gid://shopify/ProductVariant/{}", warning.variant),
                        line => cart::line_id(token, line),
                    };
                    let (code, message) = match warning.code {
                        CartWarningCode::NotEnoughStock => (
                            "MERCHANDISE_NOT_ENOUGH_STOCK",
                            format!("Only {} are available: the line has these.", warning.quantity),
                        ),
                        CartWarningCode::OutOfStock => {
                            ("MERCHANDISE_OUT_OF_STOCK", "This is sold out at the moment.".to_owned())
                        }
                    };
                    warnings.push(Warning { code, message, target });
                }
                let cart = self.supplied(token, reply.shown, asked.context).await;
                if matches!(asked.field.name, Name::CartDiscountCodesUpdate | Name::CartCreate) {
                    warnings.extend(about_codes(token, &cart.totals.codes));
                }
                Supply::Changed(Box::new(Changed { cart: Some(cart), errors: Vec::new(), warnings }))
            }
            Reply::Refused(refusal) => self.with_cart(asked, token, as_error(&refusal, at)).await,
            _ => Supply::Failed(super::fault::Fault::request("INTERNAL", "the shop answered something else")),
        }
    }

    /// The cart as it is, with what is wrong.
    async fn with_cart(&self, asked: Asked<'_>, token: &str, error: UserError) -> Supply {
        let cart = match self.read_cart(&cart_id(token), asked.context).await {
            Supply::Cart(Some(cart)) => Some(*cart),
            Supply::Cart(None) if asked.field.name == Name::CartCreate => None,
            Supply::Cart(None) => return refused(no_cart()),
            other => return other,
        };
        Supply::Changed(Box::new(Changed { cart, errors: vec![error], warnings: Vec::new() }))
    }

    pub(super) async fn cart_now(&self, cart: Key) -> Refused<CartShown> {
        match self.shop.cart(cart).await {
            Ok(Some(shown)) => Ok(*shown),
            Ok(None) => Err(no_cart()),
            Err(_) => Err(UserError::new("SERVICE_UNAVAILABLE", "", "the shop could not answer: try again")),
        }
    }

    fn lines(&self, asked: Asked<'_>, given: Arg<'_>, at: &str) -> Refused<Vec<LineInput>> {
        let line = |(index, line): (usize, Arg<'_>)| {
            let at = format!("{at}.{index}");
            let variant = self.merchandise(asked, line.field("merchandiseId"), &at)?;
            plain_line(line, &at)?;
            let quantity = quantity(line.field("quantity").int().unwrap_or(1), &at)?;
            if quantity == 0 {
                return Err(UserError::new(
                    "INVALID",
                    &format!("{at}.quantity"),
                    "the quantity is at least 1",
                ));
            }
            Ok(LineInput { variant, quantity, attributes: attributes(line.field("attributes")) })
        };
        given.list().enumerate().map(line).collect()
    }

    fn line_changes(&self, asked: Asked<'_>) -> Refused<Vec<LineChange>> {
        let change = |(index, line): (usize, Arg<'_>)| {
            let at = format!("lines.{index}");
            plain_line(line, &at)?;
            let merchandise = line.field("merchandiseId");
            let variant = match merchandise.is_given() {
                true => Some(self.merchandise(asked, merchandise, &at)?),
                false => None,
            };
            let new = line.field("attributes");
            Ok(LineChange {
                number: line_number(line.field("id"), &format!("{at}.id"))?,
                quantity: line.field("quantity").int().map(|units| quantity(units, &at)).transpose()?,
                variant,
                attributes: new.is_given().then(|| attributes(new)),
            })
        };
        asked.arg("lines").list().enumerate().map(change).collect()
    }

    /// The variant that an id names, if it is shown where the request comes from.
    fn merchandise(&self, asked: Asked<'_>, id: Arg<'_>, at: &str) -> Refused<u64> {
        let number = id.text().and_then(|id| number_of(id, "ProductVariant"));
        let catalogue = self.shop.view().catalogue();
        let shown = number.filter(|number| {
            let product = catalogue.variant(*number).map(|(shown, _)| &shown.product);
            product.is_some_and(|product| product.is_shown(&asked.context.channel, asked.context.now))
        });
        shown.ok_or_else(|| {
            let at = format!("{at}.merchandiseId");
            UserError::new("INVALID", &at, "there is no merchandise with this id: look it up again")
        })
    }

    /// Who buys, after what was said of it. What is not named stays; null takes it away.
    async fn buyer(&self, before: Buyer, given: Arg<'_>, at: &str) -> Refused<Buyer> {
        let mut buyer = before;
        if given.field("companyLocationId").is_given() {
            let at = format!("{at}.companyLocationId");
            return Err(UserError::new("INVALID_COMPANY_LOCATION", &at, "this shop sells to no companies"));
        }
        if let Some(code) = given.field("countryCode").text() {
            buyer.country = country(code).filter(|code| code != b"ZZ");
        }
        for (name, place) in [("email", &mut buyer.email), ("phone", &mut buyer.phone)] {
            match given.field(name) {
                value if value.is_given() => *place = value.text().map(str::to_owned),
                value if value.is_null() => *place = None,
                _ => {}
            }
        }
        let token = given.field("customerAccessToken");
        if token.is_null() {
            buyer.customer = None;
        }
        if let Some(token) = token.text() {
            let customer = self.shop.customer(Query::CustomerByToken(customer_key(token))).await;
            let Ok(Some(customer)) = customer else {
                let at = format!("{at}.customerAccessToken");
                return Err(UserError::new("INVALID", &at, "the token stands for nobody: log in again"));
            };
            buyer.customer = Some(customer.number);
            buyer.email.get_or_insert_with(|| customer.email.clone());
        }
        Ok(buyer)
    }
}

const NO_METAFIELDS: &str = "carts have no metafields here: use attributes";

fn without_metafields(at: &str, code: &'static str) -> Supply {
    let errors = vec![UserError::new(code, at, NO_METAFIELDS)];
    Supply::Account(Account { errors, ..Account::default() })
}

fn refused(error: UserError) -> Supply {
    Supply::Changed(Box::new(Changed { cart: None, errors: vec![error], warnings: Vec::new() }))
}

pub(super) fn no_cart() -> UserError {
    UserError::new("INVALID", "cartId", "The specified cart does not exist.")
}

fn no_gift_cards(token: &str) -> Warning {
    let message = "This shop takes no gift cards.".to_owned();
    Warning { code: "PAYMENTS_GIFT_CARDS_UNAVAILABLE", message, target: cart_id(token) }
}

fn texts(given: Arg<'_>) -> Vec<String> {
    given.list().filter_map(|one| one.text().map(str::to_owned)).collect()
}

fn attributes(given: Arg<'_>) -> Vec<Attribute> {
    let text = |one: Arg<'_>, name: &str| one.field(name).text().unwrap_or_default().to_owned();
    given.list().map(|one| Attribute { key: text(one, "key"), value: text(one, "value") }).collect()
}

fn quantity(units: i64, at: &str) -> Refused<u32> {
    let error = || UserError::new("INVALID", &format!("{at}.quantity"), "the quantity is no number of units");
    u32::try_from(units).map_err(|_| error())
}

fn line_number(id: Arg<'_>, at: &str) -> Refused<u32> {
    let number =
        id.text().and_then(|id| number_of(id, "CartLine")).and_then(|number| u32::try_from(number).ok());
    let error = || UserError::new("INVALID_MERCHANDISE_LINE", at, "the cart has no line with this id");
    number.ok_or_else(error)
}

/// What lines cannot be here: parts of others, or bought by a plan.
fn plain_line(line: Arg<'_>, at: &str) -> Refused<()> {
    if line.field("sellingPlanId").is_given() {
        let at = format!("{at}.sellingPlanId");
        return Err(UserError::new("SELLING_PLAN_NOT_APPLICABLE", &at, "nothing is sold by a plan here"));
    }
    if line.field("parent").is_given() {
        let at = format!("{at}.parent");
        return Err(UserError::new("PARENT_LINE_INVALID_REFERENCE", &at, "lines have no parents here"));
    }
    Ok(())
}

/// What is the matter with codes that take nothing off.
fn about_codes(token: &str, codes: &[model::commerce::order::CodeStanding]) -> Vec<Warning> {
    let one = |standing: &model::commerce::order::CodeStanding| {
        let reason = standing.reason.as_deref().filter(|_| !standing.applicable)?;
        let (code, why) = match reason {
            "unknown" => ("DISCOUNT_NOT_FOUND", "is not known"),
            "early" | "expired" => ("DISCOUNT_CURRENTLY_INACTIVE", "does not hold at the moment"),
            "products" => ("DISCOUNT_NO_ENTITLED_LINE_ITEMS", "is for other things than are in the cart"),
            "subtotal" => ("DISCOUNT_PURCHASE_NOT_IN_RANGE", "is for larger carts"),
            "used_up" => ("DISCOUNT_USAGE_LIMIT_REACHED", "was used as often as it may be"),
            "repeated" => return None,
            _ => ("DISCOUNT_CODE_NOT_HONOURED", "cannot be used for this cart"),
        };
        let message = format!("The discount code {} {why}.", standing.code);
        Some(Warning { code, message, target: cart_id(token) })
    };
    codes.iter().filter_map(one).collect()
}

/// A refusal of the loop in the words of the published interface. `at` is where in what was sent its fields are.
pub(crate) fn as_error(refusal: &Refusal, at: &str) -> UserError {
    let code = match refusal {
        Refusal::TooMany { .. } => "MAXIMUM_EXCEEDED",
        Refusal::NoPrice(_) => "CART_TOO_LARGE",
        Refusal::NotForSale(_) | Refusal::NotEnoughStock(_) => "MERCHANDISE_NOT_APPLICABLE",
        Refusal::ShippingMissing => "INVALID_DELIVERY_OPTION",
        Refusal::AddressMissing(_) => "ADDRESS_FIELD_IS_REQUIRED",
        Refusal::Unknown { what, .. } if what == "line" => "INVALID_MERCHANDISE_LINE",
        Refusal::Invalid { field, .. } if field.contains("note") => "NOTE_TOO_LONG",
        _ => "INVALID",
    };
    if matches!(refusal, Refusal::Unknown { what, .. } if what == "cart") {
        return no_cart();
    }
    // Paths of the loop spell indices in brackets, names with underscores.
    let field = refusal.field().replace(['[', ']'], ".");
    let own: Vec<String> = field.split('.').filter(|part| !part.is_empty()).map(camel).collect();
    UserError::new(code, &format!("{at}.{}", own.join(".")), refusal.to_string())
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}
