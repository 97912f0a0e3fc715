//! A small HTTP/1.1 client: one kept-alive connection, one request at a time, a limit on everything.
//!
//! It speaks to collectors on the operator's own word (`send --to`) and to the server that `demo` started, so it knows
//! no TLS, no redirects and no proxies.

mod connection;
mod response;
mod retry;

pub use response::Response;
pub use retry::{RetryPolicy, Verdict};

use base64::Engine as _;
use connection::Connection;
use std::fmt::Write as _;
use std::time::Duration;
use thiserror::Error;

/// The longest that a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for bytes of an answer, and for room to write a request.
const IO_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address does not say where to send.
    #[error("{url:?} is not an address to send to: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it, and what to do.
        why: &'static str,
    },
    /// No connection, or one that broke.
    #[error("{authority} does not answer ({source}): is the server running there?")]
    Io {
        /// Host and port.
        authority: String,
        /// What the machine said.
        source: std::io::Error,
    },
    /// An answer that is not HTTP/1.1, or beyond a limit.
    #[error("{authority} answered with something that is not understood: {why}")]
    Answer {
        /// Host and port.
        authority: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Where to send: `http://host:port/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port, as in the `Host` header.
    pub authority: String,
    /// What comes before every path; empty, or begins with a slash and ends without one.
    pub prefix: String,
}

impl Endpoint {
    /// Reads an `http://` address; the port is 80 where none is given.
    pub fn parse(url: &str) -> Result<Self, HttpError> {
        let wrong = |why| HttpError::Url { url: url.to_owned(), why };
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", _)) => {
                return Err(wrong(
                    "only http is spoken here; put a TLS proxy on this machine and send to that",
                ));
            }
            _ => return Err(wrong("it must begin with http://")),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let clean = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.contains(['@', '?', '#']) || !clean(host) {
            return Err(wrong(
                "it needs a host after http://, and nothing but host and port before the path",
            ));
        }
        if path.contains(['?', '#']) || !clean(path) {
            return Err(wrong("it may hold a path, but no query, fragment or blanks"));
        }
        let ends_with_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        let authority = if ends_with_port { host.to_owned() } else { format!("{host}:80") };
        Ok(Self { authority, prefix: path.trim_end_matches('/').to_owned() })
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A write key: `Basic base64(key:)`.
    WriteKey(String),
    /// A bearer token.
    Bearer(String),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The path, after the endpoint's prefix.
    pub path: &'a str,
    /// Further headers.
    pub headers: &'a [(&'static str, String)],
    /// The body; JSON. Empty for `GET`.
    pub body: &'a [u8],
}

/// A client for one endpoint and one credential. It reconnects as needed, and sends a request a second time only
/// where a kept-alive connection turns out to have been closed before a byte of the answer came.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    authorization: String,
    connection: Option<Connection>,
    head: String,
}

impl Client {
    /// A client; nothing is sent yet.
    pub fn new(endpoint: Endpoint, credential: &Credential) -> Self {
        let authorization = match credential {
            Credential::WriteKey(key) => {
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{key}:")))
            }
            Credential::Bearer(token) => format!("Bearer {token}"),
        };
        Self { endpoint, authorization, connection: None, head: String::new() }
    }

    /// Sends a request and waits for its answer, whatever its status.
    pub fn send(&mut self, request: Request<'_>) -> Result<Response, HttpError> {
        self.write_head(&request);
        if let Some(mut kept) = self.connection.take() {
            match kept.exchange(&self.head, request.body) {
                Ok(response) => return Ok(self.keep(kept, response)),
                Err(error) if error.before_answer => {}
                Err(error) => return Err(error.of(&self.endpoint.authority)),
            }
        }
        let authority = &self.endpoint.authority;
        let mut fresh = Connection::open(authority)
            .map_err(|source| HttpError::Io { authority: authority.clone(), source })?;
        match fresh.exchange(&self.head, request.body) {
            Ok(response) => Ok(self.keep(fresh, response)),
            Err(error) => Err(error.of(authority)),
        }
    }

    fn keep(&mut self, connection: Connection, response: Response) -> Response {
        if response.keep_alive {
            self.connection = Some(connection);
        }
        response
    }

    fn write_head(&mut self, request: &Request<'_>) {
        let Endpoint { authority, prefix } = &self.endpoint;
        self.head.clear();
        let mut write = |arguments: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = self.head.write_fmt(arguments);
        };
        write(format_args!("{} {prefix}{} HTTP/1.1\r\nHost: {authority}\r\n", request.method, request.path));
        write(format_args!("Authorization: {}\r\n", self.authorization));
        write(format_args!("User-Agent: throughline/{}\r\n", env!("CARGO_PKG_VERSION")));
        for (name, value) in request.headers {
            write(format_args!("{name}: {value}\r\n"));
        }
        if request.method == "POST" {
            let length = request.body.len();
            write(format_args!("Content-Type: application/json\r\nContent-Length: {length}\r\n"));
        }
        write(format_args!("\r\n"));
    }
}

#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
mod tests;
