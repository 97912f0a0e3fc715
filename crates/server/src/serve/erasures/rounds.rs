//! The way of erased people out of the data directory, some erasures at a time.
//!
//! 1. The log closes its open segment at once, so that it can be rewritten although nothing more comes.
//! 2. The checkpoints go first: all runs are merged, and new checkpoints push the older ones out. From then on every
//!    checkpoint stands behind the erasures, so a replay never has to pass through a redacted record in order to reach
//!    one that was made before it was redacted.
//! 3. The closed segments in which somebody erased still stands are rewritten.
//! 4. The change feed is rewritten without what it says of them; that they were erased stays: who follows has to learn
//!    of it. The checkpoints stand behind the erasures by then, so no replay brings it back.
//! 5. Delivery forgets its dead letters once more (it was asked at once), and rewrites the files of destinations.
//! 6. Used segment files that wait to be used again, or are in use again, go: they hold what they held.
//!
//! 7. Ad platforms are told, and what is kept of what they were told goes (see `platforms`). That may take long, so it
//!    holds up no further round.
//!
//! A merge of all runs and a look at every segment cost the more the larger the shop is. So a round is followed by a
//! rest in proportion, in which further erasures gather.

use super::platforms::Platforms;
use super::{Pending, segments};
use crate::api::Context;
use crate::serve::Instant;
use model::id::Position;

/// A rest is so many times as long as the round before it: erasing takes at most a ninth of the time.
const REST_FACTOR: u64 = 8;
/// No rest is longer, in seconds: far below the day in which an erasure has to be done.
const REST_S_MAX: u64 = 3_600;
/// Seconds between two requests to leave a used file that holds the open segment.
const LEAVE_PACE_S: u64 = 10;

/// What a round waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Checkpoints,
    OpenSegment,
    Segments,
    Feed,
    Delivery,
    UsedFiles,
    Platforms,
    Rest,
}

impl Stage {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoints => "checkpoints",
            Self::OpenSegment => "open_segment",
            Self::Segments => "segments",
            Self::Feed => "feed",
            Self::Delivery => "delivery",
            Self::UsedFiles => "used_files",
            Self::Platforms => "platforms",
            Self::Rest => "rest",
        }
    }
}

/// The present round, and the rest after the one before.
#[derive(Default)]
pub(super) struct Rounds {
    round: Option<Round>,
    /// Since when, and for how many seconds.
    rest: Option<(Instant, u64)>,
    platforms: Platforms,
}

/// Erasures that go together.
struct Round {
    /// Up to the erasing record at this position. What comes later waits for the next round.
    until: u64,
    begun: Instant,
    /// What the feed was asked to forget: the last ticket.
    feed_ticket: Option<u64>,
    /// The same of delivery.
    delivery_ticket: Option<u64>,
    /// The log was told to forget used files.
    forgotten: bool,
    /// When it was asked to leave the file of its open segment.
    left: Option<Instant>,
}

impl Rounds {
    /// Does what can be done now. Gives what is waited for; `None` if nothing is pending.
    pub(super) fn work(&mut self, context: &Context) -> Result<Option<Stage>, String> {
        // A platform that cannot be told holds up no round, and no round keeps a platform from being told.
        let told = self.platforms.work(context);
        match (self.advance(context)?, told) {
            (None, Ok(false)) => Ok(None),
            (None, Ok(true)) => Ok(Some(Stage::Platforms)),
            (stage, Err(problem)) => {
                context.erasures.lock().stage = Some(stage.unwrap_or(Stage::Platforms));
                Err(problem)
            }
            (stage, Ok(_)) => Ok(stage),
        }
    }

    /// Goes on with the present round, or begins one.
    fn advance(&mut self, context: &Context) -> Result<Option<Stage>, String> {
        let mut pending = context.erasures.lock().stored.pending.clone();
        pending.retain(|one| !one.kept_done);
        let Some(until) = pending.iter().map(|one| one.position).max() else {
            return Ok(None);
        };
        if self.rest.is_some_and(|(since, rest_s)| since.elapsed_s() < rest_s) {
            return Ok(Some(Stage::Rest));
        }
        let begin = || Round {
            until,
            begun: Instant::now(),
            feed_ticket: None,
            delivery_ticket: None,
            forgotten: false,
            left: None,
        };
        let round = self.round.get_or_insert_with(begin);
        if let Some(stage) = round.advance(context, pending)? {
            return Ok(Some(stage));
        }
        let rest_s = round.begun.elapsed_s().saturating_mul(REST_FACTOR).min(REST_S_MAX);
        self.rest = Some((Instant::now(), rest_s));
        self.round = None;
        Ok(None)
    }
}

