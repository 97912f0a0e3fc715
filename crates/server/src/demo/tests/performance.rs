//! The whole demo against a small server that keeps its promises, and against ones that break them.

use crate::demo::fixture::{Scratch, write_year};
use crate::demo::{DemoArgs, Stage, VerifyReport, demo};
use crate::http_client::stub::{self, Answer, Asked, reply};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a server can be bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Busy,
    ForgetsPurchases,
    SuppressesEverything,
    CountsTwice,
    LosesEvents,
    ConfusesPeople,
    MiscountsMoney,
    MiscountsTheLine,
    ReplaysDifferently,
    FindsTooFew,
    NeverFinds,
    DoesNotHold,
}

#[derive(Default)]
struct Shop {
    seen: BTreeSet<String>,
    duplicates: u64,
    requests: u64,
    log_time_us: i64,
    /// Who is logged in on a device, or was last.
    holders: BTreeMap<String, String>,
    people: BTreeMap<String, Person>,
    merges: u64,
    /// By name; the first people are in every one of them.
    audiences: BTreeMap<String, Value>,
    /// Impressions and clicks.
    ads: [i64; 2],
}

#[derive(Default)]
struct Person {
    events: u64,
    orders: BTreeMap<String, i64>,
    bought: BTreeSet<String>,
}

