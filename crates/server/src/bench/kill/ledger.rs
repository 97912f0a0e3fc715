//! What one client sent, and what it was told.

use crate::http_client::{Client, RetryPolicy};
use crate::process::post;
use anyhow::bail;
use env::seeded::Seed;
use serde_json::{Value, json};

/// The most events of one request.
const REQUEST_EVENTS_MAX: u64 = 20;
/// Every so many events are orders.
const ORDER_ONE_IN: u64 = 8;
/// The most events that a client remembers; a full ledger sends no more.
const EVENTS_MAX: usize = 1_000_000;

/// What is counted about a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) events: u64,
    pub(super) orders: u64,
    pub(super) revenue_minor: u64,
}

impl Sums {
    /// By how many events or orders this is more than the other; 1 at least if only the revenue is.
    pub(super) fn beyond(&self, other: &Self) -> u64 {
        let revenue = u64::from(self.revenue_minor > other.revenue_minor);
        let events = self.events.saturating_sub(other.events);
        events.max(self.orders.saturating_sub(other.orders)).max(revenue)
    }
}

struct Sent {
    person: u64,
    event: String,
    order_minor: Option<u64>,
    acknowledged: bool,
}

/// One client's memory.
pub(super) struct Ledger {
    client: u64,
    people: u64,
    seed: Seed,
    sent: Vec<Sent>,
}

impl Ledger {
    pub(super) fn new(client: u64, people: u64, seed: u64) -> Self {
        Self { client, people, seed: Seed::new(seed ^ (client + 1) << 32), sent: Vec::new() }
    }

    /// The user id of one of its people.
    pub(super) fn user(&self, person: u64) -> String {
        format!("kept-{}-{person}", self.client)
    }

    fn browser(&self, person: u64) -> String {
        format!("browser-{}-{person}", self.client)
    }

    /// Joins every person's user id and browser, before anything is killed.
    pub(super) fn introduce(&mut self, client: &mut Client) -> anyhow::Result<()> {
        for person in 0..self.people {
            let event = json!({
                "type": "identify", "messageId": self.message(), "userId": self.user(person),
                "anonymousId": self.browser(person), "traits": { "plan": "gold" },
            });
            self.sent.push(Sent { person, event: event.to_string(), order_minor: None, acknowledged: false });
        }
        let first = self.sent.len().saturating_sub(self.people as usize);
        if !self.send_from(first, client) || self.unanswered() > 0 {
            bail!("the server refused the first events");
        }
        Ok(())
    }

    fn message(&self) -> String {
        format!("message-{}-{}", self.client, self.sent.len())
    }

    /// Sends a few new events and remembers the answer. False once there is no more to expect.
    pub(super) fn send_some(&mut self, client: &mut Client) -> bool {
        if self.sent.len() >= EVENTS_MAX {
            return false;
        }
        let first = self.sent.len();
        for _ in 0..1 + self.seed.below(REQUEST_EVENTS_MAX) {
            let sent = self.event();
            self.sent.push(sent);
        }
        self.send_from(first, client)
    }

    fn event(&mut self) -> Sent {
        let person = self.seed.below(self.people);
        let message = self.message();
        let mut event = json!({ "type": "track", "messageId": message });
        let order_minor = self.seed.one_in(ORDER_ONE_IN).then(|| 100 + self.seed.below(10_000));
        if let Some(fields) = event.as_object_mut() {
            // Both identifiers, or one of them: the person is the same.
            let which = self.seed.below(3);
            if which != 0 {
                fields.insert("userId".to_owned(), self.user(person).into());
            }
            if which != 1 {
                fields.insert("anonymousId".to_owned(), self.browser(person).into());
            }
            fields.extend(match order_minor {
                Some(minor) => order(&message, minor),
                None => {
                    fields_of(json!({ "event": "Product Viewed", "properties": { "product_id": "p-1" } }))
                }
            });
        }
        Sent { person, event: event.to_string(), order_minor, acknowledged: false }
    }

