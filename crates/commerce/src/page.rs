//! The hosted checkout: address, delivery, payment, thank-you. Pages that need no script, behind the secret address of a
//! cart.
//!
//! Whoever has the address has the cart, so nothing else is asked for, and nobody can forge a request without it; one that
//! says by itself that it comes from another site is refused all the same. What a form says is only ever *which* cart the
//! buyer saw (its revision) and *what total* they were shown: prices come from the loop, which refuses if either changed.
//! Sending a payment twice is one payment, because its key follows from cart and revision.

mod format;
mod html;
mod texts;

use crate::command::{CartShown, Operation, PayInput};
use crate::http::{CheckoutPages, PageAnswer, PageAsked};
use crate::pricing::CartPrice;
use crate::refusal::Refusal;
use crate::shop::{Shop, ShopError};
use crate::token_key;
use crate::view::View;
use html::{Frame, Item, Means, Problems, Way};
use model::commerce::cart::{Address, Buyer, Standing};
use model::commerce::market::Country;
use model::commerce::order::{Order, Totals};
use model::commerce::payment::PaymentState;
use model::id::{Key, Timestamp};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;
use texts::{Texts, texts};

/// The longest form, in bytes.
pub const FORM_BYTES_MAX: usize = 16 << 10;
/// The longest field, in bytes.
const FIELD_BYTES_MAX: usize = 255;
/// How long the answer to a payment waits for its end, so that most buyers see it at once.
const PAYMENT_WAIT: Duration = Duration::from_millis(1_500);
/// How often it looks meanwhile.
const PAYMENT_LOOK: Duration = Duration::from_millis(15);

/// A way of paying that the page offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentChoice {
    /// The provider's name.
    pub provider: String,
    /// What is given to the provider.
    pub method: String,
    /// What buyers are shown.
    pub title: String,
}

/// The pages of one shop.
#[derive(Clone)]
pub struct Pages {
    shop: Shop,
    choices: Vec<PaymentChoice>,
}

/// Where in the checkout a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Address,
    Delivery,
    Payment,
}

/// Everything about the cart of a request.
struct Visit<'a> {
    pages: &'a Pages,
    token: &'a str,
    path: String,
    now: Timestamp,
    texts: &'static Texts,
    language: String,
    shop_name: String,
    home: String,
    shown: CartShown,
}

impl Pages {
    /// Pages over a shop, which offer these ways of paying in this order.
    pub fn new(shop: Shop, choices: Vec<PaymentChoice>) -> Self {
        Self { shop, choices }
    }

    /// Answers a request.
    pub async fn respond(&self, request: &PageAsked<'_>) -> Result<PageAnswer, ShopError> {
        let path = request.path.split('?').next().unwrap_or_default();
        let rest = path.strip_prefix("/checkout/").unwrap_or_default();
        let (token, step) = match rest.split_once('/') {
            None => (rest, Some(Step::Address)),
            Some((token, "delivery")) => (token, Some(Step::Delivery)),
            Some((token, "payment")) => (token, Some(Step::Payment)),
            Some((token, _)) => (token, None),
        };
        let shown = if token.is_empty() { None } else { self.shop.cart(token_key("cart", token)).await? };
        let (Some(shown), Some(step)) = (shown, step) else { return Ok(self.gone(request)) };
        if request.is_post && request.fetch_site == Some("cross-site") {
            return Ok(self.gone(request));
        }
        let settings = self.shop.view().terms().settings.clone();
        let asked = shown.cart.buyer.language.clone().or_else(|| preferred(request.accept_language));
        let language = asked.unwrap_or_else(|| settings.language.clone());
        let visit = Visit {
            pages: self,
            token,
            path: format!("/checkout/{token}"),
            now: request.now,
            texts: texts(&language),
            language,
            shop_name: settings.name.clone(),
            home: settings.primary_domain.clone(),
            shown: *shown,
        };
        if request.is_post { visit.take(step, request.body).await } else { visit.show(step).await }
    }

