//! Ad platforms as destinations: audiences and conversions reach a stand-in with what the platform wants, credentials
//! come from files, and limits are kept.

use super::delivery::{Receiver, add, destination};
use super::operating::{backup, program, text};
use super::support::{Scratch, Shop, until};
use serde_json::{Value, json};
use server::config::Config;
use server::serve::{StartOptions, start};
use std::path::Path;
use std::sync::atomic::Ordering;

const TOKEN: &str = "EAAB-of-the-test";
/// `printf bob@shop.test | sha256sum`.
const BOB_SHA256: &str = "000b6cc3927df397e6707a97e9489e2e20923dd15d52b540716c4b47be3a2f3f";
/// `printf ann@shop.test | sha256sum`.
const ANN_SHA256: &str = "a25a44bc8224feb3a35d541f1d4f66b43c67be44771f512adf3457e24b03bd6c";

fn config(scratch: &Scratch) -> Config {
    let mut config = scratch.config();
    config.delivery.allow = "127.0.0.0/8+http".to_owned();
    config.delivery.credentials = scratch.0.with_extension("credentials").to_str().unwrap().to_owned();
    config
}

/// Stops, does something to the data directory, and starts again.
fn restart(shop: Shop, meanwhile: impl FnOnce(&Path)) -> Shop {
    let Shop { running, credentials, scratch } = shop;
    running.stop().unwrap();
    meanwhile(&scratch.0);
    let running = start(config(&scratch), StartOptions::default()).unwrap();
    Shop { running, credentials, scratch }
}

