//! Background merges, a step at a time, at the pace of the caller.

use super::{IDS, RUN, RunSet, Shared, Store, locked};
use crate::StoreError;
use crate::dedup::IdMergeJob;
use crate::manifest::{Manifest, RunEntry};
use crate::merge::Merge;
use crate::run::{Run, RunWriter};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Bytes a merge reads at once from each run.
const MERGE_READ_BYTES: usize = 1 << 20;
/// Rows between two looks at the budget.
const STEP_ROWS: usize = 256;

/// The merges under way: one at a time.
#[derive(Default)]
pub(super) struct Merging {
    job: Option<Job>,
    /// Requests to merge all runs, and how many of them are fulfilled.
    full_wanted: u64,
    full_done: u64,
}

enum Job {
    Runs(Box<RunMergeJob>),
    Ids(Box<IdMergeJob>),
}

struct RunMergeJob {
    /// Newest first, neighbours in the manifest.
    inputs: Vec<String>,
    merge: Merge,
    writer: RunWriter,
    name: String,
    level: u32,
    drop_deletions: bool,
    /// The request to merge all runs that it fulfils.
    full: Option<u64>,
    /// Bytes written at the last look at the budget.
    counted: u64,
}

impl Store {
    /// Goes on with merging for about `budget_bytes` of reading and writing. `true`: there may be more to do.
    /// For a background thread; a caller that steps at a steady pace bounds what merging takes from the log's disk.
    pub fn merge_step(&self, budget_bytes: u64) -> Result<bool, StoreError> {
        self.shared.check_writable()?;
        self.shared.merge_some(budget_bytes)
    }

    /// Asks for one merge of all runs into one, in which deleted and replaced rows leave the disk for good (together
    /// with the kept manifests that still name older runs). A merge that fails is begun again by a later step.
    /// Gives the number of the request for [`Store::full_merges`].
    pub fn request_full_merge(&self) -> u64 {
        let mut merging = locked(&self.shared.merge);
        merging.full_wanted += 1;
        merging.full_wanted
    }

    /// Requests for a full merge up to this number are fulfilled.
    pub fn full_merges(&self) -> u64 {
        locked(&self.shared.merge).full_done
    }
}

impl Shared {
    pub(super) fn merge_some(&self, mut budget_bytes: u64) -> Result<bool, StoreError> {
        let mut merging = locked(&self.merge);
        // A job that fails is dropped with what it wrote; the next step starts it anew.
        let job = match merging.job.take() {
            Some(job) => Some(job),
            None => self.pick(&mut merging)?,
        };
        match job {
            None => Ok(false),
            Some(Job::Runs(mut job)) => {
                if job.step(&mut budget_bytes)? {
                    let full = job.full;
                    self.finish_runs(*job)?;
                    merging.full_done = full.unwrap_or(merging.full_done);
                } else {
                    merging.job = Some(Job::Runs(job));
                }
                Ok(true)
            }
            Some(Job::Ids(mut job)) => {
                if job.step(&mut budget_bytes)? {
                    self.finish_ids(*job)?;
                } else {
                    merging.job = Some(Job::Ids(job));
                }
                Ok(true)
            }
        }
    }

    fn pick(&self, merging: &mut Merging) -> Result<Option<Job>, StoreError> {
        if let Some(job) = self.pick_runs(merging)? {
            return Ok(Some(Job::Runs(Box::new(job))));
        }
        if !self.dedup_loaded.load(Ordering::Acquire) {
            return Ok(None);
        }
        let (files, fan_in) = (self.dedup.files(), self.options.merge_fan_in);
        let job = IdMergeJob::pick(&files, fan_in, &*self.objects, || self.new_name(IDS))?;
        Ok(job.map(|job| Job::Ids(Box::new(job))))
    }

    fn pick_runs(&self, merging: &mut Merging) -> Result<Option<RunMergeJob>, StoreError> {
        // Manifest and run set are replaced together, under this lock.
        let state = locked(&self.state);
        let (entries, runs) = (state.current().runs.clone(), self.source.runs());
        drop(state);
        if entries.is_empty() {
            merging.full_done = merging.full_wanted;
        }
        let full = (merging.full_wanted > merging.full_done).then_some(merging.full_wanted);
        let all = full.map(|_| 0..entries.len());
        let Some(range) = all.or_else(|| of_one_level(&entries, self.options.merge_fan_in)) else {
            return Ok(None);
        };
        let (Some(picked), Some(inputs)) = (entries.get(range.clone()), runs.runs.get(range.clone())) else {
            return Ok(None);
        };
        let name = self.new_name(RUN);
        let sealing = self.options.sealing.as_ref();
        let job = RunMergeJob {
            inputs: picked.iter().map(|entry| entry.name.clone()).collect(),
            merge: Merge::new(inputs, None, MERGE_READ_BYTES),
            writer: RunWriter::create(&*self.objects, &name, self.options.block_bytes, sealing)?,
            name,
            level: picked.iter().map(|entry| entry.level).max().unwrap_or(0) + 1,
            drop_deletions: range.end == entries.len(),
            full,
            counted: 0,
        };
        Ok(Some(job))
    }

