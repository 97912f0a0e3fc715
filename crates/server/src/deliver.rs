//! Delivery: carries effects from the change feed to the destinations that operators defined.
//!
//! [`start`] runs on a thread and a runtime of its own, so that a hanging destination takes nothing from the doors. It
//! keeps one `delivery::Runner` with a lane for each enabled destination, and begins it anew when their definitions
//! change; what the lanes had done stands in their journal. `source` reads the feed for one destination, `permits`
//! asks the loop, in log order, whether an attempt is still right, and `handlers` is the interface for operators.

mod handlers;
mod permits;
mod source;

pub(crate) use handlers::{dead_letters, define, discard, get, list, remove, resend, rotate_secret};

use crate::api::Context;
use crate::api::types::DeliveryStatus;
use delivery::egress::{AllowRule, Egress, EgressError, EgressOptions, Network, SystemResolver};
use delivery::{JournalKeys, JournalOptions, LaneOptions, LaneParts, LaneStatus, Runner, RunnerOptions};
use engage::{Destination, DestinationKind};
use engine::feed::Place;
use env::Env;
use model::id::{EffectId, Key};
use outbound::ndjson::{Ndjson, NdjsonConfig};
use outbound::webhook::{Webhook, WebhookConfig};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use zeroize::Zeroizing;

/// How often definitions are looked at when nobody calls.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long the feed is waited for at a time.
const FEED_WAIT: Duration = Duration::from_millis(500);
/// The shortest time between two calls of the lanes.
const NUDGE_INTERVAL: Duration = Duration::from_millis(2);
/// The most erasures that wait to reach the journal; more are found again when the lanes read on after a restart.
const ERASED_MAX: usize = 65_536;

/// What handlers, lanes and the thread share.
#[derive(Default)]
pub(crate) struct Deliveries {
    shared: Mutex<Shared>,
    wake: Notify,
}

#[derive(Default)]
struct Shared {
    runner: Option<Arc<Runner>>,
    /// Destinations that cannot be sent to, and why.
    problems: BTreeMap<String, String>,
    /// People who were erased, until the journal has forgotten them.
    erased: Vec<(Key, EffectId)>,
    /// Times that a destination lost effects, because the feed began anew before they were read.
    losses: u64,
    stopping: bool,
}

impl Deliveries {
    /// Asks the thread to look at the definitions at once.
    pub(crate) fn look(&self) {
        self.wake.notify_one();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_one();
    }

