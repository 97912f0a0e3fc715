//! The story, held against the data and against itself.

mod performance;

use super::fixture::{Scratch, write_year};
use super::retail::Retail;
use super::slices::{Slicer, Tally};
use super::story::{Door, Planned, Story, What};
use crate::calendar::HOUR_US;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

fn fixture(name: &str, households: i64) -> (Scratch, Retail, u64, i64) {
    let scratch = Scratch::new(name);
    let (orders, value_minor) = write_year(scratch.path(), households);
    let retail = Retail::load(scratch.path(), None).unwrap();
    (scratch, retail, orders, value_minor)
}

/// The real files, where this machine has them.
fn real() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let shared = std::env::var("THROUGHLINE_SHARED_DATA").unwrap_or_else(|_| default.to_owned());
    let folder = PathBuf::from(shared).join("completejourney");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no {}: set THROUGHLINE_SHARED_DATA to test with the real data", folder.display());
    None
}

fn minor(value: &Value) -> i64 {
    let text = value.to_string();
    // Parsing has dropped trailing zeros.
    let (whole, cents) = text.split_once('.').unwrap();
    assert!((1..=2).contains(&cents.len()), "{text}");
    format!("{whole}{cents:0<2}").parse().unwrap()
}

/// Everything that must hold of any story, checked in one pass.
#[derive(Default)]
struct Checker {
    tally: Tally,
    last_us: i64,
    orders: BTreeSet<String>,
    orders_minor: i64,
    ids: BTreeMap<String, (i64, u64)>,
    /// When an identifier was first said together with a user.
    tied: BTreeSet<(String, String)>,
    questions: u64,
    kinds: BTreeSet<&'static str>,
    hash: xxhash_rust::xxh3::Xxh3,
}

impl Checker {
    fn take(&mut self, event: &Planned) {
        assert!(event.sent_at_us >= self.last_us, "time goes back");
        self.last_us = event.sent_at_us;
        self.hash.update(&event.sent_at_us.to_le_bytes());
        self.hash.update(&event.json);
        self.hash.update(format!("{} {:?}", event.circle, event.question).as_bytes());
        self.tally.sent += 1;
        let json: Value = serde_json::from_slice(&event.json).unwrap();
        let (at_us, bytes) = (event.sent_at_us, hash_of(&event.json));
        let earlier = self.ids.insert(json["messageId"].as_str().unwrap().to_owned(), (at_us, bytes));
        assert_eq!(earlier.is_some(), event.repeated);
        if let Some((first_us, same)) = earlier {
            assert!(same == bytes && at_us > first_us && at_us - first_us <= 16 * HOUR_US);
            self.tally.repeated += 1;
            return;
        }
        if event.what == What::LoggedIn {
            self.tally.logged_in += 1;
            assert_eq!(json["type"], "identify");
        }
        self.tie(&json);
        if let What::Order { total_minor } = event.what {
            assert_eq!(event.door, Door::Server);
            self.order(&json, total_minor);
        }
        if let Some(question) = &event.question {
            self.questions += 1;
            let (kind, value) = &question.identifier;
            self.kinds.insert(kind);
            let user = json["userId"].as_str().unwrap().to_owned();
            assert!(
                self.tied.contains(&(value.clone(), user)),
                "asked for an identifier nobody tied: {question:?}"
            );
            let products = json["properties"]["products"].as_array().unwrap();
            let asked = question.product_id.to_string();
            assert!(products.iter().any(|product| product["product_id"] == asked.as_str()));
        }
    }

    fn tie(&mut self, json: &Value) {
        let Some(user) = json["userId"].as_str() else { return };
        let said = [&json["anonymousId"], &json["context"]["device"]["id"], &json["traits"]["email"]];
        for value in said.into_iter().filter_map(Value::as_str) {
            self.tied.insert((value.to_owned(), user.to_owned()));
        }
    }

    fn order(&mut self, json: &Value, total_minor: i64) {
        let properties = &json["properties"];
        assert_eq!(json["event"], "Order Completed");
        assert!(
            self.orders.insert(properties["order_id"].as_str().unwrap().to_owned()),
            "an order is told twice"
        );
        assert_eq!(minor(&properties["total"]), total_minor);
        let lines = properties["products"].as_array().unwrap();
        let sum: i64 =
            lines.iter().map(|line| minor(&line["price"]) * line["quantity"].as_i64().unwrap()).sum();
        assert_eq!(sum, total_minor, "the products of an order do not add up to it");
        self.orders_minor += total_minor;
    }
}

