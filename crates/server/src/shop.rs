//! The role `commerce`: a shop with a log, a loop, a cashier and a door of its own.
//!
//! It shares nothing with the other roles but the binary: its data are in a folder of their own (`shop` in the data
//! directory), its threads serve nobody else, and it starts and sells with every other role away.

mod products;

use crate::calendar::now_us;
use crate::config::Config;
use crate::serve::shop_options;
use anyhow::Context as _;
use commerce::cashier::{Cashier, CashierOptions, Outcome, Provider, TestProvider};
use commerce::http::{OpenShopDoor, Pressure, ShopDoor, ShopDoorOptions};
use commerce::page::{Pages, PaymentChoice};
use commerce::storefront::{Storefront, StorefrontOptions, WordSearch};
use commerce::{Commerce, Operation, Shop};
use engine::{Engine, EngineOptions, OpenOptions};
use env::Env;
use model::commerce::market::{Conversion, Market};
use model::commerce::money::Rounding;
use model::id::Timestamp;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// The folder of the shop in the data directory.
pub const SHOP_FOLDER: &str = "shop";
/// The name of the provider that plays.
const TEST_PROVIDER: &str = "test";
/// Shards are numbered: the customers' is 0.
const SHOP_SHARD: u16 = 1;

/// What there can be with a test payment: what is given to the provider, what buyers read, and what happens.
fn test_outcomes() -> [(&'static str, &'static str, Outcome); 6] {
    [
        ("ok", "Test card that works", Outcome::Ok),
        ("declined", "Test card that is declined", Outcome::Declined("card_declined".to_owned())),
        ("challenge", "Test card that wants a confirmation", Outcome::Challenge),
        ("slow", "Test card that takes five seconds", Outcome::Slow(Duration::from_secs(5))),
        ("late", "Test card whose answer comes late", Outcome::Late(Duration::from_secs(20))),
        ("lost", "Test card whose first answers are lost", Outcome::Lost(2)),
    ]
}

/// A shop that runs. Stop it with [`RunningShop::stop`].
pub struct RunningShop {
    shop: Shop,
    door: OpenShopDoor,
    stopping: watch::Sender<bool>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Opens the shop of a data directory and starts everything that it needs. When this returns, it sells.
pub fn start_shop(config: &Config) -> anyhow::Result<RunningShop> {
    let env = Env::real();
    let folder = config.data.directory.join(SHOP_FOLDER);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| format!("{} cannot be made", folder.display()))?;
    let opening = opening(config, &env)?;
    let opened = engine::recovery::open(&env, &folder, || Commerce, &opening)
        .with_context(|| format!("the shop's data in {} could not be opened", folder.display()))?;
    tracing::info!(replayed = opened.report.replayed, "the shop's data are open");
    let options = EngineOptions {
        term: opened.term,
        resident_bytes_max: usize::try_from(config.shop.resident_bytes_max).unwrap_or(usize::MAX),
        reader_threads: 1,
        checkpoint_interval_ms: config.state.checkpoint_interval_ms,
        ..EngineOptions::default()
    };
    let engine = Engine::start(&env, opened, options).context("the shop's loop could not be started")?;
    let shop = Shop::new(engine);
    match open_for_business(config, &env, &shop) {
        Ok((door, stopping, threads)) => Ok(RunningShop { shop, door, stopping, threads }),
        Err(error) => {
            shop.engine().stop();
            Err(error)
        }
    }
}

type Business = (OpenShopDoor, watch::Sender<bool>, Arc<Mutex<Vec<JoinHandle<()>>>>);

fn open_for_business(config: &Config, env: &Env, shop: &Shop) -> anyhow::Result<Business> {
    let threads: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
    let (stopping, stopped) = watch::channel(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(furnish(config, shop))?;
    if config.shop.test_payments {
        tracing::warn!("shop.test_payments: payments are played, and nobody pays anything");
    }
    let cashier = cashier(config, shop);
    let own = Arc::clone(&threads);
    let spawn = move |name: &str, body: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(body)?;
        own.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    };
    spawn("shop-cashier", Box::new(move || runtime.block_on(cashier.run(ends(stopped)))))?;
    let door = door(config, env, shop)?.open(ShopDoorOptions::at(config.shop.listen), &spawn)?;
    Ok((door, stopping, threads))
}

