//! What is wrong, and what to do about it.

use super::gather::Seen;
use super::stations::is_open;
use super::words::{count, cut, span, total};
use crate::api::types::DestinationShown;

/// More is not read by anybody.
const ADVICE_MAX: usize = 30;
/// A destination that is behind by more is worth a word.
const BEHIND_LONG_MS: u64 = 60_000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    /// Events are not taken in, or nothing more is decided.
    pub(super) urgent: bool,
    pub(super) what: String,
    pub(super) to_do: &'static str,
}

/// Everything that is wrong, the worst first. Empty where all is well.
pub(super) fn advice(seen: &Seen) -> Vec<Advice> {
    let mut all: Vec<Advice> = seen.readiness.reasons.iter().map(|reason| of_reason(reason)).collect();
    of_server(seen, &mut all);
    for destination in &seen.destinations {
        of_destination(destination, &mut all);
    }
    of_line(seen, &mut all);
    all.truncate(ADVICE_MAX);
    all
}

fn of_reason(reason: &str) -> Advice {
    let to_do = if reason.contains("stopped") {
        "Look at the end of the server's log, mend what it names and start the server again. What was acknowledged is \
         there."
    } else if reason.contains("disk") {
        "Make room on the disk of the data directory. Senders are told to come again; nothing acknowledged is lost, and \
         the server goes on by itself."
    } else if reason.contains("message ids") {
        "Raise dedup.bytes_max (docs/config.md) and start the server again."
    } else {
        "Wait a moment; if it stays so, look at the server's log."
    };
    Advice { urgent: true, what: cut(reason), to_do }
}

fn of_server(seen: &Seen, all: &mut Vec<Advice>) {
    let status = &seen.status;
    let mut say = |wrong: bool, what: String, to_do: &'static str| {
        if wrong {
            all.push(Advice { urgent: false, what, to_do });
        }
    };
    say(
        seen.rates.deferred > 0.0,
        "senders are told to come again: more comes in than can be applied".to_owned(),
        "Nothing is lost, they try again. If it stays so, look at the disk and the processor, or send more slowly.",
    );
    say(
        status.skipped > 0,
        format!("{} records were put aside because a rule failed on them", total(status.skipped)),
        "They count as absent. The server's log names their positions: report them.",
    );
    say(
        status.quarantined_events > 0,
        format!(
            "{} events are in quarantine: they are not as their tracking plan says",
            total(status.quarantined_events)
        ),
        "Read why: throughline quarantine list; then mend and resend them, or discard them (docs/ingest.md).",
    );
    say(
        status.feed.gaps > 0,
        format!("the feed began anew {} times since the start", total(status.feed.gaps)),
        "Look at the disk. Followers have to take a snapshot (docs/feed.md).",
    );
    say(
        status.delivery.losses > 0,
        format!("destinations missed messages {} times", total(status.delivery.losses)),
        "The feed began anew before they were read. Compare the destination with a snapshot of the feed (docs/feed.md).",
    );
    let problem = |what: &str, problem: &Option<String>| {
        problem.as_ref().map(|text| format!("{what}: {}", cut(text))).unwrap_or_default()
    };
    say(
        status.backfill.problem.is_some(),
        problem("new audiences cannot be found among who was there before", &status.backfill.problem),
        "It is tried again. If it stays so, look at the server's log.",
    );
    say(
        status.erasure.problem.is_some(),
        problem("erased people cannot be taken out of the disk", &status.erasure.problem),
        "It is tried again. An erasure must be done in time: look at the server's log today.",
    );
}

fn of_destination(one: &DestinationShown, all: &mut Vec<Advice>) {
    let mut say = |what: String, to_do: &'static str| all.push(Advice { urgent: false, what, to_do });
    if !one.enabled {
        return;
    }
    let name = &one.name;
    if let Some(problem) = &one.problem {
        say(
            format!("{name} cannot be sent to: {}", cut(problem)),
            "Mend what it says, or define it anew: PUT /admin/v1/destinations/NAME.",
        );
    }
    let Some(status) = &one.status else { return };
    if is_open(status) {
        say(
            format!("{name} does not accept anything at present"),
            "Look whether its receiver runs. Messages wait in order, and go on by themselves once it answers.",
        );
    } else if status.behind_ms > BEHIND_LONG_MS {
        say(
            format!("{name} hears of things {} late", span(status.behind_ms)),
            "Its receiver is slower than what happens: look at how long it takes to answer.",
        );
    }
    if status.dead_letters > 0 {
        say(
            format!("{name} has {} messages that could not be delivered", total(status.dead_letters)),
            "Read why: GET /admin/v1/destinations/NAME/dead-letters; then resend or discard them.",
        );
    }
}

fn of_line(seen: &Seen, all: &mut Vec<Advice>) {
    let Some(line) = &seen.line else { return };
    let figures = &line.history.total;
    let (touches, orders) = (figures.scrap.unpriced_touches, figures.scrap.unpriced_orders);
    let mut say = |wrong: bool, what: String, to_do: &'static str| {
        if wrong {
            all.push(Advice { urgent: false, what, to_do });
        }
    };
    say(
        touches > 0 || orders > 0,
        format!("{} touches and {} orders are in no sum, for want of a rate", count(touches), count(orders)),
        "Give a rate for every currency that is sent: PUT /admin/v1/settings/line, `rates` (docs/line.md).",
    );
    say(
        figures.cycle_time.negative_spans > 0,
        format!("{} times something ended before it began", count(figures.cycle_time.negative_spans)),
        "The clocks of your senders differ: let them send sentAt, or set them.",
    );
}
