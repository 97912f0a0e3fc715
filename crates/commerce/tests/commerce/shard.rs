//! A shop without threads, twice: bare (its log is a list), and on the engine's core with a disk made from a seed.

use commerce::{Answer, Command, Commerce, Operation, Query, Refusal, Reply, State, View};
use engine::core::{Core, write_checkpoint};
use engine::recovery::{OpenOptions, open};
use engine::{AnyTable, AsOf, Machine, Outcome, TableId, Tables};
use env::seeded::World;
use eventlog::{Frame, FrameDraft, LocalLog, Log};
use model::id::{Key, Position, Term, Timestamp};
use model::record::{Record, RecordKind, encode_record};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use store::Store;

pub const START: i64 = 1_760_000_000_000_000;

/// A loop that is driven by hand.
pub trait Shard {
    /// One record, durable and applied.
    fn apply(&mut self, kind: RecordKind, body: Vec<u8>) -> Option<Vec<u8>>;
    fn query(&mut self, query: Query) -> Answer;
    fn view(&self) -> Arc<View>;
    fn now(&self) -> Timestamp;
    /// Time passes; what is due happens.
    fn advance(&mut self, by_us: i64);
    /// The process ends and another one begins.
    fn crash(&mut self);
    /// Sometimes there is something to do in the background.
    fn rest(&mut self) {}

    fn command(&mut self, command: &Command) -> Reply {
        Reply::decode(&self.apply(RecordKind::COMMAND, command.encode()).unwrap()).unwrap()
    }

    fn run(&mut self, operation: Operation) -> Result<Reply, Refusal> {
        match self.command(&Command::of(operation)) {
            Reply::Refused(refusal) => Err(refusal),
            reply => Ok(reply),
        }
    }
}

pub struct Bare {
    pub state: State,
    view: Arc<View>,
    timers: BTreeMap<Key, Timestamp>,
    now: Timestamp,
    pub log: Vec<(RecordKind, Timestamp, Vec<u8>)>,
    pub effects: Vec<(u16, Key, Vec<u8>)>,
}

impl Bare {
    pub fn new() -> Self {
        Self {
            state: Commerce.empty_state(),
            view: Arc::new(Commerce.empty_view()),
            timers: BTreeMap::new(),
            now: Timestamp(START),
            log: Vec::new(),
            effects: Vec::new(),
        }
    }

    fn as_of(&self) -> AsOf {
        AsOf { next_position: Position(self.log.len() as u64), log_time: self.now }
    }

    fn conclude(&mut self, outcome: Outcome<commerce::Change>) -> Option<Vec<u8>> {
        for (subject, due) in outcome.timers {
            match due {
                Some(due) => self.timers.insert(subject, due),
                None => self.timers.remove(&subject),
            };
        }
        let told = outcome.effects.into_iter().map(|effect| (effect.kind, effect.subject, effect.body));
        self.effects.extend(told);
        Commerce.publish(&self.view, outcome.changes, self.as_of());
        outcome.reply
    }

    fn fire(&mut self, to: Timestamp) {
        self.now = to;
        loop {
            let due = self.timers.iter().map(|(subject, due)| (*due, *subject)).min();
            let Some((due, subject)) = due.filter(|(due, _)| *due <= to) else { break };
            self.timers.remove(&subject);
            let mut outcome = Outcome::default();
            let at = Position(self.log.len() as u64);
            Commerce.timer(&mut self.state, subject, due, at, &mut outcome);
            self.conclude(outcome);
        }
    }

    fn apply_at(&mut self, kind: RecordKind, body: Vec<u8>, at: Timestamp) -> Option<Vec<u8>> {
        self.fire(at);
        let position = Position(self.log.len() as u64);
        let record = Record { position, received_at: at, kind, body: &body };
        let mut outcome = Outcome::default();
        Commerce.apply(&mut self.state, &record, &mut outcome);
        let reply = self.conclude(outcome);
        self.log.push((kind, at, body));
        reply
    }

    /// The same log, applied by another process.
    pub fn replayed(&self) -> Self {
        let mut again = Self::new();
        for (kind, at, body) in &self.log {
            again.apply_at(*kind, body.clone(), *at);
        }
        again
    }

