//! What becomes of a payment: the one place where answers of providers are taken in.

use crate::checkout::order_name;
use crate::command::Reply;
use crate::effect::{CartHappening, ORDER_PAID, ORDER_REFUNDED};
use crate::machine::Step;
use crate::refusal::Refusal;
use crate::state::{About, CheckoutRow, Row};
use crate::view::Change;
use model::commerce::Kind;
use model::commerce::cart::Standing;
use model::commerce::order::RefundState;
use model::commerce::payment::{Payment, PaymentAnswer, PaymentEvent, PaymentOperation, PaymentState, next};
use model::id::Key;
use std::sync::Arc;

/// A payment that came to nothing is forgotten after this long.
const FORGOTTEN_US: i64 = 30 * 24 * 3_600 * 1_000_000;

impl Step<'_> {
    pub(crate) fn payment_answered(
        &mut self,
        key: Key,
        operation: PaymentOperation,
        attempt: u32,
        answer: PaymentAnswer,
    ) -> Result<Reply, Refusal> {
        let mut payment = self.payment(key)?;
        if attempt != payment.attempt(operation) {
            return Err(Refusal::NothingNew);
        }
        let event = match (&answer, operation) {
            (PaymentAnswer::Done(_), _) => PaymentEvent::Done(operation),
            (PaymentAnswer::Refused(_), _) => PaymentEvent::Refused(operation),
            (PaymentAnswer::Action { .. }, PaymentOperation::Authorise) => PaymentEvent::ActionNeeded,
            (PaymentAnswer::Action { .. }, _) => return Err(Refusal::NothingNew),
        };
        let Some(state) = next(payment.state, event) else {
            return self.late(payment, operation, answer);
        };
        payment.state = state;
        match answer {
            PaymentAnswer::Done(reference) => {
                payment.reference.get_or_insert(reference);
                payment.reason = None;
                payment.action_url = None;
            }
            PaymentAnswer::Refused(reason) => payment.reason = Some(reason),
            PaymentAnswer::Action { reference, url } => {
                payment.reference.get_or_insert(reference);
                payment.action_url = Some(url);
            }
        }
        self.moved_on(payment, event);
        self.payment_reply(key)
    }

    /// An answer that leads nowhere may still say by which name the provider knows what is to be let go.
    fn late(
        &mut self,
        mut payment: Payment,
        operation: PaymentOperation,
        answer: PaymentAnswer,
    ) -> Result<Reply, Refusal> {
        match answer {
            PaymentAnswer::Done(reference) | PaymentAnswer::Action { reference, .. }
                if operation == PaymentOperation::Authorise
                    && payment.state == PaymentState::Voiding
                    && payment.reference.is_none() =>
            {
                let key = payment.key;
                payment.reference = Some(reference);
                self.put_payment(payment);
                self.payment_reply(key)
            }
            _ => Err(Refusal::NothingNew),
        }
    }

    /// What follows from the state that a payment has come to.
    fn moved_on(&mut self, mut payment: Payment, event: PaymentEvent) {
        match (payment.state, event) {
            (PaymentState::Authorised, _) => self.authorised(payment),
            (PaymentState::ActionRequired, _) => self.action_required(payment),
            (PaymentState::Declined, _) => {
                self.end_checkout(&payment);
                self.forget_later(payment.key);
                self.put_payment(payment);
            }
            (PaymentState::Voided, _) => {
                if payment.order.is_none() {
                    self.forget_later(payment.key);
                }
                self.put_payment(payment);
            }
            (PaymentState::Captured, PaymentEvent::Done(PaymentOperation::Capture)) => {
                payment.captured_minor = payment.amount_minor;
                self.tell_order(ORDER_PAID, payment.order, 0);
                self.next_refund(payment);
            }
            (PaymentState::Captured, PaymentEvent::Done(_)) => self.refund_over(payment, RefundState::Done),
            (PaymentState::Captured, _) => self.refund_over(payment, RefundState::Refused),
            (PaymentState::CaptureFailed, _) => self.capture_failed(payment),
            _ => self.put_payment(payment),
        }
    }

    /// The buyer has to do something, and is given the time for it. Where the provider was so slow that the time of the
    /// reservation is over, units are looked for again: without a time that ends, the payment could wait for ever.
    fn action_required(&mut self, payment: Payment) {
        let key = payment.key;
        let Some(Row(mut checkout)) = self.state.checkouts.get(key).cloned() else {
            return self.let_go(payment, "unknown");
        };
        if checkout.reserved_until.is_none() {
            match self.reserve(&checkout.lines, &About::Checkout(key)) {
                Ok(taken) => checkout.taken = taken,
                Err(_) => return self.let_go(payment, "sold_out"),
            }
            checkout.reserved_until = Some(self.reserve_until(key));
            self.state.checkouts.insert(key, Row(checkout));
        }
        self.put_payment(payment);
    }

    /// The money is set aside: an order, if there are units for it.
    fn authorised(&mut self, mut payment: Payment) {
        let key = payment.key;
        let about = About::Checkout(key);
        let Some(Row(mut checkout)) = self.state.checkouts.get(key).cloned() else {
            return self.let_go(payment, "unknown");
        };
        if checkout.reserved_until.is_none() {
            match self.reserve(&checkout.lines, &about) {
                Ok(taken) => checkout.taken = taken,
                Err(_) => return self.let_go(payment, "sold_out"),
            }
        }
        let Some(state) = next(payment.state, PaymentEvent::Ordered) else { return };
        payment.state = state;
        self.state.checkouts.remove(key);
        self.outcome.timer(key, None);
        payment.order = self.make_order(&payment, checkout);
        self.put_payment(payment);
    }

    /// There will be no order.
    fn let_go(&mut self, mut payment: Payment, reason: &str) {
        let Some(state) = next(payment.state, PaymentEvent::GivenUp) else { return };
        payment.state = state;
        payment.reason = Some(reason.to_owned());
        payment.action_url = None;
        self.end_checkout(&payment);
        self.put_payment(payment);
    }

    pub(crate) fn give_up(&mut self, key: Key, reason: &str) -> Result<Reply, Refusal> {
        let payment = self.payment(key)?;
        // What has an order is cancelled, not given up.
        if payment.order.is_some() || next(payment.state, PaymentEvent::GivenUp).is_none() {
            return Err(state_refusal(payment.state));
        }
        self.let_go(payment, reason);
        self.payment_reply(key)
    }

    /// Units and uses of codes are given back, and the cart is open again.
    fn end_checkout(&mut self, payment: &Payment) {
        let Some(Row(checkout)) = self.state.checkouts.get(payment.key).cloned() else { return };
        let CheckoutRow { cart, totals, taken, .. } = checkout;
        self.release(&taken, &About::Checkout(payment.key), true);
        self.state.checkouts.remove(payment.key);
        self.outcome.timer(payment.key, None);
        let Some(Row(mut row)) = self.state.carts.get(cart).cloned() else { return };
        self.use_codes(&row.cart, &totals, -1);
        if row.cart.standing == Standing::Paying(payment.key) {
            row.cart.standing = Standing::Open;
            row.cart.revision += 1;
            row.cart.updated_at = self.now;
            self.tell_cart(&row.cart, CartHappening::Reopened, Vec::new());
            self.state.carts.insert(cart, Row(row));
        }
    }

    fn forget_later(&mut self, payment: Key) {
        self.outcome.timer(payment, Some(self.now.plus_us(FORGOTTEN_US)));
    }

    fn capture_failed(&mut self, mut payment: Payment) {
        let number = payment.order.unwrap_or_default();
        let order = self.state.orders.get_mut(Kind::Order.key(number));
        let Some(Row(order)) = order.filter(|row| row.0.cancelled.is_some()) else {
            return self.put_payment(payment);
        };
        // Nobody wants the money any more, and nothing was taken that could be given back.
        for refund in order.refunds.iter_mut().filter(|refund| refund.state == RefundState::Pending) {
            refund.state = RefundState::Refused;
            payment.refunded_minor -= refund.amount_minor;
        }
        if let Some(state) = next(payment.state, PaymentEvent::GivenUp) {
            payment.state = state;
        }
        self.put_payment(payment);
    }

    pub(crate) fn capture_again(&mut self, key: Key) -> Result<Reply, Refusal> {
        let mut payment = self.payment(key)?;
        let state = next(payment.state, PaymentEvent::CaptureAgain);
        payment.state = state.ok_or_else(|| state_refusal(payment.state))?;
        payment.captures_again += 1;
        payment.reason = None;
        self.put_payment(payment);
        self.payment_reply(key)
    }

    /// The refund under way has its answer.
    fn refund_over(&mut self, mut payment: Payment, state: RefundState) {
        let Some((number, amount_minor)) = payment.refund.take() else {
            return self.put_payment(payment);
        };
        if state == RefundState::Refused {
            payment.refunded_minor -= amount_minor;
        }
        let now = self.now;
        let key = Kind::Order.key(payment.order.unwrap_or_default());
        if let Some(Row(order)) = self.state.orders.get_mut(key) {
            order.updated_at = now;
            if let Some(refund) = order.refunds.iter_mut().find(|refund| refund.number == number) {
                refund.state = state;
            }
        }
        if state == RefundState::Done {
            self.tell_order(ORDER_REFUNDED, payment.order, number);
        }
        self.next_refund(payment);
    }

    /// Begins the first refund that waits, if the provider can be asked for it now.
    pub(crate) fn next_refund(&mut self, mut payment: Payment) {
        let number = payment.order.unwrap_or_default();
        let order = self.state.orders.get(Kind::Order.key(number));
        let waiting = order.and_then(|row| {
            let mut refunds = row.0.refunds.iter();
            refunds.find(|refund| refund.state == RefundState::Pending)
        });
        if let Some(refund) = waiting
            && let Some(state) = next(payment.state, PaymentEvent::RefundAsked)
        {
            payment.state = state;
            payment.refund = Some((refund.number, refund.amount_minor));
        }
        self.put_payment(payment);
    }

    pub(crate) fn payment(&mut self, key: Key) -> Result<Payment, Refusal> {
        let row = self.state.payments.get(key).ok_or_else(|| Refusal::unknown("payment", "payment"))?;
        Ok(row.0.clone())
    }

    /// Writes a payment down, and whether something is due at its provider.
    pub(crate) fn put_payment(&mut self, mut payment: Payment) {
        payment.updated_at = self.now;
        let key = payment.key;
        let waits = payment.state.operation().is_some() || payment.state == PaymentState::ActionRequired;
        // What costs nothing is answered here.
        if waits && payment.amount_minor > 0 {
            self.state.dues.insert(key, Row(payment.clone()));
            self.show(Change::Due(Arc::new(payment.clone())));
        } else if self.state.dues.get(key).is_some() {
            self.state.dues.remove(key);
            self.show(Change::NotDue(key));
        }
        self.state.payments.insert(key, Row(payment));
    }

    pub(crate) fn name_order(&mut self, key: Key, number: u64) {
        self.state.names.insert(order_name(key), Row(number));
    }
}

/// What cannot be done in a state.
pub(crate) fn state_refusal(state: PaymentState) -> Refusal {
    Refusal::PaymentState(state_word(state).to_owned())
}

/// A state in words for programs and people.
pub(crate) fn state_word(state: PaymentState) -> &'static str {
    match state {
        PaymentState::Authorising => "authorising",
        PaymentState::ActionRequired => "action_required",
        PaymentState::Authorised => "authorised",
        PaymentState::Capturing => "capturing",
        PaymentState::Captured => "captured",
        PaymentState::Voiding => "voiding",
        PaymentState::Voided => "voided",
        PaymentState::Declined => "declined",
        PaymentState::Refunding => "refunding",
        PaymentState::CaptureFailed => "capture_failed",
    }
}