fn hash_of(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

fn check(retail: &Retail) -> Checker {
    let mut checker = Checker { last_us: i64::MIN, ..Checker::default() };
    for event in Story::new(retail, Arc::default()) {
        checker.take(&event);
    }
    checker
}

#[test]
fn a_story_tells_every_order_once_in_order_of_time_to_the_cent() {
    let (_scratch, retail, orders, value_minor) = fixture("story", 200);
    let checker = check(&retail);
    assert_eq!((checker.orders.len() as u64, checker.orders_minor), (orders, value_minor));
    assert!(checker.tally.repeated > 20 && checker.tally.logged_in > 400);
    assert!(checker.questions > orders / 2, "{} of {orders} orders can be asked about", checker.questions);
    assert_eq!(checker.kinds.into_iter().collect::<Vec<_>>(), ["anonymous_id", "device_id", "email"]);
}

#[test]
fn the_same_data_tell_the_same_story_and_other_data_another() {
    let hash = |households| check(&fixture("same", households).1).hash.digest();
    let first = hash(30);
    assert_eq!(first, hash(30));
    assert_ne!(first, hash(31));
    // Whoever changes the story on purpose writes the new number here.
    assert_eq!(first, 1_595_597_993_623_106_330, "the story has changed");
}

#[test]
fn a_part_of_the_households_is_always_the_same_part() {
    let scratch = Scratch::new("part");
    write_year(scratch.path(), 60);
    let some = |count| Retail::load(scratch.path(), Some(count)).unwrap();
    let (ten, twenty, all) = (some(10), some(20), some(1_000));
    assert_eq!((ten.households.len(), twenty.households.len(), all.households.len()), (10, 20, 60));
    assert_eq!(ten.households, some(10).households);
    assert!(ten.households.iter().all(|household| twenty.households.contains(household)));
    let of = |retail: &Retail, household: u32| {
        let index = retail.households.binary_search(&household).unwrap();
        let baskets = retail.baskets.iter().filter(|basket| basket.household == index);
        baskets.map(|basket| retail.total_minor(basket)).collect::<Vec<_>>()
    };
    for household in &ten.households {
        assert_eq!(of(&ten, *household), of(&all, *household));
    }
}

#[test]
fn slices_hold_the_whole_story_once_and_log_time_never_goes_back() {
    let (_scratch, retail, _, _) = fixture("slices", 90);
    let story: Vec<Planned> = Story::new(&retail, Arc::default()).collect();
    for (lanes, ask_every) in [(1, 1), (4, 20), (7, 3)] {
        let mut slicer = Slicer::new(Story::new(&retail, Arc::default()), lanes, ask_every);
        let mut times = BTreeMap::new();
        let (mut last_us, mut sent, mut questions) = (i64::MIN, Vec::new(), 0);
        let mut lane_of = BTreeMap::new();
        for slice in slicer.by_ref() {
            assert!(slice.log_time_us >= last_us && slice.log_time_us % 1_000 == 0);
            last_us = slice.log_time_us;
            for (lane, batches) in slice.lanes.iter().enumerate() {
                assert!(
                    batches.is_sorted_by_key(|batch| batch.door == Door::Server),
                    "the server speaks last"
                );
                for batch in batches {
                    let body: Value = serde_json::from_slice(&batch.body).unwrap();
                    assert_eq!(body["sentAt"], crate::calendar::iso(slice.log_time_us));
                    let events = body["batch"].as_array().unwrap();
                    assert!(events.len() as u64 == batch.events && (1..=100).contains(&events.len()));
                    questions += u64::from(batch.question.is_some());
                    for event in events {
                        let at = event["timestamp"].as_str().unwrap();
                        assert!(at <= body["sentAt"].as_str().unwrap(), "sent before it happened");
                        times.insert(slice.log_time_us, at.to_owned());
                        sent.push(event["messageId"].as_str().unwrap().to_owned());
                        if let Some(anonymous_id) = event["anonymousId"].as_str() {
                            let own = *lane_of.entry(anonymous_id.to_owned()).or_insert(lane);
                            assert_eq!(own, lane, "a device on two connections");
                        }
                    }
                    if let Some(question) = &batch.question {
                        let last = &events[events.len() - 1]["properties"];
                        assert_eq!(last["order_id"], question.order_id.to_string(), "asked too late");
                    }
                }
            }
        }
        let id = |event: &Planned| {
            let json: Value = serde_json::from_slice(&event.json).unwrap();
            json["messageId"].as_str().unwrap().to_owned()
        };
        let mut expected: Vec<String> = story.iter().map(id).collect();
        expected.sort_unstable();
        sent.sort_unstable();
        assert_eq!(sent, expected);
        assert_eq!(slicer.tally.sent as usize, story.len());
        let askable = story.iter().filter(|event| event.question.is_some()).count() as u64;
        assert_eq!((questions, slicer.tally.questions), (askable.div_ceil(ask_every), questions));
    }
}

#[test]
fn damaged_data_are_named() {
    let scratch = Scratch::new("damaged");
    let told = || format!("{:#}", Retail::load(scratch.path(), None).unwrap_err());
    assert!(told().contains("transactions.parquet"));
    write_year(scratch.path(), 3);
    std::fs::copy(scratch.path().join("products.parquet"), scratch.path().join("campaigns.parquet")).unwrap();
    assert!(told().contains("no column household_id"));
    std::fs::write(scratch.path().join("transactions.parquet"), b"PAR1 no").unwrap();
    assert!(told().contains("no Parquet file"));
}

#[test]
fn the_real_data_are_told_to_the_cent() {
    let Some(folder) = real() else { return };
    let retail = Retail::load(&folder, None).unwrap();
    let checker = check(&retail);
    assert_eq!(checker.orders.len(), retail.baskets.len());
    // What a column sum of the files says.
    let known = BTreeMap::from([(107_542, 315_912_246), (155_848, 459_603_958)]);
    assert_eq!(known.get(&retail.baskets.len()), Some(&checker.orders_minor));
    assert!(checker.questions > 90_000);
    println!("{} events, {} repeated", checker.tally.sent, checker.tally.repeated);
}
