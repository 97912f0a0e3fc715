//! Segment files: their names and their header of 128 bytes. All integers are little-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `TLSEGMNT` |
//! | 8 | 1 | version, 1 |
//! | 9 | 1 | state: 1 open (being written, or full and not yet sealed), 2 sealed |
//! | 10 | 2 | shard |
//! | 12 | 2 | region |
//! | 14 | 2 | 0 |
//! | 16 | 8 | tag, random; every frame of the file carries it |
//! | 24 | 8 | sealed only, like all that follow: first position |
//! | 32 | 8 | position after the last record |
//! | 40 | 8 | term of the last record |
//! | 48 | 8 | log time of the first record |
//! | 56 | 8 | log time of the last record |
//! | 64 | 8 | length of the file |
//! | 72 | 8 | batches |
//! | 80 | 8 | plain bytes of their bodies |
//! | 88 | 36 | 0 |
//! | 124 | 4 | CRC32C over bytes 0 to 123 |
//!
//! An open segment says nothing about its content: its frames do. Its header is durable before the file gets the name
//! of a segment, so a segment whose header cannot be read is damaged, never merely young.

use crate::error::LogError;
use env::{Disk, DiskFile, Env, OpenMode};
use model::codec::{Decoder, Encoder};
use model::id::{Position, Term, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const HEADER_BYTES: usize = 128;
/// Where the first frame of a segment stands.
pub(crate) const DATA_OFFSET: u64 = HEADER_BYTES as u64;

const COVERED_BYTES: usize = 124;
const MAGIC: u64 = u64::from_le_bytes(*b"TLSEGMNT");
const VERSION: u8 = 1;
const EXTENSION: &str = ".seg";
const SPARE_PREFIX: &str = "spare-";
const TEMPORARY_EXTENSION: &str = ".tmp";
/// Digits of a position in a file name, so that names sort as positions do.
const NAME_DIGITS: usize = 20;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) first: Position,
    /// The position after the last record.
    pub(crate) next: Position,
    /// The term of the last record.
    pub(crate) term: Term,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    /// Where the last frame ends in the file.
    pub(crate) end_offset: u64,
    pub(crate) batches: u64,
    /// Plain bytes of the batches' bodies, where known: an open segment counts stored bytes.
    pub(crate) body_bytes: u64,
}

impl Content {
    pub(crate) fn empty(first: Position) -> Self {
        Self {
            first,
            next: first,
            term: Term(0),
            first_at: Timestamp(0),
            last_at: Timestamp(0),
            end_offset: DATA_OFFSET,
            batches: 0,
            body_bytes: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.first
    }
}

/// The header of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) shard: u16,
    pub(crate) region: u16,
    pub(crate) tag: u64,
    /// `Some` if the segment is sealed.
    pub(crate) sealed: Option<Content>,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        let mut encoder = Encoder(&mut out);
        encoder.u64(MAGIC);
        encoder.u8(VERSION);
        encoder.u8(if self.sealed.is_some() { 2 } else { 1 });
        encoder.u16(self.shard);
        encoder.u16(self.region);
        encoder.u16(0);
        encoder.u64(self.tag);
        if let Some(content) = &self.sealed {
            encoder.u64(content.first.0);
            encoder.u64(content.next.0);
            encoder.u64(content.term.0);
            encoder.i64(content.first_at.0);
            encoder.i64(content.last_at.0);
            encoder.u64(content.end_offset);
            encoder.u64(content.batches);
            encoder.u64(content.body_bytes);
        }
        out.resize(COVERED_BYTES, 0);
        let check = crc32c::crc32c(&out);
        Encoder(&mut out).u32(check);
        out
    }

    /// Reads a header, or says why the bytes are none.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        const SHORT: &str = "its header is cut short";
        let mut decoder = Decoder::new(bytes.get(..HEADER_BYTES).ok_or(SHORT)?);
        let covered = bytes.get(..COVERED_BYTES).ok_or(SHORT)?;
        let check = bytes.get(COVERED_BYTES..).and_then(|rest| rest.first_chunk::<4>()).ok_or(SHORT)?;
        if decoder.u64().map_err(|_| SHORT)? != MAGIC {
            return Err("it does not begin as a segment does");
        }
        if crc32c::crc32c(covered) != u32::from_le_bytes(*check) {
            return Err("the checksum of its header is wrong");
        }
        if decoder.u8().map_err(|_| SHORT)? != VERSION {
            return Err("its format version is unknown to this program");
        }
        let state = decoder.u8().map_err(|_| SHORT)?;
        let (shard, region) = (decoder.u16().map_err(|_| SHORT)?, decoder.u16().map_err(|_| SHORT)?);
        decoder.u16().map_err(|_| SHORT)?;
        let tag = decoder.u64().map_err(|_| SHORT)?;
        let content = decode_content(&mut decoder).map_err(|_| SHORT)?;
        match state {
            1 => Ok(Self { shard, region, tag, sealed: None }),
            2 => Ok(Self { shard, region, tag, sealed: Some(content) }),
            _ => Err("its state is unknown to this program"),
        }
    }
}

fn decode_content(decoder: &mut Decoder<'_>) -> Result<Content, model::codec::DecodeError> {
    Ok(Content {
        first: Position(decoder.u64()?),
        next: Position(decoder.u64()?),
        term: Term(decoder.u64()?),
        first_at: Timestamp(decoder.i64()?),
        last_at: Timestamp(decoder.i64()?),
        end_offset: decoder.u64()?,
        batches: decoder.u64()?,
        body_bytes: decoder.u64()?,
    })
}

