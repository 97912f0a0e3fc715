//! How fast people are found: as fast as the shard can where nothing else comes, and in the gaps where something does.
//!
//! Records of a back-fill share the one writer with live events, and reading older events shares the processors with
//! everything. Three things keep live requests fast while events arrive:
//!
//! - A record costs the writer about [`RECORD_COST`], which is what a live event behind it waits longer.
//! - Records are sent at a rate that leaves the writer nine tenths of its time for live events, and only so many are on
//!   their way. Where the shard is slow to answer, for whatever reason, there are fewer of them; but they never cease.
//! - After reading for a while, there is a rest as long as that.
//!
//! Where nothing else comes, records follow each other as they are answered, and there are no rests.

use super::Backfills;
use crate::api::Context;
use engage::MAX_CHUNK;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// What one record may cost the applying thread.
const RECORD_COST: Duration = Duration::from_millis(1);
/// Where events arrive, the writer's share is one of so many parts.
const SHARE_PARTS: u32 = 10;
/// What naming a person costs the applying thread, about, and what each audience that is looked at adds to it. Not
/// measured as it goes: what live events cost beside it could not be told apart.
const PERSON_COST: Duration = Duration::from_micros(15);
const AUDIENCE_COST: Duration = Duration::from_micros(2);
/// The fewest people of one record: below, the record itself is what costs.
const PEOPLE_MIN: usize = 8;
/// The most people of one record.
const PEOPLE_MAX: usize = 64;
/// Nodes of one record: what they gathered is merged in a few microseconds each.
pub(super) const NODES_AT_ONCE: usize = 192;
/// Records on their way at a time: each waits for the disk, and beside a busy door for its turn.
const RECORDS_AT_ONCE: usize = 8;
/// So many records of others in a second are somebody's traffic. Ticks of the shard's timers alone are fewer.
const BUSY_RECORDS_PER_SECOND: f64 = 200.0;
/// How often it is looked at what else comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No rest from reading is longer.
const REST_MAX: Duration = Duration::from_millis(200);

const _: () = assert!(PEOPLE_MAX <= MAX_CHUNK && NODES_AT_ONCE <= MAX_CHUNK);

/// Sets the pace.
pub(super) struct Pacer<'c> {
    backfills: &'c Backfills,
    status: &'c engine::Status,
    pace: Pace,
}

impl<'c> Pacer<'c> {
    pub(super) fn new(context: &'c Context) -> Self {
        let status = context.engine.status();
        Self { backfills: &context.backfills, status, pace: Pace::new(Instant::now(), appended(status)) }
    }

    /// Whether others have records too.
    pub(super) fn is_busy(&self) -> bool {
        self.pace.busy
    }

    /// How many records may be on their way.
    pub(super) fn records_at_once(&self) -> usize {
        RECORDS_AT_ONCE
    }

    /// Waits until the next record may be sent, which then has to be.
    pub(super) fn send(&mut self) -> Result<(), String> {
        let wait = self.pace.send(Instant::now(), appended(self.status));
        self.backfills.rest(wait)
    }

    /// Something was read since `begun`. Rests if there is need for it.
    pub(super) fn read_since(&mut self, begun: Instant) -> Result<(), String> {
        let now = Instant::now();
        self.pace.look(now, appended(self.status));
        let took = now.saturating_duration_since(begun);
        self.backfills.rest(if self.pace.busy { took.min(REST_MAX) } else { Duration::ZERO })
    }
}

/// How many people a record should name for so many audiences.
pub(super) fn people_at_once(audiences: usize) -> usize {
    let each = PERSON_COST + AUDIENCE_COST * u32::try_from(audiences).unwrap_or(u32::MAX / 4_096);
    let people = RECORD_COST.as_nanos() / each.as_nanos().max(1);
    usize::try_from(people).unwrap_or(PEOPLE_MAX).clamp(PEOPLE_MIN, PEOPLE_MAX)
}

fn appended(status: &engine::Status) -> u64 {
    status.durable_next.load(Relaxed)
}

/// What the pace follows from.
#[derive(Debug)]
struct Pace {
    /// When it was last looked at what else comes, and how many records there were.
    looked: (Instant, u64),
    /// Own records since then.
    own: u64,
    busy: bool,
    /// The next record may be sent then, if others come too.
    next_at: Instant,
}

impl Pace {
    /// Busy until it is seen that nothing else comes: it may be a bad moment.
    fn new(now: Instant, appended: u64) -> Self {
        Self { looked: (now, appended), own: 0, busy: true, next_at: now }
    }

    fn look(&mut self, now: Instant, appended: u64) {
        let (looked_at, before) = self.looked;
        let passed = now.saturating_duration_since(looked_at);
        if passed < LOOK_EVERY {
            return;
        }
        // Own records that are sent and not appended yet only make it look less busy for a moment.
        let others = appended.saturating_sub(before).saturating_sub(self.own);
        self.busy = others as f64 / passed.as_secs_f64() >= BUSY_RECORDS_PER_SECOND;
        (self.looked, self.own) = ((now, appended), 0);
    }

    /// A record is to be sent. Gives how long it has to wait.
    fn send(&mut self, now: Instant, appended: u64) -> Duration {
        self.look(now, appended);
        self.own += 1;
        let at = if self.busy { self.next_at.max(now) } else { now };
        self.next_at = at + RECORD_COST * SHARE_PARTS;
        at.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_names_fewer_people_the_more_is_looked_at() {
        for (audiences, expected) in
            [(0, PEOPLE_MAX), (1, 58), (20, 18), (64, PEOPLE_MIN), (usize::MAX, PEOPLE_MIN)]
        {
            assert_eq!(people_at_once(audiences), expected, "{audiences} audiences");
        }
    }

    /// Sends records for a second, each taking `took`, one after the other, while `others` records a second come.
    /// Gives how many were sent.
    fn sent(took: Duration, others: u32) -> u32 {
        let begun = Instant::now();
        let mut now = begun;
        let mut pace = Pace::new(now, 0);
        let mut own = 0;
        while now < begun + Duration::from_secs(1) {
            let elapsed = now.saturating_duration_since(begun).as_secs_f64();
            now += pace.send(now, u64::from(own) + (elapsed * f64::from(others)) as u64);
            own += 1;
            now += took;
        }
        own
    }

    #[test]
    fn the_writer_keeps_nine_tenths_of_its_time_while_others_come() {
        let most = 1_000 / (RECORD_COST.as_millis() as u32 * SHARE_PARTS);
        for took_ms in [1, 5, 9] {
            let took = Duration::from_millis(took_ms);
            let (alone, beside) = (sent(took, 0), sent(took, 20_000));
            assert!((most - 5..=most + 1).contains(&beside), "{beside} records of {took_ms} ms");
            assert!(alone > 900 / took_ms as u32, "{alone} records of {took_ms} ms while nothing else came");
        }
        let slow = sent(Duration::from_millis(100), 20_000);
        assert!((9..=11).contains(&slow), "{slow}: a slow shard gets fewer, and still some");
    }
}
