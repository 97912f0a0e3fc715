//! The stations of the line: what an event goes through, how much waits before each, and whether it goes on.

use super::gather::Seen;
use super::words::{bytes, cut, percent, span, total};
use crate::api::types::{DestinationShown, DestinationStatus};

/// So many records not applied yet are a queue and not the work of this moment.
const APPLY_QUEUE_LONG: u64 = 10_000;
/// So many records behind is a reader of the feed that does not keep up.
const FEED_LAG_LONG: u64 = 100_000;
/// A destination that is behind by more is waited for.
const BEHIND_LONG_MS: u64 = 60_000;

/// How a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Well,
    /// It goes on by itself, but something waits.
    Waiting,
    /// Somebody has to do something.
    Stopped,
    /// Nobody wants it to do anything.
    Off,
}

impl State {
    /// The most urgent first.
    pub(super) fn order(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Waiting => 1,
            Self::Well => 2,
            Self::Off => 3,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Off => "off",
        }
    }
}

/// One station.
#[derive(Clone, Debug)]
pub(super) struct Station {
    /// `door`, `log` …; of a destination its own name.
    pub(super) name: String,
    pub(super) is_destination: bool,
    pub(super) about: &'static str,
    pub(super) state: State,
    /// Why it is so, or how it is.
    pub(super) note: String,
    pub(super) queue: Option<u64>,
    pub(super) queue_of: &'static str,
    pub(super) per_second: Option<f64>,
    pub(super) total: Option<u64>,
    pub(super) total_of: &'static str,
}

const STATION: Station = Station {
    name: String::new(),
    is_destination: false,
    about: "",
    state: State::Well,
    note: String::new(),
    queue: None,
    queue_of: "",
    per_second: None,
    total: None,
    total_of: "",
};

/// All stations, in the order in which an event meets them.
pub(super) fn stations(seen: &Seen) -> Vec<Station> {
    let mut all = vec![door(seen), log(seen), engine(seen), feed(seen), backfill(seen), erasure(seen)];
    all.extend(seen.destinations.iter().map(|one| destination(seen, one)));
    all
}

fn door(seen: &Seen) -> Station {
    let (state, note) = if !seen.readiness.ready {
        (State::Stopped, "takes no events at present")
    } else if seen.rates.deferred > 0.0 {
        (State::Waiting, "tells senders to come again: more comes than can be applied")
    } else {
        (State::Well, "")
    };
    let refused = seen.status.refused_requests;
    let note = match (note, refused) {
        ("", 0) => String::new(),
        ("", refused) => format!("{} requests were wrong", total(refused)),
        (note, _) => note.to_owned(),
    };
    Station {
        name: "door".to_owned(),
        about: "takes events in",
        state,
        note,
        per_second: Some(seen.rates.accepted),
        total: Some(seen.status.accepted_events),
        total_of: "events",
        ..STATION
    }
}

fn log(seen: &Seen) -> Station {
    let (state, note) = match seen.status.writes_refused {
        true => (State::Stopped, "refuses writes: the disk or the window of message ids is full".to_owned()),
        false => {
            let behind = seen.status.applied_next.saturating_sub(seen.status.checkpoint_next);
            (State::Well, format!("a restart would replay {} records", total(behind)))
        }
    };
    Station {
        name: "log".to_owned(),
        about: "makes them durable",
        state,
        note,
        total: Some(seen.status.durable_next),
        total_of: "records",
        ..STATION
    }
}

fn engine(seen: &Seen) -> Station {
    let queue = seen.status.durable_next.saturating_sub(seen.status.applied_next);
    let (state, note) = match &seen.status.stopped {
        Some(reason) => (State::Stopped, cut(reason)),
        None if queue > APPLY_QUEUE_LONG => (State::Waiting, "more comes in than is applied".to_owned()),
        None => (State::Well, format!("{} in memory", bytes(seen.status.resident_bytes))),
    };
    Station {
        name: "engine".to_owned(),
        about: "decides what they mean",
        state,
        note,
        queue: Some(queue),
        queue_of: "records",
        per_second: Some(seen.rates.applied),
        total: Some(seen.status.applied),
        total_of: "applied",
        ..STATION
    }
}

