//! Destinations on real sockets and files: signed messages in order, refusals as dead letters, permits, restarts.

use super::support::{Scratch, Shop, until};
use serde_json::{Value, json};
use server::serve::StartOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

/// A program of the shop's that is told things: keeps heads and bodies, and answers as it is told to.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    got: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Receiver {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (status, got) = (Arc::new(AtomicU16::new(204)), Arc::new(Mutex::new(Vec::new())));
        let (answer, taken) = (Arc::clone(&status), Arc::clone(&got));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, taken) = (Arc::clone(&answer), Arc::clone(&taken));
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some((head, body)) = request(&mut reader) {
                        let status = answer.load(Ordering::SeqCst);
                        if status < 300 {
                            taken.lock().unwrap().push((head, serde_json::from_slice(&body).unwrap()));
                        }
                        let reply = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
                        if (&stream).write_all(reply.as_bytes()).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self { url, status, got }
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

fn open() -> Shop {
    let scratch = Scratch::new();
    let mut config = scratch.config();
    config.delivery.allow = "127.0.0.0/8+http".to_owned();
    let shop = Shop::with(scratch, config, StartOptions::default());
    let rule =
        json!({ "rule": r#"count("Product Added", "7d") > 0 && count("Order Completed", "7d") == 0"# });
    assert_eq!(shop.admin("PUT", "/admin/v1/audiences/carts", Some(&rule.to_string())).status, 200);
    shop
}

fn destination(shop: &Shop, name: &str, body: &Value) -> Value {
    let reply = shop.admin("PUT", &format!("/admin/v1/destinations/{name}"), Some(&body.to_string()));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn add(shop: &Shop, user: &str) {
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
    let written =
        || shop.admin("GET", "/admin/v1/destinations/files", None).json()["status"]["delivered"].as_u64();
    until("everything is in the file", || written() >= Some(1));
    let folder = shop.scratch.0.join("delivery/files");
    shop.running.stop().unwrap();
    let mut lines = String::new();
    for file in std::fs::read_dir(folder).unwrap().flatten() {
        lines.push_str(&std::fs::read_to_string(file.path()).unwrap());
    }
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
