//! Two writers, many readers.

use super::*;
use crate::objects::{ETag, ObjectReader, ObjectWriter};
use env::Env;
use env::seeded::Faults;
use std::path::PathBuf;

fn with_term(term: u64) -> StoreOptions {
    StoreOptions { term: Some(Term(term)), ..options() }
}

fn meta_of(position: u64, term: u64) -> CheckpointMeta {
    CheckpointMeta { term: Term(term), ..meta(position) }
}

#[test]
fn the_older_of_two_writers_is_fenced() {
    // (term of the first, term of the second, may the first still commit, does the second open)
    let cases = [(1, 2, false, true), (2, 2, false, true), (2, 1, true, false)];
    for (first, second, first_commits, second_opens) in cases {
        let world = World::new(1, 0);
        let mut pending = Pending::default();
        pending.put((1, 1), b"first".to_vec());
        let (older, _) = Store::open(objects(&world), with_term(first)).unwrap();
        checkpoint(&older, &pending, None, meta_of(1, first)).unwrap();
        let newer = Store::open(objects(&world), with_term(second));
        match &newer {
            Ok(_) => assert!(second_opens),
            Err(StoreError::Fenced { ours, theirs }) => {
                assert_eq!((ours.0, theirs.0, second_opens), (second, first, false));
            }
            Err(other) => panic!("{other}"),
        }
        pending.put((1, 1), b"again".to_vec());
        let committed = checkpoint(&older, &pending, None, meta_of(2, first));
        match committed {
            Ok(()) => assert!(first_commits),
            Err(StoreError::Fenced { ours, theirs }) => {
                assert_eq!((ours.0, theirs.0, first_commits), (first, second.max(first), false));
                // Not even a merge passes any more.
                assert!(matches!(older.merge_step(1), Err(StoreError::ReadOnly { .. })));
            }
            Err(other) => panic!("{other}"),
        }
        let expected: &[u8] = if first_commits { b"again" } else { b"first" };
        if let Ok((newer, manifest)) = newer {
            assert_eq!(manifest.unwrap().position, Position(1));
            check(&newer, &[((1, 1), expected.to_vec())].into());
            checkpoint(&newer, &pending, None, meta_of(3, second)).unwrap();
            // The deposed writer's files did not get in the way of the new ones.
            check(&newer, &pending.rows);
        }
    }
}

#[test]
fn a_lower_term_or_position_is_refused_at_commit() {
    let world = World::new(1, 0);
    let (store, _) = Store::open(objects(&world), with_term(3)).unwrap();
    let refused = checkpoint(&store, &Pending::default(), None, meta_of(1, 2));
    assert!(matches!(refused, Err(StoreError::Fenced { ours: Term(2), theirs: Term(3) })));
    checkpoint(&store, &Pending::default(), None, meta_of(5, 4)).unwrap();
    let refused = checkpoint(&store, &Pending::default(), None, meta_of(4, 4));
    assert!(matches!(refused, Err(StoreError::Options { .. })));
    assert_eq!(store.manifest().unwrap().term, Term(4));
}

#[test]
fn merging_everything_away_leaves_nothing() {
    let world = World::new(1, 0);
    let (store, _) = Store::open(objects(&world), StoreOptions { kept_checkpoints: 1, ..options() }).unwrap();
    let mut pending = Pending::default();
    pending.put((1, 1), b"soon gone".to_vec());
    checkpoint(&store, &pending, None, meta(1)).unwrap();
    pending.delete((1, 1));
    checkpoint(&store, &pending, None, meta(2)).unwrap();
    store.request_full_merge();
    while store.merge_step(1).unwrap() {}
    assert_eq!((store.stats().runs, store.stats().kept_manifests), (0, 1));
    check(&store, &Rows::new());
    check_objects(&world, &store);
    assert_eq!(objects(&world).list(RUN).unwrap(), Vec::<String>::new());
}

