//! Frame format version 1: a clear header of 64 bytes, then the body. All integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `TLFR` |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | kind: 1 batch (the body is records), 2 block (the body is batches, see [`block`]) |
//! | 6 | 1 | flags: 1 control, 2 compressed, 4 sealed |
//! | 7 | 1 | 0 |
//! | 8 | 2 | shard |
//! | 10 | 2 | region |
//! | 12 | 4 | key id, 0 if not sealed |
//! | 16 | 8 | tag of the segment: random, so that what an earlier use of the file left behind is never taken for a frame |
//! | 24 | 8 | term |
//! | 32 | 8 | first position |
//! | 40 | 4 | count of records |
//! | 44 | 4 | records between the first of the append group and the first of this frame |
//! | 48 | 8 | log time, microseconds (of the first batch, for a block) |
//! | 56 | 4 | length of the body |
//! | 60 | 4 | CRC32C over bytes 0 to 59 and the body |
//!
//! A compressed body is the plain length (`u32`) and a zstd frame. A sealed body is a nonce of 12 bytes and the
//! AES-256-GCM-SIV ciphertext with its tag, and bytes 0 to 59 of the header are its associated data; what is both is
//! compressed first.

pub(crate) mod block;

use crate::Frame;
use crate::error::LogError;
use crate::keyring::Keyring;
use crate::options::FRAME_BODY_BYTES_MAX;
use env::Entropy;
use model::codec::{Decoder, Encoder};
use model::id::{Position, Term, Timestamp};
use model::seal::NONCE_BYTES;

pub(crate) const HEADER_BYTES: usize = 64;
/// Bytes of the header before the checksum: what the checksum and the cipher cover.
pub(crate) const COVERED_BYTES: usize = 60;
/// Where the segment's tag stands in the header.
pub(crate) const TAG_OFFSET: usize = 16;
/// What sealing adds to a body: the nonce and the cipher's tag.
pub(crate) const SEAL_BYTES: usize = NONCE_BYTES + 16;
/// The most that a body may take on the disk: a block's batches, their inner headers, and what sealing adds.
pub(crate) const STORED_BODY_BYTES_MAX: usize = 2 * FRAME_BODY_BYTES_MAX + (1 << 20);

const MAGIC: u32 = u32::from_le_bytes(*b"TLFR");
const VERSION: u8 = 1;
const FLAG_CONTROL: u8 = 1;
const FLAG_COMPRESSED: u8 = 2;
const FLAG_SEALED: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Batch,
    Block,
}

/// The clear header of a stored frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: FrameKind,
    pub(crate) control: bool,
    pub(crate) compressed: bool,
    /// The key that the body is sealed with.
    pub(crate) key: Option<u32>,
    pub(crate) shard: u16,
    pub(crate) region: u16,
    pub(crate) tag: u64,
    pub(crate) term: Term,
    pub(crate) first: Position,
    pub(crate) count: u32,
    pub(crate) group_offset: u32,
    pub(crate) received_at: Timestamp,
    pub(crate) body_bytes: u32,
}

impl Header {
    /// The position after the frame's last record.
    pub(crate) fn next(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }

    /// The position of the first record of the append group that this frame belongs to.
    pub(crate) fn group_first(&self) -> Position {
        Position(self.first.0.saturating_sub(u64::from(self.group_offset)))
    }

    pub(crate) fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.body_bytes)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut encoder = Encoder(out);
        encoder.u32(MAGIC);
        encoder.u8(VERSION);
        encoder.u8(if self.kind == FrameKind::Batch { 1 } else { 2 });
        let control = if self.control { FLAG_CONTROL } else { 0 };
        let compressed = if self.compressed { FLAG_COMPRESSED } else { 0 };
        let sealed = if self.key.is_some() { FLAG_SEALED } else { 0 };
        encoder.u8(control | compressed | sealed);
        encoder.u8(0);
        encoder.u16(self.shard);
        encoder.u16(self.region);
        encoder.u32(self.key.unwrap_or(0));
        encoder.u64(self.tag);
        encoder.u64(self.term.0);
        encoder.u64(self.first.0);
        encoder.u32(self.count);
        encoder.u32(self.group_offset);
        encoder.i64(self.received_at.0);
        encoder.u32(self.body_bytes);
    }

    /// Reads a header. `None` if this is not one of version 1.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes.get(..COVERED_BYTES)?);
        if decoder.u32().ok()? != MAGIC || decoder.u8().ok()? != VERSION {
            return None;
        }
        let kind = match decoder.u8().ok()? {
            1 => FrameKind::Batch,
            2 => FrameKind::Block,
            _ => return None,
        };
        let flags = decoder.u8().ok()?;
        if flags & !(FLAG_CONTROL | FLAG_COMPRESSED | FLAG_SEALED) != 0 || decoder.u8().ok()? != 0 {
            return None;
        }
        let (shard, region, key) = (decoder.u16().ok()?, decoder.u16().ok()?, decoder.u32().ok()?);
        let header = Self {
            kind,
            control: flags & FLAG_CONTROL != 0,
            compressed: flags & FLAG_COMPRESSED != 0,
            key: (flags & FLAG_SEALED != 0).then_some(key),
            shard,
            region,
            tag: decoder.u64().ok()?,
            term: Term(decoder.u64().ok()?),
            first: Position(decoder.u64().ok()?),
            count: decoder.u32().ok()?,
            group_offset: decoder.u32().ok()?,
            received_at: Timestamp(decoder.i64().ok()?),
            body_bytes: decoder.u32().ok()?,
        };
        let fits = header.body_bytes as usize <= STORED_BODY_BYTES_MAX && header.count > 0;
        fits.then_some(header)
    }
}

