//! Handlers of `listen.admin` that read and change settings and people.

use super::Context;
use super::auth::{hash_of, scopes};
use super::command::{execute, idempotency_of, number_for};
use super::people::{identifier_key, profile_id};
use super::problem::{Code, Problem};
use super::route::{Answering, Call, Reply as Answer};
use super::types::{
    Changed, EffectShown, Erased, IdentityShown, KindShown, Outbox, SuppressionRules, TokenList, TokenMade,
    TokenNew, TokenShown, UnmergeRequest, Unmerged, WriteKeyList, WriteKeyNew, WriteKeyShown,
};
use crate::calendar::iso;
use engage::effect::Body;
use engage::{Operation, Parting, Reply, Token, WhoToErase, WriteKey, WriteKeyKind};
use engine::IssuedEffect;
use model::id::{EffectId, Key, Position, parse_public_id, public_id};
use model::identity::{CapWindow, IdentitySettings, KindRule};
use model::suppression::SuppressionSettings;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// The largest number of a write key: it is stored with every event, in two bytes.
const WRITE_KEY_NUMBER_MAX: u32 = 16_383;
/// The largest number of a token.
const TOKEN_NUMBER_MAX: u32 = i32::MAX as u32;
/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Effects of one answer.
const EFFECTS_MAX: usize = 1_000;
/// Effects of one answer where the request does not say.
const EFFECTS_DEFAULT: usize = 100;

pub(crate) fn list_write_keys(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let settings = context.engine.view().settings();
        Answer::json(200, &WriteKeyList { write_keys: settings.write_keys.iter().map(shown_key).collect() })
    })
}

pub(crate) fn create_write_key(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let new: WriteKeyNew = call.json()?;
        let kind = match new.kind.as_str() {
            "browser" => WriteKeyKind::Browser,
            "server" => WriteKeyKind::Server,
            _ => return Err(Problem::at(Code::BadValue, "kind", "kind must be browser or server")),
        };
        check_name(&new.name)?;
        let idempotency = idempotency_of(&call)?;
        let _alone = context.changing.lock().await;
        let key = context.secrets.write_key(idempotency)?;
        let settings = context.engine.view().settings();
        let number = number_for(&key, WRITE_KEY_NUMBER_MAX, |number| {
            settings.write_keys.iter().any(|own| own.number == number && own.key != key)
        })?;
        let value_counts = new.value_counts.unwrap_or(kind == WriteKeyKind::Server);
        let made = WriteKey { key, number, kind, enabled: true, value_counts, name: new.name };
        execute(&context, idempotency, Operation::DefineWriteKey(made.clone())).await?;
        Answer::json(201, &shown_key(&made))
    })
}

pub(crate) fn disable_write_key(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let number = number(&call)?;
        let _alone = context.changing.lock().await;
        changed(execute(&context, idempotency_of(&call)?, Operation::DisableWriteKey(number)).await?)
    })
}

pub(crate) fn list_tokens(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let settings = context.engine.view().settings();
        let shown = |token: &Token| TokenShown {
            number: token.number,
            name: token.name.clone(),
            scopes: token.scopes.clone(),
        };
        Answer::json(200, &TokenList { tokens: settings.tokens.iter().map(shown).collect() })
    })
}

pub(crate) fn create_token(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let new: TokenNew = call.json()?;
        check_name(&new.name)?;
        if new.scopes.is_empty() {
            return Err(Problem::at(
                Code::BadValue,
                "scopes",
                "a token without a scope allows nothing; name one",
            ));
        }
        if let Some(unknown) =
            new.scopes.iter().find(|scope| !scopes().iter().any(|(known, _)| known == scope))
        {
            let known: Vec<&str> = scopes().iter().map(|(scope, _)| *scope).collect();
            let message = format!("there is no scope {unknown:?}; there are {}", known.join(", "));
            return Err(Problem::at(Code::BadValue, "scopes", message));
        }
        let idempotency = idempotency_of(&call)?;
        let _alone = context.changing.lock().await;
        let secret = context.secrets.token(idempotency)?;
        let hash = hash_of(&secret);
        let settings = context.engine.view().settings();
        let number = number_for(&secret, TOKEN_NUMBER_MAX, |number| {
            settings.tokens.iter().any(|own| own.number == number && own.hash != hash)
        })?;
        let token = Token { number, hash, scopes: new.scopes.clone(), name: new.name.clone() };
        execute(&context, idempotency, Operation::DefineToken(token)).await?;
        Answer::json(201, &TokenMade { number, name: new.name, scopes: new.scopes, secret })
    })
}

pub(crate) fn revoke_token(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let number = number(&call)?;
        let _alone = context.changing.lock().await;
        changed(execute(&context, idempotency_of(&call)?, Operation::RevokeToken(number)).await?)
    })
}

