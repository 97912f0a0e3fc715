//! Handlers of `listen.admin` for destinations and what could not be delivered.

use super::check_url;
use super::figures::behind_ms;
use crate::api::types::{
    DeadLetterIds, DeadLetterList, DeadLetterShown, DeadLettersDone, DestinationGiven, DestinationList,
    DestinationShown, DestinationStatus,
};
use crate::api::{Answering, Call, Code, Context, Problem, Reply as Answer, execute, idempotency_of};
use crate::calendar::{iso, now_us};
use crate::feed::KINDS;
use delivery::{DeadLetter, LaneStatus, Runner};
use engage::{
    ConsentNeed, Destination, DestinationKind, MAX_CONCURRENCY, Operation, SendingClass, SendingLimits,
    Settings,
};
use model::id::{EffectId, Position, public_id};
use std::sync::Arc;

/// Dead letters of one answer.
const LETTERS_MAX: usize = 1_000;
/// Dead letters of one answer where the request does not say.
const LETTERS_DEFAULT: usize = 100;
/// The longest that a batch may wait: what waits is late.
const FLUSH_AFTER_MAX_MS: u32 = 600_000;

pub(crate) fn list(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move { Answer::json(200, &DestinationList { destinations: all_shown(&context) }) })
}

/// Every destination, as answers show it.
pub(crate) fn all_shown(context: &Context) -> Vec<DestinationShown> {
    let settings = context.engine.view().settings();
    settings.destinations.iter().map(|one| shown(context, one, None)).collect()
}

pub(crate) fn get(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let settings = context.engine.view().settings();
        Answer::json(200, &shown(&context, named(&settings, &call)?, None))
    })
}

pub(crate) fn define(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: DestinationGiven = call.json()?;
        let _alone = context.changing.lock().await;
        let settings = context.engine.view().settings();
        let own = named(&settings, &call).ok();
        let destination = checked(&context, &settings, call.capture(), given, own)?;
        put(&context, &call, destination).await
    })
}

pub(crate) fn rotate_secret(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let _alone = context.changing.lock().await;
        let settings = context.engine.view().settings();
        let mut destination = named(&settings, &call)?.clone();
        destination.secret_generation = destination.secret_generation.saturating_add(1);
        destination.overlap = true;
        put(&context, &call, destination).await
    })
}

pub(crate) fn remove(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let _alone = context.changing.lock().await;
        let settings = context.engine.view().settings();
        let own = named(&settings, &call)?.clone();
        let operation = Operation::RemoveDestination(own.name.clone());
        execute(&context, idempotency_of(&call)?, operation).await?;
        context.deliveries.look();
        Answer::json(200, &shown(&context, &own, None))
    })
}

pub(crate) fn dead_letters(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let settings = context.engine.view().settings();
        let name = named(&settings, &call)?.name.clone();
        let after = call.parameter("after").map(|text| effect_id(text, "after")).transpose()?;
        let limit = match call.parameter("limit") {
            None => LETTERS_DEFAULT,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=LETTERS_MAX).contains(limit)).ok_or_else(|| {
                    Problem::at(Code::BadRequest, "limit", format!("limit must be 1 to {LETTERS_MAX}"))
                })?
            }
        };
        let letters = runner(&context)?.dead_letters(&name, after, limit).await.map_err(problem)?;
        let next =
            if letters.len() < limit { None } else { letters.last().map(|one| one.parcel.id.to_string()) };
        Answer::json(200, &DeadLetterList { dead_letters: letters.iter().map(letter).collect(), next })
    })
}

pub(crate) fn resend(context: Arc<Context>, call: Call) -> Answering {
    each_letter(context, call, true)
}

pub(crate) fn discard(context: Arc<Context>, call: Call) -> Answering {
    each_letter(context, call, false)
}

