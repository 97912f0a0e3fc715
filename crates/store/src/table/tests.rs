use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Mutex;

#[derive(Clone, Debug, PartialEq)]
struct Row(Vec<u8>);

impl Value for Row {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self(bytes.to_vec()))
    }

    fn heap_bytes(&self) -> usize {
        self.0.capacity()
    }
}

/// Committed rows, kept by the test: the disk of these tests.
#[derive(Default)]
struct Shelf(Mutex<BTreeMap<Key, Vec<u8>>>);

impl RowSource for Shelf {
    fn read(&self, _table: TableId, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().unwrap().get(&key).cloned())
    }
}

impl Shelf {
    fn store(&self, chunk: &Chunk) {
        let mut rows = self.0.lock().unwrap();
        for row in &chunk.rows {
            match row.value {
                Some((offset, len)) => {
                    let start = offset as usize;
                    rows.insert(row.key, chunk.bytes[start..start + len as usize].to_vec());
                }
                None => {
                    rows.remove(&row.key);
                }
            }
        }
    }

    fn digest(&self, table: TableId) -> u64 {
        let rows = self.0.lock().unwrap();
        rows.iter().fold(0, |sum: u64, (key, bytes)| sum.wrapping_add(digest_of(table, *key, bytes)))
    }
}

fn spread(key: u8) -> Key {
    Key::of_text("test", &key.to_string())
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u8, Vec<u8>),
    Change(u8, u8),
    Remove(u8),
    Read(u8),
    Freeze,
    Encode(usize),
    Evict,
    /// Begins to read rows ahead, goes on with a few, or ends it when all were given.
    Warm(usize),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(key, row)| Step::Insert(key % 24, row)),
        4 => (any::<u8>(), any::<u8>()).prop_map(|(key, byte)| Step::Change(key % 24, byte)),
        2 => any::<u8>().prop_map(|key| Step::Remove(key % 24)),
        4 => any::<u8>().prop_map(|key| Step::Read(key % 24)),
        2 => Just(Step::Freeze),
        3 => (0_usize..6).prop_map(Step::Encode),
        2 => Just(Step::Evict),
        4 => (1_usize..8).prop_map(Step::Warm),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..120)
}

struct Harness {
    table: Table<Row>,
    shelf: Arc<Shelf>,
    /// What the table must hold now, at the freeze, and at the last commit.
    now: BTreeMap<Key, Vec<u8>>,
    frozen: Option<BTreeMap<Key, Vec<u8>>>,
    committed: BTreeMap<Key, Vec<u8>>,
    chunk: Chunk,
    warming: Option<Vec<(Key, Vec<u8>)>>,
}

const ID: TableId = TableId(9);

impl Harness {
    fn new() -> Self {
        let shelf = Arc::new(Shelf::default());
        let mut table = Table::new(ID, "rows");
        table.attach(shelf.clone(), true);
        Self {
            table,
            shelf,
            now: BTreeMap::new(),
            frozen: None,
            committed: BTreeMap::new(),
            chunk: Chunk::default(),
            warming: None,
        }
    }

    fn freeze(&mut self) {
        if self.frozen.is_none() {
            self.table.freeze();
            self.frozen = Some(self.now.clone());
        }
    }

    fn encode(&mut self, limit: usize) {
        if self.frozen.is_none() || self.table.encode_some(limit, &mut self.chunk) > 0 {
            return;
        }
        let frozen = self.frozen.take().unwrap();
        self.shelf.store(&std::mem::take(&mut self.chunk));
        self.table.committed();
        assert_eq!(*self.shelf.0.lock().unwrap(), frozen, "a checkpoint holds the state at its freeze");
        assert_eq!(self.table.digest(), self.shelf.digest(ID), "the digest is that of the checkpoint");
        self.committed = frozen;
    }

    fn restart(&mut self) {
        let digest = self.shelf.digest(ID);
        self.table = Table::new(ID, "rows");
        self.table.attach(self.shelf.clone(), false);
        self.table.set_digest(digest);
        self.chunk = Chunk::default();
        self.frozen = None;
        self.warming = None;
        self.now = self.committed.clone();
    }

    fn warm(&mut self, rows: usize) {
        let Some(waiting) = &mut self.warming else {
            self.table.begin_warming();
            let stored = self.shelf.0.lock().unwrap();
            self.warming = Some(stored.iter().map(|(key, row)| (*key, row.clone())).collect());
            return;
        };
        for (key, row) in waiting.drain(..rows.min(waiting.len())) {
            self.table.warm(key, &row).unwrap();
        }
        if waiting.is_empty() {
            self.table.end_warming();
            self.warming = None;
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Insert(key, row) => {
                self.table.insert(spread(key), Row(row.clone()));
                self.now.insert(spread(key), row);
            }
            Step::Change(key, byte) => {
                if let Some(row) = self.table.get_mut(spread(key)) {
                    row.0.push(byte);
                }
                if let Some(row) = self.now.get_mut(&spread(key)) {
                    row.push(byte);
                }
            }
            Step::Remove(key) => {
                self.table.remove(spread(key));
                self.now.remove(&spread(key));
            }
            Step::Read(key) => {
                assert_eq!(self.table.get(spread(key)).map(|row| &row.0), self.now.get(&spread(key)));
            }
            Step::Freeze => self.freeze(),
            Step::Encode(limit) => self.encode(limit),
            Step::Evict => {
                for _ in 0..512 {
                    self.table.evict(0);
                }
            }
            Step::Warm(rows) => self.warm(rows),
            Step::Restart => self.restart(),
        }
    }
}

proptest! {
    #[test]
    fn a_table_is_a_map_and_a_checkpoint_is_the_map_at_its_freeze(steps in steps()) {
        let mut harness = Harness::new();
        for step in steps {
            harness.run(step);
        }
        for key in 0..24 {
            harness.run(Step::Read(key));
        }
        harness.freeze();
        harness.encode(usize::MAX);
        harness.freeze();
        harness.encode(usize::MAX);
        prop_assert_eq!(&harness.committed, &harness.now);
        prop_assert!(harness.table.take_fault().is_none());
    }
}

#[test]
fn eviction_frees_memory_and_rows_come_back() {
    let mut harness = Harness::new();
    for key in 0..200 {
        harness.run(Step::Insert(key, vec![key; 100]));
    }
    harness.freeze();
    harness.encode(usize::MAX);
    let full = harness.table.resident_bytes();
    harness.run(Step::Evict);
    assert!(harness.table.resident_bytes() * 10 < full, "{} of {full}", harness.table.resident_bytes());
    assert!(matches!(harness.table.peek(spread(3)), Peek::Unknown));
    harness.run(Step::Read(3));
    assert_eq!(harness.table.unplanned_reads(), 1);
}

struct Broken;

impl RowSource for Broken {
    fn read(&self, table: TableId, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        Err(StoreError::Row { table, key, source: DecodeError::Truncated })
    }
}

#[test]
fn a_row_that_cannot_be_read_is_a_fault_and_not_an_absent_row() {
    let mut table: Table<Row> = Table::new(ID, "rows");
    table.attach(Arc::new(Broken), false);
    assert!(table.get(spread(1)).is_none());
    assert!(table.take_fault().is_some());
}