    fn gone(&self, request: &PageAsked<'_>) -> PageAnswer {
        let settings = &self.shop.view().terms().settings;
        let language = preferred(request.accept_language).unwrap_or_else(|| settings.language.clone());
        let frame = Frame {
            texts: texts(&language),
            language: &language,
            shop: &settings.name,
            home: &settings.primary_domain,
            path: "",
        };
        PageAnswer { status: 404, location: None, html: html::nothing_page(&frame, true) }
    }
}

impl CheckoutPages for Pages {
    fn answer<'a>(&'a self, asked: PageAsked<'a>) -> Pin<Box<dyn Future<Output = PageAnswer> + Send + 'a>> {
        Box::pin(async move {
            match self.respond(&asked).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::error!(%error, "a page of the checkout could not be made");
                    let language = preferred(asked.accept_language).unwrap_or_default();
                    let html = html::trouble_page(texts(&language));
                    PageAnswer { status: 503, location: None, html }
                }
            }
        })
    }
}

impl Visit<'_> {
    fn frame(&self) -> Frame<'_> {
        Frame {
            texts: self.texts,
            language: &self.language,
            shop: &self.shop_name,
            home: &self.home,
            path: &self.path,
        }
    }

    async fn show(&self, step: Step) -> Result<PageAnswer, ShopError> {
        let cart = &self.shown.cart;
        if let Standing::Ordered(number) = cart.standing {
            return Ok(match self.pages.shop.order(number).await? {
                Some(order) => page(html::thank_you_page(&self.frame(), &order, &items_of_order(&order))),
                None => self.pages.gone_quietly(self),
            });
        }
        if let Standing::Paying(_) = cart.standing {
            return Ok(self.processing());
        }
        if cart.lines.is_empty() {
            return Ok(page(html::nothing_page(&self.frame(), false)));
        }
        let declined =
            self.shown.payment.as_ref().and_then(|payment| problem_of_payment(self.texts, payment));
        let problems: Problems = declined.map(|text| ("", text)).into_iter().collect();
        Ok(match (step, self.first_missing()) {
            (Step::Delivery, Some(Step::Address)) => go(&self.path),
            (Step::Payment, Some(Step::Address)) => go(&self.path),
            (Step::Payment, Some(Step::Delivery)) => go(&format!("{}/delivery", self.path)),
            // What is not sent needs no way of sending.
            (Step::Delivery, _) if !self.sends() => go(&format!("{}/payment", self.path)),
            (step, _) => self.form(step, &problems, 200),
        })
    }

    /// The first step that is not done.
    fn first_missing(&self) -> Option<Step> {
        let cart = &self.shown.cart;
        let quote = self.quote();
        let sends = quote.as_ref().is_some_and(|quote| quote.requires_shipping);
        if cart.buyer.email.is_none() || (sends && cart.address.is_none()) {
            Some(Step::Address)
        } else if sends && quote.is_some_and(|quote| quote.totals.shipping.is_none()) {
            Some(Step::Delivery)
        } else {
            None
        }
    }

    fn sends(&self) -> bool {
        self.quote().is_some_and(|quote| quote.requires_shipping)
    }

    fn quote(&self) -> Option<CartPrice> {
        self.pages.shop.view().price(&self.shown, self.now).ok()
    }

    /// A step's form, with what is wrong with what was sent.
    fn form(&self, step: Step, problems: &Problems, status: u16) -> PageAnswer {
        let cart = &self.shown.cart;
        let given =
            cart.address.clone().unwrap_or_else(|| Address { country: self.country(), ..Address::default() });
        self.form_with(step, &given, cart.buyer.email.as_deref().unwrap_or_default(), problems, status)
    }

    fn form_with(
        &self,
        step: Step,
        given: &Address,
        email: &str,
        problems: &Problems,
        status: u16,
    ) -> PageAnswer {
        let (frame, cart) = (self.frame(), &self.shown.cart);
        let Some(quote) = self.quote() else {
            // Something in the cart is not sold any more: the shop's own pages can take it out.
            let html = html::nothing_page(&frame, false);
            return PageAnswer { status: 409, location: None, html };
        };
        let items = items_of_cart(self.pages.shop.view(), &self.shown, &quote.totals);
        let order = (items.as_slice(), &quote.totals);
        let html = match step {
            Step::Address => {
                html::address_page(&frame, cart, given, email, &self.countries(), order, problems)
            }
            Step::Delivery => {
                let ways: Vec<Way> = quote
                    .offers
                    .iter()
                    .map(|offer| Way {
                        handle: offer.handle.clone(),
                        title: offer.title.clone(),
                        price_minor: offer.price_minor,
                    })
                    .collect();
                html::delivery_page(&frame, cart, &ways, order, problems)
            }
            Step::Payment => {
                let means: Vec<Means> = self
                    .pages
                    .choices
                    .iter()
                    .map(|choice| Means {
                        value: format!("{}:{}", choice.provider, choice.method),
                        title: choice.title.clone(),
                    })
                    .collect();
                html::payment_page(&frame, cart, &means, order, problems)
            }
        };
        PageAnswer { status, location: None, html }
    }

    fn processing(&self) -> PageAnswer {
        let Some(quote) = self.quote() else { return self.pages.gone_quietly(self) };
        let items = items_of_cart(self.pages.shop.view(), &self.shown, &quote.totals);
        let payment = self.shown.payment.as_ref();
        let waits = payment.filter(|payment| payment.state == PaymentState::ActionRequired);
        let action = waits.and_then(|payment| payment.action_url.as_deref());
        // Nothing but a page is ever linked to, whatever a provider says.
        let action = action.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
        page(html::processing_page(&self.frame(), action, (&items, &quote.totals)))
    }

    /// Every country that the shop sells to, the buyer's first market first.
    fn countries(&self) -> Vec<Country> {
        let terms = self.pages.shop.view().terms();
        let mut countries: Vec<Country> =
            terms.markets.iter().flat_map(|market| market.countries.clone()).collect();
        countries.push(terms.settings.country);
        countries.sort_unstable();
        countries.dedup();
        countries
    }

    fn country(&self) -> Country {
        self.shown.cart.buyer.country.unwrap_or(self.pages.shop.view().terms().settings.country)
    }

    /// Takes in a form.
    async fn take(&self, step: Step, body: &[u8]) -> Result<PageAnswer, ShopError> {
        if self.shown.cart.standing != Standing::Open {
            return Ok(go(&self.path));
        }
        if body.len() > FORM_BYTES_MAX {
            return Ok(self.form(step, &whole(self.texts.too_long), 413));
        }
        let form: BTreeMap<String, String> = form_urlencoded::parse(body)
            .take(64)
            .map(|(name, value)| (name.into_owned(), value.trim().to_owned()))
            .collect();
        let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        match step {
            Step::Address => self.take_address(&text).await,
            Step::Delivery => self.take_delivery(text("method")).await,
            Step::Payment => self.take_payment(&text).await,
        }
    }

    async fn take_address<'f>(&self, text: &impl Fn(&str) -> &'f str) -> Result<PageAnswer, ShopError> {
        let country: Country = text("country").as_bytes().try_into().unwrap_or_default();
        let own = |name: &str| text(name).to_owned();
        let address = Address {
            first_name: own("first_name"),
            last_name: own("last_name"),
            company: own("company"),
            address1: own("address1"),
            address2: own("address2"),
            city: own("city"),
            province: own("province"),
            zip: own("zip"),
            country,
            phone: own("phone"),
        };
        let email = text("email");
        let problems = self.judge(&address, email);
        if !problems.is_empty() {
            return Ok(self.form_with(Step::Address, &address, email, &problems, 422));
        }
        let cart = self.shown.cart.key;
        let buyer = Buyer {
            country: Some(country),
            email: Some(email.to_owned()),
            phone: Some(address.phone.clone()).filter(|phone| !phone.is_empty()),
            ..self.shown.cart.buyer.clone()
        };
        for operation in [
            Operation::CartBuyer { cart, buyer },
            Operation::CartAddress { cart, address: Some(address.clone()) },
        ] {
            if let Err(refusal) = self.pages.shop.operate(operation).await? {
                return Ok(self.refused(Step::Address, &refusal));
            }
        }
        Ok(go(&format!("{}/delivery", self.path)))
    }

    fn judge(&self, address: &Address, email: &str) -> Problems {
        let mut problems = Problems::new();
        let needed = [
            ("email", email),
            ("last_name", &address.last_name),
            ("address1", &address.address1),
            ("city", &address.city),
        ];
        for (field, value) in needed {
            if value.is_empty() {
                problems.insert(field, self.texts.needed);
            }
        }
        let all = [
            ("email", email),
            ("first_name", &address.first_name),
            ("last_name", &address.last_name),
            ("company", &address.company),
            ("address1", &address.address1),
            ("address2", &address.address2),
            ("city", &address.city),
            ("province", &address.province),
            ("zip", &address.zip),
            ("phone", &address.phone),
        ];
        for (field, value) in all {
            if value.len() > FIELD_BYTES_MAX || value.chars().any(char::is_control) {
                problems.insert(field, self.texts.too_long);
            }
        }
        let (name, host) = email.rsplit_once('@').unwrap_or_default();
        let looks_right = !name.is_empty() && host.contains('.') && !email.contains(char::is_whitespace);
        if !email.is_empty() && !looks_right {
            problems.insert("email", self.texts.bad_email);
        }
        if !self.countries().contains(&address.country) {
            problems.insert("country", self.texts.unknown_country);
        }
        problems
    }

    async fn take_delivery(&self, method: &str) -> Result<PageAnswer, ShopError> {
        if method.is_empty() {
            return Ok(self.form(Step::Delivery, &whole(self.texts.choose_delivery), 422));
        }
        let operation =
            Operation::CartShipping { cart: self.shown.cart.key, method: Some(method.to_owned()) };
        Ok(match self.pages.shop.operate(operation).await? {
            Ok(_) => go(&format!("{}/payment", self.path)),
            Err(refusal) => self.refused(Step::Delivery, &refusal),
        })
    }

    async fn take_payment<'f>(&self, text: &impl Fn(&str) -> &'f str) -> Result<PageAnswer, ShopError> {
        let (provider, method) = text("means").split_once(':').unwrap_or_default();
        let offered =
            self.pages.choices.iter().any(|choice| choice.provider == provider && choice.method == method);
        let numbers = text("revision").parse::<u64>().ok().zip(text("total_minor").parse::<i64>().ok());
        let (Some((revision, expected_total_minor)), true) = (numbers, offered) else {
            return Ok(self.form(Step::Payment, &whole(self.texts.cart_changed), 422));
        };
        // The same form sent twice is the same payment; a next attempt sees another revision.
        let payment = token_key("payment", &format!("{}/{revision}", self.token));
        let operation = Operation::Pay(PayInput {
            cart: self.shown.cart.key,
            revision,
            payment,
            order: token_key("order", self.token),
            provider: provider.to_owned(),
            method: method.to_owned(),
            expected_total_minor,
        });
        match self.pages.shop.operate(operation).await? {
            Ok(_) | Err(Refusal::CartPaying | Refusal::CartOrdered(_)) => {}
            Err(refusal) => return Ok(self.refused(Step::Payment, &refusal)),
        }
        self.wait_for_payment(payment).await;
        Ok(go(&format!("{}/payment", self.path)))
    }

    /// Most payments are known within a moment; whose is not is shown a page that looks again.
    async fn wait_for_payment(&self, payment: Key) {
        let until = tokio::time::Instant::now() + PAYMENT_WAIT;
        while tokio::time::Instant::now() < until {
            // The view knows what is under way: the loop is not asked again and again.
            let under_way = self.pages.shop.view().due_payment(payment);
            if under_way.is_none_or(|payment| payment.state != PaymentState::Authorising) {
                break;
            }
            tokio::time::sleep(PAYMENT_LOOK).await;
        }
    }

    fn refused(&self, step: Step, refusal: &Refusal) -> PageAnswer {
        let texts = self.texts;
        let problems = match refusal {
            Refusal::PriceChanged(_) => whole(texts.price_changed),
            Refusal::CartChanged(_) | Refusal::CartPaying => whole(texts.cart_changed),
            Refusal::NotEnoughStock(short) if short.iter().all(|one| one.may_come_back) => {
                whole(texts.held_by_others)
            }
            Refusal::NotEnoughStock(_) | Refusal::NotForSale(_) => whole(texts.sold_out),
            Refusal::ShippingMissing => whole(texts.choose_delivery),
            Refusal::EmailMissing => [("email", texts.needed)].into(),
            Refusal::AddressMissing(_) => [("address1", texts.needed)].into(),
            _ => whole(texts.busy),
        };
        let step = match refusal {
            Refusal::EmailMissing | Refusal::AddressMissing(_) => Step::Address,
            Refusal::ShippingMissing => Step::Delivery,
            _ => step,
        };
        self.form(step, &problems, 409)
    }
}

