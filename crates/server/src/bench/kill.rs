//! `bench kill`: kills the server under load, again and again, and holds what it then knows against what it said.
//!
//! Several clients remember which messages got a 200. After each restart every person's events, orders and revenue must
//! be at least what was acknowledged, and at most that and what got no answer. Then everything is sent again: the sums
//! must become exact, because a message counts once. Effects keep their ids and their content over every restart.

mod ledger;
mod outbox;

use super::load::{Lane, Load, Pace};
use super::{BenchArgs, Folder, Generator, Latencies, Population, Progress, Report, binary_of};
use crate::calendar::now_us;
use crate::process::{ServerOptions, ServerProcess, json_of, post};
use anyhow::Context as _;
use env::seeded::Seed;
use ledger::{Ledger, Sums};
use outbox::Effects;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Clients that remember what they sent.
const CLIENTS: u64 = 6;
/// People of each client.
const PEOPLE: u64 = 4;
/// Clients that only make load.
const LOAD_CLIENTS: usize = 16;
/// Their load: so little that the outbox, which keeps a bounded number of effects, still holds at the end of a life what
/// it held before.
const LOAD_BATCHES_PER_SECOND: f64 = 100.0;
const LOAD_BATCH_EVENTS: u32 = 100;
/// The shortest and longest life of the server before it is killed.
const LIFE_MS: std::ops::Range<u64> = 400..1_500;
/// Settings that make checkpoints, merges and sealing happen often enough to be killed in the middle of.
const BUSY: [&str; 3] =
    ["state.checkpoint_interval_ms=200", "log.segment_bytes=1048576", "state.resident_bytes_max=16777216"];

/// What all rounds found.
#[derive(Default)]
struct Findings {
    /// Too little of what was acknowledged, over all people.
    lost: u64,
    /// Too much, over all people.
    twice: u64,
    /// Sums that were not exact after everything was sent again.
    inexact: u64,
    /// Effects that are gone, changed, or there twice.
    effects: u64,
    acknowledged: u64,
    unanswered: u64,
    recoveries: Latencies,
}

/// Runs all rounds and reports.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let folder = Folder::new(args.data.as_deref())?;
    let progress = Progress::new();
    let set = BUSY.iter().map(|set| (*set).to_owned()).collect();
    let options = ServerOptions { binary: binary_of(args)?, data: folder.path().to_owned(), set };
    let mut server = ServerProcess::start(&options)?;
    let mut ledgers: Vec<Ledger> =
        (0..CLIENTS).map(|client| Ledger::new(client, PEOPLE, args.seed)).collect();
    for ledger in &mut ledgers {
        ledger.introduce(&mut server.ingest_client())?;
    }
    let mut findings = Findings::default();
    let mut effects = Effects::default();
    let mut seed = Seed::new(args.seed);
    for round in 0..args.rounds {
        let life_ms = LIFE_MS.start + seed.below(LIFE_MS.end - LIFE_MS.start);
        (server, ledgers) = one_life(server, ledgers, life_ms, args.seed + u64::from(round), &mut effects)?;
        findings.recoveries.add(u64::try_from(server.ready_after().as_nanos()).unwrap_or(u64::MAX));
        findings.effects += effects.faults_of(&server)?;
        examine(&server, &mut ledgers, &mut findings)?;
        progress.step(&format!(
            "round {} of {}: killed after {life_ms} ms, back after {} ms; {} events acknowledged so far, {} lost, {} \
             twice, {} effects seen, {} wrong",
            round + 1,
            args.rounds,
            server.ready_after().as_millis(),
            findings.acknowledged,
            findings.lost,
            findings.twice + findings.inexact,
            effects.len(),
            findings.effects,
        ));
    }
    server.stop()?;
    Ok(report(args, &findings, effects.len()))
}

