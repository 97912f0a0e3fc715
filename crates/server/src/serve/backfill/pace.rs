//! How fast people are found: as fast as the shard can where nothing else comes, and in the gaps where something does.
//!
//! Records of a back-fill share the one writer with live events, and reading older events shares the processors with
//! everything. Three things keep live requests fast while events arrive:
//!
//! - A record costs the writer about [`RECORD_COST`], which is what a live event behind it waits longer: chunks shrink
//!   and grow with what the last one cost.
//! - Only one record is on its way, and after it nothing for as long as it took, and so long that the writer spends at
//!   most a fifth of its time on such records. What a record took is what a live request would have taken, so where
//!   the shard is slow, for whatever reason, there are fewer of them.
//! - After reading for a while, there is a rest as long as that.
//!
//! Where nothing else comes, several records are on their way, and there are no rests.

use super::Backfills;
use crate::api::Context;
use engage::MAX_CHUNK;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What one record may cost the applying thread.
const RECORD_COST: Duration = Duration::from_millis(1);
/// The writer's share is one of so many parts, where events arrive.
const SHARE_PARTS: u32 = 5;
/// No rest is longer: it goes on, however slow the shard is.
const REST_MAX: Duration = Duration::from_secs(2);
/// Records on their way at a time where nothing else comes: each waits for the disk.
const RECORDS_AT_ONCE: usize = 4;
/// So many records of others in a second are somebody's traffic. Ticks of the shard's timers alone are fewer.
const BUSY_RECORDS_PER_SECOND: f64 = 200.0;
/// How often it is looked at what else comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The fewest people or nodes of one record: below, the record itself is what costs.
const CHUNK_MIN: usize = 8;
/// How many people or nodes the first record has.
const CHUNK_FIRST: usize = 64;
/// Shorter rests are saved up: a sleep takes its time.
const REST_MIN: Duration = Duration::from_millis(1);

const _: () = assert!(CHUNK_FIRST <= MAX_CHUNK);

/// What a record names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Nodes, with what they gathered.
    Nodes,
    /// People to be looked at.
    People,
}

/// What the shard has done so far.
#[derive(Clone, Copy, Debug)]
struct Sight {
    at: Instant,
    /// Records appended.
    appended: u64,
    /// Time in apply.
    applying: Duration,
}

/// A record on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    chunk: Chunk,
    sight: Sight,
    answered_before: u64,
}

/// Sets the pace.
pub(super) struct Pacer<'c> {
    backfills: &'c Backfills,
    status: &'c engine::Status,
    pace: Pace,
}

impl<'c> Pacer<'c> {
    pub(super) fn new(context: &'c Context) -> Self {
        let status = context.engine.status();
        Self { backfills: &context.backfills, status, pace: Pace::new(sight(status)) }
    }

    /// Whether others have records too.
    pub(super) fn is_busy(&self) -> bool {
        self.pace.busy
    }

    /// How many the next record should name.
    pub(super) fn size(&self, chunk: Chunk) -> usize {
        self.pace.size(chunk)
    }

    /// How many records may be on their way.
    pub(super) fn records_at_once(&self) -> usize {
        if self.pace.busy { 1 } else { RECORDS_AT_ONCE }
    }

    /// A record is sent.
    pub(super) fn sent(&mut self, chunk: Chunk) -> Sent {
        self.pace.own += 1;
        Sent { chunk, sight: sight(self.status), answered_before: self.pace.answered }
    }

    /// It is answered. Rests if there is need for it.
    pub(super) fn answered(&mut self, sent: &Sent) -> Result<(), String> {
        let owed = self.pace.answered(sent, sight(self.status));
        self.rest(owed)
    }

    /// Something was read since `begun`. Rests if there is need for it.
    pub(super) fn read_since(&mut self, begun: Instant) -> Result<(), String> {
        let now = sight(self.status);
        self.pace.look(now);
        let took = now.at.saturating_duration_since(begun);
        self.rest(if self.pace.busy { took } else { Duration::ZERO })
    }

    fn rest(&mut self, time: Duration) -> Result<(), String> {
        self.pace.owed += time;
        if self.pace.owed < REST_MIN {
            return self.backfills.rest(Duration::ZERO);
        }
        self.backfills.rest(std::mem::take(&mut self.pace.owed).min(REST_MAX))
    }
}

fn sight(status: &engine::Status) -> Sight {
    Sight {
        at: Instant::now(),
        appended: status.durable_next.load(Relaxed),
        applying: Duration::from_nanos(status.apply_ns.load(Relaxed)),
    }
}

