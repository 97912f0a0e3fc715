//! One model for all tests: what each checkpoint holds, in plain maps.

mod faults;
mod shared_use;

use super::*;
use crate::dedup::ID_BYTES;
use crate::manifest::{BucketState, StateDigest};
use crate::objects::LocalObjects;
use crate::{CheckpointMeta, Chunk, DedupInterval};
use env::seeded::{Seed, World};
use model::id::{Key, Position, Timestamp};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

type Rows = BTreeMap<(u8, u128), Vec<u8>>;

const FOLDER: &str = "/d/store";

fn objects(world: &World) -> Arc<dyn Objects> {
    Arc::new(LocalObjects::open(&world.env(), Path::new(FOLDER)).unwrap())
}

fn options() -> StoreOptions {
    StoreOptions {
        merge_fan_in: 3,
        block_bytes: 256,
        runs_max: 12,
        dedup: DedupOptions { window_us: 100, bucket_us: 40, bytes_limit: 1 << 20 },
        ..StoreOptions::default()
    }
}

fn meta(position: u64) -> CheckpointMeta {
    CheckpointMeta {
        position: Position(position),
        term: Term(1),
        rules_version: 7,
        log_time: Timestamp(position as i64),
        state_digest: StateDigest { rows: position, sum: 1 },
        effects_digest: 2,
        metadata: position.to_le_bytes().to_vec(),
    }
}

type Change = ((u8, u128), Option<Vec<u8>>);

/// Changes not in a checkpoint yet, and the rows with them.
#[derive(Clone, Default)]
struct Pending {
    rows: Rows,
    changes: Vec<Change>,
}

impl Pending {
    fn put(&mut self, place: (u8, u128), value: Vec<u8>) {
        self.rows.insert(place, value.clone());
        self.changes.push((place, Some(value)));
    }

    fn delete(&mut self, place: (u8, u128)) {
        self.rows.remove(&place);
        self.changes.push((place, None));
    }

    fn chunks(&self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for changes in self.changes.chunks(5) {
            let mut chunk = Chunk::default();
            for ((table, key), value) in changes {
                match value {
                    Some(value) => assert!(chunk.put(TableId(*table), Key(*key), value)),
                    None => chunk.delete(TableId(*table), Key(*key)),
                }
            }
            chunks.push(chunk);
        }
        chunks
    }
}

fn checkpoint(
    store: &Store,
    pending: &Pending,
    interval: Option<DedupInterval>,
    meta: CheckpointMeta,
) -> Result<(), StoreError> {
    let mut writer = store.checkpoint()?;
    for chunk in pending.chunks() {
        writer.add(chunk)?;
    }
    if let Some(interval) = interval {
        writer.add_dedup(interval);
    }
    writer.commit(meta)
}

/// The store answers as the model does, by key and by scan.
fn check(store: &Store, rows: &Rows) {
    let source = store.source();
    for table in 0..4 {
        let scanned: Vec<(u128, Vec<u8>)> =
            store.scan(TableId(table)).map(|row| row.map(|(key, value)| (key.0, value)).unwrap()).collect();
        let expected: Vec<(u128, Vec<u8>)> = rows
            .iter()
            .filter(|((of, _), _)| *of == table)
            .map(|((_, key), value)| (*key, value.clone()))
            .collect();
        assert_eq!(scanned, expected, "scan of table {table}");
        for key in 0..40 {
            let read = source.read(TableId(table), Key(key)).unwrap();
            assert_eq!(read.as_ref(), rows.get(&(table, key)), "row {key} of table {table}");
        }
    }
}

/// Exactly the objects that kept manifests need are there.
fn check_objects(world: &World, store: &Store) {
    let state = locked(&store.shared.state);
    for name in objects(world).list("").unwrap() {
        assert!(name == CURRENT || state.needs(&name), "{name} is needed by nobody");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u128, usize),
    Delete(u8, u128),
    Checkpoint,
    Merge(u64),
    FullMerge,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u8..3, 0_u128..40, 0_usize..300).prop_map(|(table, key, len)| Step::Put(table, key, len)),
        5 => (0_u8..3, 0_u128..40).prop_map(|(table, key)| Step::Delete(table, key)),
        6 => Just(Step::Checkpoint),
        4 => (1_u64..20_000).prop_map(Step::Merge),
        1 => Just(Step::FullMerge),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn it_is_a_map_of_the_last_checkpoint(
        steps in steps(),
        kept in 1_usize..4,
        small_buffer: bool,
    ) {
        let world = World::new(5, 0);
        let options = StoreOptions {
            kept_checkpoints: kept,
            checkpoint_buffer_bytes: if small_buffer { 500 } else { 1 << 20 },
            ..options()
        };
        let (mut store, none) = Store::open(objects(&world), options.clone()).unwrap();
        prop_assert!(none.is_none());
        let (mut pending, mut committed) = (Pending::default(), Vec::<Rows>::new());
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Put(table, key, len) => pending.put((table, key), vec![number as u8; len]),
                Step::Delete(table, key) => pending.delete((table, key)),
                Step::Checkpoint => {
                    checkpoint(&store, &pending, None, meta(committed.len() as u64 + 1)).unwrap();
                    pending.changes.clear();
                    committed.push(pending.rows.clone());
                }
                Step::Merge(budget) => {
                    store.merge_step(budget).unwrap();
                }
                Step::FullMerge => {
                    store.request_full_merge();
                    while store.merge_step(1 << 20).unwrap() {}
                    prop_assert!(store.stats().runs <= 1);
                    let rows = committed.last().map_or(0, BTreeMap::len) as u64;
                    prop_assert_eq!(store.stats().entries, rows, "no deletion and no old row is left");
                }
                Step::Reopen => {
                    drop(store);
                    world.crash();
                    let opened = Store::open(objects(&world), options.clone()).unwrap();
                    store = opened.0;
                    let expected = (!committed.is_empty()).then_some(Position(committed.len() as u64));
                    prop_assert_eq!(opened.1.map(|manifest| manifest.position), expected);
                    pending = Pending { rows: committed.last().cloned().unwrap_or_default(), changes: Vec::new() };
                }
            }
            check(&store, committed.last().unwrap_or(&Rows::new()));
        }
        check_objects(&world, &store);
        let manifests = Store::kept(&*objects(&world)).unwrap();
        prop_assert_eq!(manifests.len(), kept.min(committed.len()));
        for (back, manifest) in manifests.iter().rev().enumerate() {
            let index = committed.len() - 1 - back;
            prop_assert_eq!(manifest.position, Position(index as u64 + 1));
            let (old, opened) = Store::open_at(objects(&world), options.clone(), manifest.generation).unwrap();
            prop_assert_eq!(&opened, manifest);
            prop_assert_eq!(opened.metadata, meta(index as u64 + 1).metadata);
            check(&old, &committed[index]);
            let refused = old.checkpoint().err();
            let read_only = matches!(refused, Some(StoreError::ReadOnly { .. }));
            prop_assert!(read_only);
        }
    }
}
