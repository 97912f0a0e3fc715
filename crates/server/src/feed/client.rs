//! The other end of the feed: asks for it over HTTP and gives its lines. HTTP/1.0, so that a body ends where the
//! connection does: nothing has to be known beforehand of an answer that takes hours.

use crate::http_client::{Endpoint, HttpError};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;
use thiserror::Error;

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The longest line: an item holds one effect or event.
const LINE_BYTES_MAX: usize = 16 << 20;
/// The most of an error's body that is read.
const PROBLEM_BYTES_MAX: usize = 64 << 10;
const BLOCK_BYTES: usize = 32 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Heartbeats come every second or so: who is silent for longer is gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why following ended.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The address cannot be meant.
    #[error(transparent)]
    Address(#[from] HttpError),
    /// The connection was lost, or none came about. Try again.
    #[error("{authority}: {error}")]
    Lost {
        /// Host and port.
        authority: String,
        /// What the machine said.
        error: io::Error,
    },
    /// The server refused.
    #[error("the server answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its stable code.
        code: String,
        /// What it says.
        message: String,
    },
    /// An answer that is not understood.
    #[error("the answer is not understood: {0}")]
    Answer(&'static str),
}

/// A server's feed.
#[derive(Clone, Debug)]
pub struct Feed {
    endpoint: Endpoint,
    token: String,
}

impl Feed {
    /// Nothing is sent yet.
    pub fn new(endpoint: Endpoint, token: String) -> Self {
        Self { endpoint, token }
    }

    /// Sends a `GET` and reads the head of its answer.
    pub(super) fn get(&self, path: &str) -> Result<Lines, FollowError> {
        let Endpoint { authority, prefix } = &self.endpoint;
        let lost = |error| FollowError::Lost { authority: authority.clone(), error };
        let mut stream = connect(authority).map_err(lost)?;
        let head = format!(
            "GET {prefix}{path} HTTP/1.0\r\nHost: {authority}\r\nAuthorization: Bearer {}\r\nUser-Agent: \
             throughline/{}\r\n\r\n",
            self.token,
            env!("CARGO_PKG_VERSION"),
        );
        stream.write_all(head.as_bytes()).map_err(lost)?;
        let mut lines =
            Lines { stream, buffer: Vec::new(), used: 0, authority: authority.clone(), ended: false };
        let mut status = None;
        let mut bytes = 0;
        loop {
            let line = lines.next_line()?.ok_or(FollowError::Answer("it ends within its headers"))?;
            bytes += line.len();
            if bytes > HEAD_BYTES_MAX {
                return Err(FollowError::Answer("its headers are too long"));
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                let digits = line.split(' ').nth(1).and_then(|digits| digits.parse::<u16>().ok());
                status = Some(digits.ok_or(FollowError::Answer("it has no status"))?);
            }
        }
        match status {
            Some(200) => Ok(lines),
            Some(status) => Err(lines.refusal(status)),
            None => Err(FollowError::Answer("it has no status")),
        }
    }
}

fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(SILENCE_MAX))?;
                stream.set_write_timeout(Some(SILENCE_MAX))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The lines of an answer.
pub(super) struct Lines {
    stream: TcpStream,
    buffer: Vec<u8>,
    used: usize,
    authority: String,
    ended: bool,
}

impl Lines {
    /// The next line, without its end; `None` at the end of the answer. A line without an end was cut off.
    pub(super) fn next_line(&mut self) -> Result<Option<String>, FollowError> {
        let mut looked = 0;
        loop {
            let unused = self.buffer.get(self.used..).unwrap_or_default();
            let found = unused.get(looked..).unwrap_or_default().iter().position(|byte| *byte == b'\n');
            if let Some(end) = found.map(|at| looked + at) {
                let line = String::from_utf8_lossy(unused.get(..end).unwrap_or_default()).into_owned();
                self.used += end + 1;
                return Ok(Some(line));
            }
            looked = unused.len();
            if looked > LINE_BYTES_MAX {
                return Err(FollowError::Answer("a line is too long"));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self) -> Result<bool, FollowError> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let mut block = vec![0; BLOCK_BYTES];
        let lost = |error| FollowError::Lost { authority: self.authority.clone(), error };
        let count = self.stream.read(&mut block).map_err(lost)?;
        self.buffer.extend_from_slice(block.get(..count).unwrap_or_default());
        self.ended = count == 0;
        Ok(count > 0)
    }

    fn refusal(mut self, status: u16) -> FollowError {
        while self.buffer.len() < PROBLEM_BYTES_MAX && matches!(self.fill(), Ok(true)) {}
        let body: serde_json::Value =
            serde_json::from_slice(self.buffer.get(self.used..).unwrap_or_default()).unwrap_or_default();
        let text =
            |name: &str| body.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        FollowError::Refused { status, code: text("code"), message: text("message") }
    }
}
