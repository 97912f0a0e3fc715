//! One TCP connection and the exchange of one request for one answer on it.

use super::response::{Head, Response};
use super::{CONNECT_TIMEOUT, HttpError, IO_TIMEOUT};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};

/// The most bytes of a status line and headers.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The most bytes of an answer's body.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest line that says how long a chunk is.
const CHUNK_LINE_BYTES_MAX: usize = 1_024;
/// How much is read at once.
const BLOCK_BYTES: usize = 16 * 1024;
/// The most informational answers (1xx) before the real one.
const INFORMATIONAL_MAX: usize = 4;

/// A connection, and what of the next answer was already read.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of `buffer` was used.
    used: usize,
}

/// Why an exchange failed.
#[derive(Debug)]
pub(super) struct ExchangeError {
    /// The connection was closed before a byte of the answer came: a kept-alive one may have been closed long ago.
    pub(super) before_answer: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Io(io::Error),
    Answer(&'static str),
}

impl ExchangeError {
    fn answer(why: &'static str) -> Self {
        Self { before_answer: false, what: What::Answer(why) }
    }

    /// The error, with the address that it concerns.
    pub(super) fn of(self, authority: &str) -> HttpError {
        let authority = authority.to_owned();
        match self.what {
            What::Io(source) => HttpError::Io { authority, source },
            What::Answer(why) => HttpError::Answer { authority, why },
        }
    }
}

impl From<io::Error> for ExchangeError {
    fn from(source: io::Error) -> Self {
        Self { before_answer: false, what: What::Io(source) }
    }
}

impl Connection {
    pub(super) fn open(authority: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(IO_TIMEOUT))?;
                    stream.set_write_timeout(Some(IO_TIMEOUT))?;
                    return Ok(Self { stream, buffer: Vec::new(), used: 0 });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(super) fn exchange(&mut self, head: &str, body: &[u8]) -> Result<Response, ExchangeError> {
        self.buffer.clear();
        self.used = 0;
        let written = self.write(head, body);
        if let Err(error) = written.and_then(|()| self.fill()) {
            let kind = error.kind();
            // A timeout is no sign of a closed connection: the request may be at work over there.
            let before_answer = !matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            return Err(ExchangeError { before_answer, what: What::Io(error) });
        }
        let mut head = self.head()?;
        for _ in 0..INFORMATIONAL_MAX {
            if head.status >= 200 {
                break;
            }
            head = self.head()?;
        }
        let mut keep_alive = head.keep_alive;
        let body = if head.chunked {
            self.chunked_body()?
        } else if let Some(length) = head.content_length {
            self.body(length)?
        } else if matches!(head.status, 204 | 304) {
            Vec::new()
        } else {
            keep_alive = false;
            self.body_to_end()?
        };
        Ok(Response { status: head.status, retry_after_s: head.retry_after_s, keep_alive, body })
    }

    fn write(&mut self, head: &str, body: &[u8]) -> io::Result<()> {
        // One write for both: two small ones would wait for each other's acknowledgement.
        let mut bytes = Vec::with_capacity(head.len() + body.len());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes)
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut block = [0; BLOCK_BYTES];
        let count = self.stream.read(&mut block)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
        }
        self.buffer.extend_from_slice(block.get(..count).unwrap_or_default());
        Ok(())
    }

    fn unused(&self) -> &[u8] {
        self.buffer.get(self.used..).unwrap_or_default()
    }

    fn head(&mut self) -> Result<Head, ExchangeError> {
        loop {
            if let Some(end) = find(self.unused(), b"\r\n\r\n") {
                let bytes = self.unused().get(..end).unwrap_or_default().to_vec();
                self.used += end + 4;
                return Head::parse(&bytes).map_err(ExchangeError::answer);
            }
            if self.unused().len() > HEAD_BYTES_MAX {
                return Err(ExchangeError::answer("its headers are too long"));
            }
            self.fill()?;
        }
    }

    fn body(&mut self, length: usize) -> Result<Vec<u8>, ExchangeError> {
        if length > BODY_BYTES_MAX {
            return Err(ExchangeError::answer("its body is too long"));
        }
        while self.unused().len() < length {
            self.fill()?;
        }
        let body = self.unused().get(..length).unwrap_or_default().to_vec();
        self.used += length;
        Ok(body)
    }

    fn body_to_end(&mut self) -> Result<Vec<u8>, ExchangeError> {
        loop {
            if self.unused().len() > BODY_BYTES_MAX {
                return Err(ExchangeError::answer("its body is too long"));
            }
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(self.unused().to_vec());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn chunked_body(&mut self) -> Result<Vec<u8>, ExchangeError> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16)
                .map_err(|_| ExchangeError::answer("a chunk has no length"))?;
            if length > BODY_BYTES_MAX || body.len() + length > BODY_BYTES_MAX {
                return Err(ExchangeError::answer("its body is too long"));
            }
            if length == 0 {
                break;
            }
            body.extend_from_slice(&self.body(length)?);
            if !self.line()?.is_empty() {
                return Err(ExchangeError::answer("a chunk is longer than it says"));
            }
        }
        // Trailers, which nobody reads here, end with an empty line.
        for _ in 0..CHUNK_LINE_BYTES_MAX {
            if self.line()?.is_empty() {
                return Ok(body);
            }
        }
        Err(ExchangeError::answer("its trailers do not end"))
    }

    fn line(&mut self) -> Result<String, ExchangeError> {
        loop {
            if let Some(end) = find(self.unused(), b"\r\n") {
                let line = String::from_utf8_lossy(self.unused().get(..end).unwrap_or_default()).into_owned();
                self.used += end + 2;
                return Ok(line);
            }
            if self.unused().len() > CHUNK_LINE_BYTES_MAX {
                return Err(ExchangeError::answer("a line of its body's frame is too long"));
            }
            self.fill()?;
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
