//! What becomes of a payment.
//!
//! A payment is asked for when units are reserved, and taken when there is an order. Between the two, anything may
//! happen: the provider is slow, answers twice, or late; the process ends. So every state says by itself what is still to
//! be done ([`PaymentState::operation`]), every operation may be asked for again under the same idempotency key, and
//! [`next`] is the one place that says where an answer leads.

use super::money::Currency;
use crate::id::{Key, Timestamp};
use crate::stored;

stored! {
    /// A payment.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Payment {
        /// Its key; also what the provider knows it by.
        pub key: Key,
        /// The cart that is paid for.
        pub cart: Key,
        /// Who carries it out, by the name in the settings.
        pub provider: String,
        /// What the buyer's browser got from the provider: it stands for a card, and is no card.
        pub method: String,
        /// In what is paid.
        pub currency: Currency,
        /// How much was asked for.
        pub amount_minor: i64,
        /// How much was taken.
        pub captured_minor: i64,
        /// How much was given back, and is being given back.
        pub refunded_minor: i64,
        /// The provider's name for it, once known.
        pub reference: Option<String>,
        /// Where it stands.
        pub state: PaymentState,
        /// What the provider said last, for the buyer or the operator: a code such as `card_declined`.
        pub reason: Option<String>,
        /// Where the buyer has to go for it to go on.
        pub action_url: Option<String>,
        /// The refund under way: its number and amount. Refunds are asked for one after another.
        pub refund: Option<(u32, i64)>,
        /// How often somebody told us to try taking the money again.
        pub captures_again: u32,
        /// The order that came of it.
        pub order: Option<u64>,
        /// When it was begun.
        pub created_at: Timestamp,
        /// When it was last changed.
        pub updated_at: Timestamp,
    }

    /// Where a payment stands.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum PaymentState {
        /// Asked for, and not known.
        Authorising = 1,
        /// The buyer has to do something with the provider first.
        ActionRequired = 2,
        /// The money is set aside; there is no order.
        Authorised = 3,
        /// There is an order; the money is being taken.
        Capturing = 4,
        /// The money was taken.
        Captured = 5,
        /// There will be no order: what was set aside is being let go.
        Voiding = 6,
        /// It was let go.
        Voided = 7,
        /// The provider refused.
        Declined = 8,
        /// Something of what was taken is being given back.
        Refunding = 9,
        /// The order is there and the money could not be taken. Somebody has to look.
        CaptureFailed = 10,
    }

    /// What a provider is asked to do.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum PaymentOperation {
        /// Set money aside.
        Authorise = 1,
        /// Take what was set aside.
        Capture = 2,
        /// Let go what was set aside.
        Void = 3,
        /// Give back what was taken.
        Refund = 4,
    }

    /// What is known of an operation.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum PaymentAnswer {
        /// It is done. The provider's name for the payment.
        Done(String) = 1,
        /// It will not be done, and why: a code.
        Refused(String) = 2,
        /// The buyer has to go there first.
        Action { reference: String, url: String } = 3,
    }
}

/// What happened to a payment, as far as its state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentEvent {
    /// The provider says yes to the operation.
    Done(PaymentOperation),
    /// The provider says no to the operation.
    Refused(PaymentOperation),
    /// The buyer has to do something.
    ActionNeeded,
    /// The order was made.
    Ordered,
    /// There will be no order: the units are gone, the checkout was given up.
    GivenUp,
    /// Somebody asked for money back.
    RefundAsked,
    /// Somebody tells us to try taking the money again.
    CaptureAgain,
}

/// Where an event leads; `None` where it may not happen, or says nothing new.
pub fn next(state: PaymentState, event: PaymentEvent) -> Option<PaymentState> {
    use PaymentEvent as Event;
    use PaymentOperation::{Authorise, Capture, Refund, Void};
    use PaymentState as State;
    Some(match (state, event) {
        (State::Authorising | State::ActionRequired, Event::Done(Authorise)) => State::Authorised,
        (State::Authorising | State::ActionRequired, Event::Refused(Authorise)) => State::Declined,
        (State::Authorising, Event::ActionNeeded) => State::ActionRequired,
        // The provider may still come to say yes: only a void makes sure that nothing stays set aside.
        (State::Authorising | State::ActionRequired | State::Authorised, Event::GivenUp) => State::Voiding,
        (State::Authorised, Event::Ordered) => State::Capturing,
        (State::Capturing, Event::Done(Capture)) => State::Captured,
        (State::Capturing, Event::Refused(Capture)) => State::CaptureFailed,
        (State::CaptureFailed, Event::CaptureAgain) => State::Capturing,
        // Late: money that was taken although we let it go is given back by the same path.
        (State::Voiding, Event::Done(Void)) => State::Voided,
        // Nothing was set aside, or it is gone: there is nothing to let go.
        (State::Voiding, Event::Refused(Void)) => State::Voided,
        (State::CaptureFailed, Event::GivenUp) => State::Voiding,
        (State::Captured, Event::RefundAsked) => State::Refunding,
        (State::Refunding, Event::Done(Refund) | Event::Refused(Refund)) => State::Captured,
        _ => return None,
    })
}

