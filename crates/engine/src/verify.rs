//! Proof that replay is exact: applies a log again and compares with what the checkpoints recorded.
//!
//! Every kept checkpoint carries a digest over all rows and message ids and a chain over all effects. Starting from
//! nothing (or from the oldest kept checkpoint, where the log no longer reaches back), the log is applied from one
//! checkpoint to the next, and each time both must come out the same. The chain begins anew whenever somebody is erased:
//! what was issued before cannot be issued again from a log that says no more about them.

use crate::core::Core;
use crate::error::EngineError;
use crate::machine::Machine;
use crate::recovery::{LogSource, OpenOptions, replay_log, restore};
use env::seeded::World;
use model::id::Position;
use std::path::Path;
use std::sync::Arc;
use store::{LocalObjects, Manifest, Objects, Store};

/// One stretch of the log, applied again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Applied from here.
    pub from: Position,
    /// Up to here, exclusively: where a checkpoint stands.
    pub to: Position,
    /// Records applied.
    pub records: u64,
    /// Effects issued since position 0, by this replay.
    pub effects: u64,
    /// Digest of the state that the checkpoint recorded, and that came out.
    pub state: (u128, u128),
    /// Chain over the effects since somebody was last erased: that the checkpoint recorded, and that came out.
    pub effect_chain: (u128, u128),
}

impl Stretch {
    /// Whether state and effects came out the same, byte for byte.
    pub fn is_exact(&self) -> bool {
        self.state.0 == self.state.1 && self.effect_chain.0 == self.effect_chain.1
    }
}

/// Replays from the beginning of the log, or from the oldest kept checkpoint, to every later kept checkpoint.
pub fn verify<M: Machine>(
    objects: &Arc<dyn Objects>,
    log: &dyn LogSource,
    machine: impl Fn() -> M,
    options: &OpenOptions,
) -> Result<Vec<Stretch>, EngineError> {
    let manifests = Store::kept(&**objects)?;
    let mut targets = manifests.iter();
    let reaches_back = log.first_position() == Position(0);
    // A scratch world: a replay keeps everything in memory and writes nothing.
    let scratch = World::new(0, 0).env();
    let mut core = if reaches_back {
        from_nothing(&scratch, machine(), options)?
    } else {
        let Some(oldest) = targets.next() else { return Ok(Vec::new()) };
        let (store, manifest) =
            Store::open_at(Arc::clone(objects), options.store.clone(), oldest.generation)?;
        restore(machine(), &store, Some(&manifest))?
    };
    let mut stretches = Vec::new();
    for target in targets {
        stretches.push(stretch(&mut core, log, target)?);
    }
    Ok(stretches)
}

fn from_nothing<M: Machine>(
    scratch: &env::Env,
    machine: M,
    options: &OpenOptions,
) -> Result<Core<M>, EngineError> {
    let objects = Arc::new(LocalObjects::open(scratch, Path::new("/scratch"))?);
    let (store, _) = Store::open(objects, options.store.clone())?;
    Ok(Core::new(machine, store.source(), store.dedup_window()?))
}

fn stretch<M: Machine>(
    core: &mut Core<M>,
    log: &dyn LogSource,
    target: &Manifest,
) -> Result<Stretch, EngineError> {
    let from = core.progress().next_position;
    let records = replay_log(core, log, Some(target.position))?;
    Ok(Stretch {
        from,
        to: target.position,
        records,
        effects: core.progress().effects,
        state: (target.state_digest.sum, core.digest_now()),
        effect_chain: (target.effects_digest, core.progress().effects_digest),
    })
}