    /// False if no answer came. A refusal is an answer: those events are like ones that were never answered.
    fn send_from(&mut self, first: usize, client: &mut Client) -> bool {
        let body = batch(self.sent.iter().skip(first));
        let answer = post(client, "/v1/batch", body.as_bytes());
        if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
            self.sent.iter_mut().skip(first).for_each(|sent| sent.acknowledged = true);
        }
        answer.is_ok()
    }

    /// Sends everything again, also what was acknowledged; then all of it is.
    pub(super) fn send_all_again(&mut self, client: &mut Client) -> anyhow::Result<()> {
        for part in self.sent.chunks(100) {
            let body = batch(part.iter());
            let request = crate::http_client::Request {
                method: "POST",
                path: "/v1/batch",
                headers: &[],
                body: body.as_bytes(),
            };
            let answer = RetryPolicy::default().send(client, request, &mut |_, _| {})?;
            if answer.status != 200 {
                bail!(
                    "the server refused events that it had taken before: {} {}",
                    answer.status,
                    answer.quote()
                );
            }
        }
        self.sent.iter_mut().for_each(|sent| sent.acknowledged = true);
        Ok(())
    }

    /// What must be known about a person at least, and at most.
    pub(super) fn bounds(&self, person: u64) -> (Sums, Sums) {
        let (mut least, mut most) = (Sums::default(), Sums::default());
        for sent in self.sent.iter().filter(|sent| sent.person == person) {
            for (sums, counts) in [(&mut least, sent.acknowledged), (&mut most, true)] {
                if counts {
                    sums.events += 1;
                    sums.orders += u64::from(sent.order_minor.is_some());
                    sums.revenue_minor += sent.order_minor.unwrap_or_default();
                }
            }
        }
        (least, most)
    }

    pub(super) fn len(&self) -> u64 {
        self.sent.len() as u64
    }

    pub(super) fn unanswered(&self) -> u64 {
        self.sent.iter().filter(|sent| !sent.acknowledged).count() as u64
    }
}

fn batch<'a>(sent: impl Iterator<Item = &'a Sent>) -> String {
    let events: Vec<&str> = sent.map(|sent| sent.event.as_str()).collect();
    format!(r#"{{"batch":[{}]}}"#, events.join(","))
}

fn order(message: &str, minor: u64) -> serde_json::Map<String, Value> {
    let amount = format!("{}.{:02}", minor / 100, minor % 100);
    fields_of(json!({
        "event": "Order Completed",
        "properties": {
            "order_id": format!("order-of-{message}"), "revenue": amount, "currency": "EUR",
            "products": [{ "product_id": format!("p-{}", minor % 50), "category": "garden", "price": amount, "quantity": 1 }],
        },
    }))
}

fn fields_of(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_follow_what_was_acknowledged() {
        let mut ledger = Ledger::new(1, 2, 3);
        for _ in 0..200 {
            let sent = ledger.event();
            ledger.sent.push(sent);
        }
        ledger.sent.iter_mut().take(100).for_each(|sent| sent.acknowledged = true);
        let both: Vec<(Sums, Sums)> = (0..2).map(|person| ledger.bounds(person)).collect();
        assert_eq!(both.iter().map(|(least, _)| least.events).sum::<u64>(), 100);
        assert_eq!(both.iter().map(|(_, most)| most.events).sum::<u64>(), 200);
        assert_eq!(ledger.unanswered(), 100);
        assert!(both.iter().all(|(least, most)| least.beyond(most) == 0 && most.beyond(least) > 0));
    }

    #[test]
    fn too_little_revenue_alone_is_noticed() {
        let known = Sums { events: 5, orders: 1, revenue_minor: 100 };
        assert_eq!(Sums { revenue_minor: 101, ..known }.beyond(&known), 1);
        assert_eq!(Sums { events: 8, ..known }.beyond(&known), 3);
        assert_eq!(known.beyond(&known), 0);
    }
}
