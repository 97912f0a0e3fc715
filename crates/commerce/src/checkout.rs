//! Paying for a cart: it is priced from the state, its units are reserved, and a payment is written down.

use crate::check;
use crate::command::{CartShown, CodeUses, PayInput, PaymentShown, Reply};
use crate::effect::CartHappening;
use crate::machine::Step;
use crate::pricing::{self, CartPrice, Pricing};
use crate::refusal::Refusal;
use crate::state::{About, CartRow, CheckoutRow, Row, State};
use crate::terms::{discount_key, fixed_key};
use model::commerce::cart::{Cart, Standing};
use model::commerce::discount::folded;
use model::commerce::order::{OrderLine, Totals};
use model::commerce::payment::{Payment, PaymentAnswer, PaymentOperation, PaymentState};
use model::id::{Key, Timestamp};

/// The most payments that are tried for one cart: whoever tries out stolen cards needs more.
const ATTEMPTS_MAX: u32 = 50;

impl State {
    /// What a cart costs, from the state.
    fn price(&mut self, cart: &Cart, at: Timestamp) -> Result<CartPrice, Refusal> {
        let terms = self.terms();
        let market = &pricing::market_for(cart, &terms)?.handle;
        let (mut products, mut fixed) = (Vec::new(), Vec::new());
        for line in &cart.lines {
            products.push(self.product_of(line.variant));
            fixed.push(self.fixed.get(fixed_key(market, line.variant)).map(|row| row.0.price));
        }
        let codes = cart.discount_codes.iter();
        let discounts: Vec<_> =
            codes.map(|code| self.discounts.get(discount_key(code)).map(|row| row.0.clone())).collect();
        let uses = self.uses(cart);
        pricing::price(&Pricing {
            cart,
            products: &products,
            fixed: &fixed,
            discounts: &discounts,
            uses: &uses,
            terms: &terms,
            at,
        })
    }

    /// How often the codes of a cart were used.
    fn uses(&mut self, cart: &Cart) -> Vec<CodeUses> {
        let email = cart.buyer.email.as_deref();
        let mut all = Vec::new();
        for code in &cart.discount_codes {
            let code = folded(code);
            let in_all = self.uses.get(discount_key(&code)).map_or(0, |row| row.0);
            let own = email.and_then(|email| self.uses.get(buyer_uses_key(&code, email)));
            let by_buyer = own.map_or(0, |row| u32::try_from(row.0).unwrap_or(u32::MAX));
            all.push(CodeUses { code, in_all, by_buyer });
        }
        all
    }

    /// A cart with what belongs to it.
    pub(crate) fn cart_shown(&mut self, row: CartRow) -> CartShown {
        let payment = row.payment.and_then(|payment| self.payment_shown(payment));
        CartShown { payment, uses: self.uses(&row.cart), cart: row.cart }
    }

    /// Of a payment, what its buyer may know.
    pub(crate) fn payment_shown(&mut self, payment: Key) -> Option<PaymentShown> {
        let reserved_until = self.checkouts.get(payment).and_then(|row| row.0.reserved_until);
        let payment = &self.payments.get(payment)?.0;
        Some(PaymentShown::of(payment, reserved_until, payment.order))
    }
}

