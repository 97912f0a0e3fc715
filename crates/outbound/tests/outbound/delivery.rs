//! The whole way: sources, core, journal on a real disk, webhooks and files, with receivers that fail.

#![allow(clippy::disallowed_methods, reason = "tests clear their folders")]

use crate::receiver::{Manner, Receiver};
use crate::webhooks::{SECRET, egress, parcel};
use delivery::env::Env;
use delivery::{
    BreakerState, Class, LaneOptions, LaneParts, Later, Parcel, Permit, PermitRequest, Permits, RetryOptions,
    Runner, RunnerOptions, Source, SourceError, Supply,
};
use model::id::{EffectId, Key};
use outbound::ndjson::{Ndjson, NdjsonConfig};
use outbound::webhook::{Secret, Webhook, WebhookConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Effects that can be added to while they are read.
#[derive(Default)]
struct Outbox(Mutex<Vec<Parcel>>);

impl Outbox {
    fn issue(&self, count: u64, subjects: u64, class: Class) {
        let mut parcels = self.0.lock().unwrap();
        let first = parcels.len() as u64 + 1;
        parcels.extend((first..first + count).map(|position| parcel(position, position % subjects, class)));
    }

    fn len(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn last(&self) -> Option<EffectId> {
        self.0.lock().unwrap().last().map(|parcel| parcel.id)
    }
}

impl Source for Outbox {
    fn after(&self, after: Option<EffectId>, limit: usize) -> Later<'_, Result<Supply, SourceError>> {
        let parcels = self.0.lock().unwrap();
        let from = parcels.partition_point(|parcel| Some(parcel.id) <= after);
        let found = parcels[from..].iter().take(limit).cloned().collect();
        Box::pin(std::future::ready(Ok(Supply { parcels: found, ..Supply::default() })))
    }
}

/// Refuses every position that ends in 7, and counts.
#[derive(Default)]
struct Judge {
    asked: AtomicU64,
    refuse_sevens: bool,
    /// Subjects whose permits would be refused from now on.
    bought: Mutex<BTreeSet<Key>>,
}

impl Permits for Judge {
    fn request(&self, _destination: &str, requests: Vec<PermitRequest>) -> Later<'_, Vec<Permit>> {
        self.asked.fetch_add(requests.len() as u64, Ordering::Relaxed);
        let permits = requests.iter().map(|request| {
            if self.refuse_sevens && request.parcel.id.position.0 % 10 == 7 {
                Permit::Refused { reason: "bought".to_owned() }
            } else {
                Permit::Granted
            }
        });
        Box::pin(std::future::ready(permits.collect()))
    }

    fn crossed(&self, _destination: &str, parcels: Arc<[Parcel]>) -> Later<'_, u64> {
        let bought = self.bought.lock().unwrap();
        let crossed = parcels.iter().filter(|parcel| bought.contains(&parcel.subject)).count() as u64;
        Box::pin(std::future::ready(crossed))
    }
}

