//! Background work: seals full segments, rewrites sealed ones, prepares spares, removes what was trimmed.
//!
//! A new version of a segment is written under a temporary name, synced, checked, renamed over the old one, and the
//! directory is synced. The check has two halves that meet in the stored bytes: each block is read again from memory as
//! any reader would, and must say what was meant, before it is written; and what the file gives back must be those
//! bytes. A crash leaves the old or the new version. Readers that hold the old file keep
//! it until they let go; only a file that nobody holds is used again.

mod writer;

use crate::Frame;
use crate::cursor::Cursor;
use crate::error::LogError;
use crate::frame::Batch;
use crate::handle::SealStep;
use crate::segment::{self, Content, DATA_OFFSET, Segment, SegmentHeader};
use crate::shared::{Entry, Shared};
use env::{DiskFile, OpenMode};
use model::id::Position;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use writer::SealWriter;

/// How much of a new version is read back at once.
const READ_BACK_BYTES: usize = 256 << 10;

/// What rewriting a segment did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RewriteReport {
    /// Batches whose body changed.
    pub changed_frames: u64,
    /// What the segment took before.
    pub before_bytes: u64,
    /// What it takes now.
    pub after_bytes: u64,
}

/// A new version of a segment, whole and synced under its temporary name.
struct Written {
    header: SegmentHeader,
    content: Content,
    file: Arc<dyn DiskFile>,
    changed_frames: u64,
}

impl Shared {
    pub(crate) fn seal_step(&self) -> Result<SealStep, LogError> {
        let _only_one = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = self.remove_trimmed()? {
            return Ok(step);
        }
        // Without any spare the next roll would wait for one, and a segment takes longer to seal than to prepare. On a
        // full disk sealing goes first after all: it needs little room and sets a file free.
        let none_left = self.state().spares.is_empty() && self.options.spare_segments > 1;
        if none_left {
            match self.prepare_spare() {
                Err(error) if error.is_transient() => {}
                other => return other,
            }
        }
        let next = {
            let state = self.state();
            let full = state.segments.len().saturating_sub(1);
            let open = |entry: &&Entry| !entry.segment.is_sealed() && !entry.seal_failed;
            state.segments.iter().take(full).find(open).cloned()
        };
        match next {
            Some(entry) => self.seal(entry),
            None => self.prepare_spare(),
        }
    }

    fn prepare_spare(&self) -> Result<SealStep, LogError> {
        if self.state().spares.len() >= self.options.spare_segments {
            return Ok(SealStep::Idle);
        }
        let spare = self.write_spare()?;
        self.state().spares.push(spare);
        Ok(SealStep::PreparedSpare)
    }

    fn remove_trimmed(&self) -> Result<Option<SealStep>, LogError> {
        let Some(oldest) = self.state().trimmed.first().map(|entry| Arc::clone(&entry.segment)) else {
            return Ok(None);
        };
        let disk = &self.env.disk;
        // Oldest first and one by one: whatever a crash brings back has no hole in it.
        if disk.exists(&oldest.path) {
            disk.remove(&oldest.path).map_err(|error| LogError::io("remove", &oldest.path, error))?;
        }
        disk.sync_directory(&self.directory).map_err(|error| LogError::io("sync", &self.directory, error))?;
        self.state().trimmed.remove(0);
        Ok(Some(SealStep::Removed(oldest.first)))
    }

    fn seal(&self, entry: Entry) -> Result<SealStep, LogError> {
        let first = entry.content.first;
        let open_bytes = entry.content.end_offset;
        match self.replace(&entry, None, true) {
            Ok(written) => {
                let sealed_bytes = written.content.end_offset;
                let mut state = self.state();
                state.stats.sealed_segments += 1;
                state.stats.sealed_from_bytes += open_bytes;
                state.stats.sealed_to_bytes += sealed_bytes;
                Ok(SealStep::Sealed { first, open_bytes, sealed_bytes })
            }
            Err(error) => {
                if !error.is_transient() {
                    let mut state = self.state();
                    if let Some(kept) = state.segments.iter_mut().find(|kept| kept.content.first == first) {
                        kept.seal_failed = true;
                    }
                }
                Err(error)
            }
        }
    }

