//! What is beyond a shard: its destinations, behind the real lanes, permits, sources, webhooks and egress client, on a
//! seeded clock and network.
//!
//! `delivery::run` runs as in production, on a runtime of one thread whose clock the simulation moves; the journal is
//! on the seeded disk, connections are on the [`Network`]. [`books`] writes down every permit and attempt and holds
//! the rules of promise 8 against them; what has to have arrived in the end is the subject's to say.

mod books;
mod shard;
mod watch;

pub use books::{Books, Decision};

use crate::network::{FIRST_PORT, Manner, Network};
use crate::subject::Around;
use anyhow::{Context as _, Result, bail, ensure};
use delivery::egress::{AllowRule, Egress, EgressOptions, Network as Addresses, SystemResolver};
use delivery::{
    BreakerOptions, DeadLetter, DeadLetterOptions, JournalOptions, LaneOptions, LaneParts, RetryOptions,
    Runner, RunnerOptions,
};
use engage::{Destination, DestinationKind, Engage};
use engine::core::Core;
use engine::feed::Feed;
use env::Env;
use env::seeded::World;
use eventlog::LogHandle;
use model::id::EffectId;
use model::seal::Keys;
use outbound::webhook::{Secret, Webhook, WebhookConfig};
use server::deliver::{FeedSource, LoopPermits};
use shard::{Questions, SimulatedShard};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use watch::{WatchedDestination, WatchedPermits};

const JOURNAL: &str = "/data/delivery/journal";
const SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
/// How often tasks get their turn before the loop answers what they asked, and how often that.
const TURNS: usize = 24;
const ROUNDS: usize = 12;
/// How long everything may take to come out when nothing goes wrong any more.
const SETTLE_TICKS: usize = 1_500;

/// Delivery that runs.
struct Running {
    runner: Arc<Runner>,
    runtime: Runtime,
}

/// What delivery has of the process that it runs in.
struct Process {
    shard: Arc<SimulatedShard>,
    env: Env,
}

/// See the module.
pub struct Outside {
    network: Network,
    names: Vec<String>,
    books: Books,
    questions: Questions,
    process: Option<Process>,
    running: Option<Running>,
    /// Up to where delivery's clock has been moved.
    moved_us: u64,
    letters: Arc<Mutex<Vec<(usize, DeadLetter)>>>,
    /// How many times delivery was started.
    pub starts: u64,
}

impl Outside {
    /// Destinations with these names, none of them sent to yet.
    pub fn new(number: u64, names: Vec<String>) -> Self {
        Self {
            network: Network::new(number, names.len()),
            books: Books::new(names.clone()),
            names,
            questions: Questions::default(),
            process: None,
            running: None,
            moved_us: 0,
            letters: Arc::default(),
            starts: 0,
        }
    }

    /// Where the destination at a place listens.
    pub fn url(place: usize) -> String {
        format!("http://127.0.0.1:{}/hook", usize::from(FIRST_PORT) + place)
    }

    /// What was permitted and sent.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// What receivers got.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The shard's process has begun.
    pub fn process_began(
        &mut self,
        core: &Core<Engage>,
        feed: &Feed,
        log: LogHandle,
        keys: &Keys,
        world: &World,
    ) {
        let shard = SimulatedShard {
            view: core.view(),
            feed: feed.clone(),
            log,
            keys: keys.clone(),
            questions: self.questions.clone(),
            books: self.books.clone(),
        };
        self.process = Some(Process { shard: Arc::new(shard), env: world.env() });
    }

    /// It has ended, and everything in it.
    pub fn process_ended(&mut self) {
        self.books.boot();
        self.stop();
        self.process = None;
    }

    fn stop(&mut self) {
        // What runs is dropped where it stands, as a process is.
        drop(self.running.take());
        self.network.hang_up();
        self.questions.clear();
    }

    /// Lets some time pass for delivery. `bad` lets receivers change for the worse, but for the one that stays good.
    pub fn attend(
        &mut self,
        around: &mut Around<'_, Engage>,
        bad: bool,
        living: Option<usize>,
    ) -> Result<()> {
        if bad && around.seed.one_in(4) {
            let lane = around.seed.below(self.names.len() as u64) as usize;
            let manner = Manner::draw(around.seed);
            if living != Some(lane) {
                self.network.set_manner(lane, manner);
            }
        }
        if self.running.is_none() && !self.start(around)? {
            return Ok(());
        }
        if around.seed.one_in(6) {
            self.resend();
        }
        if around.seed.one_in(2) {
            self.running.iter().for_each(|running| running.runner.nudge());
        }
        for _ in 0..1 + around.seed.below(6) {
            let by_us = 1 + around.seed.below(60_000);
            let slow = bad && around.seed.one_in(8);
            self.tick(around, by_us, slow)?;
        }
        self.look_after(around)
    }

