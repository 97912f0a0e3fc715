//! Asks providers for what is due, until every answer is known and taken in.

use super::{Provider, Request};
use crate::command::{Command, Operation, Reply};
use crate::shop::Shop;
use model::commerce::payment::{Payment, PaymentAnswer, PaymentOperation};
use model::id::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How patient a cashier is.
#[derive(Clone, Debug)]
pub struct CashierOptions {
    /// Requests at the same time.
    pub requests_max: usize,
    /// A request is given up after this long, which does not mean that nothing was done.
    pub request_ms: u64,
    /// The pause after the first unknown answer; it doubles with each.
    pub pause_min_ms: u64,
    /// The longest pause.
    pub pause_max_ms: u64,
    /// Between two looks at a payment that waits for its buyer.
    pub look_ms: u64,
    /// An operation that was asked for so often without an answer is one for an operator's eyes.
    pub alarm_tries: u32,
}

impl Default for CashierOptions {
    fn default() -> Self {
        Self {
            requests_max: 256,
            request_ms: 30_000,
            pause_min_ms: 200,
            pause_max_ms: 60_000,
            look_ms: 3_000,
            alarm_tries: 20,
        }
    }
}

/// What a cashier did, for metrics.
#[derive(Debug, Default)]
pub struct Figures {
    /// Requests to providers.
    pub requests: AtomicU64,
    /// Answers that were taken in.
    pub answers: AtomicU64,
    /// Requests whose outcome is not known.
    pub unknown: AtomicU64,
    /// Operations that were asked for too often without an answer.
    pub alarms: AtomicU64,
}

/// Asks providers for what is due.
pub struct Cashier {
    shop: Shop,
    providers: Arc<BTreeMap<String, Arc<dyn Provider>>>,
    options: CashierOptions,
    figures: Arc<Figures>,
    /// Payments that are asked about now.
    asking: BTreeSet<Key>,
    /// Payments that were asked about without coming further.
    pauses: BTreeMap<Key, Pause>,
}

struct Pause {
    due: Due,
    tries: u32,
    until: Instant,
}

/// What is to be done about a payment, so that one thing can be told from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Operation(PaymentOperation, u32),
    Look,
}

impl Due {
    fn of(payment: &Payment) -> Self {
        match payment.state.operation() {
            Some(operation) => Self::Operation(operation, payment.attempt(operation)),
            None => Self::Look,
        }
    }
}

impl Cashier {
    /// A cashier for a shop, with its providers by name.
    pub fn new(shop: Shop, providers: BTreeMap<String, Arc<dyn Provider>>, options: CashierOptions) -> Self {
        Self {
            shop,
            providers: Arc::new(providers),
            options,
            figures: Arc::default(),
            asking: BTreeSet::new(),
            pauses: BTreeMap::new(),
        }
    }