impl Round {
    /// `None`: the round is over.
    fn advance(&mut self, context: &Context, mut pending: Vec<Pending>) -> Result<Option<Stage>, String> {
        pending.retain(|one| one.position <= self.until);
        let closed = self.close_segment(context)?;
        if !self.rewrite_checkpoints(context, &pending)? {
            return Ok(Some(Stage::Checkpoints));
        }
        if !closed {
            return Ok(Some(Stage::OpenSegment));
        }
        if !self.rewrite_segments(context, &pending)? {
            return Ok(Some(Stage::Segments));
        }
        if !self.rewrite_feed(context, &pending) {
            return Ok(Some(Stage::Feed));
        }
        if !self.rewrite_delivery(context, &pending)? {
            return Ok(Some(Stage::Delivery));
        }
        if !self.forget_files(context)? {
            return Ok(Some(Stage::UsedFiles));
        }
        self.settle(context)?;
        tracing::info!(erasures = pending.len(), "erased people are out of what is kept");
        Ok(None)
    }

    /// Whether every record before the erasures is in a closed segment. If not, it is asked for.
    fn close_segment(&self, context: &Context) -> Result<bool, String> {
        let open = context.engine.log().segments().pop();
        if open.is_some_and(|open| open.first.0 >= self.until) {
            return Ok(true);
        }
        context.engine.roll_log().map_err(|error| error.to_string())?;
        Ok(false)
    }

    /// Whether no kept checkpoint holds anybody erased. If not, it is asked for.
    fn rewrite_checkpoints(&self, context: &Context, pending: &[Pending]) -> Result<bool, String> {
        if pending.iter().all(|one| one.checkpoints_done) {
            return Ok(true);
        }
        let rewritten = context.engine.status().rewritten_before.load(std::sync::atomic::Ordering::Relaxed);
        if rewritten <= self.until {
            // The erasing record itself has to be in them.
            context.engine.rewrite_checkpoints(Position(self.until).plus(1));
            return Ok(false);
        }
        self.note(context, |one| one.checkpoints_done = true)?;
        Ok(true)
    }

    /// Whether no closed segment holds anybody erased any more. `false` if the server stops.
    fn rewrite_segments(&self, context: &Context, pending: &[Pending]) -> Result<bool, String> {
        let from = pending.iter().map(|one| one.rewritten_before).min().unwrap_or(0);
        if from >= self.until {
            return Ok(true);
        }
        let (erasures, log) = (&context.erasures, context.engine.log());
        let mut found = log.segments();
        found.retain(|segment| segment.first.0 < self.until && segment.next.0 > from);
        {
            let mut shared = erasures.lock();
            shared.stage = Some(Stage::Segments);
            shared.segments_done = 0;
            shared.segments_total = found.len() as u64;
        }
        let erased = segments::index(pending);
        for segment in &found {
            if erasures.is_stopping() {
                return Ok(false);
            }
            let emptied = segments::rewrite(log, context.engine.feed(), segment, &erased)?;
            let mut shared = erasures.lock();
            shared.segments_done += 1;
            shared.records_emptied += emptied;
        }
        self.note(context, |one| one.rewritten_before = self.until)?;
        Ok(true)
    }

    /// Whether the feed says nothing of anybody erased any more, but that they were. If not, it is asked for.
    fn rewrite_feed(&mut self, context: &Context, pending: &[Pending]) -> bool {
        let feed = context.engine.feed();
        let ask = || {
            let asked = pending.iter().map(|one| feed.forget(segments::keys(one), Position(one.position)));
            asked.max().unwrap_or(0)
        };
        let ticket = *self.feed_ticket.get_or_insert_with(ask);
        feed.forgotten() >= ticket
    }

    /// Whether delivery keeps nothing of anybody erased any more. If not, it is asked for. The feed comes first, so that
    /// no lane reads it again.
    fn rewrite_delivery(&mut self, context: &Context, pending: &[Pending]) -> Result<bool, String> {
        let people = || pending.iter().map(|one| (segments::keys(one), Position(one.position)));
        let ticket = *self.delivery_ticket.get_or_insert_with(|| context.deliveries.forget(people(), true));
        if context.deliveries.forgotten() >= ticket {
            return Ok(true);
        }
        context.deliveries.forget_problem().map_or(Ok(false), Err)
    }

    /// Whether no used file holds what it held before. If not, it is asked for.
    fn forget_files(&mut self, context: &Context) -> Result<bool, String> {
        let log = context.engine.log();
        let first = !self.forgotten;
        if first {
            log.forget_used_files().map_err(|error| error.to_string())?;
            self.forgotten = true;
        }
        if log.stats().files_to_forget == 0 {
            return Ok(true);
        }
        // The next append leaves the file, and by the next look a fresh one is prepared. A quiet shop needs a push.
        if !first && self.left.is_none_or(|asked| asked.elapsed_s() >= LEAVE_PACE_S) {
            context.engine.roll_log().map_err(|error| error.to_string())?;
            self.left = Some(Instant::now());
        }
        Ok(false)
    }

    fn settle(&self, context: &Context) -> Result<(), String> {
        self.note(context, |one| one.kept_done = true)
    }

    /// Writes down how far the erasures of this round have come.
    fn note(&self, context: &Context, note: impl Fn(&mut Pending)) -> Result<(), String> {
        let change = |stored: &mut super::Stored| {
            stored.pending.iter_mut().filter(|one| one.position <= self.until).for_each(note);
        };
        context.erasures.change(change).map_err(|error| error.to_string())
    }
}
