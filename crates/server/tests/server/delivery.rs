//! Destinations on real sockets and files: signed messages in order, refusals as dead letters, permits, restarts.

use super::support::{Scratch, Shop, request as get, until};
use serde_json::{Value, json};
use server::serve::StartOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A program of the shop's that is told things: keeps heads and bodies, and answers as it is told to.
pub(super) struct Receiver {
    pub(super) url: String,
    pub(super) status: Arc<AtomicU16>,
    pub(super) got: Arc<Mutex<Vec<(String, Value)>>>,
    /// The body of answers. `{rows}` in it becomes how many rows the request brought to an ad platform.
    pub(super) says: Arc<Mutex<String>>,
    /// Requests whose answer is held back, while this is set.
    holds: Arc<AtomicBool>,
    held: Arc<AtomicU16>,
}

impl Receiver {
    pub(super) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (status, got) = (Arc::new(AtomicU16::new(204)), Arc::new(Mutex::new(Vec::new())));
        let (holds, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU16::new(0)));
        let says = Arc::new(Mutex::new(String::new()));
        let words = Arc::clone(&says);
        let (answer, taken) = (Arc::clone(&status), Arc::clone(&got));
        let (hold, waiting) = (Arc::clone(&holds), Arc::clone(&held));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, taken) = (Arc::clone(&answer), Arc::clone(&taken));
                let (hold, waiting) = (Arc::clone(&hold), Arc::clone(&waiting));
                let words = Arc::clone(&words);
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some((head, body)) = request(&mut reader) {
                        waiting.fetch_add(1, Ordering::SeqCst);
                        while hold.load(Ordering::SeqCst) {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        waiting.fetch_sub(1, Ordering::SeqCst);
                        let status = answer.load(Ordering::SeqCst);
                        let body: Value = serde_json::from_slice(&body).unwrap();
                        let rows = body["payload"]["data"].as_array().or(body["data"].as_array());
                        let rows = rows.map_or(0, Vec::len).to_string();
                        if status < 300 {
                            taken.lock().unwrap().push((head, body));
                        }
                        let says = words.lock().unwrap().replace("{rows}", &rows);
                        let length = says.len();
                        let reply = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{says}");
                        if (&stream).write_all(reply.as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, status, got, says, holds, held }
    }

    fn kinds(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(|(_, body)| body["type"].as_str().unwrap().to_owned()).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "the other end is ours")]
