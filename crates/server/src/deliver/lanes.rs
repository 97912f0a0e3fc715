//! Keeps a lane open for each enabled destination: what changes in the settings changes one lane, and no other.

use super::{Deliveries, folder, permits, platform, source};
use crate::api::Context;
use crate::telemetry::FollowedDestination;
use delivery::{JournalOptions, LaneOptions, LaneParts, LaneStatus, RateOptions, Runner, RunnerOptions};
use engage::{Destination, DestinationKind, SendingLimits};
use env::Env;
use outbound::ndjson::{Ndjson, NdjsonConfig};
use outbound::webhook::{Webhook, WebhookConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How often definitions are looked at when nobody calls.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The lanes that are open, and those that are about to be other ones.
#[derive(Default)]
struct Lanes {
    open: BTreeMap<String, Destination>,
    /// Each with a task; a destination that is slow to let go delays no other's change.
    changing: BTreeSet<String>,
    changes: JoinSet<(String, Option<Destination>)>,
}

pub(super) async fn supervise(context: Arc<Context>, env: Env) {
    let deliveries = &context.deliveries;
    let mut lanes = Lanes::default();
    while !deliveries.is_stopping() {
        let mut wanted = BTreeMap::new();
        for destination in context.engine.view().settings().destinations.iter().filter(|one| one.enabled) {
            wanted.insert(destination.name.clone(), destination.clone());
        }
        if deliveries.runner().is_some_and(|runner| runner.failure().is_some()) {
            // It has said why; trying again at once would only say so again.
            tokio::time::sleep(LOOK_INTERVAL).await;
            stop_runner(&context).await;
            lanes = Lanes::default();
        }
        if let Some(runner) = runner(&context, &env, &wanted) {
            lanes.change(&context, &env, &runner, &wanted);
        }
        context.egress.tend();
        tokio::select! {
            () = deliveries.wake.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            Some(change) = lanes.changes.join_next() => match change {
                Ok((name, opened)) => lanes.changed(&context, &name, opened),
                Err(error) => {
                    tracing::error!(%error, "a change of a destination panicked; it is tried again");
                    lanes.changing.clear();
                }
            },
        }
    }
    stop_runner(&context).await;
}

impl Lanes {
    /// Begins to change what is not as it is wanted.
    fn change(
        &mut self,
        context: &Arc<Context>,
        env: &Env,
        runner: &Arc<Runner>,
        wanted: &BTreeMap<String, Destination>,
    ) {
        let names: BTreeSet<&String> = self.open.keys().chain(wanted.keys()).collect();
        let other = |name: &&&String| self.open.get(**name) != wanted.get(**name);
        let names: Vec<String> = names.iter().filter(other).map(|name| (**name).clone()).collect();
        for name in names {
            if !self.changing.insert(name.clone()) {
                continue;
            }
            let (own, env, runner) = (Arc::clone(context), env.clone(), Arc::clone(runner));
            let destination = wanted.get(&name).cloned();
            self.changes.spawn(async move {
                let is_wanted = destination.is_some();
                let opened = change(&own, &env, &runner, &name, destination).await;
                if is_wanted && opened.is_none() {
                    // It is tried again, but not in the same breath.
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                (name, opened)
            });
        }
        context.deliveries.lock().problems.retain(|name, _| wanted.contains_key(name));
    }

    fn changed(&mut self, context: &Context, name: &str, opened: Option<Destination>) {
        self.changing.remove(name);
        match opened {
            Some(destination) => {
                self.open.insert(name.to_owned(), destination);
                // It may have been changed once more meanwhile.
                context.deliveries.look();
            }
            None => {
                self.open.remove(name);
            }
        }
        context.deliveries.lock().open = self.open.len();
    }
}

/// Closes a lane if it is open, and opens it as it is wanted. Gives what is open then.
async fn change(
    context: &Arc<Context>,
    env: &Env,
    runner: &Runner,
    name: &str,
    wanted: Option<Destination>,
) -> Option<Destination> {
    runner.close(name).await.ok()?;
    let destination = wanted?;
    let opened = match lane(context, env, &destination) {
        Ok(lane) => runner.open(lane).await.map_err(|error| error.to_string()),
        Err(problem) => Err(problem),
    };
    let mut shared = context.deliveries.lock();
    match opened {
        Ok(()) => {
            shared.problems.remove(name);
            Some(destination)
        }
        Err(problem) => {
            if shared.problems.get(name) != Some(&problem) {
                tracing::error!(
                    destination = name,
                    problem,
                    "nothing is sent to a destination; it is tried again"
                );
            }
            shared.problems.insert(name.to_owned(), problem);
            None
        }
    }
}

/// What runs, or is started: as soon as there is a destination, or a journal that somebody erased may stand in.
fn runner(context: &Arc<Context>, env: &Env, wanted: &BTreeMap<String, Destination>) -> Option<Arc<Runner>> {
    if let Some(runner) = context.deliveries.runner() {
        return Some(runner);
    }
    if wanted.is_empty() && !has_journal(context, env) {
        return None;
    }
    let mut options = RunnerOptions::at(folder(context).join(super::JOURNAL_FOLDER));
    options.journal = JournalOptions { keys: context.journal_keys.clone() };
    let permits = Arc::new(permits::LoopPermits::new(Arc::clone(context)));
    let started = delivery::run(env, options, Vec::new(), permits).map(Arc::new);
    let mut shared = context.deliveries.lock();
    match started {
        Ok(runner) => {
            shared.start_problem = None;
            shared.runner = Some(Arc::clone(&runner));
            Some(runner)
        }
        Err(error) => {
            let problem = error.to_string();
            if shared.start_problem.as_ref() != Some(&problem) {
                tracing::error!(code = error.code(), %error, "delivery cannot start; it is tried again");
            }
            shared.problems = wanted.keys().map(|name| (name.clone(), problem.clone())).collect();
            shared.start_problem = Some(problem);
            None
        }
    }
}

/// Whether there is a journal, so that something may be kept in it.
pub(super) fn has_journal(context: &Context, env: &Env) -> bool {
    env.disk.exists(&folder(context).join(super::JOURNAL_FOLDER))
}

async fn stop_runner(context: &Context) {
    let runner = context.deliveries.lock().runner.take();
    if let Some(runner) = runner {
        runner.stop().await;
        runner.statuses().iter().for_each(tell);
    }
    context.deliveries.lock().open = 0;
}

/// What became of a destination's messages, as a line of the log.
fn tell(status: &LaneStatus) {
    let LaneStatus { name, delivered, attempts, failed_attempts, retried, crossed, dead_letters, .. } =
        status;
    if *attempts > 0 || *dead_letters > 0 {
        tracing::info!(
            destination = name,
            delivered,
            attempts,
            failed_attempts,
            retried,
            refused_permits = Deliveries::refused(status),
            crossed,
            dead_letters,
            "delivery since the start"
        );
    }
}

/// What operators set stands over what suits the kind of destination.
fn limited(mut options: LaneOptions, limits: SendingLimits) -> LaneOptions {
    let set = |limit: u32| usize::try_from(limit).ok().filter(|limit| *limit > 0);
    if limits.concurrency_max > 0 {
        options.concurrency_max = usize::from(limits.concurrency_max);
    }
    if limits.attempts_per_second > 0 {
        let attempts_per_second = limits.attempts_per_second;
        options.rate = Some(RateOptions { attempts_per_second, burst: attempts_per_second });
    }
    // A destination that takes one message at a time takes no more because somebody wishes it.
    if options.batch_parcels_max > 1 {
        options.batch_parcels_max = set(limits.batch_max).unwrap_or(options.batch_parcels_max);
        if limits.flush_after_ms > 0 {
            options.flush_after_ms = u64::from(limits.flush_after_ms);
        }
    }
    options
}

fn lane(context: &Arc<Context>, env: &Env, destination: &Destination) -> Result<LaneParts, String> {
    let source = Arc::new(source::FeedSource::new(Arc::clone(context), destination.clone()));
    let name = destination.name.as_str();
    let (options, carrier): (LaneOptions, Arc<dyn delivery::Destination>) = match &destination.kind {
        DestinationKind::Webhook { url } => {
            let secret = context.secrets.webhook(name, destination.secret_generation);
            let mut config = WebhookConfig::new(url, secret);
            if destination.overlap && destination.secret_generation > 0 {
                config.secrets.push(context.secrets.webhook(name, destination.secret_generation - 1));
            }
            let options = config.lane(name);
            let webhook = Webhook::new(name, config, &context.egress, env.clock.clone());
            (options, Arc::new(webhook.map_err(|error| error.to_string())?))
        }
        DestinationKind::Ndjson => {
            let config = NdjsonConfig::new(folder(context).join(super::FILES_FOLDER), name);
            let options = config.lane(name);
            let files = Arc::new(Ndjson::open(env, config).map_err(|error| error.to_string())?);
            context.deliveries.lock().files.insert(name.to_owned(), Arc::downgrade(&files));
            (options, files)
        }
        DestinationKind::Http { url, settings, credentials, .. } => {
            let (options, http) = super::http::open(context, env, name, (url, settings, credentials))?;
            (options, Arc::new(http))
        }
        DestinationKind::Platform { settings, credentials, .. } => {
            let opened = platform::open(context, env, name, settings, credentials)?;
            let known = platform::Known::of(&opened);
            context.deliveries.lock().platforms.insert(name.to_owned(), known);
            (opened.options, opened.destination)
        }
    };
    let options = limited(options, destination.limits);
    let destination = FollowedDestination::wrap(context.traces.as_ref(), name, carrier);
    Ok(LaneParts { options, source, destination })
}
