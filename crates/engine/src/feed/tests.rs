//! Seeded lives of a feed: frames, checkpoints, crashes, faults, readers, erasures. The oracle is a function from a
//! position to the items of its record: it shares nothing with the feed but the types.

use super::head::Holds;
use super::*;
use crate::machine::{Effect, IssuedEffect, Subject};
use env::seeded::{Faults, Seed, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

mod history;

const FOLDER: &str = "/data/feed";
const SUBJECTS: u64 = 9;

struct Frame {
    first: u64,
    count: u64,
    at: Timestamp,
}

/// The items that a record leads to, whoever applies it, and however often.
fn items_of(position: u64, at: Timestamp) -> Vec<Item> {
    let mut seed = Seed::new(position.wrapping_mul(0x9E37));
    let mut key = || Key(u128::from(seed.below(SUBJECTS)) + 1);
    let (subject, part, other) = (key(), key(), key());
    let mut items = Vec::new();
    for ordinal in 0..seed.below(4).saturating_sub(1) as u32 {
        let mut body = vec![7; seed.below(40) as usize];
        if seed.one_in(3) {
            body.extend_from_slice(&other.0.to_le_bytes());
        }
        let id = EffectId { position: Position(position), ordinal };
        items.push(Item { id, at, subject, what: What::Effect { kind: ordinal as u16 * 3, body } });
    }
    if !seed.one_in(4) {
        let id = EffectId { position: Position(position), ordinal: EVENT_ORDINAL };
        let named = (!seed.one_in(4)).then(|| seed.below(3) as u8);
        items.push(Item { id, at, subject, what: What::Event { part, named } });
    }
    items
}

fn concerned(item: &Item, key: Key) -> bool {
    let inside = |body: &[u8]| body.windows(16).any(|window| window == key.0.to_le_bytes());
    item.subject == key
        || match &item.what {
            What::Event { part, .. } => *part == key,
            What::Effect { body, .. } => inside(body),
        }
}

struct Life {
    number: u64,
    seed: Seed,
    world: World,
    log: Vec<Frame>,
    now: i64,
    next: u64,
    feeding: Option<Feeding>,
    /// Committed, and begun.
    checkpoint: u64,
    begun: Option<u64>,
    options: FeedOptions,
    keyring: Option<Keyring>,
    /// Somebody was told that a disk failed: the feed may begin anew.
    excused: bool,
    retains: bool,
    /// The log begins here.
    log_first: u64,
    /// Whoever reads the history.
    looking_back: history::LookingBack,
    /// What a follower has, and where it stands.
    followed: Vec<Item>,
    followed_from: Place,
    cursor: Option<Cursor>,
    gone: u64,
    crashes: u64,
    /// Keys to be forgotten before a position; done once the ticket is.
    erased: BTreeMap<u64, u64>,
    ticket: Option<(u64, u64, u64)>,
    rewritten: u64,
}

use eventlog::Keyring;

impl Life {
    fn new(number: u64) -> Self {
        let mut seed = Seed::new(number ^ 0xFEED);
        let retains = number.is_multiple_of(3);
        let options = FeedOptions {
            retention_age_us: (retains && seed.one_in(2)).then_some(20),
            retention_bytes: if retains { 1_000 + seed.below(3_000) } else { u64::MAX },
            segment_bytes: 600 + seed.below(2_000),
            block_bytes: 100 + seed.below(600) as usize,
            waiting_bytes_max: usize::MAX,
            room_wait_ms: 0,
            history_kinds: &history::KINDS,
        };
        let keys = BTreeMap::from([(4, [9; 32])]);
        Self {
            number,
            world: World::new(number, 1_000),
            keyring: seed.one_in(2).then_some(Keyring { active: 4, keys }),
            seed,
            log: Vec::new(),
            now: 0,
            next: 0,
            feeding: None,
            checkpoint: 0,
            begun: None,
            options,
            excused: false,
            retains,
            log_first: 0,
            looking_back: history::LookingBack::default(),
            followed: Vec::new(),
            followed_from: Place::default(),
            cursor: None,
            gone: 0,
            crashes: 0,
            erased: BTreeMap::new(),
            ticket: None,
            rewritten: 0,
        }
    }

    fn expected(&self, from: Place) -> Vec<Item> {
        let frames = self.log.iter().flat_map(|frame| {
            (frame.first..frame.first + frame.count).flat_map(|position| items_of(position, frame.at))
        });
        frames.filter(|item| Place::of(item.id) >= from).collect()
    }

    fn start(&mut self) {
        let env = self.world.env();
        let opened = open(
            &env,
            Path::new(FOLDER),
            Position(self.checkpoint),
            Timestamp(self.now),
            self.keyring.clone(),
            self.options.clone(),
        );
        let mut feeding = match opened {
            Ok(feeding) => feeding,
            Err(error) => {
                assert!(self.world.is_off() || self.excused, "seed {}: {error}", self.number);
                return self.crash();
            }
        };
        self.begun = None;
        self.ticket = None;
        for frame in self.log.iter().filter(|frame| frame.first >= self.checkpoint) {
            apply(&mut feeding.appender, frame);
            while matches!(feeding.writer.step(), Ok(true)) {}
        }
        self.feeding = Some(feeding);
        self.check();
    }

    fn crash(&mut self) {
        self.crashes += 1;
        self.feeding = None;
        if self.seed.one_in(2) && !self.world.is_off() {
            self.world.kill();
        } else {
            self.world.crash();
        }
    }

    fn step(&mut self) {
        let Some(feeding) = &mut self.feeding else { return self.start() };
        match self.seed.below(44) {
            0..=11 => {
                self.now += if self.seed.one_in(20) { 50 } else { self.seed.below(5) as i64 };
                let frame = Frame { first: self.next, count: self.seed.below(6), at: Timestamp(self.now) };
                self.next += frame.count;
                apply(&mut feeding.appender, &frame);
                self.log.push(frame);
            }
            12..=21 => {
                if let Err(error) = feeding.writer.step() {
                    assert!(self.excused || self.world.is_off(), "seed {}: {error}", self.number);
                }
            }
            22..=24 => {
                if self.begun.is_none() {
                    feeding.appender.mark();
                    self.begun = Some(self.next);
                }
            }
            25..=28 => {
                let ready = |begun: &u64| feeding.feed.is_synced(Position(*begun)) && !self.world.is_off();
                if let Some(begun) = self.begun.filter(ready) {
                    self.checkpoint = begun;
                    self.begun = None;
                }
            }
            29..=34 => self.follow(),
            35 | 36 => self.erase(),
            37 => self.fault(),
            38 => self.crash(),
            39..=41 => self.look_back(),
            42 => self.trim_log(),
            _ => self.check(),
        }
        if self.world.is_off() {
            self.crash();
        }
    }

    fn fault(&mut self) {
        let within = self.seed.below(6);
        let mut faults = Faults::default();
        match self.seed.below(5) {
            0 => faults.fail_sync = Some(within),
            1 => faults.fail_write = Some(within),
            2 => faults.capacity_bytes = Some(self.seed.below(3_000)),
            _ => faults.power_off_at_write = Some(within),
        }
        // Losing power excuses nothing.
        self.excused |= faults.power_off_at_write.is_none();
        self.world.set_faults(faults);
    }

    /// A follower in another process: it only has its cursor's text.
    fn follow(&mut self) {
        let Some(feeding) = &self.feeding else { return };
        let feed = &feeding.feed;
        let place = match self.cursor {
            None => Ok(Place::at(feed.bounds().start)),
            Some(cursor) => feed.place(&Cursor::parse(&cursor.text()).unwrap()),
        };
        let batch = place.and_then(|place| Ok((place, feed.read(place)?)));
        match batch {
            Ok((place, batch)) => {
                if self.cursor.is_none() {
                    self.followed_from = place;
                    self.followed.clear();
                }
                self.followed.extend(batch.items);
                self.cursor = Some(feed.cursor(batch.next));
            }
            Err(FeedError::Gone { .. }) => {
                assert!(self.excused || self.retains, "seed {}: gone for no reason", self.number);
                self.gone += 1;
                self.cursor = None;
            }
            Err(error) => assert!(self.excused || self.world.is_off(), "seed {}: {error}", self.number),
        }
        if let Some(cursor) = self.cursor {
            let mut expected = self.expected(self.followed_from);
            expected.retain(|item| Place::of(item.id) < cursor.next);
            self.same(&self.followed, &expected, "followed");
        }
    }

    fn erase(&mut self) {
        if self.ticket.is_some() {
            return;
        }
        let Some(feeding) = &self.feeding else { return };
        let key = self.seed.below(SUBJECTS) + 1;
        self.erased.insert(key, self.next);
        let ticket = feeding.feed.forget(BTreeSet::from([Key(u128::from(key))]), Position(self.next));
        self.ticket = Some((ticket, key, self.next));
    }

    /// What was asked to be forgotten may be gone; everything else must be there, once, in order.
    fn same(&self, found: &[Item], expected: &[Item], what: &str) {
        let may_go = |item: &Item| {
            if history::is_kept(item) {
                return false;
            }
            let mut erased = self.erased.iter();
            erased.any(|(key, before)| item.id.position.0 < *before && concerned(item, Key(u128::from(*key))))
        };
        let mut found_items = found.iter().peekable();
        for item in expected {
            if found_items.next_if(|found| *found == item).is_none() {
                assert!(may_go(item), "seed {}: {what}: {:?} is missing", self.number, item.id);
            }
        }
        let left = found_items.next();
        assert!(left.is_none(), "seed {}: {what}: {left:?} is too much", self.number);
    }

    fn check(&mut self) {
        let Some(feeding) = &self.feeding else { return };
        let feed = &feeding.feed;
        let bounds = feed.bounds();
        assert_eq!(bounds.complete, Position(self.next), "seed {}", self.number);
        if !self.excused && !self.retains {
            assert_eq!(bounds.start, Position(0), "seed {}: it began anew for no reason", self.number);
        }
        let mut place = Place::at(bounds.start);
        let mut found = Vec::new();
        loop {
            let batch = match feed.read(place) {
                Ok(batch) => batch,
                Err(error) => {
                    assert!(self.excused || self.world.is_off(), "seed {}: {error}", self.number);
                    return;
                }
            };
            found.extend(batch.items);
            if batch.at_end {
                break;
            }
            assert!(batch.next > place, "seed {}: a read leads nowhere", self.number);
            place = batch.next;
        }
        self.same(&found, &self.expected(Place::at(bounds.start)), "read");
        if let Some((_, key, before)) = self.ticket.filter(|(ticket, ..)| feed.forgotten() >= *ticket) {
            self.ticket = None;
            self.rewritten += feed.stats().rewritten_segments;
            let left = found
                .iter()
                .filter(|item| !history::is_kept(item))
                .find(|item| item.id.position.0 < before && concerned(item, Key(u128::from(key))));
            assert_eq!(left, None, "seed {}: somebody erased is still there", self.number);
            self.check_forgotten(key, before);
        }
        self.check_history();
    }
}

fn apply(appender: &mut Appender, frame: &Frame) {
    for position in frame.first..frame.first + frame.count {
        for Item { id, at, subject, what } in items_of(position, frame.at) {
            match what {
                What::Event { part, named } => {
                    appender.event(id.position, Subject { whole: subject, part, named });
                }
                What::Effect { kind, body } => {
                    let effect = Effect { kind, subject, body };
                    appender.effect(&IssuedEffect { id, issued_at: at, effect });
                }
            }
        }
    }
    appender.end_frame(Position(frame.first + frame.count), frame.at);
}

#[test]
fn every_item_is_there_once_and_in_order_through_1500_lives() {
    let (mut gone, mut crashes, mut rewritten, mut checkpoints, mut followed) = (0, 0, 0, 0, 0);
    let (mut condensed, mut looked_back) = (0, 0);
    for number in 0..1_500 {
        let mut life = Life::new(number);
        for _ in 0..250 {
            life.step();
        }
        gone += life.gone;
        crashes += life.crashes;
        rewritten += life.rewritten;
        checkpoints += u64::from(life.checkpoint > 0);
        followed += life.followed.len();
        condensed += life.looking_back.condensed;
        looked_back += life.looking_back.rounds;
    }
    // A life in which nothing happens proves nothing.
    assert!(
        gone > 50 && crashes > 1_000 && rewritten > 50 && checkpoints > 1_000 && followed > 10_000,
        "gone {gone}, crashes {crashes}, rewritten {rewritten}, checkpoints {checkpoints}, followed {followed}"
    );
    assert!(condensed > 5_000 && looked_back > 500, "condensed {condensed}, looked back {looked_back}");
}

#[test]
fn cursors_read_back_and_every_mutilation_is_found() {
    let cursor =
        Cursor { identity: 0x0123_4567_89AB_CDEF, next: Place { position: Position(77), ordinal: 3 } };
    let text = cursor.text();
    assert_eq!(Cursor::parse(&text).unwrap(), cursor);
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "safe in a URL");
    for index in 0..text.len() {
        for other in ['0', '1', 'f', 'x', 'é'] {
            let mut bad: Vec<char> = text.chars().collect();
            if bad[index] != other {
                bad[index] = other;
                let bad: String = bad.into_iter().collect();
                assert!(matches!(Cursor::parse(&bad), Err(FeedError::BadCursor)), "{bad}");
            }
        }
    }
    for bad in ["", "cur_", &text[1..], &text[..text.len() - 1], &format!("{text}0")] {
        assert!(matches!(Cursor::parse(bad), Err(FeedError::BadCursor)), "{bad}");
    }
}

