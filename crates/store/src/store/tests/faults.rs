//! Whatever fails, and wherever the power goes: the reopened store is one committed checkpoint, whole.

use super::*;
use env::seeded::Faults;

/// A life of a store, the same for the same seed, whatever fails meanwhile.
struct Life {
    world: World,
    store: Store,
    window: crate::DedupWindow,
    seed: Seed,
    pending: Pending,
    /// Rows and window by position of every checkpoint that committed or may have.
    checkpoints: BTreeMap<u64, (Rows, Vec<BucketState>)>,
    committed: u64,
    /// A later position that a crash may have made the current one.
    uncertain: Option<u64>,
    position: u64,
}

fn open(world: &World) -> Result<(Store, crate::DedupWindow), StoreError> {
    let objects = LocalObjects::open(&world.env(), Path::new(FOLDER))?;
    let (store, _) = Store::open(Arc::new(objects), options())?;
    let window = store.dedup_window()?;
    Ok((store, window))
}

impl Life {
    fn new(seed: u64) -> Self {
        let world = World::new(seed, 0);
        let (store, window) = open(&world).unwrap();
        Self {
            world,
            store,
            window,
            seed: Seed::new(seed),
            pending: Pending::default(),
            checkpoints: [(0, (Rows::new(), Vec::new()))].into(),
            committed: 0,
            uncertain: None,
            position: 0,
        }
    }

    fn change(&mut self) -> Result<(), StoreError> {
        let mut failed = Ok(());
        for _ in 0..self.seed.below(25) {
            let place = (self.seed.below(3) as u8, u128::from(self.seed.below(40)));
            if self.seed.one_in(4) {
                self.pending.delete(place);
            } else {
                let value = vec![self.seed.below(256) as u8; self.seed.below(90) as usize];
                self.pending.put(place, value);
            }
        }
        for _ in 0..self.seed.below(20) {
            let (id, at) = (Key(u128::from(self.seed.below(90))), Timestamp(self.position as i64 * 9));
            if let Err(error) = self.window.check_and_insert(id, at) {
                // A failed confirmation changed nothing, so it can be asked again.
                failed = Err(error);
                let _ = self.window.check_and_insert(id, at);
            }
        }
        failed
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.position += 1;
        let state = (self.pending.rows.clone(), self.window.buckets());
        let interval = self.window.begin_checkpoint();
        let done = checkpoint(&self.store, &self.pending, Some(interval), meta(self.position));
        self.checkpoints.insert(self.position, state);
        match &done {
            Ok(()) => {
                self.pending.changes.clear();
                self.committed = self.position;
            }
            Err(StoreError::Uncertain { .. }) => self.uncertain = Some(self.position),
            Err(_) if self.world.is_off() => self.uncertain = Some(self.position),
            Err(_) => {}
        }
        done
    }

