//! Templates of a request, and what they make of messages.

use super::config::HttpConfig;
use crate::error::ConfigError;
use crate::template::{Kind, RenderFailure, Template};
use delivery::BODY_BYTES_MAX;
use delivery::egress::{Method, Request, URL_BYTES_MAX};
use serde_json::{Map, Value, json};
use thiserror::Error;

/// The longest header, in bytes.
const HEADER_BYTES_MAX: usize = 4 * 1024;

/// A request that is ready to go, without a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// What to do.
    pub method: Method,
    /// Where.
    pub url: String,
    /// Names in lower case, with values.
    pub headers: Vec<(String, String)>,
    /// What is sent.
    pub body: String,
}

/// Messages that no request can be made of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unprepared {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(Box<ConfigError>),
    /// A template could not be rendered.
    #[error("`{part}` cannot be rendered: {failure}")]
    Render {
        /// The part: `body`, or `headers` or `query` with the name.
        part: String,
        /// Why.
        failure: RenderFailure,
    },
    /// The address became too long.
    #[error("the address with its query has more than {URL_BYTES_MAX} bytes")]
    Url,
}

impl Unprepared {
    /// For reasons of dead letters. It holds nothing of a message.
    pub fn reason(&self) -> String {
        match self {
            Self::Config(error) => error.code().to_owned(),
            Self::Render { part, failure } => format!("{} of {part}", failure.reason()),
            Self::Url => "url_too_long".to_owned(),
        }
    }
}

/// What was configured, read once.
pub(super) struct Templates {
    method: Method,
    /// The address up to where values of the query are added.
    url: String,
    /// Names, percent-encoded, with values.
    query: Vec<(String, Template)>,
    headers: Vec<(String, Template)>,
    content_type: &'static str,
    /// The content type is among the headers.
    says_type: bool,
    body: Option<Template>,
    has_body: bool,
    is_batch: bool,
}

impl Templates {
    pub(super) fn read(config: &HttpConfig) -> Result<Self, ConfigError> {
        config.check_plain()?;
        let mut query = Vec::new();
        for (name, text) in &config.query {
            let template = read("query", Some(name), Kind::Form, text)?;
            query.push((crate::template::percent_encoded(name), template));
        }
        let mut headers = Vec::new();
        for (name, text) in &config.headers {
            let name = name.to_ascii_lowercase();
            // What no header can be is said at once. The error names the header, never its value.
            Request::get(config.url.as_str())
                .header(&name, "")
                .map_err(|error| ConfigError::new("headers", error.to_string()))?;
            headers.push((name.clone(), read("headers", Some(&name), Kind::Line, text)?));
        }
        let body =
            config.body.as_ref().map(|text| read("body", None, config.content.kind(), text)).transpose()?;
        Ok(Self {
            method: config.method.method(),
            url: config.url.clone(),
            query,
            says_type: headers.iter().any(|(name, _)| name == "content-type"),
            headers,
            content_type: config.content.content_type(),
            body,
            has_body: config.method != super::HttpMethod::Get,
            is_batch: config.batch,
        })
    }

    /// Renders a request for messages: one, or of a batch as many as there are.
    pub(super) fn prepare(&self, messages: Vec<Value>) -> Result<Prepared, Unprepared> {
        let facts = self.facts(messages);
        let mut url = self.url.clone();
        for (name, template) in &self.query {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(name);
            url.push('=');
            url.push_str(&render(template, &format!("query {name}"), &facts, URL_BYTES_MAX)?);
        }
        if url.len() > URL_BYTES_MAX {
            return Err(Unprepared::Url);
        }
        let mut headers = Vec::new();
        if self.has_body && !self.says_type {
            headers.push(("content-type".to_owned(), self.content_type.to_owned()));
        }
        for (name, template) in &self.headers {
            let value = render(template, &format!("headers {name}"), &facts, HEADER_BYTES_MAX)?;
            headers.push((name.clone(), value));
        }
        let body = match &self.body {
            Some(template) => render(template, "body", &facts, BODY_BYTES_MAX)?,
            None if self.has_body => plain(facts, self.is_batch),
            None => String::new(),
        };
        Ok(Prepared { method: self.method, url, headers, body })
    }

    /// What templates know: the members of the message and `identifiers` by type; or `messages`, each with these.
    fn facts(&self, messages: Vec<Value>) -> Value {
        let mut all: Vec<Value> = messages.into_iter().map(with_identifiers).collect();
        if self.is_batch {
            return json!({ "messages": all });
        }
        all.pop().unwrap_or_default()
    }
}

/// A message, with the first identifier of each type beside: `{{ identifiers.email }}`.
fn with_identifiers(mut message: Value) -> Value {
    let mut first = Map::new();
    for one in message.pointer("/data/identifiers").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| one.get(name).and_then(Value::as_str);
        if let (Some(kind), Some(value)) = (text("type"), text("value")) {
            first.entry(kind).or_insert_with(|| Value::from(value));
        }
    }
    if let Some(message) = message.as_object_mut() {
        message.insert("identifiers".to_owned(), Value::Object(first));
    }
    message
}

/// What is sent where no body is written: the message as a webhook gets it, or a list of them.
fn plain(mut facts: Value, is_batch: bool) -> String {
    let strip = |message: &mut Value| {
        message.as_object_mut().map(|message| message.remove("identifiers"));
    };
    if is_batch {
        let mut messages = facts.get_mut("messages").map(Value::take).unwrap_or_default();
        messages.as_array_mut().into_iter().flatten().for_each(strip);
        return messages.to_string();
    }
    strip(&mut facts);
    facts.to_string()
}

fn read(field: &'static str, name: Option<&str>, kind: Kind, text: &str) -> Result<Template, ConfigError> {
    Template::read(kind, text).map_err(|error| {
        let of = name.map(|name| format!("of `{name}` ")).unwrap_or_default();
        ConfigError::new(field, format!("{of}cannot be read: {error}"))
    })
}

fn render(template: &Template, part: &str, facts: &Value, bytes_max: usize) -> Result<String, Unprepared> {
    let failed = |failure| Unprepared::Render { part: part.to_owned(), failure };
    template.render(facts, bytes_max).map_err(failed)
}