    /// What status and metrics show.
    pub(crate) fn status(&self) -> DeliveryStatus {
        let statuses = self.runner().map(|runner| runner.statuses()).unwrap_or_default();
        let sum = |of: fn(&LaneStatus) -> u64| statuses.iter().map(of).sum();
        let shared = self.lock();
        DeliveryStatus {
            destinations: statuses.len() as u64,
            problems: shared.problems.len() as u64,
            delivered: sum(|lane| lane.delivered),
            waiting: sum(|lane| lane.held_parcels as u64),
            dead_letters: sum(|lane| lane.dead_letters as u64),
            losses: shared.losses,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn runner(&self) -> Option<Arc<Runner>> {
        self.lock().runner.clone()
    }

    fn is_stopping(&self) -> bool {
        self.lock().stopping
    }
}

/// The one client through which anything leaves.
pub(crate) fn egress(env: &Env, allow: &str) -> anyhow::Result<Egress> {
    let allow = allow_rules(allow).ok_or_else(|| {
        anyhow::anyhow!(
            "delivery.allow cannot be read: write networks like 10.0.0.0/8:8443 or 127.0.0.0/8+http"
        )
    })?;
    let options = EgressOptions { allow, ..EgressOptions::default() };
    Ok(Egress::new(options, Arc::new(SystemResolver), env.clock.clone())?)
}

/// Networks separated by commas: an address or network, then `:PORT` if only one port is meant, then `+http` if it may
/// be without TLS.
fn allow_rules(text: &str) -> Option<Vec<AllowRule>> {
    let mut rules = Vec::new();
    for rule in text.split(',').map(str::trim).filter(|rule| !rule.is_empty()) {
        let (rule, plain_http) = match rule.strip_suffix("+http") {
            Some(rule) => (rule, true),
            None => (rule, false),
        };
        // The colons of IPv6 stand before the length of the network.
        let after_length = rule.find('/').map_or(0, |at| at);
        let port_at = rule.get(after_length..)?.find(':').map(|at| at + after_length);
        let (network, port) =
            match port_at.filter(|at| after_length > 0 || rule.matches(':').count() == 1 && *at > 0) {
                Some(at) => (rule.get(..at)?, Some(rule.get(at + 1..)?.parse::<u16>().ok()?)),
                None => (rule, None),
            };
        let ports = port.map(|port| vec![port]);
        rules.push(AllowRule { network: Network::parse(network)?, ports, plain_http });
    }
    Some(rules)
}

/// Starts the threads.
pub(crate) fn start(context: &Arc<Context>, env: &Env) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (own, env) = (Arc::clone(context), env.clone());
    let deliver = std::thread::Builder::new()
        .name("deliver".to_owned())
        .spawn(move || runtime.block_on(supervise(&own, &env)))?;
    let own = Arc::clone(context);
    let nudge = std::thread::Builder::new().name("nudge".to_owned()).spawn(move || follow_feed(&own))?;
    Ok(vec![deliver, nudge])
}

/// Tells the lanes that the feed has something new.
fn follow_feed(context: &Context) {
    let feed = context.engine.feed();
    let mut place = Place::at(feed.bounds().complete);
    while !context.deliveries.is_stopping() {
        if feed.wait(place, FEED_WAIT)
            && let Some(runner) = context.deliveries.runner()
        {
            runner.nudge();
        }
        place = Place::at(feed.bounds().complete);
        std::thread::sleep(NUDGE_INTERVAL);
    }
}

async fn supervise(context: &Arc<Context>, env: &Env) {
    let deliveries = &context.deliveries;
    let mut running: Option<Vec<Destination>> = None;
    while !deliveries.is_stopping() {
        let mut wanted = context.engine.view().settings().destinations.clone();
        wanted.retain(|destination| destination.enabled);
        if running.as_ref() != Some(&wanted) {
            stop_runner(context).await;
            start_runner(context, env, &wanted);
            running = Some(wanted);
        }
        forget_erased(context).await;
        if deliveries.runner().is_some_and(|runner| runner.failure().is_some()) {
            // It has said why; trying again at once would only say so again.
            tokio::time::sleep(LOOK_INTERVAL).await;
            running = None;
        }
        context.egress.tend();
        tokio::select! {
            () = deliveries.wake.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
    stop_runner(context).await;
}

async fn stop_runner(context: &Context) {
    let runner = context.deliveries.lock().runner.take();
    if let Some(runner) = runner {
        runner.stop().await;
    }
}

fn start_runner(context: &Arc<Context>, env: &Env, wanted: &[Destination]) {
    let mut problems = BTreeMap::new();
    let mut lanes = Vec::new();
    for destination in wanted {
        match lane(context, env, destination) {
            Ok(lane) => lanes.push(lane),
            Err(problem) => {
                tracing::error!(destination = destination.name, problem, "nothing is sent to a destination");
                problems.insert(destination.name.clone(), problem);
            }
        }
    }
    let mut options = RunnerOptions::at(folder(context).join("journal"));
    options.journal = JournalOptions { keys: context.journal_keys.clone() };
    let permits = Arc::new(permits::LoopPermits::new(Arc::clone(context)));
    let runner = if lanes.is_empty() { None } else { Some(delivery::run(env, options, lanes, permits)) };
    let mut shared = context.deliveries.lock();
    shared.problems = problems;
    match runner.transpose() {
        Ok(runner) => shared.runner = runner.map(Arc::new),
        Err(error) => {
            tracing::error!(code = error.code(), %error, "delivery cannot start; it is tried again");
            let problem = error.to_string();
            shared.problems.extend(wanted.iter().map(|one| (one.name.clone(), problem.clone())));
        }
    }
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
            let config = NdjsonConfig::new(folder(context).join("files"), name);
            let options = config.lane(name);
            (options, Arc::new(Ndjson::open(env, config).map_err(|error| error.to_string())?))
        }
    };
    Ok(LaneParts { options, source, destination: carrier })
}

/// The folder of the data directory that delivery keeps its journal and files in.
fn folder(context: &Context) -> PathBuf {
    context.config.data.directory.join("delivery")
}

/// Dead letters and what waits hold bodies: they go with the person.
async fn forget_erased(context: &Context) {
    let Some(runner) = context.deliveries.runner() else { return };
    let erased = std::mem::take(&mut context.deliveries.lock().erased);
    for (subject, id) in erased {
        if let Err(error) = runner.forget(subject, id).await {
            tracing::warn!(%error, "a person who was erased is still in the journal of delivery; it is tried again");
            context.deliveries.note_erased(subject, id);
            return;
        }
    }
}

impl Deliveries {
    fn note_erased(&self, subject: Key, id: EffectId) {
        let mut shared = self.lock();
        if shared.erased.len() < ERASED_MAX {
            shared.erased.push((subject, id));
        }
    }

    fn note_lost(&self) {
        self.lock().losses += 1;
    }
}

/// The keys of the log's keyring, as the journal wants them.
pub(crate) fn journal_keys(keyring: Option<&eventlog::Keyring>) -> Option<JournalKeys> {
    keyring.map(|keyring| {
        let keys = keyring.keys.iter().map(|(number, key)| (*number, Zeroizing::new(*key))).collect();
        JournalKeys { active: keyring.active, keys: Arc::new(keys) }
    })
}

/// Whether an URL may be sent to, as far as that is known without asking a resolver.
fn check_url(context: &Context, url: &str) -> Result<(), EgressError> {
    context.egress.check(url).map(|_| ())
}
