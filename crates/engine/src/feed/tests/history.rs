//! The history of a life of a feed, and what happens to its files.

use super::*;

/// What the machine of these tests keeps: of the effects that [`items_of`] makes, those with the ordinal 1.
pub(super) const KINDS: [u16; 1] = [3];

/// Whether it is an effect that nothing takes out.
pub(super) fn is_kept(item: &Item) -> bool {
    matches!(&item.what, What::Effect { kind, .. } if KINDS.contains(kind))
}

/// Somebody who reads the history a piece at a time, whatever happens in between.
#[derive(Default)]
pub(super) struct LookingBack {
    at: Option<Place>,
    from: Place,
    found: Vec<HistoryItem>,
    /// Times that they came to the end.
    pub(super) rounds: u64,
    /// Items that were read where followers could not read them any more.
    pub(super) condensed: u64,
}

impl Life {
    fn expected_history(&self, from: Place) -> Vec<(Item, HistoryItem)> {
        let left = |item: Item| HistoryItem::of(item.clone(), &KINDS).map(|left| (item, left));
        self.expected(from).into_iter().filter_map(left).collect()
    }

    /// Events of people who are to be forgotten may be gone. Nothing else.
    fn same_history(&self, found: &[HistoryItem], expected: &[(Item, HistoryItem)], what: &str) {
        let mut rest = found.iter().peekable();
        for (item, left) in expected {
            if rest.next_if(|found| *found == left).is_none() {
                let mut erased = self.erased.iter();
                let may_go = erased.any(|(key, before)| {
                    item.id.position.0 < *before && concerned(item, Key(u128::from(*key)))
                });
                let event = matches!(item.what, What::Event { .. });
                assert!(may_go && event, "seed {}: {what}: {:?} is missing", self.number, item.id);
            }
        }
        let left = rest.next();
        assert!(left.is_none(), "seed {}: {what}: {left:?} is too much", self.number);
    }

    fn whole_history(&self, feed: &Feed) -> Option<Vec<HistoryItem>> {
        match all_history(feed, feed.bounds().history) {
            Ok(found) => Some(found),
            Err(error) => {
                assert!(self.excused || self.world.is_off(), "seed {}: {error}", self.number);
                None
            }
        }
    }

    pub(super) fn check_history(&mut self) {
        let Some(feeding) = &self.feeding else { return };
        let bounds = feeding.feed.bounds();
        if !self.excused {
            let first = self.log_first;
            assert!(bounds.history.0 <= first, "seed {}: nothing known before {bounds:?}", self.number);
        }
        let Some(found) = self.whole_history(&feeding.feed) else { return };
        self.same_history(&found, &self.expected_history(Place::at(bounds.history)), "history");
        let condensed = found.iter().filter(|item| item.id.position < bounds.start).count();
        self.looking_back.condensed += condensed as u64;
    }

    pub(super) fn check_forgotten(&self, key: u64, before: u64) {
        let Some(found) = self.feeding.as_ref().and_then(|feeding| self.whole_history(&feeding.feed)) else {
            return;
        };
        let key = Kept::Event(Part::Key(Key(u128::from(key))));
        let left = found.iter().find(|item| item.id.position.0 < before && item.what == key);
        assert_eq!(left, None, "seed {}: the history knows somebody erased", self.number);
    }

    /// The log is trimmed as far as a checkpoint allows.
    pub(super) fn trim_log(&mut self) {
        let Some(feeding) = self.feeding.as_ref().filter(|_| self.retains && self.number.is_multiple_of(2))
        else {
            return;
        };
        self.log_first = self.log_first.max(self.seed.below(self.checkpoint + 1));
        feeding.feed.log_begins_at(Position(self.log_first));
    }