/// A segment file for reading (and, for the last one, writing).
pub(crate) struct Segment {
    pub(crate) first: Position,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// A file that is opened for each read. Sealed segments are many and seldom read: as many descriptors as a log has segments
/// would be more than a process may have.
struct OpenedForEachRead {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

/// The file of a sealed segment. It may be replaced by a version that says the same, or less where somebody was erased: then
/// what is read next is of another tag, and the reader looks for its place again.
pub(crate) fn sealed_file(env: &Env, path: &Path) -> Arc<dyn DiskFile> {
    Arc::new(OpenedForEachRead { disk: Arc::clone(&env.disk), path: path.to_owned() })
}

impl OpenedForEachRead {
    fn open(&self) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&self.path, OpenMode::Read)
    }

    fn refused() -> io::Error {
        io::Error::new(io::ErrorKind::PermissionDenied, "a sealed segment never changes")
    }
}

impl DiskFile for OpenedForEachRead {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.open()?.read_at(offset, buffer)
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.open()?.read_exact_at(offset, buffer)
    }

    fn len(&self) -> io::Result<u64> {
        self.open()?.len()
    }

    fn write_all_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(Self::refused())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(Self::refused())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(Self::refused())
    }
}

impl Segment {
    pub(crate) fn corrupt(&self, offset: u64, what: &str) -> LogError {
        LogError::Corrupt { segment: self.path.clone(), offset, what: what.to_owned() }
    }

    /// Whether another version, or none, is in the place of this one.
    pub(crate) fn is_replaced(&self) -> bool {
        read_header(self.file.as_ref(), &self.path, None).map_or(true, |header| header != self.header)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.header.sealed.is_some()
    }
}

/// The directory of the segments inside a data directory.
pub(crate) fn log_directory(directory: &Path) -> PathBuf {
    directory.join("log")
}

pub(crate) fn segment_path(log_directory: &Path, first: Position) -> PathBuf {
    log_directory.join(format!("{:0NAME_DIGITS$}{EXTENSION}", first.0))
}

pub(crate) fn spare_path(log_directory: &Path, number: u64) -> PathBuf {
    log_directory.join(format!("{SPARE_PREFIX}{number:0NAME_DIGITS$}{EXTENSION}"))
}

pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_EXTENSION);
    PathBuf::from(name)
}

/// What the name of a file in the log's directory says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameKind {
    Segment(Position),
    Spare(u64),
    Temporary,
    Other,
}

pub(crate) fn parse_name(name: &str) -> NameKind {
    if name.ends_with(TEMPORARY_EXTENSION) {
        return NameKind::Temporary;
    }
    let digits = |text: &str| {
        let plain = text.len() == NAME_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        if plain { text.parse::<u64>().ok() } else { None }
    };
    let Some(stem) = name.strip_suffix(EXTENSION) else {
        return NameKind::Other;
    };
    match (digits(stem), stem.strip_prefix(SPARE_PREFIX).and_then(digits)) {
        (Some(first), _) => NameKind::Segment(Position(first)),
        (None, Some(number)) => NameKind::Spare(number),
        (None, None) => NameKind::Other,
    }
}

/// Draws the tag of a new segment. Never 0, so that a file of zeros holds no frame.
pub(crate) fn fresh_tag(env: &Env, path: &Path) -> Result<u64, LogError> {
    let mut bytes = [0; 8];
    env.entropy.fill(&mut bytes).map_err(|error| LogError::io("draw a tag for", path, error))?;
    Ok(u64::from_le_bytes(bytes).max(1))
}

/// Reads the header of a segment file and checks that it belongs to this shard and region.
pub(crate) fn read_header(
    file: &dyn DiskFile,
    path: &Path,
    place: Option<(u16, u16)>,
) -> Result<SegmentHeader, LogError> {
    let mut bytes = [0; HEADER_BYTES];
    let len = file.len().map_err(|error| LogError::io("measure", path, error))?;
    if len >= DATA_OFFSET {
        file.read_exact_at(0, &mut bytes).map_err(|error| LogError::io("read", path, error))?;
    }
    let header = SegmentHeader::decode(&bytes).map_err(|what| LogError::Corrupt {
        segment: path.to_owned(),
        offset: 0,
        what: what.to_owned(),
    })?;
    match place {
        Some(place) if place != (header.shard, header.region) => Err(LogError::Foreign {
            path: path.to_owned(),
            what: format!("it belongs to shard {} of region {}", header.shard, header.region),
        }),
        _ => Ok(header),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_and_any_changed_bit_is_noticed() {
        let content =
            Content { next: Position(9), end_offset: 700, batches: 2, ..Content::empty(Position(5)) };
        for sealed in [None, Some(content)] {
            let header = SegmentHeader { shard: 1, region: 2, tag: 3, sealed };
            let mut bytes = header.encode();
            assert_eq!(bytes.len(), HEADER_BYTES);
            assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
            for at in 0..HEADER_BYTES {
                bytes[at] ^= 0x10;
                assert!(SegmentHeader::decode(&bytes).is_err(), "byte {at}");
                bytes[at] ^= 0x10;
            }
        }
    }

    #[test]
    fn names_say_what_a_file_is() {
        let directory = Path::new("/d");
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        for (given, wanted) in [
            (name(segment_path(directory, Position(12))), NameKind::Segment(Position(12))),
            (name(segment_path(directory, Position(u64::MAX))), NameKind::Segment(Position(u64::MAX))),
            (name(spare_path(directory, 3)), NameKind::Spare(3)),
            (name(temporary_path(&segment_path(directory, Position(12)))), NameKind::Temporary),
            ("12.seg".to_owned(), NameKind::Other),
            ("+0000000000000000012.seg".to_owned(), NameKind::Other),
            ("notes.txt".to_owned(), NameKind::Other),
        ] {
            assert_eq!(parse_name(&given), wanted, "{given}");
        }
    }
}
