//! Frames of a shadow's file: what a person's rows became, sealed where there are keys.
//!
//! A frame: magic (4 bytes); the first 8 bytes of the SHA-256 of all that follows; length of the payload (4, all numbers
//! little-endian); the number of the key that seals it, 0 for none (4); how much of the file was durable when it was
//! written (8); the nonce (12); the payload. The payload: format version (1 byte, 2), length of the list's name (2), the
//! name, the person (16), the position of what was last said of them (8), the number of rows (2); for each row its state
//! (1: known, 2: adding, 3: removing), its length (2) and the row.

use super::error::ShadowError;
use super::{Row, State};
use delivery::JournalKeys;
use delivery::env::{Entropy, Env};
use model::id::{Key, Position};
use model::seal::{self, NONCE_BYTES};
use ring::digest;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

/// The beginning of the file: a name, and format version 2.
pub(super) const MAGIC: &[u8; 8] = b"TLSHDW\x00\x02";
/// The beginning of every frame, to find frames behind damage.
pub(super) const FRAME_MAGIC: &[u8; 4] = b"\xD1TLs";
/// Of the payload.
const VERSION: u8 = 2;
/// Magic, checksum, length, key, durable length, nonce.
pub(super) const HEAD_BYTES: usize = 4 + 8 + 4 + 4 + 8 + NONCE_BYTES;
/// What the checksum does not cover.
const UNCOVERED_BYTES: usize = 4 + 8;
/// Longer than any frame that is written: 64 rows of 4 KiB, the names, and the seal.
const PAYLOAD_BYTES_MAX: usize = 512 * 1024;

/// What a person's rows became.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) list: String,
    pub(super) person: Key,
    /// Of what was last said of the person: tells them from somebody who comes anew after an erasure.
    pub(super) position: Position,
    pub(super) rows: Vec<(State, Row)>,
}

impl std::fmt::Debug for Frame {
    /// Without rows: they are hashes of personal data.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Frame").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

/// Where a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// Head and payload.
    pub(super) len: u32,
}

/// The head of a frame.
pub(super) struct Head {
    sum: [u8; 8],
    covered: [u8; HEAD_BYTES - UNCOVERED_BYTES],
    key: u32,
    nonce: [u8; NONCE_BYTES],
    pub(super) payload_len: usize,
    pub(super) durable_len: u64,
}

impl Head {
    /// Reads a head; none where no frame begins.
    pub(super) fn read(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        let rest = &mut rest;
        if take(rest, 4)? != FRAME_MAGIC {
            return None;
        }
        let sum = take(rest, 8)?.try_into().ok()?;
        let covered = (*rest).try_into().ok()?;
        let payload_len = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?) as usize;
        let key = u32::from_le_bytes(take(rest, 4)?.try_into().ok()?);
        let durable_len = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
        let nonce = take(rest, NONCE_BYTES)?.try_into().ok()?;
        let fits = payload_len <= PAYLOAD_BYTES_MAX;
        fits.then_some(Self { sum, covered, key, nonce, payload_len, durable_len })
    }

    /// Whether the checksum holds.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        checksum(&self.covered, payload) == self.sum
    }
}

/// Seals frames where there are keys, and opens them.
pub(super) struct Sealer {
    keys: Option<JournalKeys>,
    entropy: Arc<dyn Entropy>,
}

impl Sealer {
    pub(super) fn new(env: &Env, keys: Option<JournalKeys>) -> Self {
        Self { keys, entropy: Arc::clone(&env.entropy) }
    }

    /// Appends a frame to bytes.
    pub(super) fn put(&self, frame: &Frame, durable_len: u64, out: &mut Vec<u8>) -> Result<(), ShadowError> {
        let payload = frame.encode();
        let failed = |error: &dyn std::fmt::Display| ShadowError::Seal(error.to_string());
        let mut nonce = [0; NONCE_BYTES];
        let (key, payload) = match &self.keys {
            None => (0, payload),
            Some(keys) => {
                self.entropy.fill(&mut nonce).map_err(|error| failed(&error))?;
                let secret =
                    keys.keys.get(&keys.active).ok_or_else(|| failed(&"the active key is missing"))?;
                let sealed = seal::seal(secret, nonce, &keys.active.to_le_bytes(), &payload);
                (keys.active, sealed.map_err(|error| failed(&error))?)
            }
        };
        let mut covered = Vec::with_capacity(HEAD_BYTES);
        covered.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        covered.extend_from_slice(&key.to_le_bytes());
        covered.extend_from_slice(&durable_len.to_le_bytes());
        covered.extend_from_slice(&nonce);
        out.extend_from_slice(FRAME_MAGIC);
        out.extend_from_slice(&checksum(&covered, &payload));
        out.extend_from_slice(&covered);
        out.extend_from_slice(&payload);
        Ok(())
    }

    /// Opens a frame whose checksum holds.
    pub(super) fn open(
        &self,
        path: &Path,
        offset: u64,
        head: &Head,
        payload: &[u8],
    ) -> Result<Frame, ShadowError> {
        let damaged = || ShadowError::Damaged { path: path.to_owned(), offset };
        let opened = match head.key {
            0 => Cow::Borrowed(payload),
            key => {
                let secret = self.keys.as_ref().and_then(|keys| keys.keys.get(&key));
                let secret = secret.ok_or_else(|| ShadowError::KeyMissing { path: path.to_owned(), key })?;
                let opened = seal::open(secret, head.nonce, &key.to_le_bytes(), payload);
                Cow::Owned(opened.map_err(|_| damaged())?)
            }
        };
        Frame::decode(&opened).ok_or_else(damaged)
    }
}

impl Frame {
    /// Of somebody of whom nothing is known.
    pub(super) fn empty(list: &str, person: Key) -> Self {
        Self { list: list.to_owned(), person, position: Position(0), rows: Vec::new() }
    }

    /// Nothing of what was acknowledged is believed.
    pub(super) fn doubt(&mut self) {
        for (state, _) in self.rows.iter_mut().filter(|(state, _)| *state == State::Known) {
            *state = State::Adding;
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut payload = vec![VERSION];
        put_text(&mut payload, self.list.as_bytes());
        payload.extend_from_slice(&self.person.0.to_le_bytes());
        payload.extend_from_slice(&self.position.0.to_le_bytes());
        payload.extend_from_slice(&u16::try_from(self.rows.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (state, row) in &self.rows {
            payload.push(match state {
                State::Known => 1,
                State::Adding => 2,
                State::Removing => 3,
            });
            put_text(&mut payload, row);
        }
        payload
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take(rest, 1)? != [VERSION] {
            return None;
        }
        let list = String::from_utf8(take_text(rest)?.to_vec()).ok()?;
        let person = Key(u128::from_le_bytes(take(rest, 16)?.try_into().ok()?));
        let position = Position(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?));
        let count = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
        let mut rows = Vec::new();
        for _ in 0..count {
            let state = match take(rest, 1)? {
                [1] => State::Known,
                [2] => State::Adding,
                [3] => State::Removing,
                _ => return None,
            };
            rows.push((state, Row::from(take_text(rest)?)));
        }
        rest.is_empty().then_some(Self { list, person, position, rows })
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(text);
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
    take(rest, usize::from(count))
}

fn checksum(covered: &[u8], payload: &[u8]) -> [u8; 8] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(covered);
    context.update(payload);
    let mut first = [0; 8];
    for (slot, byte) in first.iter_mut().zip(context.finish().as_ref()) {
        *slot = *byte;
    }
    first
}