    pub(crate) fn rewrite_segment(
        &self,
        first: Position,
        change: &mut dyn FnMut(Frame) -> Frame,
    ) -> Result<RewriteReport, LogError> {
        let _only_one = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        let found = {
            let state = self.state();
            let full = state.segments.len().saturating_sub(1);
            state.segments.iter().take(full).find(|entry| entry.content.first == first).cloned()
        };
        let Some(entry) = found else {
            let what = "it is being written or does not exist; wait until it is full".to_owned();
            return Err(LogError::Rewrite { first, what });
        };
        let before_bytes = entry.content.end_offset;
        // Not used again: an erased record must not wait in a spare.
        let written = self.replace(&entry, Some(change), false)?;
        Ok(RewriteReport {
            changed_frames: written.changed_frames,
            before_bytes,
            after_bytes: written.content.end_offset,
        })
    }

    pub(crate) fn forget_used_files(&self) -> Result<(), LogError> {
        let _only_one = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        let used: Vec<_> = {
            let mut state = self.state();
            state.forget_requests += 1;
            let (used, fresh) = state.spares.drain(..).partition(|spare| spare.stale);
            state.spares = fresh;
            used
        };
        for spare in used {
            self.env.disk.remove(&spare.path).map_err(|error| LogError::io("remove", &spare.path, error))?;
        }
        Ok(())
    }

    /// Writes a sealed version of a segment and puts it in the old one's place.
    fn replace(
        &self,
        entry: &Entry,
        change: Option<&mut dyn FnMut(Frame) -> Frame>,
        use_again: bool,
    ) -> Result<Written, LogError> {
        let old = &entry.segment;
        let temporary = segment::temporary_path(&old.path);
        let written = self
            .write_sealed(entry, &temporary, change)
            .and_then(|(written, check)| self.verify(&written, &temporary, check).map(|()| written));
        let written = match written {
            Ok(written) => written,
            Err(error) => {
                // What cannot be removed now is removed by the next open.
                let _ = self.env.disk.remove(&temporary);
                return Err(error);
            }
        };
        let kept = if use_again { self.keep_file(entry) } else { None };
        let disk = &self.env.disk;
        let renamed = disk
            .rename(&temporary, &old.path)
            .and_then(|()| disk.sync_directory(&self.directory))
            .map_err(|error| LogError::io_or_full("replace", &old.path, error, 0));
        if let Err(error) = renamed {
            if let Some((_, kept)) = kept {
                let _ = disk.remove(&kept);
            }
            return Err(error);
        }
        let segment = Segment {
            first: old.first,
            path: old.path.clone(),
            header: written.header,
            file: segment::sealed_file(&self.env, &old.path),
        };
        let mut state = self.state();
        if let Some(current) = state.segments.iter_mut().find(|kept| Arc::ptr_eq(&kept.segment, old)) {
            *current = Entry {
                segment: Arc::new(segment),
                content: written.content,
                index: Vec::new(),
                file_bytes: written.content.end_offset,
                stale: false,
                forget_requests: entry.forget_requests,
                seal_failed: false,
            };
        }
        drop(state);
        if let Some((number, kept)) = kept {
            self.use_again(old, number, &kept)?;
        }
        Ok(written)
    }

