//! Delivery: carries effects from the change feed to the destinations that operators defined.
//!
//! [`start`] runs on a thread and a runtime of its own, so that a hanging destination takes nothing from the doors. It
//! keeps one `delivery::Runner`; `lanes` opens and closes a lane when the definition of its destination changes, while
//! the others go on. `source` reads the feed for one destination, `said` is what it is told of an event, `permits` asks
//! the loop, in log order, whether an attempt is still right, `shard` is all that these need of the server. `platform`
//! reads what operators say of ad platforms, and `lists` works on their lists; `http` reads what they say of requests with
//! templates, which are tried on `samples`. `erase` takes erased people out of what is kept and `withdraw` out of
//! platforms' lists, `figures` are the metrics of each destination, and `handlers` is the interface for operators.

mod erase;
mod figures;
mod handlers;
mod http;
mod lanes;
pub(crate) mod list_types;
mod lists;
mod permits;
mod platform;
mod said;
mod samples;
mod shard;
mod source;
mod withdraw;

pub(crate) use figures::{suppression_lag, trouble, write_metrics};
pub use permits::LoopPermits;
pub use shard::{Shard, Told};
pub use source::FeedSource;
pub(crate) use withdraw::Withdrawn;

pub(crate) use http::preview;
pub(crate) use lists::{begin as begin_list_work, shown as show_lists};

pub(crate) use handlers::{
    all_shown, dead_letters, define, discard, get, list, remove, resend, rotate_secret,
};

use crate::api::Context;
use crate::api::types::DeliveryStatus;
use delivery::egress::{AllowRule, Egress, EgressError, EgressOptions, Network, SystemResolver};
use delivery::{JournalKeys, LaneStatus, Runner};
use engine::feed::Place;
use env::Env;
use outbound::ndjson::Ndjson;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use zeroize::Zeroizing;

/// How long the feed is waited for at a time.
const FEED_WAIT: Duration = Duration::from_millis(500);
/// The shortest time between two calls of the lanes.
const NUDGE_INTERVAL: Duration = Duration::from_millis(2);
/// Where the journal is, in the folder of delivery.
const JOURNAL_FOLDER: &str = "journal";
/// Where files are, in the folder of delivery.
const FILES_FOLDER: &str = "files";

/// What handlers, lanes and the thread share.
#[derive(Default)]
pub(crate) struct Deliveries {
    shared: Mutex<Shared>,
    /// Definitions are to be looked at.
    wake: Notify,
    /// Somebody is to be forgotten.
    erase: Notify,
    /// Somebody is to leave platforms' lists.
    withdraw: Notify,
}

#[derive(Default)]
struct Shared {
    runner: Option<Arc<Runner>>,
    /// Destinations that cannot be sent to, and why.
    problems: BTreeMap<String, String>,
    /// Why nothing at all is sent.
    start_problem: Option<String>,
    /// Lanes that are open.
    open: usize,
    /// Destinations that write files, by name.
    files: BTreeMap<String, Weak<Ndjson>>,
    /// Ad platforms that were opened, by the name of the destination.
    platforms: BTreeMap<String, platform::Known>,
    erasing: erase::Erasing,
    withdrawing: withdraw::Withdrawing,
    /// The last work on the lists of a destination.
    works: BTreeMap<String, list_types::ListWork>,
    /// Where lanes run.
    runtime: Option<tokio::runtime::Handle>,
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
        self.erase.notify_one();
        self.withdraw.notify_one();
    }

    /// What status and metrics show.
    pub(crate) fn status(&self) -> DeliveryStatus {
        let statuses = self.runner().map(|runner| runner.statuses()).unwrap_or_default();
        let sum = |of: fn(&LaneStatus) -> u64| statuses.iter().map(of).sum();
        let shared = self.lock();
        DeliveryStatus {
            destinations: statuses.iter().filter(|lane| lane.open).count() as u64,
            problems: shared.problems.len() as u64,
            delivered: sum(|lane| lane.delivered),
            waiting: sum(|lane| lane.held_parcels as u64),
            crossed: sum(|lane| lane.crossed),
            dead_letters: sum(|lane| lane.dead_letters as u64),
            losses: shared.losses,
        }
    }

    /// Messages that a permit refused.
    fn refused(status: &LaneStatus) -> u64 {
        status.permit_refusals.values().sum()
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
pub(crate) fn allow_rules(text: &str) -> Option<Vec<AllowRule>> {
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
    context.deliveries.lock().runtime = Some(runtime.handle().clone());
    let (own, env) = (Arc::clone(context), env.clone());
    let deliver = std::thread::Builder::new().name("deliver".to_owned()).spawn(move || {
        runtime.block_on(async {
            let erasing = tokio::spawn(erase::run(Arc::clone(&own), env.clone()));
            let withdrawing = tokio::spawn(withdraw::run(Arc::clone(&own), env.clone()));
            lanes::supervise(own, env).await;
            // They ask the runner and its destinations, which have stopped: there is nothing left to wait for.
            erasing.abort();
            withdrawing.abort();
        });
    })?;
    let own = Arc::clone(context);
    let nudge = std::thread::Builder::new().name("nudge".to_owned()).spawn(move || follow_feed(&own))?;
    Ok(vec![deliver, nudge])
}

/// Tells the lanes that the feed has something new.
fn follow_feed(context: &Context) {
    let feed = context.engine.feed();
    let mut place = Place::at(feed.bounds().complete);
    while !context.deliveries.is_stopping() {
        if feed.wait(place, FEED_WAIT) {
            let shared = context.deliveries.lock();
            if let Some(runner) = shared.runner.as_ref().filter(|_| shared.open > 0) {
                runner.nudge();
            }
        }
        place = Place::at(feed.bounds().complete);
        std::thread::sleep(NUDGE_INTERVAL);
    }
}

/// The folder of the data directory that delivery keeps its journal and files in.
fn folder(context: &Context) -> PathBuf {
    context.config.data.directory.join("delivery")
}

impl Deliveries {
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