fn report(args: &BenchArgs, findings: &Findings, effects: usize) -> Report {
    let mut report = Report::new("kill");
    report.fact("rounds", json!(args.rounds));
    report.fact("seed", json!(args.seed));
    report.goal("lost_events", findings.lost as f64);
    report.goal("events_counted_twice", (findings.twice + findings.inexact) as f64);
    report.goal("effects_wrong", findings.effects as f64);
    report.goal("recovery_max", findings.recoveries.max_ns() as f64 / 1e9);
    report.detail("recovery_p50", "s", findings.recoveries.permille_ns(500) as f64 / 1e9);
    report.detail_higher("acknowledged_events", "", findings.acknowledged as f64);
    report.detail("unanswered_events", "", findings.unanswered as f64);
    report.detail_higher("effects_compared", "", effects as f64);
    report
}

/// Clients send until the server dies; then it starts again.
fn one_life(
    mut server: ServerProcess,
    ledgers: Vec<Ledger>,
    life_ms: u64,
    seed: u64,
    effects: &mut Effects,
) -> anyhow::Result<(ServerProcess, Vec<Ledger>)> {
    let over = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for mut ledger in ledgers {
        let (mut client, over) = (server.ingest_client(), Arc::clone(&over));
        clients.push(std::thread::spawn(move || {
            while !over.load(Relaxed) && ledger.send_some(&mut client) {}
            ledger
        }));
    }
    let population = Population { people: 20_000, cold_percent: 50 };
    let generator = Generator::new(population, seed, now_us().unsigned_abs());
    let pace = Pace::PerSecond(LOAD_BATCHES_PER_SECOND);
    let lane = Lane::of_events(&server, generator, LOAD_BATCH_EVENTS, LOAD_CLIENTS, pace);
    let load = Load::start(vec![lane])?;
    std::thread::sleep(Duration::from_millis(life_ms * 3 / 4));
    // What is in the outbox before the kill must be there after it, as it was.
    effects.remember(&server)?;
    std::thread::sleep(Duration::from_millis(life_ms / 4));
    server.kill()?;
    over.store(true, Relaxed);
    load.stop()?;
    let mut ledgers = Vec::new();
    for client in clients {
        ledgers.push(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
    }
    Ok((server.restart()?, ledgers))
}

/// Compares every person with the ledger, sends everything again, and compares once more.
fn examine(server: &ServerProcess, ledgers: &mut [Ledger], findings: &mut Findings) -> anyhow::Result<()> {
    findings.acknowledged = 0;
    for ledger in ledgers.iter_mut() {
        for person in 0..PEOPLE {
            let known = read(server, &ledger.user(person))?;
            let (least, most) = ledger.bounds(person);
            findings.lost += least.beyond(&known);
            findings.twice += known.beyond(&most);
        }
        findings.unanswered += ledger.unanswered();
        ledger.send_all_again(&mut server.ingest_client())?;
        for person in 0..PEOPLE {
            let known = read(server, &ledger.user(person))?;
            let (exact, _) = ledger.bounds(person);
            findings.inexact += u64::from(known != exact);
        }
        findings.acknowledged += ledger.len();
    }
    Ok(())
}

/// What the server knows about a person.
fn read(server: &ServerProcess, user: &str) -> anyhow::Result<Sums> {
    let question = json!({ "identifier": { "type": "user_id", "value": user } }).to_string();
    let path = "/v1/profiles/lookup";
    let response = post(&mut server.profiles_client(), path, question.as_bytes())?;
    let profile = json_of(path, &response)?;
    let number =
        |name: &str| profile.get(name).and_then(Value::as_u64).with_context(|| format!("{name} is missing"));
    let revenue = profile.get("revenue").and_then(Value::as_array).cloned().unwrap_or_default();
    let minor = revenue.iter().filter_map(|row| row.get("value_minor").and_then(Value::as_u64)).sum();
    Ok(Sums { events: number("events")?, orders: number("orders")?, revenue_minor: minor })
}
