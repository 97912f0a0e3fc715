//! The machine that the loop runs: records in, state, effects and view differences out.

use crate::command::{Command, Operation, Reply};
use crate::query::{Answer, Query};
use crate::refusal::Refusal;
use crate::state::{
    Answered, COLLECTIONS, DISCOUNTS, DUES, FIXED, Forgotten, LOCATIONS, PRODUCTS, Row, STOCK, State, TERMS,
};
use crate::view::{Change, View};
use crate::{effect, read};
use engine::{AsOf, Machine, Outcome, TableId, Wanted};
use model::codec::Stored;
use model::id::{Key, Position, Timestamp};
use model::record::{Record, RecordKind};

/// How long a repeated command is answered as the first time.
const ANSWERS_KEPT_US: i64 = 24 * 3_600 * 1_000_000;
/// Idempotency keys of this long are forgotten together.
const FORGOTTEN_TOGETHER_US: i64 = 10_000_000;

/// The shop machine. It has no state of its own: everything is in [`State`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Commerce;

/// One record, or one timer, being applied.
pub(crate) struct Step<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) outcome: &'a mut Outcome<Change>,
    /// Log time.
    pub(crate) now: Timestamp,
}

impl Step<'_> {
    /// Answers a command: as the first time, if it is a repetition.
    fn command(&mut self, body: &[u8]) -> Vec<u8> {
        let Ok(Command { idempotency, body_hash, operation }) = Command::decode(body) else {
            return Reply::Refused(Refusal::Malformed).encode();
        };
        if let Some(answered) = idempotency.and_then(|key| self.state.answers.get(key)) {
            let Answered { body_hash: former, reply, cart } = answered.0.clone();
            if former != body_hash {
                return Reply::Refused(Refusal::IdempotencyConflict).encode();
            }
            return cart.and_then(|cart| self.cart_again(cart)).map_or(reply, |reply| reply.encode());
        }
        match self.operate(operation) {
            Ok(reply) => {
                let bytes = reply.encode();
                if let Some(key) = idempotency {
                    self.remember(key, body_hash, &reply, &bytes);
                }
                bytes
            }
            // It changed nothing, so it may be tried again under the same key.
            Err(refusal) => Reply::Refused(refusal).encode(),
        }
    }

    fn remember(&mut self, key: Key, body_hash: Key, reply: &Reply, bytes: &[u8]) {
        let (reply, cart) = match reply {
            // Carts are large and many, and a repetition is answered with the cart as it is.
            Reply::Cart(cart) => (Reply::Done.encode(), Some(cart.shown.cart.key)),
            _ => (bytes.to_vec(), None),
        };
        self.state.answers.insert(key, Row(Answered { body_hash, reply, cart }));
        let slot = self.now.0.div_euclid(FORGOTTEN_TOGETHER_US);
        let subject = Key::of_text("answers to forget", &slot.to_string());
        let forgotten = self.state.forgotten.get_or_insert_with(subject, || Row(Forgotten::default()));
        let Some(Row(Forgotten { keys })) = forgotten else { return };
        keys.push(key);
        if keys.len() == 1 {
            let due = Timestamp((slot + 1) * FORGOTTEN_TOGETHER_US).plus_us(ANSWERS_KEPT_US);
            self.outcome.timer(subject, Some(due));
        }
    }

    fn operate(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match operation {
            Operation::PutSettings(_)
            | Operation::PutMarkets(_)
            | Operation::PutTaxRates(_)
            | Operation::PutShippingZones(_)
            | Operation::PutDiscount(_)
            | Operation::DeleteDiscount(_)
            | Operation::PutFixedPrices { .. }
            | Operation::PutLocation(_) => self.operate_terms(operation),
            Operation::PutProduct { .. }
            | Operation::DeleteProduct(_)
            | Operation::PutCollection(_)
            | Operation::DeleteCollection(_) => self.operate_catalogue(operation),
            Operation::StockAdjust { .. }
            | Operation::StockCount { .. }
            | Operation::StockMove { .. }
            | Operation::StockPolicy { .. }
            | Operation::StockKeepBack { .. } => self.operate_stock(operation),
            Operation::Pay(input) => self.pay(input),
            Operation::PaymentAnswered { payment, operation, attempt, answer } => {
                self.payment_answered(payment, operation, attempt, answer)
            }
            Operation::CheckoutGivenUp { payment } => self.give_up(payment, "given_up"),
            Operation::CaptureAgain { payment } => self.capture_again(payment),
            Operation::OrderFulfil(input) => self.fulfil(input),
            Operation::OrderCancel { order, reason } => self.cancel(order, reason),
            Operation::OrderRefund(input) => self.refund(input),
            Operation::CustomerCreate(_)
            | Operation::CustomerPut { .. }
            | Operation::CustomerDelete(_)
            | Operation::CustomerAddressPut { .. }
            | Operation::CustomerAddressDelete { .. }
            | Operation::CustomerToken { .. }
            | Operation::CustomerTokenRevoke { .. } => self.operate_customers(operation),
            cart => self.operate_cart(cart),
        }
    }

    /// What a subject's timer is for follows from where there is a row of it.
    fn fire(&mut self, subject: Key) {
        if let Some(Row(Forgotten { keys })) = self.state.forgotten.get(subject).cloned() {
            keys.into_iter().for_each(|key| self.state.answers.remove(key));
            self.state.forgotten.remove(subject);
        } else if self.state.checkouts.get(subject).is_some() {
            self.reservation_over(subject);
        } else if self.state.payments.get(subject).is_some() {
            self.state.payments.remove(subject);
        } else if self.state.carts.get(subject).is_some() {
            self.cart_untouched(subject);
        } else {
            self.token_over(subject);
        }
    }

    /// Tells the outside.
    pub(crate) fn tell(&mut self, kind: u16, subject: Key, body: &impl Stored) {
        let mut bytes = Vec::new();
        body.versioned(effect::BODY_VERSION, &mut bytes);
        self.outcome.effect(kind, subject, bytes);
    }

    pub(crate) fn show(&mut self, change: Change) {
        self.outcome.changes.push(change);
    }
}

