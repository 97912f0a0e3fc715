//! Errors as callers see them: a status, a stable code, a sentence that says what to do, and the field if there is one.

use engine::SubmitError;
use serde_json::{Value, json};

/// Every code that the private listeners answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BadRequest,
    BadBody,
    BadId,
    BadIdentifier,
    BadValue,
    BadHost,
    BadCursor,
    CursorGone,
    Unauthorized,
    Forbidden,
    NotFound,
    NoSuchProfile,
    NoSuchWriteKey,
    NoSuchToken,
    NoSuchDefinition,
    NoSuchEvent,
    BadDefinition,
    MethodNotAllowed,
    RequestTimeout,
    IdempotencyConflict,
    Conflict,
    BodyTooLarge,
    UnsupportedMediaType,
    Busy,
    Unavailable,
    Internal,
}

impl Code {
    pub(crate) const ALL: &'static [Self] = &[
        Self::BadRequest,
        Self::BadBody,
        Self::BadId,
        Self::BadIdentifier,
        Self::BadValue,
        Self::BadHost,
        Self::BadCursor,
        Self::CursorGone,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::NoSuchProfile,
        Self::NoSuchWriteKey,
        Self::NoSuchToken,
        Self::NoSuchDefinition,
        Self::NoSuchEvent,
        Self::BadDefinition,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::IdempotencyConflict,
        Self::Conflict,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::Busy,
        Self::Unavailable,
        Self::Internal,
    ];

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::BadRequest => {
                ("bad_request", 400, "The request line, a header or the query cannot be read.")
            }
            Self::BadBody => {
                ("bad_body", 400, "The body is not the JSON that this path takes; the message says where.")
            }
            Self::BadId => ("bad_id", 400, "The id in the path is not one of this kind."),
            Self::BadIdentifier => {
                ("bad_identifier", 400, "An identifier has an unknown type, or a value that names nobody.")
            }
            Self::BadValue => ("bad_value", 400, "A value is outside its range; the message names it."),
            Self::BadHost => (
                "bad_host",
                403,
                "The Host header names a host that is not in `listen.hosts`: a web page may be behind it.",
            ),
            Self::BadCursor => ("bad_cursor", 400, "This is no cursor, or it was mutilated."),
            Self::CursorGone => (
                "cursor_gone",
                410,
                "The feed cannot go on from this cursor; take a snapshot and go on from the cursor that ends it.",
            ),
            Self::Unauthorized => {
                ("unauthorized", 401, "There is no bearer token, or it is not a valid one.")
            }
            Self::Forbidden => ("forbidden", 403, "The token lacks the scope that the path needs."),
            Self::NotFound => ("not_found", 404, "There is no such path."),
            Self::NoSuchProfile => {
                ("no_such_profile", 404, "No profile has this id or identifier, or it was erased.")
            }
            Self::NoSuchWriteKey => ("no_such_write_key", 404, "No write key has this number."),
            Self::NoSuchToken => ("no_such_token", 404, "No token has this number, or it was revoked."),
            Self::NoSuchEvent => ("no_such_event", 404, "No event in quarantine has this number."),
            Self::NoSuchDefinition => ("no_such_definition", 404, "No audience or feature has this name."),
            Self::BadDefinition => (
                "bad_definition",
                422,
                "The audience or feature cannot be; `rule_code` names the mistake, `excerpt` shows its place.",
            ),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "The path exists, with another method."),
            Self::RequestTimeout => {
                ("request_timeout", 408, "The request or its answer took too long; send it again.")
            }
            Self::IdempotencyConflict => {
                ("idempotency_conflict", 409, "The Idempotency-Key was used for another request.")
            }
            Self::Conflict => {
                ("conflict", 409, "The request does not fit the present state; the message says why.")
            }
            Self::BodyTooLarge => {
                ("body_too_large", 413, "The body is larger than `private.body_bytes_max`.")
            }
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", 415, "The Content-Type is not application/json.")
            }
            Self::Busy => {
                ("busy", 429, "Too much is waiting; send the request again after Retry-After seconds.")
            }
            Self::Unavailable => (
                "unavailable",
                503,
                "The shard takes no requests at present; send it again after Retry-After seconds.",
            ),
            Self::Internal => ("internal", 500, "Something is wrong in the server; its log says more."),
        }
    }

    pub(crate) fn word(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn status(self) -> u16 {
        self.row().1
    }

    pub(crate) fn about(self) -> &'static str {
        self.row().2
    }
}

/// A request that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) field: Option<String>,
    pub(crate) retry_after_s: Option<u32>,
    /// Of a rule: the code of the mistake, and its place with a caret below it.
    pub(crate) rule: Option<(String, String)>,
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, retry_after_s: None, rule: None }
    }

    pub(crate) fn at(code: Code, field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::new(code, message) }
    }

    pub(crate) fn body(&self) -> Value {
        let mut body = json!({ "code": self.code.word(), "message": self.message });
        if let (Some(field), Some(map)) = (&self.field, body.as_object_mut()) {
            map.insert("field".to_owned(), Value::from(field.as_str()));
        }
        if let (Some((code, excerpt)), Some(map)) = (&self.rule, body.as_object_mut()) {
            map.insert("rule_code".to_owned(), Value::from(code.as_str()));
            if !excerpt.is_empty() {
                map.insert("excerpt".to_owned(), Value::from(excerpt.as_str()));
            }
        }
        body
    }

    /// A definition that cannot be.
    pub(crate) fn of_definition(code: &str, message: &str, excerpt: &str) -> Self {
        let status = match code {
            "definition_stale" | "definition_in_use" | "definition_name_taken" => Code::Conflict,
            _ => Code::BadDefinition,
        };
        Self { rule: Some((code.to_owned(), excerpt.to_owned())), ..Self::new(status, message) }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let (code, retry_after_s) = match &error {
            SubmitError::Full { retry_after_s } => (Code::Busy, *retry_after_s),
            SubmitError::Unavailable { retry_after_s, .. } => (Code::Unavailable, *retry_after_s),
        };
        Self { retry_after_s: Some(retry_after_s), ..Self::new(code, error.to_string()) }
    }
}

impl Problem {
    pub(crate) fn no_randomness(error: &std::io::Error) -> Self {
        Self::new(Code::Internal, format!("the system gives no random bytes ({error}); try again"))
    }
}
