//! `bench decide`: after a purchase's 200 the person is suppressed, whichever identifier is asked about.
//!
//! Several threads buy for people with a user id, an e-mail address and two browsers, and ask about another identifier
//! of the same person at once, while other load goes on. Every tenth purchase is made in a browser that nobody knows
//! and reaches the person by the identify that follows it.

use super::load::{Lane, Load, Pace};
use super::{BenchArgs, Folder, Generator, Latencies, Population, Progress, Report, binary_of};
use crate::calendar::now_us;
use crate::http_client::Client;
use crate::process::{ServerOptions, ServerProcess, json_of, post};
use anyhow::bail;
use env::seeded::Seed;
use serde_json::{Value, json};
use std::time::Instant;

/// Threads that buy and ask.
const BUYERS: u64 = 4;
/// Each person buys so often.
const PURCHASES_EACH: u64 = 5;
/// Of people's last purchases, those that reach the person by a later merge: one a person at most, because a person has
/// a cap on browsers.
const LATE_ONE_IN: u64 = 2;
/// Other load meanwhile.
const LOAD_BATCHES_PER_SECOND: f64 = 50.0;
const LOAD_BATCH_EVENTS: u32 = 100;
const LOAD_CLIENTS: usize = 8;
/// How many purchases that were not suppressed are printed.
const SHOWN_MAX: usize = 10;

/// What a buyer found.
#[derive(Default)]
struct Found {
    purchases: u64,
    late: u64,
    /// Asked right after the 200 and told "not suppressed".
    missed: Vec<String>,
    /// Suppressed for a product before it was bought.
    early: u64,
    posts: Latencies,
    decides: Latencies,
    /// From the 200 to the answer.
    to_suppressed: Latencies,
}

/// Runs all purchases and reports.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let folder = Folder::new(args.data.as_deref())?;
    let progress = Progress::new();
    let options = ServerOptions { binary: binary_of(args)?, data: folder.path().to_owned(), set: Vec::new() };
    let mut server = ServerProcess::start(&options)?;
    let generator =
        Generator::new(Population { people: 100_000, cold_percent: 10 }, args.seed, now_us().unsigned_abs());
    let pace = Pace::PerSecond(LOAD_BATCHES_PER_SECOND);
    let load = Load::start(vec![Lane::of_events(&server, generator, LOAD_BATCH_EVENTS, LOAD_CLIENTS, pace)])?;
    progress
        .step(&format!("{} purchases, each asked about at once under another identifier", args.purchases));
    let mut buyers = Vec::new();
    for number in 0..BUYERS {
        let purchases = args.purchases / BUYERS + u64::from(number < args.purchases % BUYERS);
        let mut buyer = Buyer {
            number,
            seed: Seed::new(args.seed ^ (number + 1) << 40),
            ingest: server.ingest_client(),
            profiles: server.profiles_client(),
            found: Found::default(),
        };
        buyers.push(std::thread::spawn(move || buyer.buy_all(purchases).map(|()| buyer.found)));
    }
    let mut found = Found::default();
    for buyer in buyers {
        let part = buyer.join().map_err(|_| anyhow::anyhow!("a buyer panicked"))??;
        found.take(part);
    }
    load.stop()?;
    server.stop()?;
    for missed in found.missed.iter().take(SHOWN_MAX) {
        progress.step(&format!("NOT SUPPRESSED: {missed}"));
    }
    Ok(report(args, &found))
}

fn report(args: &BenchArgs, found: &Found) -> Report {
    let mut report = Report::new("decide");
    report.fact("seed", json!(args.seed));
    let ms = |latencies: &Latencies, permille| latencies.permille_ns(permille) as f64 / 1e6;
    report.goal("purchases_not_suppressed", found.missed.len() as f64);
    report.goal("suppressed_too_early", found.early as f64);
    report.goal("purchase_post_p99", ms(&found.posts, 990));
    report.detail_higher("purchases", "", found.purchases as f64);
    report.detail_higher("purchases_before_a_merge", "", found.late as f64);
    for (name, latencies) in [
        ("purchase_post", &found.posts),
        ("decide", &found.decides),
        ("purchase_200_to_suppressed", &found.to_suppressed),
    ] {
        report.detail(&format!("{name}_p50"), "ms", ms(latencies, 500));
        if name != "purchase_post" {
            report.detail(&format!("{name}_p99"), "ms", ms(latencies, 990));
        }
        report.detail(&format!("{name}_max"), "ms", latencies.max_ns() as f64 / 1e6);
    }
    report
}

