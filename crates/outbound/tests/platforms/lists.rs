//! Lists through real lanes: whatever gets lost, a platform's list is what it should be in the end, and only differences
//! are sent.

use crate::checks;
use crate::lanes::{Outbox, egress, fresh, identifiers, run, settled};
use crate::standin::{Manner, StandIn, Take};
use delivery::env::Env;
use delivery::env::seeded::Seed;
use delivery::{Destination, Outcome};
use model::id::Key;
use outbound::platform::contact::{Contact, Personal};
use outbound::platform::{Opened, PlatformConfig, criteo, google, meta};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

struct Platform {
    name: &'static str,
    take: Take,
    config: fn(&str) -> Value,
    /// How the platform's list shows a person with this address.
    member: fn(&str) -> String,
}

const PLATFORMS: &[Platform] = &[
    Platform {
        name: "meta",
        take: checks::meta_audience,
        config: |url| {
            json!({ "platform": "meta_audience", "access_token": "t0ken", "lists": { "buyers": "111", "cart": "222" },
            "timeout_ms": 400, "base_url": url })
        },
        member: |email| {
            let hash = meta::normalise::hashed(meta::normalise::Field::Email, email).unwrap();
            json!([hash, "", "", "", "", "", "", ""]).to_string()
        },
    },
    Platform {
        name: "google",
        take: checks::google_audience,
        config: |url| {
            json!({ "platform": "google_audience", "access_token": "t0ken",
            "operating_account": { "account_id": "123" }, "lists": { "buyers": "111", "cart": "222" },
            "terms_accepted": true, "timeout_ms": 400, "ask_after_ms": 50, "base_url": url })
        },
        member: |email| {
            let hash = google::normalise::processed(google::normalise::Field::Email, email).unwrap();
            json!({ "emailAddress": hash }).to_string()
        },
    },
    Platform {
        name: "criteo",
        take: checks::criteo,
        config: |url| {
            json!({ "platform": "criteo_audience", "access_token": "t0ken",
            "lists": { "buyers": "111", "cart": "222" }, "timeout_ms": 400, "base_url": url })
        },
        member: |email| criteo::email(email).unwrap(),
    },
];

const HEADER: (&str, &str) = ("authorization", "Bearer t0ken");

fn open(platform: &Platform, standin: &StandIn, folder: &std::path::Path) -> Opened {
    let config: PlatformConfig = serde_json::from_value((platform.config)(&standin.url())).unwrap();
    config.open(platform.name, &Env::real(), &egress(), folder).unwrap()
}