/// Every letter that is named, or stops at the first that cannot be: the answer says how many were done.
fn each_letter(context: Arc<Context>, call: Call, again: bool) -> Answering {
    Box::pin(async move {
        let given: DeadLetterIds = call.json()?;
        let settings = context.engine.view().settings();
        let name = named(&settings, &call)?.name.clone();
        if given.ids.is_empty() || given.ids.len() > LETTERS_MAX {
            return Err(Problem::at(Code::BadValue, "ids", format!("name 1 to {LETTERS_MAX} letters")));
        }
        let ids = given.ids.iter().map(|text| effect_id(text, "ids")).collect::<Result<Vec<_>, _>>()?;
        let runner = runner(&context)?;
        for id in &ids {
            let done = if again { runner.resend(&name, *id).await } else { runner.discard(&name, *id).await };
            done.map_err(problem)?;
        }
        Answer::json(200, &DeadLettersDone { done: ids.len() as u64 })
    })
}

async fn put(context: &Context, call: &Call, destination: Destination) -> Result<Answer, Problem> {
    let operation = Operation::DefineDestination(destination.clone());
    execute(context, idempotency_of(call)?, operation).await?;
    context.deliveries.look();
    let secret = match destination.kind {
        DestinationKind::Webhook { .. } => {
            Some(context.secrets.webhook_text(&destination.name, destination.secret_generation).to_string())
        }
        DestinationKind::Ndjson | DestinationKind::Platform { .. } | DestinationKind::Http { .. } => None,
    };
    Answer::json(200, &shown(context, &destination, secret))
}

/// What was given, as a destination; the secret of one that is there stays.
pub(super) fn checked(
    context: &Context,
    settings: &Settings,
    name: &str,
    given: DestinationGiven,
    own: Option<&Destination>,
) -> Result<Destination, Problem> {
    let kind = kind(context, &given)?;
    let consent = consent(&kind, given.consent.as_deref())?;
    let limits = limits(&given)?;
    let class = match given.class.as_deref() {
        None | Some("marketing") => SendingClass::Marketing,
        Some("transactional") => SendingClass::Transactional,
        Some(_) => {
            return Err(Problem::at(Code::BadValue, "class", "class must be marketing or transactional"));
        }
    };
    let (kinds, audiences) = (given.kinds.unwrap_or_default(), given.audiences.unwrap_or_default());
    let identifiers = given.identifiers.unwrap_or_default();
    let events = given.events.unwrap_or_default();
    let known: Vec<&str> = KINDS.iter().filter(|kind| kind.is_an_effect()).map(|kind| kind.name).collect();
    known_all("kinds", &kinds, &known)?;
    let book = context.engine.view().book();
    let known: Vec<&str> = book.audiences().filter_map(|id| Some(&*book.definition(id)?.name)).collect();
    known_all("audiences", &audiences, &known)?;
    let known: Vec<&str> = settings.identity.kinds.iter().map(|rule| rule.name.as_str()).collect();
    known_all("identifiers", &identifiers, &known)?;
    let destination = Destination {
        name: name.to_owned(),
        kind,
        consent,
        consent_category: given.consent_category.filter(|name| !name.is_empty()),
        class,
        kinds,
        audiences,
        identifiers,
        events,
        secret_generation: own.map_or(0, |own| own.secret_generation),
        overlap: own.is_some_and(|own| own.overlap),
        enabled: given.enabled.unwrap_or(true),
        limits,
        since: Position(0),
    };
    super::http::try_samples(&destination)?;
    Ok(destination)
}

