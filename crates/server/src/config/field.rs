//! The types that a key's value can have: how each is read from text and written back.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A value that can be read from text, and says what it expects.
pub(crate) trait Field: Sized {
    /// What to write, in words.
    const EXPECTS: &'static str;

    fn read(text: &str) -> Option<Self>;

    fn write(&self) -> String;
}

/// A path that need not be set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathSetting(pub Option<PathBuf>);

impl PathSetting {
    /// The path, or another one where it is not set.
    pub fn or(&self, fallback: &Path) -> PathBuf {
        self.0.clone().unwrap_or_else(|| fallback.to_owned())
    }
}

/// How important a log line must be to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is not as it should be.
    Warn,
    /// Something changed.
    Info,
    /// What happens inside.
    Debug,
}

impl LogLevel {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Field for SocketAddr {
    const EXPECTS: &'static str = "an address and port such as 127.0.0.1:7300";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Field for bool {
    const EXPECTS: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Field for u64 {
    const EXPECTS: &'static str = "a whole number";

    fn read(text: &str) -> Option<Self> {
        text.replace('_', "").parse().ok()
    }

    fn write(&self) -> String {
        grouped(*self)
    }
}

impl Field for u16 {
    const EXPECTS: &'static str = "a whole number from 0 to 65535";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Field for String {
    const EXPECTS: &'static str = "text";

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn write(&self) -> String {
        self.clone()
    }
}

impl Field for PathBuf {
    const EXPECTS: &'static str = "a path";

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }

    fn write(&self) -> String {
        self.display().to_string()
    }
}

impl Field for PathSetting {
    const EXPECTS: &'static str = "a path, or nothing";

    fn read(text: &str) -> Option<Self> {
        Some(Self((!text.is_empty()).then(|| PathBuf::from(text))))
    }

    fn write(&self) -> String {
        self.0.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

impl Field for LogLevel {
    const EXPECTS: &'static str = "error, warn, info or debug";

    fn read(text: &str) -> Option<Self> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug].into_iter().find(|level| level.word() == text)
    }

    fn write(&self) -> String {
        self.word().to_owned()
    }
}

impl Field for LogFormat {
    const EXPECTS: &'static str = "text or json";

    fn read(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
        .to_owned()
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// Digits in groups of three, as TOML allows.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}