/// What a person's list membership shall be: the addresses.
type Wanted = BTreeMap<(&'static str, u128), BTreeSet<String>>;

/// People enter, leave and change their addresses, in two audiences.
fn live(outbox: &Outbox, seed: &mut Seed, wanted: &mut Wanted, steps: u64) {
    for _ in 0..steps {
        let person = u128::from(seed.below(60));
        let audience = if seed.one_in(3) { "cart" } else { "buyers" };
        if seed.one_in(3) {
            outbox.issue("audience.exited", person, json!({ "audience": audience }));
            wanted.remove(&(audience, person));
        } else {
            let emails: BTreeSet<String> =
                (0..1 + seed.below(2)).map(|_| format!("p{person}-{}@shop.test", seed.below(3))).collect();
            let all: Vec<(&str, &str)> = emails.iter().map(|email| ("email", email.as_str())).collect();
            let data = json!({ "audience": audience, "identifiers": identifiers(&all) });
            outbox.issue("audience.entered", person, data);
            wanted.insert((audience, person), emails);
        }
    }
}

fn assert_lists(platform: &Platform, standin: &StandIn, wanted: &Wanted) {
    let held = standin.held.lock().unwrap();
    for (audience, list) in [("buyers", "111"), ("cart", "222")] {
        let emails = wanted.iter().filter(|((own, _), _)| *own == audience).flat_map(|(_, emails)| emails);
        let expected: BTreeSet<String> = emails.map(|email| (platform.member)(email)).collect();
        let actual = held.lists.get(list).cloned().unwrap_or_default();
        assert_eq!(actual, expected, "{}: {audience}", platform.name);
    }
}

#[tokio::test]
async fn lists_are_what_they_should_be_whatever_gets_lost() {
    for platform in PLATFORMS {
        let standin = StandIn::start(platform.take, HEADER).await;
        let opened = open(platform, &standin, &fresh(&format!("shadow-{}", platform.name)));
        let outbox = Arc::new(Outbox::default());
        let mut seed = Seed::new(7);
        let mut wanted = Wanted::new();
        let runner = run(&format!("lists-{}", platform.name), &opened, &outbox);
        for round in 0..6 {
            use Manner::{Busy, Hang, TakeAndBabble, TakeAndBreak, TakeAndHang, TakeTwice, Well};
            let all = [Busy, Hang, TakeAndHang, TakeAndBreak, TakeTwice, TakeAndBabble, Well, Well];
            standin.script((0..6).map(|_| all[seed.below(8) as usize]));
            live(&outbox, &mut seed, &mut wanted, 80);
            settled(&runner, &outbox).await;
            standin.script([]);
            let letters = runner.dead_letters(platform.name, None, 10).await.unwrap();
            assert!(letters.is_empty(), "round {round}: {letters:?}");
            assert_lists(platform, &standin, &wanted);
        }
        standin.assert_no_complaints();
        let audiences = opened.audiences.as_ref().unwrap();
        let summary = audiences.summary("buyers").await.unwrap();
        let people = wanted.keys().filter(|(audience, _)| *audience == "buyers").count() as u64;
        assert_eq!((summary.people, summary.unsettled), (people, 0), "{}", platform.name);
        // What is known already is not sent again.
        let calls = standin.held.lock().unwrap().calls;
        for ((audience, person), emails) in &wanted {
            let all: Vec<(&str, &str)> = emails.iter().map(|email| ("email", email.as_str())).collect();
            let data = json!({ "audience": audience, "identifiers": identifiers(&all) });
            outbox.issue("audience.entered", *person, data);
        }
        settled(&runner, &outbox).await;
        assert_eq!(standin.held.lock().unwrap().calls, calls, "{}: differences only", platform.name);
        runner.stop().await;
    }
}

/// The shadow outlives the process: who is gone is taken out by what was told, not by what is known now.
#[tokio::test]
async fn erased_and_merged_people_leave_by_what_was_told() {
    for platform in PLATFORMS {
        let standin = StandIn::start(platform.take, HEADER).await;
        let folder = fresh(&format!("erased-{}", platform.name));
        let outbox = Outbox::default();
        let enter = |person: u128, email: &str| {
            let data = json!({ "audience": "buyers", "identifiers": identifiers(&[("email", email)]) });
            outbox.issue("audience.entered", person, data);
        };
        enter(1, "one@shop.test");
        enter(2, "two@shop.test");
        enter(3, "three@shop.test");
        // Two people with one address: it goes when the second one goes.
        enter(4, "shared@shop.test");
        enter(5, "shared@shop.test");
        outbox.issue("profile.erased", 1, json!({ "identifiers": 3 }));
        outbox.issue("profile.merged", 3, json!({ "from": "prf_00000000000000000000000000000002" }));
        outbox.issue("audience.exited", 4, json!({ "audience": "buyers" }));
        outbox.issue("audience.exited", 9, json!({ "audience": "buyers" }));
        // Who withdraws consent leaves with the next word about them.
        enter(8, "eight@shop.test");
        let denied = json!({ "ad_user_data": "denied" });
        let eight = identifiers(&[("email", "eight@shop.test")]);
        outbox.issue(
            "audience.entered",
            8,
            json!({ "audience": "buyers", "identifiers": eight, "consent": denied }),
        );
        outbox.issue("audience.entered", 6, json!({ "audience": "nobody's", "identifiers": [] }));
        outbox.issue("audience.entered", 6, json!({ "audience": "buyers", "identifiers": [] }));
        outbox.issue("suppression.started", 6, json!({}));
        let parcels = outbox.parcels();
        // All at once: what an erasure takes along was said in the same breath.
        let at_once = StandIn::start(platform.take, HEADER).await;
        let opened = open(platform, &at_once, &fresh(&format!("erased-at-once-{}", platform.name)));
        let outcome = opened.destination.send(Arc::from(parcels.clone()), 5_000).await;
        assert_eq!(outcome, Outcome::Refused { reason: "taken_apart".to_owned() }, "{}", platform.name);
        let mut outcomes = Vec::new();
        for parcel in parcels {
            // Another process for each message.
            let opened = open(platform, &standin, &folder);
            outcomes.push(opened.destination.send(Arc::from([parcel]), 5_000).await);
        }
        let refused = |reason: &str| Outcome::Refused { reason: reason.to_owned() };
        let last =
            [refused("no_list_for_audience"), refused("nothing_to_match"), refused("kind_not_for_lists")];
        assert_eq!(outcomes[..11], vec![Outcome::Delivered; 11], "{}", platform.name);
        assert_eq!(outcomes[11..], last, "{}", platform.name);
        let expected: BTreeSet<String> = ["two@shop.test", "three@shop.test", "shared@shop.test"]
            .map(|email| (platform.member)(email))
            .into();
        assert_eq!(standin.held.lock().unwrap().lists["111"], expected, "{}", platform.name);
        assert_eq!(at_once.held.lock().unwrap().lists["111"], expected, "{} at once", platform.name);
        standin.assert_no_complaints();
        at_once.assert_no_complaints();
    }
}

fn person(number: u128) -> (Key, Contact) {
    let emails = vec![Personal::new(format!("r{number}@shop.test"))];
    (Key(number), Contact { emails, ..Contact::default() })
}

#[tokio::test]
async fn a_resync_sends_what_is_missing_and_proves_it() {
    for platform in PLATFORMS {
        let standin = StandIn::start(platform.take, HEADER).await;
        let opened = open(platform, &standin, &fresh(&format!("resync-{}", platform.name)));
        let audiences = opened.audiences.as_ref().unwrap();
        let mut first = (0..500).map(person);
        let done = audiences.resync("buyers", false, &mut || first.next()).await.unwrap();
        assert!(done.is_verified() && done.sent == 500, "{done:?}");
        let mut again = (100..520).map(person);
        let done = audiences.resync("buyers", false, &mut || again.next()).await.unwrap();
        assert!(done.is_verified() && done.sent == 120, "{}: {done:?}", platform.name);
        // Somebody empties the list behind our back: only one that believes nothing repairs it.
        standin.held.lock().unwrap().lists.clear();
        let mut same = (100..520).map(person);
        let done = audiences.resync("buyers", true, &mut || same.next()).await.unwrap();
        assert!(done.is_verified() && done.sent == 420, "{done:?}");
        let expected = |people: std::ops::Range<u128>| -> BTreeSet<String> {
            people.map(|number| (platform.member)(&format!("r{number}@shop.test"))).collect()
        };
        assert_eq!(standin.held.lock().unwrap().lists["111"], expected(100..520), "{}", platform.name);
        // An answer that gets lost ends it with an error; the next one goes on.
        standin.script([Manner::TakeAndHang]);
        let mut other = (300..600).map(person);
        let failed = audiences.resync("buyers", false, &mut || other.next()).await.unwrap_err();
        assert!(failed.to_string().contains("timeout"), "{failed}");
        assert!(audiences.tell_unsettled().await.unwrap() > 0);
        let mut other = (300..600).map(person);
        let done = audiences.resync("buyers", false, &mut || other.next()).await.unwrap();
        assert!(done.is_verified(), "{done:?}");
        assert_eq!(standin.held.lock().unwrap().lists["111"], expected(300..600), "{}", platform.name);
        standin.assert_no_complaints();
    }
}

#[tokio::test]
async fn a_replacement_takes_out_also_what_nobody_here_knows_of() {
    for platform in PLATFORMS.iter().filter(|platform| platform.name != "criteo") {
        let standin = StandIn::start(platform.take, HEADER).await;
        let opened = open(platform, &standin, &fresh(&format!("replace-{}", platform.name)));
        let audiences = opened.audiences.as_ref().unwrap();
        let foreign = (platform.member)("uploaded-by-hand@shop.test");
        standin.held.lock().unwrap().lists.entry("111".to_owned()).or_default().insert(foreign);
        let mut people = (0..2_500).map(person);
        let done = audiences.replace("buyers", 2_500, &mut || people.next()).await.unwrap();
        assert!(done.is_verified(), "{}: {done:?}", platform.name);
        let mut people = (2_000..2_600).map(person);
        let done = audiences.replace("buyers", 600, &mut || people.next()).await.unwrap();
        assert!(done.is_verified(), "{}: {done:?}", platform.name);
        let expected: BTreeSet<String> =
            (2_000..2_600).map(|number| (platform.member)(&format!("r{number}@shop.test"))).collect();
        let held = standin.held.lock().unwrap();
        assert_eq!(held.lists["111"], expected, "{}", platform.name);
        drop(held);
        standin.assert_no_complaints();
    }
    let platform = PLATFORMS.iter().find(|platform| platform.name == "criteo").unwrap();
    let standin = StandIn::start(platform.take, HEADER).await;
    let opened = open(platform, &standin, &fresh("replace-criteo"));
    let mut people = (0..5).map(person);
    let error = opened.audiences.unwrap().replace("buyers", 5, &mut || people.next()).await.unwrap_err();
    assert!(error.to_string().contains("differences"), "{error}");
}

/// Google says later what became of a request; somebody has to ask.
#[tokio::test]
async fn outcomes_that_come_later_are_asked_for() {
    let standin = StandIn::start(checks::google_events, HEADER).await;
    let config = google::events::GoogleEventsConfig {
        base_url: standin.url(),
        ask_after_ms: 1,
        ..google::events::GoogleEventsConfig::new(
            outbound::webhook::Secret::new("t0ken"),
            google::GoogleAccount::ads("123"),
            "777",
        )
    };
    let events = google::events::GoogleEvents::new("google", config, &egress(), Env::real().clock).unwrap();
    let outbox = Outbox::default();
    let now = outbound::render::format_instant(model::id::Timestamp(Env::real().clock.now_us()));
    for number in 0..6_u32 {
        let event = json!({ "name": "Order Completed", "id": number.to_string(), "occurred_at": now });
        let data = json!({ "identifiers": identifiers(&[("email", "ann@shop.test")]), "event": event });
        outbox.issue("event.accepted", 1, data);
    }
    for parcel in outbox.parcels() {
        assert_eq!(events.send(Arc::from([parcel]), 5_000).await, Outcome::Delivered);
    }
    let heard = || {
        let of = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        (of(&events.counters().settled), of(&events.counters().failed_later))
    };
    for _ in 0..200 {
        events.tend(false).await;
        if heard() == (4, 2) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(heard(), (4, 2));
    assert!(standin.held.lock().unwrap().requests.values().all(|asked| *asked == 2));
}
