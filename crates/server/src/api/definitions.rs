//! Handlers of `listen.admin` that define audiences and features, and explain who is in them.

use super::Context;
use super::command::{execute, idempotency_of};
use super::people::identifier_key;
use super::problem::{Code, Problem};
use super::route::{Answering, Call, Reply as Answer};
use super::types::{
    AudienceGiven, AudienceList, AudienceShown, BackfillShown, Defined, ExplainAudience, ExplainedAudience,
    FeatureGiven, FeatureList, FeatureShown, PartShown, SlotShown, SuppressShown,
};
use crate::calendar::iso;
use crate::serve::known_from;
use engage::{Answer as Found, Draft, Operation, Query, Reply, View};
use model::audience::{Definition, DefinitionId, DefinitionKind, Explained, Rulebook, Suppress};
use model::feature::{NEVER, Slot};
use model::id::public_id;
use std::cmp::Reverse;
use std::sync::Arc;
use tokio::sync::oneshot;

pub(crate) fn list_audiences(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let view = context.engine.view();
        let book = view.book();
        let audiences = book.definitions().filter(|one| suppress_of(one).is_some());
        let audiences = audiences.map(|one| audience(&context, view, &book, one)).collect();
        Answer::json(200, &AudienceList { audiences })
    })
}

/// The audiences with most people in them, at most `limit`, and how many there are.
pub(crate) fn largest_audiences(context: &Context, limit: usize) -> (Vec<AudienceShown>, usize) {
    let view = context.engine.view();
    let book = view.book();
    let mut all: Vec<&Definition> = book.definitions().filter(|one| suppress_of(one).is_some()).collect();
    all.sort_by_cached_key(|one| (Reverse(view.tally(one.id).members), one.name.clone()));
    (all.iter().take(limit).map(|one| audience(context, view, &book, one)).collect(), all.len())
}

pub(crate) fn get_audience(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let view = context.engine.view();
        let book = view.book();
        let found = named(&book, &call)?;
        if suppress_of(found).is_none() {
            return Err(no_such(&book));
        }
        Answer::json(200, &audience(&context, view, &book, found))
    })
}

pub(crate) fn put_audience(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: AudienceGiven = call.json()?;
        let suppress = given.suppress.as_ref().map(suppress).transpose()?;
        let kind = DefinitionKind::Audience { rule: given.rule.as_str().into(), suppress };
        define(&context, &call, Draft { name: name_of(&call)?, changes: given.version, kind }).await
    })
}

pub(crate) fn list_features(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let book = context.engine.view().book();
        let features = book.definitions().filter(|one| suppress_of(one).is_none());
        Answer::json(200, &FeatureList { features: features.map(|one| feature(&book, one)).collect() })
    })
}

pub(crate) fn put_feature(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: FeatureGiven = call.json()?;
        let kind = DefinitionKind::Feature { expression: given.expression.as_str().into() };
        define(&context, &call, Draft { name: name_of(&call)?, changes: given.version, kind }).await
    })
}

/// Removes an audience or a feature.
pub(crate) fn remove(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let name = name_of(&call)?;
        let _alone = context.changing.lock().await;
        let reply =
            execute(&context, idempotency_of(&call)?, Operation::RemoveDefinition(name.clone())).await?;
        context.backfills.look();
        defined(name, &reply, false, None)
    })
}

pub(crate) fn explain(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: ExplainAudience = call.json()?;
        let book = context.engine.view().book();
        let definition = named(&book, &call)?;
        let profile = match (&given.profile, &given.identifier) {
            (Some(text), None) => super::admin::parse_profile(text).ok_or_else(|| {
                Problem::at(Code::BadId, "profile", "a profile id is prf_ and 32 hexadecimal digits")
            })?,
            (None, Some(identifier)) => {
                let key = identifier_key(&context, identifier)?;
                super::people::read_profile(&context, Query::Identifier(key)).await?.0.profile
            }
            _ => return Err(Problem::new(Code::BadValue, "send either a profile or an identifier")),
        };
        let (word, answer) = oneshot::channel();
        context.engine.query(Query::Audience { profile, audience: definition.id }, move |result| {
            let _ = word.send(result);
        })?;
        let stopped =
            || Problem::new(Code::Unavailable, "the shard stopped before it answered; look at its log");
        let (answer, as_of) = answer.await.map_err(|_| stopped())?.map_err(|error| {
            tracing::error!(error = %error, "an audience could not be explained");
            Problem::new(Code::Internal, "the profile could not be read; the server's log says why")
        })?;
        let Found::Audience(Some(read), _) = answer else {
            return Err(Problem::new(Code::NoSuchProfile, "nobody has this id, or the audience is no more"));
        };
        Answer::json(
            200,
            &ExplainedAudience {
                audience: definition.name.to_string(),
                version: definition.version,
                profile: public_id("prf", read.profile),
                member: read.member.is_some(),
                pending: read.pending,
                since: read.member.map(|member| iso(member.since_at.0)),
                since_position: read.member.map(|member| member.since.0),
                parts: read.parts.into_iter().map(part).collect(),
                position: as_of.next_position.0,
            },
        )
    })
}