fn request(reader: &mut BufReader<std::net::TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut head, mut line) = (String::new(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            break;
        }
        head.push_str(&line.to_ascii_lowercase());
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

pub(super) fn open() -> Shop {
    let scratch = Scratch::new();
    let mut config = scratch.config();
    config.delivery.allow = "127.0.0.0/8+http".to_owned();
    let shop = Shop::with(scratch, config, StartOptions::default());
    let rule =
        json!({ "rule": r#"count("Product Added", "7d") > 0 && count("Order Completed", "7d") == 0"# });
    assert_eq!(shop.admin("PUT", "/admin/v1/audiences/carts", Some(&rule.to_string())).status, 200);
    shop
}

pub(super) fn destination(shop: &Shop, name: &str, body: &Value) -> Value {
    let reply = shop.admin("PUT", &format!("/admin/v1/destinations/{name}"), Some(&body.to_string()));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

pub(super) fn add(shop: &Shop, user: &str) {
    let body = format!(r#"{{"userId":"{user}","event":"Product Added","messageId":"add {user}"}}"#);
    assert_eq!(shop.send("track", &body).status, 200);
}

fn buy(shop: &Shop, user: &str) {
    let body = format!(
        r#"{{"userId":"{user}","event":"Order Completed","messageId":"buy {user}","properties":{{"order_id":"{user}","total":5}}}}"#
    );
    assert_eq!(shop.send("track", &body).status, 200);
}

#[test]
fn entries_and_exits_reach_a_webhook_signed_and_in_order_and_a_file() {
    let (shop, receiver) = (open(), Receiver::open());
    let hook = json!({ "type": "webhook", "url": receiver.url, "kinds": ["audience.entered", "audience.exited"],
        "audiences": ["carts"], "identifiers": ["user_id"] });
    let made = destination(&shop, "crm", &hook);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"), "{made}");
    destination(&shop, "files", &json!({ "type": "ndjson", "class": "transactional" }));
    for user in ["ann", "bob", "cem"] {
        add(&shop, user);
    }
    until("entries arrive", || receiver.kinds().len() == 3);
    buy(&shop, "bob");
    until("the exit arrives", || receiver.kinds().len() == 4);
    let (head, exit) = receiver.got.lock().unwrap()[3].clone();
    assert_eq!(exit["type"], "audience.exited");
    assert_eq!(exit["data"]["identifiers"], json!([{ "type": "user_id", "value": "bob" }]));
    assert_eq!(exit["data"]["audience"], "carts");
    let flipped = &exit["data"]["flipped"][0];
    assert_eq!((&flipped["holds"], exit["data"]["cause"].as_str()), (&json!(false), Some("event")));
    for name in ["webhook-id: eff_", "webhook-timestamp: ", "webhook-signature: v1,"] {
        assert!(head.contains(name), "{head}");
    }
    // A new secret; both sign.
    let rotated = shop.admin("POST", "/admin/v1/destinations/crm/rotate-secret", Some("{}")).json();
    assert_ne!(rotated["secret"], made["secret"]);
    add(&shop, "dan");
    until("a message with two signatures arrives", || receiver.kinds().len() == 5);
    assert_eq!(receiver.got.lock().unwrap()[4].0.matches("v1,").count(), 2);
    let shown = shop.admin("GET", "/admin/v1/destinations/crm", None).json();
    assert!(shown["secret"].is_null() && shown["problem"].is_null(), "{shown}");
    let folder = shop.scratch.0.join("delivery/files");
    let read = || {
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        files.map(|file| std::fs::read_to_string(file.path()).unwrap()).collect::<String>()
    };
    until("everything is in the file", || read().matches("audience.entered").count() >= 4);
    shop.running.stop().unwrap();
    let lines = read();
    assert_eq!(lines.matches("audience.entered").count(), 4, "{lines}");
    assert!(lines.contains("suppression.started") || lines.contains("audience.exited"));
}

#[test]
fn what_is_refused_waits_as_a_dead_letter_and_is_sent_again() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(400, Ordering::SeqCst);
    let hook = json!({ "type": "webhook", "url": receiver.url, "kinds": ["audience.entered"] });
    destination(&shop, "crm", &hook);
    add(&shop, "ann");
    let letters = || shop.admin("GET", "/admin/v1/destinations/crm/dead-letters", None).json();
    until("a dead letter", || letters()["dead_letters"].as_array().is_some_and(|all| all.len() == 1));
    let letter = letters()["dead_letters"][0].clone();
    assert_eq!((&letter["reason"], &letter["detail"]), (&json!("refused"), &json!("http_400")));
    assert_eq!(letter["body"]["type"], "audience.entered");
    receiver.status.store(204, Ordering::SeqCst);
    let ids = json!({ "ids": [letter["id"]] }).to_string();
    let done = shop.admin("POST", "/admin/v1/destinations/crm/dead-letters/resend", Some(&ids));
    assert_eq!((done.status, &done.json()["done"]), (200, &json!(1)), "{done:?}");
    until("it arrives", || receiver.kinds().len() == 1);
    until("no letter is left", || letters()["dead_letters"] == json!([]));
    shop.running.stop().unwrap();
}

#[test]
fn a_message_that_is_not_right_any_more_is_not_sent() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(503, Ordering::SeqCst);
    let hook = json!({ "type": "webhook", "url": receiver.url, "kinds": ["audience.entered"] });
    destination(&shop, "crm", &hook);
    add(&shop, "ann");
    let status = || shop.admin("GET", "/admin/v1/destinations/crm", None).json()["status"].clone();
    until("an attempt fails", || status()["retried"].as_u64() > Some(0));
    buy(&shop, "ann");
    receiver.status.store(204, Ordering::SeqCst);
    until("the permit is refused", || status()["refused_by_permit"]["left_meanwhile"] == 1);
    assert_eq!(receiver.kinds(), Vec::<String>::new());
    shop.running.stop().unwrap();
}

fn status(shop: &Shop, name: &str) -> Value {
    shop.admin("GET", &format!("/admin/v1/destinations/{name}"), None).json()["status"].clone()
}

/// The value of a metric of a destination.
fn metric(shop: &Shop, name: &str, destination: &str) -> Option<u64> {
    let metrics = get(shop.running.addresses().admin, "GET", "/metrics", &[], None).body;
    let labelled = format!("throughline_destination_{name}{{destination=\"{destination}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&labelled)).map(|value| value.parse().unwrap())
}

#[test]
fn a_purchase_that_commits_while_a_message_is_on_the_wire_is_counted_as_crossed() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.holds.store(true, Ordering::SeqCst);
    destination(
        &shop,
        "crm",
        &json!({ "type": "webhook", "url": receiver.url, "kinds": ["audience.entered"] }),
    );
    add(&shop, "ann");
    add(&shop, "bob");
    until("both are on the wire", || receiver.held.load(Ordering::SeqCst) == 2);
    buy(&shop, "ann");
    assert_eq!((&status(&shop, "crm")["crossed"], receiver.kinds().len()), (&json!(0), 0));
    receiver.holds.store(false, Ordering::SeqCst);
    until("both arrive", || status(&shop, "crm")["delivered"] == 2);
    until("one is counted", || status(&shop, "crm")["crossed"] == 1);
    assert_eq!(metric(&shop, "crossed_total", "crm"), Some(1));
    assert_eq!(shop.status()["delivery"]["crossed"], 1);
    // What is refused before it is sent is no crossing.
    assert_eq!(status(&shop, "crm")["refused_by_permit"], json!({}));
    shop.running.stop().unwrap();
}

#[test]
fn a_change_of_one_destination_is_not_felt_by_another_and_its_counts_go_on() {
    let (shop, steady, changing) = (open(), Receiver::open(), Receiver::open());
    let hook = |receiver: &Receiver, kinds: &[&str]| json!({ "type": "webhook", "url": receiver.url, "kinds": kinds });
    destination(&shop, "steady", &hook(&steady, &["audience.entered"]));
    destination(&shop, "changing", &hook(&changing, &["audience.entered"]));
    add(&shop, "ann");
    until("ann arrives", || steady.kinds().len() + changing.kinds().len() == 2);
    until("and is counted", || {
        status(&shop, "steady")["delivered"] == 1 && status(&shop, "changing")["delivered"] == 1
    });
    steady.holds.store(true, Ordering::SeqCst);
    add(&shop, "bob");
    until("bob is held", || steady.held.load(Ordering::SeqCst) == 1);
    until("bob arrives elsewhere", || status(&shop, "changing")["delivered"] == 2);
    // Changed, rotated, one more, one less: the request on the wire is still the first one.
    destination(&shop, "changing", &hook(&changing, &["audience.entered", "audience.exited"]));
    let rotated = shop.admin("POST", "/admin/v1/destinations/changing/rotate-secret", Some("{}"));
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let third = Receiver::open();
    destination(&shop, "third", &hook(&third, &["audience.entered"]));
    add(&shop, "cem");
    until("cem arrives", || changing.kinds().len() == 3 && third.kinds().len() == 1);
    until("counts go on", || status(&shop, "changing")["delivered"] == 3);
    assert_eq!(shop.admin("DELETE", "/admin/v1/destinations/third", None).status, 200);
    let mut off = hook(&changing, &["audience.entered"]);
    off["enabled"] = json!(false);
    destination(&shop, "changing", &off);
    until("it is off", || status(&shop, "changing").is_null());
    assert_eq!(metric(&shop, "delivered_total", "changing"), None);
    destination(&shop, "changing", &hook(&changing, &["audience.entered"]));
    until("it is on, and counts on", || metric(&shop, "delivered_total", "changing") == Some(3));
    let before = status(&shop, "steady");
    assert_eq!(
        (&before["delivered"], &before["attempts"], &before["failed_attempts"]),
        (&json!(1), &json!(3), &json!(0))
    );
    assert_eq!(steady.held.load(Ordering::SeqCst), 2, "bob's and cem's requests were begun once and not cut");
    steady.holds.store(false, Ordering::SeqCst);
    until("they arrive", || status(&shop, "steady")["delivered"] == 3);
    assert_eq!((steady.kinds().len(), changing.kinds().len()), (3, 3), "nothing came twice");
    shop.running.stop().unwrap();
}

#[test]
fn every_destination_has_metrics() {
    let (shop, good, bad) = (open(), Receiver::open(), Receiver::open());
    bad.status.store(503, Ordering::SeqCst);
    for (name, receiver) in [("good", &good), ("bad", &bad)] {
        destination(
            &shop,
            name,
            &json!({ "type": "webhook", "url": receiver.url, "kinds": ["audience.entered"] }),
        );
    }
    (0..12).for_each(|number| add(&shop, &format!("user-{number}")));
    let of = |name: &str, metric_name: &str| metric(&shop, metric_name, name).unwrap();
    until("good gets everything", || of("good", "delivered_total") == 12);
    until("bad's breaker opens", || of("bad", "breaker_state") > 0 && of("bad", "retries_total") >= 8);
    until("good is at the end", || of("good", "lag_milliseconds") == 0);
    std::thread::sleep(Duration::from_millis(300));
    assert!(of("bad", "lag_milliseconds") >= 300, "{}", of("bad", "lag_milliseconds"));
    assert_eq!((of("bad", "delivered_total"), of("bad", "waiting")), (0, 12));
    assert!(of("bad", "failed_attempts_total") >= 8);
    assert_eq!(
        (of("good", "failed_attempts_total"), of("good", "waiting"), of("good", "breaker_state")),
        (0, 0, 0)
    );
    assert!(status(&shop, "bad")["behind_ms"].as_u64().unwrap() >= 300);
    // Somebody who left is refused when the turn comes; who is refused by the receiver is a dead letter.
    buy(&shop, "user-3");
    bad.status.store(400, Ordering::SeqCst);
    until("letters", || of("bad", "dead_letters") == 11 && of("bad", "permits_refused_total") == 1);
    until("bad is at the end", || of("bad", "lag_milliseconds") == 0);
    shop.running.stop().unwrap();
}

/// The texts of finished files, by name.
fn finished(shop: &Shop) -> Vec<(PathBuf, String)> {
    let mut files: Vec<(PathBuf, String)> = std::fs::read_dir(shop.scratch.0.join("delivery/files"))
        .unwrap()
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"))
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn is_erased(shop: &Shop) -> bool {
    let erasure = &shop.status()["erasure"];
    erasure["pending"] == 0 && erasure["done_before_position"].as_u64() > Some(0)
}

/// With every destination off nobody reads the feed; and of files that are finished nobody writes any more.
#[test]
fn an_erased_person_leaves_dead_letters_and_files_of_destinations_that_are_off() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(400, Ordering::SeqCst);
    let hook = json!({ "type": "webhook", "url": receiver.url, "class": "transactional", "kinds": ["audience.entered"], "identifiers": ["user_id"] });
    let files = json!({ "type": "ndjson", "class": "transactional", "identifiers": ["user_id"] });
    destination(&shop, "crm", &hook);
    destination(&shop, "files", &files);
    ["canary", "john"].iter().for_each(|user| add(&shop, user));
    until("two letters", || status(&shop, "crm")["dead_letters"] == 2);
    ["canary", "john"].iter().for_each(|user| buy(&shop, user));
    until("lines", || {
        status(&shop, "files")["delivered"].as_u64() >= Some(4) && status(&shop, "files")["behind_ms"] == 0
    });
    for (name, body) in [("crm", &hook), ("files", &files)] {
        let mut off = body.clone();
        off["enabled"] = json!(false);
        destination(&shop, name, &off);
        until("it is off", || status(&shop, name).is_null());
    }
    let reader = shop.token(&["profile:read"]);
    let profile = shop.lookup(&reader, "user_id", "canary").json()["id"].as_str().unwrap().to_owned();
    // A lane that closes finishes its file last of all.
    until("the file is finished", || !finished(&shop).is_empty());
    let before = finished(&shop);
    let text: String = before.iter().map(|(_, text)| text.as_str()).collect();
    assert!(text.contains(&profile) && text.contains("canary") && text.contains("john"), "{text}");
    let johns = text.lines().filter(|line| line.contains("john")).count();
    // The journal is sealed or not; without a keyring what it holds can be looked for.
    let journal = || std::fs::read(shop.scratch.0.join("delivery/journal/delivery.journal")).unwrap();
    let holds = |needle: &str| memchr::memmem::find(&journal(), needle.as_bytes()).is_some();
    assert!(holds("canary") && holds("john"));
    let erased = shop.admin("POST", &format!("/admin/v1/profiles/{profile}/erase"), None);
    assert_eq!(erased.status, 200, "{erased:?}");
    until("the dead letter is gone", || !holds("canary"));
    assert!(holds("john"), "other people's letters stay");
    until("the erasure", || is_erased(&shop));
    let after = finished(&shop);
    let names = |files: &[(PathBuf, String)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "files keep their names");
    let text: String = after.iter().map(|(_, text)| text.as_str()).collect();
    assert!(!text.contains(&profile) && !text.contains("canary"), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains("john")).count(), johns);
    // On again: the letter of the other one can be sent, and the file says that somebody was erased.
    let Shop { running, credentials, scratch } = shop;
    running.stop().unwrap();
    let mut config = scratch.config();
    config.delivery.allow = "127.0.0.0/8+http".to_owned();
    let running = server::serve::start(config, StartOptions::default()).unwrap();
    let shop = Shop { running, credentials, scratch };
    destination(&shop, "crm", &hook);
    destination(&shop, "files", &files);
    let letters = || shop.admin("GET", "/admin/v1/destinations/crm/dead-letters", None).json();
    until("the letters are there", || letters()["dead_letters"].as_array().is_some_and(|all| all.len() == 1));
    assert!(letters().to_string().contains("john"));
    until("the files go on", || status(&shop, "files")["behind_ms"] == 0);
    shop.running.stop().unwrap();
}

/// A destination that is on: what waits, what is on the wire, and the file in progress.
#[test]
fn an_erased_person_leaves_destinations_that_are_on() {
    let (shop, receiver) = (open(), Receiver::open());
    receiver.status.store(503, Ordering::SeqCst);
    let hook = json!({ "type": "webhook", "url": receiver.url, "class": "transactional", "kinds": ["audience.entered"], "identifiers": ["user_id"] });
    destination(&shop, "crm", &hook);
    destination(
        &shop,
        "files",
        &json!({ "type": "ndjson", "class": "transactional", "identifiers": ["user_id"] }),
    );
    add(&shop, "canary");
    add(&shop, "john");
    until("attempts fail", || status(&shop, "crm")["retried"].as_u64() > Some(1));
    until("lines", || status(&shop, "files")["delivered"].as_u64() >= Some(2));
    let reader = shop.token(&["profile:read"]);
    let profile = shop.lookup(&reader, "user_id", "canary").json()["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.admin("POST", &format!("/admin/v1/profiles/{profile}/erase"), None).status, 200);
    until("the erasure", || is_erased(&shop));
    let text: String = finished(&shop).into_iter().map(|file| file.1).collect();
    assert!(text.contains("john") && !text.contains("canary"), "{text}");
    receiver.status.store(204, Ordering::SeqCst);
    until("the other one arrives", || receiver.kinds().len() == 1 && status(&shop, "crm")["waiting"] == 0);
    assert!(receiver.got.lock().unwrap()[0].1.to_string().contains("john"));
    let folder = shop.scratch.0.join("delivery/files");
    let said = || {
        let files = std::fs::read_dir(&folder).unwrap().flatten();
        files
            .filter_map(|file| std::fs::read_to_string(file.path()).ok())
            .any(|text| text.lines().any(|line| line.contains("profile.erased") && line.contains(&profile)))
    };
    until("a later file says who was erased", said);
    shop.running.stop().unwrap();
}

#[test]
fn destinations_that_cannot_be_are_refused() {
    let shop = open();
    for (body, field) in [
        (json!({ "type": "webhook" }), "url"),
        (json!({ "type": "webhook", "url": "ftp://example.com/" }), "url"),
        (json!({ "type": "webhook", "url": "https://169.254.169.254/latest" }), "url"),
        (json!({ "type": "webhook", "url": "https://[::ffff:10.0.0.1]/" }), "url"),
        (json!({ "type": "ndjson", "url": "https://example.com/" }), "url"),
        (json!({ "type": "carrier pigeon" }), "type"),
        (json!({ "type": "ndjson", "class": "both" }), "class"),
        (json!({ "type": "ndjson", "kinds": ["audience.entred"] }), "kinds"),
        (json!({ "type": "ndjson", "audiences": ["nobody"] }), "audiences"),
        (json!({ "type": "ndjson", "identifiers": ["shoe_size"] }), "identifiers"),
    ] {
        let reply = shop.admin("PUT", "/admin/v1/destinations/x", Some(&body.to_string()));
        assert_eq!((reply.status, &reply.json()["field"]), (400, &json!(field)), "{body} {reply:?}");
    }
    assert_eq!(shop.admin("GET", "/admin/v1/destinations/x", None).status, 404);
    assert_eq!(shop.admin("PUT", "/admin/v1/destinations/a%2Fb", Some(r#"{"type":"ndjson"}"#)).status, 400);
    shop.running.stop().unwrap();
}