fn feed(seen: &Seen) -> Station {
    let feed = &seen.status.feed;
    let (state, note) = if feed.reader_lag_records > FEED_LAG_LONG {
        (State::Waiting, "the slowest reader does not keep up".to_owned())
    } else {
        (State::Well, format!("{} readers, {} on disk", total(feed.readers), bytes(feed.disk_bytes)))
    };
    Station {
        name: "feed".to_owned(),
        about: "tells what happened",
        state,
        note,
        queue: Some(feed.reader_lag_records),
        queue_of: "records behind",
        per_second: Some(seen.rates.feed_items),
        total: Some(feed.items),
        total_of: "items",
        ..STATION
    }
}

fn backfill(seen: &Seen) -> Station {
    let backfill = &seen.status.backfill;
    let (state, note) = match (&backfill.problem, backfill.pending) {
        (Some(problem), _) => (State::Stopped, cut(problem)),
        (None, 0) => (State::Off, "nothing to find".to_owned()),
        (None, _) => {
            let slowest = seen.audiences.iter().filter_map(|one| one.backfill.as_ref());
            let through = slowest.map(|one| one.people_percent).min().map(f64::from);
            (State::Waiting, format!("goes through who was there before: {}", percent(through)))
        }
    };
    Station {
        name: "back-fill".to_owned(),
        about: "finds new audiences among people who are there",
        state,
        note,
        queue: Some(backfill.pending),
        queue_of: "definitions",
        ..STATION
    }
}

fn erasure(seen: &Seen) -> Station {
    let erasure = &seen.status.erasure;
    let (state, note) = match (&erasure.problem, erasure.pending) {
        (Some(problem), _) => (State::Stopped, cut(problem)),
        (None, 0) => (State::Off, "nobody to erase".to_owned()),
        (None, _) => (State::Waiting, "rewrites what is on the disk".to_owned()),
    };
    Station {
        name: "erasure".to_owned(),
        about: "takes people out of log and checkpoints",
        state,
        note,
        queue: Some(erasure.pending),
        queue_of: "people",
        ..STATION
    }
}

fn destination(seen: &Seen, one: &DestinationShown) -> Station {
    let (state, mut note) = destination_state(one);
    if state == State::Well && !seen.is_driven {
        note = one.status.as_ref().map(lag).unwrap_or_default();
    }
    let status = one.status.as_ref();
    Station {
        name: one.name.clone(),
        is_destination: true,
        about: if one.url.is_some() { "a webhook is told" } else { "files are written" },
        state,
        note,
        queue: status.map(|status| status.waiting),
        queue_of: "messages",
        per_second: seen.rates.delivered.get(&one.name).copied(),
        total: status.map(|status| status.delivered),
        total_of: "delivered",
    }
}

/// How a destination is, and why.
pub(super) fn destination_state(one: &DestinationShown) -> (State, String) {
    if !one.enabled {
        return (State::Off, "switched off".to_owned());
    }
    if let Some(problem) = &one.problem {
        return (State::Stopped, cut(problem));
    }
    let Some(status) = &one.status else { return (State::Waiting, "is being opened".to_owned()) };
    if is_open(status) {
        return (State::Waiting, "does not accept anything; it is asked again from time to time".to_owned());
    }
    match status.hold.as_deref() {
        Some("DeadLettersFull") => {
            return (State::Stopped, "its list of messages that could not be delivered is full".to_owned());
        }
        Some("RetryAfter") => return (State::Waiting, "asked to be left alone for a while".to_owned()),
        // To send as fast as it is allowed to is well, unless it falls behind.
        _ => {}
    }
    if status.behind_ms > BEHIND_LONG_MS {
        return (State::Waiting, format!("{} behind", span(status.behind_ms)));
    }
    (State::Well, String::new())
}

/// From the event to the acceptance.
fn lag(status: &DestinationStatus) -> String {
    if status.delivered == 0 {
        return "nothing was to be sent yet".to_owned();
    }
    format!("half within {}, 99 % within {}", span(status.lag_p50_ms), span(status.lag_p99_ms))
}

/// Whether the circuit breaker holds messages back.
pub(super) fn is_open(status: &DestinationStatus) -> bool {
    status.breaker.as_deref() == Some("open")
}
