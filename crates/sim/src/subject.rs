//! What lives on a simulated shard: which records its clients send, and what must be true of it.

use crate::classes::Classes;
use anyhow::Result;
use engine::Machine;
use engine::core::{Core, FrameOutcome};
use engine::feed::{Feed, Item};
use env::seeded::{Seed, World};
use eventlog::{Frame, LogHandle};
use model::id::{EffectId, Timestamp};

/// A machine with its clients and its oracle.
pub trait Subject {
    /// The rules under test.
    type Rules: Machine;
    /// Its name on the command line.
    const NAME: &'static str;
    /// Some of its records panic, on purpose.
    const PANICS: bool = false;
    /// Something beyond the shard needs a turn now and then.
    const ATTENDS: bool = false;

    /// The clients at the beginning of the life of this number, in which these classes of trouble do not happen.
    fn new(number: u64, without: Classes, seed: &mut Seed) -> Self;
    /// The rules.
    fn rules() -> Self::Rules;
    /// Appends one record: something new, or (as clients do after a time-out) something sent before.
    fn message(&mut self, seed: &mut Seed, now: Timestamp, out: &mut Vec<u8>);
    /// The senders of a frame got their 200. Returns how many messages were acknowledged for the first time.
    fn answered(
        &mut self,
        core: &mut Core<Self::Rules>,
        frame: &Frame,
        outcome: &FrameOutcome,
    ) -> Result<u64>;
    /// Holds the state against the whole log, given from position 0.
    fn check(&mut self, core: &mut Core<Self::Rules>, frames: &[Frame]) -> Result<Explained>;

    /// Whether what an operator sets before everything else is set. Until then, nothing but that is sent.
    fn is_ready(&self) -> bool {
        true
    }
    /// The process has begun.
    fn began(&mut self, _core: &mut Core<Self::Rules>, _feed: &Feed, _log: LogHandle, _world: &World) {}
    /// The process has ended.
    fn ended(&mut self) {}
    /// What is beyond the shard gets a turn.
    fn attend(&mut self, _around: &mut Around<'_, Self::Rules>) -> Result<()> {
        Ok(())
    }
    /// The life is over and nothing goes wrong any more: everything has to have come where it should.
    fn finish(
        &mut self,
        _around: &mut Around<'_, Self::Rules>,
        _frames: &[Frame],
        _explained: &Explained,
    ) -> Result<()> {
        Ok(())
    }
    /// What happened beyond the shard, and a digest of it.
    fn told(&self) -> Told {
        Told::default()
    }
}

/// What surrounds somebody who gets a turn.
pub struct Around<'a, M: Machine> {
    /// The shard.
    pub core: &'a mut Core<M>,
    /// The machine.
    pub world: &'a World,
    /// What the seed says next.
    pub seed: &'a mut Seed,
    /// A fault of the disk is set.
    pub faulty: bool,
}

impl<M: Machine> Around<'_, M> {
    /// Whether the disk may refuse something.
    pub fn may_fail(&self) -> bool {
        self.faulty || self.world.is_off()
    }

    /// Monotonic time, in microseconds.
    pub fn monotonic_us(&self) -> u64 {
        self.world.env().clock.monotonic_ns() / 1_000
    }
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

/// What happened beyond the shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Attempts that were sent.
    pub attempts: u64,
    /// Messages that receivers got.
    pub received: u64,
    /// Messages that a permit refused.
    pub refused: u64,
    /// Messages that something crossed on the wire.
    pub crossed: u64,
    /// Messages among the dead in the end.
    pub dead: u64,
    /// Messages that arrived where they had to, in the end.
    pub arrived: u64,
    /// Purchases whose answer was held against the next decision.
    pub purchases: u64,
    /// Permits that were held against a purchase.
    pub judged: u64,
    /// Requests and commands that had to be refused, and were.
    pub refusals: u64,
    /// Digest.
    pub trace: u64,
}
