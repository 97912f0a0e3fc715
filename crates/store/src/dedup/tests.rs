use super::*;
use crate::objects::LocalObjects;
use crate::{CheckpointMeta, Store, StoreOptions};
use env::seeded::{Seed, World};
use model::id::{Position, Term};
use proptest::prelude::*;
use std::path::Path;

/// The definition, without any cleverness: every acceptance ever, with its log time.
#[derive(Default)]
struct Naive {
    accepted: Vec<(Key, Timestamp)>,
    at: Option<Timestamp>,
}

impl Naive {
    fn check_and_insert(&mut self, options: &DedupOptions, id: Key, at: Timestamp) -> bool {
        let at = self.at.map_or(at, |latest| latest.max(at));
        self.at = Some(at);
        // A bucket counts as long as its last microsecond is after `at - window`.
        let counts = |accepted: Timestamp| {
            let last_us = (accepted.0.div_euclid(options.bucket_us) + 1) * options.bucket_us - 1;
            last_us > at.0 - options.window_us
        };
        let seen = self.accepted.iter().any(|(known, when)| *known == id && counts(*when));
        if !seen {
            self.accepted.push((id, at));
        }
        seen
    }
}

#[derive(Clone, Debug)]
enum Step {
    Check {
        id: u64,
        after_us: i64,
    },
    Checkpoint,
    Merge {
        budget: u64,
    },
    Restart,
    /// Ask outside the writer now, use the answer a few checks later.
    Ask {
        id: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0_u64..60, prop_oneof![4 => 0_i64..3, 2 => 0_i64..60, 1 => 0_i64..400, 1 => -50_i64..0])
            .prop_map(|(id, after_us)| Step::Check { id, after_us }),
        4 => Just(Step::Checkpoint),
        2 => (1_u64..2_000_000).prop_map(|budget| Step::Merge { budget }),
        1 => Just(Step::Restart),
        4 => (0_u64..60).prop_map(|id| Step::Ask { id }),
    ];
    prop::collection::vec(step, 0..300)
}

struct Fixture {
    world: World,
    options: StoreOptions,
    store: Store,
    window: DedupWindow,
    /// Checks since the last checkpoint, which a restart replays.
    tail: Vec<(Key, Timestamp)>,
    position: u64,
}

fn open(world: &World, options: &StoreOptions) -> (Store, DedupWindow) {
    let objects = LocalObjects::open(&world.env(), Path::new("/d/store")).unwrap();
    let (store, _) = Store::open(Arc::new(objects), options.clone()).unwrap();
    let window = store.dedup_window().unwrap();
    (store, window)
}

impl Fixture {
    fn new(dedup: DedupOptions) -> Self {
        let world = World::new(3, 0);
        let options = StoreOptions { dedup, merge_fan_in: 3, ..StoreOptions::default() };
        let (store, window) = open(&world, &options);
        Self { world, options, store, window, tail: Vec::new(), position: 0 }
    }

    fn check(&mut self, id: Key, at: Timestamp, hint: Hint) -> bool {
        self.tail.push((id, at));
        self.window.check_and_insert_hinted(id, at, hint).unwrap()
    }

    fn commit(&mut self, interval: DedupInterval) {
        self.position += 1;
        let mut writer = self.store.checkpoint().unwrap();
        writer.add_dedup(interval);
        let meta =
            CheckpointMeta { position: Position(self.position), term: Term(1), ..CheckpointMeta::default() };
        writer.commit(meta).unwrap();
    }

    fn restart(&mut self) {
        self.world.crash();
        let before = self.window.buckets();
        (self.store, self.window) = open(&self.world, &self.options);
        for (id, at) in &self.tail {
            self.window.check_and_insert(*id, *at).unwrap();
        }
        assert_eq!(self.window.buckets(), before, "replay of the tail leads to the same window");
    }
}

fn spread(id: u64) -> Key {
    let mut seed = Seed::new(id);
    Key(u128::from(seed.next_u64()) << 64 | u128::from(seed.next_u64()))
}