    /// A view from the rows alone, as after a restart from a checkpoint.
    pub fn reloaded(&mut self) -> View {
        let rows = self.state.dump();
        let view = Commerce.empty_view();
        let mut loaded = State::empty();
        for table in Commerce::VIEW_TABLES {
            for (_, key, bytes) in rows.iter().filter(|(id, _, _)| *id == table.0) {
                Commerce.load_view(&view, TableId(table.0), *key, bytes);
            }
        }
        for (table, key, bytes) in &rows {
            loaded.visit(&mut |one: &mut dyn AnyTable| {
                if one.id().0 == *table {
                    one.fill(*key, Some(bytes)).unwrap();
                }
            });
        }
        assert!(loaded.dump() == rows, "rows read back");
        view
    }
}

impl Shard for Bare {
    fn apply(&mut self, kind: RecordKind, body: Vec<u8>) -> Option<Vec<u8>> {
        let at = self.now.plus_us(1);
        self.apply_at(kind, body, at)
    }

    fn query(&mut self, query: Query) -> Answer {
        let as_of = self.as_of();
        Commerce.query(&mut self.state, query, as_of)
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn advance(&mut self, by_us: i64) {
        let at = self.now.plus_us(by_us);
        self.apply_at(RecordKind::TICK, Vec::new(), at);
    }

    fn crash(&mut self) {
        let mut again = self.replayed();
        assert!(again.state.dump() == self.state.dump(), "a replay gives the same state");
        assert!(again.effects == self.effects, "a replay gives the same effects");
        *self = again;
    }
}

/// The engine's core on a disk that loses what was not synced.
pub struct OnDisk {
    world: World,
    core: Core<Commerce>,
    log: LocalLog,
    store: Store,
    term: Term,
    writer: engine::feed::Writer,
    now: Timestamp,
    seed: env::seeded::Seed,
}

impl OnDisk {
    pub fn new(seed: u64) -> Self {
        let world = World::new(seed, START);
        Self::opened(world, seed, Timestamp(START))
    }

    fn opened(world: World, seed: u64, now: Timestamp) -> Self {
        let directory = Path::new("/shop");
        let env = world.env();
        env.disk.create_directory(directory).unwrap();
        let opened = open(&env, directory, || Commerce, &OpenOptions::default()).unwrap();
        let engine::recovery::Opened { core, log, store, term, feed_writer, .. } = opened;
        let seed = env::seeded::Seed::new(seed);
        Self { world, core, log, store, term, writer: feed_writer, now, seed }
    }

    fn append(&mut self, kind: RecordKind, body: &[u8], at: Timestamp) -> Option<Vec<u8>> {
        self.now = at;
        let mut records = Vec::new();
        encode_record(&mut records, kind, body);
        let draft = FrameDraft { received_at: at, control: false, count: 1, body: records };
        let first = Log::next_position(&self.log);
        self.log.append(self.term, first, std::slice::from_ref(&draft)).unwrap();
        let FrameDraft { received_at, control, count, body } = draft;
        let frame = Frame { first, count, term: self.term, received_at, control, body };
        let outcome = self.core.apply_frame(&frame).unwrap();
        outcome.replies.into_iter().next().map(|(_, reply)| reply)
    }

    /// The digest over all rows.
    pub fn digest(&mut self) -> u128 {
        self.core.digest_now()
    }

    fn checkpoint(&mut self) {
        self.core.begin_checkpoint();
        let mut slices = Vec::new();
        while self.core.is_encoding() {
            slices.push(self.core.checkpoint_slice(64));
        }
        while matches!(self.writer.step(), Ok(true)) {}
        write_checkpoint(&self.store, self.term, &slices).unwrap();
        self.core.checkpoint_committed();
        self.core.evict_some(16 << 10);
    }
}

impl Shard for OnDisk {
    fn apply(&mut self, kind: RecordKind, body: Vec<u8>) -> Option<Vec<u8>> {
        let at = self.now.plus_us(1);
        self.append(kind, &body, at)
    }

    fn query(&mut self, query: Query) -> Answer {
        self.core.query(query).unwrap()
    }

    fn view(&self) -> Arc<View> {
        self.core.view()
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn advance(&mut self, by_us: i64) {
        let at = self.now.plus_us(by_us);
        self.append(RecordKind::TICK, &[], at);
    }

    fn crash(&mut self) {
        let before = self.core.digest_now();
        self.world.kill();
        let (now, seed) = (self.now, self.seed.next_u64());
        let mut next = Self::opened(self.world.clone(), seed, now);
        assert_eq!(next.core.digest_now(), before, "what recovery makes is what was there");
        // Computing a digest takes rows for written: such a core must not go on.
        self.world.kill();
        *self = Self::opened(self.world.clone(), seed, now);
    }

    fn rest(&mut self) {
        if self.seed.one_in(4) {
            self.checkpoint();
        }
    }
}