impl PaymentState {
    /// What the provider is to be asked for; whatever is named here is asked for until its answer is known.
    pub fn operation(self) -> Option<PaymentOperation> {
        match self {
            Self::Authorising => Some(PaymentOperation::Authorise),
            Self::Capturing => Some(PaymentOperation::Capture),
            Self::Voiding => Some(PaymentOperation::Void),
            Self::Refunding => Some(PaymentOperation::Refund),
            Self::ActionRequired
            | Self::Authorised
            | Self::Captured
            | Self::Voided
            | Self::Declined
            | Self::CaptureFailed => None,
        }
    }

    /// Every state, for tables and tests.
    pub const ALL: [Self; 10] = [
        Self::Authorising,
        Self::ActionRequired,
        Self::Authorised,
        Self::Capturing,
        Self::Captured,
        Self::Voiding,
        Self::Voided,
        Self::Declined,
        Self::Refunding,
        Self::CaptureFailed,
    ];
}

impl Payment {
    /// The idempotency key of the operation that is due: the same however often it is asked for, another for each refund.
    pub fn idempotency_key(&self, operation: PaymentOperation) -> String {
        let attempt = self.attempt(operation);
        match operation {
            PaymentOperation::Authorise => format!("{}-authorise", self.key),
            PaymentOperation::Capture => format!("{}-capture-{attempt}", self.key),
            PaymentOperation::Void => format!("{}-void", self.key),
            PaymentOperation::Refund => format!("{}-refund-{attempt}", self.key),
        }
    }

    /// Which one of several operations of a kind is due: each refund is one of its own, and so is taking the money again
    /// after it was refused. An answer states it, so that a late one does not count for the next.
    pub fn attempt(&self, operation: PaymentOperation) -> u32 {
        match operation {
            PaymentOperation::Authorise | PaymentOperation::Void => 0,
            PaymentOperation::Capture => self.captures_again,
            PaymentOperation::Refund => self.refund.map_or(0, |(number, _)| number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const EVENTS: [PaymentEvent; 14] = [
        PaymentEvent::Done(PaymentOperation::Authorise),
        PaymentEvent::Done(PaymentOperation::Capture),
        PaymentEvent::Done(PaymentOperation::Void),
        PaymentEvent::Done(PaymentOperation::Refund),
        PaymentEvent::Refused(PaymentOperation::Authorise),
        PaymentEvent::Refused(PaymentOperation::Capture),
        PaymentEvent::Refused(PaymentOperation::Void),
        PaymentEvent::Refused(PaymentOperation::Refund),
        PaymentEvent::ActionNeeded,
        PaymentEvent::Ordered,
        PaymentEvent::GivenUp,
        PaymentEvent::RefundAsked,
        PaymentEvent::CaptureAgain,
        PaymentEvent::GivenUp,
    ];

    fn reachable(from: PaymentState) -> BTreeSet<PaymentState> {
        let mut found = BTreeSet::from([from]);
        let mut look = vec![from];
        while let Some(state) = look.pop() {
            for after in EVENTS.iter().filter_map(|event| next(state, *event)) {
                if found.insert(after) {
                    look.push(after);
                }
            }
        }
        found
    }

    #[test]
    fn every_state_is_met_and_none_is_a_dead_end_with_money_in_it() {
        assert_eq!(reachable(PaymentState::Authorising), BTreeSet::from(PaymentState::ALL));
        for state in PaymentState::ALL {
            let ends = reachable(state);
            let settled = [PaymentState::Captured, PaymentState::Voided, PaymentState::Declined];
            assert!(settled.iter().any(|end| ends.contains(end)), "{state:?} leads nowhere");
        }
    }

    #[test]
    fn money_is_only_taken_behind_an_order() {
        for state in PaymentState::ALL {
            for event in EVENTS {
                if next(state, event) == Some(PaymentState::Capturing) {
                    assert!(matches!(event, PaymentEvent::Ordered | PaymentEvent::CaptureAgain));
                }
            }
            assert_eq!(next(state, PaymentEvent::Ordered).is_some(), state == PaymentState::Authorised);
        }
    }

    #[test]
    fn an_answer_changes_nothing_twice() {
        for state in PaymentState::ALL {
            for event in EVENTS.iter().filter(|event| matches!(event, PaymentEvent::Done(_))) {
                let after = next(state, *event);
                assert!(after.is_none_or(|after| next(after, *event).is_none()), "{state:?} {event:?}");
            }
        }
    }
}