/// A whole frame as it stands in a file, its checksum verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) header: Header,
    covered: &'a [u8],
    body: &'a [u8],
}

/// Reads the frame at the front of `bytes`. `None` if there is no whole, undamaged frame.
pub(crate) fn read_stored(bytes: &[u8]) -> Option<Stored<'_>> {
    let header = Header::decode(bytes)?;
    let covered = bytes.get(..COVERED_BYTES)?;
    let check = u32::from_le_bytes(*bytes.get(COVERED_BYTES..)?.first_chunk::<4>()?);
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES + header.body_bytes as usize)?;
    (crc32c::crc32c_append(crc32c::crc32c(covered), body) == check).then_some(Stored {
        header,
        covered,
        body,
    })
}

/// Why a body that passed its checksum cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    KeyMissing(u32),
    Damaged(&'static str),
}

/// One append's records, borrowed from where they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    pub(crate) first: Position,
    pub(crate) count: u32,
    pub(crate) term: Term,
    pub(crate) received_at: Timestamp,
    pub(crate) control: bool,
    pub(crate) body: &'a [u8],
}

impl<'a> Batch<'a> {
    pub(crate) fn of(frame: &'a Frame) -> Self {
        let Frame { first, count, term, received_at, control, ref body } = *frame;
        Self { first, count, term, received_at, control, body }
    }

    pub(crate) fn to_frame(self) -> Frame {
        let Self { first, count, term, received_at, control, body } = self;
        Frame { first, count, term, received_at, control, body: body.to_vec() }
    }

    pub(crate) fn next(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }
}

/// Opens and decompresses stored bodies, and keeps what that needs from one to the next.
#[derive(Default)]
pub(crate) struct BodyReader {
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
    opened: Vec<u8>,
    plain: Vec<u8>,
}

impl BodyReader {
    /// The body as it was given to [`write_frame`], decompressed. A body that is neither sealed nor compressed is lent
    /// from where it stands.
    pub(crate) fn read<'a>(
        &'a mut self,
        stored: &Stored<'a>,
        keyring: Option<&Keyring>,
    ) -> Result<&'a [u8], BodyFault> {
        let body = match stored.header.key {
            None => stored.body,
            Some(number) => {
                self.opened = stored.opened(number, keyring)?;
                &self.opened
            }
        };
        if !stored.header.compressed {
            return Ok(body);
        }
        let (plain_bytes, compressed) =
            body.split_first_chunk::<4>().ok_or(BodyFault::Damaged("a compressed body is too short"))?;
        let plain_bytes = u32::from_le_bytes(*plain_bytes) as usize;
        if plain_bytes > STORED_BODY_BYTES_MAX {
            return Err(BodyFault::Damaged("a compressed body states a length beyond the limit"));
        }
        const WRONG: BodyFault =
            BodyFault::Damaged("a compressed body does not decompress to its stated length");
        if self.decompressor.is_none() {
            self.decompressor = zstd::bulk::Decompressor::new().ok();
        }
        self.plain.clear();
        // Never grows beyond what the largest body stated, which was checked above.
        self.plain.reserve(plain_bytes);
        let decompressor = self.decompressor.as_mut().ok_or(WRONG)?;
        match decompressor.decompress_to_buffer(compressed, &mut self.plain) {
            Ok(read) if read == plain_bytes => Ok(&self.plain),
            _ => Err(WRONG),
        }
    }
}

impl Stored<'_> {
    fn opened(&self, number: u32, keyring: Option<&Keyring>) -> Result<Vec<u8>, BodyFault> {
        let secret =
            keyring.and_then(|keyring| keyring.keys.get(&number)).ok_or(BodyFault::KeyMissing(number))?;
        let (nonce, sealed) = self
            .body
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(BodyFault::Damaged("a sealed body is too short"))?;
        model::seal::open(secret, *nonce, self.covered, sealed)
            .map_err(|_| BodyFault::Damaged("a sealed body does not open with its key"))
    }
}