impl Step<'_> {
    pub(crate) fn pay(&mut self, input: PayInput) -> Result<Reply, Refusal> {
        let mut row = self.open_cart(input.cart)?;
        self.check_pay(&row, &input)?;
        let price = self.state.price(&row.cart, self.now)?;
        check_cart(&row.cart, &price)?;
        if price.totals.total_minor != input.expected_total_minor {
            return Err(Refusal::PriceChanged(price.totals.total_minor));
        }
        let lines = self.order_lines(&row.cart)?;
        let about = About::Checkout(input.payment);
        let taken = self.reserve(&lines, &about).map_err(Refusal::NotEnoughStock)?;
        let reserved_until = self.reserve_until(input.payment);
        self.use_codes(&row.cart, &price.totals, 1);
        let payment = self.new_payment(&input, &price.totals);
        let checkout = CheckoutRow {
            cart: input.cart,
            order_key: input.order,
            lines,
            totals: price.totals,
            taken,
            reserved_until: Some(reserved_until),
        };
        self.state.checkouts.insert(input.payment, Row(checkout));
        row.cart.standing = Standing::Paying(input.payment);
        row.cart.revision += 1;
        row.cart.updated_at = self.now;
        row.payment = Some(input.payment);
        row.attempts += 1;
        self.tell_cart(&row.cart, CartHappening::Paying, Vec::new());
        self.state.carts.insert(input.cart, Row(row));
        self.put_payment(payment);
        if input.expected_total_minor == 0 {
            // Nobody has to be asked for nothing.
            let nothing = || PaymentAnswer::Done("free".to_owned());
            self.payment_answered(input.payment, PaymentOperation::Authorise, 0, nothing())?;
            return self.payment_answered(input.payment, PaymentOperation::Capture, 0, nothing());
        }
        self.payment_reply(input.payment)
    }

    /// Sets the end of a reservation that begins now.
    pub(crate) fn reserve_until(&mut self, payment: Key) -> Timestamp {
        let ms = self.state.terms().settings.reservation_ms;
        let until = self.now.plus_us(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000));
        self.outcome.timer(payment, Some(until));
        until
    }

    fn check_pay(&mut self, row: &CartRow, input: &PayInput) -> Result<(), Refusal> {
        if row.cart.revision != input.revision {
            return Err(Refusal::CartChanged(row.cart.revision));
        }
        if row.attempts >= ATTEMPTS_MAX {
            return Err(Refusal::TooManyAttempts);
        }
        if !self.state.terms().settings.providers.contains(&input.provider) {
            return Err(Refusal::NoSuchProvider);
        }
        check::name("method", &input.method)?;
        if self.state.payments.get(input.payment).is_some() {
            return Err(Refusal::PaymentExists);
        }
        if self.state.names.get(order_name(input.order)).is_some() {
            return Err(Refusal::Taken { what: "order".to_owned(), field: "order".to_owned() });
        }
        Ok(())
    }

    fn new_payment(&self, input: &PayInput, totals: &Totals) -> Payment {
        Payment {
            key: input.payment,
            cart: input.cart,
            provider: input.provider.clone(),
            method: input.method.clone(),
            currency: totals.currency,
            amount_minor: totals.total_minor,
            captured_minor: 0,
            refunded_minor: 0,
            reference: None,
            state: PaymentState::Authorising,
            reason: None,
            action_url: None,
            refund: None,
            captures_again: 0,
            order: None,
            created_at: self.now,
            updated_at: self.now,
        }
    }

    /// What is bought, in the words of now.
    fn order_lines(&mut self, cart: &Cart) -> Result<Vec<OrderLine>, Refusal> {
        let mut lines = Vec::with_capacity(cart.lines.len());
        for line in &cart.lines {
            let product = self.state.product_of(line.variant).ok_or(Refusal::NotForSale(line.variant))?;
            let variant = product.variant(line.variant).ok_or(Refusal::NotForSale(line.variant))?;
            let values = product.options.iter().zip(&variant.selected);
            let values = values.filter_map(|(option, at)| option.values.get(*at as usize));
            let names: Vec<&str> = values.map(|value| value.name.as_str()).collect();
            lines.push(OrderLine {
                number: line.number,
                product: product.number,
                variant: line.variant,
                title: product.title.clone(),
                variant_title: names.join(" / "),
                sku: variant.sku.clone(),
                quantity: line.quantity,
                requires_shipping: variant.requires_shipping,
                attributes: line.attributes.clone(),
            });
        }
        Ok(lines)
    }

    /// A code counts as used from the moment its cart is being paid for, so that its last use is nobody else's too.
    pub(crate) fn use_codes(&mut self, cart: &Cart, totals: &Totals, change: i64) {
        for standing in totals.codes.iter().filter(|standing| standing.applicable) {
            let code = folded(&standing.code);
            let own = cart.buyer.email.as_deref().map(|email| buyer_uses_key(&code, email));
            for key in [Some(discount_key(&code)), own].into_iter().flatten() {
                if let Some(Row(uses)) = self.state.uses.get_or_insert_with(key, || Row(0)) {
                    *uses = uses.saturating_add_signed(change);
                }
            }
        }
    }

    /// The cart's time is over: units are given back. A payment that waits for its buyer ends; one whose answer is not known
    /// goes on, and its late answer finds units again or is let go.
    pub(crate) fn reservation_over(&mut self, payment: Key) {
        let Some(Row(checkout)) = self.state.checkouts.get_mut(payment) else { return };
        checkout.reserved_until = None;
        let taken = std::mem::take(&mut checkout.taken);
        self.release(&taken, &About::Checkout(payment), true);
        let state = self.state.payments.get(payment).map(|row| row.0.state);
        if state == Some(PaymentState::ActionRequired)
            && let Err(refusal) = self.give_up(payment, "expired")
        {
            tracing::error!(%payment, %refusal, "a payment that waited for its buyer could not be ended");
        }
    }

    pub(crate) fn payment_reply(&mut self, payment: Key) -> Result<Reply, Refusal> {
        let shown =
            self.state.payment_shown(payment).ok_or_else(|| Refusal::unknown("payment", "payment"))?;
        Ok(Reply::Payment(Box::new(shown)))
    }
}

/// What a cart needs before it can be paid for.
fn check_cart(cart: &Cart, price: &CartPrice) -> Result<(), Refusal> {
    if cart.lines.is_empty() {
        return Err(Refusal::CartEmpty);
    }
    if let Some(gone) = price.gone.first() {
        let line = cart.lines.iter().find(|line| line.number == *gone);
        return Err(Refusal::NotForSale(line.map_or(0, |line| line.variant)));
    }
    if cart.buyer.email.is_none() {
        return Err(Refusal::EmailMissing);
    }
    if price.requires_shipping {
        let missing = cart.address.as_ref().map_or(Some("address"), check::missing);
        if let Some(field) = missing {
            return Err(Refusal::AddressMissing(field.to_owned()));
        }
        if price.totals.shipping.is_none() {
            return Err(Refusal::ShippingMissing);
        }
    }
    Ok(())
}

/// How often a buyer used a code. Upper and lower case of an e-mail address are the same buyer.
fn buyer_uses_key(code: &str, email: &str) -> Key {
    discount_key(code).with(Key::of_text("e-mail", &email.to_lowercase()))
}

/// The name of an order by the hash of its page's token.
pub(crate) fn order_name(order: Key) -> Key {
    order.with(Key::of_text("name", "order"))
}
