//! Names and heads of the feed's files. The format, version 2, is described in `docs/format-feed.md`.

use model::codec::{Decoder, Encoder};
use model::id::Position;

const MAGIC: &[u8; 6] = b"TLFEED";
pub(super) const FORMAT_VERSION: u8 = 2;
/// Bytes of a file's head.
pub(super) const FILE_HEAD_BYTES: usize = 48;
pub(super) const SALT_BYTES: usize = 8;
const SUFFIX: &str = ".log";

/// What the blocks of a file hold. Numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Holds {
    /// Items, for followers.
    Items = 0,
    /// What is left of older items, see `history.rs`.
    History = 1,
}

impl Holds {
    fn prefix(self) -> &'static str {
        match self {
            Self::Items => "feed-",
            Self::History => "history-",
        }
    }

    /// The name of the file that begins at a position.
    pub(super) fn file_name(self, first: Position) -> String {
        format!("{}{:020}{SUFFIX}", self.prefix(), first.0)
    }

    /// The position that the name of such a file says it begins at.
    pub(super) fn first_of(self, name: &str) -> Option<Position> {
        name.strip_prefix(self.prefix())?.strip_suffix(SUFFIX)?.parse().ok().map(Position)
    }
}

/// Whether this is the name of a file of either kind.
pub(super) fn is_file_name(name: &str) -> bool {
    [Holds::Items, Holds::History].into_iter().any(|holds| holds.first_of(name).is_some())
}

/// What a file's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) holds: Holds,
    pub(super) identity: u64,
    /// Every item from here on, up to the last block's watermark, is in this file.
    pub(super) first: Position,
    /// 0 is in clear.
    pub(super) key_id: u32,
    pub(super) salt: [u8; SALT_BYTES],
}

impl FileHead {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEAD_BYTES);
        bytes.extend_from_slice(MAGIC);
        let mut encoder = Encoder(&mut bytes);
        encoder.u8(FORMAT_VERSION);
        encoder.u8(self.holds as u8);
        encoder.u64(self.identity);
        encoder.u64(self.first.0);
        encoder.u32(self.key_id);
        bytes.extend_from_slice(&self.salt);
        bytes.resize(FILE_HEAD_BYTES - 4, 0);
        let check = crc32c::crc32c(&bytes);
        Encoder(&mut bytes).u32(check);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, check) = bytes.split_at_checked(FILE_HEAD_BYTES - 4)?;
        let mut decoder = Decoder::new(content);
        if decoder.take(6).ok()? != MAGIC || decoder.u8().ok()? != FORMAT_VERSION {
            return None;
        }
        let number = decoder.u8().ok()?;
        let holds = [Holds::Items, Holds::History].into_iter().find(|holds| *holds as u8 == number)?;
        let identity = decoder.u64().ok()?;
        let first = Position(decoder.u64().ok()?);
        let key_id = decoder.u32().ok()?;
        let salt = decoder.take(SALT_BYTES).ok()?.try_into().ok()?;
        let sound = Decoder::new(check).u32().ok()? == crc32c::crc32c(content);
        sound.then_some(Self { holds, identity, first, key_id, salt })
    }
}
