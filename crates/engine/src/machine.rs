//! What runs on a shard: the contract between the loop and the rules.

use model::id::{EffectId, Key, Position, Timestamp};
use model::record::Record;
use store::{TableId, Tables, Wanted};

/// Something to do outside, as a machine asks for it. The engine gives it its [`EffectId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What to do; numbers belong to the machine and are stored.
    pub kind: u16,
    /// Whom it concerns, e.g. a profile.
    pub subject: Key,
    /// The rest, encoded by the machine.
    pub body: Vec<u8>,
}

/// An effect with its identity, as the outbox holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedEffect {
    /// The same on every replay.
    pub id: EffectId,
    /// Log time of the record that caused it.
    pub issued_at: Timestamp,
    /// The effect.
    pub effect: Effect,
}

/// What applying one record leads to, besides the changed state.
#[derive(Debug)]
pub struct Outcome<C> {
    /// What the caller gets, for records that answer.
    pub reply: Option<Vec<u8>>,
    /// Things to do outside, in order.
    pub effects: Vec<Effect>,
    /// Differences for the views, in order.
    pub changes: Vec<C>,
    /// Subjects whose timer is set (`Some`, replacing the one before) or cleared (`None`).
    pub timers: Vec<(Key, Option<Timestamp>)>,
    /// Whom an event turned out to be about: what the change feed says of it. `None` keeps the record out of the feed.
    pub subject: Option<Subject>,
}

/// Whom an event turned out to be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// E.g. the profile.
    pub whole: Key,
    /// The part of it that the event was counted under, e.g. a node. The feed stores it beside the profile: a back-fill
    /// that reads old events needs to know it.
    pub part: Key,
    /// Which of the keys that the record itself names the part is, in the order in which they stand there; `None` where
    /// it is none of them. What is known of events of long ago is this number, because a key takes 16 bytes.
    pub named: Option<u8>,
}

impl<C> Default for Outcome<C> {
    fn default() -> Self {
        Self { reply: None, effects: Vec::new(), changes: Vec::new(), timers: Vec::new(), subject: None }
    }
}

impl<C> Outcome<C> {
    /// Asks for something outside.
    pub fn effect(&mut self, kind: u16, subject: Key, body: Vec<u8>) {
        self.effects.push(Effect { kind, subject, body });
    }

    /// Sets or clears the one timer of a subject.
    pub fn timer(&mut self, subject: Key, due: Option<Timestamp>) {
        self.timers.push((subject, due));
    }
}

/// The rules of one shard over its state.
///
/// `apply` and `timer` are deterministic: they see the state, the record and nothing else. The same log gives the same
/// state and the same effects, byte for byte, on every machine.
pub trait Machine: Send + 'static {
    /// The tables. Table numbers below 16 belong to the engine.
    type State: Tables + 'static;
    /// What other threads read, in memory.
    type View: Send + Sync + 'static;
    /// One difference of a view.
    type Change: Send;
    /// A read that needs the whole state.
    type Query: Send + 'static;
    /// Its answer.
    type Answer: Send + 'static;

    /// Changes whenever `apply` could answer differently than before for the same log. A new version is announced by
    /// a record, and holds from that record on.
    const RULES_VERSION: u32;

    /// Effects that whoever reads old events has to know of, e.g. who was erased. The feed keeps these, beside which
    /// events were accepted, for as long as the log reaches.
    const HISTORY_KINDS: &'static [u16] = &[];

    /// The effect that says that somebody was erased, if this machine erases. From then on the log may be rewritten without
    /// what it said of them, and a replay of what remains cannot issue again what was issued because of it. So with this
    /// effect everything about effects begins anew: see [`crate::core::ERASING_ORDINAL`].
    const ERASING_KIND: Option<u16> = None;

    /// Tables whose rows [`Machine::load_view`] must see before the shard answers.
    const VIEW_TABLES: &'static [TableId];

    /// Empty tables.
    fn empty_state(&self) -> Self::State;

    /// A view of nothing.
    fn empty_view(&self) -> Self::View;

    /// The key under which a repeated record is recognised and dropped; `None` for records that may repeat.
    fn dedup_key(&self, record: &Record<'_>) -> Option<Key>;

    /// Names the rows that applying the record will touch. Called again after they were read, as long as it names rows
    /// that are not in memory, so it can follow pointers. It may forget one: that costs time, not correctness.
    fn wanted(&self, state: &Self::State, record: &Record<'_>, wanted: &mut Wanted);

    /// Reads the rows in memory that the records will touch, and changes nothing: reading them together lets the
    /// processor wait for many of them at once. What is returned only has to depend on what was read.
    fn touch(&self, state: &Self::State, records: &[Record<'_>]) -> u64 {
        let _ = (state, records);
        0
    }

    /// Applies one record.
    fn apply(&self, state: &mut Self::State, record: &Record<'_>, outcome: &mut Outcome<Self::Change>);

    /// A subject's timer has come due: log time has reached `due`. `at` names the record before which it fires.
    fn timer(
        &self,
        state: &mut Self::State,
        subject: Key,
        due: Timestamp,
        at: Position,
        outcome: &mut Outcome<Self::Change>,
    );

    /// Names the rows that a subject's timer will touch, like [`Machine::wanted`].
    fn wanted_by_timer(&self, state: &Self::State, subject: Key, wanted: &mut Wanted) {
        let _ = (state, subject, wanted);
    }

    /// Names the rows that a query will touch, like [`Machine::wanted`].
    fn wanted_by_query(&self, state: &Self::State, query: &Self::Query, wanted: &mut Wanted);

    /// Answers a query. `as_of` is the position of the next record and the log time: the query sees everything before.
    fn query(&self, state: &mut Self::State, query: Self::Query, as_of: AsOf) -> Self::Answer;

    /// Puts a stored row of one of [`Machine::VIEW_TABLES`] into the view, on start.
    fn load_view(&self, view: &Self::View, table: TableId, key: Key, row: &[u8]);

    /// Brings the view up to date. After this returns, readers of the view see the changes.
    fn publish(&self, view: &Self::View, changes: Vec<Self::Change>, as_of: AsOf);
}

/// The point of the log that an answer reflects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsOf {
    /// Everything before this position has been applied.
    pub next_position: Position,
    /// Log time of the last record applied.
    pub log_time: Timestamp,
}