    pub(super) fn look_back(&mut self) {
        let Some(feeding) = &self.feeding else { return };
        let place = self.looking_back.at.unwrap_or_else(|| {
            self.looking_back.from = Place::at(feeding.feed.bounds().history);
            self.looking_back.found.clear();
            self.looking_back.from
        });
        // After a crash the end may be before where they stood.
        if place.position > feeding.feed.bounds().complete {
            self.looking_back.at = None;
            return;
        }
        match feeding.feed.history(place) {
            Ok(batch) => {
                self.looking_back.found.extend(batch.items);
                self.looking_back.at = Some(batch.next).filter(|_| !batch.at_end);
                let mut expected = self.expected_history(self.looking_back.from);
                expected.retain(|(item, _)| Place::of(item.id) < batch.next);
                self.same_history(&self.looking_back.found, &expected, "looked back");
                self.looking_back.rounds += u64::from(batch.at_end);
            }
            Err(FeedError::Gone { .. }) => {
                assert!(
                    self.excused || place < Place::at(Position(self.log_first)),
                    "seed {}: the history is gone for no reason",
                    self.number
                );
                self.looking_back.at = None;
            }
            Err(error) => assert!(self.excused || self.world.is_off(), "seed {}: {error}", self.number),
        }
    }
}

fn all_history(feed: &Feed, from: Position) -> Result<Vec<HistoryItem>, FeedError> {
    let (mut place, mut found) = (Place::at(from), Vec::new());
    loop {
        let batch = feed.history(place)?;
        found.extend(batch.items);
        if batch.at_end {
            return Ok(found);
        }
        assert!(batch.next > place, "a read leads nowhere");
        place = batch.next;
    }
}

fn options() -> FeedOptions {
    FeedOptions {
        retention_age_us: None,
        retention_bytes: 1,
        segment_bytes: 700,
        block_bytes: 120,
        history_kinds: &KINDS,
        ..FeedOptions::default()
    }
}

fn keyring() -> Keyring {
    Keyring { active: 4, keys: BTreeMap::from([(4, [9; 32])]) }
}

fn opened(world: &World, next: u64, sealed: bool, options: FeedOptions) -> Feeding {
    let keyring = sealed.then(keyring);
    open(&world.env(), Path::new(FOLDER), Position(next), Timestamp(0), keyring, options).unwrap()
}

const RECORDS: u64 = 120;

fn told() -> Vec<HistoryItem> {
    let items = (0..RECORDS).flat_map(|position| items_of(position, Timestamp(0)));
    items.filter_map(|item| HistoryItem::of(item, &KINDS)).collect()
}

/// Everything is written, nothing is condensed, and a checkpoint stands at the end.
fn told_feed(world: &World, sealed: bool) {
    let options = FeedOptions { retention_bytes: u64::MAX, ..options() };
    let Feeding { mut appender, mut writer, .. } = opened(world, 0, sealed, options);
    for first in (0..RECORDS).step_by(4) {
        apply(&mut appender, &Frame { first, count: 4, at: Timestamp(0) });
    }
    appender.mark();
    while writer.step().unwrap() {}
}

/// Loses power at every write, and after every step, while files are condensed: nothing is lost and nothing doubled.
#[test]
fn the_power_may_go_at_any_moment_while_files_are_condensed() {
    for sealed in [false, true] {
        let mut crashes = 0;
        for (moment, at_write) in (0..400).flat_map(|moment| [(moment, true), (moment, false)]) {
            let world = World::new(moment, 0);
            told_feed(&world, sealed);
            let Feeding { feed, mut writer, .. } = opened(&world, RECORDS, sealed, options());
            assert_eq!(all_history(&feed, Position(0)).unwrap(), told());
            if at_write {
                world.set_faults(Faults { power_off_at_write: Some(moment), ..Faults::default() });
            }
            let mut steps = 0;
            while (at_write || steps < moment) && matches!(writer.step(), Ok(true)) {
                steps += 1;
                assert_eq!(feed.bounds().history, Position(0));
            }
            if !at_write && steps < moment || at_write && !world.is_off() {
                // There is no such moment: everything was condensed.
                assert!(feed.bounds().start > Position(RECORDS - 20), "{:?}", feed.bounds());
                break;
            }
            crashes += 1;
            drop((feed, writer));
            world.crash();
            let Feeding { feed, mut writer, report, .. } = opened(&world, RECORDS, sealed, options());
            assert_eq!((report.began_anew, report.history), (false, Position(0)), "{moment} {at_write}");
            assert_eq!(all_history(&feed, Position(0)).unwrap(), told(), "{moment} {at_write}");
            while writer.step().unwrap() {}
            assert_eq!(all_history(&feed, Position(0)).unwrap(), told(), "{moment} {at_write}");
        }
        assert!(crashes > 40, "{crashes} crashes prove little");
    }
}