pub(crate) fn get_identity(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let settings = context.engine.view().settings();
        let identity = &settings.identity;
        let kinds = identity.kinds.iter().map(|rule| KindShown {
            number: rule.kind,
            name: rule.name.clone(),
            priority: rule.priority,
            cap: rule.cap,
            window: window_word(rule.window).to_owned(),
            unique: rule.unique,
        });
        Answer::json(
            200,
            &IdentityShown {
                version: Some(identity.version),
                kinds: kinds.collect(),
                alias_cap: identity.alias_cap,
                shared_takers: identity.shared_takers,
                shared_window_s: identity.shared_window_us / 1_000_000,
                soft_cap: identity.soft_cap,
            },
        )
    })
}

pub(crate) fn set_identity(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: IdentityShown = call.json()?;
        let mut identity = IdentitySettings::default();
        identity.alias_cap = given.alias_cap;
        identity.shared_takers = given.shared_takers;
        identity.shared_window_us = given.shared_window_s.saturating_mul(1_000_000);
        identity.soft_cap = given.soft_cap;
        identity.kinds.clear();
        for kind in given.kinds {
            let window = [CapWindow::Ever, CapWindow::Year, CapWindow::Month, CapWindow::Week]
                .into_iter()
                .find(|window| window_word(*window) == kind.window)
                .ok_or_else(|| {
                    Problem::at(Code::BadValue, "window", "window must be ever, year, month or week")
                })?;
            identity.kinds.push(KindRule {
                kind: kind.number,
                name: kind.name,
                priority: kind.priority,
                cap: kind.cap,
                window,
                unique: kind.unique,
            });
        }
        let _alone = context.changing.lock().await;
        changed(execute(&context, idempotency_of(&call)?, Operation::SetIdentity(identity)).await?)
    })
}

pub(crate) fn get_suppression(context: Arc<Context>, _: Call) -> Answering {
    Box::pin(async move {
        let rules = context.engine.view().settings().suppression;
        Answer::json(
            200,
            &SuppressionRules {
                version: Some(rules.version),
                window_s: rules.window_us / 1_000_000,
                products: rules.products,
                categories: rules.categories,
                everything: rules.everything,
                refund_lifts: rules.refund_lifts,
            },
        )
    })
}

pub(crate) fn set_suppression(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: SuppressionRules = call.json()?;
        let rules = SuppressionSettings {
            version: 0,
            window_us: given.window_s.saturating_mul(1_000_000),
            products: given.products,
            categories: given.categories,
            everything: given.everything,
            refund_lifts: given.refund_lifts,
        };
        let _alone = context.changing.lock().await;
        changed(execute(&context, idempotency_of(&call)?, Operation::SetSuppression(rules)).await?)
    })
}

pub(crate) fn unmerge(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: UnmergeRequest = call.json()?;
        let profile = profile_id(&call)?;
        let parting = match (&given.identifiers, given.position) {
            (Some(pair), None) => match pair.as_slice() {
                [one, other] => {
                    let pair = (identifier_key(&context, one)?, identifier_key(&context, other)?);
                    check_pair(&context, profile, pair).await?;
                    Parting::Pair(pair.0, pair.1)
                }
                _ => return Err(Problem::at(Code::BadValue, "identifiers", "name exactly two identifiers")),
            },
            (None, Some(position)) => {
                let read = super::people::read_profile(&context, engage::Query::Profile(profile)).await?;
                let root = read.0.identifiers.first().map_or(profile, |identifier| identifier.node);
                Parting::Record(root, Position(position))
            }
            _ => return Err(Problem::new(Code::BadValue, "send either two identifiers or a position")),
        };
        match execute(&context, idempotency_of(&call)?, Operation::Unmerge(parting)).await? {
            Reply::Unmerged(parts) => {
                let parted = parts.len() > 1;
                let profiles = parts.into_iter().map(|part| public_id("prf", part)).collect();
                Answer::json(200, &Unmerged { profiles, parted })
            }
            _ => Err(unexpected()),
        }
    })
}

/// Both identifiers must be the profile's. One is enough for a pair that was parted before: the command is then a
/// repetition, which is answered as the first time where it carries the same Idempotency-Key, or refused by the rules.
async fn check_pair(context: &Context, profile: Key, (one, other): (Key, Key)) -> Result<(), Problem> {
    let (read, _) = super::people::read_profile(context, engage::Query::Profile(profile)).await?;
    let holds = |key| {
        let mut own = read.identifiers.iter();
        own.any(|identifier| identifier.node == key || identifier.session_of == Some(key))
    };
    let repeated = || {
        let same = |pair: &(Key, Key)| *pair == (one, other) || *pair == (other, one);
        (holds(one) || holds(other)) && read.parted.iter().any(same)
    };
    if (holds(one) && holds(other)) || repeated() {
        return Ok(());
    }
    let message =
        "the identifiers are not both of the profile in the path; look them up and name their profile";
    Err(Problem::at(Code::Conflict, "identifiers", message))
}

pub(crate) fn erase(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let who = WhoToErase::Profile(profile_id(&call)?);
        match execute(&context, idempotency_of(&call)?, Operation::Erase(who)).await? {
            Reply::Erased(identifiers) => {
                context.erasures.look();
                Answer::json(200, &Erased { identifiers })
            }
            _ => Err(unexpected()),
        }
    })
}

