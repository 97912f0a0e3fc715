//! One request, from its head to its answer.

use crate::http::body::{self, Reserved};
use crate::http::completion::{Completions, Verdict};
use crate::http::cors;
use crate::http::pixel;
use crate::http::question;
use crate::http::reply::{self, Body, Refusal};
use crate::http::route::{self, Route};
use crate::http::server::Shared;
use crate::http::trace::Trace;
use crate::settings::{DoorSettings, WriteKeyKind};
use crate::sink::Done;
use crate::wire::{Call, Encoding, Envelope, Sender};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderMap, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use model::id::Timestamp;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// The header in which a proxy says whom it speaks for.
const FORWARDED_FOR: &str = "x-forwarded-for";
/// The header in which an import says what time it was.
const LOG_TIME: &str = "x-throughline-log-time";

/// Answers one request.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    completions: &Arc<Completions>,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<Body> {
    let route = route::route(request.uri().path());
    let call = match route {
        Route::Events(call) => call,
        Route::Pixel(kind) => Call::One(kind),
        Route::Beacon | Route::SdkMetrics | Route::NotOffered(_) => Call::Batch,
        Route::SegmentSettings | Route::RudderSettings | Route::Health | Route::Version => {
            return question::answer(&shared, route, &request);
        }
        Route::Script => match question::script(&shared, &request) {
            Some(response) => return response,
            None => return nothing_here(&shared, request).await,
        },
        Route::Other => return nothing_here(&shared, request).await,
    };
    let settings = shared.door.settings.load();
    if request.method() == Method::OPTIONS {
        return cors::preflight(request.headers(), &settings.cors);
    }
    let (head, mut incoming) = request.into_parts();
    let is_pixel = matches!(route, Route::Pixel(_));
    let wanted = if is_pixel { Method::GET } else { Method::POST };
    let has_events = !is_pixel && head.method == wanted && route != Route::SdkMetrics;
    let trace = shared.door.tracer.as_ref().filter(|_| has_events).and_then(|tracer| tracer.begin(&head));
    let mut response = if head.method != wanted {
        drain_in_time(&shared, &mut incoming).await;
        shared.count_refusal(StatusCode::METHOD_NOT_ALLOWED, "");
        if is_pixel { reply::only("GET, OPTIONS") } else { reply::only("POST, OPTIONS") }
    } else {
        let received = receive(&shared, &settings, route, &head, &mut incoming);
        let outcome = match at_once_or_within(shared.options.body_timeout, received).await {
            Ok(Ok(mut received)) => {
                if let Some(trace) = &trace {
                    trace.received(received.sent_bytes);
                    received.trace = Some(Arc::clone(trace));
                }
                take(&shared, completions, &settings, call, &head, peer, received).await
            }
            Ok(Err(refusal)) => {
                drain_in_time(&shared, &mut incoming).await;
                Err(refusal)
            }
            Err(_) => {
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body came too slowly"))
            }
        };
        if let Err(refusal) = &outcome {
            shared.count_refusal(refusal.status, refusal.code());
        }
        match outcome {
            Ok(_) if is_pixel => reply::pixel(),
            Ok(success) => success,
            Err(refusal) => refusal.response(),
        }
    };
    cors::allow(&head.headers, &settings.cors, &mut response);
    if let Some(trace) = trace {
        trace.answered(response.status().as_u16());
    }
    response
}

/// What [`timeout`] does, without the cost of a timer where nothing has to be waited for: a small body arrives together
/// with its head.
async fn at_once_or_within<T>(limit: Duration, wanted: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut wanted = pin!(wanted);
    match poll_fn(|context| Poll::Ready(wanted.as_mut().poll(context))).await {
        Poll::Ready(found) => Ok(found),
        Poll::Pending => timeout(limit, wanted).await,
    }
}

/// A body in memory, and the part of the budget that it uses.
struct Received {
    plain: Bytes,
    presented_key: Option<String>,
    reserved: Reserved,
    drop_it: bool,
    /// It was spelled as the address of an image.
    is_image: bool,
    /// It came as only pages send, with the key in an address that anybody may see: whatever key it is, it is a claim.
    is_public: bool,
    /// Its length as it was sent.
    sent_bytes: usize,
    /// Who follows the request.
    trace: Option<Arc<dyn Trace>>,
}

