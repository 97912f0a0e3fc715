//! Payment providers, asked beside the loop.
//!
//! [`Cashier`] keeps nothing that has to last: what is due follows from the payments that the view shows. Whatever is asked
//! for is asked again under the same key until its answer is known and taken in, so it does not matter where a process
//! ended. [`TestProvider`] plays a provider by a script.

mod run;
mod test_provider;

pub use run::{Cashier, CashierOptions, Figures};
pub use test_provider::{Book, Outcome, TestProvider};

use model::commerce::money::Currency;
use model::commerce::payment::{Payment, PaymentAnswer, PaymentOperation};
use model::id::Key;
use std::future::Future;
use std::pin::Pin;

/// What a provider is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The payment.
    pub payment: Key,
    /// What to do.
    pub operation: PaymentOperation,
    /// Under this key, however often it is asked for.
    pub idempotency_key: String,
    /// How much.
    pub amount_minor: i64,
    /// In what.
    pub currency: Currency,
    /// What the buyer's browser got from the provider: it stands for a card, and is no card.
    pub method: String,
    /// The provider's name for the payment, once known.
    pub reference: Option<String>,
}

/// The outcome is not known: no answer, or one that says nothing. The operation is asked for again under the same key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the provider's answer is not known: {0}")]
pub struct Unknown(pub String);

/// An answer to come.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<PaymentAnswer, Unknown>> + Send + 'a>>;
/// What is known of a payment, to come.
pub type Telling<'a> = Pin<Box<dyn Future<Output = Result<Option<PaymentAnswer>, Unknown>> + Send + 'a>>;

/// Who carries out payments.
pub trait Provider: Send + Sync {
    /// Does what is asked for, once for each idempotency key: the same key gets the same answer.
    ///
    /// A void is only [`PaymentAnswer::Done`] (or refused, because there is nothing) when nothing is set aside **and
    /// nothing will be**: an authorisation whose answer was never known may still be on its way to the provider.
    fn carry_out<'a>(&'a self, request: &'a Request) -> Answering<'a>;

    /// What became of the authorisation of a payment that waits for its buyer; `None` while nothing is known.
    fn status<'a>(&'a self, request: &'a Request) -> Telling<'a>;
}

impl Request {
    /// What is asked for an operation of a payment.
    pub fn of(payment: &Payment, operation: PaymentOperation) -> Self {
        let amount_minor = match operation {
            PaymentOperation::Refund => payment.refund.map_or(0, |(_, amount)| amount),
            _ => payment.amount_minor,
        };
        Self {
            payment: payment.key,
            operation,
            idempotency_key: payment.idempotency_key(operation),
            amount_minor,
            currency: payment.currency,
            method: payment.method.clone(),
            reference: payment.reference.clone(),
        }
    }
}