/// The replay after a crash begins before the end of what was condensed: where no block ends.
#[test]
fn the_history_is_cut_where_the_replay_begins() {
    for checkpoint in 0..=RECORDS {
        let world = World::new(checkpoint, 0);
        let options = FeedOptions { retention_age_us: Some(10), block_bytes: 1 << 10, ..options() };
        let Feeding { feed, mut appender, mut writer, .. } = opened(&world, 0, true, options.clone());
        for (first, at) in [(0, 0), (RECORDS / 2, 0), (RECORDS, 1_000)] {
            apply(&mut appender, &Frame { first, count: RECORDS / 2, at: Timestamp(at) });
            appender.mark();
            while writer.step().unwrap() {}
        }
        assert!(feed.bounds().start >= Position(RECORDS), "{:?}", feed.bounds());
        drop((feed, appender, writer));
        world.crash();
        let Feeding { feed, mut appender, report, .. } = opened(&world, checkpoint, true, options);
        assert_eq!(report.history, Position(0), "{checkpoint}");
        let mut expected = told();
        expected.retain(|item| item.id.position.0 < checkpoint);
        assert_eq!(all_history(&feed, Position(0)).unwrap(), expected, "{checkpoint}");
        let rest = Frame { first: checkpoint, count: RECORDS - checkpoint, at: Timestamp(0) };
        apply(&mut appender, &rest);
        assert_eq!(all_history(&feed, Position(0)).unwrap(), told(), "{checkpoint}");
    }
}

fn history_files(world: &World) -> Vec<std::path::PathBuf> {
    let mut names = world.env().disk.list(Path::new(FOLDER)).unwrap();
    names.retain(|name| Holds::History.first_of(name).is_some());
    names.sort();
    names.iter().map(|name| Path::new(FOLDER).join(name)).collect()
}

/// Every seventh byte of each file is damaged in turn.
#[test]
fn damage_costs_what_was_known_before_it_and_followers_nothing() {
    let world = World::new(1, 0);
    told_feed(&world, true);
    let small = FeedOptions { segment_bytes: 1, retention_bytes: 1_000, ..options() };
    let mut writer = opened(&world, RECORDS, true, small.clone()).writer;
    while writer.step().unwrap() {}
    let files = history_files(&world);
    assert!(files.len() > 3, "{files:?}");
    let sound: Vec<Vec<u8>> = files.iter().map(|path| world.read_file(path).unwrap()).collect();
    let mut found_late = 0;
    for (path, sound_bytes) in files.iter().zip(&sound) {
        for index in (0..sound_bytes.len()).step_by(7) {
            let mut bytes = sound_bytes.clone();
            bytes[index] ^= 0x10;
            world.write_file(path, &bytes);
            let Feeding { feed, mut writer, report, .. } = opened(&world, RECORDS, true, small.clone());
            let mut from = report.history;
            let mut found = all_history(&feed, from);
            if let Err(error) = &found {
                assert!(matches!(error, FeedError::HistoryDamaged { .. }), "{error}");
                found_late += 1;
                from = feed.bounds().history;
                found = all_history(&feed, from);
                while writer.step().unwrap() {}
                assert_eq!(world.read_file(path), None, "what does not count goes");
            }
            let mut expected = told();
            expected.retain(|item| item.id.position >= from);
            assert_eq!(found.unwrap(), expected, "{path:?} {index}");
            assert!(from > Position(0) && !report.began_anew && feed.stats().gaps == 0, "{path:?} {index}");
            files.iter().zip(&sound).for_each(|(path, bytes)| world.write_file(path, bytes));
        }
    }
    assert!(found_late > 20, "{found_late}");
}