fn run(steps: &[Step], dedup: DedupOptions, uniform: bool) {
    let mut fixture = Fixture::new(dedup);
    let mut naive = Naive::default();
    let (mut at, mut asked) = (Timestamp(-777), Vec::new());
    // The window that nothing is ever filed, merged or restarted for.
    let mut plain = Fixture::new(dedup);
    for step in steps {
        match step {
            Step::Check { id, after_us } => {
                at = at.plus_us(*after_us);
                let id = if uniform { spread(*id) } else { Key(u128::from(*id)) };
                let hint = asked
                    .iter()
                    .rev()
                    .find(|(asked, _)| *asked == id)
                    .map_or(Hint::Unknown, |(_, hint)| *hint);
                let expected = naive.check_and_insert(&dedup, id, at);
                assert_eq!(fixture.check(id, at, hint), expected, "{id} at {}", at.0);
                assert_eq!(plain.check(id, at, Hint::Unknown), expected);
                assert_eq!(fixture.window.buckets(), plain.window.buckets());
                assert_eq!(fixture.window.digest(), plain.window.digest());
            }
            Step::Checkpoint => {
                let interval = fixture.window.begin_checkpoint();
                fixture.commit(interval);
                fixture.tail.clear();
            }
            Step::Merge { budget } => {
                fixture.store.merge_step(*budget).unwrap();
            }
            Step::Restart => {
                fixture.restart();
                // Hints do not outlive the process.
                asked.clear();
            }
            Step::Ask { id } => {
                let id = if uniform { spread(*id) } else { Key(u128::from(*id)) };
                let mut hints = Vec::new();
                fixture.window.reader().confirm(&[id], &mut hints).unwrap();
                asked.push((id, hints[0]));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn it_is_exact_across_borders_checkpoints_merges_and_restarts(
        steps in steps(),
        window_us in prop_oneof![Just(100_i64), Just(240), 1_i64..300],
        bucket_us in prop_oneof![Just(40_i64), Just(100), 1_i64..150],
        uniform: bool,
    ) {
        run(&steps, DedupOptions { window_us, bucket_us, bytes_limit: 1 << 20 }, uniform);
    }
}

#[test]
fn the_window_holds_to_the_microsecond_at_a_bucket_border() {
    let dedup = DedupOptions { window_us: 240, bucket_us: 40, bytes_limit: 1 << 20 };
    // (first seen, seen again, is it a duplicate)
    let cases = [
        (0, 240, true),  // not older than the window
        (0, 278, true),  // its bucket's last microsecond, 39, is inside (38, 278]
        (0, 279, false), // and outside (39, 279]
        (39, 278, true), // the last microsecond of a bucket is kept for the window, and not longer
        (39, 279, false),
        (40, 318, true),
        (40, 319, false),
        (-1, 238, true), // log time before 1970 has buckets too
        (-1, 239, false),
    ];
    for (first, again, expected) in cases {
        let mut fixture = Fixture::new(dedup);
        assert!(!fixture.check(Key(9), Timestamp(first), Hint::Unknown));
        assert_eq!(fixture.check(Key(9), Timestamp(again), Hint::Unknown), expected, "{first} then {again}");
    }
}

#[test]
fn a_full_window_refuses_and_never_shrinks() {
    let dedup = DedupOptions { window_us: 100, bucket_us: 50, bytes_limit: 10 * ID_BYTES };
    let mut fixture = Fixture::new(dedup);
    for id in 0..10 {
        assert!(fixture.window.room().is_ok());
        assert!(!fixture.check(spread(id), Timestamp(0), Hint::Unknown));
    }
    assert!(matches!(
        fixture.window.room(),
        Err(StoreError::DedupFull { used_bytes: 160, limit_bytes: 160 })
    ));
    let refused = fixture.window.check_and_insert(spread(10), Timestamp(0));
    assert!(matches!(refused, Err(StoreError::DedupFull { .. })));
    assert!(
        fixture.window.check_and_insert(spread(3), Timestamp(0)).unwrap(),
        "what is known is still known"
    );
    assert!(
        !fixture.window.check_and_insert(spread(10), Timestamp(200)).unwrap(),
        "room returns when ids leave"
    );
}

/// A checkpoint that is not committed must not cost the next one its ids.
#[test]
fn ids_of_a_lost_checkpoint_are_in_the_next() {
    let mut fixture = Fixture::new(DedupOptions { window_us: 1_000, bucket_us: 100, bytes_limit: 1 << 20 });
    for id in 0..200_u64 {
        fixture.check(spread(id), Timestamp(id as i64), Hint::Unknown);
        if id % 10 == 0 {
            drop(fixture.window.begin_checkpoint());
        }
    }
    let interval = fixture.window.begin_checkpoint();
    fixture.commit(interval);
    fixture.tail.clear();
    fixture.restart();
    for id in 0..200 {
        assert!(fixture.check(spread(id), Timestamp(200), Hint::Unknown), "{id}");
    }
}

/// More ids than foreseen get a chain of filters; after it, a filter for as many is there from the beginning.
#[test]
fn a_chain_of_filters_is_as_exact_as_one() {
    let mut fixture = Fixture::new(DedupOptions { window_us: 1_000, bucket_us: 100, bytes_limit: 1 << 30 });
    let count = groups::FILTER_IDS_MIN * 5;
    for id in 0..count {
        assert!(!fixture.check(spread(id), Timestamp((id / 1_000) as i64), Hint::Unknown));
        if id % 100_000 == 99_999 {
            let interval = fixture.window.begin_checkpoint();
            fixture.commit(interval);
        }
    }
    assert_eq!(fixture.window.filters.len(), 3);
    assert!(!fixture.check(spread(count), Timestamp(500), Hint::Unknown), "this begins another group");
    let chain = fixture.window.filters.len();
    assert_eq!(chain, 4);
    let interval = fixture.window.begin_checkpoint();
    fixture.commit(interval);
    while fixture.store.merge_step(1 << 20).unwrap() {}
    assert_eq!(fixture.store.stats().id_files, 5, "one for each bucket");
    fixture.tail.clear();
    fixture.restart();
    assert_eq!(fixture.window.filters.len(), 2);
    assert!(
        fixture.window.filters[0].bytes() > count * 2,
        "the new group expects as many as the old one had"
    );
    for id in 0..=count {
        assert!(fixture.check(spread(id), Timestamp(501), Hint::Unknown), "{id}");
    }
    for id in count + 1..count + 20_000 {
        assert!(!fixture.check(spread(id), Timestamp(501), Hint::Unknown), "{id}");
    }
}
