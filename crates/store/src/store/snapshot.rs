//! The runs of one moment: what readers hold while checkpoints and merges replace them.

use crate::filter::Probe;
use crate::merge::Merge;
use crate::run::{Found, Run};
use crate::{RowSource, StoreError, TableId};
use model::id::Key;
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes a scan reads at once from each run.
const SCAN_READ_BYTES: usize = 256 << 10;

/// Runs, newest first.
#[derive(Clone, Default)]
pub(super) struct RunSet {
    pub(super) runs: Vec<Arc<Run>>,
}

/// The current set. The lock is held for the copying of a pointer only.
pub(super) struct Source(RwLock<Arc<RunSet>>);

impl Source {
    pub(super) fn new(runs: RunSet) -> Self {
        Self(RwLock::new(Arc::new(runs)))
    }

    pub(super) fn runs(&self) -> Arc<RunSet> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn replace(&self, runs: RunSet) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(runs);
    }
}

impl RowSource for Source {
    fn read(&self, table: TableId, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        let probe = Probe::of_row(table, key);
        let runs = self.runs();
        for runs in runs.runs.chunks(u64::BITS as usize) {
            // All filters are asked before any answer is looked at: their cache misses overlap.
            let ask = |held: u64, run: &Arc<Run>| held << 1 | u64::from(run.may_hold(table, key, probe));
            let held = runs.iter().rev().fold(0, ask);
            for (number, run) in runs.iter().enumerate() {
                if held >> number & 1 == 0 {
                    continue;
                }
                match run.read(table, key)? {
                    Found::Value(bytes) => return Ok(Some(bytes)),
                    Found::Deleted => return Ok(None),
                    Found::Absent => {}
                }
            }
        }
        Ok(None)
    }
}

/// The rows of a table, in order. Ends after the first error.
pub struct Scan {
    merge: Option<Merge>,
}

impl Scan {
    pub(super) fn new(runs: &RunSet, table: TableId) -> Self {
        Self { merge: Some(Merge::new(&runs.runs, Some(table), SCAN_READ_BYTES)) }
    }
}

impl Iterator for Scan {
    type Item = Result<(Key, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let merge = self.merge.as_mut()?;
        loop {
            match merge.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.merge = None;
                    return Some(Err(error));
                }
            }
            if let Some((_, key, Some(value))) = merge.row() {
                return Some(Ok((key, value.to_vec())));
            }
        }
    }
}