    /// What it did.
    pub fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Works until `stop` ends. What is under way then is asked for again by the next one.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let shop = self.shop.clone();
        let mut asked: JoinSet<(Key, Due)> = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let next = self.begin(&mut asked);
            let pause = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                () = &mut stop => return,
                () = shop.view().due_changed() => {}
                Some(finished) = asked.join_next(), if !asked.is_empty() => match finished {
                    Ok((payment, due)) => self.finished(payment, due),
                    Err(error) => {
                        // Which one it was is not known: all are looked at again, which does no harm.
                        tracing::error!(%error, "asking a payment provider panicked");
                        self.asking.clear();
                    }
                },
                () = tokio::time::sleep_until(pause) => {}
            }
        }
    }

    /// Begins what is due and not under way. Says when the next pause ends.
    fn begin(&mut self, asked: &mut JoinSet<(Key, Due)>) -> Option<Instant> {
        let now = Instant::now();
        let mut next = None;
        let due = self.shop.view().due();
        // In order of their keys, as the view has them.
        self.pauses.retain(|payment, _| due.binary_search_by_key(payment, |one| one.key).is_ok());
        for payment in due {
            if self.asking.len() >= self.options.requests_max {
                break;
            }
            if self.asking.contains(&payment.key) {
                continue;
            }
            let pause = self.pauses.get(&payment.key).filter(|pause| pause.due == Due::of(&payment));
            match pause.map(|pause| pause.until).filter(|until| *until > now) {
                Some(until) => next = Some(next.map_or(until, |next: Instant| next.min(until))),
                None => {
                    self.asking.insert(payment.key);
                    asked.spawn(self.ask(payment));
                }
            }
        }
        next
    }

    fn ask(&self, payment: Arc<Payment>) -> impl Future<Output = (Key, Due)> + Send + 'static {
        let (shop, figures) = (self.shop.clone(), Arc::clone(&self.figures));
        let provider = self.providers.get(&payment.provider).map(Arc::clone);
        let longest = Duration::from_millis(self.options.request_ms);
        async move {
            let due = Due::of(&payment);
            figures.requests.fetch_add(1, Ordering::Relaxed);
            let Some(provider) = provider else {
                tracing::error!(provider = payment.provider, "no provider of this name is configured");
                return (payment.key, due);
            };
            match tokio::time::timeout(longest, answer(&*provider, &payment)).await {
                Ok(Some((operation, answer))) => hand_in(&shop, &figures, &payment, operation, answer).await,
                Ok(None) | Err(_) => {
                    figures.unknown.fetch_add(u64::from(due != Due::Look), Ordering::Relaxed);
                }
            }
            (payment.key, due)
        }
    }

    /// What came further needs no pause. What did not is asked for again, later.
    fn finished(&mut self, payment: Key, due: Due) {
        self.asking.remove(&payment);
        let still = self.shop.view().due_payment(payment).is_some_and(|now| Due::of(&now) == due);
        if !still {
            self.pauses.remove(&payment);
            return;
        }
        let before = self.pauses.get(&payment).filter(|pause| pause.due == due);
        let tries = before.map_or(0, |pause| pause.tries) + 1;
        if tries == self.options.alarm_tries && due != Due::Look {
            self.figures.alarms.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%payment, ?due, tries, "a payment provider gives no answer");
        }
        let until = Instant::now() + self.pause(payment, due, tries);
        self.pauses.insert(payment, Pause { due, tries, until });
    }

    /// Longer each time, and not the same for all.
    fn pause(&self, payment: Key, due: Due, tries: u32) -> Duration {
        let options = &self.options;
        let whole = match due {
            Due::Look => options.look_ms,
            Due::Operation(..) => {
                let doubled = 1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX);
                options.pause_min_ms.saturating_mul(doubled).min(options.pause_max_ms)
            }
        };
        let spread = payment.with(Key(u128::from(tries))).0 as u64 % (whole / 2).max(1);
        Duration::from_millis(whole / 2 + spread)
    }
}

/// Asks; `None` where the outcome is not known.
async fn answer(provider: &dyn Provider, payment: &Payment) -> Option<(PaymentOperation, PaymentAnswer)> {
    let operation = payment.state.operation();
    let asked = operation.unwrap_or(PaymentOperation::Authorise);
    let request = Request::of(payment, asked);
    let answer = match operation {
        Some(_) => provider.carry_out(&request).await.map(Some),
        None => provider.status(&request).await,
    };
    match answer {
        Ok(answer) => answer.map(|answer| (asked, answer)),
        Err(unknown) => {
            tracing::debug!(payment = %payment.key, ?asked, %unknown, "the outcome is not known yet");
            None
        }
    }
}

async fn hand_in(
    shop: &Shop,
    figures: &Figures,
    payment: &Payment,
    operation: PaymentOperation,
    answer: PaymentAnswer,
) {
    let attempt = payment.attempt(operation);
    let operation = Operation::PaymentAnswered { payment: payment.key, operation, attempt, answer };
    match shop.command(&Command::of(operation)).await {
        Ok(replied) => {
            if !matches!(replied.reply, Reply::Refused(_)) {
                figures.answers.fetch_add(1, Ordering::Relaxed);
            }
        }
        // It is still due, so it will be asked for again, and answered the same.
        Err(error) => tracing::warn!(payment = %payment.key, %error, "an answer could not be taken in"),
    }
}
