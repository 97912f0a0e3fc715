//! Merges the small id files of a bucket, a step at a time.

use super::ID_BYTES;
use super::files::{IdCursor, IdFile, IdFileWriter};
use super::shared::{DedupShared, FileSet};
use crate::StoreError;
use crate::objects::Objects;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// A closed bucket ends as one file; at most so many are merged at once.
const INPUTS_MAX: usize = 64;
/// Ids between two looks at the budget.
const STEP_IDS: u64 = 4096;

/// A merge under way. Dropping it leaves nothing behind.
pub(crate) struct IdMergeJob {
    inputs: Vec<Arc<IdFile>>,
    cursors: Vec<IdCursor>,
    heap: BinaryHeap<Reverse<(u128, usize)>>,
    writer: IdFileWriter,
    last: Option<u128>,
}

impl IdMergeJob {
    /// Starts the most useful merge, if any: a bucket that is closed and has several files, else `fan_in` files of
    /// one level.
    pub(crate) fn pick(
        files: &FileSet,
        fan_in: usize,
        objects: &dyn Objects,
        name: impl FnOnce() -> String,
    ) -> Result<Option<Self>, StoreError> {
        let newest = files.buckets.last_key_value().map(|(bucket, _)| *bucket);
        for (bucket, listed) in &files.buckets {
            let closed = Some(*bucket) != newest;
            let inputs = if closed && listed.len() > 1 {
                listed.iter().rev().take(INPUTS_MAX).cloned().collect()
            } else {
                of_one_level(listed, fan_in)
            };
            if inputs.is_empty() {
                continue;
            }
            return Self::start(inputs, objects, name()).map(Some);
        }
        Ok(None)
    }

    fn start(inputs: Vec<Arc<IdFile>>, objects: &dyn Objects, name: String) -> Result<Self, StoreError> {
        let bucket = inputs.first().map_or(0, |file| file.entry().bucket);
        let level = inputs.iter().map(|file| file.entry().level).max().unwrap_or(0) + 1;
        let mut job = Self {
            cursors: inputs.iter().map(|file| IdCursor::new(file.clone())).collect(),
            inputs,
            heap: BinaryHeap::new(),
            writer: IdFileWriter::create(objects, name, bucket, level)?,
            last: None,
        };
        for number in 0..job.cursors.len() {
            job.push(number)?;
        }
        Ok(job)
    }

    /// The files that the result replaces.
    pub(crate) fn inputs(&self) -> &[Arc<IdFile>] {
        &self.inputs
    }

    /// Goes on until the budget is used up. `true`: all ids are merged.
    pub(crate) fn step(&mut self, budget_bytes: &mut u64) -> Result<bool, StoreError> {
        while *budget_bytes > 0 {
            for _ in 0..STEP_IDS {
                let Some(Reverse((id, number))) = self.heap.pop() else { return Ok(true) };
                self.push(number)?;
                if self.last != Some(id) {
                    self.last = Some(id);
                    self.writer.push(id)?;
                }
            }
            *budget_bytes = budget_bytes.saturating_sub(STEP_IDS * ID_BYTES * 2);
        }
        Ok(false)
    }

    /// Makes the merged file durable.
    pub(crate) fn finish(self, objects: &dyn Objects) -> Result<Arc<IdFile>, StoreError> {
        Ok(Arc::new(self.writer.finish(objects)?))
    }

    fn push(&mut self, number: usize) -> Result<(), StoreError> {
        if let Some(id) = self.cursors.get_mut(number).map(IdCursor::next_id).transpose()?.flatten() {
            self.heap.push(Reverse((id, number)));
        }
        Ok(())
    }
}

impl DedupShared {
    /// A merge became part of a manifest.
    pub(crate) fn merged(&self, inputs: &[Arc<IdFile>], output: Arc<IdFile>) {
        let mut files = FileSet::clone(&self.files());
        let bucket = output.entry().bucket;
        let Some(listed) = files.buckets.get_mut(&bucket) else { return };
        let replaced = |file: &Arc<IdFile>| inputs.iter().any(|input| Arc::ptr_eq(input, file));
        let place = listed.iter().position(replaced).unwrap_or(0);
        listed.retain(|file| !replaced(file));
        listed.insert(place.min(listed.len()), output);
        self.set_files(files);
    }
}

/// The oldest `fan_in` files of the lowest level that has so many; none if no level has.
fn of_one_level(listed: &[Arc<IdFile>], fan_in: usize) -> Vec<Arc<IdFile>> {
    let top = listed.iter().map(|file| file.entry().level).max().unwrap_or(0);
    for level in 0..=top {
        let same: Vec<_> =
            listed.iter().rev().filter(|file| file.entry().level == level).take(fan_in).cloned().collect();
        if same.len() >= fan_in {
            return same;
        }
    }
    Vec::new()
}