/// A shop with an audience, and a folder of credentials.
fn open() -> Shop {
    let scratch = Scratch::new();
    let folder = scratch.0.with_extension("credentials");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("meta-token"), format!("{TOKEN}\n")).unwrap();
    let config = config(&scratch);
    let shop = Shop::with(scratch, config, StartOptions::default());
    let rule =
        json!({ "rule": r#"count("Product Added", "7d") > 0 && count("Order Completed", "7d") == 0"# });
    assert_eq!(shop.admin("PUT", "/admin/v1/audiences/carts", Some(&rule.to_string())).status, 200);
    shop
}

fn close(shop: Shop) {
    let folder = shop.scratch.0.with_extension("credentials");
    shop.running.stop().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

fn base(receiver: &Receiver) -> String {
    receiver.url.trim_end_matches("/hook").to_owned()
}

fn identify(shop: &Shop, user: &str, email: &str) {
    let body = json!({ "userId": user, "messageId": format!("is {user}"), "context": agreed(true),
        "traits": { "email": email, "firstName": "Ann", "address": { "city": "Berlin", "postalCode": "10115" } } });
    assert_eq!(shop.send("identify", &body.to_string()).status, 200);
}

/// What a consent manager says of advertising.
fn agreed(agreed: bool) -> Value {
    json!({ "consent": { "categoryPreferences": { "Advertising": agreed } } })
}

fn consents(shop: &Shop, user: &str, agrees: bool) {
    let body = json!({ "userId": user, "messageId": format!("{user} {agrees}"), "context": agreed(agrees) });
    assert_eq!(shop.send("identify", &body.to_string()).status, 200);
}

fn meta_list(receiver: &Receiver) -> Value {
    json!({ "type": "platform", "class": "transactional", "audiences": ["carts"],
        "kinds": ["audience.entered", "audience.exited", "profile.merged", "profile.erased"],
        "identifiers": ["email"], "flush_after_ms": 50,
        "settings": { "platform": "meta_audience", "lists": { "carts": "2385" }, "base_url": base(receiver) },
        "credentials": { "access_token": "meta-token" } })
}

#[test]
fn who_enters_and_leaves_an_audience_is_put_into_the_platforms_list_and_taken_out() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(200, Ordering::SeqCst);
    *receiver.says.lock().unwrap() =
        r#"{"audience_id":"2385","num_received":{rows},"num_invalid_entries":0}"#.to_owned();
    let made = destination(&shop, "meta", &meta_list(&receiver));
    assert_eq!(
        (&made["type"], &made["flush_after_ms"], &made["secret"]),
        (&json!("platform"), &json!(50), &Value::Null)
    );
    assert!(!made.to_string().contains(TOKEN), "{made}");
    identify(&shop, "ann", "Ann@Shop.Test");
    add(&shop, "ann");
    let calls = || receiver.got.lock().unwrap().clone();
    until("ann is put in", || calls().len() == 1);
    let (head, put) = calls()[0].clone();
    assert!(head.starts_with("post /2385/users "), "{head}");
    assert!(head.contains(&format!("authorization: bearer {}", TOKEN.to_lowercase())), "{head}");
    assert_eq!(put["payload"]["data"][0][0], ANN_SHA256, "{put}");
    for (metric, value) in
        [("people", "1"), ("unsettled", "0"), ("taken_total", "1"), ("own_lag_seconds", "86400")]
    {
        let line = format!("throughline_platform_{metric}{{destination=\"meta\"}} {value}\n");
        until("the metrics say so", || shop.admin("GET", "/metrics", None).body.contains(&line));
    }
    let body = r#"{"userId":"ann","event":"Order Completed","messageId":"buy","properties":{"order_id":"1","total":5}}"#;
    assert_eq!(shop.send("track", body).status, 200);
    until("ann is taken out", || calls().len() == 2);
    let (head, taken) = calls()[1].clone();
    assert!(head.starts_with("delete /2385/users "), "{head}");
    assert_eq!(taken["payload"]["data"][0][0], ANN_SHA256);
    close(shop);
}

#[test]
fn an_order_becomes_one_conversion_with_its_value_and_its_own_id() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(200, Ordering::SeqCst);
    *receiver.says.lock().unwrap() = r#"{"events_received":{rows}}"#.to_owned();
    let made = json!({ "type": "platform", "class": "transactional", "events": ["Order Completed"],
        "identifiers": ["email", "user_id"], "person": ["first_name", "city"], "flush_after_ms": 50,
        "settings": { "platform": "meta_conversions", "pixel_id": "77", "base_url": base(&receiver) },
        "credentials": { "access_token": "meta-token" } });
    destination(&shop, "conversions", &made);
    identify(&shop, "ann", "ann@shop.test");
    add(&shop, "ann");
    let order = json!({ "userId": "ann", "event": "Order Completed", "messageId": "m1",
        "context": { "page": { "url": "https://shop.test/thanks?a=1&fbclid=IwAR0-x_1#top" }, "userAgent": "Mozilla/5.0",
            "clickIds": { "fbp": "fb.1.1700000000000.42" } },
        "properties": { "order_id": "A-1", "total": 49.9, "currency": "EUR",
            "products": [{ "product_id": "sku-1", "quantity": 2, "price": 24.95 }] } });
    assert_eq!(shop.send("track", &order.to_string()).status, 200);
    let calls = || receiver.got.lock().unwrap().clone();
    until("the order arrives", || calls().len() == 1);
    let (head, call) = calls()[0].clone();
    assert!(head.starts_with("post /77/events "), "{head}");
    let sent = &call["data"][0];
    assert_eq!((&sent["event_name"], &sent["event_id"]), (&json!("Purchase"), &json!("A-1")), "{call}");
    assert_eq!(sent["action_source"], "website");
    assert!(sent["event_source_url"].as_str().unwrap().starts_with("https://shop.test/thanks"), "{sent}");
    let user = &sent["user_data"];
    assert_eq!(user["em"], json!([ANN_SHA256]));
    // `printf ann | sha256sum` and `printf berlin | sha256sum`.
    let hashes = [
        "49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1",
        "fb38a93fd89e1a5fc7852a5d7109e321d23a721a1899292273ac5a21dc4db378",
    ];
    assert!(user["fn"].to_string().contains(hashes[0]), "{user}");
    assert!(user["ct"].to_string().contains(hashes[1]), "{user}");
    assert!(user["zp"].is_null(), "nobody asked for the postcode: {user}");
    assert_eq!(user["fbp"], "fb.1.1700000000000.42");
    let fbc = user["fbc"].as_str().unwrap();
    assert!(fbc.starts_with("fb.1.") && fbc.to_lowercase().ends_with(".iwar0-x_1"), "{fbc}");
    assert_eq!(
        (&sent["custom_data"]["value"], &sent["custom_data"]["currency"]),
        (&json!(49.9), &json!("eur"))
    );
    assert_eq!(sent["custom_data"]["contents"][0]["id"], "sku-1");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(calls().len(), 1, "what it did not ask for was not sent: {:?}", calls());
    close(shop);
}