    /// Whether delivery still runs, and has kept the rules.
    fn look_after(&mut self, around: &Around<'_, Engage>) -> Result<()> {
        if let Some(trouble) = self.books.trouble() {
            bail!("{trouble}");
        }
        let failure = self.running.as_ref().and_then(|running| running.runner.failure());
        if let Some(failure) = failure {
            ensure!(around.may_fail(), "delivery stopped without a fault: {failure}");
            // The supervisor starts it again in the same process.
            self.books.boot();
            self.stop();
        }
        Ok(())
    }

    /// Starts delivery, once all destinations are defined. `false` if it does not run.
    fn start(&mut self, around: &Around<'_, Engage>) -> Result<bool> {
        let Some(process) = &self.process else { return Ok(false) };
        let settings = process.shard.view.settings();
        if settings.destinations.len() < self.names.len() {
            return Ok(false);
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let mut lanes = Vec::new();
        {
            let _inside = runtime.enter();
            let egress = self.egress(&process.env)?;
            for destination in &settings.destinations {
                lanes.push(self.lane(process, &egress, destination)?);
            }
        }
        let mut options = RunnerOptions::at(Path::new(JOURNAL));
        (options.journal, options.syncs_elsewhere) = (JournalOptions::default(), false);
        let permits = LoopPermits::new(Arc::clone(&process.shard));
        let permits = Arc::new(WatchedPermits { inner: permits, books: self.books.clone() });
        let started = {
            let _inside = runtime.enter();
            delivery::run(&process.env, options, lanes, permits)
        };
        match started {
            Ok(runner) => {
                self.starts += 1;
                self.moved_us = around.monotonic_us();
                self.running = Some(Running { runner: Arc::new(runner), runtime });
                Ok(true)
            }
            Err(_) if around.may_fail() => Ok(false),
            Err(error) => bail!("delivery does not start without a fault: {error}"),
        }
    }

    fn egress(&self, env: &Env) -> Result<Egress> {
        let network = Addresses::parse("127.0.0.0/8").context("a network")?;
        let options = EgressOptions {
            allow: vec![AllowRule { network, ports: None, plain_http: true }],
            connect_timeout_ms: 200,
            ..EgressOptions::default()
        };
        let connector = Arc::new(self.network.clone());
        Ok(Egress::over(connector, options, Arc::new(SystemResolver), env.clock.clone())?)
    }

    fn lane(&self, process: &Process, egress: &Egress, destination: &Destination) -> Result<LaneParts> {
        let name = destination.name.as_str();
        let DestinationKind::Webhook { url } = &destination.kind else { bail!("{name} is no webhook") };
        let config = WebhookConfig {
            timeout_ms: 400,
            concurrency_max: 4,
            ..WebhookConfig::new(url, Secret::new(SECRET))
        };
        let options = short(config.lane(name));
        let webhook = Webhook::new(name, config, egress, process.env.clock.clone())?;
        let lane = self.books.lane(name);
        Ok(LaneParts {
            options,
            source: Arc::new(FeedSource::new(Arc::clone(&process.shard), destination.clone())),
            destination: Arc::new(WatchedDestination { inner: webhook, lane, books: self.books.clone() }),
        })
    }

    /// Moves the clocks, and lets everybody act on what came. A shard that is slow answers no question this time.
    fn tick(&mut self, around: &mut Around<'_, Engage>, by_us: u64, slow: bool) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        around.world.advance(i64::try_from(by_us)?);
        let now_us = around.monotonic_us();
        let passed_us = now_us.saturating_sub(self.moved_us);
        self.moved_us = now_us;
        let (network, questions, core) = (&self.network, &self.questions, &mut *around.core);
        running.runtime.block_on(async {
            network.advance(passed_us);
            tokio::time::advance(Duration::from_micros(passed_us)).await;
            for _ in 0..ROUNDS {
                for _ in 0..TURNS {
                    tokio::task::yield_now().await;
                }
                let mut asked = false;
                while !slow && let Some((query, word)) = questions.pop() {
                    let (answer, as_of) = (core.query(query), core.as_of());
                    // Whoever asked may have given up.
                    let _ = word.send(answer.map(|answer| (answer, as_of)));
                    asked = true;
                }
                if !asked {
                    break;
                }
            }
        });
        Ok(())
    }

    /// An operator sends dead letters again.
    fn resend(&self) {
        let Some(running) = &self.running else { return };
        let (runner, names, books) = (Arc::clone(&running.runner), self.names.clone(), self.books.clone());
        running.runtime.spawn(async move {
            for (lane, name) in names.iter().enumerate() {
                let letters = runner.dead_letters(name, None, 2).await.unwrap_or_default();
                for letter in letters.into_iter().filter(|letter| !letter.resend) {
                    books.resend(lane, letter.parcel.id);
                    // It may be under way already, or gone.
                    let _ = runner.resend(name, letter.parcel.id).await;
                }
            }
        });
    }

    /// Nothing goes wrong any more: everything up to an effect has to come out, or lie among the dead. Gives those.
    pub fn settle(
        &mut self,
        around: &mut Around<'_, Engage>,
        through: Option<EffectId>,
    ) -> Result<Vec<(usize, DeadLetter)>> {
        for lane in 0..self.names.len() {
            self.network.set_manner(lane, Manner::Good);
        }
        let defined =
            self.process.as_ref().map_or(0, |process| process.shard.view.settings().destinations.len());
        if defined < self.names.len() {
            return Ok(Vec::new());
        }
        for round in 0..SETTLE_TICKS {
            if self.running.is_none() {
                self.start(around)?;
            }
            if round.is_multiple_of(10) {
                self.running.iter().for_each(|running| running.runner.nudge());
            }
            self.tick(around, 40_000, false)?;
            self.look_after(around)?;
            if round > 10 && self.is_settled(through) {
                return self.settled(around);
            }
        }
        let statuses = self.running.as_ref().map(|running| running.runner.statuses());
        bail!("not everything came out although everything works: {statuses:#?}")
    }

    fn is_settled(&self, through: Option<EffectId>) -> bool {
        let Some(running) = &self.running else { return false };
        running.runner.statuses().iter().all(|lane| {
            lane.held_parcels == 0
                && lane.under_way == 0
                && lane.seen_through.max(lane.settled_through) >= through
        })
    }

    /// What is written down about attempts fits what the lanes have counted, and what lies among the dead.
    fn settled(&mut self, around: &mut Around<'_, Engage>) -> Result<Vec<(usize, DeadLetter)>> {
        let Some(running) = &self.running else { bail!("delivery does not run") };
        let (runner, names, letters) =
            (Arc::clone(&running.runner), self.names.clone(), Arc::clone(&self.letters));
        running.runtime.spawn(async move {
            for (lane, name) in names.iter().enumerate() {
                let found = runner.dead_letters(name, None, usize::MAX).await.unwrap_or_default();
                let found = found.into_iter().map(|letter| (lane, letter));
                letters.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
            }
        });
        for _ in 0..12 {
            self.tick(around, 40_000, false)?;
        }
        self.look_after(around)?;
        if let Err(broken) = self.books.check_looked_back() {
            bail!("{broken}");
        }
        let statuses = self.running.as_ref().map(|running| running.runner.statuses()).unwrap_or_default();
        for status in statuses {
            let found = self.books.crossed_now(self.books.lane(&status.name));
            ensure!(
                status.crossed == found,
                "promise 8: {} shows {} crossed, looking back found {found}",
                status.name,
                status.crossed
            );
        }
        Ok(std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Short times, so that short lives meet every limit.
fn short(options: LaneOptions) -> LaneOptions {
    LaneOptions {
        attempt_timeout_ms: 600,
        permit_timeout_ms: 250,
        window_parcels_max: 24,
        retry: RetryOptions {
            first_ms: 20,
            longest_ms: 400,
            least_ms: 5,
            attempts_max: 5,
            give_up_after_ms: 20_000,
            retry_after_max_ms: 700,
        },
        breaker: BreakerOptions { failures: 4, open_ms: 50, open_max_ms: 400 },
        dead_letters: DeadLetterOptions { letters_max: 10_000, bytes_max: 1 << 24 },
        ..options
    }
}
