//! The last step of an erasure: nobody erased is in a platform's list by our word, and no shadow holds their hashes.
//!
//! Platforms were asked at once, when the erasure was seen. What is asked here comes behind the round, so that nothing
//! that waited or was on its way then can have brought anybody back. A platform that does not answer is asked again,
//! ever less often; shortly before an erasure has to be done, what is kept goes although the platform was not told, and
//! the log says loudly which lists are to be replaced.

use super::{Pending, Stored, segments};
use crate::api::Context;
use crate::calendar::now_us;
use crate::deliver::Withdrawn;
use crate::serve::Instant;
use model::id::{Key, Position};
use std::collections::BTreeSet;

/// How old an erasure becomes before the shadows forget what platforms were not told, in microseconds: below the day
/// in which it has to be done, with room for the last round.
const GIVE_UP_AFTER_US: i64 = 20 * 3_600 * 1_000_000;
/// Seconds until platforms are asked again for the first time.
const ASK_AGAIN_S: u64 = 5;
/// The longest time between two questions, in seconds.
const ASK_AGAIN_S_MAX: u64 = 900;

/// What platforms were asked.
#[derive(Default)]
pub(super) struct Platforms {
    asked: Option<Asked>,
    /// Since when there is nothing new, and for how many seconds nothing is asked.
    pause: Option<(Instant, u64)>,
    /// Erasures up to this position were asked about.
    until: u64,
    /// What keeps somebody in a platform's list.
    reason: Option<String>,
}

struct Asked {
    ticket: u64,
    /// The erasures, by position.
    positions: BTreeSet<u64>,
}

impl Platforms {
    /// Does what can be done now. Whether erasures wait for platforms alone; an error says what keeps them.
    pub(super) fn work(&mut self, context: &Context) -> Result<bool, String> {
        let mut waiting = context.erasures.lock().stored.pending.clone();
        waiting.retain(|one| one.kept_done);
        if waiting.is_empty() {
            *self = Self::default();
            return Ok(false);
        }
        match self.asked.take() {
            Some(asked) => match context.deliveries.withdrawn(asked.ticket) {
                Some(withdrawn) => self.hear(context, &asked.positions, withdrawn)?,
                None => self.asked = Some(asked),
            },
            None => self.ask_if_due(context, &waiting),
        }
        self.reason.clone().map_or(Ok(true), Err)
    }

    fn hear(
        &mut self,
        context: &Context,
        positions: &BTreeSet<u64>,
        withdrawn: Withdrawn,
    ) -> Result<(), String> {
        let next_s = self.pause.as_ref().map_or(ASK_AGAIN_S, |(_, pause_s)| pause_s.saturating_mul(2));
        self.pause = Some((Instant::now(), next_s.min(ASK_AGAIN_S_MAX)));
        let is_ours = waiting_of(context, positions, &withdrawn.left);
        self.reason = withdrawn.reason.filter(|_| is_ours);
        settle(context, positions, &withdrawn.left)
    }

    fn ask_if_due(&mut self, context: &Context, waiting: &[Pending]) {
        let newest = waiting.iter().map(|one| one.position).max().unwrap_or(0);
        let rests = self.pause.as_ref().is_some_and(|(since, pause_s)| since.elapsed_s() < *pause_s);
        if newest <= self.until && rests {
            return;
        }
        if newest > self.until {
            self.pause = None;
        }
        self.until = newest;
        let people = waiting.iter().map(|one| (segments::keys(one), Position(one.position)));
        let old = waiting.iter().filter(|one| is_old(one));
        let give_up: BTreeSet<Key> = old.flat_map(segments::keys).collect();
        let ticket = context.deliveries.withdraw(people, give_up);
        let positions = waiting.iter().map(|one| one.position).collect();
        self.asked = Some(Asked { ticket, positions });
    }
}

fn is_old(one: &Pending) -> bool {
    one.at_us.is_none_or(|at_us| now_us().saturating_sub(at_us) >= GIVE_UP_AFTER_US)
}

/// Whether any of these erasures waits for somebody who is left.
fn waiting_of(context: &Context, positions: &BTreeSet<u64>, left: &BTreeSet<Key>) -> bool {
    let shared = context.erasures.lock();
    let mut asked = shared.stored.pending.iter().filter(|one| positions.contains(&one.position));
    asked.any(|one| !segments::keys(one).is_disjoint(left))
}

/// Erasures of which nobody is left are done.
fn settle(context: &Context, positions: &BTreeSet<u64>, left: &BTreeSet<Key>) -> Result<(), String> {
    let is_done = |one: &Pending| {
        one.kept_done && positions.contains(&one.position) && segments::keys(one).is_disjoint(left)
    };
    let settle = |stored: &mut Stored| {
        let done = stored.pending.iter().filter(|one| is_done(one)).map(|one| one.position).max();
        stored.pending.retain(|one| !is_done(one));
        // What is said to be done has nothing unfinished before it.
        let first = stored.pending.iter().map(|one| one.position).min().unwrap_or(u64::MAX);
        let done =
            done.filter(|done| *done < first).or_else(|| first.checked_sub(1).filter(|_| done.is_some()));
        stored.done_before = stored.done_before.max(done.unwrap_or(0));
    };
    context.erasures.change(settle).map_err(|error| error.to_string())
}