fn fresh(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

fn quick(options: LaneOptions) -> LaneOptions {
    let retry = RetryOptions { first_ms: 20, longest_ms: 200, ..options.retry };
    LaneOptions { retry, ..options }
}

fn hook(name: &str, receiver: &Receiver, outbox: &Arc<Outbox>) -> LaneParts {
    let mut config = WebhookConfig::new(&receiver.url(), Secret::new(SECRET));
    config.timeout_ms = 500;
    let options = quick(config.lane(name));
    let webhook = Webhook::new(name, config, &egress(), Env::real().clock).unwrap();
    LaneParts { options, source: Arc::clone(outbox) as Arc<dyn Source>, destination: Arc::new(webhook) }
}

async fn settled(runner: &Runner, outbox: &Outbox) {
    let mut through = runner.settled_through();
    let last = outbox.last();
    let done = through.wait_for(|through| *through >= last);
    // What gathered during a long outage takes its time.
    let patience = Duration::from_secs(60 + outage_s());
    let result = tokio::time::timeout(patience, done).await.map(|result| result.is_ok());
    assert_eq!(result, Ok(true), "{:#?}", runner.statuses());
}

/// Positions that a receiver accepted, by subject, in the order of their first arrival.
fn accepted(receiver: &Receiver) -> BTreeMap<u64, Vec<u64>> {
    let mut seen = BTreeSet::new();
    let mut by_subject: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for got in receiver.got().into_iter().filter(|got| got.status < 300 && got.status > 0) {
        let value: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        let (subject, position) = (value["subject"].as_u64().unwrap(), value["position"].as_u64().unwrap());
        assert_eq!(got.header("webhook-id"), format!("eff_{position}_0"));
        if seen.insert(position) {
            by_subject.entry(subject).or_default().push(position);
        }
    }
    by_subject
}

fn assert_complete(by_subject: &BTreeMap<u64, Vec<u64>>, count: u64) {
    assert_eq!(by_subject.values().map(Vec::len).sum::<usize>() as u64, count);
    for (subject, positions) in by_subject {
        assert!(positions.is_sorted(), "subject {subject} is out of order: {positions:?}");
    }
}

/// How long one of the five is dead; 600 for the proof in full: `DELIVERY_OUTAGE_SECONDS=600`.
fn outage_s() -> u64 {
    std::env::var("DELIVERY_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

#[tokio::test(flavor = "current_thread")]
async fn a_dead_destination_among_five_delays_only_itself_and_gets_everything_in_the_end() {
    let outbox = Arc::new(Outbox::default());
    let mut receivers = Vec::new();
    for _ in 0..5 {
        receivers.push(Receiver::start(Manner::Answer(204, None)).await);
    }
    let names = ["zero", "one", "two", "three", "four"];
    let lanes = names.iter().zip(&receivers).map(|(name, receiver)| hook(name, receiver, &outbox)).collect();
    let folder = fresh("five");
    let runner =
        delivery::run(&Env::real(), RunnerOptions::at(&folder), lanes, Arc::new(Judge::default())).unwrap();
    let issue = async |seconds: u64| {
        for _ in 0..seconds * 10 {
            outbox.issue(20, 50, Class::Transactional);
            runner.nudge();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    // What is usual shows within seconds, however long the outage is.
    issue(outage_s().min(10)).await;
    let before: Vec<_> = runner.statuses().iter().map(|status| status.lag.clone()).collect();
    for (round, manner) in [Manner::Hang, Manner::Answer(503, None), Manner::Break].into_iter().enumerate() {
        receivers[4].set(manner);
        issue(outage_s().div_ceil(3)).await;
        assert!(runner.statuses()[4].delivered < outbox.len(), "round {round}: the dead one is not dead");
    }
    for (status, before) in runner.statuses().iter().zip(&before).take(4) {
        let during: Vec<u64> =
            status.lag.buckets.iter().zip(&before.buckets).map(|(now, then)| now - then).collect();
        // p99 stays in the buckets below half a second, which the dead one's time-outs alone exceed.
        let (slow, all): (u64, u64) = (during.iter().skip(10).sum(), during.iter().sum());
        assert!(
            all > 0 && slow * 100 <= all,
            "{}: {slow} of {all} took more than 512 ms: {during:?}",
            status.name
        );
        assert!(status.held_parcels < 100, "{} falls behind", status.name);
    }
    assert_ne!(runner.statuses()[4].breaker, Some(BreakerState::Closed));
    receivers[4].set(Manner::Answer(204, None));
    settled(&runner, &outbox).await;
    let sent = outbox.len();
    for receiver in &receivers {
        assert_complete(&accepted(receiver), sent);
    }
    for receiver in &receivers[..4] {
        assert_eq!(receiver.got().len() as u64, sent, "a healthy one got something twice");
    }
    eprintln!(
        "{:?}",
        runner.statuses().iter().map(|status| (&status.name, status.lag.quantile_ms(99))).collect::<Vec<_>>()
    );
    runner.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn permits_dead_letters_and_commands() {
    let outbox = Arc::new(Outbox::default());
    let receiver = Receiver::start(Manner::Answer(400, None)).await;
    let judge = Arc::new(Judge { refuse_sevens: true, ..Judge::default() });
    let folder = fresh("letters");
    let start = || {
        let lanes = vec![hook("hook", &receiver, &outbox)];
        delivery::run(&Env::real(), RunnerOptions::at(&folder), lanes, Arc::clone(&judge) as Arc<dyn Permits>)
            .unwrap()
    };
    let runner = start();
    outbox.issue(30, 5, Class::Transactional);
    settled(&runner, &outbox).await;
    let letters = runner.dead_letters("hook", None, 100).await.unwrap();
    assert_eq!(letters.len(), 27);
    assert!(letters.iter().all(|letter| letter.detail == "http_400" && letter.attempts == 1));
    assert_eq!(runner.dead_letters("hook", Some(letters[9].parcel.id), 5).await.unwrap()[0], letters[10]);
    assert_eq!(runner.dead_letters("nobody", None, 1).await.unwrap_err().code(), "no_such_destination");
    runner.stop().await;
    assert_eq!(runner.resend("hook", letters[0].parcel.id).await.unwrap_err().code(), "delivery_stopped");
    let status = &runner.statuses()[0];
    assert_eq!((status.permit_refusals["bought"], status.dead["refused"], status.dead_letters), (3, 27, 27));

    // They survive; the source is not asked for them again.
    receiver.set(Manner::Answer(200, None));
    let runner = start();
    runner.discard("hook", letters[0].parcel.id).await.unwrap();
    assert_eq!(runner.discard("hook", letters[0].parcel.id).await.unwrap_err().code(), "no_such_dead_letter");
    for letter in &letters[1..10] {
        runner.resend("hook", letter.parcel.id).await.unwrap();
    }
    let subjects = BTreeMap::from([(letters[20].parcel.subject, letters[26].parcel.id)]);
    let forgotten = runner.forget(Arc::new(subjects)).await.unwrap().forgotten;
    assert!(forgotten > 0);
    for _ in 0..200 {
        let status = &runner.statuses()[0];
        if status.delivered == 9 && status.dead_letters == 27 - 10 - forgotten {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = &runner.statuses()[0];
    assert_eq!((status.delivered, status.dead_letters), (9, 17 - forgotten), "{status:#?}");
    assert_eq!(judge.asked.load(Ordering::Relaxed), 30 + 9, "a re-send without a permit");
    let journal = std::fs::read(folder.join("delivery.journal")).unwrap();
    let bodies = letters.iter().filter(|letter| {
        journal.windows(letter.parcel.body.len()).any(|window| window == &letter.parcel.body[..])
    });
    assert!(bodies.count() < 27, "the journal still holds what was forgotten");
    runner.stop().await;
}

/// What is on the wire when something commits that would have refused it is counted, whatever becomes of it.
#[tokio::test(flavor = "current_thread")]
async fn what_is_crossed_on_the_wire_is_counted() {
    let outbox = Arc::new(Outbox::default());
    let receiver = Receiver::start(Manner::Hang).await;
    let judge = Arc::new(Judge::default());
    let lanes = vec![hook("hook", &receiver, &outbox)];
    let permits = Arc::clone(&judge) as Arc<dyn Permits>;
    let runner = delivery::run(&Env::real(), RunnerOptions::at(fresh("crossed")), lanes, permits).unwrap();
    outbox.issue(4, 4, Class::Marketing);
    while receiver.got().len() < 4 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    judge.bought.lock().unwrap().extend([Key(1), Key(3)]);
    settled(&runner, &outbox).await;
    for _ in 0..200 {
        if runner.statuses()[0].crossed == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = &runner.statuses()[0];
    assert_eq!((status.crossed, status.failed_attempts, status.dead_letters), (2, 4, 4), "{status:#?}");
    runner.stop().await;
}

/// One lane is changed, added, removed, while another has a request on the wire that takes its time.
#[tokio::test(flavor = "current_thread")]
async fn a_lane_that_changes_is_not_felt_by_another() {
    let outbox = Arc::new(Outbox::default());
    let (steady, changing) =
        (Receiver::start(Manner::Hang).await, Receiver::start(Manner::Answer(204, None)).await);
    let lanes = vec![hook("steady", &steady, &outbox), hook("changing", &changing, &outbox)];
    let options = RunnerOptions::at(fresh("changing"));
    let runner = delivery::run(&Env::real(), options, lanes, Arc::new(Judge::default())).unwrap();
    outbox.issue(10, 10, Class::Marketing);
    while steady.got().len() < 10 || runner.statuses()[1].delivered < 10 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for round in 0..5 {
        runner.close("changing").await.unwrap();
        let statuses = runner.statuses();
        let closed = statuses.iter().find(|status| status.name == "changing").unwrap();
        assert_eq!((closed.open, closed.delivered), (false, 10 + round));
        runner.open(hook("changing", &changing, &outbox)).await.unwrap();
        outbox.issue(1, 10, Class::Transactional);
        runner.nudge();
        let delivered = async || {
            let statuses = runner.statuses();
            statuses.iter().find(|status| status.name == "changing").unwrap().delivered
        };
        while delivered().await < 11 + round {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert_eq!(changing.got().len(), 15, "a change sends nothing twice");
    let again = runner.open(hook("changing", &changing, &outbox)).await.unwrap_err();
    assert!(again.to_string().contains("is used by two destinations"), "{again}");
    let third = Receiver::start(Manner::Answer(204, None)).await;
    runner.open(hook("third", &third, &outbox)).await.unwrap();
    runner.close("nobody").await.unwrap();
    steady.set(Manner::Answer(204, None));
    settled(&runner, &outbox).await;
    // None of the ten on the wire was cut: each ended by its own time, in an unknown outcome, and was sent once. On a
    // slow machine some of the five behind them meet the hanging receiver too; they may be sent again.
    let status = &runner.statuses()[0];
    let once = status.failed_attempts - status.retried;
    let counted = (status.name.as_str(), once, status.dead["unknown_outcome"], status.delivered);
    assert_eq!(counted, ("steady", 10, 10, 5), "{status:#?}");
    assert_eq!(steady.got().len() as u64, 15 + status.retried);
    assert_complete(&accepted(&third), 15);
    runner.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn marketing_is_not_repeated_after_an_unknown_outcome_and_transactional_is() {
    for (class, arrivals) in [(Class::Marketing, 1), (Class::Transactional, 2)] {
        let outbox = Arc::new(Outbox::default());
        let receiver = Receiver::start(Manner::Break).await;
        let lanes = vec![hook("hook", &receiver, &outbox)];
        let folder = fresh("unknown");
        let runner =
            delivery::run(&Env::real(), RunnerOptions::at(&folder), lanes, Arc::new(Judge::default()))
                .unwrap();
        outbox.issue(1, 1, class);
        runner.nudge();
        while receiver.got().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        receiver.set(Manner::Answer(200, None));
        settled(&runner, &outbox).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let got = receiver.got();
        assert_eq!(got.len(), arrivals, "{class:?}");
        assert!(got.iter().all(|got| got.header("webhook-id") == "eff_1_0"));
        let letters = runner.dead_letters("hook", None, 10).await.unwrap();
        assert_eq!(letters.len(), usize::from(class == Class::Marketing));
        runner.stop().await;
    }
}

/// The runtime is torn down in the middle, again and again, as if the process had been killed; another one goes on.
#[test]
fn sudden_ends_lose_nothing_and_keep_the_order() {
    const EFFECTS: u64 = 3_000;
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            ready.send(Receiver::start(Manner::Answer(200, None)).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let receiver = started.recv().unwrap();
    let outbox = Arc::new(Outbox::default());
    outbox.issue(EFFECTS, 40, Class::Transactional);
    let (folder, files) = (fresh("sudden"), fresh("sudden-files"));
    let mut ends = 0;
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let done = runtime.block_on(async {
            let config = NdjsonConfig { file_bytes_max: 20_000, ..NdjsonConfig::new(&files, "out") };
            let lane = config.lane("files");
            let file = Ndjson::open(&Env::real(), config).unwrap();
            let file =
                LaneParts { options: lane, source: Arc::clone(&outbox) as _, destination: Arc::new(file) };
            let lanes = vec![hook("hook", &receiver, &outbox), file];
            let runner =
                delivery::run(&Env::real(), RunnerOptions::at(&folder), lanes, Arc::new(Judge::default()))
                    .unwrap();
            if ends < 12 {
                tokio::time::sleep(Duration::from_millis(30)).await;
                return false;
            }
            settled(&runner, &outbox).await;
            runner.stop().await;
            true
        });
        drop(runtime);
        if done {
            break;
        }
        ends += 1;
    }
    assert_complete(&accepted(&receiver), EFFECTS);
    eprintln!("{} arrivals of {EFFECTS} after {ends} sudden ends", receiver.got().len());
    let mut names: Vec<_> = std::fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut seen = BTreeSet::new();
    let mut last = BTreeMap::new();
    for name in names.iter().filter(|name| name.extension().is_some_and(|extension| extension == "ndjson")) {
        for line in std::fs::read_to_string(name).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let (subject, position) =
                (value["subject"].as_u64().unwrap(), value["position"].as_u64().unwrap());
            if seen.insert(position) {
                assert!(last.insert(subject, position) < Some(position), "out of order");
            }
        }
    }
    assert_eq!(seen.len() as u64, EFFECTS);
}
