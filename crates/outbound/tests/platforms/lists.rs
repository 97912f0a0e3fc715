//! Lists through real lanes: whatever gets lost, a platform's list is what it should be in the end, and only differences
//! are sent.

use crate::checks;
use crate::lanes::{Outbox, egress, fresh, identifiers, run, settled};
use crate::standin::{Manner, StandIn, Take};
use delivery::env::seeded::Seed;
use delivery::env::{Env, OpenMode};
use delivery::{Destination, Outcome};
use model::id::{Key, Position};
use outbound::platform::contact::{Contact, Personal};
use outbound::platform::{Keeping, Opened, PlatformConfig, criteo, google, meta};
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
    config.open(platform.name, &Env::real(), &egress(), &Keeping::in_clear(folder)).unwrap()
}

/// Everything that was said is acknowledged: platforms that answer later are asked, and what they failed to do is said
/// again.
async fn acknowledged(opened: &Opened) {
    let audiences = opened.audiences.as_ref().unwrap();
    let mut last = None;
    for _ in 0..1_000 {
        opened.destination.tend(false).await;
        if audiences.standing().await.unwrap().1 == 0 {
            return;
        }
        // A platform may still be busy.
        last = audiences.tell_unsettled().await.err();
        tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    }
    panic!("something is never acknowledged: {:?} {last:?}", audiences.standing().await);
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
        // Google's quota is kept, and questions about outcomes count.
        for round in 0..if platform.name == "google" { 3 } else { 6 } {
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
        acknowledged(&opened).await;
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
        let done = audiences.resync("buyers", false, Position(0), &mut first).await.unwrap();
        assert!(done.sent == 500 && done.wanted.agrees_with(&done.told), "{done:?}");
        assert_eq!(done.is_verified(), platform.name != "google", "{done:?}");
        acknowledged(&opened).await;
        let mut again = (100..520).map(person);
        let done = audiences.resync("buyers", false, Position(0), &mut again).await.unwrap();
        assert!(done.sent == 120 && done.wanted.agrees_with(&done.told), "{}: {done:?}", platform.name);
        acknowledged(&opened).await;
        // Somebody empties the list behind our back: only one that believes nothing repairs it.
        standin.held.lock().unwrap().lists.clear();
        let mut same = (100..520).map(person);
        let done = audiences.resync("buyers", true, Position(0), &mut same).await.unwrap();
        assert!(done.sent == 420 && done.wanted.agrees_with(&done.told), "{done:?}");
        acknowledged(&opened).await;
        let expected = |people: std::ops::Range<u128>| -> BTreeSet<String> {
            people.map(|number| (platform.member)(&format!("r{number}@shop.test"))).collect()
        };
        assert_eq!(standin.held.lock().unwrap().lists["111"], expected(100..520), "{}", platform.name);
        // An answer that gets lost ends it with an error; the next one goes on.
        standin.script([Manner::TakeAndHang]);
        let mut other = (300..600).map(person);
        let failed = audiences.resync("buyers", false, Position(0), &mut other).await.unwrap_err();
        assert!(failed.to_string().contains("timeout"), "{failed}");
        assert!(audiences.tell_unsettled().await.unwrap() > 0);
        let mut other = (300..600).map(person);
        audiences.resync("buyers", false, Position(0), &mut other).await.unwrap();
        acknowledged(&opened).await;
        let mut same = (300..600).map(person);
        let done = audiences.resync("buyers", false, Position(0), &mut same).await.unwrap();
        assert!(done.is_verified() && done.sent == 0, "{done:?}");
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
        let done = audiences.replace("buyers", 2_500, Position(0), &mut people).await.unwrap();
        assert!(done.wanted.agrees_with(&done.told), "{}: {done:?}", platform.name);
        let mut people = (2_000..2_600).map(person);
        let done = audiences.replace("buyers", 600, Position(0), &mut people).await.unwrap();
        assert!(done.wanted.agrees_with(&done.told), "{}: {done:?}", platform.name);
        acknowledged(&opened).await;
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
    let error = opened.audiences.unwrap().replace("buyers", 5, Position(0), &mut people).await.unwrap_err();
    assert!(error.to_string().contains("differences"), "{error}");
}

/// Google says later what became of a request; somebody has to ask.
#[tokio::test]
async fn outcomes_that_come_later_are_asked_for() {
    let standin = StandIn::start(checks::google_events, HEADER).await;
    let folder = fresh("requests");
    let open = || {
        let config = google::events::GoogleEventsConfig {
            base_url: standin.url(),
            ask_after_ms: 1,
            ..google::events::GoogleEventsConfig::new(
                outbound::webhook::Secret::new("t0ken"),
                google::GoogleAccount::ads("123"),
                "777",
            )
        };
        let keeping = Keeping::in_clear(&folder);
        google::events::GoogleEvents::new("google", config, &egress(), &Env::real(), &keeping).unwrap()
    };
    let events = open();
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
    // Another process asks on.
    drop(events);
    let events = open();
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

/// A platform that takes a request in and never does it: nothing of it counts as known, and it is said again.
#[tokio::test]
async fn what_a_request_failed_to_do_is_said_again() {
    let platform = PLATFORMS.iter().find(|platform| platform.name == "google").unwrap();
    let standin = StandIn::start(platform.take, HEADER).await;
    let opened = open(platform, &standin, &fresh("failed-later"));
    let audiences = opened.audiences.as_ref().unwrap();
    let outbox = Outbox::default();
    let data = json!({ "audience": "buyers", "identifiers": identifiers(&[("email", "ann@shop.test")]) });
    outbox.issue("audience.entered", 1, data);
    outbox.issue("audience.exited", 1, json!({ "audience": "buyers" }));
    let ann: BTreeSet<String> = [(platform.member)("ann@shop.test")].into();
    for (number, (parcel, expected)) in outbox.parcels().into_iter().zip([ann, BTreeSet::new()]).enumerate() {
        standin.held.lock().unwrap().fail_next = 1;
        assert_eq!(opened.destination.send(Arc::from([parcel]), 5_000).await, Outcome::Delivered);
        assert_eq!(audiences.standing().await.unwrap(), (1, 1), "nobody knows yet");
        // By itself, without anybody who asks for it.
        for _ in 0..1_000 {
            opened.destination.tend(false).await;
            let held = standin.held.lock().unwrap().lists.get("111").cloned().unwrap_or_default();
            if held == expected && standin.held.lock().unwrap().fail_next == 0 && number == 0 {
                break;
            }
            if number == 1 && audiences.standing().await.unwrap().1 == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let held = standin.held.lock().unwrap().lists.get("111").cloned().unwrap_or_default();
        assert_eq!(held, expected, "{number}");
        acknowledged(&opened).await;
    }
    assert_eq!(audiences.standing().await.unwrap(), (0, 0));
    assert!(standin.held.lock().unwrap().failed.len() == 2);
}

/// An answer got lost and then the process died: the next one says it again by itself.
#[tokio::test]
async fn what_was_on_the_wire_is_repeated_after_a_restart() {
    for platform in PLATFORMS {
        for manner in [Manner::TakeAndHang, Manner::Hang] {
            let standin = StandIn::start(platform.take, HEADER).await;
            let folder = fresh(&format!("repeated-{}", platform.name));
            let opened = open(platform, &standin, &folder);
            let outbox = Outbox::default();
            let data =
                json!({ "audience": "buyers", "identifiers": identifiers(&[("email", "ann@shop.test")]) });
            outbox.issue("audience.entered", 1, data);
            standin.script([manner]);
            let outcome = opened.destination.send(Arc::from(outbox.parcels()), 5_000).await;
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
            drop(opened);
            let opened = open(platform, &standin, &folder);
            opened.destination.tend(false).await;
            let held = standin.held.lock().unwrap().lists["111"].clone();
            assert_eq!(held, [(platform.member)("ann@shop.test")].into(), "{} {manner:?}", platform.name);
            acknowledged(&opened).await;
            standin.assert_no_complaints();
        }
    }
}

/// Who is erased leaves the platform by what it was told, and then the shadow; a platform that is down keeps them in it
/// until it is up, or until it has to be given up.
#[tokio::test]
async fn erased_people_leave_platform_and_shadow() {
    for platform in PLATFORMS {
        let standin = StandIn::start(platform.take, HEADER).await;
        let folder = fresh(&format!("forgotten-{}", platform.name));
        let opened = open(platform, &standin, &folder);
        let audiences = opened.audiences.as_ref().unwrap();
        let mut people = (1..5).map(person);
        audiences.resync("buyers", false, Position(3), &mut people).await.unwrap();
        acknowledged(&opened).await;
        let holds = |number: u128| {
            let path = folder.join(format!("{}.shadow", platform.name));
            let file = Env::real().disk.open(&path, OpenMode::Read).unwrap();
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read_exact_at(0, &mut bytes).unwrap();
            let key = [b"111".as_slice(), &number.to_le_bytes()].concat();
            bytes.windows(key.len()).any(|window| window == key)
        };
        let erased = |people: &[u128]| people.iter().map(|one| (Key(*one), Position(9))).collect();
        standin.script([Manner::Busy]);
        let done = audiences.forget(&erased(&[1, 77]), &BTreeSet::new()).await.unwrap();
        assert_eq!((done.left, done.abandoned), ([Key(1)].into(), vec![]), "{}", platform.name);
        assert!(done.reason.is_some() && holds(1));
        // Another process, and nobody said again who was erased: it is in the shadow.
        drop(opened);
        let opened = open(platform, &standin, &folder);
        let audiences = opened.audiences.as_ref().unwrap();
        opened.destination.tend(false).await;
        let members = standin.held.lock().unwrap().lists["111"].clone();
        assert!(!members.contains(&(platform.member)("r1@shop.test")) && members.len() == 3);
        acknowledged(&opened).await;
        let done = audiences.forget(&erased(&[1, 77]), &BTreeSet::new()).await.unwrap();
        assert_eq!(done, outbound::platform::audience::Forgotten::default(), "{}", platform.name);
        assert!(!holds(1) && holds(2), "{}", platform.name);
        // The time is over, and the platform is still down.
        standin.script([Manner::Busy]);
        let give_up = BTreeSet::from([Key(2)]);
        let done = audiences.forget(&erased(&[2, 3]), &give_up).await.unwrap();
        assert_eq!(done.abandoned, [("111".to_owned(), Key(2))], "{}", platform.name);
        assert_eq!(done.left, [Key(3)].into());
        assert!(!holds(2) && holds(3) && holds(4), "{}", platform.name);
        standin.assert_no_complaints();
    }
}
