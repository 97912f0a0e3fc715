//! The cashier on a running shop, with a provider that plays its script: whatever happens on the way, what was paid for is
//! an order, and what is no order was not paid for.

#![expect(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail by panicking")]
#![allow(dead_code, reason = "the helpers are shared with other tests")]

#[path = "commerce/setup.rs"]
mod setup;
#[path = "commerce/shard.rs"]
mod shard;

use commerce::cashier::{Cashier, CashierOptions, Outcome, Provider, TestProvider};
use commerce::{Commerce, Operation, Query, Reply, Shop};
use engine::recovery::{OpenOptions, open};
use engine::{Engine, EngineOptions};
use env::Env;
use model::commerce::cart::Standing;
use model::id::{Key, Timestamp};
use model::record::RecordKind;
use setup::{BOOK, cart_key, open_shop, pay_input, ready_cart};
use shard::Shard;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

struct Folder(PathBuf);

impl Drop for Folder {
    #[expect(clippy::disallowed_methods, reason = "a test leaves nothing behind")]
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running shop as the helpers of the other tests want it.
struct Running {
    shop: Shop,
    runtime: tokio::runtime::Runtime,
}

impl Shard for Running {
    fn apply(&mut self, _kind: RecordKind, body: Vec<u8>) -> Option<Vec<u8>> {
        let command = commerce::Command::decode(&body).unwrap();
        let replied = self.runtime.block_on(self.shop.command(&command)).unwrap();
        Some(replied.reply.encode())
    }
    fn query(&mut self, query: Query) -> commerce::Answer {
        self.runtime.block_on(self.shop.query(query)).unwrap().0
    }
    fn view(&self) -> Arc<commerce::View> {
        Arc::clone(self.shop.view())
    }
    fn now(&self) -> Timestamp {
        Timestamp(Env::real().clock.now_us())
    }
    fn advance(&mut self, _by_us: i64) {}
    fn crash(&mut self) {}
}

fn start(folder: &Folder) -> Running {
    let env = Env::real();
    env.disk.create_directory(&folder.0).unwrap();
    let opened = open(&env, &folder.0, || Commerce, &OpenOptions::default()).unwrap();
    let shop = Shop::new(Engine::start(&env, opened, EngineOptions::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    Running { shop, runtime }
}

/// Lets a cashier work until nothing is due but what waits for its buyer, or for so many rounds.
fn work(running: &Running, provider: &Arc<TestProvider>, rounds: usize) {
    let providers = BTreeMap::from([("test".to_owned(), Arc::clone(provider) as Arc<dyn Provider>)]);
    let options =
        CashierOptions { pause_min_ms: 2, pause_max_ms: 20, look_ms: 5, ..CashierOptions::default() };
    let cashier = Cashier::new(running.shop.clone(), providers, options);
    let shop = running.shop.clone();
    running.runtime.block_on(cashier.run(async move {
        for _ in 0..rounds {
            if shop.view().due().iter().all(|payment| payment.state.operation().is_none()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }));
}

fn standing(running: &mut Running, name: &str) -> (Standing, Option<String>) {
    match running.query(Query::Cart(cart_key(name))) {
        commerce::Answer::Cart(Some(shown)) => {
            let reason = shown.payment.and_then(|payment| payment.reason);
            (shown.cart.standing, reason)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn whatever_a_provider_does_money_and_orders_agree() {
    let folder = Folder(std::env::temp_dir().join(format!("throughline-cashier-{}", std::process::id())));
    let mut running = start(&folder);
    open_shop(&mut running, 5);
    let ms = Duration::from_millis;
    let script = [
        ("ok", Outcome::Ok, true),
        ("declined", Outcome::Declined("card_declined".to_owned()), false),
        ("unreached", Outcome::Unreached(3), true),
        ("lost", Outcome::Lost(3), true),
        ("slow", Outcome::Slow(ms(30)), true),
        ("challenged", Outcome::Challenge, true),
        ("refusing", Outcome::Challenge, false),
        ("late", Outcome::Late(ms(40)), true),
        ("doubled", Outcome::Doubled, true),
        ("uncaptured", Outcome::CaptureRefused(1), true),
    ];
    let tokens = script.iter().map(|(name, outcome, _)| ((*name).to_owned(), outcome.clone()));
    let provider = Arc::new(TestProvider::new(tokens));
    for (name, _, _) in &script {
        let shown = ready_cart(&mut running, name, &[(BOOK, 1)]);
        let input = pay_input(&running, &shown, Key::of_text("payment", name), name);
        running.run(Operation::Pay(input)).unwrap();
    }
    // The first cashier is interrupted, and the whole process with it.
    work(&running, &provider, 2);
    running.shop.engine().stop();
    drop(running);
    let mut running = start(&folder);
    work(&running, &provider, 10_000);
    for (request, answer) in provider.take_doubled() {
        let (payment, operation) = (request.payment, request.operation);
        let again = running.run(Operation::PaymentAnswered { payment, operation, attempt: 0, answer });
        assert_eq!(again.unwrap_err().code(), "nothing_new");
    }
    assert!(provider.confirm(Key::of_text("payment", "challenged"), true).is_some());
    assert!(provider.confirm(Key::of_text("payment", "refusing"), false).is_some());
    let settled =
        |running: &mut Running, name: &str| !matches!(standing(running, name).0, Standing::Paying(_));
    for _ in 0..1_000 {
        if settled(&mut running, "challenged") && settled(&mut running, "refusing") {
            break;
        }
        // Nobody tells: it is looked at.
        let waits = Duration::from_millis(50);
        let providers = BTreeMap::from([("test".to_owned(), Arc::clone(&provider) as Arc<dyn Provider>)]);
        let options = CashierOptions { look_ms: 5, pause_min_ms: 2, ..CashierOptions::default() };
        let cashier = Cashier::new(running.shop.clone(), providers, options);
        running.runtime.block_on(cashier.run(async move { tokio::time::sleep(waits).await }));
    }
    let uncaptured = Key::of_text("payment", "uncaptured");
    assert!(matches!(running.run(Operation::CaptureAgain { payment: uncaptured }), Ok(Reply::Payment(_))));
    work(&running, &provider, 10_000);
    let book = provider.book();
    for (name, _, is_ordered) in &script {
        let (standing, reason) = standing(&mut running, name);
        let account = book.account(Key::of_text("payment", name));
        assert_eq!(matches!(standing, Standing::Ordered(_)), *is_ordered, "{name}: {standing:?} {reason:?}");
        assert_eq!(account.captured_minor > 0, *is_ordered, "{name}: {account:?}");
        assert_eq!(account.authorised_minor, 0, "{name}: {account:?}");
    }
    assert!(running.shop.view().due().is_empty());
    running.shop.engine().stop();
}