fn fresh(world: &World, options: FeedOptions) -> Feeding {
    open(&world.env(), Path::new(FOLDER), Position(0), Timestamp(0), None, options).unwrap()
}

#[test]
fn a_writer_that_falls_behind_costs_a_gap_and_never_more_than_the_wait() {
    let world = World::new(1, 0);
    let options = FeedOptions { waiting_bytes_max: 4_000, room_wait_ms: 1, ..FeedOptions::default() };
    let Feeding { feed, mut appender, mut writer, .. } = fresh(&world, options);
    let start = feed.cursor(Place::default());
    let mut next = 0;
    while feed.stats().gaps == 0 {
        apply(&mut appender, &Frame { first: next, count: 10, at: Timestamp(0) });
        next += 10;
        assert!(feed.stats().waiting_bytes <= 4_000 + 1_000);
        assert!(next < 10_000, "a writer that never writes must cost a gap");
    }
    assert!(matches!(feed.place(&start), Err(FeedError::Gone { .. })));
    let bounds = feed.bounds();
    assert_eq!((bounds.start, bounds.complete), (Position(next), Position(next)));
    assert!(feed.is_synced(Position(next)), "no checkpoint waits for what is gone");
    while writer.step().unwrap() {}
    apply(&mut appender, &Frame { first: next, count: 10, at: Timestamp(0) });
    let batch = feed.read(Place::at(bounds.start)).unwrap();
    let expected: Vec<Item> =
        (next..next + 10).flat_map(|position| items_of(position, Timestamp(0))).collect();
    assert_eq!(batch.items, expected);
}

