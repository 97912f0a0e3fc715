//! The server around the door: bare HTTP/1.1, because the two paths that SDKs use are most of the load.
//!
//! Each thread has its own runtime and its own listener on the shared port (`SO_REUSEPORT`), so a connection lives on
//! one core. Everything is bounded: connections, the time to send a head and a body, the bytes of one body and of
//! all, and the wait for the sink. Beyond a bound the answer is 429 or 503 with `Retry-After`, never silence.

mod body;
mod completion;
mod cors;
mod gate;
mod ingest;
mod pixel;
mod question;
mod reply;
mod route;
mod scripts;
mod server;
mod trace;

pub use cors::{allow, preflight};
pub use gate::KeptOut;
pub use reply::Body;
pub use scripts::{MAX_SCRIPT_BYTES, MAX_SCRIPTS, ScriptError, Scripts};
pub use server::{Counters, Door, DoorError, DoorOptions, OpenDoor, Spawn};
pub use trace::{Trace, Tracer};
