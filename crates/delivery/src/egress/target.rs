//! URLs, read so strictly that there is one way to understand what is accepted.
//!
//! Tricks with URLs live on two readers that disagree: one checks, the other connects. So there is one reader, it takes
//! only spellings on which all readers agree, and says how to write the rest.

use super::error::EgressError;
use hyper::http::uri::PathAndQuery;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// The longest host name, in bytes (RFC 1035).
const HOST_BYTES_MAX: usize = 253;
/// The longest part of a host name, in bytes (RFC 1035).
const LABEL_BYTES_MAX: usize = 63;

/// Where a URL points.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(formatter),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

/// A URL that can be understood in one way only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// The host.
    pub host: Host,
    /// The port, the scheme's own where none is written.
    pub port: u16,
    /// Path and query, at least `/`.
    pub path_and_query: PathAndQuery,
}

impl Target {
    /// Reads a URL. What is refused, and why, is in the error.
    pub fn parse(url: &str) -> Result<Self, EgressError> {
        let bad = |what: &'static str| EgressError::BadUrl { what };
        if url.len() > URL_BYTES_MAX {
            return Err(bad("is longer than 2,048 bytes: shorten it"));
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad(
                "holds a space, a control character or a letter beyond ASCII: write host names in \
                            punycode (xn--...) and percent-encode the path",
            ));
        }
        let (scheme, rest) = url.split_once("://").ok_or(bad("does not begin with https://"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(bad("has a scheme other than https or http")),
        };
        if rest.contains('\\') {
            return Err(bad("holds a backslash, which some programs read as a slash: write a slash or %5C"));
        }
        if rest.contains('#') {
            return Err(bad("holds a #: a fragment is never sent, so leave it out"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(bad("cannot be read"))?;
        let (host, port) = split_authority(authority)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let path_and_query = PathAndQuery::try_from(path)
            .map_err(|_| bad("holds a character in its path that must be percent-encoded"))?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host: parse_host(host)?, port, path_and_query })
    }

    /// What the `Host` header says.
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Where a redirect leads: an absolute URL, `//host/path` or `/path`. Other forms are refused.
    pub fn join(&self, location: &str) -> Result<Self, EgressError> {
        let scheme = if self.tls { "https" } else { "http" };
        if location.starts_with("//") {
            return Self::parse(&format!("{scheme}:{location}"));
        }
        if location.starts_with('/') {
            return Self::parse(&format!("{scheme}://{}{location}", self.authority()));
        }
        Self::parse(location)
    }

    /// Whether both have scheme, host and port in common.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.tls == other.tls && self.host == other.host && self.port == other.port
    }
}

impl fmt::Display for Target {
    /// Without path and query, which may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), EgressError> {
    let bad = |what: &'static str| EgressError::BadUrl { what };
    if authority.contains('@') {
        return Err(bad("holds a user name or password before the host: send credentials in a header"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let end =
                rest.find(']').ok_or(bad("begins an IPv6 address with [ and does not end it with ]"))?;
            let (_, tail) = rest.split_at_checked(end + 1).ok_or(bad("cannot be read"))?;
            let host = authority.get(..end + 2).ok_or(bad("cannot be read"))?;
            match tail.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if tail.is_empty() => (host, None),
                None => return Err(bad("has something other than a port behind the IPv6 address")),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let Some(port) = port else { return Ok((host, None)) };
    let plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    let number = if plain { port.parse::<u16>().ok() } else { None };
    number.map(|number| (host, Some(number))).ok_or(bad("has a port that is not a number from 1 to 65535"))
}

fn parse_host(text: &str) -> Result<Host, EgressError> {
    let bad = |what: &'static str| EgressError::BadUrl { what };
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = inner
            .parse()
            .map_err(|_| bad("holds something in [ ] that is not an IPv6 address without a zone"))?;
        return Ok(Host::Address(IpAddr::V6(address)));
    }
    if text.is_empty() || text.len() > HOST_BYTES_MAX {
        return Err(bad("has no host, or one longer than 253 bytes"));
    }
    if text.ends_with('.') {
        return Err(bad("has a host that ends with a dot: leave the dot out"));
    }
    let name = text.to_ascii_lowercase();
    let plain = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if !name.split('.').all(plain) {
        return Err(bad(
            "has a host with something other than letters, digits, inner dashes and single dots; \
                        a placeholder in a host is never filled in",
        ));
    }
    // The rule of the URL standard (whatwg.org, "ends in a number"): such a host is an address to a browser, in decimal,
    // octal or hexadecimal, whole or in parts. Only the plain spelling is taken.
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|byte| byte.is_ascii_digit())
        || last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if !number {
        return Ok(Host::Name(name));
    }
    let address: Option<Ipv4Addr> = name.parse().ok();
    address
        .filter(|address| address.to_string() == name)
        .map(|address| Host::Address(IpAddr::V4(address)))
        .ok_or(bad(
            "has a host that is a number but not an IPv4 address as in 192.0.2.1: octal, hexadecimal and \
                    shortened forms are refused",
        ))
}
