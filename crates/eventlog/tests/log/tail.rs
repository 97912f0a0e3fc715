//! A writer, readers and background work at the same time, on the real disk.

use crate::{append_one, drain, small_options};
use env::Env;
use eventlog::{Frame, LocalLog, SealStep, verify};
use model::id::Position;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

const APPENDS: usize = 600;
const READERS: usize = 3;

struct Scratch(PathBuf);

impl Scratch {
    fn new(env: &Env) -> Self {
        let mut bytes = [0; 8];
        env.entropy.fill(&mut bytes).unwrap();
        let path = std::env::temp_dir().join(format!("eventlog-{:016x}", u64::from_le_bytes(bytes)));
        env.disk.create_directory(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        #[expect(
            clippy::disallowed_methods,
            reason = "env::Disk removes no directories; this is a test's own"
        )]
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn readers_follow_without_polling_while_segments_are_sealed() {
    let env = Env::real();
    let scratch = Scratch::new(&env);
    let options = small_options(true);
    let (mut log, _) = LocalLog::open(&env, &scratch.0, options.clone()).unwrap();
    let (found, results) = mpsc::sync_channel::<Vec<Frame>>(READERS);
    let mut threads = Vec::new();
    for _ in 0..READERS {
        let (handle, found) = (log.handle(), found.clone());
        let body = move || {
            let mut reader = handle.read_from(Position(0)).unwrap();
            let mut frames = Vec::new();
            let mut next = Position(0);
            while frames.len() < APPENDS {
                // A lost wake-up would end here, in an empty read.
                assert!(handle.wait_beyond(next, Duration::from_secs(60)) > next, "nobody woke the reader");
                let more = drain(reader.as_mut());
                assert!(!more.is_empty(), "what is durable must be readable");
                next = more.last().unwrap().next();
                frames.extend(more);
            }
            found.send(frames).unwrap();
        };
        threads.push(env.spawner.spawn("reader", Box::new(body)).unwrap());
    }
    let stop = Arc::new(AtomicBool::new(false));
    let (handle, stopping) = (log.handle(), Arc::clone(&stop));
    let sealer = move || {
        let mut at = Position(0);
        while !stopping.load(Ordering::Relaxed) {
            if handle.seal_step().unwrap() == SealStep::Idle {
                at = handle.wait_beyond(at, Duration::from_millis(5));
            }
        }
    };
    threads.push(env.spawner.spawn("sealer", Box::new(sealer)).unwrap());
    let (keyring, directory) = (options.keyring.clone(), scratch.0.clone());
    let (onlooker_env, stopping) = (env.clone(), Arc::clone(&stop));
    let onlooker = move || {
        while !stopping.load(Ordering::Relaxed) {
            let report = verify(&onlooker_env, &directory, keyring.as_ref()).unwrap();
            assert_eq!(report.damage, None, "a running server looks damaged from outside");
        }
    };
    threads.push(env.spawner.spawn("onlooker", Box::new(onlooker)).unwrap());
    let expected: Vec<_> = (0..APPENDS).map(|_| append_one(&mut log, 100)).collect();
    for _ in 0..READERS {
        assert_eq!(results.recv_timeout(Duration::from_secs(120)).unwrap(), expected);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(threads.into_iter().all(|thread| thread.join()));
    assert!(log.handle().stats().sealed_segments > 5);
}

#[test]
fn dropping_the_writer_wakes_whoever_waits() {
    let env = Env::real();
    let scratch = Scratch::new(&env);
    let (log, _) = LocalLog::open(&env, &scratch.0, small_options(false)).unwrap();
    let handle = log.handle();
    let (woken, wakes) = mpsc::sync_channel(1);
    let body = move || woken.send(handle.wait_beyond(Position(0), Duration::from_secs(60))).unwrap();
    let thread = env.spawner.spawn("waiter", Box::new(body)).unwrap();
    drop(log);
    assert_eq!(wakes.recv_timeout(Duration::from_secs(30)).unwrap(), Position(0));
    assert!(thread.join());
}