impl Found {
    fn take(&mut self, part: Self) {
        self.purchases += part.purchases;
        self.late += part.late;
        self.early += part.early;
        self.missed.extend(part.missed);
        self.posts.merge(&part.posts);
        self.decides.merge(&part.decides);
        self.to_suppressed.merge(&part.to_suppressed);
    }
}

struct Buyer {
    number: u64,
    seed: Seed,
    ingest: Client,
    profiles: Client,
    found: Found,
}

/// A person's identifiers, as `type` and value.
struct Person {
    user: String,
    email: String,
    browsers: [String; 2],
}

impl Buyer {
    fn buy_all(&mut self, purchases: u64) -> anyhow::Result<()> {
        let mut person = None;
        for purchase in 0..purchases {
            if purchase % PURCHASES_EACH == 0 {
                person = Some(self.introduce(purchase / PURCHASES_EACH)?);
            }
            if let Some(person) = &person {
                self.buy(person, purchase)?;
            }
        }
        Ok(())
    }

    /// A person whose identifiers are joined.
    fn introduce(&mut self, number: u64) -> anyhow::Result<Person> {
        let name = format!("{}-{number}", self.number);
        let person = Person {
            user: format!("buyer-{name}"),
            email: format!("buyer{name}@shop.example"),
            browsers: [format!("laptop-{name}"), format!("phone-{name}")],
        };
        for browser in &person.browsers {
            self.identify(&person, browser)?;
        }
        Ok(person)
    }

    fn identify(&mut self, person: &Person, browser: &str) -> anyhow::Result<()> {
        let event = json!({
            "messageId": format!("identify-{browser}"), "userId": person.user, "anonymousId": browser,
            "traits": { "email": person.email },
        });
        self.post("/v1/identify", &event)
    }

    fn post(&mut self, path: &str, event: &Value) -> anyhow::Result<()> {
        let answer = post(&mut self.ingest, path, event.to_string().as_bytes())?;
        if answer.status != 200 {
            bail!("{path} answered {}: {}", answer.status, answer.quote());
        }
        Ok(())
    }

    fn buy(&mut self, person: &Person, purchase: u64) -> anyhow::Result<()> {
        let product = format!("product-{}-{purchase}", self.number);
        let asked = self.identifier_of(person);
        if self.ask(&asked, &product)?.0 {
            self.found.early += 1;
        }
        let is_last = purchase % PURCHASES_EACH == PURCHASES_EACH - 1;
        let late = is_last && self.seed.one_in(LATE_ONE_IN);
        let unknown = format!("new-{}-{purchase}", self.number);
        let (field, value) = match self.seed.below(2) {
            _ if late => ("anonymousId", &unknown),
            0 => ("userId", &person.user),
            _ => ("anonymousId", &person.browsers[0]),
        };
        let order = json!({
            "event": "Order Completed", "messageId": format!("order-{product}"), field: value,
            "properties": {
                "order_id": format!("order-{product}"), "revenue": 19.99, "currency": "EUR",
                "products": [{ "product_id": product, "price": 19.99, "quantity": 1 }],
            },
        });
        let started = Instant::now();
        self.post("/v1/track", &order)?;
        self.found.posts.add(ns(started));
        if late {
            self.identify(person, &unknown)?;
            self.found.late += 1;
        }
        let told = Instant::now();
        let (suppressed, why) = self.ask(&asked, &product)?;
        self.found.decides.add(ns(told));
        self.found.purchases += 1;
        if suppressed {
            self.found.to_suppressed.add(ns(told));
        } else {
            self.found
                .missed
                .push(format!("{product}, bought under {field} and asked under {}: {why}", asked.0));
        }
        Ok(())
    }

    /// One that no purchase is made under.
    fn identifier_of(&mut self, person: &Person) -> (&'static str, String) {
        if self.seed.one_in(2) {
            ("email", person.email.clone())
        } else {
            ("anonymous_id", person.browsers[1].clone())
        }
    }

    fn ask(&mut self, asked: &(&'static str, String), product: &str) -> anyhow::Result<(bool, String)> {
        let question =
            json!({ "identifiers": [{ "type": asked.0, "value": asked.1 }], "product_id": product });
        let path = "/v1/decide";
        let response = post(&mut self.profiles, path, question.to_string().as_bytes())?;
        let answer = json_of(path, &response)?;
        let suppressed = answer.get("suppressed").and_then(Value::as_bool).unwrap_or(false);
        Ok((suppressed, answer.to_string()))
    }
}

fn ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