impl Machine for Commerce {
    type State = State;
    type View = View;
    type Change = Change;
    type Query = Query;
    type Answer = Answer;

    const RULES_VERSION: u32 = crate::RULES_VERSION;
    const VIEW_TABLES: &'static [TableId] =
        &[TERMS, DISCOUNTS, FIXED, LOCATIONS, PRODUCTS, COLLECTIONS, STOCK, DUES];

    fn empty_state(&self) -> State {
        State::empty()
    }

    fn empty_view(&self) -> View {
        View::default()
    }

    fn dedup_key(&self, _record: &Record<'_>) -> Option<Key> {
        None
    }

    fn wanted(&self, state: &State, record: &Record<'_>, wanted: &mut Wanted) {
        if record.kind == RecordKind::COMMAND
            && let Ok(command) = Command::decode(record.body)
        {
            state.want_command(&command, wanted);
        }
    }

    fn apply(&self, state: &mut State, record: &Record<'_>, outcome: &mut Outcome<Change>) {
        if record.kind == RecordKind::COMMAND {
            let reply = Step { state, outcome, now: record.received_at }.command(record.body);
            outcome.reply = Some(reply);
        }
    }

    fn timer(
        &self,
        state: &mut State,
        subject: Key,
        due: Timestamp,
        _at: Position,
        outcome: &mut Outcome<Change>,
    ) {
        Step { state, outcome, now: due }.fire(subject);
    }

    fn wanted_by_timer(&self, state: &State, subject: Key, wanted: &mut Wanted) {
        state.want_timer(subject, wanted);
    }

    fn wanted_by_query(&self, state: &State, query: &Query, wanted: &mut Wanted) {
        state.want_query(query, wanted);
    }

    fn query(&self, state: &mut State, query: Query, as_of: AsOf) -> Answer {
        state.answer(query, as_of.log_time)
    }

    fn load_view(&self, view: &View, table: TableId, _key: Key, row: &[u8]) {
        if read::load(view, table, row).is_err() {
            tracing::error!(table = table.0, "a row of the shop's view cannot be read: it is left out");
        }
    }

    fn publish(&self, view: &View, changes: Vec<Change>, as_of: AsOf) {
        view.publish(changes, as_of);
    }
}
