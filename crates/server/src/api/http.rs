//! The HTTP/1.1 server of a private listener. Connections, heads, bodies and answers are bounded in number, bytes and
//! time. There is no CORS: no web page has business here.

use super::Context;
use super::auth::authorize;
use super::content::Content;
use super::places::{Places, Seat};
use super::problem::{Code, Problem};
use super::route::{Access, Call, Listener, Reply, Route, Verb, find};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{IpAddr, TcpListener as StdListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long a new connection may take for the head of its first request.
const FIRST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take for the head of its next request, idle time included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long open requests may take once the listener closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What every request is held against.
pub(crate) struct Rules {
    pub(crate) listener: Listener,
    pub(crate) routes: Arc<Vec<Route>>,
    pub(crate) body_bytes_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) request_timeout: Duration,
    /// Host names beside loopback and the own address, in lower case.
    pub(crate) hosts: Vec<String>,
}

/// A listener that is open.
pub(crate) struct Listening {
    closing: watch::Sender<bool>,
    thread: std::thread::JoinHandle<()>,
}

impl Listening {
    /// Stops accepting, lets open requests finish within their time, and waits for the end.
    pub(crate) fn close(self) {
        self.closing.send_replace(true);
        if self.thread.join().is_err() {
            tracing::error!("a listener's thread panicked");
        }
    }
}

/// Starts answering on a bound socket, on a thread of its own.
pub(crate) fn listen(context: Arc<Context>, rules: Rules, socket: StdListener) -> std::io::Result<Listening> {
    let own = socket.local_addr()?.ip();
    socket.set_nonblocking(true)?;
    let (closing, closed) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        TcpListener::from_std(socket)?
    };
    let shared = Arc::new(Shared { context, rules, own });
    let name = format!("{:?}", shared.rules.listener).to_ascii_lowercase();
    let thread = std::thread::Builder::new()
        .name(name)
        .spawn(move || runtime.block_on(accept(listener, shared, closed)))?;
    Ok(Listening { closing, thread })
}

struct Shared {
    context: Arc<Context>,
    rules: Rules,
    own: IpAddr,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut closed: watch::Receiver<bool>) {
    let places = Places::new(shared.rules.connections_max);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // Where every connection is busy the new one is closed at once: waiting ones would only pile up.
        if let Some(seat) = places.take() {
            connections.spawn(serve(stream, Arc::clone(&shared), Arc::new(seat), closed.clone()));
        }
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, finished).await;
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, seat: Arc<Seat>, mut closed: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let (shared, seat) = (Arc::clone(&shared), Arc::clone(&seat));
        async move {
            let answering = seat.answering();
            let response = respond(&shared, request).await;
            Ok::<_, Infallible>(response.map(|content| content.while_sent(answering)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = seat.evicted() => return,
        () = silence(&seat) => return,
        _ = closed.wait_for(|closed| *closed) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Ends when a connection has said nothing whole in its first time.
async fn silence(seat: &Seat) {
    tokio::time::sleep(FIRST_HEAD_TIMEOUT).await;
    if seat.was_heard() {
        std::future::pending::<()>().await;
    }
}

async fn respond(shared: &Shared, request: Request<Incoming>) -> Response<Content> {
    let limit = shared.rules.request_timeout;
    let outcome = match tokio::time::timeout(limit, answer(shared, request)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Problem::new(
            Code::RequestTimeout,
            format!("the request took longer than {} ms; send it again", limit.as_millis()),
        )),
    };
    match outcome {
        Ok(reply) => {
            let content = match reply.stream {
                Some(stream) => Content::of_stream(stream),
                None => Content::of_bytes(reply.body),
            };
            let mut response = response(reply.status, reply.content_type, content);
            for (name, value) in reply.headers {
                response.headers_mut().insert(name, value);
            }
            response
        }
        Err(problem) => refusal(&problem),
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Reply, Problem> {
    let (head, body) = request.into_parts();
    check_one_host(&head)?;
    let (route, captures) =
        find(&shared.rules.routes, shared.rules.listener, head.method.as_str(), head.uri.path())?;
    if route.access != Access::Probe {
        check_host(shared, &head)?;
    }
    let settings = shared.context.engine.view().settings();
    let caller = authorize(route.access, &head.headers, &settings)?;
    let body = if matches!(route.verb, Verb::Post | Verb::Put) {
        read(shared, route, &head, body).await?
    } else {
        Bytes::new()
    };
    let query = head.uri.query().unwrap_or_default().to_owned();
    let call = Call { caller, captures, query, headers: head.headers, body };
    (route.handle)(Arc::clone(&shared.context), call).await
}

/// Two names for one host, and a proxy before us may have looked at the other one.
fn check_one_host(head: &Parts) -> Result<(), Problem> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::as_bytes).unwrap_or_default();
    let other =
        |authority: &hyper::http::uri::Authority| !authority.as_str().as_bytes().eq_ignore_ascii_case(host);
    if hosts.next().is_some() || head.uri.authority().is_some_and(other) {
        let message =
            "the request names more than one host; send one Host header, and a path in the request line";
        return Err(Problem::new(Code::BadRequest, message));
    }
    Ok(())
}

/// A web page can make a browser on this machine send requests to any address, but not under any Host name: one that
/// points a name of its own to 127.0.0.1 still sends that name.
fn check_host(shared: &Shared, head: &Parts) -> Result<(), Problem> {
    let host = head.headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let address: Option<IpAddr> = name.parse().ok();
    let ours = address.is_some_and(|address| address.is_loopback() || address == shared.own)
        || name == "localhost"
        || shared.rules.hosts.contains(&name);
    if ours {
        return Ok(());
    }
    let message =
        "the Host header names a host that this listener does not answer for; add it to `listen.hosts`";
    Err(Problem::new(Code::BadHost, message))
}

async fn read(shared: &Shared, route: &Route, head: &Parts, mut body: Incoming) -> Result<Bytes, Problem> {
    let bytes_max = shared.rules.body_bytes_max;
    let too_large = || {
        Problem::new(
            Code::BodyTooLarge,
            format!("the body has more than {bytes_max} bytes; send a smaller one"),
        )
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| Problem::new(Code::BadRequest, "the body ended early; send the request again"))?;
        if let Ok(data) = frame.into_data() {
            if whole.len() + data.len() > bytes_max {
                return Err(too_large());
            }
            whole.extend_from_slice(&data);
        }
    }
    if route.body.is_some() {
        let sent = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = sent.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let message = "send JSON with `Content-Type: application/json`";
            return Err(Problem::new(Code::UnsupportedMediaType, message));
        }
    }
    Ok(Bytes::from(whole))
}

fn refusal(problem: &Problem) -> Response<Content> {
    let body = Content::of_bytes(Bytes::from(problem.body().to_string()));
    let mut response = response(problem.code.status(), "application/json", body);
    if let Some(seconds) = problem.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.code == Code::Unauthorized {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn response(status: u16, content_type: &'static str, body: Content) -> Response<Content> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    response
}