#[test]
fn a_cursor_of_elsewhere_or_of_the_future_is_gone() {
    let Feeding { feed, mut appender, .. } = fresh(&World::new(1, 0), FeedOptions::default());
    let other = fresh(&World::new(2, 0), FeedOptions::default());
    apply(&mut appender, &Frame { first: 0, count: 10, at: Timestamp(0) });
    assert!(feed.place(&feed.cursor(Place::at(Position(10)))).is_ok());
    for cursor in [
        feed.cursor(Place::at(Position(11))),
        feed.cursor(Place { position: Position(10), ordinal: 1 }),
        other.feed.cursor(Place::default()),
    ] {
        assert!(matches!(feed.place(&cursor), Err(FeedError::Gone { .. })), "{cursor:?}");
    }
}

#[test]
fn damage_on_disk_is_found_and_the_feed_begins_anew() {
    let world = World::new(3, 0);
    let options = FeedOptions { block_bytes: 200, ..FeedOptions::default() };
    let Feeding { feed, mut appender, mut writer, .. } = fresh(&world, options);
    for frame in 0..20 {
        apply(&mut appender, &Frame { first: frame * 5, count: 5, at: Timestamp(0) });
    }
    while writer.step().unwrap() {}
    let path = Path::new(FOLDER).join(Holds::Items.file_name(Position(0)));
    let mut bytes = world.read_file(&path).unwrap();
    let middle = head::FILE_HEAD_BYTES + segment::BLOCK_HEAD_BYTES + 5;
    bytes[middle] ^= 1;
    // The reader's handle is to the file as it was: open anew, as after a restart.
    let stands = writer_position(&feed);
    drop((feed, appender, writer));
    world.write_file(&path, &bytes);
    let opened =
        open(&world.env(), Path::new(FOLDER), stands, Timestamp(0), None, FeedOptions::default()).unwrap();
    assert!(opened.report.began_anew, "the last file is looked at on open");
    assert_eq!(opened.feed.bounds().start, stands);
    assert!(matches!(opened.feed.read(Place::default()), Err(FeedError::Gone { .. })));
}