/// Appends a frame to `out`. The header given says everything except the key and the length, which follow from the
/// rest; the one returned is complete.
pub(crate) fn write_frame(
    out: &mut Vec<u8>,
    mut header: Header,
    body: &[u8],
    keyring: Option<&Keyring>,
    entropy: &dyn Entropy,
) -> Result<Header, LogError> {
    let start = out.len();
    let stored_bytes = body.len() + if keyring.is_some() { SEAL_BYTES } else { 0 };
    header.body_bytes = u32::try_from(stored_bytes).map_err(|_| LogError::Seal)?;
    header.key = keyring.map(|keyring| keyring.active);
    header.encode(out);
    out.extend_from_slice(&[0; HEADER_BYTES - COVERED_BYTES]);
    match keyring {
        None => out.extend_from_slice(body),
        Some(keyring) => {
            let secret = keyring.keys.get(&keyring.active).ok_or(LogError::Seal)?;
            let mut nonce = [0; NONCE_BYTES];
            entropy
                .fill(&mut nonce)
                .map_err(|error| LogError::io("draw a nonce for", "the log".as_ref(), error))?;
            let covered = out.get(start..start + COVERED_BYTES).unwrap_or_default();
            let sealed = model::seal::seal(secret, nonce, covered, body).map_err(|_| LogError::Seal)?;
            out.extend_from_slice(&nonce);
            out.extend_from_slice(&sealed);
        }
    }
    let covered = out.get(start..start + COVERED_BYTES).unwrap_or_default();
    let stored = out.get(start + HEADER_BYTES..).unwrap_or_default();
    let check = crc32c::crc32c_append(crc32c::crc32c(covered), stored);
    if let Some(place) = out.get_mut(start + COVERED_BYTES..start + HEADER_BYTES) {
        place.copy_from_slice(&check.to_le_bytes());
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use env::seeded::World;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn header() -> Header {
        Header {
            kind: FrameKind::Batch,
            control: true,
            compressed: false,
            key: None,
            shard: 3,
            region: 4,
            tag: 0x0102_0304_0506_0708,
            term: Term(9),
            first: Position(70),
            count: 5,
            group_offset: 20,
            received_at: Timestamp(1_700_000_000_000_000),
            body_bytes: 0,
        }
    }

    fn keyring() -> Keyring {
        Keyring { active: 6, keys: BTreeMap::from([(6, [1; 32])]) }
    }

    /// The layout is a promise to every file ever written: it is spelled out here by hand, not taken from the code.
    #[test]
    fn the_layout_is_the_documented_one() {
        let mut out = Vec::new();
        write_frame(&mut out, header(), b"abc", None, World::new(1, 0).env().entropy.as_ref()).unwrap();
        let mut expected = Vec::new();
        expected.extend_from_slice(b"TLFR\x01\x01\x01\x00");
        expected.extend_from_slice(&[3, 0, 4, 0, 0, 0, 0, 0]);
        expected.extend_from_slice(&[8, 7, 6, 5, 4, 3, 2, 1]);
        expected.extend_from_slice(&9_u64.to_le_bytes());
        expected.extend_from_slice(&70_u64.to_le_bytes());
        expected.extend_from_slice(&[5, 0, 0, 0, 20, 0, 0, 0]);
        expected.extend_from_slice(&1_700_000_000_000_000_i64.to_le_bytes());
        expected.extend_from_slice(&[3, 0, 0, 0]);
        let check = crc32c::crc32c(&[expected.as_slice(), b"abc"].concat());
        expected.extend_from_slice(&check.to_le_bytes());
        expected.extend_from_slice(b"abc");
        assert_eq!(out, expected);
    }

    proptest! {
        #[test]
        fn a_frame_reads_back_and_any_changed_bit_is_noticed(
            body in prop::collection::vec(any::<u8>(), 0..300),
            sealed: bool,
            at: prop::sample::Index,
            bit in 0_u8..8,
        ) {
            let keyring = sealed.then(keyring);
            let env = World::new(2, 0).env();
            let mut out = Vec::new();
            write_frame(&mut out, header(), &body, keyring.as_ref(), env.entropy.as_ref()).unwrap();
            let stored = read_stored(&out).unwrap();
            prop_assert_eq!(stored.header.key, keyring.as_ref().map(|keyring| keyring.active));
            let mut bodies = BodyReader::default();
            prop_assert_eq!(bodies.read(&stored, keyring.as_ref()).unwrap(), body.as_slice());
            if sealed {
                prop_assert_eq!(bodies.read(&stored, None), Err(BodyFault::KeyMissing(6)));
            }
            let at = at.index(out.len());
            out[at] ^= 1 << bit;
            prop_assert!(read_stored(&out).is_none());
        }

        #[test]
        fn nonsense_is_never_a_frame(bytes: Vec<u8>) {
            prop_assert!(read_stored(&bytes).is_none());
        }
    }
}
