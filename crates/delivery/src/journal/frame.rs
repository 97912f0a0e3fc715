//! Frames of the journal: found, checked, sealed and opened.

use super::JournalKeys;
use crate::error::JournalError;
use env::Entropy;
use model::codec::{Decoder, Encoder};
use model::seal::{self, NONCE_BYTES};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

/// The beginning of the file: a name, and format version 1.
pub(super) const MAGIC: &[u8; 8] = b"TLDLVR\x00\x01";
/// The beginning of every frame, to find frames behind damage.
const FRAME_MAGIC: &[u8; 4] = b"\xD1TLf";
/// Magic, checksum, length, key, durable length, nonce.
const HEADER_BYTES: usize = 4 + 4 + 4 + 4 + 8 + NONCE_BYTES;
/// The longest payload: a goal's worth and one dead letter.
const PAYLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Every frame that counts.
pub(super) struct FileScan<'a> {
    pub(super) frames: Vec<Frame<'a>>,
}

/// A frame whose checksum holds.
pub(super) struct Frame<'a> {
    key: u32,
    nonce: [u8; NONCE_BYTES],
    /// How much of the file was durable when this frame was written.
    durable_len: u64,
    payload: &'a [u8],
    end: usize,
}

/// Reads frames up to the end or to the torn rest of what was never synced. That rest may hold a hole, since disks
/// reorder; but a frame behind the hole that was written when the place of the hole was durable proves damage.
pub(super) fn scan<'a>(path: &Path, bytes: &'a [u8]) -> Result<FileScan<'a>, JournalError> {
    let corrupt = |offset: usize, what: &str| JournalError::Corrupt {
        path: path.to_owned(),
        offset: offset as u64,
        what: what.to_owned(),
    };
    // The file is renamed into place only after it was synced, so its beginning is there or the disk is damaged.
    if bytes.get(..MAGIC.len()) != Some(&MAGIC[..]) {
        return Err(corrupt(0, "it does not begin as a delivery journal of version 1 does"));
    }
    let mut frames = Vec::new();
    let mut at = MAGIC.len();
    while at < bytes.len() {
        let Some(frame) = frame_at(bytes, at) else { break };
        at = frame.end;
        frames.push(frame);
    }
    let hole = at;
    while at < bytes.len() {
        if let Some(frame) = frame_at(bytes, at)
            && frame.durable_len > hole as u64
        {
            return Err(corrupt(hole, "a frame that was durable is unreadable"));
        }
        at += 1;
    }
    Ok(FileScan { frames })
}

fn frame_at(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let rest = bytes.get(at..)?;
    let mut decoder = Decoder::new(rest);
    if decoder.take(FRAME_MAGIC.len()).ok()? != FRAME_MAGIC {
        return None;
    }
    let checksum = decoder.u32().ok()?;
    let checked = decoder.rest();
    let len = decoder.u32().ok()? as usize;
    let key = decoder.u32().ok()?;
    let durable_len = decoder.u64().ok()?;
    let (nonce, _) = decoder.take(NONCE_BYTES).ok()?.split_first_chunk::<NONCE_BYTES>()?;
    if len > PAYLOAD_BYTES_MAX {
        return None;
    }
    let payload = decoder.take(len).ok()?;
    let covered = checked.get(..HEADER_BYTES - 8 + len)?;
    let holds = crc32c::crc32c(covered) == checksum;
    holds.then_some(Frame { key, nonce: *nonce, durable_len, payload, end: at + HEADER_BYTES + len })
}

/// Seals payloads where there are keys.
pub(super) struct Sealer {
    keys: Option<JournalKeys>,
    entropy: Arc<dyn Entropy>,
}

impl Sealer {
    pub(super) fn new(keys: Option<JournalKeys>, entropy: Arc<dyn Entropy>) -> Self {
        Self { keys, entropy }
    }

    pub(super) fn frame(&self, payload: &[u8], durable_len: u64) -> Result<Vec<u8>, JournalError> {
        let mut nonce = [0; NONCE_BYTES];
        let (key, payload) = match &self.keys {
            None => (0, Cow::Borrowed(payload)),
            Some(keys) => {
                self.entropy.fill(&mut nonce).map_err(|error| JournalError::Seal(error.to_string()))?;
                let secret = keys.keys.get(&keys.active);
                let secret =
                    secret.ok_or_else(|| JournalError::Seal(format!("there is no key {}", keys.active)))?;
                let sealed = seal::seal(secret, nonce, &keys.active.to_le_bytes(), payload);
                (keys.active, Cow::Owned(sealed.map_err(|error| JournalError::Seal(error.to_string()))?))
            }
        };
        let length = u32::try_from(payload.len()).map_err(|error| JournalError::Seal(error.to_string()))?;
        let mut covered = Vec::with_capacity(HEADER_BYTES + payload.len());
        let mut to = Encoder(&mut covered);
        to.u32(length);
        to.u32(key);
        to.u64(durable_len);
        covered.extend_from_slice(&nonce);
        covered.extend_from_slice(&payload);
        let mut out = Vec::with_capacity(8 + covered.len());
        out.extend_from_slice(FRAME_MAGIC);
        Encoder(&mut out).u32(crc32c::crc32c(&covered));
        out.extend_from_slice(&covered);
        Ok(out)
    }

    pub(super) fn open<'a>(&self, path: &Path, frame: &Frame<'a>) -> Result<Cow<'a, [u8]>, JournalError> {
        if frame.key == 0 {
            return Ok(Cow::Borrowed(frame.payload));
        }
        let secret = self.keys.as_ref().and_then(|keys| keys.keys.get(&frame.key));
        let secret =
            secret.ok_or_else(|| JournalError::KeyMissing { path: path.to_owned(), key: frame.key })?;
        let opened = seal::open(secret, frame.nonce, &frame.key.to_le_bytes(), frame.payload);
        opened.map(Cow::Owned).map_err(|_| JournalError::Corrupt {
            path: path.to_owned(),
            offset: (frame.end - frame.payload.len()) as u64,
            what: "the key does not open it, although the checksum holds".to_owned(),
        })
    }
}
