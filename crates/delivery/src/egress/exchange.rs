//! One request, one answer: find a checked address, get a connection, send, read within bounds.

use super::Inner;
use super::error::EgressError;
use super::pool::{Key, Open};
use super::request::{Method, Request, Response};
use super::target::{Host, Target};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

/// Addresses of a name that are tried.
const ATTEMPTS_MAX: usize = 3;
/// Headers of an answer.
const HEADERS_MAX: usize = 128;

/// How far a request has come, seen from outside when its time runs out.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicBool,
}

impl Progress {
    pub(super) fn maybe_sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }
}

impl Inner {
    pub(super) async fn exchange(
        &self,
        target: &Target,
        request: &Request,
        limit_bytes: usize,
        progress: &Progress,
    ) -> Result<Response, EgressError> {
        let addresses = self.addresses(target).await?;
        if let Some((key, mut open)) = self.pooled(target, &addresses) {
            progress.sent.store(true, Ordering::Release);
            match open.sender.try_send_request(message(target, request)?).await {
                Ok(answer) => {
                    self.counters.reused.fetch_add(1, Ordering::Relaxed);
                    return self.read(target, request, answer, limit_bytes, key, open).await;
                }
                Err(mut error) => {
                    if error.take_message().is_none() {
                        return Err(broken(target, &error.into_error()));
                    }
                    // The connection was closed while it waited, and nothing was written: a new one repeats nothing.
                    progress.sent.store(false, Ordering::Release);
                }
            }
        }
        let (key, mut open) = self.connect(target, &addresses).await?;
        progress.sent.store(true, Ordering::Release);
        match open.sender.send_request(message(target, request)?).await {
            Ok(answer) => self.read(target, request, answer, limit_bytes, key, open).await,
            Err(error) => Err(broken(target, &error)),
        }
    }

    /// Every address that the target leads to, checked.
    async fn addresses(&self, target: &Target) -> Result<Vec<IpAddr>, EgressError> {
        let name = match &target.host {
            Host::Address(address) => {
                self.admit(target, &[*address])?;
                return Ok(vec![*address]);
            }
            Host::Name(name) => name,
        };
        self.admit_scheme(target)?;
        let now_us = self.now_us();
        let found = match self.remembered.get(name, now_us) {
            Some(found) => found,
            None => {
                self.counters.resolved.fetch_add(1, Ordering::Relaxed);
                let resolve = |why: String| EgressError::Resolve { host: name.clone(), why };
                let found = self.resolver.resolve(name).await.map_err(|error| resolve(error.to_string()))?;
                if found.is_empty() {
                    return Err(resolve("the resolver knows none".to_owned()));
                }
                let until_us = now_us.saturating_add(self.options.resolve_ms.saturating_mul(1_000));
                self.remembered.put(name, &found, now_us, until_us);
                found
            }
        };
        self.admit(target, &found)?;
        Ok(found)
    }

    fn key(target: &Target, address: IpAddr) -> Key {
        Key { address: SocketAddr::new(address, target.port), host: target.host.to_string(), tls: target.tls }
    }

    fn pooled(&self, target: &Target, addresses: &[IpAddr]) -> Option<(Key, Open)> {
        addresses.iter().find_map(|address| {
            let key = Self::key(target, *address);
            self.pool.take(&key, self.idle_since_us()).map(|open| (key, open))
        })
    }

    async fn connect(&self, target: &Target, addresses: &[IpAddr]) -> Result<(Key, Open), EgressError> {
        let place = self.place(target).await?;
        let mut last = EgressError::Connect { target: target.to_string(), why: "no address".to_owned() };
        let mut place = Some(place);
        let timeout = Duration::from_millis(self.options.connect_timeout_ms);
        for address in addresses.iter().take(ATTEMPTS_MAX) {
            let Some(taken) = place.take() else { break };
            let key = Self::key(target, *address);
            match tokio::time::timeout(timeout, self.open(target, key.address)).await {
                Ok(Ok(sender)) => {
                    self.counters.connected.fetch_add(1, Ordering::Relaxed);
                    return Ok((key, Open { sender, _place: taken }));
                }
                Ok(Err(error)) => last = error,
                Err(_) => {
                    let why = format!("no connection within {} ms", self.options.connect_timeout_ms);
                    last = EgressError::Connect { target: target.to_string(), why };
                }
            }
            place = Some(taken);
        }
        Err(last)
    }

