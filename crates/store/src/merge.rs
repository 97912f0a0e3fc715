//! Several runs as one sorted sequence in which the newest word about a row wins.

use crate::run::{Run, RunCursor};
use crate::{StoreError, TableId};
use model::id::Key;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// The rows of several runs in order, each once.
pub(crate) struct Merge {
    /// Newest run first.
    cursors: Vec<RunCursor>,
    /// Where each cursor stands that is not at its end; equal rows come out newest first.
    heap: BinaryHeap<Reverse<(TableId, Key, usize)>>,
    current: Option<usize>,
    started: bool,
}

impl Merge {
    /// Over runs given newest first, all their rows or those of one table.
    pub(crate) fn new(runs: &[Arc<Run>], table: Option<TableId>, read_bytes: usize) -> Self {
        let cursors = runs.iter().map(|run| RunCursor::new(run.clone(), table, read_bytes)).collect();
        Self { cursors, heap: BinaryHeap::with_capacity(runs.len()), current: None, started: false }
    }

    /// Moves to the next row. `false` at the end. After an error the sequence is over.
    pub(crate) fn advance(&mut self) -> Result<bool, StoreError> {
        if !self.started {
            self.started = true;
            for number in 0..self.cursors.len() {
                self.push(number)?;
            }
        }
        if let Some(number) = self.current.take() {
            self.push(number)?;
        }
        let Some(Reverse((table, key, number))) = self.heap.pop() else { return Ok(false) };
        while let Some(Reverse((same_table, same_key, older))) = self.heap.peek().copied() {
            if (same_table, same_key) != (table, key) {
                break;
            }
            self.heap.pop();
            self.push(older)?;
        }
        self.current = Some(number);
        Ok(true)
    }

    /// The row it stands on; no bytes for a deletion. `None` before the first and behind the last.
    pub(crate) fn row(&self) -> Option<(TableId, Key, Option<&[u8]>)> {
        self.cursors.get(self.current?).map(RunCursor::row)
    }

    fn push(&mut self, number: usize) -> Result<(), StoreError> {
        let Some(cursor) = self.cursors.get_mut(number) else { return Ok(()) };
        if cursor.advance()? {
            let (table, key) = cursor.place();
            self.heap.push(Reverse((table, key, number)));
        }
        Ok(())
    }
}
