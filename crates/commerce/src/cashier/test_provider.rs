//! A provider that plays a script: what happens is said by the token that the buyer's browser would have got.

use super::{Answering, Provider, Request, Telling, Unknown};
use model::commerce::payment::{PaymentAnswer, PaymentOperation};
use model::id::Key;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What happens with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything works.
    Ok,
    /// The authorisation is refused, with this code.
    Declined(String),
    /// So many authorisations do not reach the provider, and nobody answers. Then it works.
    Unreached(u32),
    /// The authorisation works, and so many of its answers are lost.
    Lost(u32),
    /// The answer takes this long.
    Slow(Duration),
    /// The buyer has to confirm first, as with 3-D Secure: see [`TestProvider::confirm`].
    Challenge,
    /// Nobody answers at first; after this long the authorisation turns out to have worked.
    Late(Duration),
    /// The authorisation works, and its answer comes a second time by [`TestProvider::take_doubled`].
    Doubled,
    /// The authorisation works, and the money cannot be taken so often.
    CaptureRefused(u32),
    /// The authorisation works, and nothing is given back.
    RefundRefused,
}

/// What the provider knows, and does not forget: answers by idempotency key, and the money.
#[derive(Clone, Debug, Default)]
pub struct Book {
    answers: BTreeMap<String, PaymentAnswer>,
    accounts: BTreeMap<Key, Account>,
}

/// The money of a payment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What is set aside now.
    pub authorised_minor: i64,
    /// What was taken.
    pub captured_minor: i64,
    /// What was given back.
    pub refunded_minor: i64,
    /// It was let go: nothing will be set aside.
    pub voided: bool,
    /// The buyer has to confirm (`None`), or has said yes or no.
    challenge: Option<Option<bool>>,
    asked: u32,
    captures_refused: u32,
}

impl Book {
    /// Does what is asked for and remembers the answer: the same key gets the same one.
    pub fn carry_out(&mut self, request: &Request, outcome: &Outcome) -> PaymentAnswer {
        if let Some(answer) = self.answers.get(&request.idempotency_key) {
            return answer.clone();
        }
        let answer = self.accounts.entry(request.payment).or_default().carry_out(request, outcome);
        self.answers.insert(request.idempotency_key.clone(), answer.clone());
        answer
    }

    /// The money of a payment.
    pub fn account(&self, payment: Key) -> Account {
        self.accounts.get(&payment).cloned().unwrap_or_default()
    }

    /// Every payment that was ever asked for.
    pub fn accounts(&self) -> impl Iterator<Item = (Key, &Account)> {
        self.accounts.iter().map(|(payment, account)| (*payment, account))
    }

    /// The buyer says yes or no to a challenge. `None` where there is none.
    pub fn confirm(&mut self, payment: Key, request: &Request, yes: bool) -> Option<PaymentAnswer> {
        let account = self.accounts.get_mut(&payment)?;
        if account.voided || account.challenge?.is_some() {
            return None;
        }
        account.challenge = Some(Some(yes));
        if yes {
            account.authorised_minor = request.amount_minor;
        }
        self.status(payment)
    }

    /// What became of a challenge.
    pub fn status(&self, payment: Key) -> Option<PaymentAnswer> {
        let account = self.accounts.get(&payment)?;
        match account.challenge?? {
            true => Some(PaymentAnswer::Done(reference(payment))),
            false => Some(PaymentAnswer::Refused("authentication_failed".to_owned())),
        }
    }
}

