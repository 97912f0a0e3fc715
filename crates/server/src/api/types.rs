//! What goes over the wire of the private listeners. The comments are the documentation: OpenAPI shows them.

use super::shape::wire;
use serde_json::Value;
use std::collections::BTreeMap;

wire! {
    /// An identifier of a person.
    struct IdentifierGiven {
        /// Its type: user_id, email, phone, anonymous_id, device_id, or one from the settings of identity. `type` on the wire of events.
        r#type: String,
        /// Its value, as an event would carry it; it is brought into the same form.
        value: String,
    }

    /// A question: is this person to be advertised this?
    struct DecideRequest {
        /// The person, under any number of identifiers; at most 32.
        identifiers: Vec<IdentifierGiven>,
        /// The product, as product events name it.
        product_id: Option<String>,
        /// Its category, as product events name it.
        category: Option<String>,
    }

    /// The answer, from memory.
    struct DecideAnswer {
        /// Whether to hold back.
        suppressed: bool,
        /// bought_product, bought_category or bought_something where suppressed; else not_bought (the person bought other things), window_over, audience where an audience keeps it away, or nobody_suppressed (nobody known, or nothing bought lately).
        why: String,
        /// The person, where suppressed.
        profile: Option<String>,
        /// Until when, where suppressed.
        until: Option<String>,
        /// The position of the purchase in the log, where suppressed.
        purchase_position: Option<u64>,
        /// The audience that keeps it away.
        audience: Option<String>,
        /// Everything before this position of the log is in the answer.
        position: u64,
    }

    /// Who is looked for.
    struct LookupRequest {
        /// The identifier.
        identifier: IdentifierGiven,
    }

    /// An identifier of a profile.
    struct IdentifierShown {
        /// Its type.
        r#type: String,
        /// Its value. Sealed values are masked without the scope profile:pii; sessions have none.
        value: Option<String>,
        /// Whether the value is masked.
        masked: bool,
        /// When it was first seen.
        first_seen_at: String,
        /// The position of the record that first named it.
        first_seen_position: u64,
        /// Enough different people used this device: it joins nobody any more.
        shared: bool,
        /// A session that the device carries no longer.
        former_session: bool,
        /// How many joins through this identifier were refused.
        refused_joins: u32,
    }

    /// What joined two identifiers.
    struct EdgeShown {
        /// One end: its place among the identifiers.
        a: Option<u32>,
        /// The other end.
        b: Option<u32>,
        /// The record that joined them; `unmerge` takes it.
        position: u64,
    }

    /// Money by currency.
    struct RevenueShown {
        /// ISO 4217; XXX if the events did not say.
        currency: String,
        /// Orders.
        orders: i64,
        /// Their value, in minor units.
        value_minor: i64,
        /// Refunded, in minor units.
        refunded_minor: i64,
    }

    /// A recent event.
    struct RecentShown {
        /// Its name.
        name: String,
        /// When it occurred.
        at: String,
        /// Its position in the log.
        position: u64,
    }

    /// A running suppression.
    struct SuppressionShown {
        /// Until when.
        until: String,
        /// The purchase: its position in the log.
        position: u64,
    }

    /// One person.
    struct ProfileShown {
        /// Its id. Not the one asked for, if that profile became part of another.
        id: String,
        /// What finds the person, first seen first.
        identifiers: Vec<IdentifierShown>,
        /// What joined the identifiers.
        edges: Vec<EdgeShown>,
        /// Stated attributes, the latest of each.
        traits: BTreeMap<String, Value>,
        /// Whether the person agreed, by category.
        consent: BTreeMap<String, bool>,
        /// Events.
        events: u64,
        /// The first event.
        first_event_at: Option<String>,
        /// The last event.
        last_event_at: Option<String>,
        /// Orders that are known.
        orders: u64,
        /// What was bought, by currency.
        revenue: Vec<RevenueShown>,
        /// The last events.
        recent: Vec<RecentShown>,
        /// What the person is not to be advertised.
        suppressions: Vec<SuppressionShown>,
        /// The audiences that the person is in.
        audiences: Vec<String>,
        /// Everything before this position of the log is in the answer.
        position: u64,
    }

    /// What the members of an audience are not to be advertised: one of the three.
    struct SuppressShown {
        /// Everything.
        everything: Option<bool>,
        /// One product.
        product_id: Option<String>,
        /// One category.
        category: Option<String>,
    }

    /// An audience to define.
    struct AudienceGiven {
        /// The rule, see docs/audiences.md.
        rule: String,
        /// Keeps advertising away from the members, in every channel and before any other audience.
        suppress: Option<SuppressShown>,
        /// The version that this is a change of, 0 for a new one; refused with 409 if another is in force.
        version: Option<u32>,
    }

    /// What a rule looks at.
    struct SlotShown {
        /// Its number.
        number: u32,
        /// Its expression; the same wherever it is used.
        expression: String,
        /// The window, in seconds.
        window_s: Option<i64>,
        /// How exact the window is: an event counts for at least the window, and at most one granule longer.
        granule_s: Option<i64>,
    }

    /// An audience that is being found for everybody.
    struct BackfillShown {
        /// The record that defined it.
        defined_at_position: u64,
        /// Events before this position are not counted, because the log does not reach further back or the feed began anew
        /// since; 0 where all are.
        counted_from_position: u64,
        /// Older events before this position have been read.
        read_to_position: u64,
        /// How many percent of the people have been gone through since.
        people_percent: u32,
    }

    /// An audience.
    struct AudienceShown {
        /// Its name.
        name: String,
        /// Its number.
        number: u32,
        /// Grows with every change.
        version: u32,
        /// Its rule.
        rule: String,
        /// What its members are not to be advertised.
        suppress: Option<SuppressShown>,
        /// People in it now.
        members: u64,
        /// Entries so far.
        entries: u64,
        /// Exits so far.
        exits: u64,
        /// What evaluating it costs, at most 1000.
        cost: u32,
        /// What it looks at.
        features: Vec<SlotShown>,
        /// Set while it is being found for everybody who was there before it.
        backfill: Option<BackfillShown>,
    }

    /// All audiences.
    struct AudienceList {
        /// By number.
        audiences: Vec<AudienceShown>,
    }

    /// A feature to define.
    struct FeatureGiven {
        /// One aggregation, e.g. sum("Order Completed", "value", "30d").
        expression: String,
        /// The version that this is a change of, 0 for a new one; refused with 409 if another is in force.
        version: Option<u32>,
    }

    /// A feature with a name.
    struct FeatureShown {
        /// Its name.
        name: String,
        /// Its number.
        number: u32,
        /// Grows with every change.
        version: u32,
        /// What it aggregates.
        expression: String,
        /// Its slot.
        features: Vec<SlotShown>,
    }

    /// All features with names.
    struct FeatureList {
        /// By number.
        features: Vec<FeatureShown>,
    }

    /// A definition was taken in, or would be.
    struct Defined {
        /// Its name.
        name: String,
        /// Its number.
        number: u32,
        /// Its version.
        version: u32,
        /// It was only tried: nothing was changed.
        dry_run: bool,
        /// Set where it looks at what was never kept, so that older events are read: those before this position are not
        /// counted, because the log does not reach further back or the feed began anew since; 0 where all are.
        counted_from_position: Option<u64>,
    }

    /// Who is asked about: one of the two.
    struct ExplainAudience {
        /// A profile id.
        profile: Option<String>,
        /// An identifier.
        identifier: Option<IdentifierGiven>,
    }

    /// A part of a rule, for one person.
    struct PartShown {
        /// How deep it lies; 0 is the whole rule.
        depth: u32,
        /// Its text.
        text: String,
        /// Whether it holds.
        holds: bool,
        /// What its parts come to.
        values: BTreeMap<String, String>,
        /// When time alone may change it.
        next_change: Option<String>,
    }

    /// Why somebody is in an audience, or is not.
    struct ExplainedAudience {
        /// The audience.
        audience: String,
        /// Its version.
        version: u32,
        /// The person.
        profile: String,
        /// In it or not.
        member: bool,
        /// The audience waits until older events have been read.
        pending: bool,
        /// In it since.
        since: Option<String>,
        /// The record with which the person entered.
        since_position: Option<u64>,
        /// The rule, part by part in the order of the text.
        parts: Vec<PartShown>,
        /// Everything before this position of the log is in the answer.
        position: u64,
    }

    /// A destination to define.
    struct DestinationGiven {
        /// webhook: a signed POST for every message. http: a request whose body, headers and query are templates. ndjson: lines in files of the data directory. platform: an ad platform's interface.
        r#type: String,
        /// Where a webhook posts to and a request goes to: https, and nothing private unless `delivery.allow` says so. It never comes from a message.
        url: Option<String>,
        /// marketing (the default): never sent twice, and sent only while it is right. transactional: sent again after an unknown outcome.
        class: Option<String>,
        /// The kinds of messages, e.g. audience.entered; all if left out.
        kinds: Option<Vec<String>>,
        /// The audiences whose entries and exits it gets; all if left out.
        audiences: Option<Vec<String>>,
        /// The types of identifiers that messages carry, e.g. user_id; none if left out. Types that are kept sealed are opened for it.
        identifiers: Option<Vec<String>>,
        /// The accepted events that it gets, by name, e.g. Order Completed; none if left out. An order that two senders report is an event of each, with the same id.
        events: Option<Vec<String>>,
        /// Whether it is sent to; true if left out.
        enabled: Option<bool>,
        /// Attempts under way at a time, 1 to 1000; if left out, what suits the type.
        concurrency_max: Option<u16>,
        /// Attempts a second in the long run; if left out, as fast as answers come, or as the platform allows.
        attempts_per_second: Option<u32>,
        /// Messages of one attempt, where the type batches; if left out, what suits the type.
        batch_max: Option<u32>,
        /// How long a batch that is not full waits for more, in milliseconds; if left out, what suits the type.
        flush_after_ms: Option<u32>,
        /// Of a platform: which one and how, e.g. {"platform": "meta_audience", "lists": {"customers": "2385"}}. Of http: the request, e.g. {"method": "POST", "content": "json", "body": "{\"text\": \"{{ data.audience }}\"}"}, with `query`, `headers`, `batch` and `timeout_ms`; texts are Liquid templates. No secrets.
        settings: Option<Value>,
        /// Of a platform and of http (`bearer`, `basic` or `api_key`): for each secret of its settings the name of the file of `delivery.credentials` that holds it, e.g. {"access_token": "meta-token"}.
        credentials: Option<BTreeMap<String, String>>,
        /// required: it is told of those only who agreed (what is usual for a platform). unless_denied: of everybody who did not refuse. not_needed: of everybody, as the shop's own systems are (what is usual for the other types; a platform cannot have it).
        consent: Option<String>,
        /// The category of consent that this is about, as `context.consent` of events names it; `consent_category` of the line if left out.
        consent_category: Option<String>,
        /// Of a platform and of http: what it is told of a person beside identifiers, from traits: first_name, last_name, city, state, postcode, country; nothing if left out.
        person: Option<Vec<String>>,
    }

    /// How a destination is. Counts begin with the server, and go on when the destination is changed.
    struct DestinationStatus {
        /// Messages that it accepted.
        delivered: u64,
        /// Attempts.
        attempts: u64,
        /// Attempts that did not end in acceptance.
        failed_attempts: u64,
        /// Messages that waited for another attempt.
        retried: u64,
        /// Attempts that got no answer in time.
        timeouts: u64,
        /// Messages that could not be delivered and wait for somebody.
        dead_letters: u64,
        /// Messages that were not right any more when their turn came, by reason.
        refused_by_permit: BTreeMap<String, u64>,
        /// Messages on the wire when something was committed, a purchase for example, that would have refused them; counted at every attempt.
        crossed: u64,
        /// Messages in memory.
        waiting: u64,
        /// How long the oldest of them has waited.
        oldest_waiting_ms: Option<u64>,
        /// From the event to the acceptance, the median.
        lag_p50_ms: u64,
        /// From the event to the acceptance, 99 of 100.
        lag_p99_ms: u64,
        /// Everything up to this position is settled.
        settled_position: u64,
        /// How many records of the log that is behind.
        behind_records: u64,
        /// How long what is not settled has been in the feed, in milliseconds; 0 if it has settled everything.
        behind_ms: u64,
        /// The circuit breaker: closed, open or halfopen.
        breaker: Option<String>,
        /// Why nothing is sent at present.
        hold: Option<String>,
    }

    /// A destination.
    struct DestinationShown {
        /// Its name.
        name: String,
        /// webhook, http, ndjson or platform.
        r#type: String,
        /// Where it goes, of a webhook and of http.
        url: Option<String>,
        /// marketing or transactional.
        class: String,
        /// Kinds of messages; all where empty.
        kinds: Vec<String>,
        /// Audiences; all where empty.
        audiences: Vec<String>,
        /// Types of identifiers in messages.
        identifiers: Vec<String>,
        /// Names of accepted events.
        events: Vec<String>,
        /// Whether it is sent to.
        enabled: bool,
        /// Attempts under way at a time, where that is set.
        concurrency_max: Option<u16>,
        /// Attempts a second, where that is set.
        attempts_per_second: Option<u32>,
        /// Messages of one attempt, where that is set.
        batch_max: Option<u32>,
        /// How long a batch waits for more, where that is set.
        flush_after_ms: Option<u32>,
        /// Of a platform and of http: which one and how.
        settings: Option<Value>,
        /// Of a platform and of http: the names of its credentials.
        credentials: Option<BTreeMap<String, String>>,
        /// required, unless_denied or not_needed.
        consent: String,
        /// The category of consent that this is about, where it is not the line's.
        consent_category: Option<String>,
        /// Of a platform and of http: what it is told of a person beside identifiers.
        person: Option<Vec<String>>,
        /// What the messages of a webhook are signed with: in the answer to a definition or a change of the secret only.
        secret: Option<String>,
        /// Grows with every change of the secret.
        secret_generation: u32,
        /// Why nothing can be sent to it.
        problem: Option<String>,
        /// How it is.
        status: Option<DestinationStatus>,
    }

    /// What to render, to see what would be sent. Nothing is.
    struct PreviewGiven {
        /// The definition to look at; the one that there is if left out.
        definition: Option<DestinationGiven>,
        /// The kind of message to make one up for, e.g. audience.entered; the first that it gets if left out.
        kind: Option<String>,
        /// Messages of one's own instead, e.g. the body of a dead letter: one, or for a batch up to 100.
        messages: Option<Vec<Value>>,
    }

    /// What would be sent. The credential is not in it.
    struct PreviewShown {
        /// GET, POST, PUT, PATCH or DELETE.
        method: String,
        /// Where to.
        url: String,
        /// Headers by name, beside those of every request.
        headers: BTreeMap<String, String>,
        /// The body.
        body: String,
        /// What it was made of.
        messages: Vec<Value>,
    }

    /// All destinations.
    struct DestinationList {
        /// By name.
        destinations: Vec<DestinationShown>,
    }

    /// A message that could not be delivered.
    struct DeadLetterShown {
        /// The effect.
        id: String,
        /// Whom it concerns.
        profile: String,
        /// When it was issued.
        issued_at: String,
        /// When it was given up.
        died_at: String,
        /// refused, gave_up, or unknown_outcome for a marketing message that must not be sent twice.
        reason: String,
        /// What was said last, e.g. http_400.
        detail: String,
        /// Attempts.
        attempts: u64,
        /// It is on its way again.
        sending_again: bool,
        /// The message.
        body: Value,
    }

    /// Messages that could not be delivered.
    struct DeadLetterList {
        /// Oldest first.
        dead_letters: Vec<DeadLetterShown>,
        /// `after` of the next page; absent on the last one.
        next: Option<String>,
    }

    /// Which ones.
    struct DeadLetterIds {
        /// Effect ids.
        ids: Vec<String>,
    }

    /// How many were done.
    struct DeadLettersDone {
        /// That many.
        done: u64,
    }

    /// A key that lets events in.
    struct WriteKeyShown {
        /// Its number.
        number: u32,
        /// The key as clients send it.
        key: String,
        /// browser (public: its word is a claim) or server (secret: the shop's word).
        kind: String,
        /// Lets events in.
        enabled: bool,
        /// Order values count, also from a browser.
        value_counts: bool,
        /// What you call it.
        name: String,
    }

    /// A write key to be made.
    struct WriteKeyNew {
        /// What you call it.
        name: String,
        /// browser or server.
        kind: String,
        /// Order values count, also from a browser. Default: for server keys only.
        value_counts: Option<bool>,
    }

    /// The write keys.
    struct WriteKeyList {
        /// By number.
        write_keys: Vec<WriteKeyShown>,
    }

    /// A token, without its secret.
    struct TokenShown {
        /// Its number.
        number: u32,
        /// What you call it.
        name: String,
        /// What it allows.
        scopes: Vec<String>,
    }

    /// A token to be made.
    struct TokenNew {
        /// What you call it; the audit log names it.
        name: String,
        /// What it allows: admin, profile:read, profile:pii, decide.
        scopes: Vec<String>,
    }

    /// A token with its secret, which is shown this once and kept nowhere.
    struct TokenMade {
        /// Its number.
        number: u32,
        /// What you call it.
        name: String,
        /// What it allows.
        scopes: Vec<String>,
        /// The secret: `Authorization: Bearer …`.
        secret: String,
    }

    /// The tokens.
    struct TokenList {
        /// By number.
        tokens: Vec<TokenShown>,
    }

    /// Settings were changed.
    struct Changed {
        /// Grows with every change of settings.
        settings_version: u32,
    }

    /// The rule for one type of identifier.
    struct KindShown {
        /// The type's number, 1 to 255; 1 to 5 are built in. It is stored with events: never give it to another type.
        number: u8,
        /// Its name.
        name: String,
        /// 1 is the most important.
        priority: u8,
        /// How many of them one person may have.
        cap: u16,
        /// Over which time: ever, year, month or week.
        window: String,
        /// Two people with different ones are never one person.
        unique: bool,
    }

    /// The rules of identity.
    struct IdentityShown {
        /// Grows with every change; ignored in requests.
        version: Option<u32>,
        /// One rule per type.
        kinds: Vec<KindShown>,
        /// How many ids of a unique type a server may join by alias.
        alias_cap: u16,
        /// A device is shared from this many different people on.
        shared_takers: u8,
        /// They count for so many seconds.
        shared_window_s: i64,
        /// A profile with more identifiers than this raises an alert.
        soft_cap: u16,
    }

    /// The rules of suppression. They hold for purchases from then on.
    struct SuppressionRules {
        /// Grows with every change; ignored in requests.
        version: Option<u32>,
        /// How many seconds after the purchase.
        window_s: i64,
        /// For the products bought.
        products: bool,
        /// For their categories.
        categories: bool,
        /// For everything.
        everything: bool,
        /// A cancelled or fully refunded order suppresses no more.
        refund_lifts: bool,
    }

    /// Which join to undo: a pair of identifiers, or all that one record joined.
    struct UnmergeRequest {
        /// Two identifiers that are joined directly.
        identifiers: Option<Vec<IdentifierGiven>>,
        /// The position of the record, as the profile's edges show it.
        position: Option<u64>,
    }

    /// What a profile was parted into.
    struct Unmerged {
        /// The profiles that there are now; one where other joins still hold everybody together.
        profiles: Vec<String>,
        /// False where other joins still hold both together: nobody was parted. Undo those joins too.
        parted: bool,
    }

    /// A person was erased: from state at once, from the log in the background (see status).
    struct Erased {
        /// Identifiers and sessions that are no more.
        identifiers: u32,
    }

    /// Something to do outside.
    struct EffectShown {
        /// The same on every replay.
        id: String,
        /// What to do.
        kind: String,
        /// Whom it concerns.
        profile: String,
        /// When it was issued.
        issued_at: String,
        /// The rest, by kind.
        detail: Value,
    }

    /// Effects, oldest first.
    struct Outbox {
        /// The effects.
        effects: Vec<EffectShown>,
        /// Pass as `after` for the next ones; absent at the end.
        next: Option<String>,
    }

    /// The background rewriting of checkpoints and log after erasures.
    struct ErasureStatus {
        /// Erasures of whom something may still be in a checkpoint or the log.
        pending: u64,
        /// Everything that was erased before this position is out of checkpoints and log.
        done_before_position: u64,
        /// What the present round waits for: `checkpoints`, `open_segment`, `segments`, `feed`, `used_files`; `rest` between
        /// two rounds; absent if nothing is pending.
        stage: Option<String>,
        /// Segments rewritten in the present round.
        segments_done: u64,
        /// Segments of the present round.
        segments_total: u64,
        /// Records emptied since the start.
        records_emptied: u64,
        /// What stopped the last round, if something did; it is tried again.
        problem: Option<String>,
    }

    /// The change feed.
    struct FeedStatus {
        /// Items before this position are gone.
        start: u64,
        /// Every item before this position can be read.
        complete: u64,
        /// Items since the start.
        items: u64,
        /// Times that the feed began anew since the start, so that older cursors were refused. 0 where disks are well.
        gaps: u64,
        /// Bytes on disk.
        disk_bytes: u64,
        /// Bytes of what is left of older items, for new audiences; beside these.
        history_bytes: u64,
        /// Bytes that wait to be written.
        waiting_bytes: u64,
        /// Readers that are connected.
        readers: u64,
        /// Records by which the reader furthest behind is behind; 0 without readers.
        reader_lag_records: u64,
        /// Items sent to readers since the start.
        sent_items: u64,
        /// Bytes sent to readers since the start.
        sent_bytes: u64,
        /// Cursors that were refused because they are gone, since the start.
        cursors_gone: u64,
        /// Readers that were disconnected because they took nothing, since the start.
        readers_slow: u64,
    }

    /// Finding new definitions for everybody who was there before them.
    struct BackfillStatus {
        /// Definitions that do not hold for everybody yet.
        pending: u64,
        /// What stopped the last attempt, if something did; it is tried again.
        problem: Option<String>,
        /// Events before this position are not counted for what is defined now, because the log does not reach further back
        /// or the feed began anew since; 0 where all are.
        counts_from_position: u64,
    }

    /// What leaves.
    struct DeliveryStatus {
        /// Destinations that are sent to.
        destinations: u64,
        /// Destinations that cannot be sent to; each says why.
        problems: u64,
        /// Messages that destinations accepted, since the start.
        delivered: u64,
        /// Messages that wait in memory.
        waiting: u64,
        /// Messages on the wire when something was committed that would have refused them, since the start.
        crossed: u64,
        /// Messages that could not be delivered and wait for somebody.
        dead_letters: u64,
        /// Times that a destination lost messages because the feed began anew before they were read.
        losses: u64,
    }

    /// How the shard is.
    struct StatusShown {
        /// The version of the program.
        version: String,
        /// Seconds since the start.
        uptime_s: u64,
        /// Why the shard takes no requests any more, if so.
        stopped: Option<String>,
        /// Position after the last durable record.
        durable_next: u64,
        /// Position after the last applied record.
        applied_next: u64,
        /// Log time of the last applied record.
        log_time: String,
        /// Log time in microseconds since 1970.
        log_time_us: i64,
        /// Records applied since the beginning, duplicates left out.
        applied: u64,
        /// Repeated messages that were dropped.
        duplicates: u64,
        /// Records put aside because a rule failed on them.
        skipped: u64,
        /// Events that tracking plans keep in quarantine.
        quarantined_events: u64,
        /// People.
        profiles: u64,
        /// Profiles that became part of another.
        merges: u64,
        /// Profiles that are suppressed for something now.
        suppressions_active: u64,
        /// Effects issued since the beginning.
        effects: u64,
        /// Effects that wait for delivery.
        outbox: u64,
        /// Timers that wait.
        timers: u64,
        /// Position of the last checkpoint.
        checkpoint_next: u64,
        /// Checkpoints since the start.
        checkpoints: u64,
        /// Bytes of rows in memory.
        resident_bytes: u64,
        /// Rows in memory.
        resident_rows: u64,
        /// Bytes that message ids take in memory.
        dedup_bytes: u64,
        /// The longest stop of the applying thread for a checkpoint or an eviction, in microseconds.
        pause_max_us: u64,
        /// No writes for now: the disk or the window of message ids is full.
        writes_refused: bool,
        /// Events that the door took since the start.
        accepted_events: u64,
        /// Requests that the door took since the start.
        accepted_requests: u64,
        /// Requests that were wrong.
        refused_requests: u64,
        /// Requests that were told to come again.
        deferred_requests: u64,
        /// Erasures that are not finished.
        erasure: ErasureStatus,
        /// The change feed.
        feed: FeedStatus,
        /// Audiences that are being found for everybody.
        backfill: BackfillStatus,
        /// What leaves.
        delivery: DeliveryStatus,
    }

    /// Whether the server can do its work.
    struct Readiness {
        /// It can.
        ready: bool,
        /// What stands in the way.
        reasons: Vec<String>,
    }

    /// The process answers.
    struct Health {
        /// Always ok.
        status: String,
    }
}