    /// A place among the connections that may be open; an idle one makes room.
    async fn place(&self, target: &Target) -> Result<OwnedSemaphorePermit, EgressError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        // While somebody waits, connections close instead of idling. The caller's time bounds the wait.
        let _waiting = Waiting::new(&self.waiting);
        self.pool.trim(self.idle_since_us(), true);
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|error| EgressError::Connect { target: target.to_string(), why: error.to_string() })
    }

    async fn open(
        &self,
        target: &Target,
        address: SocketAddr,
    ) -> Result<http1::SendRequest<Full<Bytes>>, EgressError> {
        let failed = |why: String| EgressError::Connect { target: target.to_string(), why };
        let stream = self.connector.connect(address).await.map_err(|error| failed(error.to_string()))?;
        if !target.tls {
            return self.handshake(target, stream).await;
        }
        let name = match &target.host {
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|error| failed(error.to_string()))?
            }
            Host::Address(address) => ServerName::IpAddress((*address).into()),
        };
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(|error| EgressError::Tls { target: target.to_string(), why: error.to_string() })?;
        self.handshake(target, stream).await
    }

    async fn handshake<S>(
        &self,
        target: &Target,
        stream: S,
    ) -> Result<http1::SendRequest<Full<Bytes>>, EgressError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(self.options.head_bytes_max)
            .max_headers(HEADERS_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| EgressError::Connect { target: target.to_string(), why: error.to_string() })?;
        // Ends when the sender is dropped or the other side closes; what went wrong is seen by the request.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn read(
        &self,
        target: &Target,
        request: &Request,
        answer: hyper::Response<Incoming>,
        limit_bytes: usize,
        key: Key,
        open: Open,
    ) -> Result<Response, EgressError> {
        let (head, body) = answer.into_parts();
        let (body, cut) = read_body(target, body, limit_bytes).await?;
        if cut && !request.cut_response {
            return Err(EgressError::ResponseTooLarge { target: target.to_string(), limit_bytes });
        }
        if !cut {
            self.keep(key, open).await;
        }
        Ok(Response { status: head.status.as_u16(), headers: head.headers, body, cut })
    }

    /// Keeps a connection for the next request. After the last byte of a body it needs a moment to see that it is free.
    async fn keep(&self, key: Key, mut open: Open) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return;
        }
        let ready = tokio::time::timeout(Duration::from_millis(1), open.sender.ready()).await;
        if matches!(ready, Ok(Ok(()))) {
            self.pool.put(key, open, self.now_us());
        }
    }
}

/// Somebody who waits for a place among the connections.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads up to the limit; true if there was more.
async fn read_body(
    target: &Target,
    body: Incoming,
    limit_bytes: usize,
) -> Result<(Bytes, bool), EgressError> {
    let mut read = BytesMut::new();
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(target, &error))?;
        let Ok(data) = frame.into_data() else { continue };
        if read.len() + data.len() > limit_bytes {
            return Ok((read.freeze(), true));
        }
        read.extend_from_slice(&data);
    }
    Ok((read.freeze(), false))
}

fn message(target: &Target, request: &Request) -> Result<hyper::Request<Full<Bytes>>, EgressError> {
    let bad = |error: &dyn std::fmt::Display| EgressError::BadRequest {
        what: format!("cannot be put together: {error}"),
    };
    let method = match request.method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
        Method::Put => hyper::Method::PUT,
        Method::Patch => hyper::Method::PATCH,
        Method::Delete => hyper::Method::DELETE,
    };
    let mut message = hyper::Request::new(Full::new(request.body.clone()));
    *message.method_mut() = method;
    *message.uri_mut() = hyper::Uri::from(target.path_and_query.clone());
    *message.headers_mut() = request.headers.clone();
    let host = HeaderValue::from_str(&target.authority()).map_err(|error| bad(&error))?;
    message.headers_mut().insert(HOST, host);
    message.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static("throughline"));
    Ok(message)
}

fn broken(target: &Target, error: &hyper::Error) -> EgressError {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    EgressError::Exchange { target: target.to_string(), why, sent: true }
}
