//! Opening a store whose files were changed.

use super::log::change;
use crate::Target;
use env::seeded::World;
use model::id::{Key, Position, Term, Timestamp};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use store::{
    CheckpointMeta, Chunk, LocalObjects, Objects, StateDigest, Store, StoreError, StoreOptions, TableId,
};

pub(crate) const TARGET: Target = Target {
    name: "run",
    promise: "a damaged store is refused, in opening or in reading, or gives back exactly the rows that were written",
    check,
    seeds,
    words: &[b"\x00\x01\x10\x00\x01\x01", b"\x01\x02\x40\x00\x00\x00", b"\x04\x00\x00\x00\x08\x00"],
};

const FOLDER: &str = "/d/store";
const TABLE: TableId = TableId(16);
const ROWS: u128 = 60;

type Rows = BTreeMap<u128, Vec<u8>>;

struct Written {
    files: BTreeMap<PathBuf, Vec<u8>>,
    rows: Rows,
}

fn options() -> StoreOptions {
    StoreOptions { block_bytes: 256, ..StoreOptions::default() }
}

fn objects(world: &World) -> Result<Arc<dyn Objects>, StoreError> {
    Ok(Arc::new(LocalObjects::open(&world.env(), Path::new(FOLDER))?))
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let world = World::new(1, 0);
        let objects = objects(&world).expect("an empty folder can be used");
        let (store, _) = Store::open(Arc::clone(&objects), options()).expect("an empty store opens");
        let mut rows = Rows::new();
        for round in 1..=2_u64 {
            let mut chunk = Chunk::default();
            for number in (0..ROWS).step_by(round as usize) {
                let value = vec![number as u8 ^ round as u8; 5 + number as usize];
                assert!(chunk.put(TABLE, Key(number), &value), "a small row fits");
                rows.insert(number, value);
            }
            let mut writer = store.checkpoint().expect("a checkpoint begins");
            writer.add(chunk).expect("a chunk is taken");
            writer.commit(meta(round)).expect("a checkpoint is written");
        }
        drop(store);
        let names = objects.list("").expect("a folder can be listed");
        let paths = names.iter().map(|name| Path::new(FOLDER).join(name));
        let files = paths.filter_map(|path| world.read_file(&path).map(|bytes| (path, bytes)));
        Written { files: files.collect(), rows }
    })
}

fn meta(position: u64) -> CheckpointMeta {
    CheckpointMeta {
        position: Position(position),
        term: Term(1),
        rules_version: 1,
        log_time: Timestamp(position as i64),
        state_digest: StateDigest { rows: ROWS as u64, sum: 1 },
        effects_digest: 2,
        metadata: Vec::new(),
    }
}

fn check(data: &[u8]) -> bool {
    let before = written();
    let world = World::new(1, 0);
    let Ok(objects) = objects(&world) else { return false };
    let mut files: Vec<(PathBuf, Vec<u8>)> =
        before.files.iter().map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
    change(data, &mut files);
    for (path, bytes) in &files {
        world.write_file(path, bytes);
    }
    match rows(objects) {
        Ok(Some(rows)) => {
            assert_eq!(rows, before.rows, "rows are believed that nobody wrote");
            true
        }
        // The pointer to the newest checkpoint says that there is none.
        Ok(None) => false,
        Err(error) => {
            assert!(error.to_string().contains(' '));
            false
        }
    }
}

fn rows(objects: Arc<dyn Objects>) -> Result<Option<Rows>, StoreError> {
    let (store, manifest) = Store::open(objects, options())?;
    if manifest.is_none() {
        return Ok(None);
    }
    let mut rows = Rows::new();
    for row in store.scan(TABLE) {
        let (key, value) = row?;
        rows.insert(key.0, value);
    }
    Ok(Some(rows))
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        vec![0, 0, 8, 0, 1, 1],
        vec![0, 2, 0, 1, 4, 255],
        vec![1, 3, 90, 0, 0, 0],
        vec![2, 4, 20, 0, 0, 0],
    ]
}