impl Account {
    fn carry_out(&mut self, request: &Request, outcome: &Outcome) -> PaymentAnswer {
        let done = PaymentAnswer::Done(reference(request.payment));
        let refused = |code: &str| PaymentAnswer::Refused(code.to_owned());
        match request.operation {
            PaymentOperation::Authorise if self.voided => refused("voided"),
            PaymentOperation::Authorise => match outcome {
                Outcome::Declined(code) => refused(code),
                Outcome::Challenge => {
                    self.challenge = Some(None);
                    let reference = reference(request.payment);
                    let url = format!("https://provider.test/confirm/{reference}");
                    PaymentAnswer::Action { reference, url }
                }
                _ => {
                    self.authorised_minor = request.amount_minor;
                    done
                }
            },
            PaymentOperation::Capture => {
                if let Outcome::CaptureRefused(times) = outcome
                    && self.captures_refused < *times
                {
                    self.captures_refused += 1;
                    return refused("capture_refused");
                }
                if self.voided || self.authorised_minor < request.amount_minor {
                    return refused("not_authorised");
                }
                self.authorised_minor = 0;
                self.captured_minor = request.amount_minor;
                done
            }
            PaymentOperation::Void => {
                let was_authorised = self.authorised_minor > 0;
                self.voided = true;
                self.authorised_minor = 0;
                if was_authorised { done } else { refused("nothing_authorised") }
            }
            PaymentOperation::Refund => {
                let left = self.captured_minor - self.refunded_minor;
                if *outcome == Outcome::RefundRefused || request.amount_minor > left {
                    return refused("refund_refused");
                }
                self.refunded_minor += request.amount_minor;
                done
            }
        }
    }
}

fn reference(payment: Key) -> String {
    format!("test_{payment}")
}

/// A provider that plays a script.
#[derive(Debug)]
pub struct TestProvider {
    outcomes: BTreeMap<String, Outcome>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    book: Book,
    doubled: Vec<(Request, PaymentAnswer)>,
    first_asked: BTreeMap<Key, Instant>,
    requests: BTreeMap<Key, Request>,
}

impl TestProvider {
    /// A provider that knows these tokens. Any other is declined as `unknown_token`.
    pub fn new(outcomes: impl IntoIterator<Item = (String, Outcome)>) -> Self {
        Self { outcomes: outcomes.into_iter().collect(), told: Mutex::default() }
    }

    /// What it did so far.
    pub fn book(&self) -> Book {
        self.told().book.clone()
    }

    /// Answers that come a second time, as webhooks do.
    pub fn take_doubled(&self) -> Vec<(Request, PaymentAnswer)> {
        std::mem::take(&mut self.told().doubled)
    }

    /// The buyer says yes or no to a challenge; what the provider's webhook says then.
    pub fn confirm(&self, payment: Key, yes: bool) -> Option<PaymentAnswer> {
        let mut told = self.told();
        let request = told.requests.get(&payment)?.clone();
        told.book.confirm(payment, &request, yes)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outcome(&self, method: &str) -> Outcome {
        let unknown = || Outcome::Declined("unknown_token".to_owned());
        self.outcomes.get(method).cloned().unwrap_or_else(unknown)
    }

    /// Answers, or does as if the network had failed.
    fn answer(&self, request: &Request, outcome: &Outcome) -> Result<PaymentAnswer, Unknown> {
        let mut told = self.told();
        if request.operation != PaymentOperation::Authorise {
            return Ok(told.book.carry_out(request, outcome));
        }
        told.requests.insert(request.payment, request.clone());
        let asked = {
            let account = told.book.accounts.entry(request.payment).or_default();
            account.asked += 1;
            account.asked
        };
        match outcome {
            Outcome::Unreached(times) if asked <= *times => return Err(Unknown("unreached".to_owned())),
            Outcome::Late(after) => {
                let first = *told.first_asked.entry(request.payment).or_insert_with(Instant::now);
                if first.elapsed() < *after {
                    return Err(Unknown("late".to_owned()));
                }
            }
            _ => {}
        }
        let answer = told.book.carry_out(request, outcome);
        match outcome {
            Outcome::Lost(times) if asked <= *times => return Err(Unknown("lost".to_owned())),
            Outcome::Doubled => told.doubled.push((request.clone(), answer.clone())),
            _ => {}
        }
        Ok(answer)
    }
}

impl Provider for TestProvider {
    fn carry_out<'a>(&'a self, request: &'a Request) -> Answering<'a> {
        Box::pin(async move {
            let outcome = self.outcome(&request.method);
            if let Outcome::Slow(time) = outcome {
                tokio::time::sleep(time).await;
            }
            self.answer(request, &outcome)
        })
    }

    fn status<'a>(&'a self, request: &'a Request) -> Telling<'a> {
        Box::pin(async move { Ok(self.told().book.status(request.payment)) })
    }
}