    /// Lives on until something fails. What fails once is tried again, as the engine would.
    fn live(&mut self) -> Result<(), StoreError> {
        let mut failed = None;
        for _ in 0..9 {
            let changed = self.change();
            let done = self.checkpoint();
            let merged = self.store.merge_step(self.seed.below(3_000)).map(|_| ());
            for result in [changed, done, merged] {
                if let Err(error) = result {
                    let over = self.world.is_off() || matches!(error, StoreError::Uncertain { .. });
                    failed = Some(error);
                    if over {
                        return failed.map_or(Ok(()), Err);
                    }
                    // Readers see the last committed state, whole; a failing read is the fault itself.
                    check(&self.store, &self.checkpoints[&self.committed].0);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn check_after_crash(mut self) {
        self.world.crash();
        (self.store, self.window) = open(&self.world).unwrap();
        let position = self.store.manifest().map_or(0, |manifest| manifest.position.0);
        assert!(
            position == self.committed || Some(position) == self.uncertain,
            "found {position}, committed {}, uncertain {:?}",
            self.committed,
            self.uncertain
        );
        let (rows, buckets) = self.checkpoints[&position].clone();
        check(&self.store, &rows);
        assert_eq!(self.window.buckets(), buckets);
        check_objects(&self.world, &self.store);
        for manifest in Store::kept(&*objects(&self.world)).unwrap() {
            let (old, _) = Store::open_at(objects(&self.world), options(), manifest.generation).unwrap();
            check(&old, &self.checkpoints[&manifest.position.0].0);
            assert_eq!(old.dedup_window().unwrap().buckets(), self.checkpoints[&manifest.position.0].1);
        }
        // And it goes on.
        self.committed = position;
        self.pending = Pending { rows, changes: Vec::new() };
        self.position = self.position.max(position);
        self.change().unwrap();
        self.checkpoint().unwrap();
        while self.store.merge_step(1 << 20).unwrap() {}
        check(&self.store, &self.checkpoints[&self.committed].0);
    }
}

/// Lets a fault strike at every moment of a life, one life for each moment, until it strikes no more.
fn at_every_moment(seeds: std::ops::Range<u64>, fault: impl Fn(u64) -> Faults) {
    for seed in seeds {
        let mut struck = 0;
        for moment in 0.. {
            let mut life = Life::new(seed);
            life.world.set_faults(fault(moment));
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let lived = life.live();
                life.check_after_crash();
                lived
            }));
            match result {
                Ok(Ok(())) => break,
                Ok(Err(_)) => struck += 1,
                Err(panic) => {
                    eprintln!("seed {seed}, moment {moment}");
                    std::panic::resume_unwind(panic);
                }
            }
        }
        assert!(struck > 20, "seed {seed}: the fault struck {struck} times only");
    }
}

#[test]
fn power_may_go_at_any_write() {
    at_every_moment(0..10, |moment| Faults { power_off_at_write: Some(moment), ..Faults::default() });
}

#[test]
fn any_sync_may_fail() {
    at_every_moment(100..106, |moment| Faults { fail_sync: Some(moment), ..Faults::default() });
}

#[test]
fn any_write_may_fail() {
    at_every_moment(200..206, |moment| Faults { fail_write: Some(moment), ..Faults::default() });
}

#[test]
fn any_read_may_fail() {
    at_every_moment(300..306, |moment| Faults { fail_read: Some(moment), ..Faults::default() });
}

#[test]
fn a_full_disk_stops_commits_and_nothing_else() {
    for seed in 400..430 {
        let mut life = Life::new(seed);
        let capacity = 2_000 + Seed::new(seed).below(30_000);
        life.world.set_faults(Faults { capacity_bytes: Some(capacity), ..Faults::default() });
        let lived = life.live();
        if let Err(error) = &lived {
            assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
            // Space returns: the same store goes on, with all that waited.
            life.world.set_faults(Faults::default());
            life.checkpoint().unwrap();
        }
        life.check_after_crash();
    }
}

/// Opening is interrupted too: it claims, lists and removes.
#[test]
fn opening_may_be_interrupted_at_any_write_or_read() {
    for seed in 500..506 {
        for moment in 0..60 {
            let mut life = Life::new(seed);
            life.live().unwrap();
            life.world.kill();
            let faults = if moment % 2 == 0 {
                Faults { power_off_at_write: Some(moment / 2), ..Faults::default() }
            } else {
                Faults { fail_read: Some(moment / 2), ..Faults::default() }
            };
            life.world.set_faults(faults);
            let _ = open(&life.world);
            life.check_after_crash();
        }
    }
}

/// Bits that rot are an error, never another answer.
#[test]
fn a_changed_byte_is_never_believed() {
    let mut life = Life::new(600);
    life.live().unwrap();
    let (rows, buckets) = life.checkpoints[&life.committed].clone();
    let listed = objects(&life.world).list("").unwrap();
    for name in listed {
        let path = Path::new(FOLDER).join(&name);
        let good = life.world.read_file(&path).unwrap();
        for at in (0..good.len()).step_by(13) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            life.world.write_file(&path, &bad);
            let needed = name == CURRENT || life.store.manifest().unwrap().files().any(|file| file == name);
            let view: Arc<dyn Objects> = Arc::new(LocalObjects::view(&life.world.env(), Path::new(FOLDER)));
            let answered = Store::kept(&*view).and_then(|kept| {
                let newest = kept.last().map_or(0, |manifest| manifest.generation);
                let (store, manifest) = Store::open_at(view.clone(), options(), newest)?;
                let window = store.dedup_window()?;
                let mut read = Rows::new();
                for table in 0..3 {
                    for row in store.scan(TableId(table)) {
                        let (key, value) = row?;
                        read.insert((table, key.0), value);
                    }
                }
                Ok((manifest.position.0, read, window.buckets()))
            });
            match answered {
                // Damage to an older manifest leaves the current one alone; damage to the current one leaves older.
                Ok((position, read, _)) if position != life.committed => {
                    assert_eq!(read, life.checkpoints[&position].0, "{name} at {at}");
                }
                Ok((_, read, window)) => {
                    assert_eq!((read, window), (rows.clone(), buckets.clone()), "{name} at {at}");
                    let ids_or_filter = name.starts_with(IDS) || name.starts_with(RUN);
                    assert!(!needed || ids_or_filter, "{name} at {at} went unnoticed");
                }
                Err(StoreError::Damaged { .. } | StoreError::NoKey { .. }) => {}
                Err(other) => panic!("{name} at {at}: {other}"),
            }
        }
        life.world.write_file(&path, &good);
    }
    assert_eq!(ID_BYTES, 16);
}
