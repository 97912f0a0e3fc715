//! Makes de-duplication remember message ids, as a day of traffic would have, through the store's own interface.

use super::Progress;
use crate::calendar::now_us;
use crate::config::Config;
use crate::serve::{DataDirectory, open_options};
use anyhow::Context as _;
use engine::recovery::STATE_FOLDER;
use env::Env;
use env::seeded::Seed;
use model::id::{Key, Timestamp};
use std::path::Path;
use std::sync::Arc;
use store::{CheckpointMeta, DedupWindow, LocalObjects, Manifest, Objects, Store};

/// Ids of one checkpoint.
const INTERVAL_IDS: u64 = 1_000_000;
/// Bytes that one step of a merge may write.
const MERGE_STEP_BYTES: u64 = 64 << 20;
/// A merge has at most so many steps.
const MERGE_STEPS_MAX: usize = 100_000;
const HOUR_US: i64 = 3_600_000_000;
/// The newest ids are this old: the server's own come after them.
const YOUNGEST_US: i64 = 1_000_000;

/// Adds so many ids, spread over the last 24 h of log time, to the data directory of a stopped server that has never
/// taken an event.
pub(super) fn ids(data: &Path, count: u64, progress: &Progress) -> anyhow::Result<()> {
    let mut config = Config::default();
    config.data.directory = data.to_owned();
    let env = Env::real();
    let directory = DataDirectory::open(&config.data, false)?;
    let options = open_options(&config, &directory, &env)?.store;
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::open(&env, &directory.path().join(STATE_FOLDER))?);
    let (store, manifest) = Store::open(objects, options)?;
    let manifest =
        manifest.context("the data directory has no checkpoint yet: start and stop the server first")?;
    let mut window = store.dedup_window()?;
    let mut seed = Seed::new(0x1D5);
    let (from_us, span_us) = (now_us() - 24 * HOUR_US, 24 * HOUR_US - YOUNGEST_US);
    for number in 0..count {
        let passed_us = (i128::from(span_us) * i128::from(number) / i128::from(count)) as i64;
        let id = Key(u128::from(seed.next_u64()) << 64 | u128::from(seed.next_u64()));
        window.check_and_insert(id, Timestamp(from_us + passed_us))?;
        if (number + 1) % INTERVAL_IDS == 0 || number + 1 == count {
            checkpoint(&store, &mut window, &manifest)?;
            progress.tick(&format!("{} million message ids", (number + 1) / 1_000_000));
        }
    }
    Ok(())
}

fn checkpoint(store: &Store, window: &mut DedupWindow, manifest: &Manifest) -> anyhow::Result<()> {
    let mut writer = store.checkpoint()?;
    writer.add_dedup(window.begin_checkpoint());
    writer.commit(CheckpointMeta {
        position: manifest.position,
        term: manifest.term,
        rules_version: manifest.rules_version,
        log_time: manifest.log_time,
        state_digest: manifest.state_digest,
        effects_digest: manifest.effects_digest,
        metadata: manifest.metadata.clone(),
    })?;
    for _ in 0..MERGE_STEPS_MAX {
        if !store.merge_step(MERGE_STEP_BYTES)? {
            break;
        }
    }
    Ok(())
}
