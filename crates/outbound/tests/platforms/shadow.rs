//! The shadow on the seeded disk, with a platform that lies: after any sequence of wishes, lost answers, failures of the
//! disk and crashes, the platform's set is the wanted set as soon as what was not acknowledged has been wished again.
//! Of whoever was erased neither the platform nor the file holds anything, and who came anew after that stays.

use delivery::JournalKeys;
use delivery::env::OpenMode;
use delivery::env::seeded::{Faults, Seed, World};
use model::id::{Key, Position};
use outbound::platform::shadow::{
    Change, Heard, Held, Row, Shadow, ShadowError, ShadowOptions, Summary, Told, Wish,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// More with `OUTBOUND_SEEDS=100000`.
const SEEDS: u64 = 1_500;
const STEPS: u64 = 40;

#[derive(Default, Debug)]
struct Seen {
    changes: u64,
    lost_answers: u64,
    refusals: u64,
    disk_failures: u64,
    crashes: u64,
    shared: u64,
    erased: u64,
    restored: u64,
}

struct Life {
    seed: Seed,
    world: World,
    shadow: Option<Shadow>,
    /// What the platform holds.
    platform: BTreeSet<(String, Row)>,
    /// The last wish for everybody.
    wanted: BTreeMap<(String, Key), Vec<Row>>,
    /// Wishes that were not acknowledged: a lane brings them again.
    open: BTreeSet<(String, Key)>,
    /// Where the log stands.
    position: u64,
    /// Erasures that are not done: whoever follows them asks again.
    erasing: BTreeMap<Key, Position>,
    keys: Option<JournalKeys>,
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from("/data/platforms")
}

pub(crate) fn opened(world: &World, name: &str, people_max: usize) -> Result<Shadow, ShadowError> {
    Shadow::open(&world.env(), &folder(), name, ShadowOptions { people_max, keys: None })
}

pub(crate) fn keys(active: u32) -> JournalKeys {
    let keys = (1..=active).map(|number| (number, [number as u8; 32].into())).collect();
    JournalKeys { active, keys: Arc::new(keys) }
}

pub(crate) fn path() -> PathBuf {
    folder().join("meta.shadow")
}

pub(crate) fn row(number: u64) -> Row {
    format!("row-{number}").into_bytes().into_boxed_slice()
}

impl Life {
    fn new(number: u64) -> Self {
        Self {
            position: 1,
            erasing: BTreeMap::new(),
            keys: number.is_multiple_of(3).then(|| keys(2)),
            seed: Seed::new(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            world: World::new(number, 0),
            shadow: None,
            platform: BTreeSet::new(),
            wanted: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    fn open_shadow(&mut self, seen: &mut Seen) {
        loop {
            let options = ShadowOptions { people_max: 1_000, keys: self.keys.clone() };
            match Shadow::open(&self.world.env(), &folder(), "meta", options) {
                Ok(shadow) => {
                    self.shadow = Some(shadow);
                    return;
                }
                Err(_) => {
                    seen.disk_failures += 1;
                    self.world.set_faults(Faults::default());
                    self.stop();
                }
            }
        }
    }

    fn stop(&mut self) {
        self.shadow = None;
        if self.world.is_off() || self.seed.one_in(2) { self.world.crash() } else { self.world.kill() }
    }

    fn faults(&mut self) {
        let at = self.seed.below(6);
        let faults = match self.seed.below(5) {
            0 | 1 => Faults { power_off_at_write: Some(at), ..Faults::default() },
            2 => Faults { fail_sync: Some(at), ..Faults::default() },
            3 => Faults { fail_write: Some(at), ..Faults::default() },
            _ => Faults { fail_read: Some(at), ..Faults::default() },
        };
        self.world.set_faults(faults);
    }

    /// Somebody wishes something for one to three people; rows are few, so that people share them.
    fn wish(&mut self, seen: &mut Seen) {
        let mut chosen = BTreeSet::new();
        for _ in 0..1 + self.seed.below(3) {
            let list = if self.seed.one_in(3) { "carts" } else { "buyers" };
            let person = Key(u128::from(self.seed.below(6)));
            let mut rows: Vec<Row> = (0..self.seed.below(4)).map(|_| row(self.seed.below(9))).collect();
            rows.sort();
            rows.dedup();
            self.position += 1;
            self.wanted.insert((list.to_owned(), person), rows);
            chosen.insert((list.to_owned(), person));
        }
        self.open.extend(chosen.iter().cloned());
        self.fulfil(&chosen, seen);
    }

    /// What a destination does with wishes: writes them down, sends removals, then additions, writes down what it heard.
    fn fulfil(&mut self, people: &BTreeSet<(String, Key)>, seen: &mut Seen) {
        let wish = |(list, person): &(String, Key)| Wish {
            list: list.clone(),
            person: *person,
            rows: self.wanted[&(list.clone(), *person)].clone(),
            again: false,
            position: Position(self.position),
        };
        let wishes: Vec<Wish> = people.iter().map(wish).collect();
        if self.tell(&wishes, seen) {
            people.iter().for_each(|one| {
                self.open.remove(one);
            });
        }
    }

    /// Whether everything was done and written down.
    fn tell(&mut self, wishes: &[Wish], seen: &mut Seen) -> bool {
        let Some(shadow) = &mut self.shadow else { return false };
        let Ok(changes) = shadow.wish(wishes) else {
            seen.disk_failures += 1;
            return false;
        };
        let removed = self.send(wishes, &changes, false, seen);
        let added = if removed { self.send(wishes, &changes, true, seen) } else { false };
        let as_heard = |done: bool| if done { Heard::Done } else { Heard::Nothing };
        let told: Vec<Told> = wishes
            .iter()
            .map(|wish| Told {
                list: wish.list.clone(),
                person: wish.person,
                removed: as_heard(removed),
                added: as_heard(added),
            })
            .collect();
        let Some(shadow) = &mut self.shadow else { return false };
        let heard = shadow.heard(&told);
        seen.disk_failures += u64::from(heard.is_err());
        removed && added && heard.is_ok()
    }

    /// The server is lost, and comes back from a backup of now: whatever the shadow says is doubted and said again.
    fn restore(&mut self, seen: &mut Seen) {
        self.world.set_faults(Faults::default());
        let disk = self.world.env().disk;
        let mark = folder().join("meta.shadow.restored");
        if !disk.exists(&mark) {
            disk.open(&mark, OpenMode::CreateNew).unwrap();
            disk.sync_directory(&folder()).unwrap();
        }
        // What the platform was told after the backup, it forgets in this world: it must be told again.
        if self.seed.one_in(2) {
            self.platform.clear();
        }
        self.stop();
        self.open_shadow(seen);
        self.open.extend(self.wanted.keys().cloned());
        seen.restored += 1;
    }

    /// A person is erased; whoever comes under the same key later came anew.
    fn erase(&mut self, seen: &mut Seen) {
        let person = Key(u128::from(self.seed.below(6)));
        self.position += 1;
        self.erasing.insert(person, Position(self.position));
        self.wanted.retain(|(_, own), _| *own != person);
        self.open.retain(|(_, own)| *own != person);
        seen.erased += 1;
        if self.seed.one_in(2) {
            self.forget(seen);
        }
    }

    /// What a destination does about erasures: tells the platform, then forgets. Whether it is done.
    fn forget(&mut self, seen: &mut Seen) -> bool {
        let people = self.erasing.clone();
        let Some(shadow) = &mut self.shadow else { return false };
        shadow.bar(&people);
        let Ok(held) = shadow.held_of(&people) else { return false };
        let wishes: Vec<Wish> = held.iter().map(Held::wish).collect();
        if !self.tell(&wishes, seen) {
            return false;
        }
        let Some(shadow) = &mut self.shadow else { return false };
        // The order matters: what is done must be on the disk.
        let done = shadow.purge().is_ok() && shadow.held_of(&people).is_ok_and(|held| held.is_empty());
        seen.disk_failures += u64::from(!done);
        if done {
            self.assert_no_trace();
            self.erasing.clear();
        }
        done
    }

    /// Nothing in the file names those who were erased, unless they came anew.
    fn assert_no_trace(&self) {
        if self.keys.is_some() {
            return;
        }
        let bytes = self.world.read_file(&path()).unwrap();
        for person in self.erasing.keys() {
            for list in ["buyers", "carts"] {
                let name = [list.as_bytes(), &person.0.to_le_bytes()].concat();
                let wanted = self.wanted.get(&(list.to_owned(), *person));
                let anew = wanted.is_some_and(|rows| !rows.is_empty());
                let found = bytes.windows(name.len()).any(|window| window == name);
                assert!(anew || !found, "{list} {person:?}");
            }
        }
    }

    /// Whether the platform said that it did it. It may have done it without saying so, and says nothing at times.
    fn send(&mut self, wishes: &[Wish], changes: &[Change], add: bool, seen: &mut Seen) -> bool {
        let (takes, answers) = match self.seed.below(5) {
            0 => (true, false),
            1 => (false, false),
            _ => (true, true),
        };
        for (wish, change) in wishes.iter().zip(changes) {
            seen.changes += u64::from(!change.is_empty());
            let rows = if add { &change.add } else { &change.remove };
            for row in rows.iter().filter(|_| takes) {
                let member = (wish.list.clone(), row.clone());
                if add {
                    self.platform.insert(member)
                } else {
                    self.platform.remove(&member)
                };
            }
        }
        seen.lost_answers += u64::from(takes && !answers);
        seen.refusals += u64::from(!takes);
        answers
    }

    fn step(&mut self, seen: &mut Seen) {
        match self.seed.below(12) {
            0..7 => self.wish(seen),
            7 => self.faults(),
            8 => self.world.set_faults(Faults::default()),
            9 if self.seed.one_in(2) => self.erase(seen),
            10 if self.seed.one_in(8) => self.restore(seen),
            10 if !self.erasing.is_empty() => {
                self.forget(seen);
            }
            9 | 10 => {
                let again: BTreeSet<(String, Key)> = self.open.iter().take(3).cloned().collect();
                self.fulfil(&again, seen);
            }
            _ => {
                seen.crashes += 1;
                self.stop();
                self.open_shadow(seen);
            }
        }
        if self.world.is_off() {
            seen.crashes += 1;
            self.stop();
            self.open_shadow(seen);
        }
    }

    /// A lane brings what was not acknowledged until it is.
    fn settle(&mut self, seen: &mut Seen) {
        self.world.set_faults(Faults::default());
        self.stop();
        self.open_shadow(seen);
        for _ in 0..10_000 {
            let forgotten = self.erasing.is_empty() || self.forget(seen);
            if self.open.is_empty() && forgotten {
                return;
            }
            let again = self.open.clone();
            self.fulfil(&again, seen);
        }
        panic!("it never ends");
    }

    fn check(&mut self, seen: &mut Seen) {
        let mut expected = BTreeSet::new();
        let mut holders: BTreeMap<(String, Row), u64> = BTreeMap::new();
        for ((list, _), rows) in &self.wanted {
            for row in rows {
                expected.insert((list.clone(), row.clone()));
                *holders.entry((list.clone(), row.clone())).or_default() += 1;
            }
        }
        seen.shared += holders.values().filter(|holders| **holders > 1).count() as u64;
        assert_eq!(self.platform, expected);
        let shadow = self.shadow.as_ref().unwrap();
        for list in ["buyers", "carts"] {
            let mut summary = Summary::default();
            for ((own, person), rows) in self.wanted.iter().filter(|((own, _), _)| own == list) {
                summary.count(own, *person, rows);
                assert_eq!(shadow.wanted(own, *person).unwrap(), *rows);
            }
            assert!(
                shadow.summary(list).agrees_with(&summary),
                "{list}: {:?} {summary:?}",
                shadow.summary(list)
            );
        }
    }
}

#[test]
fn a_platforms_set_is_the_wanted_set_whatever_happens() {
    let seeds = std::env::var("OUTBOUND_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let mut seen = Seen::default();
    for number in 0..seeds {
        let run = std::panic::catch_unwind(|| {
            let (mut life, mut seen) = (Life::new(number), Seen::default());
            life.open_shadow(&mut seen);
            for _ in 0..STEPS {
                life.step(&mut seen);
            }
            life.settle(&mut seen);
            life.check(&mut seen);
            // Also what is read back from the disk after that.
            life.stop();
            life.open_shadow(&mut seen);
            life.settle(&mut seen);
            life.check(&mut seen);
            seen
        });
        let one = run.unwrap_or_else(|_| panic!("seed {number} failed, see above"));
        seen.changes += one.changes;
        seen.lost_answers += one.lost_answers;
        seen.refusals += one.refusals;
        seen.disk_failures += one.disk_failures;
        seen.crashes += one.crashes;
        seen.shared += one.shared;
        seen.erased += one.erased;
        seen.restored += one.restored;
    }
    eprintln!("{seen:?}");
    let Seen { changes, lost_answers, refusals, disk_failures, crashes, shared, erased, restored } = seen;
    let least = [changes, lost_answers, refusals, disk_failures, crashes, shared, erased, restored];
    assert!(least.iter().all(|count| *count >= seeds / 10), "{seen:?}");
}

pub(crate) fn wish(person: u128, rows: &[u64]) -> Wish {
    let rows = rows.iter().map(|number| row(*number)).collect();
    Wish { list: "buyers".to_owned(), person: Key(person), rows, again: false, position: Position(0) }
}

#[test]
fn what_is_beyond_the_limits_is_refused_and_changes_nothing() {
    let world = World::new(1, 0);
    let mut shadow = opened(&world, "meta", 2).unwrap();
    assert!(matches!(opened(&world, "meta", 2), Err(ShadowError::Locked { .. })));
    assert!(opened(&world, "google", 2).is_ok());
    shadow.wish(&[wish(1, &[1]), wish(2, &[2])]).unwrap();
    let full = shadow.wish(&[wish(3, &[3])]).unwrap_err();
    assert_eq!(full.code(), "shadow_full");
    // Who is in it already may change, and leave.
    shadow.wish(&[wish(1, &[4])]).unwrap();
    let many: Vec<u64> = (0..65).collect();
    assert_eq!(shadow.wish(&[wish(1, &many)]).unwrap_err().code(), "shadow_row_too_large");
    let long = Wish { rows: vec![vec![0; 5_000].into()], ..wish(1, &[]) };
    assert_eq!(shadow.wish(&[long]).unwrap_err().code(), "shadow_row_too_large");
    assert_eq!(shadow.summary("buyers").people, 2);
}

/// After a removal that was acknowledged and a rewrite, nothing of a person is left in the file.
#[test]
fn who_leaves_leaves_no_trace() {
    let world = World::new(2, 0);
    let mut shadow = opened(&world, "meta", 10).unwrap();
    let told = |person: u128| Told {
        list: "buyers".to_owned(),
        person: Key(person),
        removed: Heard::Done,
        added: Heard::Done,
    };
    shadow.wish(&[wish(1, &[1]), wish(2, &[2])]).unwrap();
    shadow.heard(&[told(1), told(2)]).unwrap();
    shadow.wish(&[wish(1, &[])]).unwrap();
    shadow.heard(&[told(1)]).unwrap();
    shadow.rewrite().unwrap();
    drop(shadow);
    let bytes = world.read_file(Path::new("/data/platforms/meta.shadow")).unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(!holds(b"row-1") && holds(b"row-2"));
    let shadow = opened(&world, "meta", 10).unwrap();
    assert_eq!((shadow.summary("buyers").people, shadow.summary("buyers").unsettled), (1, 0));
}

/// A disk that fails while the second person of a call is read: what the first one gave up is theirs again.
#[test]
fn a_call_that_fails_halfway_changes_nothing() {
    for at in 0..6 {
        let world = World::new(3, 0);
        let mut shadow = opened(&world, "meta", 10).unwrap();
        shadow.wish(&[wish(1, &[1, 2]), wish(2, &[2, 3]), wish(3, &[4])]).unwrap();
        let before = shadow.summary("buyers");
        world.set_faults(Faults { fail_read: Some(at), ..Faults::default() });
        let failed = shadow.wish(&[wish(1, &[]), wish(2, &[5]), wish(3, &[])]);
        world.set_faults(Faults::default());
        assert!(failed.is_err(), "read {at} did not fail: the test shows nothing");
        assert_eq!(shadow.summary("buyers"), before, "read {at}");
        // The shared row stays as long as one of the two is there, and goes with the other.
        let changes = shadow.wish(&[wish(1, &[])]).unwrap();
        assert_eq!(changes[0].remove, [row(1)], "read {at}");
        let changes = shadow.wish(&[wish(2, &[])]).unwrap();
        assert_eq!(changes[0].remove, [row(2), row(3)], "read {at}");
    }
}
