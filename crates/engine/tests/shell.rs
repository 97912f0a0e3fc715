//! The shard on its threads and on a real disk: answers, order, bounds, restarts.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test of the threads runs on the real machine, and its helpers fail the test"
)]

use engine::recovery::{OpenOptions, open};
use engine::verify::{Stretch, verify};
use engine::{Applied, Engine, EngineOptions, SubmitError};
use env::Env;
use model::id::Position;
use sim::ledger::{Account, Ledger, Transfer};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use store::{LocalObjects, Objects};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("throughline-engine-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(folder: &Folder, options: EngineOptions) -> Engine<Ledger> {
    let env = Env::real();
    let opened = open(&env, &folder.0, || Ledger, &OpenOptions::default()).unwrap();
    Engine::start(&env, opened, options).unwrap()
}

fn transfer(message: u64, account: u8, amount: i64) -> Transfer {
    Transfer { message, account, amount, poison: false }
}

fn send(engine: &Engine<Ledger>, transfers: &[Transfer]) -> Result<Applied, SubmitError> {
    let mut records = Vec::new();
    for transfer in transfers {
        transfer.encode(&mut records);
    }
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |outcome| drop(tell.send(outcome)));
    engine.submit(records, transfers.len() as u32, None, done)?;
    told.recv_timeout(Duration::from_secs(30)).unwrap()
}

fn account(engine: &Engine<Ledger>, number: u8) -> Option<Account> {
    let (tell, told) = mpsc::channel();
    engine.query(number, move |answer| drop(tell.send(answer.unwrap().0))).unwrap();
    told.recv_timeout(Duration::from_secs(30)).unwrap()
}

fn balance(reply: &[u8]) -> i64 {
    i64::from_le_bytes(reply.try_into().unwrap())
}

#[test]
fn an_answer_means_applied_and_replies_reach_their_sender() {
    let folder = Folder::new("answers");
    let engine = start(&folder, EngineOptions::default());
    let applied = send(&engine, &[transfer(1, 1, 10), transfer(2, 2, 5), transfer(3, 1, 7)]).unwrap();
    let replies: Vec<_> = applied.replies.iter().map(|(index, reply)| (*index, balance(reply))).collect();
    assert_eq!(replies, [(0, 10), (1, 5), (2, 17)]);
    assert_eq!(account(&engine, 1).unwrap().balance, 17);
    let again = send(&engine, &[transfer(1, 1, 10)]).unwrap();
    assert!(again.replies.is_empty(), "a duplicate changes nothing and says nothing");
    assert_eq!(account(&engine, 1).unwrap().balance, 17);
    engine.stop();
    assert!(matches!(send(&engine, &[transfer(9, 1, 1)]), Err(SubmitError::Unavailable { .. })));
}

#[test]
fn many_senders_and_restarts_lose_and_double_nothing() {
    let folder = Folder::new("senders");
    for round in 0..3_u64 {
        let options = EngineOptions { checkpoint_interval_ms: 20, ..EngineOptions::default() };
        let engine = start(&folder, options);
        std::thread::scope(|scope| {
            for sender in 0..8_u64 {
                let engine = engine.clone();
                scope.spawn(move || {
                    for index in 0..200 {
                        let message = round * 10_000 + sender * 1_000 + index;
                        let transfers =
                            [transfer(message, sender as u8, 1), transfer(message, sender as u8, 1)];
                        send(&engine, &transfers).unwrap();
                    }
                });
            }
        });
        for sender in 0..8 {
            assert_eq!(account(&engine, sender).unwrap().balance, 200 * (round as i64 + 1));
        }
        engine.stop();
        assert!(engine.status().stopped().is_none());
    }
}

/// Hands over one submission for each batch while the committer cannot go on, so that all of them become durable
/// together, and gives what each was told.
fn send_together(engine: &Engine<Ledger>, batches: &[(Vec<Transfer>, bool)]) -> Vec<Applied> {
    let mut answers = Vec::new();
    for (transfers, followed) in batches {
        let mut records = Vec::new();
        for transfer in transfers {
            transfer.encode(&mut records);
        }
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        let count = transfers.len() as u32;
        if *followed {
            engine.submit_followed(records, count, None, done).unwrap();
        } else {
            engine.submit(records, count, None, done).unwrap();
        }
        answers.push(told);
    }
    answers.iter().map(|told| told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap()).collect()
}

#[test]
fn whoever_follows_a_submission_is_told_its_stages_and_nobody_else() {
    let folder = Folder::new("stages");
    let engine = start(&folder, EngineOptions::default());
    let mut message = 1;
    let mut first = send(&engine, &[transfer(1, 1, 1)]).unwrap().next_position;
    for round in 0..40_u64 {
        let mut batches: Vec<(Vec<Transfer>, bool)> = Vec::new();
        for size in [1, 3, 2, 5] {
            let transfers = (0..size).map(|_| {
                message += 1;
                transfer(message, 1, 1)
            });
            batches.push((transfers.collect(), (round + size) % 2 == 0));
        }
        // One of them is a repeat, so that a frame with duplicates is seen.
        batches[3].0[4] = transfer(1, 1, 1);
        let answers = send_together(&engine, &batches);
        for ((transfers, followed), applied) in batches.iter().zip(&answers) {
            let own = first;
            first = first.plus(transfers.len() as u64);
            assert_eq!(applied.stages.is_some(), *followed);
            let Some(stages) = &applied.stages else { continue };
            assert_eq!(stages.first, own, "round {round}");
            let times = [
                stages.submitted_ns,
                stages.append_started_ns,
                stages.durable_ns,
                stages.apply_started_ns,
                stages.applied_ns,
            ];
            assert!(times[0] > 0 && times.is_sorted(), "{stages:?}");
            let (frame, group) = (stages.frame, stages.group);
            assert_eq!(frame.frames, 1);
            let within = [
                (transfers.len() as u64, u64::from(frame.records)),
                (u64::from(frame.records), u64::from(group.records)),
                (1, u64::from(frame.submissions)),
                (u64::from(frame.submissions), u64::from(group.submissions)),
                (1, u64::from(group.frames)),
                (frame.bytes, group.bytes),
                (u64::from(stages.duplicates), u64::from(frame.records)),
            ];
            assert!(within.iter().all(|(part, whole)| part <= whole), "{stages:?}");
            assert!(frame.bytes > 0);
            if transfers.iter().any(|transfer| transfer.message == 1) {
                assert!(stages.duplicates > 0, "{stages:?}");
            }
        }
    }
    engine.stop();
}