fn writer_position(feed: &Feed) -> Position {
    feed.shared.lock().segments.last().map(Segment::complete).unwrap()
}

/// Everything written, one block and one file a frame.
fn written(world: &World, options: FeedOptions) -> Feeding {
    let options = FeedOptions { block_bytes: 1, segment_bytes: 1, ..options };
    let mut feeding = fresh(world, options);
    for frame in 0..20 {
        apply(&mut feeding.appender, &Frame { first: frame * 5, count: 5, at: Timestamp(frame as i64 * 10) });
        while feeding.writer.step().unwrap() {}
    }
    feeding
}

#[test]
fn retention_goes_by_age_by_bytes_and_never_beyond_the_log() {
    let keep = FeedOptions { retention_age_us: None, retention_bytes: u64::MAX, ..FeedOptions::default() };
    let Feeding { feed, mut writer, .. } = written(&World::new(1, 0), keep.clone());
    assert_eq!((feed.bounds().start, feed.stats().segments), (Position(0), 20));
    feed.log_begins_at(Position(37));
    while writer.step().unwrap() {}
    assert_eq!(feed.bounds().start, Position(35), "the file that holds 37 stays whole");
    assert!(matches!(feed.read(Place::at(Position(34))), Err(FeedError::Gone { .. })));
    assert!(feed.read(Place::at(Position(35))).is_ok());

    let young = FeedOptions { retention_age_us: Some(95), ..keep.clone() };
    let Feeding { feed, .. } = written(&World::new(2, 0), young);
    assert_eq!(feed.bounds().start, Position(50), "log time is 190: frames of before 95 are gone");

    let small = FeedOptions { retention_bytes: 1_000, ..keep };
    let Feeding { feed, .. } = written(&World::new(3, 0), small);
    let stats = feed.stats();
    assert!(stats.disk_bytes <= 1_000 && stats.segments > 0 && stats.gaps == 0, "{stats:?}");
    assert!(feed.bounds().start > Position(0));
}

