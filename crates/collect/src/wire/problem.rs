//! What can be wrong with a body, in words that name the field and what to do.

use crate::json::JsonError;
use thiserror::Error;

/// A body that is refused whole: nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{problem}", subject(.field, .problem))]
pub struct WireError {
    /// The field, e.g. `batch[3].userId`; empty if it is the whole body.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// Not UTF-8.
    #[error("the body is not UTF-8 text; send JSON in UTF-8")]
    NotText,
    /// Not JSON, or nested too deep.
    #[error("the body is not the JSON this door reads: expected {expected} at byte {at}")]
    BadJson {
        /// Bytes from the beginning.
        at: usize,
        /// What would have been right.
        expected: &'static str,
    },
    /// A value of another type.
    #[error("must be {expected}")]
    WrongType {
        /// The right type, with its article.
        expected: &'static str,
    },
    /// Nothing where something is needed.
    #[error("is missing or blank; {advice}")]
    Missing {
        /// What to send.
        advice: &'static str,
    },
    /// No such call.
    #[error("must be one of identify, track, page, screen, group and alias")]
    UnknownType,
    /// A text that is too long.
    #[error("is longer than {max} characters; shorten it")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// An id that is too long to be one.
    #[error("is longer than {max} bytes; send a shorter id")]
    IdTooLong {
        /// The limit.
        max: usize,
    },
    /// An id that could be mistaken for another one.
    #[error("holds a control character or half of a surrogate pair; send the id as plain text")]
    UnclearId,
    /// Too many elements.
    #[error("has more than {max} elements; split it")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// An event with too many bytes.
    #[error("has {bytes} bytes and may have {max}; send less in one event")]
    EventTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A body with too many bytes.
    #[error("the body has more than {max} bytes; send smaller batches")]
    BodyTooLarge {
        /// The limit.
        max: usize,
    },
    /// Nobody.
    #[error("has neither userId nor anonymousId; send at least one of them")]
    NoIdentity,
    /// A batch of nothing.
    #[error("is empty; send at least one event")]
    EmptyBatch,
    /// A personal value could not be sealed.
    #[error("a personal value could not be sealed; report this as a defect")]
    NotSealed,
}

impl Problem {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotText => "not_utf8",
            Self::BadJson { .. } => "bad_json",
            Self::WrongType { .. } => "wrong_type",
            Self::Missing { .. } => "missing_field",
            Self::UnknownType => "unknown_type",
            Self::TooLong { .. } | Self::IdTooLong { .. } => "too_long",
            Self::UnclearId => "unclear_id",
            Self::TooMany { .. } => "too_many",
            Self::EventTooLarge { .. } => "event_too_large",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::NoIdentity => "missing_identity",
            Self::EmptyBatch => "empty_batch",
            Self::NotSealed => "internal",
        }
    }

    /// The problem of a field.
    pub(crate) fn of(self, field: &str) -> WireError {
        WireError { field: field.to_owned(), problem: self }
    }
}

impl WireError {
    /// The same error, of the event at `index` of a batch.
    pub(crate) fn in_batch(mut self, index: usize) -> Self {
        // Where the JSON itself is broken, the byte offset says more than the place that was being read.
        if !matches!(self.problem, Problem::BadJson { .. } | Problem::NotSealed) {
            let dot = if self.field.is_empty() { "" } else { "." };
            self.field = format!("batch[{index}]{dot}{}", self.field);
        }
        self
    }
}

impl From<JsonError> for WireError {
    fn from(error: JsonError) -> Self {
        Problem::BadJson { at: error.at, expected: error.expected }.of("")
    }
}

/// What the sentence is about. Some problems are whole sentences already.
fn subject(field: &str, problem: &Problem) -> String {
    let whole = matches!(
        problem,
        Problem::NotText | Problem::BadJson { .. } | Problem::BodyTooLarge { .. } | Problem::NotSealed
    );
    match (whole, field) {
        (true, _) => String::new(),
        (false, "") => "the event ".to_owned(),
        (false, field) => format!("{field} "),
    }
}
