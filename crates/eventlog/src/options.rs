//! Settings of a log, with their limits.

use crate::error::LogError;
use crate::keyring::Keyring;
use model::id::Position;

/// The largest body of one frame, in bytes.
pub const FRAME_BODY_BYTES_MAX: usize = 16 << 20;
/// The smallest segment, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 10;
/// The largest segment, in bytes: one is read into memory when the log is opened.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// The largest plain size of a sealed block before its last frame joins, in bytes.
pub const BLOCK_BYTES_MAX: usize = 16 << 20;
/// The most spare segments that are kept prepared.
pub const SPARE_SEGMENTS_MAX: usize = 8;

/// Settings of a log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Which shard this log belongs to; stored in every frame and checked on open.
    pub shard: u16,
    /// The region whose law holds for the data; stored in every frame and checked on open.
    pub region: u16,
    /// The size of a segment file while it is written, in bytes. An append must fit into one.
    pub segment_bytes: u64,
    /// Segments prepared in advance, so that an append never waits for one to be written. With two or more, one is
    /// still there while a full segment is sealed and its file becomes the next.
    pub spare_segments: usize,
    /// The plain size of the blocks of a sealed segment, in bytes.
    pub block_bytes: usize,
    /// The zstd level of sealed segments; negative levels are faster. Of events as the door stores them (460 bytes),
    /// level -3 leaves 94 bytes and level 1 leaves 82, for two thirds of the processor time; a level above 1 leaves no
    /// less, since most of what is left are random keys (`bench_log DIRECTORY seal` measures it).
    pub compression_level: i32,
    /// Keys to seal with; `None` keeps the log readable by anybody who can read the files.
    pub keyring: Option<Keyring>,
    /// The position of the first record of a log that is created by this open.
    pub start: Position,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            shard: 0,
            region: 0,
            segment_bytes: 64 << 20,
            spare_segments: 2,
            block_bytes: 128 << 10,
            compression_level: -3,
            keyring: None,
            start: Position(0),
        }
    }
}

impl LogOptions {
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let refuse = |option, what: String| Err(LogError::Option { option, what });
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return refuse(
                "segment_bytes",
                format!("must be between {SEGMENT_BYTES_MIN} and {SEGMENT_BYTES_MAX}"),
            );
        }
        if self.spare_segments > SPARE_SEGMENTS_MAX {
            return refuse("spare_segments", format!("must be at most {SPARE_SEGMENTS_MAX}"));
        }
        if self.block_bytes > BLOCK_BYTES_MAX {
            return refuse("block_bytes", format!("must be at most {BLOCK_BYTES_MAX}"));
        }
        match &self.keyring {
            Some(keyring) if !keyring.keys.contains_key(&keyring.active) => {
                refuse("keyring", "must hold its active key".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// How much of the past to keep. Whatever a checkpoint or a follower needs is kept besides: the caller sees to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Records may go once they are older than this, in microseconds of log time. `None` keeps them for ever.
    pub age_us: Option<i64>,
    /// The oldest records may go while the log takes more bytes than this. `None` is no limit.
    pub bytes: Option<u64>,
}
