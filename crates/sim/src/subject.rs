//! What lives on a simulated shard: which records its clients send, and what must be true of it.

use anyhow::Result;
use engine::Machine;
use engine::core::Core;
use engine::feed::Item;
use env::seeded::Seed;
use eventlog::Frame;
use model::id::EffectId;

/// A machine with its clients and its oracle.
pub trait Subject {
    /// The rules under test.
    type Rules: Machine;

    /// The clients at the beginning.
    fn new(seed: &mut Seed) -> Self;
    /// The rules.
    fn rules() -> Self::Rules;
    /// Appends one record: something new, or (as clients do after a time-out) something sent before.
    fn message(&mut self, seed: &mut Seed, out: &mut Vec<u8>);
    /// The senders of a frame got their 200. Returns how many messages were acknowledged for the first time.
    fn answered(&mut self, frame: &Frame) -> Result<u64>;
    /// Holds the state against the whole log, given from position 0.
    fn check(&mut self, core: &mut Core<Self::Rules>, frames: &[Frame]) -> Result<Explained>;
}

/// What a log explains.
pub struct Explained {
    /// Every effect: its id, kind and body.
    pub effects: Vec<(EffectId, u16, Vec<u8>)>,
    /// Every item of the feed, in order.
    pub feed: Vec<Item>,
    /// Records that repeat another.
    pub duplicates: u64,
}