pub(crate) fn outbox(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let after = match call.parameter("after") {
            None => None,
            Some(text) => Some(effect_id(text).ok_or_else(|| {
                Problem::at(Code::BadRequest, "after", "after must be an effect id such as eff_17_0")
            })?),
        };
        let limit = match call.parameter("limit") {
            None => EFFECTS_DEFAULT,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=EFFECTS_MAX).contains(limit)).ok_or_else(|| {
                    Problem::at(Code::BadRequest, "limit", format!("limit must be 1 to {EFFECTS_MAX}"))
                })?
            }
        };
        let (word, answer) = oneshot::channel();
        context.engine.effects_after(after, limit, move |effects| {
            let _ = word.send(effects);
        })?;
        let effects = answer.await.map_err(|_| unexpected())?;
        let next =
            if effects.len() < limit { None } else { effects.last().map(|effect| effect.id.to_string()) };
        Answer::json(200, &Outbox { effects: effects.iter().map(shown_effect).collect(), next })
    })
}

pub(crate) fn changed(reply: Reply) -> Result<Answer, Problem> {
    match reply {
        Reply::Settings(settings_version) => Answer::json(200, &Changed { settings_version }),
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Problem {
    Problem::new(Code::Internal, "the shard gave an answer that does not belong to this request")
}

pub(super) fn number(call: &Call) -> Result<u32, Problem> {
    call.capture()
        .parse()
        .map_err(|_| Problem::new(Code::BadId, "the path ends with a number, as the list shows it"))
}

fn check_name(name: &str) -> Result<(), Problem> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(Problem::at(Code::BadValue, "name", format!("name must have 1 to {NAME_BYTES_MAX} bytes")))
}

fn shown_key(key: &WriteKey) -> WriteKeyShown {
    let kind = match key.kind {
        WriteKeyKind::Browser => "browser",
        WriteKeyKind::Server => "server",
    };
    WriteKeyShown {
        number: key.number,
        key: key.key.clone(),
        kind: kind.to_owned(),
        enabled: key.enabled,
        value_counts: key.value_counts,
        name: key.name.clone(),
    }
}

fn window_word(window: CapWindow) -> &'static str {
    match window {
        CapWindow::Ever => "ever",
        CapWindow::Year => "year",
        CapWindow::Month => "month",
        CapWindow::Week => "week",
    }
}

/// Reads an effect id.
pub(crate) fn effect_id(text: &str) -> Option<EffectId> {
    let (position, ordinal) = text.strip_prefix("eff_")?.split_once('_')?;
    Some(EffectId { position: Position(position.parse().ok()?), ordinal: ordinal.parse().ok()? })
}

fn shown_effect(effect: &IssuedEffect) -> EffectShown {
    let (kind, detail) = match Body::decode(effect.effect.kind, &effect.effect.body) {
        Ok(body) => described(&body),
        Err(_) => ("unknown", json!({ "number": effect.effect.kind })),
    };
    EffectShown {
        id: effect.id.to_string(),
        kind: kind.to_owned(),
        profile: public_id("prf", effect.effect.subject),
        issued_at: iso(effect.issued_at.0),
        detail,
    }
}

fn described(body: &Body) -> (&'static str, Value) {
    match body {
        Body::SuppressionStarted(scopes) => {
            let until = scopes.iter().map(|(_, until)| until.0).max().map(iso);
            ("suppression_started", json!({ "scopes": scopes.len(), "until": until }))
        }
        Body::SuppressionEnded(scopes) => ("suppression_ended", json!({ "scopes": scopes.len() })),
        Body::Merged { from } => ("profile_merged", json!({ "from": public_id("prf", *from) })),
        Body::Unmerged(parts) => {
            let parts: Vec<String> = parts.iter().map(|part| public_id("prf", *part)).collect();
            ("profile_unmerged", json!({ "profiles": parts }))
        }
        Body::EdgeRefused { reason, .. } => {
            ("join_refused", json!({ "reason": format!("{reason:?}").to_ascii_lowercase() }))
        }
        Body::Erased { nodes, position, .. } => {
            ("profile_erased", json!({ "identifiers": nodes.len(), "before_position": position.0 }))
        }
        Body::Audience { entered, audience, version, cause, at, .. } => {
            let kind = if *entered { "audience_entered" } else { "audience_exited" };
            let (audience, cause, at) = (audience.0, cause.name(), iso(at.0));
            (kind, json!({ "audience": audience, "version": version, "cause": cause, "at": at }))
        }
        Body::ManyIdentifiers(count) => ("many_identifiers", json!({ "identifiers": count })),
        Body::Consent { category, before, after } => {
            ("consent_changed", json!({ "category": category, "agreed_before": before, "agrees": after }))
        }
        Body::Line { place, correction, .. } => {
            let hour = iso(i64::from(place.hour).saturating_mul(crate::calendar::HOUR_US));
            ("line", json!({ "hour": hour, "correction": correction }))
        }
    }
}

/// Reads a public profile id.
pub(crate) fn parse_profile(text: &str) -> Option<Key> {
    parse_public_id("prf", text)
}