impl Shop {
    fn batch(&mut self, asked: &Asked, fault: Fault) -> Answer {
        self.requests += 1;
        if fault == Fault::Busy && self.requests.is_multiple_of(7) {
            return reply(503, "Retry-After: 0\r\n", r#"{"code":"busy","message":"wait"}"#);
        }
        let log_time_us: i64 = asked.header("x-throughline-log-time").parse().unwrap();
        assert!(log_time_us >= self.log_time_us, "log time goes back");
        self.log_time_us = log_time_us;
        let from_server = asked.header("authorization") == "Basic c2VydmVyOg==";
        assert!(from_server || asked.header("authorization") == "Basic YnJvd3Nlcjo=");
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        for event in body["batch"].as_array().unwrap() {
            self.event(event, from_server, fault);
        }
        reply(200, "", r#"{"success":true}"#)
    }

    fn event(&mut self, event: &Value, from_server: bool, fault: Fault) {
        if !self.seen.insert(event["messageId"].as_str().unwrap().to_owned()) {
            self.duplicates += 1;
            if fault != Fault::CountsTwice {
                return;
            }
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let sessions: Vec<String> =
            [&event["anonymousId"], &event["context"]["device"]["id"]].into_iter().filter_map(text).collect();
        let user = text(&event["userId"]);
        if let Some(user) = &user {
            for name in sessions.iter().cloned().chain(text(&event["traits"]["email"])) {
                // What a device did before anybody logged in becomes the first person's.
                if let Some(before) = self.people.remove(&name) {
                    self.merges += 1;
                    self.people.entry(user.clone()).or_default().events += before.events;
                }
                self.holders.insert(name, user.clone());
            }
        }
        let session =
            sessions.first().map(|name| self.holders.get(name).cloned().unwrap_or_else(|| name.clone()));
        let person = self.people.entry(user.or(session).unwrap()).or_default();
        if !(fault == Fault::LosesEvents && self.seen.len() == 1_000) {
            person.events += 1;
        }
        self.ads[0] += i64::from(event["event"] == "Ad Impression");
        self.ads[1] += i64::from(event["event"] == "Ad Click");
        if event["event"] == "Order Completed" && from_server {
            let properties = &event["properties"];
            let value = (properties["total"].as_f64().unwrap() * 100.0).round() as i64;
            let off = i64::from(fault == Fault::MiscountsMoney && self.seen.len() > 3_000);
            person.orders.insert(properties["order_id"].as_str().unwrap().to_owned(), value + off);
            for product in properties["products"].as_array().unwrap() {
                person.bought.insert(product["product_id"].as_str().unwrap().to_owned());
            }
        }
    }

    fn decide(&self, asked: &Asked, fault: Fault) -> Answer {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let product = body["product_id"].as_str().unwrap();
        let value = body["identifiers"][0]["value"].as_str().unwrap();
        if body["category"] == "CIGARETTES" && product == "never-sold" {
            let held = is_in_all(value) && fault != Fault::DoesNotHold;
            return reply(200, "", &json!({"suppressed": held, "why": "audience"}).to_string());
        }
        let who = self.holders.get(value);
        let bought = who.is_some_and(|user| self.people[user].bought.contains(product));
        let suppressed = match fault {
            Fault::ForgetsPurchases => bought && !self.seen.len().is_multiple_of(50),
            Fault::SuppressesEverything => true,
            _ => bought,
        };
        reply(200, "", &json!({"suppressed": suppressed, "why": "test"}).to_string())
    }

    fn lookup(&self, asked: &Asked, fault: Fault) -> Answer {
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        let value = body["identifier"]["value"].as_str().unwrap();
        let Some(person) = self.people.get(value) else { return reply(404, "", "{}") };
        let id = if fault == Fault::ConfusesPeople && value.ends_with('7') { "prf_same" } else { value };
        let value_minor: i64 = person.orders.values().sum();
        let revenue = json!([{"currency": "USD", "orders": person.orders.len(), "value_minor": value_minor}]);
        let profile = json!({
            "id": id, "events": person.events, "orders": person.orders.len(), "revenue": revenue,
            "audiences": if is_in_all(value) { self.names(fault) } else { Vec::new() },
        });
        reply(200, "", &profile.to_string())
    }

    fn names(&self, fault: Fault) -> Vec<&String> {
        self.audiences.keys().filter(|name| fault != Fault::FindsTooFew || !name.ends_with("late")).collect()
    }

    fn define(&mut self, asked: &Asked) -> Answer {
        let name = asked.path.strip_prefix("/admin/v1/audiences/").unwrap();
        self.audiences.insert(name.to_owned(), serde_json::from_slice(&asked.body).unwrap());
        reply(200, "", "{}")
    }

    fn list(&self, fault: Fault) -> Answer {
        let shown = |name: &String| {
            let few = fault == Fault::FindsTooFew && name.ends_with("late");
            let mut one = json!({"name": name, "members": if few { 1 } else { 2 }, "entries": 2, "exits": 0});
            if fault == Fault::NeverFinds && name.ends_with("late") {
                one["backfill"] = json!({});
            }
            one
        };
        reply(
            200,
            "",
            &json!({"audiences": self.audiences.keys().map(shown).collect::<Vec<_>>()}).to_string(),
        )
    }

    fn line(&self, fault: Fault) -> Answer {
        let orders: usize = self.people.values().map(|person| person.orders.len()).sum();
        let cash: i64 = self.people.values().flat_map(|person| person.orders.values()).sum();
        let mut shown = crate::line::types::LineShown::default();
        let counts = &mut shown.total.counts;
        let off = i64::from(fault == Fault::MiscountsTheLine);
        counts.insert("orders".to_owned(), orders as i64 + off);
        counts.insert("impressions".to_owned(), self.ads[0]);
        counts.insert("clicks".to_owned(), self.ads[1]);
        shown.total.throughput.cash_minor = cash;
        reply(200, "", &serde_json::to_string(&shown).unwrap())
    }

    fn status(&self) -> Answer {
        let next = self.seen.len();
        let status = json!({
            "durable_next": next, "applied_next": next, "duplicates": self.duplicates, "skipped": 0,
            "profiles": self.people.len(), "merges": self.merges, "suppressions_active": 1, "unknown": null,
        });
        reply(200, "", &status.to_string())
    }
}

fn is_in_all(who: &str) -> bool {
    who == "1000" || who == "1001"
}

struct Theatre {
    address: SocketAddr,
    exact: bool,
}

impl Stage for Theatre {
    fn ingest(&self) -> SocketAddr {
        self.address
    }
    fn profiles(&self) -> SocketAddr {
        self.address
    }
    fn admin(&self) -> SocketAddr {
        self.address
    }
    fn server_write_key(&self) -> &str {
        "server"
    }
    fn browser_write_key(&self) -> &str {
        "browser"
    }
    fn profile_token(&self) -> &str {
        "reader"
    }
    fn admin_token(&self) -> &str {
        "admin"
    }
    fn wait(&self) -> anyhow::Result<()> {
        Ok(())
    }
    fn close(self) -> anyhow::Result<()> {
        Ok(())
    }
    fn verify(&self) -> anyhow::Result<VerifyReport> {
        Ok(VerifyReport {
            records: 1,
            effects: 1,
            stretches: 1,
            state_digest: "a".into(),
            effects_digest: "b".into(),
            exact: self.exact,
            elapsed: Duration::from_secs(1),
        })
    }
}

fn open(fault: Fault) -> Theatre {
    let shop = Arc::new(Mutex::new(Shop::default()));
    let address = stub::start(move |asked| {
        let mut shop = shop.lock().unwrap();
        match asked.path.as_str() {
            "/v1/batch" => shop.batch(&asked, fault),
            "/v1/decide" => shop.decide(&asked, fault),
            "/v1/profiles/lookup" => shop.lookup(&asked, fault),
            "/admin/v1/status" => shop.status(),
            "/admin/v1/audiences" => shop.list(fault),
            "/admin/v1/settings/line" | "/admin/v1/destinations/ad-network" => reply(200, "", "{}"),
            path if path.starts_with("/admin/v1/metrics/line?") => shop.line(fault),
            path if path.starts_with("/admin/v1/audiences/") => shop.define(&asked),
            other => panic!("nobody asks for {other}"),
        }
    });
    Theatre { address, exact: fault != Fault::ReplaysDifferently }
}

fn perform(scratch: &Path, fault: Fault) -> (anyhow::Result<()>, Value) {
    let json = scratch.join(format!("{fault:?}.json"));
    let args = DemoArgs {
        data_from: Some(scratch.to_owned()),
        data: scratch.join("demo"),
        households: None,
        exit: true,
        json: Some(json.clone()),
        record: Some(scratch.join("record")),
        check_every: 5,
        connections: 3,
    };
    let result = demo(&args, |folder| {
        assert!(folder.is_dir());
        Ok(open(fault))
    });
    (result, serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap())
}

#[test]
fn a_server_that_keeps_its_promises_passes_and_every_broken_one_is_found() {
    let scratch = Scratch::new("performance");
    write_year(scratch.path(), 30);
    let cases = [
        (Fault::None, None),
        (Fault::Busy, None),
        (Fault::ForgetsPurchases, Some("purchases_not_suppressed")),
        (Fault::SuppressesEverything, Some("false_suppressions")),
        (Fault::CountsTwice, Some("events_lost")),
        (Fault::LosesEvents, Some("events_lost")),
        (Fault::ConfusesPeople, Some("people_confused")),
        (Fault::MiscountsMoney, Some("orders_miscounted")),
        (Fault::MiscountsTheLine, Some("the line counted other")),
        (Fault::ReplaysDifferently, Some("replay_differences")),
        (Fault::FindsTooFew, Some("twin")),
        (Fault::NeverFinds, Some("from the beginning")),
        (Fault::DoesNotHold, Some("audience that suppresses")),
    ];
    for (fault, named) in cases {
        let (result, json) = perform(scratch.path(), fault);
        assert_eq!(result.is_err(), named.is_some(), "{fault:?}: {result:?}");
        assert_eq!(json["bench"], "demo");
        let unmet: Vec<&str> = json["figures"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|figure| figure["goal"] == 0.0 && figure["met"] == false)
            .filter_map(|figure| figure["name"].as_str())
            .collect();
        match named {
            // What has no goal is only told.
            Some(words) if words.contains(' ') || words == "twin" => {
                assert!(format!("{result:?}").contains(words), "{result:?}");
            }
            Some(name) => assert!(unmet.contains(&name), "{fault:?}: {unmet:?}"),
            None => assert!(unmet.is_empty(), "{fault:?}: {unmet:?}"),
        }
    }
}

#[test]
fn a_refusal_ends_the_demo_with_what_the_door_said() {
    let scratch = Scratch::new("refusal");
    write_year(scratch.path(), 3);
    let address = stub::start(|asked| match asked.path.as_str() {
        "/admin/v1/status" => reply(200, "", "{}"),
        "/admin/v1/audiences" => reply(200, "", r#"{"audiences":[]}"#),
        path if path.starts_with("/admin/v1/audiences/") => reply(200, "", "{}"),
        _ => reply(401, "", r#"{"code":"bad_key","message":"unknown write key"}"#),
    });
    let args = DemoArgs {
        data_from: Some(scratch.path().to_owned()),
        data: scratch.path().join("demo"),
        households: None,
        exit: true,
        json: None,
        record: None,
        check_every: 20,
        connections: 4,
    };
    let error = demo(&args, |_| Ok(Theatre { address, exact: true })).unwrap_err();
    assert!(format!("{error:#}").contains("unknown write key"), "{error:#}");
}

#[test]
fn a_record_holds_all_that_was_sent_and_who_was_in_what_every_week() {
    let scratch = Scratch::new("record");
    write_year(scratch.path(), 12);
    let (result, _) = perform(scratch.path(), Fault::None);
    result.unwrap();
    let lines = |name: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(scratch.path().join("record").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (requests, tallies, members) =
        (lines("requests.ndjson"), lines("tallies.ndjson"), lines("members.ndjson"));
    assert!(requests.is_sorted_by_key(|one| one["log_time_us"].as_i64().unwrap()));
    let orders = requests.iter().flat_map(|one| one["sent"]["batch"].as_array().unwrap());
    let told = orders.filter(|event| event["event"] == "Order Completed" && event["anonymousId"].is_null());
    let different: BTreeSet<&str> = told.map(|event| event["messageId"].as_str().unwrap()).collect();
    assert_eq!(
        different.len() as i64,
        (0..52).map(|week| (0..12).filter(|one| (one + week) % 3 != 0).count() as i64).sum::<i64>()
    );
    let weeks: BTreeSet<i64> = tallies.iter().map(|one| one["log_time_us"].as_i64().unwrap()).collect();
    assert!(weeks.len() >= 52, "{}", weeks.len());
    assert_eq!(
        members.iter().map(|one| one["log_time_us"].as_i64().unwrap()).collect::<BTreeSet<_>>(),
        weeks
    );
    let definitions = lines("definitions.ndjson");
    let late: Vec<&Value> = definitions.iter().filter(|one| !one["twin"].is_null()).collect();
    assert!(
        late.len() >= 2
            && late.iter().all(|one| one["found_at_us"].as_i64() >= one["defined_at_us"].as_i64())
    );
    let last = weeks.last().unwrap();
    assert!(tallies.iter().filter(|one| one["log_time_us"] == *last).count() == definitions.len());
}
