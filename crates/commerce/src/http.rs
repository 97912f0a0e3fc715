//! The shop's listener: bare HTTP/1.1 with threads of its own, so that nothing else of the process can hold it up.
//!
//! Each thread has its own runtime and its own listener on the shared port (`SO_REUSEPORT`). Everything is bounded:
//! connections, requests at a time, the time to send a head and a body, the bytes of a body, and the wait for the loop.
//! Where there is more to do than can be done, those who look around are refused first, then those who fill carts, and
//! last those who pay ([`Pressure`]).

mod answer;
mod listen;

pub use listen::OpenShopDoor;

use crate::storefront::Storefront;
use model::id::Timestamp;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;

/// Starts a named thread.
pub type Spawn<'a> = &'a dyn Fn(&str, Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// What the listener answers from. The clock comes from outside, so that a test can hold it.
pub struct ShopDoor {
    /// The GraphQL door.
    pub storefront: Arc<Storefront>,
    /// The checkout's pages, if they are served here.
    pub pages: Option<Arc<dyn CheckoutPages>>,
    /// The time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// How much there is to do, as others see it.
    pub pressure: Arc<Pressure>,
}

/// How to listen.
#[derive(Clone, Debug)]
pub struct ShopDoorOptions {
    /// The address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads, each with its own listener.
    pub threads: usize,
    /// Connections at a time.
    pub connections_max: usize,
    /// Requests at a time. From half of it on, those who look around are refused, from three quarters on those who fill
    /// carts, and beyond it everybody.
    pub requests_max: usize,
    /// How long a connection may take for the head of its next request, idle time included.
    pub head_timeout: Duration,
    /// How long a body may take.
    pub body_timeout: Duration,
    /// How long an answer may take.
    pub answer_timeout: Duration,
    /// How long open requests may take after [`OpenShopDoor::close`].
    pub close_timeout: Duration,
    /// Tokens that browsers send. If there are none of either kind, everybody is let in.
    pub public_tokens: Vec<String>,
    /// Tokens that servers send; who has one may say where the buyer is.
    pub private_tokens: Vec<String>,
    /// Through which channel products are shown here.
    pub channel: String,
    /// Whether a proxy in front writes `X-Forwarded-For`.
    pub trust_forwarded_for: bool,
}

impl ShopDoorOptions {
    /// Listens at `listen` on two threads, with bounds that suit a small machine.
    pub fn at(listen: SocketAddr) -> Self {
        Self {
            listen,
            threads: 2,
            connections_max: 10_000,
            requests_max: 2_000,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            public_tokens: Vec::new(),
            private_tokens: Vec::new(),
            channel: "online".to_owned(),
            trust_forwarded_for: false,
        }
    }
}

/// Whoever answers what is below `/checkout/`.
pub trait CheckoutPages: Send + Sync {
    /// Answers a request.
    fn answer<'a>(&'a self, asked: PageAsked<'a>) -> Pin<Box<dyn Future<Output = PageAnswer> + Send + 'a>>;
}

/// A request for a page of the checkout.
#[derive(Clone, Copy, Debug)]
pub struct PageAsked<'a> {
    /// Whether something is sent.
    pub is_post: bool,
    /// The path, from `/checkout/` on, with the query.
    pub path: &'a str,
    /// What is sent.
    pub body: &'a [u8],
    /// The header of that name.
    pub accept_language: Option<&'a str>,
    /// The header `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// When it came.
    pub now: Timestamp,
}

/// A page of the checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageAnswer {
    /// The status.
    pub status: u16,
    /// Where to go, for 303.
    pub location: Option<String>,
    /// The page.
    pub html: String,
}

/// How much there is to do, as told from outside. The listener adds what it sees itself.
#[derive(Debug, Default)]
pub struct Pressure(AtomicU8);

/// Who is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusing {
    /// Nobody.
    #[default]
    Nobody = 0,
    /// Those who look around.
    Browsing = 1,
    /// Those who fill carts too.
    Carts = 2,
    /// Those who pay too.
    Checkouts = 3,
}

impl Pressure {
    /// Says who is to be refused.
    pub fn set(&self, refusing: Refusing) {
        self.0.store(refusing as u8, Ordering::Relaxed);
    }

    /// Who is to be refused.
    pub fn get(&self) -> Refusing {
        match self.0.load(Ordering::Relaxed) {
            0 => Refusing::Nobody,
            1 => Refusing::Browsing,
            2 => Refusing::Carts,
            _ => Refusing::Checkouts,
        }
    }
}

/// What has come through since the listener opened.
#[derive(Debug, Default)]
pub struct ShopCounters {
    /// GraphQL requests that were answered.
    pub answered: AtomicU64,
    /// Requests that were wrong (4xx).
    pub refused: AtomicU64,
    /// Requests that were told to come again (503).
    pub deferred: AtomicU64,
    /// Pages of the checkout.
    pub pages: AtomicU64,
    /// Connections that were turned away.
    pub refused_connections: AtomicU64,
    /// Connections that are open.
    pub open_connections: AtomicUsize,
    /// Requests that are being answered.
    pub open_requests: AtomicUsize,
}

/// Why the listener did not open.
#[derive(Debug, Error)]
pub enum ShopDoorError {
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {cause}; free the port or choose another address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread of the shop's door: {0}; raise the process limit")]
    Thread(io::Error),
}
