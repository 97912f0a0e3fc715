//! Listeners, threads and connections.

use super::{ShopCounters, ShopDoor, ShopDoorError, ShopDoorOptions, Spawn, answer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Connections that the kernel holds for each thread until it accepts them.
const LISTEN_BACKLOG: i32 = 1_024;
/// Bytes of a request's head, and of its body read in one go.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// The pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What a connection beyond the limit is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
Content-Type: application/json\r\nContent-Length: 50\r\n\r\n\
{\"errors\":[{\"message\":\"too many connections now\"}]}";

/// A listener that is open. Dropping it leaves it open for as long as the process runs.
pub struct OpenShopDoor {
    address: SocketAddr,
    shared: Arc<Shared>,
    closing: watch::Sender<bool>,
}

/// What all threads of a listener share.
pub(super) struct Shared {
    pub(super) door: ShopDoor,
    pub(super) options: ShopDoorOptions,
    pub(super) counters: ShopCounters,
}

impl ShopDoor {
    /// Opens the listener. Its threads are started through `spawn` and end after [`OpenShopDoor::close`].
    pub fn open(self, options: ShopDoorOptions, spawn: Spawn<'_>) -> Result<OpenShopDoor, ShopDoorError> {
        let (closing, closed) = watch::channel(false);
        let mut address = options.listen;
        let threads = options.threads.max(1);
        let shared = Arc::new(Shared { door: self, options, counters: ShopCounters::default() });
        for number in 0..threads {
            let listener = listen(address).map_err(|cause| ShopDoorError::Listen { address, cause })?;
            address = listener.local_addr().map_err(|cause| ShopDoorError::Listen { address, cause })?;
            let (shared, closed) = (Arc::clone(&shared), closed.clone());
            let body = Box::new(move || run_thread(listener, &shared, closed));
            spawn(&format!("shop-door-{number}"), body).map_err(ShopDoorError::Thread)?;
        }
        Ok(OpenShopDoor { address, shared, closing })
    }
}

impl OpenShopDoor {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come through.
    pub fn counters(&self) -> &ShopCounters {
        &self.shared.counters
    }

    /// Stops accepting, lets open requests finish within their time, then ends the threads.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// One of the connections that count against the limit.
struct Admitted(Arc<Shared>);

impl Admitted {
    fn new(shared: &Arc<Shared>) -> Option<Self> {
        let admitted = Self(Arc::clone(shared));
        let before = shared.counters.open_connections.fetch_add(1, Ordering::Relaxed);
        (before < shared.options.connections_max).then_some(admitted)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.counters.open_connections.fetch_sub(1, Ordering::Relaxed);
    }
}

fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

fn run_thread(listener: std::net::TcpListener, shared: &Arc<Shared>, closed: watch::Receiver<bool>) {
    // Without a runtime this listener never answers; the kernel then gives its connections a reset when it is dropped.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build() else {
        return;
    };
    runtime.block_on(async {
        if let Ok(listener) = TcpListener::from_std(listener) {
            accept(listener, shared, closed).await;
        }
    });
}

async fn accept(listener: TcpListener, shared: &Arc<Shared>, mut closed: watch::Receiver<bool>) {
    let (still_open, mut all_ended) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => break,
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        match Admitted::new(shared) {
            Some(admitted) => {
                let (closed, still_open) = (closed.clone(), still_open.clone());
                tokio::spawn(async move {
                    serve(stream, peer, &admitted.0, closed).await;
                    drop(still_open);
                });
            }
            None => {
                shared.counters.refused_connections.fetch_add(1, Ordering::Relaxed);
                // Without waiting: a client that does not read gets nothing.
                let _ = stream.try_write(FULL);
            }
        }
    }
    drop(listener);
    drop(still_open);
    let _ = tokio::time::timeout(shared.options.close_timeout, all_ended.recv()).await;
}

async fn serve(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, mut closed: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let shared = Arc::clone(shared);
        async move { Ok::<_, Infallible>(answer::answer(&shared, request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.options.head_timeout)
        .keep_alive(true)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // A connection that breaks is the client's affair: it sends again.
        _ = connection.as_mut() => return,
        _ = closed.wait_for(|closed| *closed) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
