//! Segment files prepared in advance, so that an append neither waits for space nor for a file to grow.
//!
//! A spare has the full size of a segment, its blocks are written, and its header, with a tag of its own, is durable.
//! It may be a used file: the frames in it carry the old tag and are never taken for new ones.

use crate::error::LogError;
use crate::segment::{self, SegmentHeader};
use crate::shared::Shared;
use env::{DiskFile, OpenMode};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros are written in pieces of this size.
const ZERO_BYTES: usize = 1 << 20;
/// Background writes are synced this often, so that they never pile up in front of the log's own sync.
pub(crate) const SYNC_STEP_BYTES: u64 = 8 << 20;

/// A prepared segment file.
pub(crate) struct Spare {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn DiskFile>,
    /// Whether old frames may still stand in it.
    pub(crate) stale: bool,
}

impl Shared {
    pub(crate) fn reserve_spare_number(&self) -> u64 {
        let mut state = self.state();
        state.next_spare += 1;
        state.next_spare - 1
    }

    /// Writes a new spare. A full disk leaves everything as it was.
    pub(crate) fn write_spare(&self) -> Result<Spare, LogError> {
        let number = self.reserve_spare_number();
        let path = segment::spare_path(&self.directory, number);
        let temporary = segment::temporary_path(&path);
        let bytes = self.options.segment_bytes;
        let free = self.env.disk.free_bytes(&self.directory);
        if free.map_err(|error| LogError::io("measure", &self.directory, error))? < bytes {
            return Err(LogError::StorageFull { needed_bytes: bytes });
        }
        let written = self.write_zeros(&temporary, bytes);
        match written.and_then(|file| self.finish_spare(file, &temporary, path, number, false)) {
            Ok(spare) => Ok(spare),
            Err(error) => {
                // What cannot be removed now is removed by the next open.
                let _ = self.env.disk.remove(&temporary);
                Err(error)
            }
        }
    }

    fn write_zeros(&self, path: &Path, bytes: u64) -> Result<Arc<dyn DiskFile>, LogError> {
        let failed = |action, error| LogError::io_or_full(action, path, error, bytes);
        let file = self.env.disk.open(path, OpenMode::CreateNew).map_err(|error| failed("create", error))?;
        let zeros = vec![0; ZERO_BYTES.min(usize::try_from(bytes).unwrap_or(ZERO_BYTES))];
        let mut offset = 0;
        let mut synced = 0;
        while offset < bytes {
            let count = zeros.len().min(usize::try_from(bytes - offset).unwrap_or(usize::MAX));
            let piece = zeros.get(..count).unwrap_or_default();
            file.write_all_at(offset, piece).map_err(|error| failed("write", error))?;
            offset += count as u64;
            if offset - synced >= SYNC_STEP_BYTES {
                file.sync_data().map_err(|error| failed("sync", error))?;
                synced = offset;
            }
        }
        Ok(file)
    }

    /// Gives a file of full size a new header, makes it durable, and then the name of a spare.
    pub(crate) fn finish_spare(
        &self,
        file: Arc<dyn DiskFile>,
        temporary: &Path,
        path: PathBuf,
        number: u64,
        stale: bool,
    ) -> Result<Spare, LogError> {
        let needed = self.options.segment_bytes;
        let failed = |action, error| LogError::io_or_full(action, temporary, error, needed);
        let tag = segment::fresh_tag(&self.env, &path)?;
        let header =
            SegmentHeader { shard: self.options.shard, region: self.options.region, tag, sealed: None };
        file.write_all_at(0, &header.encode()).map_err(|error| failed("write", error))?;
        file.sync_data().map_err(|error| failed("sync", error))?;
        self.env.disk.rename(temporary, &path).map_err(|error| failed("rename", error))?;
        Ok(Spare { number, path, header, file, stale })
    }
}