impl Pages {
    fn gone_quietly(&self, visit: &Visit<'_>) -> PageAnswer {
        PageAnswer { status: 404, location: None, html: html::nothing_page(&visit.frame(), true) }
    }
}

fn whole(text: &'static str) -> Problems {
    [("", text)].into()
}

/// What the last payment came to, if the buyer should know.
fn problem_of_payment(texts: &Texts, payment: &crate::PaymentShown) -> Option<&'static str> {
    let sold_out = payment.reason.as_deref() == Some("sold_out");
    match payment.state {
        PaymentState::Declined => Some(texts.declined),
        PaymentState::Voiding | PaymentState::Voided if sold_out => Some(texts.sold_out),
        _ => None,
    }
}

fn page(html: String) -> PageAnswer {
    PageAnswer { status: 200, location: None, html }
}

/// 303: whatever was sent is not sent again by looking again.
fn go(location: &str) -> PageAnswer {
    PageAnswer { status: 303, location: Some(location.to_owned()), html: String::new() }
}

/// The first language that a browser names; its weights are in order in practice.
fn preferred(accept_language: Option<&str>) -> Option<String> {
    let first = accept_language?.split([',', ';']).next()?.trim();
    let fits = (2..=16).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    fits.then(|| first.to_owned())
}

fn items_of_cart(view: &View, shown: &CartShown, totals: &Totals) -> Vec<Item> {
    let language = shown.cart.buyer.language.as_deref().unwrap_or_default();
    let catalogue = view.catalogue();
    let lines = totals.lines.iter().filter_map(|line| {
        let (product, index) = catalogue.variant(line.variant)?;
        let product = &product.product;
        let variant = product.variants.get(index)?;
        let image =
            variant.image.and_then(|index| product.media.get(index as usize)).or(product.media.first());
        Some(Item {
            title: product.text("title", language, &product.title).to_owned(),
            variant: product.variant_title(variant, language),
            image: image.map(|image| image.url.clone()),
            quantity: line.quantity,
            total_minor: line.subtotal_minor,
        })
    });
    lines.collect()
}

fn items_of_order(order: &Order) -> Vec<Item> {
    let lines = order.lines.iter().map(|line| {
        let total = order.totals.lines.iter().find(|total| total.number == line.number);
        Item {
            title: line.title.clone(),
            variant: line.variant_title.clone(),
            image: None,
            quantity: line.quantity,
            total_minor: total.map_or(0, |total| total.subtotal_minor),
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_of_a_browser_counts() {
        for (header, expected) in [
            (Some("de-AT,de;q=0.9,en;q=0.8"), Some("de-AT")),
            (Some("fr"), Some("fr")),
            (Some("*"), None),
            (Some("de<script>"), None),
            (Some(""), None),
            (None, None),
        ] {
            assert_eq!(preferred(header).as_deref(), expected);
        }
    }
}
