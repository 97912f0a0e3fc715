//! What the writer, the threads that read ahead and the checkpoint thread share.

use super::files::{IdFile, IdFileWriter};
use super::{DedupInterval, Part};
use crate::StoreError;
use crate::filter::{Probe, SharedFilter};
use crate::objects::Objects;
use model::id::Key;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Ids whose filters are asked before any answer is looked at, so that their cache misses overlap.
const IDS_AT_ONCE: usize = 16;

/// The id files of the current manifest.
#[derive(Clone, Default)]
pub(crate) struct FileSet {
    /// Checkpoint intervals up to this one are in the files.
    pub(crate) filed_through: u64,
    /// By bucket, newest file first.
    pub(crate) buckets: BTreeMap<i64, Vec<Arc<IdFile>>>,
}

impl FileSet {
    pub(crate) fn of_bucket(&self, bucket: i64) -> &[Arc<IdFile>] {
        self.buckets.get(&bucket).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn contains(&self, bucket: i64, id: Key, buffer: &mut Vec<u8>) -> Result<bool, StoreError> {
        for file in self.of_bucket(bucket) {
            if file.contains(id, buffer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What reading ahead found out about an id. It stays true whatever happens until it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    /// Nothing is known.
    Unknown,
    /// The id is in no file that held the checkpoint intervals up to this one.
    NotFiled {
        /// The last interval in the files that were searched.
        through: u64,
    },
    /// The id is in a file of this bucket.
    Filed {
        /// The bucket.
        bucket: i64,
    },
}

/// The filters that some live buckets share.
pub(super) struct ShownFilters {
    /// Newest first.
    pub(super) buckets: Vec<i64>,
    pub(super) filters: Vec<Arc<SharedFilter>>,
}

#[derive(Default)]
pub(crate) struct DedupShared {
    files: RwLock<Arc<FileSet>>,
    /// Newest first.
    filters: RwLock<Arc<Vec<ShownFilters>>>,
    /// What the writer let go, to be freed by the checkpoint thread.
    buried: Mutex<Buried>,
}

#[derive(Default)]
struct Buried {
    filters: Vec<Arc<SharedFilter>>,
    parts: Vec<Arc<Part>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DedupShared {
    pub(crate) fn files(&self) -> Arc<FileSet> {
        self.files.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_files(&self, files: FileSet) {
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(files);
    }

    pub(super) fn show_filters(&self, filters: Vec<ShownFilters>) {
        *self.filters.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(filters);
    }

    fn filters(&self) -> Arc<Vec<ShownFilters>> {
        self.filters.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn bury_filters(&self, filters: Vec<Arc<SharedFilter>>) {
        locked(&self.buried).filters.extend(filters);
    }

    pub(super) fn bury_parts(&self, parts: Vec<Arc<Part>>) {
        locked(&self.buried).parts.extend(parts);
    }

    /// Frees what the writer let go.
    pub(crate) fn free_buried(&self) {
        let buried = std::mem::take(&mut *locked(&self.buried));
        drop(buried);
    }
}

/// Confirms filter hits against the id files, on any thread, while the writer goes on.
#[derive(Clone)]
pub struct DedupReader {
    shared: Arc<DedupShared>,
}

impl DedupReader {
    pub(super) fn new(shared: Arc<DedupShared>) -> Self {
        Self { shared }
    }

    /// Appends one hint per id for [`super::DedupWindow::check_and_insert_hinted`].
    pub fn confirm(&self, ids: &[Key], hints: &mut Vec<Hint>) -> Result<(), StoreError> {
        // Files before filters: an id that is in these files was in the filters before, so a miss proves its absence.
        let files = self.shared.files();
        let filters = self.shared.filters();
        let mut buffer = Vec::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let mut maybe = [0_u64; IDS_AT_ONCE];
            for (id, maybe) in ids.iter().zip(&mut maybe) {
                let probe = Probe::of_id(*id);
                // A group's bit says that one of its filters may hold the id; all past the last bit share it.
                for (number, group) in filters.iter().enumerate() {
                    let any = group.filters.iter().fold(false, |any, filter| any | filter.first_bit(probe));
                    *maybe |= u64::from(any) << number.min(63);
                }
            }
            for (id, maybe) in ids.iter().zip(maybe) {
                hints.push(find(&files, &filters, *id, maybe, &mut buffer)?);
            }
        }
        Ok(())
    }
}

/// Looks an id up in the buckets that the first bits of their filters left.
fn find(
    files: &FileSet,
    filters: &[ShownFilters],
    id: Key,
    maybe: u64,
    buffer: &mut Vec<u8>,
) -> Result<Hint, StoreError> {
    let probe = Probe::of_id(id);
    for (number, group) in filters.iter().enumerate() {
        let left = maybe >> number.min(63) & 1 != 0;
        if !left || !group.filters.iter().any(|filter| filter.may_contain(probe)) {
            continue;
        }
        for bucket in &group.buckets {
            if files.contains(*bucket, id, buffer)? {
                return Ok(Hint::Filed { bucket: *bucket });
            }
        }
    }
    Ok(Hint::NotFiled { through: files.filed_through })
}

impl DedupInterval {
    /// Writes the ids that no file holds yet, one file per live bucket.
    pub(crate) fn write(
        &self,
        objects: &dyn Objects,
        filed_through: u64,
        mut name: impl FnMut() -> String,
        written: &mut Vec<Arc<IdFile>>,
    ) -> Result<(), StoreError> {
        let mut by_bucket: BTreeMap<i64, Vec<u128>> = BTreeMap::new();
        for part in &self.parts {
            if part.interval > filed_through && part.bucket >= self.oldest_live {
                part.ids.append_to(by_bucket.entry(part.bucket).or_default());
            }
        }
        for (bucket, mut ids) in by_bucket {
            ids.sort_unstable();
            let mut writer = IdFileWriter::create(objects, name(), bucket, 0)?;
            for id in ids {
                writer.push(id)?;
            }
            written.push(Arc::new(writer.finish(objects)?));
        }
        Ok(())
    }
}