/// What the pace follows from.
#[derive(Debug)]
struct Pace {
    last: Sight,
    /// Own records since the last look.
    own: u64,
    busy: bool,
    /// Own records that were answered.
    answered: u64,
    nodes: usize,
    people: usize,
    /// Rest that was too short to be taken yet.
    owed: Duration,
}

impl Pace {
    /// Busy until it is seen that nothing else comes: it may be a bad moment.
    fn new(now: Sight) -> Self {
        let (nodes, people) = (CHUNK_FIRST, CHUNK_FIRST);
        Self { last: now, own: 0, busy: true, answered: 0, nodes, people, owed: Duration::ZERO }
    }

    fn size(&self, chunk: Chunk) -> usize {
        match chunk {
            Chunk::Nodes => self.nodes,
            Chunk::People => self.people,
        }
    }

    fn look(&mut self, now: Sight) {
        let passed = now.at.saturating_duration_since(self.last.at);
        if passed < LOOK_EVERY {
            return;
        }
        // Records that are sent and not appended yet only make it look less busy for a moment.
        let others = now.appended.saturating_sub(self.last.appended).saturating_sub(self.own);
        self.busy = others as f64 / passed.as_secs_f64() >= BUSY_RECORDS_PER_SECOND;
        (self.last, self.own) = (now, 0);
    }

    /// Learns from an answer. Gives how long to rest.
    fn answered(&mut self, sent: &Sent, now: Sight) -> Duration {
        self.answered += 1;
        self.look(now);
        let took = now.at.saturating_duration_since(sent.sight.at);
        // Live events that were applied meanwhile are in it: the busier, the smaller chunks get.
        let together = u32::try_from(self.answered - sent.answered_before).unwrap_or(u32::MAX).max(1);
        let cost = now.applying.saturating_sub(sent.sight.applying) / together;
        let size = match sent.chunk {
            Chunk::Nodes => &mut self.nodes,
            Chunk::People => &mut self.people,
        };
        if cost > RECORD_COST {
            *size = (*size / 2).max(CHUNK_MIN);
        } else if cost < RECORD_COST / 2 {
            *size = (*size + *size / 2).min(MAX_CHUNK / 2);
        }
        if self.busy { took.max(cost * (SHARE_PARTS - 1)) } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    /// Sends records one after the other: each takes `took`, of which the writer applies for `cost_us` a person, and
    /// `others` records come beside each. Gives the pace and the last rest.
    fn sent(records: u32, took: Duration, cost_us: u64, others: u64) -> (Pace, Duration) {
        let mut now = Sight { at: Instant::now(), appended: 0, applying: NONE };
        let mut pace = Pace::new(now);
        let mut rest = NONE;
        for _ in 0..records {
            let sent = Sent { chunk: Chunk::People, sight: now, answered_before: pace.answered };
            pace.own += 1;
            now.at += took;
            now.appended += 1 + others;
            now.applying += Duration::from_micros(cost_us * pace.people as u64);
            rest = pace.answered(&sent, now);
            now.at += rest;
        }
        (pace, rest)
    }

    #[test]
    fn chunks_fit_what_a_record_may_cost() {
        for cost_us in [1, 2, 5, 10, 30, 100] {
            let (pace, _) = sent(50, Duration::from_millis(5), cost_us, 0);
            let cost = Duration::from_micros(cost_us * pace.people as u64);
            let least = cost_us * CHUNK_MIN as u64 >= RECORD_COST.as_micros() as u64 / 2;
            assert!(cost <= RECORD_COST, "{cost_us} us a person: {} people", pace.people);
            assert!(
                cost >= RECORD_COST / 3 || least || pace.people == MAX_CHUNK / 2,
                "{cost_us}: {}",
                pace.people
            );
            assert_eq!(pace.nodes, CHUNK_FIRST, "what people cost says nothing of nodes");
        }
    }

    #[test]
    fn it_rests_while_others_come_and_the_longer_the_slower_the_shard_is() {
        for took_ms in [2, 20, 200] {
            let took = Duration::from_millis(took_ms);
            let (idle, rest) = sent(50, took, 10, 0);
            assert_eq!((idle.busy, rest), (false, NONE), "nothing else comes");
            let (busy, rest) = sent(50, took, 10, 1_000);
            assert!(busy.busy && rest >= took, "{rest:?} after {took:?}");
            let cost = Duration::from_micros(10 * busy.people as u64);
            assert!(rest + took >= cost * SHARE_PARTS, "a fifth of the writer at most");
        }
        let (first, _) = sent(0, NONE, 1, 0);
        assert!(first.busy, "before anything is known, carefully");
    }
}