#[test]
fn what_cannot_work_is_refused_in_words_and_a_missing_credential_is_a_problem_that_heals() {
    let (shop, receiver) = (open(), Receiver::open());
    let good = meta_list(&receiver);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };
    let table: Vec<(Value, &str, &str)> = vec![
        (changed(&|body| body["settings"] = Value::Null), "settings", "needs settings"),
        (changed(&|body| body["settings"]["platform"] = json!("myspace")), "settings", "meta_audience"),
        (changed(&|body| body["settings"]["lits"] = json!({})), "settings", "lits"),
        (changed(&|body| body["settings"]["access_token"] = json!("EAAB")), "settings", "credentials"),
        (
            changed(&|body| {
                body["settings"]["access_token"] = json!("EAAB");
                body["credentials"] = json!({});
            }),
            "settings",
            "delivery.credentials",
        ),
        (changed(&|body| body["credentials"] = json!({})), "settings", "access_token"),
        (
            changed(&|body| body["credentials"]["access_token"] = json!("../meta-token")),
            "credentials",
            "file's name",
        ),
        (changed(&|body| body["consent"] = json!("maybe")), "consent", "unless_denied"),
        (changed(&|body| body["person"] = json!(["street"])), "person", "postcode"),
        (changed(&|body| body["url"] = json!("https://graph.test")), "url", "base_url"),
        (changed(&|body| body["type"] = json!("webhook")), "settings", "platforms"),
        (changed(&|body| body["concurrency_max"] = json!(0)), "concurrency_max", "1 to 1000"),
        (changed(&|body| body["attempts_per_second"] = json!(0)), "attempts_per_second", "at least 1"),
        (changed(&|body| body["flush_after_ms"] = json!(600_001)), "flush_after_ms", "at most"),
    ];
    for (body, field, word) in table {
        let reply = shop.admin("PUT", "/admin/v1/destinations/meta", Some(&body.to_string()));
        let shown = reply.json();
        assert_eq!(reply.status, 400, "{body} -> {shown}");
        assert_eq!(shown["field"], field, "{body} -> {shown}");
        assert!(shown["message"].as_str().unwrap().contains(word), "{body} -> {shown}");
        assert!(!shown.to_string().contains("EAAB"), "{shown}");
    }
    let missing = changed(&|body| body["credentials"]["access_token"] = json!("new-token"));
    destination(&shop, "meta", &missing);
    let shown = || shop.admin("GET", "/admin/v1/destinations/meta", None).json();
    until("the problem is shown", || {
        shown()["problem"].as_str().is_some_and(|problem| problem.contains("new-token"))
    });
    let folder = shop.scratch.0.with_extension("credentials");
    std::fs::write(folder.join("new-token"), TOKEN).unwrap();
    until("it heals by itself", || shown()["problem"].is_null() && !shown()["status"].is_null());
    close(shop);
}

/// A shop by whose word Ann and Bob are in a platform's list.
fn with_list(kinds: &Value) -> (Shop, Receiver) {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(200, Ordering::SeqCst);
    *receiver.says.lock().unwrap() =
        r#"{"audience_id":"2385","num_received":{rows},"num_invalid_entries":0}"#.to_owned();
    let mut list = meta_list(&receiver);
    list["kinds"] = kinds.clone();
    destination(&shop, "meta", &list);
    for (user, email) in [("ann", "ann@shop.test"), ("bob", "bob@shop.test")] {
        identify(&shop, user, email);
        add(&shop, user);
    }
    let is_in = |hash: &str| told(&receiver, "post").contains(hash) && shadow_holds(&shop.scratch.0, hash);
    until("both are put in", || is_in(ANN_SHA256) && is_in(BOB_SHA256));
    (shop, receiver)
}

/// Ann is erased while the platform is down.
fn erased_while_down(kinds: &Value) -> (Shop, Receiver) {
    let (shop, receiver) = with_list(kinds);
    receiver.status.store(503, Ordering::SeqCst);
    let id = shop.lookup(&shop.credentials.admin_token, "user_id", "ann").json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let erased = shop.admin("POST", &format!("/admin/v1/profiles/{id}/erase"), None);
    assert_eq!(erased.status, 200, "{erased:?}");
    (shop, receiver)
}

/// What was said with a method.
fn told(receiver: &Receiver, method: &str) -> String {
    let got = receiver.got.lock().unwrap();
    got.iter().filter(|(head, _)| head.starts_with(method)).map(|(_, body)| body.to_string()).collect()
}

fn shadow_holds(data: &Path, hash: &str) -> bool {
    let bytes = std::fs::read(data.join("delivery/platforms/meta.shadow")).unwrap_or_default();
    memchr::memmem::find(&bytes, hash.as_bytes()).is_some()
}