/// Somebody counts on a full merge: a disk that refuses delays it, and it is said to be done when it is.
#[test]
fn a_full_merge_that_fails_is_begun_again() {
    let mut failed = 0;
    for at in 0..40 {
        let world = World::new(at, 0);
        let options = StoreOptions { merge_fan_in: 8, ..options() };
        let (store, _) = Store::open(objects(&world), options).unwrap();
        assert_eq!((store.request_full_merge(), store.full_merges()), (1, 0));
        while store.merge_step(1 << 20).unwrap() {}
        assert_eq!(store.full_merges(), 1, "there is nothing to merge");
        let mut pending = Pending::default();
        for number in 1..4 {
            pending.put((1, number), vec![1; 100]);
            pending.delete((1, number - 1));
            checkpoint(&store, &pending, None, meta(number as u64)).unwrap();
            pending.changes.clear();
        }
        assert_eq!(store.request_full_merge(), 2);
        world.set_faults(Faults { fail_write: Some(at), ..Faults::default() });
        let mut outcome = store.merge_step(1);
        while matches!(outcome, Ok(true)) {
            outcome = store.merge_step(1);
        }
        world.set_faults(Faults::default());
        if matches!(outcome, Err(StoreError::Uncertain { .. })) {
            continue;
        }
        if outcome.is_err() {
            failed += 1;
            assert_eq!(store.full_merges(), 1, "it is not done");
        }
        while store.merge_step(1 << 20).unwrap() {}
        assert_eq!((store.full_merges(), store.stats().runs, store.stats().entries), (2, 1, 1));
        check(&store, &pending.rows);
    }
    assert!(failed > 0, "no merge failed");
}

#[test]
fn a_lost_pointer_is_not_an_empty_store() {
    let world = World::new(1, 0);
    let (store, _) = Store::open(objects(&world), options()).unwrap();
    checkpoint(&store, &Pending::default(), None, meta(1)).unwrap();
    objects(&world).delete(CURRENT).unwrap();
    let refused = Store::open(objects(&world), options()).err().unwrap();
    assert!(matches!(refused, StoreError::Missing { .. }), "{refused}");
}

#[test]
fn a_checkpoint_without_its_ids_is_refused() {
    let world = World::new(1, 0);
    let (store, _) = Store::open(objects(&world), options()).unwrap();
    let mut window = store.dedup_window().unwrap();
    assert!(store.dedup_window().is_err(), "there is one window");
    assert!(matches!(
        checkpoint(&store, &Pending::default(), None, meta(1)),
        Err(StoreError::Options { .. })
    ));
    checkpoint(&store, &Pending::default(), Some(window.begin_checkpoint()), meta(1)).unwrap();
    let other = StoreOptions { dedup: DedupOptions { bucket_us: 41, ..options().dedup }, ..options() };
    let (store, _) = Store::open(objects(&world), other).unwrap();
    assert!(matches!(store.dedup_window().err(), Some(StoreError::Options { .. })));
}

#[test]
fn objects_keep_their_word() {
    let world = World::new(1, 0);
    let objects = objects(&world);
    objects.put_if_absent("a", b"one").unwrap();
    assert!(matches!(objects.put_if_absent("a", b"two"), Err(StoreError::Conflict { .. })));
    assert_eq!(objects.read_range("a", 1, 2).unwrap(), b"ne");
    assert_eq!(objects.size("a").unwrap(), 3);
    let mut writer = objects.create_writer("b").unwrap();
    writer.write(b"unfinished").unwrap();
    assert_eq!(objects.list("b").unwrap(), Vec::<String>::new());
    drop(writer);
    let mut writer = objects.create_writer("b").unwrap();
    writer.write(&[7; 3 << 20]).unwrap();
    writer.finish().unwrap();
    let first = objects.compare_and_swap("c", None, b"1").unwrap();
    assert!(matches!(objects.compare_and_swap("c", None, b"2"), Err(StoreError::Conflict { .. })));
    let second = objects.compare_and_swap("c", Some(&first), b"2").unwrap();
    assert!(matches!(objects.compare_and_swap("c", Some(&first), b"3"), Err(StoreError::Conflict { .. })));
    assert_eq!(objects.read_tagged("c").unwrap(), Some((b"2".to_vec(), second)));
    objects.delete("a").unwrap();
    objects.delete("a").unwrap();
    world.crash();
    let objects = super::objects(&world);
    assert_eq!(objects.size("b").unwrap(), 3 << 20);
    assert_eq!(objects.read_tagged("c").unwrap().unwrap().0, b"2");
    assert_eq!(objects.list("tmp-").unwrap(), Vec::<String>::new());
}