async fn define(context: &Context, call: &Call, draft: Draft) -> Result<Answer, Problem> {
    let name = draft.name.clone();
    if call.parameter("dry_run") == Some("true") {
        let book = context.engine.view().book();
        let tried = draft.apply_to(&book).map_err(|error| super::command::refused(&error.into()))?;
        return defined(name, &Reply::Defined(tried.id, tried.version), true, None);
    }
    let _alone = context.changing.lock().await;
    let reply = execute(context, idempotency_of(call)?, Operation::Define(draft)).await?;
    let counted_from = counted_from(context, &reply);
    context.backfills.look();
    defined(name, &reply, false, counted_from)
}

/// Where older events are read for what was just defined: from which position on they are counted.
fn counted_from(context: &Context, reply: &Reply) -> Option<u64> {
    let Reply::Defined(definition, _) = reply else { return None };
    let mut rows = context.engine.view().backfills().into_iter();
    rows.any(|row| row.definition == *definition && row.is_gathering()).then(|| known_from(context).0)
}

fn defined(
    name: String,
    reply: &Reply,
    dry_run: bool,
    counted_from_position: Option<u64>,
) -> Result<Answer, Problem> {
    match reply {
        Reply::Defined(DefinitionId(number), version) => {
            let (number, version) = (*number, *version);
            Answer::json(200, &Defined { name, number, version, dry_run, counted_from_position })
        }
        _ => {
            Err(Problem::new(Code::Internal, "the shard gave an answer that does not belong to this request"))
        }
    }
}

/// The name in the path, percent-encoding undone.
fn name_of(call: &Call) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let mut rest = call.capture().bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(Problem::new(Code::BadId, "the name in the path is not well percent-encoded"));
        };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| Problem::new(Code::BadId, "the name in the path is not UTF-8"))
}

fn named<'b>(book: &'b Rulebook, call: &Call) -> Result<&'b Definition, Problem> {
    book.named(&name_of(call)?).ok_or_else(|| no_such(book))
}

fn no_such(book: &Rulebook) -> Problem {
    let known: Vec<&str> =
        book.definitions().filter(|one| suppress_of(one).is_some()).map(|one| &*one.name).take(20).collect();
    let message = match known.as_slice() {
        [] => "there is no such audience; none is defined yet".to_owned(),
        known => format!("there is no such audience; there are {}", known.join(", ")),
    };
    Problem::new(Code::NoSuchDefinition, message)
}

/// What an audience suppresses; `None` for what is no audience.
fn suppress_of(definition: &Definition) -> Option<Option<&Suppress>> {
    match &definition.kind {
        DefinitionKind::Audience { suppress, .. } => Some(suppress.as_ref()),
        DefinitionKind::Feature { .. } => None,
    }
}

fn suppress(given: &SuppressShown) -> Result<Suppress, Problem> {
    match (given.everything, &given.product_id, &given.category) {
        (Some(true), None, None) => Ok(Suppress::Everything),
        (None, Some(product_id), None) => Ok(Suppress::Product(product_id.as_str().into())),
        (None, None, Some(category)) => Ok(Suppress::Category(category.as_str().into())),
        _ => Err(Problem::at(
            Code::BadValue,
            "suppress",
            "suppress names one of everything (true), product_id and category",
        )),
    }
}

fn suppress_shown(suppress: &Suppress) -> SuppressShown {
    let mut shown = SuppressShown { everything: None, product_id: None, category: None };
    match suppress {
        Suppress::Everything => shown.everything = Some(true),
        Suppress::Product(product_id) => shown.product_id = Some(product_id.to_string()),
        Suppress::Category(category) => shown.category = Some(category.to_string()),
    }
    shown
}

fn audience(context: &Context, view: &View, book: &Rulebook, definition: &Definition) -> AudienceShown {
    let tally = view.tally(definition.id);
    let backfill = view.backfills().into_iter().find(|row| row.audiences.contains(&definition.id));
    AudienceShown {
        name: definition.name.to_string(),
        number: definition.id.0,
        version: definition.version,
        rule: definition.text().to_owned(),
        suppress: suppress_of(definition).flatten().map(suppress_shown),
        members: tally.members,
        entries: tally.entries,
        exits: tally.exits,
        cost: book.cost(definition.id).unwrap_or(0),
        features: book.features_in(definition.id).map(slot).collect(),
        backfill: backfill.map(|row| BackfillShown {
            defined_at_position: row.defined_at.0,
            counted_from_position: if row.features.is_empty() { 0 } else { known_from(context).0 },
            read_to_position: if row.features.is_empty() { row.defined_at.0 } else { row.read_to.0 },
            // People are gone through by key, and keys are spread evenly.
            people_percent: if row.is_gathering() { 0 } else { (row.chunks >> 32) as u32 / (u32::MAX / 100) },
        }),
    }
}

fn feature(book: &Rulebook, definition: &Definition) -> FeatureShown {
    FeatureShown {
        name: definition.name.to_string(),
        number: definition.id.0,
        version: definition.version,
        expression: definition.text().to_owned(),
        features: book.features_in(definition.id).map(slot).collect(),
    }
}

fn slot(slot: &Slot) -> SlotShown {
    SlotShown {
        number: slot.id.0,
        expression: slot.feature.to_string(),
        window_s: slot.feature.window.map(|window| window.length_us() / 1_000_000),
        granule_s: slot.feature.window.map(|window| (window.end_of(1).0 - window.end_of(0).0) / 1_000_000),
    }
}

fn part(one: Explained) -> PartShown {
    PartShown {
        depth: one.depth as u32,
        text: one.text,
        holds: one.holds,
        values: one.values.into_iter().collect(),
        next_change: Some(one.next_change).filter(|at| *at != NEVER).map(|at| iso(at.0)),
    }
}
