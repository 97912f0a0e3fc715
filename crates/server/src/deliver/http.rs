//! Requests with templates as destinations: what operators say of them, and a look at what would be sent.
//!
//! A definition is tried on a message of every kind that it asks for, so that a template that makes no JSON is refused
//! when it is written, with its place, and not when somebody is to be told.

use super::handlers::{self, named};
use super::platform::{no_secrets, person_of, with_credentials, with_placeholders};
use super::said::EVENT_KIND;
use super::samples;
use crate::api::types::{DestinationGiven, PreviewGiven, PreviewShown};
use crate::api::{Answering, Call, Code, Context, Problem, Reply as Answer};
use crate::feed::KINDS;
use delivery::LaneOptions;
use engage::{Destination, DestinationKind};
use env::Env;
use outbound::http::{Http, HttpConfig, Prepared, SECRETS, Unprepared};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Messages of one preview, for batches.
const PREVIEWED_MAX: usize = 100;

/// What was given, as a destination of the kind.
pub(super) fn checked(given: &DestinationGiven, url: &str) -> Result<DestinationKind, Problem> {
    let wrong = |field: &str, message: String| Problem::at(Code::BadValue, field, message);
    let settings = match &given.settings {
        None => Map::new(),
        Some(Value::Object(settings)) => settings.clone(),
        Some(_) => return Err(wrong("settings", "settings must be an object".to_owned())),
    };
    if settings.contains_key("url") {
        return Err(wrong("settings", "`url` stands beside settings, not in them".to_owned()));
    }
    let credentials = given.credentials.clone().unwrap_or_default();
    let whole = with_placeholders(&settings, &credentials)?;
    let config = parsed(whole, url).map_err(|message| wrong("settings", message))?;
    config.check().map_err(|error| wrong(&format!("settings.{}", error.field), error.to_string()))?;
    no_secrets(&settings, &SECRETS)?;
    Ok(DestinationKind::Http {
        url: url.to_owned(),
        settings: Value::Object(settings).to_string(),
        credentials: credentials.into_iter().collect(),
        person: person_of(given)?,
    })
}

/// Renders every kind of message that a destination asks for.
pub(super) fn try_samples(destination: &Destination) -> Result<(), Problem> {
    let DestinationKind::Http { url, settings, credentials, .. } = &destination.kind else { return Ok(()) };
    let config = config(url, settings, credentials)?;
    for kind in kinds(destination) {
        let sample = samples::message(kind, destination);
        config.prepare(vec![sample]).map_err(|error| unprepared(&error, kind))?;
    }
    Ok(())
}

/// The kinds of messages that a destination asks for.
fn kinds(destination: &Destination) -> Vec<&'static str> {
    let Destination { kinds, events, .. } = destination;
    let wants = |name: &str| kinds.iter().any(|own| own == name) || (kinds.is_empty() && events.is_empty());
    let effects = KINDS.iter().filter(|kind| kind.is_an_effect() && wants(kind.name)).map(|kind| kind.name);
    effects.chain((!events.is_empty()).then_some(EVENT_KIND)).collect()
}

fn unprepared(error: &Unprepared, kind: &str) -> Problem {
    let field = match error {
        Unprepared::Render { part, .. } => {
            format!("settings.{}", part.split(' ').next().unwrap_or_default())
        }
        Unprepared::Config(error) => format!("settings.{}", error.field),
        Unprepared::Url => "settings.query".to_owned(),
    };
    Problem::at(Code::BadValue, &field, format!("with a message of kind {kind}: {error}"))
}

/// Opens it with its credentials. An error says what to do and holds no secret.
pub(super) fn open(
    context: &Context,
    env: &Env,
    name: &str,
    kind: (&str, &str, &[(String, String)]),
) -> Result<(LaneOptions, Http), String> {
    let (url, settings, credentials) = kind;
    let config = parsed(with_credentials(context, settings, credentials)?, url)?;
    let http = Http::new(name, &config, &context.egress, env.clock.clone());
    Ok((config.lane(name), http.map_err(|error| error.to_string())?))
}

/// The configuration without its secrets.
fn config(url: &str, settings: &str, credentials: &[(String, String)]) -> Result<HttpConfig, Problem> {
    let bad = |message: String| Problem::at(Code::BadValue, "settings", message);
    let Ok(Value::Object(settings)) = serde_json::from_str(settings) else {
        return Err(bad("settings are no JSON object".to_owned()));
    };
    let whole = with_placeholders(&settings, &credentials.iter().cloned().collect())?;
    parsed(whole, url).map_err(bad)
}

fn parsed(mut settings: Map<String, Value>, url: &str) -> Result<HttpConfig, String> {
    settings.insert("url".to_owned(), Value::from(url));
    // The reader's message names members and what they should be; credentials are texts, which it does not repeat.
    serde_json::from_value(Value::Object(settings))
        .map_err(|error| format!("settings cannot be used: {error}"))
}

/// What would be sent of a message; nothing is.
pub(crate) fn preview(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: PreviewGiven = call.json()?;
        let settings = context.engine.view().settings();
        let destination = match given.definition {
            Some(definition) => handlers::checked(&context, &settings, call.capture(), definition, None)?,
            None => named(&settings, &call)?.clone(),
        };
        let DestinationKind::Http { url, settings, credentials, .. } = &destination.kind else {
            let message = "only destinations of type http have templates to look at";
            return Err(Problem::new(Code::Conflict, message));
        };
        let config = config(url, settings, credentials)?;
        let all = kinds(&destination);
        let kind = given.kind.as_deref().or(all.first().copied()).unwrap_or_default();
        let messages = match given.messages {
            Some(messages) if messages.is_empty() || messages.len() > PREVIEWED_MAX => {
                let message = format!("messages must be 1 to {PREVIEWED_MAX}");
                return Err(Problem::at(Code::BadValue, "messages", message));
            }
            Some(messages) if messages.iter().any(|message| !message.is_object()) => {
                let message = "a message is an object, e.g. the body of a dead letter";
                return Err(Problem::at(Code::BadValue, "messages", message));
            }
            Some(messages) => messages,
            None if all.contains(&kind) => vec![samples::message(kind, &destination)],
            None => {
                let message = format!("it gets no {kind:?}; it gets {}", all.join(", "));
                return Err(Problem::at(Code::BadValue, "kind", message));
            }
        };
        let prepared = config.prepare(messages.clone()).map_err(|error| unprepared(&error, kind))?;
        Answer::json(200, &shown(&config, prepared, messages))
    })
}

fn shown(config: &HttpConfig, prepared: Prepared, messages: Vec<Value>) -> PreviewShown {
    let mut headers: std::collections::BTreeMap<String, String> = prepared.headers.into_iter().collect();
    let secret = if config.bearer.is_some() || config.basic.is_some() {
        Some("authorization".to_owned())
    } else {
        config.api_key_header.as_ref().map(|name| name.to_ascii_lowercase())
    };
    headers.extend(secret.map(|name| (name, "(its credential)".to_owned())));
    PreviewShown {
        method: config.method.word().to_owned(),
        url: prepared.url,
        headers,
        body: prepared.body,
        messages,
    }
}