fn kind(context: &Context, given: &DestinationGiven) -> Result<DestinationKind, Problem> {
    let wrong = |field: &str, message: &str| Err(Problem::at(Code::BadValue, field, message));
    let has_settings = matches!(given.r#type.as_str(), "platform" | "http");
    if given.person.is_some() && !has_settings {
        return wrong("person", "it is for platforms and http: leave it out");
    }
    if (given.settings.is_some() || given.credentials.is_some()) && !has_settings {
        return wrong("settings", "settings and credentials are for platforms and http: leave them out");
    }
    match (given.r#type.as_str(), &given.url) {
        ("webhook", Some(url)) => {
            check_url(context, url).map_err(|error| Problem::at(Code::BadValue, "url", error.to_string()))?;
            Ok(DestinationKind::Webhook { url: url.clone() })
        }
        ("http", Some(url)) => {
            check_url(context, url).map_err(|error| Problem::at(Code::BadValue, "url", error.to_string()))?;
            super::http::checked(given, url)
        }
        ("webhook" | "http", None) => wrong("url", "a webhook and a request need a url"),
        ("ndjson", None) => Ok(DestinationKind::Ndjson),
        ("ndjson", Some(_)) => wrong("url", "files have no url: leave it out"),
        ("platform", None) => super::platform::checked(given),
        ("platform", Some(_)) => {
            wrong("url", "a platform's address is `base_url` of its settings, if it is not the usual one")
        }
        _ => wrong("type", "type must be webhook, http, ndjson or platform"),
    }
}

/// What a destination needs of a person: what is said, or what is usual for its kind.
fn consent(kind: &DestinationKind, word: Option<&str>) -> Result<ConsentNeed, Problem> {
    let Some(word) = word else { return Ok(kind.usual_consent()) };
    let wrong = |message: &str| Err(Problem::at(Code::BadValue, "consent", message));
    match (ConsentNeed::of_word(word), kind) {
        (Some(ConsentNeed::NotNeeded), DestinationKind::Platform { .. }) => {
            wrong("an ad platform needs consent: it must be required or unless_denied")
        }
        (Some(need), _) => Ok(need),
        (None, _) => wrong("consent must be required, unless_denied or not_needed"),
    }
}

fn limits(given: &DestinationGiven) -> Result<SendingLimits, Problem> {
    if given.concurrency_max.is_some_and(|most| most == 0 || most > MAX_CONCURRENCY) {
        let message = format!("concurrency_max must be 1 to {MAX_CONCURRENCY}");
        return Err(Problem::at(Code::BadValue, "concurrency_max", message));
    }
    for (field, value) in [("attempts_per_second", given.attempts_per_second), ("batch_max", given.batch_max)]
    {
        if value == Some(0) {
            return Err(Problem::at(Code::BadValue, field, format!("{field} must be at least 1")));
        }
    }
    if given.flush_after_ms.is_some_and(|ms| ms > FLUSH_AFTER_MAX_MS) {
        let message = format!("flush_after_ms must be at most {FLUSH_AFTER_MAX_MS}");
        return Err(Problem::at(Code::BadValue, "flush_after_ms", message));
    }
    Ok(SendingLimits {
        concurrency_max: given.concurrency_max.unwrap_or(0),
        attempts_per_second: given.attempts_per_second.unwrap_or(0),
        batch_max: given.batch_max.unwrap_or(0),
        flush_after_ms: given.flush_after_ms.unwrap_or(0),
    })
}

fn known_all(field: &str, named: &[String], known: &[&str]) -> Result<(), Problem> {
    let Some(wrong) = named.iter().find(|one| !known.contains(&one.as_str())) else { return Ok(()) };
    let message = match known {
        [] => format!("there is no {wrong:?}: define it first"),
        known => format!("there is no {wrong:?}; there are {}", known.join(", ")),
    };
    Err(Problem::at(Code::BadValue, field, message))
}

pub(super) fn named<'s>(settings: &'s Settings, call: &Call) -> Result<&'s Destination, Problem> {
    let name = call.capture();
    settings.destinations.iter().find(|one| one.name == name).ok_or_else(|| {
        let known: Vec<&str> = settings.destinations.iter().map(|one| one.name.as_str()).collect();
        let message = match known.as_slice() {
            [] => "there is no such destination; none is defined yet".to_owned(),
            known => format!("there is no such destination; there are {}", known.join(", ")),
        };
        Problem::new(Code::NoSuchDefinition, message)
    })
}

fn runner(context: &Context) -> Result<Arc<Runner>, Problem> {
    context.deliveries.runner().ok_or_else(|| {
        let message = "no destination is being sent to at present; enable one, or look at its problem";
        Problem::new(Code::Conflict, message)
    })
}

fn problem(error: delivery::CommandError) -> Problem {
    Problem::new(Code::Conflict, error.to_string())
}

