//! What is sent and answered about the quarantine.

use crate::api::shape::wire;
use serde_json::Value;

wire! {
    /// An event in quarantine, without its content.
    struct HeldShown {
        /// Its number.
        id: u64,
        /// The number of its write key.
        write_key: u32,
        /// What it is called.
        event: String,
        /// unplanned, off_plan, or what a resend ended with: event_not_listed, mapping_failed, not_readable, source_disabled.
        code: String,
        /// Where in the event; empty if it is the event itself.
        place: String,
        /// What the plan does not like; values are not repeated.
        reason: String,
        /// When it came.
        received_at: String,
        /// Its place in the log.
        position: u64,
    }

    /// How many events there are for one reason.
    struct HeldReason {
        /// The number of the write key.
        write_key: u32,
        /// What the events are called.
        event: String,
        /// Their code.
        code: String,
        /// Where in the events.
        place: String,
        /// One of their reasons.
        reason: String,
        /// How many.
        events: u64,
    }

    /// Events in quarantine. Totals are of the whole log.
    struct HeldList {
        /// The newest first.
        quarantined: Vec<HeldShown>,
        /// Send it as `before` for older ones; absent at the end.
        next: Option<u64>,
        /// The most frequent reasons of all that the filter takes, at most 100.
        reasons: Vec<HeldReason>,
        /// How many are in quarantine, whatever the filter.
        held: u64,
        /// How many ever came.
        taken: u64,
        /// How many were sent again.
        resent: u64,
        /// How many were discarded.
        discarded: u64,
        /// How many went because there were too many or they were too old.
        dropped: u64,
        /// How many went with somebody who was erased.
        erased: u64,
    }

    /// An identifier of an event in quarantine.
    struct HeldIdentifier {
        /// Its type.
        r#type: String,
        /// Its value, masked unless the token has profile:pii.
        value: Option<String>,
        /// The value is not shown as it is.
        masked: bool,
    }

    /// An event in quarantine, with what it says. E-mail addresses and phone numbers only with profile:pii.
    struct HeldEvent {
        /// Its number.
        id: u64,
        /// The number of its write key.
        write_key: u32,
        /// What it is called.
        event: String,
        /// Why it is in quarantine.
        code: String,
        /// Where in the event.
        place: String,
        /// The same for people.
        reason: String,
        /// When it came.
        received_at: String,
        /// When it happened.
        occurred_at: String,
        /// Its messageId.
        message_id: String,
        /// It came with a server key, so it is the shop's own word.
        from_server: bool,
        /// Whom it is about.
        identifiers: Vec<HeldIdentifier>,
        /// Its properties.
        properties: Option<Value>,
        /// Its traits.
        traits: Option<Value>,
        /// Its context.
        context: Option<Value>,
    }

    /// Which events: those of ids, or else all that write_key, event and code name together.
    struct HeldSelection {
        /// Numbers of events, at most 1,000.
        ids: Option<Vec<u64>>,
        /// Only events of this write key.
        write_key: Option<u32>,
        /// Only events of this name.
        event: Option<String>,
        /// Only events with this code.
        code: Option<String>,
        /// Only events with a higher number: `next` of the answer before.
        after: Option<u64>,
        /// How many at most, 1 to 1,000; 100 if left out.
        limit: Option<u32>,
        /// Of resend: a list of steps: {"rename_event": NAME}, {"rename": {"from": POINTER, "to": POINTER}}, {"remove": POINTER}, {"set": {"at": POINTER, "value": VALUE}}, {"cast": {"at": POINTER, "to": "string", "number" or "boolean"}}. Pointers lead into the properties.
        mapping: Option<Value>,
        /// Of resend: changes nothing, and shows some events before and after.
        dry_run: Option<bool>,
    }

    /// An event that stays in quarantine.
    struct HeldStays {
        /// Its number.
        id: u64,
        /// Why.
        code: String,
        /// Where in the event.
        place: String,
        /// The same for people.
        reason: String,
    }

    /// An event before and after a mapping.
    struct HeldTried {
        /// Its number.
        id: u64,
        /// Whether it would be sent.
        fits: bool,
        /// What it is called.
        event: String,
        /// What it would be called.
        event_after: String,
        /// Its properties.
        before: Option<Value>,
        /// What they would be.
        after: Option<Value>,
    }

    /// What became of a selection.
    struct HeldResent {
        /// Events that were sent, or would be.
        sent: u64,
        /// Events that do not fit and stay.
        stayed: Vec<HeldStays>,
        /// Events that are not in quarantine any more, or not in the log.
        gone: u64,
        /// Of a dry run: up to 20 events.
        tried: Option<Vec<HeldTried>>,
        /// There are more: send it as `after`.
        next: Option<u64>,
    }

    /// What became of a selection.
    struct HeldDiscarded {
        /// Events that are in quarantine no more.
        discarded: u64,
        /// There are more: send it as `after`.
        next: Option<u64>,
    }
}