fn is_kept_by(shop: &Shop, why: &str) -> bool {
    let erasure = &shop.status()["erasure"];
    erasure["pending"] == 1
        && erasure["stage"] == "platforms"
        && erasure["problem"]
            .as_str()
            .is_some_and(|problem| problem.contains("`meta`") && problem.contains(why))
}

/// The platform is told by what the shadow holds, whatever the destination asks for; until then the erasure is not done.
#[test]
fn an_erasure_is_done_when_platforms_were_told_and_their_shadows_forgot() {
    let kinds = json!(["audience.entered", "audience.exited"]);
    let (shop, receiver) = erased_while_down(&kinds);
    until("the erasure waits for the platform", || is_kept_by(&shop, "503"));
    assert!(shadow_holds(&shop.scratch.0, ANN_SHA256), "nobody could tell the platform otherwise");
    let shop = restart(shop, |_| ());
    assert_eq!(shop.status()["erasure"]["pending"], 1, "a restart forgets no erasure");
    receiver.status.store(200, Ordering::SeqCst);
    until("the platform is told", || told(&receiver, "delete").contains(ANN_SHA256));
    until("the erasure is done", || shop.status()["erasure"]["pending"] == 0);
    assert!(shop.status()["erasure"]["problem"].is_null());
    assert!(!shadow_holds(&shop.scratch.0, ANN_SHA256) && shadow_holds(&shop.scratch.0, BOB_SHA256));
    assert!(!told(&receiver, "delete").contains(BOB_SHA256));
    // Who comes anew is somebody new, and stays over a restart too.
    let body = r#"{"userId":"ann","event":"Product Added","messageId":"anew","context":{"traits":{"email":"ann@shop.test"},
        "consent":{"categoryPreferences":{"Advertising":true}}}}"#;
    assert_eq!(shop.send("track", body).status, 200);
    until("ann is put in again", || shadow_holds(&shop.scratch.0, ANN_SHA256));
    let deletes = told(&receiver, "delete");
    let shop = restart(shop, |_| ());
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(told(&receiver, "delete"), deletes);
    assert!(shadow_holds(&shop.scratch.0, ANN_SHA256));
    close(shop);
}

/// Nobody can tell a platform whose destination is gone. The hashes go all the same before an erasure has to be done.
#[test]
fn what_no_platform_can_be_told_is_forgotten_in_time() {
    let (shop, _receiver) = erased_while_down(&json!(["audience.entered"]));
    assert_eq!(shop.admin("DELETE", "/admin/v1/destinations/meta", None).status, 200);
    until("the erasure waits for the destination", || is_kept_by(&shop, "not open"));
    assert!(shadow_holds(&shop.scratch.0, ANN_SHA256));
    let shop = restart(shop, |data| {
        let path = data.join("erasures.json");
        let mut stored: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        stored["pending"][0]["at_us"] = json!(1);
        std::fs::write(&path, stored.to_string()).unwrap();
    });
    until("the erasure is done", || shop.status()["erasure"]["pending"] == 0);
    assert!(!shadow_holds(&shop.scratch.0, ANN_SHA256) && shadow_holds(&shop.scratch.0, BOB_SHA256));
    let metrics = shop.admin("GET", "/metrics", None).body;
    assert!(
        metrics.contains("throughline_platform_erased_untold_total{destination=\"meta\"} 1\n"),
        "{metrics}"
    );
    close(shop);
}