    fn write_sealed(
        &self,
        entry: &Entry,
        temporary: &Path,
        mut change: Option<&mut dyn FnMut(Frame) -> Frame>,
    ) -> Result<(Written, u32), LogError> {
        let failed = |action, error| LogError::io_or_full(action, temporary, error, entry.content.end_offset);
        if self.env.disk.exists(temporary) {
            self.env.disk.remove(temporary).map_err(|error| failed("remove", error))?;
        }
        let file =
            self.env.disk.open(temporary, OpenMode::CreateNew).map_err(|error| failed("create", error))?;
        let tag = segment::fresh_tag(&self.env, temporary)?;
        let mut writer = SealWriter::new(self, Arc::clone(&file), tag, temporary, entry.content.first)?;
        let mut cursor = Cursor::new(Arc::clone(&entry.segment), DATA_OFFSET, entry.content.end_offset);
        let mut changed_frames = 0;
        let keyring = self.options.keyring.as_ref();
        let mut each = |batch: Batch<'_>| match &mut change {
            None => writer.add(&batch),
            Some(change) => {
                let frame = change(batch.to_frame());
                let changed = Batch::of(&frame);
                if (Batch { body: batch.body, ..changed }) != batch {
                    let what = "a change may touch a frame's body only".to_owned();
                    return Err(LogError::Rewrite { first: entry.content.first, what });
                }
                changed_frames += u64::from(changed != batch);
                writer.add(&changed)
            }
        };
        while cursor.visit(keyring, &mut each)?.is_some() {}
        let (content, check) = writer.finish()?;
        if content.next != entry.content.next {
            return Err(entry
                .segment
                .corrupt(cursor.offset, "records are missing at the end of the segment"));
        }
        let header = SegmentHeader {
            shard: self.options.shard,
            region: self.options.region,
            tag,
            sealed: Some(content),
        };
        file.write_all_at(0, &header.encode()).map_err(|error| failed("write", error))?;
        file.sync_data().map_err(|error| failed("sync", error))?;
        Ok((Written { header, content, file, changed_frames }, check))
    }

    /// Reads the new version's bytes back. That they say the right thing was checked when they were made.
    fn verify(&self, written: &Written, temporary: &Path, check: u32) -> Result<(), LogError> {
        let failed = |error| LogError::io("read", temporary, error);
        let header = segment::read_header(written.file.as_ref(), temporary, None)?;
        let (mut found, mut offset, end) = (0, DATA_OFFSET, written.content.end_offset);
        let mut buffer = vec![0; READ_BACK_BYTES];
        while offset < end {
            let count = buffer.len().min(usize::try_from(end - offset).unwrap_or(usize::MAX));
            let piece = buffer.get_mut(..count).unwrap_or_default();
            written.file.read_exact_at(offset, piece).map_err(failed)?;
            found = crc32c::crc32c_append(found, piece);
            offset += count as u64;
        }
        if found == check && header == written.header {
            return Ok(());
        }
        Err(LogError::Corrupt {
            segment: temporary.to_owned(),
            offset: 0,
            what: "what was read back is not what was written".to_owned(),
        })
    }

    /// Gives an open segment's file a second name, so that it survives being replaced. `None` if it is not worth it.
    fn keep_file(&self, entry: &Entry) -> Option<(u64, std::path::PathBuf)> {
        let wanted = {
            let state = self.state();
            state.spares.len() < self.options.spare_segments && !state.must_forget(entry)
        };
        let fits = !entry.segment.is_sealed() && entry.file_bytes == self.options.segment_bytes;
        if !wanted || !fits {
            return None;
        }
        let number = self.reserve_spare_number();
        let kept = segment::temporary_path(&segment::spare_path(&self.directory, number));
        // A file system without hard links only costs the writing of a new spare.
        self.env.disk.hard_link(&entry.segment.path, &kept).ok().map(|()| (number, kept))
    }

    /// Makes a spare of a replaced segment's file, unless a reader still holds it.
    fn use_again(&self, old: &Arc<Segment>, number: u64, kept: &Path) -> Result<(), LogError> {
        // The caller's copy of the entry and `old` itself are the same reference: one is what the log lets go of.
        let unused = Arc::strong_count(old) == 1;
        if !unused {
            return self.env.disk.remove(kept).map_err(|error| LogError::io("remove", kept, error));
        }
        let path = segment::spare_path(&self.directory, number);
        let spare = self.finish_spare(Arc::clone(&old.file), kept, path, number, true)?;
        let mut state = self.state();
        state.stats.recycled_spares += 1;
        state.spares.push(spare);
        Ok(())
    }
}
