//! Handlers of `listen.profiles`: decisions and profile reads.

use super::Context;
use super::admin::parse_profile;
use super::auth::PROFILE_PII;
use super::problem::{Code, Problem};
use super::read::shown;
use super::route::{Answering, Call, Reply};
use super::types::{DecideAnswer, DecideRequest, IdentifierGiven, LookupRequest};
use crate::calendar::iso;
use engage::{Answer, Decision, ProfileRead, Query, Settings};
use engine::AsOf;
use model::audience::Rulebook;
use model::event::IdentifierKind;
use model::id::{Key, public_id};
use model::normalise::{self, PhoneCountry};
use model::suppression::Scope;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Identifiers of one question.
const DECIDE_IDENTIFIERS_MAX: usize = 32;

/// Answers from the view alone: no queue, no disk.
pub(crate) fn decide(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let question: DecideRequest = call.json()?;
        let count = question.identifiers.len();
        if !(1..=DECIDE_IDENTIFIERS_MAX).contains(&count) {
            let message = format!("send 1 to {DECIDE_IDENTIFIERS_MAX} identifiers");
            return Err(Problem::at(Code::BadIdentifier, "identifiers", message));
        }
        let view = context.engine.view();
        let settings = view.settings();
        let mut keys = Vec::with_capacity(count);
        for given in &question.identifiers {
            keys.push(key_of(&context, &settings, given)?);
        }
        let product = question.product_id.as_deref().unwrap_or_default();
        let category = question.category.as_deref().unwrap_or_default();
        // The position is read first: what the answer reflects can only be more.
        let position = view.as_of().next_position.0;
        let decision = view.decide(&keys, product, category, context.log_time());
        Reply::json(200, &answer(&view.book(), &decision, product, category, position))
    })
}

fn answer(
    book: &Rulebook,
    decision: &Decision,
    product: &str,
    category: &str,
    position: u64,
) -> DecideAnswer {
    let held_back = |why: &str| DecideAnswer {
        suppressed: false,
        why: why.to_owned(),
        profile: None,
        until: None,
        purchase_position: None,
        audience: None,
        position,
    };
    match decision {
        Decision::NotBought => held_back("not_bought"),
        Decision::WindowOver => held_back("window_over"),
        Decision::NobodySuppressed => held_back("nobody_suppressed"),
        Decision::Suppressed(cause) => DecideAnswer {
            suppressed: true,
            why: match cause.scope {
                scope if scope == Scope::product(product) => "bought_product",
                scope if scope == Scope::category(category) => "bought_category",
                _ => "bought_something",
            }
            .to_owned(),
            profile: Some(public_id("prf", cause.profile)),
            until: Some(iso(cause.until.0)),
            purchase_position: Some(cause.position.0),
            audience: None,
            position,
        },
        Decision::Held(held) => DecideAnswer {
            suppressed: true,
            why: "audience".to_owned(),
            profile: Some(public_id("prf", held.profile)),
            until: None,
            purchase_position: None,
            audience: book.definition(held.audience).map(|one| one.name.to_string()),
            position,
        },
    }
}

pub(crate) fn get_profile(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let profile = profile_id(&call)?;
        show(&context, &call, Query::Profile(profile)).await
    })
}

pub(crate) fn lookup(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let request: LookupRequest = call.json()?;
        let key = identifier_key(&context, &request.identifier)?;
        show(&context, &call, Query::Identifier(key)).await
    })
}

/// Reads, writes the audit line, answers: in this order, so that nothing is shown that is not on record.
async fn show(context: &Context, call: &Call, query: Query) -> Result<Reply, Problem> {
    let (read, as_of) = read_profile(context, query).await?;
    let clear = call.caller.has(PROFILE_PII);
    context.audit.read(&call.caller.token_name, call.caller.token_number, read.profile, clear).map_err(
        |error| {
            tracing::error!(error = %error, "the audit log cannot be written: profile reads are refused");
            Problem::new(Code::Unavailable, "the audit log cannot be written, so nothing personal is shown")
        },
    )?;
    let settings = context.engine.view().settings();
    let book = context.engine.view().book();
    Reply::json(200, &shown(&read, as_of, &context.secrets.keys, (&settings, &book), clear))
}

/// Asks the loop for a profile.
pub(crate) async fn read_profile(
    context: &Context,
    query: Query,
) -> Result<(Box<ProfileRead>, AsOf), Problem> {
    let (word, answer) = oneshot::channel();
    context.engine.query(query, move |result| {
        let _ = word.send(result);
    })?;
    let stopped = || Problem::new(Code::Unavailable, "the shard stopped before it answered; look at its log");
    let (answer, as_of) = answer.await.map_err(|_| stopped())?.map_err(|error| {
        tracing::error!(error = %error, "a profile could not be read");
        Problem::new(Code::Internal, "the profile could not be read; the server's log says why")
    })?;
    match answer {
        Answer::Profile(Some(read), _) => Ok((read, as_of)),
        _ => Err(Problem::new(
            Code::NoSuchProfile,
            "nobody has this id or identifier; it may have been erased",
        )),
    }
}

/// The profile id of the path.
pub(crate) fn profile_id(call: &Call) -> Result<Key, Problem> {
    parse_profile(call.capture())
        .ok_or_else(|| Problem::new(Code::BadId, "a profile id is prf_ and 32 hexadecimal digits"))
}

/// The key of an identifier, brought into the form that the door gives it.
pub(crate) fn identifier_key(context: &Context, given: &IdentifierGiven) -> Result<Key, Problem> {
    key_of(context, &context.engine.view().settings(), given)
}

fn key_of(context: &Context, settings: &Settings, given: &IdentifierGiven) -> Result<Key, Problem> {
    let rule = settings.identity.kinds.iter().find(|rule| rule.name == given.r#type);
    let rule = rule.ok_or_else(|| {
        let known: Vec<&str> = settings.identity.kinds.iter().map(|rule| rule.name.as_str()).collect();
        let message = format!("there is no such identifier type; there are {}", known.join(", "));
        Problem::at(Code::BadIdentifier, "type", message)
    })?;
    let kind = IdentifierKind(rule.kind);
    let home = PhoneCountry::find(&context.config.ingest.default_country);
    let value = normalise::identifier(kind, &given.value, home).ok_or_else(|| {
        Problem::at(Code::BadIdentifier, "value", format!("this value of type {} names nobody", rule.name))
    })?;
    Ok(context.secrets.keys.identifier(kind, value.as_bytes()))
}
