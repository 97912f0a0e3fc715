//! The body of an answer: bytes that are there, or pieces that come as they are made.

use super::places::Answered;
use super::route::Stream;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// See the module.
pub(super) struct Content {
    bytes: Option<Bytes>,
    stream: Option<Stream>,
    /// The connection is busy as long as its answer is being sent.
    _answering: Option<Answered>,
}

impl Content {
    pub(super) fn of_bytes(bytes: Bytes) -> Self {
        Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), stream: None, _answering: None }
    }

    pub(super) fn of_stream(stream: Stream) -> Self {
        Self { bytes: None, stream: Some(stream), _answering: None }
    }

    pub(super) fn while_sent(self, answering: Answered) -> Self {
        Self { _answering: Some(answering), ..self }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(stream) = &mut self.stream {
            return stream.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))));
        }
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_none() && self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.stream, &self.bytes) {
            (Some(_), _) => SizeHint::default(),
            (None, bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}
