//! Why a request was not made, or what became of it.

use std::net::IpAddr;
use thiserror::Error;

/// A failed request. [`EgressError::maybe_sent`] tells whether the other side may have seen it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EgressError {
    /// The URL can be read in more than one way, or in none.
    #[error("the URL {what}")]
    BadUrl {
        /// What is wrong and how to write it.
        what: &'static str,
    },
    /// A header or the request itself is beyond what is allowed.
    #[error("the request {what}")]
    BadRequest {
        /// What is wrong.
        what: String,
    },
    /// `http://` where nobody allowed it.
    #[error(
        "{target} is not https: use https, or let the operator allow plain HTTP to that address in `delivery.allow`"
    )]
    PlainHttp {
        /// Scheme, host and port.
        target: String,
    },
    /// The address must not be connected to.
    #[error(
        "{target} leads to {address}, which is refused ({why}): use a public address, or let the operator allow that \
         one in `delivery.allow`"
    )]
    ForbiddenAddress {
        /// Scheme, host and port.
        target: String,
        /// The address that the name led to, or that the URL held.
        address: IpAddr,
        /// What kind of address it is.
        why: &'static str,
    },
    /// The name has no address, or the resolver failed.
    #[error("{host} has no address ({why}): check the name and the resolver")]
    Resolve {
        /// The host.
        host: String,
        /// What the resolver said.
        why: String,
    },
    /// No connection could be made.
    #[error("cannot connect to {target}: {why}. Check that it is up and reachable from here")]
    Connect {
        /// Scheme, host and port.
        target: String,
        /// What the system said.
        why: String,
    },
    /// The other side could not prove who it is.
    #[error(
        "no TLS with {target}: {why}. Check its certificate, or give its authority in `egress.extra_roots`"
    )]
    Tls {
        /// Scheme, host and port.
        target: String,
        /// What was wrong.
        why: String,
    },
    /// The caller has too many requests under way or makes them too fast.
    #[error(
        "{caller} may not make more requests now ({what}): try again in {wait_ms} ms, or raise its limits"
    )]
    Limited {
        /// The caller.
        caller: String,
        /// Which limit.
        what: &'static str,
        /// When it makes sense to try again, in milliseconds.
        wait_ms: u64,
    },
    /// Time ran out.
    #[error("{target} did not answer within {timeout_ms} ms")]
    Timeout {
        /// Scheme, host and port.
        target: String,
        /// How long was allowed.
        timeout_ms: u64,
        /// Whether the other side may have seen the request.
        sent: bool,
    },
    /// The connection broke, or what came back is not HTTP.
    #[error("{target} broke the exchange off: {why}")]
    Exchange {
        /// Scheme, host and port.
        target: String,
        /// What was wrong.
        why: String,
        /// Whether the other side may have seen the request.
        sent: bool,
    },
    /// The answer is larger than allowed.
    #[error("the answer of {target} is longer than {limit_bytes} bytes")]
    ResponseTooLarge {
        /// Scheme, host and port.
        target: String,
        /// How much was allowed.
        limit_bytes: usize,
    },
    /// A redirect leads on and on, or nowhere.
    #[error("{target} redirects {why}")]
    Redirect {
        /// Scheme, host and port.
        target: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A redirect was not followed because its target is refused.
    #[error("{target} redirects to what is refused: {cause}")]
    RedirectRefused {
        /// Scheme, host and port of what redirected.
        target: String,
        /// Why its target is refused.
        cause: Box<EgressError>,
    },
}

impl EgressError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "bad_url",
            Self::BadRequest { .. } => "bad_request",
            Self::PlainHttp { .. } => "plain_http",
            Self::ForbiddenAddress { .. } => "forbidden_address",
            Self::Resolve { .. } => "resolve",
            Self::Connect { .. } => "connect",
            Self::Tls { .. } => "tls",
            Self::Limited { .. } => "limited",
            Self::Timeout { .. } => "timeout",
            Self::Exchange { .. } => "exchange",
            Self::ResponseTooLarge { .. } => "response_too_large",
            Self::Redirect { .. } => "redirect",
            Self::RedirectRefused { cause, .. } => cause.code(),
        }
    }

    /// Whether the other side may have seen the request, so that its effect is unknown.
    pub fn maybe_sent(&self) -> bool {
        match self {
            Self::Timeout { sent, .. } | Self::Exchange { sent, .. } => *sent,
            Self::ResponseTooLarge { .. } | Self::Redirect { .. } | Self::RedirectRefused { .. } => true,
            _ => false,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Resolve { .. }
                | Self::Connect { .. }
                | Self::Tls { .. }
                | Self::Limited { .. }
                | Self::Timeout { .. }
                | Self::Exchange { .. }
        )
    }
}
