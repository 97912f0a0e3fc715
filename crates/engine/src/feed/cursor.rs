//! Cursors: where a follower stands, as a text that it keeps and gives back.
//!
//! `cur_` and 50 hexadecimal digits: version (1 byte), the feed's identity (8), position (8), ordinal (4), CRC32C over
//! these (4), integers little-endian. Opaque to followers, not secret, safe in a URL. The check finds mutilation, not
//! malice: a cursor can only say where to read on, and what may be read is decided by the token.

use super::{FeedError, Place};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::Position;
use std::fmt::Write as _;

const VERSION: u8 = 1;
const PREFIX: &str = "cur_";
const BYTES: usize = 25;

/// A place in the feed of one data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose feed.
    pub identity: u64,
    /// What is read next.
    pub next: Place,
}

impl Cursor {
    /// The text of it.
    pub fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        let mut encoder = Encoder(&mut bytes);
        encoder.u8(VERSION);
        encoder.u64(self.identity);
        encoder.u64(self.next.position.0);
        encoder.u32(self.next.ordinal);
        let check = crc32c::crc32c(&bytes);
        Encoder(&mut bytes).u32(check);
        let mut text = String::with_capacity(PREFIX.len() + 2 * BYTES);
        text.push_str(PREFIX);
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Reads the text of a cursor. [`FeedError::BadCursor`] if it is none, or was mutilated.
    pub fn parse(text: &str) -> Result<Self, FeedError> {
        Self::read(text).ok_or(FeedError::BadCursor)
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        if digits.len() != 2 * BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = Vec::with_capacity(BYTES);
        for pair in 0..BYTES {
            bytes.push(u8::from_str_radix(digits.get(2 * pair..2 * pair + 2)?, 16).ok()?);
        }
        let (content, _) = bytes.split_at_checked(BYTES - 4)?;
        let decoded = (|| -> Result<_, DecodeError> {
            let mut decoder = Decoder::new(&bytes);
            let version = decoder.u8()?;
            let identity = decoder.u64()?;
            let next = Place { position: Position(decoder.u64()?), ordinal: decoder.u32()? };
            let check = decoder.u32()?;
            Ok((version, Self { identity, next }, check))
        })();
        let (version, cursor, check) = decoded.ok()?;
        (version == VERSION && check == crc32c::crc32c(content)).then_some(cursor)
    }
}
