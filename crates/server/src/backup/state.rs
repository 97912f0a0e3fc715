//! The checkpoints of a data directory that a server may be changing.

use super::contents::CheckpointPart;
use super::shelf::{Draft, open_if_there};
use super::{BackupError, take::LOOKS_MAX};
use engine::recovery::STATE_FOLDER;
use env::Env;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;
use store::{LocalObjects, Manifest, Objects as _, Store, StoreOptions};

/// The pointer to the current checkpoint (`docs/format-store.md`).
const CURRENT: &str = "CURRENT";
/// Between two looks: a checkpoint that is being committed is there by then.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Every kept checkpoint, with all its files open: what the server deletes from now on stays readable.
pub(super) struct Pinned {
    current: Vec<u8>,
    manifests: Vec<Manifest>,
    files: Vec<(String, File)>,
}

impl Pinned {
    /// Opens everything that the kept checkpoints name. `None`: there is no checkpoint yet.
    pub(super) fn open(env: &Env, directory: &Path) -> Result<Option<Self>, BackupError> {
        let folder = directory.join(STATE_FOLDER);
        if !folder.exists() {
            return Ok(None);
        }
        let objects = LocalObjects::view(env, &folder);
        for _ in 0..LOOKS_MAX {
            let Some((_, before)) = objects.read_tagged(CURRENT)? else { return Ok(None) };
            let current = folder.join(CURRENT);
            let current = fs::read(&current).map_err(BackupError::io("read", &current))?;
            let manifests = Store::kept(&objects)?;
            let files = open_all(&folder, &manifests)?;
            // The pointer is replaced as a whole and its tag never comes back: the same tag before and after says that
            // the bytes between belong to these manifests.
            let unchanged = objects.read_tagged(CURRENT)?.is_some_and(|(_, after)| after == before);
            match files {
                Some(_) if manifests.is_empty() && unchanged => return Ok(None),
                Some(files) if unchanged => return Ok(Some(Self { current, manifests, files })),
                _ => std::thread::sleep(LOOK_AGAIN_AFTER),
            }
        }
        Err(BackupError::Restless(folder))
    }

    /// Where the oldest of them stands: the log from there on is needed.
    pub(super) fn oldest_position(&self) -> u64 {
        self.manifests.first().map_or(0, |manifest| manifest.position.0)
    }

    /// Takes them in.
    pub(super) fn take(&self, directory: &Path, draft: &mut Draft) -> Result<(), BackupError> {
        for (name, file) in &self.files {
            let from = directory.join(STATE_FOLDER).join(name);
            let bytes = file.metadata().map_err(BackupError::io("read", &from))?.len();
            draft.take(&format!("{STATE_FOLDER}/{name}"), file, &from, bytes)?;
        }
        draft.take_bytes(&format!("{STATE_FOLDER}/{CURRENT}"), &self.current)?;
        draft.contents.checkpoints = self
            .manifests
            .iter()
            .map(|manifest| CheckpointPart {
                position: manifest.position.0,
                state: format!("{:032x}", manifest.state_digest.sum),
            })
            .collect();
        Ok(())
    }
}

/// Opens every checkpoint of a copy, as a server would, and loads its window of message ids.
pub(super) fn check(env: &Env, copy: &Path, options: &StoreOptions) -> Result<(), BackupError> {
    let folder = copy.join(STATE_FOLDER);
    if !folder.exists() {
        return Ok(());
    }
    let view = || LocalObjects::view(env, &folder);
    let manifests = Store::kept(&view())?;
    let pointer = view().read_tagged(CURRENT)?;
    let named = pointer.and_then(|(raw, _)| raw.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)));
    if named != manifests.last().map(|manifest| manifest.generation) {
        let why = format!("{STATE_FOLDER}/{CURRENT} names a checkpoint that is not in it");
        return Err(BackupError::NotWhole { path: copy.to_owned(), why });
    }
    for manifest in manifests {
        let (store, _) = Store::open_at(std::sync::Arc::new(view()), options.clone(), manifest.generation)?;
        store.dedup_window()?;
    }
    Ok(())
}

/// `None` if a file is gone: a newer checkpoint was committed meanwhile.
fn open_all(folder: &Path, manifests: &[Manifest]) -> Result<Option<Vec<(String, File)>>, BackupError> {
    let mut names = BTreeSet::new();
    for manifest in manifests {
        names.insert(format!("manifest-{:020}", manifest.generation));
        names.extend(manifest.runs.iter().map(|run| run.name.clone()));
        names.extend(manifest.dedup.files.iter().map(|file| file.name.clone()));
    }
    let mut files = Vec::with_capacity(names.len());
    for name in names {
        match open_if_there(&folder.join(&name))? {
            Some(file) => files.push((name, file)),
            None => return Ok(None),
        }
    }
    Ok(Some(files))
}