    fn finish_runs(&self, job: RunMergeJob) -> Result<(), StoreError> {
        let RunMergeJob { inputs, writer, name, level, merge, .. } = job;
        drop(merge);
        let entries = writer.entries();
        // Deletions may have left nothing: then there is no run to write, or to ask.
        let entry = match entries {
            0 => None,
            _ => Some(RunEntry { name: name.clone(), level, entries, bytes: writer.finish()? }),
        };
        let published = self.put_merged(&inputs, entry);
        if !matches!(published, Ok(()) | Err(StoreError::Uncertain { .. })) {
            self.discard(&name);
        }
        published
    }

    fn put_merged(&self, inputs: &[String], entry: Option<RunEntry>) -> Result<(), StoreError> {
        let sealing = self.options.sealing.as_ref();
        let run = match &entry {
            None => None,
            Some(entry) => Some(Arc::new(Run::open(&*self.objects, &entry.name, entry.bytes, sealing)?)),
        };
        self.publish(
            |current, runs| {
                let place =
                    current.runs.iter().position(|known| Some(&known.name) == inputs.first()).unwrap_or(0);
                let mut manifest = Manifest::clone(current);
                let mut runs = RunSet::clone(runs);
                let end = (place + inputs.len()).min(manifest.runs.len()).min(runs.runs.len());
                manifest.runs.splice(place..end, entry);
                runs.runs.splice(place..end, run);
                Ok((manifest, runs))
            },
            || {},
        )
    }

    fn finish_ids(&self, job: IdMergeJob) -> Result<(), StoreError> {
        let inputs = job.inputs().to_vec();
        let output = job.finish(&*self.objects)?;
        let replaced = |name: &str| inputs.iter().any(|input| input.entry().name == name);
        let entry = output.entry().clone();
        let mut expired = false;
        let published = self.publish(
            |current, runs| {
                let mut manifest = Manifest::clone(current);
                let files = &mut manifest.dedup.files;
                let place = files.iter().position(|file| replaced(&file.name));
                files.retain(|file| !replaced(&file.name));
                match place {
                    Some(place) => files.insert(place.min(files.len()), entry.clone()),
                    None => expired = true,
                }
                Ok((manifest, RunSet::clone(runs)))
            },
            || self.dedup.merged(&inputs, output.clone()),
        );
        if expired || !matches!(published, Ok(()) | Err(StoreError::Uncertain { .. })) {
            self.discard(&entry.name);
        }
        published
    }
}

impl RunMergeJob {
    /// Goes on until the budget is used up. `true`: all rows are merged.
    fn step(&mut self, budget_bytes: &mut u64) -> Result<bool, StoreError> {
        while *budget_bytes > 0 {
            let mut rows_bytes = 0;
            for _ in 0..STEP_ROWS {
                if !self.merge.advance()? {
                    return Ok(true);
                }
                let Some((table, key, value)) = self.merge.row() else { continue };
                rows_bytes += value.map_or(0, <[u8]>::len) as u64;
                if value.is_some() || !self.drop_deletions {
                    self.writer.push(table, key, value)?;
                }
            }
            let written = self.writer.bytes() - self.counted;
            self.counted = self.writer.bytes();
            *budget_bytes = budget_bytes.saturating_sub((written + rows_bytes).max(STEP_ROWS as u64));
        }
        Ok(false)
    }
}

/// The oldest `fan_in` runs of the lowest level that has so many. Levels never fall from new to old, so runs of one
/// level are neighbours.
fn of_one_level(entries: &[RunEntry], fan_in: usize) -> Option<std::ops::Range<usize>> {
    let mut end = 0;
    for group in entries.chunk_by(|left, right| left.level == right.level) {
        end += group.len();
        if group.len() >= fan_in {
            return Some(end - fan_in..end);
        }
    }
    None
}