/// A server that comes back from a backup believes nothing that its shadow says: everybody is put in again, and who
/// leaves is taken out.
#[test]
fn what_a_restored_server_believes_is_said_again() {
    let (shop, receiver) = with_list(&json!(["audience.entered", "audience.exited"]));
    let (folder, restored) = (Scratch::new(), Scratch::new());
    backup(&shop.scratch.0, &folder.0, &["--with-keys"]);
    // What happens after it, the restored server does not know.
    close(shop);
    receiver.got.lock().unwrap().clear();
    *receiver.says.lock().unwrap() =
        r#"{"audience_id":"2385","num_received":{rows},"num_invalid_entries":0}"#.to_owned();
    let (done, said) = program(&["restore", text(&folder.0), "--to", text(&restored.0)]);
    assert!(done, "{said}");
    std::fs::create_dir_all(restored.0.with_extension("credentials")).unwrap();
    std::fs::write(restored.0.with_extension("credentials").join("meta-token"), TOKEN).unwrap();
    let running = start(config(&restored), StartOptions::default()).unwrap();
    until("both are put in again", || {
        let said = told(&receiver, "post");
        said.contains(ANN_SHA256) && said.contains(BOB_SHA256)
    });
    // The answer has to be heard too.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    running.stop().unwrap();
    receiver.got.lock().unwrap().clear();
    let running = start(config(&restored), StartOptions::default()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(told(&receiver, "post"), "", "it is doubted once");
    running.stop().unwrap();
    std::fs::remove_dir_all(restored.0.with_extension("credentials")).unwrap();
}

/// Whoever did not agree to advertising is told of to no platform, whoever refuses later leaves, and how many were kept
/// back is counted with the reason. A destination that asks for less is told of those who said nothing.
#[test]
fn consent_decides_what_platforms_are_told() {
    let (shop, receiver) = with_list(&json!(["audience.entered", "audience.exited"]));
    *receiver.says.lock().unwrap() =
        r#"{"num_received":{rows},"events_received":{rows},"num_invalid_entries":0}"#.to_owned();
    let conversions = |consent: &str| {
        json!({ "type": "platform", "class": "transactional", "events": ["Order Completed"], "consent": consent,
        "identifiers": ["email"], "flush_after_ms": 50, "credentials": { "access_token": "meta-token" },
        "settings": { "platform": "meta_conversions", "pixel_id": consent, "base_url": base(&receiver) } })
    };
    for consent in ["required", "unless_denied"] {
        let made = destination(&shop, consent, &conversions(consent));
        assert_eq!((&made["consent"], &made["person"]), (&json!(consent), &json!([])));
    }
    consents(&shop, "ann", false);
    for user in ["ann", "bob", "carol"] {
        let order = json!({ "userId": user, "event": "Order Completed", "messageId": format!("o {user}"),
            "properties": { "order_id": user, "total": 5, "currency": "EUR" },
            "context": { "traits": { "email": format!("{user}@shop.test") } } });
        assert_eq!(shop.send("track", &order.to_string()).status, 200);
    }
    let refused = |destination: &str, reason: &str| {
        let shown = shop.admin("GET", &format!("/admin/v1/destinations/{destination}"), None).json();
        shown["status"]["refused_by_permit"][reason].as_u64().unwrap_or(0)
    };
    until("ann and carol are kept back", || {
        (refused("required", "consent_denied"), refused("required", "no_consent")) == (1, 1)
    });
    until("carol said nothing", || refused("unless_denied", "consent_denied") == 1);
    let orders = |path: &str| {
        let got = receiver.got.lock().unwrap();
        let of_path = got.iter().filter(|(head, _)| head.starts_with(&format!("post /{path}/events")));
        let events = of_path.flat_map(|(_, body)| body["data"].as_array().cloned().unwrap_or_default());
        let mut ids: Vec<String> =
            events.map(|event| event["event_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    until("the others are told of", || {
        orders("required") == ["bob"] && orders("unless_denied") == ["bob", "carol"]
    });
    until("who withdrew left the list", || told(&receiver, "delete").contains(ANN_SHA256));
    let posts = told(&receiver, "post").matches(ANN_SHA256).count();
    add_again(&shop, "ann");
    let counted = "throughline_platform_refused_here_total{destination=\"meta\"} 1\n";
    until("ann is not put in again", || shop.admin("GET", "/metrics", None).body.contains(counted));
    assert_eq!(told(&receiver, "post").matches(ANN_SHA256).count(), posts);
    close(shop);
}

/// A change of mind is heard by lists although it changes no audience, also one that comes with a merge.
#[test]
fn who_withdraws_leaves_the_list_and_who_agrees_comes_back() {
    let (shop, receiver) = with_list(&json!(["audience.entered", "audience.exited"]));
    let told_of = |method: &str, hash: &str| told(&receiver, method).matches(hash).count();
    consents(&shop, "ann", false);
    until("ann is taken out", || told_of("delete", ANN_SHA256) == 1);
    let posts = told_of("post", ANN_SHA256);
    let again = json!({ "userId": "ann", "messageId": "again", "context": agreed(true) });
    assert_eq!(shop.send("identify", &again.to_string()).status, 200);
    until("ann is put in again", || told_of("post", ANN_SHA256) == posts + 1);
    // A browser's word takes out too, on whatever device of theirs.
    let body = json!({ "anonymousId": "bob's", "messageId": "b1", "context": agreed(false) });
    assert_eq!(shop.send("identify", &body.to_string()).status, 200);
    assert_eq!(told_of("delete", BOB_SHA256), 0, "nobody knows whose device it is");
    let body = json!({ "userId": "bob", "anonymousId": "bob's", "messageId": "b2" });
    assert_eq!(shop.send("identify", &body.to_string()).status, 200);
    until("bob is taken out", || told_of("delete", BOB_SHA256) == 1);
    assert_eq!(told_of("delete", ANN_SHA256), 1);
    close(shop);
}

/// Somebody enters the audience again: its rule does not look at orders any more.
fn add_again(shop: &Shop, user: &str) {
    let rule = json!({ "rule": r#"count("Product Added", "7d") > 1"# });
    assert_eq!(shop.admin("PUT", "/admin/v1/audiences/carts", Some(&rule.to_string())).status, 200);
    let body = json!({ "userId": user, "event": "Product Added", "messageId": "once more" });
    assert_eq!(shop.send("track", &body.to_string()).status, 200);
}

/// Work on a list as a whole: what the command says, and what the platform is told.
fn work(shop: &Shop, how: &str) -> (bool, Value) {
    let file = shop.scratch.0.with_extension("token");
    std::fs::write(&file, &shop.credentials.admin_token).unwrap();
    let admin = format!("http://{}", shop.running.addresses().admin);
    let (done, said) = program(&[
        "lists",
        "meta",
        "--audience",
        "carts",
        "--how",
        how,
        "--json",
        "--admin",
        &admin,
        "--token-file",
        text(&file),
    ]);
    std::fs::remove_file(file).unwrap();
    let json = said.rfind("\n}").map_or("", |end| &said[..end + 2]);
    (done, serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {said}")))
}

/// Operators verify, re-sync and replace a list; a list that is only wanted of who agreed holds nobody else.
#[test]
fn a_list_is_verified_resynced_and_replaced() {
    let (shop, receiver) = with_list(&json!(["audience.entered", "audience.exited"]));
    until("the platform has acknowledged both", || {
        let lists = shop.admin("GET", "/admin/v1/destinations/meta/lists", None).json();
        lists["lists"][0]["unsettled"] == 0
    });
    let (done, shown) = work(&shop, "verify");
    assert!(done, "{shown}");
    assert_eq!((&shown["work"]["verified"], &shown["work"]["wanted"]), (&json!(true), &json!(2)), "{shown}");
    assert_eq!(shown["lists"][0]["people"], 2);
    // Nobody was told of Carol: she entered while the destination was not open.
    let mut list = meta_list(&receiver);
    list["enabled"] = json!(false);
    destination(&shop, "meta", &list);
    identify(&shop, "carol", "carol@shop.test");
    add(&shop, "carol");
    let reply = shop.admin("GET", "/admin/v1/destinations/meta/lists", None);
    until("it is off", || shop.admin("GET", "/admin/v1/destinations/meta/lists", None).status == 409);
    assert!([200, 409].contains(&reply.status), "{reply:?}");
    // Bob withdraws: his entry was right, and he is not wanted in a list any more.
    consents(&shop, "bob", false);
    receiver.status.store(503, Ordering::SeqCst);
    list["enabled"] = json!(true);
    destination(&shop, "meta", &list);
    until("it is on", || shop.admin("GET", "/admin/v1/destinations/meta/lists", None).status == 200);
    let (done, shown) = work(&shop, "differences");
    assert!(!done && shown["work"]["problem"].as_str().unwrap().contains("503"), "{shown}");
    receiver.status.store(200, Ordering::SeqCst);
    let (done, shown) = work(&shop, "differences");
    assert!(done, "{shown}");
    assert_eq!((&shown["work"]["agrees"], &shown["work"]["wanted"]), (&json!(true), &json!(2)), "{shown}");
    assert!(
        told(&receiver, "delete").contains(BOB_SHA256) && !told(&receiver, "delete").contains(ANN_SHA256)
    );
    let (done, shown) = work(&shop, "replace");
    assert!(done, "{shown}");
    let replaced = |(head, _): &&(String, Value)| head.contains("usersreplace");
    let got = receiver.got.lock().unwrap().clone();
    let (_, body) = got.iter().rfind(replaced).unwrap();
    assert_eq!(body["payload"]["data"].as_array().unwrap().len(), 2, "{body}");
    for (body, field) in [
        (json!({ "audience": "nobody's", "how": "verify" }), "audience"),
        (json!({ "audience": "carts", "how": "somehow" }), "how"),
    ] {
        let reply = shop.admin("POST", "/admin/v1/destinations/meta/lists", Some(&body.to_string()));
        assert_eq!((reply.status, reply.json()["field"].as_str()), (400, Some(field)), "{reply:?}");
    }
    close(shop);
}