/// Objects of a service where a deleted object cannot be read any more, even by who had it open.
struct Remote(LocalObjects);

struct RemoteReader {
    inner: Arc<dyn ObjectReader>,
    objects: Env,
    path: PathBuf,
}

impl ObjectReader for RemoteReader {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        if !self.objects.disk.exists(&self.path) {
            return Err(StoreError::Missing { object: self.path.display().to_string() });
        }
        self.inner.read_exact_at(offset, buffer)
    }

    fn len(&self) -> Result<u64, StoreError> {
        self.inner.len()
    }
}

struct RemoteObjects {
    local: Remote,
    env: Env,
    folder: PathBuf,
}

impl Objects for RemoteObjects {
    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.local.0.put_if_absent(name, bytes)
    }
    fn create_writer(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        self.local.0.create_writer(name)
    }
    fn reader(&self, name: &str) -> Result<Arc<dyn ObjectReader>, StoreError> {
        let (inner, path) = (self.local.0.reader(name)?, self.folder.join(name));
        Ok(Arc::new(RemoteReader { inner, objects: self.env.clone(), path }))
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.local.0.list(prefix)
    }
    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.local.0.delete(name)
    }
    fn read_tagged(&self, name: &str) -> Result<Option<(Vec<u8>, ETag)>, StoreError> {
        self.local.0.read_tagged(name)
    }
    fn compare_and_swap(
        &self,
        name: &str,
        expected: Option<&ETag>,
        bytes: &[u8],
    ) -> Result<ETag, StoreError> {
        self.local.0.compare_and_swap(name, expected, bytes)
    }
}

/// While checkpoints and merges replace files, every scan sees one checkpoint, whole, and no file vanishes under it.
#[test]
fn readers_see_one_checkpoint_and_never_a_missing_file() {
    let env = Env::real();
    let folder = std::env::temp_dir().join(format!("store-readers-{}", env.clock.now_us()));
    let local = Remote(LocalObjects::open(&env, &folder).unwrap());
    let remote = RemoteObjects { local, env: env.clone(), folder: folder.clone() };
    let options = StoreOptions { kept_checkpoints: 1, ..options() };
    let (store, _) = Store::open(Arc::new(remote), options).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let scans = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, stop, scans) = (store.clone(), stop.clone(), scans.clone());
            let body = move || {
                while !stop.load(Ordering::Acquire) {
                    let rows: Vec<_> = store.scan(TableId(1)).map(|row| row.unwrap().1).collect();
                    assert!(rows.windows(2).all(|pair| pair[0] == pair[1]), "a scan mixed two checkpoints");
                    let _ = store.source().read(TableId(1), Key(3)).unwrap();
                    scans.fetch_add(1, Ordering::AcqRel);
                }
            };
            env.spawner.spawn("reader", Box::new(body)).unwrap()
        })
        .collect();
    let mut position = 0_u64;
    while position < 40 || (scans.load(Ordering::Acquire) < 100 && position < 2_000) {
        position += 1;
        let mut pending = Pending::default();
        for key in 0..300 {
            pending.put((1, key), position.to_le_bytes().to_vec());
        }
        checkpoint(&store, &pending, None, meta(position)).unwrap();
        while store.merge_step(20_000).unwrap() {}
    }
    stop.store(true, Ordering::Release);
    assert!(readers.into_iter().all(env::Thread::join), "a reader failed");
    for name in env.disk.list(&folder).unwrap() {
        env.disk.remove(&folder.join(name)).unwrap();
    }
}