impl RunningShop {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.door.address()
    }

    /// Why it has stopped by itself, if it has: its loop, or one of the threads that answer and pay.
    pub fn stopped(&self) -> Option<String> {
        let ended = || {
            let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.iter().any(JoinHandle::is_finished).then(|| "one of its threads has ended".to_owned())
        };
        self.shop.engine().status().stopped().or_else(ended)
    }

    /// Stops: requests that were taken are answered, a last checkpoint is written.
    pub fn stop(self) -> anyhow::Result<()> {
        self.door.close();
        self.stopping.send_replace(true);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the shop panicked");
            }
        }
        let reason = self.shop.engine().status().stopped();
        self.shop.engine().stop();
        match reason.or_else(|| self.shop.engine().status().stopped()) {
            None => Ok(()),
            Some(reason) => Err(anyhow::anyhow!("the shop stopped: {reason}")),
        }
    }
}

async fn ends(mut stopped: watch::Receiver<bool>) {
    // An error is a sender that is gone: the same.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// The shop's log has another shard number than the customers', so that neither can be taken for the other.
fn opening(config: &Config, env: &Env) -> anyhow::Result<OpenOptions> {
    let mut opening = shop_options(config, env)?;
    opening.log.shard = SHOP_SHARD;
    Ok(opening)
}

/// A first start: something to sell in, and what the file of products says.
async fn furnish(config: &Config, shop: &Shop) -> anyhow::Result<()> {
    let terms = shop.view().terms();
    let mut settings = (*terms.settings).clone();
    let providers: Vec<String> =
        if config.shop.test_payments { vec![TEST_PROVIDER.to_owned()] } else { Vec::new() };
    if settings.providers != providers {
        settings.providers = providers;
        done(shop, Operation::PutSettings(settings.clone())).await?;
    }
    if terms.markets.is_empty() {
        let market = Market {
            handle: "home".to_owned(),
            name: "Home".to_owned(),
            countries: vec![settings.country],
            currency: settings.currency,
            languages: vec![settings.language.clone()],
            prices_include_tax: true,
            rounding: Rounding::HalfUp,
            cash_step_minor: 1,
            conversion: Conversion::SAME,
        };
        done(shop, Operation::PutMarkets(vec![market])).await?;
    }
    if config.shop.products.is_empty() {
        return Ok(());
    }
    products::take_in(shop, &PathBuf::from(&config.shop.products)).await
}

async fn done(shop: &Shop, operation: Operation) -> anyhow::Result<commerce::Reply> {
    match shop.operate(operation).await? {
        Ok(reply) => Ok(reply),
        Err(refusal) => Err(anyhow::anyhow!("the shop refused what it was to be furnished with: {refusal}")),
    }
}

fn cashier(config: &Config, shop: &Shop) -> Cashier {
    let mut providers: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
    if config.shop.test_payments {
        let script = test_outcomes().map(|(method, _, outcome)| (method.to_owned(), outcome));
        providers.insert(TEST_PROVIDER.to_owned(), Arc::new(TestProvider::new(script)));
    }
    Cashier::new(shop.clone(), providers, CashierOptions::default())
}

fn door(config: &Config, env: &Env, shop: &Shop) -> anyhow::Result<ShopDoor> {
    let checkout_url = if config.shop.url.is_empty() {
        format!("http://{}", config.shop.listen)
    } else {
        config.shop.url.trim_end_matches('/').to_owned()
    };
    let options = StorefrontOptions { checkout_url, introspection: true, password_rounds: None };
    let entropy = env.entropy.clone();
    let random = Arc::new(move |bytes: &mut [u8]| {
        if let Err(error) = entropy.fill(bytes) {
            // A cart whose token can be guessed would be worse than a shop that ends.
            tracing::error!(%error, "the system has no randomness");
            std::process::abort();
        }
    });
    let storefront = Storefront::new(shop.clone(), options, Box::new(WordSearch::default()), random)
        .context("the shop's schema is not sound")?;
    let choices = if config.shop.test_payments {
        let choice = |(method, title, _): (&str, &str, Outcome)| PaymentChoice {
            provider: TEST_PROVIDER.to_owned(),
            method: method.to_owned(),
            title: title.to_owned(),
        };
        test_outcomes().map(choice).into()
    } else {
        Vec::new()
    };
    Ok(ShopDoor {
        storefront: Arc::new(storefront),
        pages: Some(Arc::new(Pages::new(shop.clone(), choices))),
        now: Arc::new(|| Timestamp(now_us())),
        pressure: Arc::new(Pressure::default()),
    })
}
