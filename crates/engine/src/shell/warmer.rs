//! The warming thread: after a restart, reads every row into memory as far as the budget goes.
//!
//! A shard answers before this is done: rows are read when wanted. But as long as some are only on disk, each new
//! identifier costs a look at the disk to know that it is new.

use super::apply::Work;
use super::mailbox::Mailbox;
use super::status::Status;
use crate::machine::Machine;
use model::id::Key;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use store::{Store, TableId};

/// Rows handed over at once: well below a millisecond of the applying thread.
const ROWS_AT_ONCE: usize = 512;
/// Warming stops when rows take this many hundredths of the budget: eviction would undo it.
const BUDGET_PERCENT: u64 = 75;

pub(crate) struct Warmer<M: Machine> {
    pub(crate) store: Store,
    pub(crate) tables: Vec<TableId>,
    pub(crate) applier: Arc<Mailbox<Work<M>>>,
    pub(crate) status: Arc<Status>,
    pub(crate) resident_bytes_max: usize,
}

impl<M: Machine> Warmer<M> {
    pub(crate) fn run(self) {
        for table in &self.tables {
            if !self.warm(*table) {
                return;
            }
        }
        let _ = self.applier.push(Work::Warmed, 1);
    }

    /// `false`: there is no sense in going on.
    fn warm(&self, table: TableId) -> bool {
        let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
        for row in self.store.scan(table) {
            match row {
                Ok(row) => rows.push(row),
                Err(error) => {
                    tracing::warn!(error = %error, "rows could not be read ahead; they are read when wanted");
                    return false;
                }
            }
            if rows.len() == ROWS_AT_ONCE && !self.hand_over(table, &mut rows) {
                return false;
            }
        }
        self.hand_over(table, &mut rows)
    }

    fn hand_over(&self, table: TableId, rows: &mut Vec<(Key, Vec<u8>)>) -> bool {
        let full = self.status.resident_bytes.load(Relaxed).saturating_mul(100);
        if full > (self.resident_bytes_max as u64).saturating_mul(BUDGET_PERCENT) {
            tracing::info!("not all rows fit into memory; the others are read when wanted");
            return false;
        }
        self.applier.push(Work::Warm(table, std::mem::take(rows)), 1).is_ok()
    }
}