/// Reads the body, after the head has been judged.
async fn receive(
    shared: &Shared,
    settings: &DoorSettings,
    route: Route,
    head: &Parts,
    incoming: &mut Incoming,
) -> Result<Received, Refusal> {
    let mut reserved = Reserved::none_of(&shared.budget);
    if let Route::NotOffered(instead) = route {
        return Err(route::not_offered(instead));
    }
    if route == Route::SdkMetrics {
        body::drain(incoming).await;
        let plain = Bytes::new();
        return Ok(Received {
            plain,
            presented_key: None,
            reserved,
            drop_it: true,
            is_image: false,
            is_public: true,
            sent_bytes: 0,
            trace: None,
        });
    }
    let presented_key = route::presented_key(route, &head.uri, &head.headers)?;
    if let Some(presented) = &presented_key {
        route::known_key(settings, presented)?;
    }
    let bytes_max = settings.limits.body_bytes_max;
    let is_image = matches!(route, Route::Pixel(_));
    let is_public = is_image || route == Route::Beacon;
    let gzip = !is_image && is_gzip(&head.headers)?;
    let sent = if is_image {
        body::drain(incoming).await;
        let spelled = pixel::body(head.uri.query().unwrap_or_default())?;
        reserved.grow_to(spelled.len())?;
        spelled
    } else {
        body::read(incoming, bytes_max, &mut reserved).await?
    };
    let sent_bytes = sent.len();
    let plain = if gzip { body::gunzip(&sent, bytes_max, &mut reserved)? } else { sent };
    let presented_key = presented_key.map(|key| key.into_owned());
    Ok(Received {
        plain,
        presented_key,
        reserved,
        drop_it: false,
        is_image,
        is_public,
        sent_bytes,
        trace: None,
    })
}

/// Turns the body into records, hands them to the sink and waits for its word.
async fn take(
    shared: &Shared,
    completions: &Arc<Completions>,
    settings: &DoorSettings,
    call: Call,
    head: &Parts,
    peer: SocketAddr,
    received: Received,
) -> Result<Response<Body>, Refusal> {
    if received.drop_it {
        return Ok(reply::success());
    }
    let (word, verdict) = oneshot::channel();
    let completions = Arc::clone(completions);
    let tell = move |told| completions.leave(word, told);
    let Submitted { records, quarantined } = submit(shared, settings, call, head, peer, received, tell)?;
    if records == 0 {
        // The rules of the key kept all of it out: there is nothing to wait for.
        shared.counters.accepted_requests.fetch_add(1, Ordering::Relaxed);
        return Ok(reply::success());
    }
    match timeout(shared.options.answer_timeout, verdict).await {
        Ok(Ok(Ok(()))) => {
            shared.counters.accepted_requests.fetch_add(1, Ordering::Relaxed);
            shared.counters.accepted_events.fetch_add(u64::from(records - quarantined), Ordering::Relaxed);
            shared.counters.quarantined_events.fetch_add(u64::from(quarantined), Ordering::Relaxed);
            Ok(reply::success())
        }
        Ok(Ok(Err(refused))) => Err(Refusal::of_sink(&refused)),
        // The sink went away, or takes too long: what became of the events is unknown. The client sends them again,
        // and de-duplication knows them by their messageIds.
        Ok(Err(_)) | Err(_) => Err(Refusal::later(
            "outcome_unknown",
            "the server cannot tell yet whether the events are stored; send the request again",
            shared.options.retry_after_s,
        )),
    }
}

/// What the sink was given; with no records, nobody will tell.
#[derive(Default)]
struct Submitted {
    records: u32,
    /// Those that are events in quarantine.
    quarantined: u32,
}