fn effect_id(text: &str, field: &str) -> Result<EffectId, Problem> {
    crate::api::parse_effect(text)
        .ok_or_else(|| Problem::at(Code::BadRequest, field, "an effect id is like eff_17_0"))
}

fn letter(letter: &DeadLetter) -> DeadLetterShown {
    DeadLetterShown {
        id: letter.parcel.id.to_string(),
        profile: public_id("prf", letter.parcel.subject),
        issued_at: iso(letter.parcel.issued_at.0),
        died_at: iso(letter.died_at.0),
        reason: letter.reason.word().to_owned(),
        detail: letter.detail.clone(),
        attempts: u64::from(letter.attempts),
        sending_again: letter.resend,
        body: serde_json::from_slice(&letter.parcel.body).unwrap_or_default(),
    }
}

fn shown(context: &Context, destination: &Destination, secret: Option<String>) -> DestinationShown {
    let (kind, url) = match &destination.kind {
        DestinationKind::Webhook { url } => ("webhook", Some(url.clone())),
        DestinationKind::Ndjson => ("ndjson", None),
        DestinationKind::Platform { .. } => ("platform", None),
        DestinationKind::Http { url, .. } => ("http", Some(url.clone())),
    };
    let (settings, credentials, person) = match &destination.kind {
        DestinationKind::Platform { settings, credentials, person }
        | DestinationKind::Http { settings, credentials, person, .. } => {
            let credentials = credentials.iter().cloned().collect();
            (serde_json::from_str(settings).ok(), Some(credentials), Some(person.clone()))
        }
        _ => (None, None, None),
    };
    let set = |limit: u32| Some(limit).filter(|limit| *limit > 0);
    let limits = destination.limits;
    let problem = context.deliveries.lock().problems.get(&destination.name).cloned();
    let statuses = context.deliveries.runner().map(|runner| runner.statuses()).unwrap_or_default();
    let status = statuses.iter().find(|status| status.open && status.name == destination.name);
    DestinationShown {
        name: destination.name.clone(),
        r#type: kind.to_owned(),
        url,
        class: match destination.class {
            SendingClass::Marketing => "marketing",
            SendingClass::Transactional => "transactional",
        }
        .to_owned(),
        kinds: destination.kinds.clone(),
        audiences: destination.audiences.clone(),
        identifiers: destination.identifiers.clone(),
        events: destination.events.clone(),
        enabled: destination.enabled,
        concurrency_max: Some(limits.concurrency_max).filter(|most| *most > 0),
        attempts_per_second: set(limits.attempts_per_second),
        batch_max: set(limits.batch_max),
        flush_after_ms: set(limits.flush_after_ms),
        settings,
        credentials,
        consent: destination.consent.word().to_owned(),
        consent_category: destination.consent_category.clone(),
        person,
        secret,
        secret_generation: destination.secret_generation,
        problem,
        status: status.map(|status| status_shown(context, status)),
    }
}

fn status_shown(context: &Context, status: &LaneStatus) -> DestinationStatus {
    let through = status.settled_through.map_or(0, |id| id.position.0);
    let oldest = status.oldest_issued_at.map(|at| now_us().saturating_sub(at.0).max(0) / 1_000);
    let complete = context.engine.feed().bounds().complete.0;
    DestinationStatus {
        delivered: status.delivered,
        attempts: status.attempts,
        failed_attempts: status.failed_attempts,
        retried: status.retried,
        timeouts: status.timeouts,
        dead_letters: status.dead_letters as u64,
        refused_by_permit: status.permit_refusals.clone(),
        crossed: status.crossed,
        waiting: status.held_parcels as u64,
        oldest_waiting_ms: oldest.map(|ms| ms as u64),
        lag_p50_ms: status.lag.quantile_ms(50),
        lag_p99_ms: status.lag.quantile_ms(99),
        settled_position: through,
        behind_records: complete.saturating_sub(through.saturating_add(1)),
        behind_ms: behind_ms(status, complete),
        breaker: status.breaker.map(|state| format!("{state:?}").to_ascii_lowercase()),
        hold: status.hold.map(|hold| format!("{hold:?}")),
    }
}