#[test]
fn a_reader_that_waits_is_woken_and_a_stop_ends_every_wait() {
    let Feeding { feed, mut appender, .. } = fresh(&World::new(1, 0), FeedOptions::default());
    let minute = Duration::from_secs(60);
    assert!(!feed.wait(Place::default(), Duration::from_millis(1)));
    let seeds = || (0..20).find(|position| !items_of(*position, Timestamp(0)).is_empty()).unwrap();
    let other = feed.clone();
    let spawner = env::Env::real().spawner;
    let (tell, told) = std::sync::mpsc::sync_channel(2);
    let first = spawner
        .spawn(
            "reader",
            Box::new(move || {
                tell.send(other.wait(Place::default(), minute)).unwrap();
                tell.send(other.wait(Place::at(Position(1_000)), minute)).unwrap();
            }),
        )
        .unwrap();
    apply(&mut appender, &Frame { first: 0, count: seeds() + 1, at: Timestamp(0) });
    assert!(told.recv_timeout(minute).unwrap(), "woken by an item");
    feed.stop();
    assert!(!told.recv_timeout(minute).unwrap(), "woken by the end");
    assert!(first.join());
}

#[test]
fn a_sealed_feed_shows_nothing_in_clear_and_needs_its_key() {
    let world = World::new(5, 0);
    let keys = BTreeMap::from([(4, [9; 32])]);
    let open_with = |keyring, next| {
        open(&world.env(), Path::new(FOLDER), Position(next), Timestamp(0), keyring, FeedOptions::default())
    };
    let Feeding { mut appender, mut writer, .. } =
        open_with(Some(Keyring { active: 4, keys: keys.clone() }), 0).unwrap();
    let id = EffectId { position: Position(0), ordinal: 0 };
    let effect = Effect { kind: 1, subject: Key(0xDEAD_BEEF), body: b"a sentence in clear".to_vec() };
    appender.effect(&IssuedEffect { id, issued_at: Timestamp(0), effect });
    appender.end_frame(Position(1), Timestamp(0));
    appender.mark();
    while writer.step().unwrap() {}
    let bytes = world.read_file(&Path::new(FOLDER).join(Holds::Items.file_name(Position(0)))).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"sentence"));
    assert!(!bytes.windows(16).any(|window| window == 0xDEAD_BEEF_u128.to_le_bytes()));
    let again = open_with(Some(Keyring { active: 4, keys }), 1).unwrap();
    assert_eq!(again.feed.read(Place::default()).unwrap().items.len(), 1);
    let without = open_with(None, 1).unwrap();
    assert!(matches!(without.feed.read(Place::default()), Err(FeedError::NoKey { key_id: 4 })));
    assert_eq!(without.feed.bounds().start, Position(1), "what cannot be read is let go of, and counted");
    assert_eq!(without.feed.stats().gaps, 1);
}