#[test]
fn a_full_queue_is_an_answer() {
    let folder = Folder::new("full");
    let options = EngineOptions { queue_items_max: 4, groups_max: 1, ..EngineOptions::default() };
    let engine = start(&folder, options);
    // Something slow on the applying thread, so that everything behind it fills up.
    let (release, held) = mpsc::channel::<()>();
    engine
        .inspect(move |_| {
            let _ = held.recv_timeout(Duration::from_secs(30));
        })
        .unwrap();
    let mut refused = 0;
    for message in 0..200 {
        let mut records = Vec::new();
        transfer(message, 1, 1).encode(&mut records);
        match engine.submit(records, 1, None, Box::new(|_| {})) {
            Ok(()) => std::thread::sleep(Duration::from_millis(1)),
            Err(SubmitError::Full { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    release.send(()).unwrap();
    assert!(refused > 0, "200 submissions fitted into a queue of 4");
    engine.stop();
}

#[test]
fn a_poisonous_record_stops_the_shard_and_is_skipped_the_second_time() {
    let folder = Folder::new("poison");
    let engine = start(&folder, EngineOptions::default());
    send(&engine, &[transfer(1, 1, 10)]).unwrap();
    let poison = Transfer { message: 2, account: 1, amount: 1, poison: true };
    assert!(matches!(send(&engine, &[poison]), Err(SubmitError::Unavailable { .. })));
    assert!(engine.status().stopped().is_some_and(|reason| reason.contains("panicked")));
    engine.stop();
    // The last handle keeps the data directory locked.
    drop(engine);
    let env = Env::real();
    let opened = open(&env, &folder.0, || Ledger, &OpenOptions::default()).unwrap();
    assert!(opened.report.quarantined.is_some());
    let engine = Engine::start(&env, opened, EngineOptions::default()).unwrap();
    assert_eq!(account(&engine, 1).unwrap().balance, 10);
    send(&engine, &[transfer(3, 1, 5)]).unwrap();
    assert_eq!(account(&engine, 1).unwrap().balance, 15);
    engine.stop();
}

#[test]
fn timers_fire_although_nothing_else_happens() {
    let folder = Folder::new("timers");
    let engine = start(&folder, EngineOptions::default());
    send(&engine, &[transfer(1, 1, 10)]).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while account(&engine, 1).unwrap().idles == 0 {
        assert!(std::time::Instant::now() < deadline, "a timer of 3 s has not fired after 20 s");
        std::thread::sleep(Duration::from_millis(50));
    }
    engine.stop();
}

/// Names of the files of checkpoints that begin so.
fn state_files(folder: &Folder, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.0.join("state")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What an erasure asks for, in a shard to which nothing more is sent.
#[test]
fn a_quiet_shard_closes_its_segment_and_lets_go_of_old_checkpoints() {
    let folder = Folder::new("quiet");
    let options = EngineOptions { checkpoint_interval_ms: 20, ..EngineOptions::default() };
    for round in 0..3_u64 {
        let engine = start(&folder, options.clone());
        let mut next = Position(0);
        for message in 0..6 {
            next = send(&engine, &[transfer(round * 10 + message, message as u8, 1)]).unwrap().next_position;
            let checkpoint_next = || engine.status().checkpoint_next.load(Relaxed);
            until("a checkpoint", || checkpoint_next() >= next.0);
        }
        let segments = engine.log().segments().len();
        engine.roll_log().unwrap();
        until("a roll", || engine.log().segments().len() > segments);
        engine.roll_log().unwrap();
        let old = (state_files(&folder, "run-"), state_files(&folder, "manifest-"));
        assert!(old.0.len() > 1 && old.1.len() > 1, "{old:?}");
        engine.rewrite_checkpoints(next);
        until("a rewrite", || engine.status().rewritten_before.load(Relaxed) >= next.0);
        let kept = (state_files(&folder, "run-"), state_files(&folder, "manifest-"));
        assert!(old.0.iter().all(|name| !kept.0.contains(name)), "{old:?} {kept:?}");
        assert!(old.1.iter().all(|name| !kept.1.contains(name)), "{old:?} {kept:?}");
        assert_eq!(engine.log().segments().len(), segments + 1, "an empty segment is not closed");
        assert_eq!(engine.log().durable_position(), next, "nothing was written to the log for it");
        let checkpoints = engine.status().checkpoints.load(Relaxed);
        std::thread::sleep(Duration::from_millis(200));
        assert!(engine.status().checkpoints.load(Relaxed) <= checkpoints + 1, "then it is quiet again");
        engine.stop();
    }
    let env = Env::real();
    let opened = open(&env, &folder.0, || Ledger, &OpenOptions::default()).unwrap();
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::open(&env, &folder.0.join("state")).unwrap());
    let stretches = verify(&objects, &opened.log, || Ledger, &OpenOptions::default()).unwrap();
    assert!(!stretches.is_empty() && stretches.iter().all(Stretch::is_exact), "{stretches:?}");
}
