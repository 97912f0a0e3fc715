//! What came back.

use std::time::Duration;

/// Headers beyond this many are nobody's answer.
const HEADERS_MAX: usize = 128;
/// How much of a body an error message quotes.
const QUOTED_CHARACTERS: usize = 300;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200, 400, …
    pub status: u16,
    /// `Retry-After`, where it was a number of seconds.
    pub retry_after_s: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
    pub(super) keep_alive: bool,
}

impl Response {
    /// How long the server asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_s.map(Duration::from_secs)
    }

    /// The beginning of the body, for an error message.
    pub fn quote(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let quoted: String = text
            .chars()
            .map(|character| if character.is_control() { ' ' } else { character })
            .take(QUOTED_CHARACTERS)
            .collect();
        quoted.trim().to_owned()
    }
}

/// Status line and headers, as far as they are looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) content_length: Option<usize>,
    pub(super) chunked: bool,
    pub(super) keep_alive: bool,
    pub(super) retry_after_s: Option<u64>,
}

impl Head {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "its headers are not text")?;
        let mut lines = text.split("\r\n");
        let (version, rest) =
            lines.next().unwrap_or_default().split_once(' ').ok_or("it has no status line")?;
        let keep_alive = match version {
            "HTTP/1.1" => true,
            "HTTP/1.0" => false,
            _ => return Err("it is not HTTP/1.1"),
        };
        let status = rest.get(..3).and_then(|digits| digits.parse().ok()).ok_or("its status is no number")?;
        let mut head = Self { status, content_length: None, chunked: false, keep_alive, retry_after_s: None };
        for (count, line) in lines.enumerate() {
            if count >= HEADERS_MAX {
                return Err("it has too many headers");
            }
            let (name, value) = line.split_once(':').ok_or("a header has no colon")?;
            head.take(name, value.trim())?;
        }
        Ok(head)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        if name.eq_ignore_ascii_case("content-length") {
            self.content_length = Some(value.parse().map_err(|_| "its Content-Length is no number")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            self.chunked = value.eq_ignore_ascii_case("chunked");
            if !self.chunked {
                return Err("its Transfer-Encoding is not known here");
            }
        } else if name.eq_ignore_ascii_case("connection") {
            self.keep_alive = !value.eq_ignore_ascii_case("close")
                && (self.keep_alive || value.eq_ignore_ascii_case("keep-alive"));
        } else if name.eq_ignore_ascii_case("retry-after") {
            self.retry_after_s = value.parse().ok();
        }
        Ok(())
    }
}
