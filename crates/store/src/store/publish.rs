//! The one way the state changes: a new manifest, then the pointer, then readers, then what nobody needs any more.

use super::{RunSet, Shared, locked};
use crate::StoreError;
use crate::manifest::{CURRENT, METADATA_BYTES_MAX, Manifest, Pointer};
use crate::objects::ETag;
use crate::run::Run;
use model::id::Term;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

/// What the writers of a store agree on.
pub(super) struct State {
    /// Generation 0: none yet.
    current: Manifest,
    /// Readable manifests, oldest first, one for each kept checkpoint; the last is the current one.
    kept: Vec<Manifest>,
    kept_checkpoints: usize,
    /// `None`: opened for reading.
    tag: Option<ETag>,
    term: Term,
    next_generation: u64,
    /// Why no commit is possible any more.
    closed: Option<&'static str>,
    /// Objects to delete: no kept manifest needs them.
    retired: BTreeSet<String>,
    /// Runs that somebody may be reading.
    open_runs: Vec<Weak<Run>>,
}

impl State {
    pub(super) fn new(
        current: Manifest,
        manifests: Vec<Manifest>,
        tag: Option<ETag>,
        term: Term,
        next_generation: u64,
        kept_checkpoints: usize,
    ) -> Self {
        let (retired, open_runs) = (BTreeSet::new(), Vec::new());
        let mut state = Self {
            current,
            kept: Vec::new(),
            kept_checkpoints,
            tag,
            term,
            next_generation,
            closed: None,
            retired,
            open_runs,
        };
        for manifest in manifests {
            state.keep(manifest);
        }
        // What was let go here is an orphan, which opening removes by listing.
        state.retired.clear();
        state
    }

    pub(super) fn current(&self) -> &Manifest {
        &self.current
    }

    pub(super) fn term(&self) -> Term {
        self.term
    }

    pub(super) fn kept_manifests(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn oldest_kept(&self) -> Option<&Manifest> {
        self.kept.first()
    }

    pub(super) fn retired_objects(&self) -> usize {
        self.retired.len()
    }

    pub(super) fn opened(&mut self, run: &Arc<Run>) {
        self.open_runs.retain(|known| known.strong_count() > 0);
        self.open_runs.push(Arc::downgrade(run));
    }

    /// Whether a kept manifest is or names the object.
    pub(super) fn needs(&self, name: &str) -> bool {
        self.kept
            .iter()
            .any(|kept| Manifest::name(kept.generation) == name || kept.files().any(|file| file == name))
    }

    fn keep(&mut self, manifest: Manifest) {
        let mut dropped: Vec<Manifest> =
            self.kept.extract_if(.., |kept| kept.checkpoint == manifest.checkpoint).collect();
        self.kept.push(manifest);
        let excess = self.kept.len().saturating_sub(self.kept_checkpoints);
        dropped.extend(self.kept.drain(..excess));
        for manifest in dropped {
            let gone = manifest.files().map(str::to_owned).chain([Manifest::name(manifest.generation)]);
            let gone: Vec<String> = gone.filter(|name| !self.needs(name)).collect();
            self.retired.extend(gone);
        }
    }

    fn may_commit(&self) -> Result<&ETag, StoreError> {
        if let Some(reason) = self.closed {
            return Err(StoreError::ReadOnly { reason });
        }
        self.tag.as_ref().ok_or(StoreError::ReadOnly { reason: "it was opened for reading" })
    }
}

impl Shared {
    /// Whether commits are possible, before work is put into one.
    pub(super) fn check_writable(&self) -> Result<(), StoreError> {
        locked(&self.state).may_commit().map(|_| ())
    }

    /// Makes what `change` makes of the current manifest and runs the current ones. `changed` runs after the new
    /// manifest is durable and before anything is deleted. Generation and checkpoint number are filled in here:
    /// a checkpoint number of 0 becomes the new generation.
    pub(super) fn publish(
        &self,
        change: impl FnOnce(&Manifest, &RunSet) -> Result<(Manifest, RunSet), StoreError>,
        changed: impl FnOnce(),
    ) -> Result<(), StoreError> {
        let mut state = locked(&self.state);
        let state = &mut *state;
        state.may_commit()?;
        let (mut manifest, runs) = change(&state.current, &self.source.runs())?;
        if manifest.metadata.len() > METADATA_BYTES_MAX {
            return Err(StoreError::TooLarge {
                what: "the engine's metadata",
                limit: METADATA_BYTES_MAX as u64,
            });
        }
        manifest.generation = state.next_generation;
        state.next_generation += 1;
        if manifest.checkpoint == 0 {
            manifest.checkpoint = manifest.generation;
        }
        let tag = self.replace_current(state, &manifest)?;
        state.tag = Some(tag);
        state.term = manifest.term;
        state.current = manifest.clone();
        for run in &runs.runs {
            if !state.open_runs.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(run))) {
                state.opened(run);
            }
        }
        self.source.replace(runs);
        changed();
        state.keep(manifest);
        self.delete_retired(state);
        Ok(())
    }

    fn replace_current(&self, state: &mut State, manifest: &Manifest) -> Result<ETag, StoreError> {
        let name = Manifest::name(manifest.generation);
        self.objects.put_if_absent(&name, &manifest.encode())?;
        let pointer = Pointer { generation: manifest.generation, term: manifest.term };
        let tag = state.may_commit()?.clone();
        let swapped = self.objects.compare_and_swap(CURRENT, Some(&tag), &pointer.encode());
        match swapped {
            Ok(tag) => Ok(tag),
            Err(error @ StoreError::Uncertain { .. }) => {
                state.closed = Some("it is unknown whether its last commit happened");
                Err(error)
            }
            Err(StoreError::Conflict { .. }) => {
                state.closed = Some("another writer has taken it over");
                self.discard(&name);
                Err(StoreError::Fenced { ours: manifest.term, theirs: self.current_term(manifest.term) })
            }
            Err(error) => {
                self.discard(&name);
                Err(error)
            }
        }
    }

    fn current_term(&self, otherwise: Term) -> Term {
        let read = self.objects.read_tagged(CURRENT).ok().flatten();
        read.and_then(|(raw, _)| Pointer::decode(&raw).ok()).map_or(otherwise, |pointer| pointer.term)
    }

    /// Deletes an object that no manifest names. What cannot be deleted now is an orphan, removed at the next open.
    pub(super) fn discard(&self, name: &str) {
        let _ = self.objects.delete(name);
    }

    /// Deletes what no kept manifest needs and nobody reads; what fails is tried again after the next commit.
    fn delete_retired(&self, state: &mut State) {
        let read: BTreeSet<String> =
            state.open_runs.iter().filter_map(Weak::upgrade).map(|run| run.name().to_owned()).collect();
        state.retired.retain(|name| read.contains(name) || self.objects.delete(name).is_err());
    }
}
