//! Following single requests from outside: the door says when a request passes from one stage to the next.
//!
//! The door only marks the moments; whoever follows reads a clock, and decides what becomes of it. Where nobody follows
//! anything, a request pays one branch.

use crate::sink::Sink;
use hyper::http::request::Parts;
use std::sync::Arc;

/// Chooses the requests that are followed.
pub trait Tracer: Send + Sync + 'static {
    /// Asked once for every POST with events, as soon as its head has been read. It must not block.
    fn begin(&self, head: &Parts) -> Option<Arc<dyn Trace>>;
}

/// A request that is followed. It is told of each stage at most once, in the order of the methods; a refused request
/// skips the stages that it never reaches, and one whose client goes away is dropped. Nothing here may block.
pub trait Trace: Send + Sync {
    /// The body is in memory, unpacked. `body_bytes` is its length as it was sent.
    fn received(&self, body_bytes: usize);

    /// The body has become so many records, which go to the sink next.
    fn parsed(&self, events: u32);

    /// Where its records go, in place of the door's own sink.
    fn sink(&self) -> Arc<dyn Sink>;

    /// The answer is ready to be written to the connection.
    fn answered(&self, status: u16);
}
