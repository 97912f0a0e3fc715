//! The story cut into slices, and each slice into requests.
//!
//! All requests of a slice carry the same log time, and the next slice begins when the last answer of this one is
//! there: that is what keeps log time from going back although several connections send at once. Within a slice the
//! events of people who share a device stay on one connection, in their order, except that the shop's server speaks
//! after the browsers: the outcome does not depend on which connection is faster.

use super::story::{Door, Planned, Question, Story, What};
use crate::calendar::{HOUR_US, iso};

/// Events of one request.
const BATCH_EVENTS: usize = 100;
/// Bytes of the events of one request. One event is at most a few kilobytes more.
const BATCH_BYTES: usize = 400 * 1024;
/// Requests of browsers that each connection sends in a slice, about.
const BATCHES_PER_LANE: usize = 4;
/// No slice spans more time than this, so that what is sent twice stays within the window of de-duplication.
const SLICE_US_MAX: i64 = 6 * HOUR_US;

/// Requests that share their log time.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) log_time_us: i64,
    /// For each connection, in the order in which it sends them.
    pub(super) lanes: Vec<Vec<Batch>>,
}

/// One request.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) door: Door,
    pub(super) body: Vec<u8>,
    pub(super) events: u64,
    /// Asked the moment this request got its 200. Its order is the last of the request.
    pub(super) question: Option<Question>,
}

/// What was planned, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// All that is sent, repetitions included.
    pub(super) sent: u64,
    pub(super) repeated: u64,
    pub(super) late: u64,
    pub(super) viewed: u64,
    pub(super) added: u64,
    pub(super) logged_in: u64,
    pub(super) orders: u64,
    pub(super) orders_minor: i64,
    pub(super) orders_by_browser: u64,
    pub(super) exposures: u64,
    pub(super) redemptions: u64,
    pub(super) impressions: u64,
    pub(super) clicks: u64,
    pub(super) checkouts: u64,
    pub(super) confirmations: u64,
    pub(super) questions: u64,
}

impl Tally {
    /// Events that count: repetitions left out.
    pub(super) fn distinct(&self) -> u64 {
        self.sent - self.repeated
    }

    fn count(&mut self, event: &Planned) {
        self.sent += 1;
        if event.repeated {
            self.repeated += 1;
            return;
        }
        self.late += u64::from(event.late);
        match event.what {
            What::Viewed => self.viewed += 1,
            What::Added => self.added += 1,
            What::LoggedIn => self.logged_in += 1,
            What::Order { total_minor } => {
                self.orders += 1;
                self.orders_minor += total_minor;
            }
            What::OrderByBrowser => self.orders_by_browser += 1,
            What::Exposure => self.exposures += 1,
            What::Redemption => self.redemptions += 1,
            What::Impression => self.impressions += 1,
            What::Click => self.clicks += 1,
            What::CheckoutStarted => self.checkouts += 1,
            What::Confirmation => self.confirmations += 1,
        }
    }
}

/// Cuts a story.
#[derive(Debug)]
pub(super) struct Slicer<'a> {
    pub(super) story: Story<'a>,
    pub(super) tally: Tally,
    lanes: usize,
    /// Every so many orders with a question, it is asked.
    ask_every: u64,
    askable: u64,
    /// The first event of the next slice.
    next: Option<Planned>,
}

impl<'a> Slicer<'a> {
    pub(super) fn new(story: Story<'a>, lanes: usize, ask_every: u64) -> Self {
        let (lanes, ask_every) = (lanes.max(1), ask_every.max(1));
        Self { story, tally: Tally::default(), lanes, ask_every, askable: 0, next: None }
    }

    fn whether_asked(&mut self, question: Option<Question>) -> Option<Question> {
        let question = question?;
        let asked = self.askable.is_multiple_of(self.ask_every);
        self.askable += 1;
        self.tally.questions += u64::from(asked);
        asked.then_some(question)
    }
}

impl Iterator for Slicer<'_> {
    type Item = Slice;

    fn next(&mut self) -> Option<Slice> {
        let first = self.next.take().or_else(|| self.story.next())?;
        let end_us = first.sent_at_us + SLICE_US_MAX;
        let events_max = self.lanes * BATCH_EVENTS * BATCHES_PER_LANE;
        let mut lanes: Vec<Lane> = (0..self.lanes).map(|_| Lane::default()).collect();
        let mut last_us = first.sent_at_us;
        let mut next = Some(first);
        for _ in 0..events_max {
            let Some(mut event) = next.take().or_else(|| self.story.next()) else { break };
            if event.sent_at_us >= end_us {
                self.next = Some(event);
                break;
            }
            last_us = last_us.max(event.sent_at_us);
            self.tally.count(&event);
            let question = self.whether_asked(event.question.take());
            if let Some(lane) = lanes.get_mut(event.circle % self.lanes) {
                lane.push(&event, question);
            }
        }
        // `sentAt` has milliseconds; rounded up, nothing happens after it was sent.
        let log_time_us = last_us + (1_000 - last_us.rem_euclid(1_000)) % 1_000;
        let sent_at = iso(log_time_us);
        Some(Slice { log_time_us, lanes: lanes.into_iter().map(|lane| lane.finish(&sent_at)).collect() })
    }
}

#[derive(Debug, Default)]
struct Lane {
    browser: Vec<Batch>,
    server: Vec<Batch>,
}

impl Lane {
    fn push(&mut self, event: &Planned, question: Option<Question>) {
        let batches = if event.door == Door::Browser { &mut self.browser } else { &mut self.server };
        let room = |batch: &&mut Batch| {
            batch.events < BATCH_EVENTS as u64 && batch.body.len() < BATCH_BYTES && batch.question.is_none()
        };
        if let Some(batch) = batches.last_mut().filter(room) {
            batch.body.push(b',');
            batch.body.extend_from_slice(&event.json);
            batch.events += 1;
            batch.question = question;
            return;
        }
        let mut body = Vec::with_capacity(event.json.len() * 8);
        body.extend_from_slice(br#"{"batch":["#);
        body.extend_from_slice(&event.json);
        batches.push(Batch { door: event.door, body, events: 1, question });
    }

    fn finish(self, sent_at: &str) -> Vec<Batch> {
        let mut all = self.browser;
        all.extend(self.server);
        for batch in &mut all {
            batch.body.extend_from_slice(br#"],"sentAt":""#);
            batch.body.extend_from_slice(sent_at.as_bytes());
            batch.body.extend_from_slice(br#""}"#);
        }
        all
    }
}