/// The part without waiting: nothing borrowed from the body outlives it.
fn submit(
    shared: &Shared,
    settings: &DoorSettings,
    call: Call,
    head: &Parts,
    peer: SocketAddr,
    received: Received,
    tell: impl FnOnce(Verdict) + Send + 'static,
) -> Result<Submitted, Refusal> {
    let Received { plain, presented_key, mut reserved, is_image, is_public, trace, .. } = received;
    let by_head = presented_key.is_some();
    let envelope =
        Envelope::read(&plain, call, &settings.limits).map_err(|error| Refusal::of_wire(&error, !by_head))?;
    let presented = presented_key.as_deref().or(envelope.write_key()).ok_or_else(route::missing_key)?;
    let mut key = route::known_key(settings, presented)?;
    if is_public && key.kind == WriteKeyKind::Server {
        (key.kind, key.value_counts) = (WriteKeyKind::Browser, false);
    }
    let log_time = log_time(&head.headers).filter(|_| shared.options.heed_log_time);
    let sender = Sender {
        key,
        received_at: log_time.unwrap_or_else(|| (shared.door.now)()),
        ip: Some(client_ip(&head.headers, peer, shared.options.trust_forwarded_for)),
        user_agent: head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()),
    };
    if let Some(rules) = settings.rules.get(&key.number) {
        let (gate, events) = (&shared.gate, envelope.events_count());
        gate.admit(key.number, rules, &head.headers, is_image, events, sender.received_at)?;
    }
    let encoding = Encoding { keys: &shared.door.keys, settings, fresh: &*shared.door.fresh };
    let encoded = encoding
        .encode(&envelope, &sender)
        .map_err(|error| Refusal::of_wire(&error, envelope.write_key().is_some()))?;
    drop(envelope);
    drop(plain);
    let (count, quarantined) = (encoded.count, encoded.quarantined);
    if encoded.off_plan > 0 {
        shared.counters.off_plan_events.fetch_add(u64::from(encoded.off_plan), Ordering::Relaxed);
    }
    if !encoded.set_aside.is_empty() {
        shared.counters.set_aside_events.fetch_add(encoded.set_aside.len() as u64, Ordering::Relaxed);
        shared.gate.remember(key.number, sender.received_at, encoded.set_aside);
    }
    if count == 0 {
        return Ok(Submitted::default());
    }
    reserved.grow_to(encoded.records.len())?;
    let done: Done = Box::new(move |verdict| {
        // The records are the sink's until now, whether or not the client still waits.
        drop(reserved);
        tell(verdict);
    });
    let followed = trace.map(|trace| {
        trace.parsed(count);
        trace.sink()
    });
    let sink = followed.as_ref().unwrap_or(&shared.door.sink);
    let submitted = match log_time {
        Some(log_time) => sink.submit_at(log_time, encoded.records, count, done),
        None => sink.submit(encoded.records, count, done),
    };
    submitted.map_err(|error| Refusal::of_sink(&error))?;
    Ok(Submitted { records: count, quarantined })
}

fn log_time(headers: &HeaderMap) -> Option<Timestamp> {
    headers.get(LOG_TIME)?.to_str().ok()?.parse().ok().map(Timestamp)
}

async fn nothing_here(shared: &Shared, request: Request<Incoming>) -> Response<Body> {
    let (head, mut incoming) = request.into_parts();
    drain_in_time(shared, &mut incoming).await;
    let refusal =
        Refusal::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here; events go to /v1/batch");
    shared.count_refusal(refusal.status, refusal.code());
    let mut response = refusal.response();
    cors::allow(&head.headers, &shared.door.settings.load().cors, &mut response);
    response
}

/// Reads and drops what is left of the body of a request that is refused, as long as a body may take.
async fn drain_in_time(shared: &Shared, incoming: &mut Incoming) {
    // A client that is too slow misses the answer, which would have told it nothing that it can use.
    let _ = timeout(shared.options.body_timeout, body::drain(incoming)).await;
}

/// gzip or nothing. Content-Type is never looked at: SDKs send text/plain and form types with JSON in them.
fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else {
        return Ok(false);
    };
    match encoding.as_bytes().trim_ascii() {
        encoding if encoding.eq_ignore_ascii_case(b"gzip") || encoding.eq_ignore_ascii_case(b"x-gzip") => {
            Ok(true)
        }
        encoding if encoding.is_empty() || encoding.eq_ignore_ascii_case(b"identity") => Ok(false),
        _ => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unknown_encoding",
            "this Content-Encoding is not understood; send plain JSON or gzip",
        )),
    }
}

/// Where a request came from: the last hop that our own proxy wrote down, or the connection's other end.
fn client_ip(headers: &HeaderMap, peer: SocketAddr, trust_forwarded_for: bool) -> IpAddr {
    let forwarded = headers.get_all(FORWARDED_FOR).iter().next_back().filter(|_| trust_forwarded_for);
    let last_hop = forwarded.and_then(|value| value.to_str().ok()).and_then(|value| value.rsplit(',').next());
    let ip = last_hop.and_then(|hop| hop.trim().parse().ok()).unwrap_or(peer.ip());
    ip.to_canonical()
}