#[test]
fn a_feed_that_begins_anew_begins_its_history_anew() {
    let world = World::new(1, 0);
    told_feed(&world, false);
    let options = FeedOptions { waiting_bytes_max: 500, room_wait_ms: 0, ..options() };
    let Feeding { feed, mut appender, mut writer, .. } = opened(&world, RECORDS, false, options.clone());
    while writer.step().unwrap() {}
    assert!(!history_files(&world).is_empty() && feed.bounds().history == Position(0));
    let mut next = RECORDS;
    while feed.stats().gaps == 0 {
        apply(&mut appender, &Frame { first: next, count: 4, at: Timestamp(0) });
        next += 4;
    }
    assert_eq!(feed.bounds().history, Position(next));
    assert!(matches!(feed.history(Place::at(Position(next - 1))), Err(FeedError::Gone { .. })));
    while writer.step().unwrap() {}
    assert!(history_files(&world).is_empty());
    // A folder whose files of the feed are lost is told the same at the next start.
    let world = World::new(2, 0);
    told_feed(&world, false);
    let mut writer = opened(&world, RECORDS, false, options.clone()).writer;
    while writer.step().unwrap() {}
    let report = opened(&world, RECORDS + 1, false, options).report;
    assert_eq!((report.began_anew, report.history), (true, Position(RECORDS + 1)));
}

#[test]
fn a_feed_of_another_identity_keeps_its_history() {
    let world = World::new(1, 0);
    told_feed(&world, true);
    let Feeding { mut writer, feed, .. } = opened(&world, RECORDS, true, options());
    while writer.step().unwrap() {}
    let before = feed.bounds();
    drop((feed, writer));
    renew_identity(&world.env(), Path::new(FOLDER)).unwrap();
    let feed = opened(&world, RECORDS, true, options()).feed;
    assert_ne!(feed.bounds().identity, before.identity);
    assert_eq!(all_history(&feed, Position(0)).unwrap(), told());
}

/// Most events name who they are of; some come from a device that somebody left.
#[test]
fn an_old_event_of_a_shop_takes_less_than_three_bytes() {
    const EVENTS: u64 = 300_000;
    let world = World::new(1, 0);
    let options = FeedOptions { segment_bytes: 4 << 20, block_bytes: 64 << 10, ..options() };
    let Feeding { feed, mut appender, mut writer, .. } = opened(&world, 0, true, options);
    let (mut seed, mut position) = (Seed::new(7), 0);
    for event in 0..EVENTS {
        // Something else stands in the log, or it was the same message again.
        position += 1 + u64::from(seed.one_in(40));
        let person = seed.below(50_000);
        let key = |salt: u64| Key(u128::from(Seed::new(person ^ salt).next_u64()) << 64 | u128::from(person));
        let named = if seed.one_in(50) { None } else { Some(u8::from(seed.one_in(3))) };
        appender.event(Position(position), Subject { whole: key(1), part: key(2), named });
        if event % 100 == 99 {
            appender.end_frame(Position(position + 1), Timestamp(0));
            while writer.step().unwrap() {}
        }
    }
    let stats = feed.stats();
    let condensed = feed.bounds().start.0 * EVENTS / position;
    assert!(condensed > EVENTS / 2, "{condensed}");
    let hundredths = stats.history_bytes * 100 / condensed;
    println!("{hundredths} hundredths of a byte an event");
    assert!(hundredths < 100, "{hundredths} hundredths of a byte an event");
}

#[test]
fn the_history_goes_where_the_log_does_not_reach() {
    let world = World::new(1, 0);
    told_feed(&world, false);
    let small = FeedOptions { segment_bytes: 1, ..options() };
    let Feeding { feed, mut writer, .. } = opened(&world, RECORDS, false, small);
    while writer.step().unwrap() {}
    let files = history_files(&world).len();
    let mut gone = 0;
    for first in 0..RECORDS {
        feed.log_begins_at(Position(first));
        while writer.step().unwrap() {}
        let known = feed.bounds().history;
        assert!(known <= Position(first), "{known} where the log begins at {first}");
        let mut expected = told();
        expected.retain(|item| item.id.position >= known);
        assert_eq!(all_history(&feed, known).unwrap(), expected, "{first}");
        gone = files - history_files(&world).len();
    }
    assert!(gone > 3 && feed.stats().gaps == 0, "{gone} of {files} files are gone");
}
