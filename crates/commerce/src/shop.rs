//! What doors hold: a cheap handle on the loop.

use crate::command::{CartShown, Command, Operation, Reply};
use crate::machine::Commerce;
use crate::query::{Answer, Query};
use crate::refusal::Refusal;
use crate::state::{Customer, LedgerRow, StockRow};
use crate::view::View;
use engine::{AsOf, Engine, EngineError, SubmitError};
use model::codec::DecodeError;
use model::commerce::order::Order;
use model::commerce::payment::Payment;
use model::id::{Key, Position};
use model::record::{RecordKind, encode_record};
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::oneshot;

/// A shop that runs. Cheap to clone.
#[derive(Clone)]
pub struct Shop {
    engine: Engine<Commerce>,
}

/// Why there is no answer. Of a command it is not known whether it was done, unless it was not taken at all.
#[derive(Debug, Error)]
pub enum ShopError {
    /// The loop did not take it. Nothing was done.
    #[error(transparent)]
    NotTaken(#[from] SubmitError),
    /// The loop failed or stopped meanwhile.
    #[error("the shop stopped before it could answer")]
    Stopped,
    /// A row could not be read.
    #[error(transparent)]
    Failed(#[from] EngineError),
    /// The loop's answer cannot be read: a defect.
    #[error("the answer of the loop cannot be read: {0}")]
    Unreadable(#[from] DecodeError),
}

/// A reply, and the point of the log from which on everybody sees what was done.
#[derive(Clone, Debug)]
pub struct Replied {
    /// The reply.
    pub reply: Reply,
    /// Everything before this position was applied.
    pub next_position: Position,
}

impl Shop {
    /// A handle on a running loop.
    pub fn new(engine: Engine<Commerce>) -> Self {
        Self { engine }
    }

    /// The loop itself.
    pub fn engine(&self) -> &Engine<Commerce> {
        &self.engine
    }

    /// What can be read without asking the loop.
    pub fn view(&self) -> &Arc<View> {
        self.engine.view()
    }

    /// Hands over a command and waits until it is durable and applied. What is refused is a reply, [`Reply::Refused`].
    pub async fn command(&self, command: &Command) -> Result<Replied, ShopError> {
        let mut records = Vec::new();
        encode_record(&mut records, RecordKind::COMMAND, &command.encode());
        let (tell, told) = oneshot::channel();
        let done = Box::new(move |applied| drop(tell.send(applied)));
        self.engine.submit(records, 1, None, done)?;
        let applied = told.await.map_err(|_| ShopError::Stopped)??;
        let reply = applied.replies.first().map_or(&[][..], |(_, reply)| reply.as_slice());
        Ok(Replied { reply: Reply::decode(reply)?, next_position: applied.next_position })
    }

    /// The same for an operation that may be repeated; a refusal is the inner error.
    pub async fn operate(&self, operation: Operation) -> Result<Result<Reply, Refusal>, ShopError> {
        Ok(match self.command(&Command::of(operation)).await?.reply {
            Reply::Refused(refusal) => Err(refusal),
            reply => Ok(reply),
        })
    }

    /// Asks the loop.
    pub async fn query(&self, query: Query) -> Result<(Answer, AsOf), ShopError> {
        let (tell, told) = oneshot::channel();
        self.engine.query(query, move |answer| drop(tell.send(answer)))?;
        Ok(told.await.map_err(|_| ShopError::Stopped)??)
    }

    /// The cart whose token this is the hash of: [`crate::token_key`].
    pub async fn cart(&self, cart: Key) -> Result<Option<Box<CartShown>>, ShopError> {
        match self.query(Query::Cart(cart)).await?.0 {
            Answer::Cart(cart) => Ok(cart),
            _ => Ok(None),
        }
    }

    /// A payment.
    pub async fn payment(&self, payment: Key) -> Result<Option<Box<Payment>>, ShopError> {
        match self.query(Query::Payment(payment)).await?.0 {
            Answer::Payment(payment) => Ok(payment),
            _ => Ok(None),
        }
    }

    /// The order of a number.
    pub async fn order(&self, number: u64) -> Result<Option<Box<Order>>, ShopError> {
        self.one_order(Query::Order(number)).await
    }

    /// The order whose page's token this is the hash of: [`crate::token_key`].
    pub async fn order_by_key(&self, key: Key) -> Result<Option<Box<Order>>, ShopError> {
        self.one_order(Query::OrderByKey(key)).await
    }

    async fn one_order(&self, query: Query) -> Result<Option<Box<Order>>, ShopError> {
        match self.query(query).await?.0 {
            Answer::Order(order) => Ok(order),
            _ => Ok(None),
        }
    }

    /// Orders, the newest first: those before a number, a page.
    pub async fn orders(&self, before: Option<u64>, limit: usize) -> Result<Vec<Order>, ShopError> {
        match self.query(Query::Orders { before, limit }).await?.0 {
            Answer::Orders(orders) => Ok(orders),
            _ => Ok(Vec::new()),
        }
    }

    /// A customer: by number, e-mail address or token.
    pub async fn customer(&self, query: Query) -> Result<Option<Box<Customer>>, ShopError> {
        match self.query(query).await?.0 {
            Answer::Customer(customer) => Ok(customer),
            _ => Ok(None),
        }
    }

    /// The stock of a variant.
    pub async fn stock(&self, variant: u64) -> Result<Option<Box<StockRow>>, ShopError> {
        match self.query(Query::Stock(variant)).await?.0 {
            Answer::Stock(stock) => Ok(stock),
            _ => Ok(None),
        }
    }

    /// The ledger of a variant, the newest line first: those before a number, a page.
    pub async fn ledger(
        &self,
        variant: u64,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, ShopError> {
        match self.query(Query::Ledger { variant, before, limit }).await?.0 {
            Answer::Ledger(lines) => Ok(lines),
            _ => Ok(Vec::new()),
        }
    }
}
