//! The customer machine on the real loop and a real disk: purchases, decisions, commands, restarts, replays.

#![expect(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail by panicking")]
#![allow(dead_code, reason = "the helpers are shared with other tests")]

#[path = "engage/shard.rs"]
mod shard;

use engage::{Answer, Command, Decision, Engage, Operation, Parting, ProfileRead, Query, Reply, WhoToErase};
use engine::recovery::{OpenOptions, open};
use engine::verify::verify;
use engine::{Applied, Engine, EngineOptions};
use env::Env;
use model::event::OrderChange;
use model::id::{Key, Timestamp};
use model::record::{RecordKind, encode_record};
use shard::{Happening, Id, browser, email, user};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use store::{LocalObjects, Objects};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("throughline-engage-{name}-{}", std::process::id()));
        let _ = Env::real().disk.create_directory(&path);
        Self(path)
    }
}

impl Drop for Folder {
    #[expect(clippy::disallowed_methods, reason = "a test leaves nothing behind")]
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Shop {
    engine: Engine<Engage>,
    message: u64,
}

impl Shop {
    fn open(folder: &Folder) -> Self {
        let env = Env::real();
        let opened = open(&env, &folder.0, || Engage, &OpenOptions::default()).unwrap();
        // Checkpoints and eviction all the time, so that rows come back from the disk.
        let options = EngineOptions {
            checkpoint_interval_ms: 20,
            resident_bytes_max: 32 << 10,
            ..EngineOptions::default()
        };
        // Messages of one opening must differ from those of another.
        let message = opened.core.as_of().next_position.0 * 1_000;
        Self { engine: Engine::start(&env, opened, options).unwrap(), message }
    }

    fn submit(&self, kind: RecordKind, bodies: &[Vec<u8>]) -> Applied {
        let mut records = Vec::new();
        bodies.iter().for_each(|body| encode_record(&mut records, kind, body));
        let (tell, told) = mpsc::sync_channel(1);
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        self.engine.submit(records, bodies.len() as u32, None, done).unwrap();
        told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap()
    }

    fn happen(&mut self, happenings: &[Happening]) {
        let now = Timestamp(Env::real().clock.now_us());
        let bodies: Vec<_> = happenings
            .iter()
            .map(|one| {
                self.message += 1;
                one.encode(now, self.message)
            })
            .collect();
        self.submit(RecordKind::EVENT, &bodies);
    }

    fn command(&self, operation: Operation) -> Reply {
        let mut body = Vec::new();
        Command { idempotency: Key(0), operation }.encode(&mut body);
        let applied = self.submit(RecordKind::COMMAND, &[body]);
        Reply::decode(&applied.replies[0].1).unwrap()
    }

    fn profile(&self, id: Id) -> Option<Box<ProfileRead>> {
        let (tell, told) = mpsc::sync_channel(1);
        self.engine.query(Query::Identifier(id.key()), move |answer| drop(tell.send(answer))).unwrap();
        match told.recv_timeout(Duration::from_secs(30)).unwrap().unwrap().0 {
            Answer::Profile(profile, _) => profile,
            other => panic!("{other:?}"),
        }
    }

    fn is_suppressed(&self, id: Id, product: u8) -> bool {
        let view = self.engine.view();
        let now = view.as_of().log_time;
        matches!(view.decide(&[id.key()], &format!("product {product}"), "", now), Decision::Suppressed(_))
    }
}

#[test]
fn after_the_answer_a_purchase_suppresses_every_identifier() {
    let folder = Folder::new("purchases");
    let mut shop = Shop::open(&folder);
    for round in 0..200_u8 {
        shop.happen(&[Happening::of(&[user(round), browser(round)], false)]);
        shop.happen(&[Happening::of(&[user(round), email(round)], true)]);
        assert!(!shop.is_suppressed(browser(round), round));
        shop.happen(&[Happening::of(&[email(round)], true).order(OrderChange::Completed, round, 100)]);
        assert!(shop.is_suppressed(browser(round), round), "round {round}");
        assert!(shop.is_suppressed(user(round), round), "round {round}");
    }
    shop.engine.stop();
    assert_eq!(shop.engine.status().stopped(), None);
}

#[test]
fn people_survive_restarts() {
    let folder = Folder::new("restarts");
    let mut before: Vec<Option<Box<ProfileRead>>> = Vec::new();
    for opening in 0..4_u8 {
        let mut shop = Shop::open(&folder);
        for (number, former) in before.iter().enumerate() {
            assert_eq!(&shop.profile(user(number as u8)), former, "opening {opening}, user {number}");
            let expected = former.as_ref().is_some_and(|profile| !profile.suppressed.is_empty());
            assert_eq!(shop.is_suppressed(user(number as u8), number as u8), expected, "view after recovery");
        }
        let mut batch = Vec::new();
        for number in 0..40 {
            batch.push(Happening::of(&[browser(number + opening)], false));
            batch.push(Happening::of(
                &[user(number), email(number), browser(number + opening)],
                opening % 2 == 0,
            ));
            if number % 4 == opening {
                batch.push(Happening::of(&[user(number)], true).order(OrderChange::Completed, number, 5));
            }
        }
        shop.happen(&batch);
        let parted =
            shop.command(Operation::Unmerge(Parting::Pair(user(opening).key(), email(opening).key())));
        assert!(matches!(parted, Reply::Unmerged(parts) if !parts.is_empty()));
        let erased = shop.command(Operation::Erase(WhoToErase::Identifier(user(30 + opening).key())));
        assert!(matches!(erased, Reply::Erased(nodes) if nodes > 0));
        before = (0..40).map(|number| shop.profile(user(number))).collect();
        assert!(before.iter().flatten().any(|profile| !profile.suppressed.is_empty()));
        shop.engine.stop();
        assert_eq!(shop.engine.status().stopped(), None);
        verify_replay(&folder, &shop);
    }
}

/// Every kept checkpoint comes out the same when the log is applied again, state and effects, byte for byte.
fn verify_replay(folder: &Folder, shop: &Shop) {
    let directory = folder.0.join(engine::recovery::STATE_FOLDER);
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::open(&Env::real(), &directory).unwrap());
    let stretches = verify(&objects, shop.engine.log(), || Engage, &OpenOptions::default()).unwrap();
    assert!(!stretches.is_empty());
    for stretch in stretches {
        assert!(stretch.is_exact(), "{stretch:?}");
    }
}
