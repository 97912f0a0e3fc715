//! Reading bodies within bounds: of bytes, of time, and of memory for all requests together.

use crate::http::reply::Refusal;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much of a refused body is still read, so that the client sees the answer instead of a reset connection.
const DRAIN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many times its packed size a large body may unpack to. Batches of alike events come to some tens of times, what is
/// made to hurt comes to a thousand.
const PLAIN_TO_PACKED_MAX: usize = 200;
/// Bytes that any body may unpack to: too few to hurt.
const FREE_PLAIN_BYTES: usize = 512 * 1024;

/// Bytes of all requests that are being read or wait for the sink.
#[derive(Debug)]
pub(crate) struct Budget {
    used_bytes: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { used_bytes: AtomicUsize::new(0), bytes_max })
    }

    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }
}

/// A part of the budget, given back on drop.
pub(crate) struct Reserved {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reserved {
    pub(crate) fn none_of(budget: &Arc<Budget>) -> Self {
        Self { budget: budget.clone(), bytes: 0 }
    }

    /// Takes more; refused if there is not enough left.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(self.bytes);
        let before = self.budget.used_bytes.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.budget.bytes_max {
            self.budget.used_bytes.fetch_sub(more, Ordering::Relaxed);
            return Err(Refusal::later("busy", "too much is being read at once; send the request again", 1));
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Reads a body of at most `bytes_max`.
pub(crate) async fn read(
    body: &mut Incoming,
    bytes_max: usize,
    reserved: &mut Reserved,
) -> Result<Bytes, Refusal> {
    let declared = body.size_hint().lower();
    let declared = usize::try_from(declared).unwrap_or(usize::MAX);
    if declared > bytes_max {
        return Err(too_large());
    }
    reserved.grow_to(declared)?;
    let mut first = Bytes::new();
    let mut whole: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else {
            continue;
        };
        let read = first.len() + whole.len() + data.len();
        if read > bytes_max {
            return Err(too_large());
        }
        reserved.grow_to(read)?;
        // Most bodies come in one piece, which needs no copy.
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(declared.max(read));
            whole.extend_from_slice(&first);
            first = Bytes::new();
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { Bytes::from(whole) })
}

/// Reads and drops what is left of a refused body, up to a bound.
pub(crate) async fn drain(body: &mut Incoming) {
    let mut drained_bytes = 0;
    while drained_bytes < DRAIN_BYTES_MAX {
        match body.frame().await {
            Some(Ok(frame)) => drained_bytes += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return,
        }
    }
}

/// Unpacks a gzip body to at most `bytes_max`.
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "this is the bounded helper")]
pub(crate) fn gunzip(packed: &[u8], bytes_max: usize, reserved: &mut Reserved) -> Result<Bytes, Refusal> {
    const STEP_BYTES: usize = 64 * 1024;
    let mut decoder = flate2::bufread::MultiGzDecoder::new(packed);
    let mut plain = Vec::with_capacity(packed.len().saturating_mul(4).min(STEP_BYTES));
    loop {
        let read =
            decoder.by_ref().take(STEP_BYTES as u64).read_to_end(&mut plain).map_err(|_| not_gzip())?;
        if plain.len() > bytes_max {
            return Err(too_large());
        }
        if plain.len() > FREE_PLAIN_BYTES && plain.len() / PLAIN_TO_PACKED_MAX > packed.len() {
            return Err(too_tight());
        }
        reserved.grow_to(packed.len() + plain.len())?;
        if read == 0 {
            return Ok(Bytes::from(plain));
        }
    }
}

fn too_large() -> Refusal {
    let message = "the body is larger than this server reads; send smaller batches";
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
}

fn too_tight() -> Refusal {
    let message = "the body unpacks to far more than events do; send it plain";
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "gzip_ratio_too_high", message)
}

fn not_gzip() -> Refusal {
    let message = "Content-Encoding says gzip and the body is not; send plain JSON or gzip";
    Refusal::new(StatusCode::BAD_REQUEST, "bad_gzip", message)
}

fn broken_off() -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "body_broken_off", "the body ended early; send the request again")
}
