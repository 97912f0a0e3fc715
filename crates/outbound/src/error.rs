//! Configuration that cannot work.

use thiserror::Error;

/// A setting that was refused. It names the field and says what to write; it never repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} {what}")]
pub struct ConfigError {
    /// The field, e.g. `url`.
    pub field: &'static str,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, what: impl Into<String>) -> Self {
        Self { field, what: what.into() }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        "bad_destination"
    }
}
