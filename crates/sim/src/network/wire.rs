//! One connection, as bytes.

use super::Network;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is between a client and a receiver.
pub(super) struct Wire {
    pub(super) lane: usize,
    /// Bytes of the client that are no whole request yet.
    inbound: Vec<u8>,
    /// Bytes for the client.
    outbound: VecDeque<u8>,
    closed: bool,
    broken: bool,
    reader: Option<Waker>,
    /// The message that was received last on it.
    pub(super) waiting: Option<usize>,
}

/// A whole request.
pub(super) struct Request {
    pub(super) id: String,
    pub(super) body: Vec<u8>,
}

impl Wire {
    pub(super) fn new(lane: usize) -> Self {
        Self {
            lane,
            inbound: Vec::new(),
            outbound: VecDeque::new(),
            closed: false,
            broken: false,
            reader: None,
            waiting: None,
        }
    }

    /// Bytes reach the client. `false` if the connection is over.
    pub(super) fn push(&mut self, bytes: &[u8]) -> bool {
        let is_open = !self.closed && !self.broken;
        if is_open {
            self.outbound.extend(bytes);
            self.wake();
        }
        is_open
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.wake();
    }

    pub(super) fn reset(&mut self) {
        self.broken = true;
        self.wake();
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    /// The next request, if all of it has come. Whatever is no request is read over.
    pub(super) fn take_request(&mut self) -> Option<Request> {
        let end = self.inbound.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(self.inbound.get(..end)?).into_owned();
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_usize);
        let body = self.inbound.get(end + 4..end + 4 + length)?.to_vec();
        self.inbound.drain(..end + 4 + length);
        Some(Request { id: header("webhook-id").unwrap_or_default(), body })
    }
}

/// The client's end of a wire. Dropping it hangs up.
pub(super) struct WireStream {
    pub(super) network: Network,
    pub(super) number: u64,
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke")
}

impl AsyncRead for WireStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.network.lock();
        let Some(wire) = state.wires.get_mut(&self.number) else { return Poll::Ready(Err(broken())) };
        if !wire.outbound.is_empty() {
            let count = wire.outbound.len().min(buffer.remaining());
            let bytes: Vec<u8> = wire.outbound.drain(..count).collect();
            buffer.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        if wire.broken {
            return Poll::Ready(Err(broken()));
        }
        if wire.closed {
            return Poll::Ready(Ok(()));
        }
        wire.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(self: Pin<&mut Self>, _context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.network.lock();
        match state.wires.get_mut(&self.number) {
            Some(wire) if !wire.broken && !wire.closed => wire.inbound.extend_from_slice(bytes),
            _ => return Poll::Ready(Err(broken())),
        }
        state.written(self.number);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.lock().wires.remove(&self.number);
        Poll::Ready(Ok(()))
    }
}

impl Drop for WireStream {
    fn drop(&mut self) {
        self.network.lock().wires.remove(&self.number);
    }
}
