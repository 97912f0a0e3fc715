//! The change feed through its door: what followers see, what they are refused, and what erasure takes from it.

use super::support::{Scratch, Shop, raw, until};
use serde_json::Value;
use server::serve::StartOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An answer without chunks: its body ends with the connection.
fn get(shop: &Shop, token: &str, path: &str, headers: &str) -> (u16, String) {
    let address = shop.running.addresses().profiles;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{headers}\r\n");
    let reply = raw(address, request.as_bytes());
    (reply.status, reply.body)
}

fn lines(shop: &Shop, path: &str) -> Vec<Value> {
    let (status, body) = get(shop, &shop.credentials.admin_token, path, "");
    assert_eq!(status, 200, "{path}: {body}");
    body.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["kind"].as_str().unwrap()).collect()
}

fn cursor(line: &Value) -> String {
    line["cursor"].as_str().unwrap().to_owned()
}

fn profile(shop: &Shop, user: &str) -> String {
    let read = shop.lookup(&shop.credentials.admin_token, "user_id", user).json();
    read["profile"].as_str().or_else(|| read["id"].as_str()).unwrap_or_else(|| panic!("{read}")).to_owned()
}

#[test]
fn what_was_applied_comes_in_order_and_a_cursor_goes_on_over_a_restart() {
    let shop = Shop::open();
    shop.order("jane", "o-1", "shoe");
    shop.order("joe", "o-2", "hat");
    let all = lines(&shop, "/feed/v1");
    let expected =
        ["suppression.started", "event.accepted", "suppression.started", "event.accepted", "heartbeat"];
    assert_eq!(kinds(&all), expected);
    let jane = profile(&shop, "jane");
    assert_eq!(all[0]["profile"], jane.as_str());
    assert_eq!(all[0]["detail"]["scopes"].as_array().unwrap().len(), 1);
    assert_eq!(all[1]["profile"], jane.as_str());
    assert_eq!(all[1]["event"]["name"], "Order Completed");
    assert_eq!(all[1]["event"]["order"]["order_id"], "o-1");
    assert_eq!(all[1]["event"]["products"][0]["product_id"], "shoe");
    let whole = serde_json::to_string(&all).unwrap();
    assert!(
        !whole.contains("example.com") && !whole.contains("jane\""),
        "nothing personal is shown: {whole}"
    );

    let after = cursor(&all[1]);
    let rest = lines(&shop, &format!("/feed/v1?after={after}"));
    assert_eq!(&rest[..2], &all[2..4]);
    let one = lines(&shop, &format!("/feed/v1?after={after}&limit=1&kinds=event.accepted"));
    assert_eq!(kinds(&one), ["event.accepted", "heartbeat"]);
    assert_eq!(one[0], all[3]);
    let end = cursor(rest.last().unwrap());
    assert_eq!(kinds(&lines(&shop, &format!("/feed/v1?after={end}"))), ["heartbeat"]);

    let shop = shop.restart();
    shop.order("jim", "o-3", "scarf");
    let rest = lines(&shop, &format!("/feed/v1?after={after}"));
    assert_eq!(&rest[..2], &all[2..4], "the same after a restart");
    assert_eq!(kinds(&rest[2..]), ["suppression.started", "event.accepted", "heartbeat"]);
    let rest = lines(&shop, &format!("/feed/v1?after={end}&kinds=suppression.started%2Cprofile.merged"));
    assert_eq!(kinds(&rest), ["suppression.started", "heartbeat"]);
    shop.running.stop().unwrap();
}

#[test]
fn wrong_questions_are_told_what_is_wrong() {
    let shop = Shop::open();
    shop.order("jane", "o-1", "shoe");
    let end = cursor(lines(&shop, "/feed/v1").last().unwrap());
    let other = Shop::open();
    let one = shop.token(&["feed:suppression.started"]);
    let none = shop.token(&["profile:read"]);
    let admin = shop.credentials.admin_token.as_str();
    let mutilated = end.replace("cur_01", "cur_02");
    for (token, path, status, code) in [
        (admin, "/feed/v1?after=cur_1".to_owned(), 400, "bad_cursor"),
        (admin, format!("/feed/v1?after={mutilated}"), 400, "bad_cursor"),
        (admin, "/feed/v1?kinds=profile.merge".to_owned(), 400, "bad_value"),
        (admin, "/feed/v1?kinds=".to_owned(), 400, "bad_value"),
        (admin, "/feed/v1?limit=0".to_owned(), 400, "bad_request"),
        (admin, "/feed/v1?wait_ms=86400001".to_owned(), 400, "bad_request"),
        (&one, "/feed/v1?kinds=event.accepted".to_owned(), 403, "forbidden"),
        (&one, "/feed/v1/snapshot?kinds=audience.entered".to_owned(), 403, "forbidden"),
        (&none, "/feed/v1".to_owned(), 403, "forbidden"),
        (&none, "/feed/v1/snapshot".to_owned(), 403, "forbidden"),
    ] {
        let (found, body) = get(&shop, token, &path, "");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((found, body["code"].as_str().unwrap()), (status, code), "{path}: {body}");
    }
    let (status, body) = get(&shop, &one, "/feed/v1", "");
    assert_eq!(status, 200);
    let shown: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kinds(&shown), ["suppression.started", "heartbeat"], "a token sees its own kinds");
    // A cursor of another data directory.
    let token = &other.credentials.admin_token;
    let (status, body) = get(&other, token, &format!("/feed/v1?after={end}&kinds=event.accepted"), "");
    assert_eq!(status, 410);
    assert!(
        body.contains("cursor_gone") && body.contains("/feed/v1/snapshot?kinds=event.accepted"),
        "{body}"
    );
    shop.running.stop().unwrap();
    other.running.stop().unwrap();
}

/// Reads the head, then lines as they come.
fn open(shop: &Shop, path: &str, headers: &str) -> BufReader<TcpStream> {
    let address = shop.running.addresses().profiles;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let token = &shop.credentials.admin_token;
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    while !line(&mut reader).is_empty() {}
    reader
}

#[expect(clippy::disallowed_methods, reason = "the server under test ends every line")]
fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    assert!(reader.read_line(&mut line).unwrap() > 0, "the stream ended");
    line.trim_end().to_owned()
}

#[test]
fn a_waiting_follower_gets_items_as_they_happen_and_signs_of_life() {
    let scratch = Scratch::new();
    let mut config = scratch.config();
    config.feed.heartbeat_ms = 50;
    config.feed.readers_max = 2;
    let shop = Shop::with(scratch, config, StartOptions::default());
    let mut reader = open(&shop, "/feed/v1?after=end&wait_ms=60000", "");
    let beat: Value = serde_json::from_str(&line(&mut reader)).unwrap();
    assert_eq!(beat["kind"], "heartbeat");
    shop.order("jane", "o-1", "shoe");
    let next = |reader: &mut BufReader<TcpStream>| loop {
        let found: Value = serde_json::from_str(&line(reader)).unwrap();
        if found["kind"] != "heartbeat" {
            return found;
        }
    };
    assert_eq!(next(&mut reader)["kind"], "suppression.started");
    assert_eq!(next(&mut reader)["kind"], "event.accepted");
    // Server-sent events, from where a browser lost its connection.
    let last = cursor(&beat);
    let headers = format!("Accept: text/event-stream\r\nLast-Event-ID: {last}\r\n");
    let mut events = open(&shop, "/feed/v1?after=end", &headers);
    assert!(line(&mut events).starts_with("id: cur_"));
    assert_eq!(line(&mut events), "event: suppression.started");
    let data = line(&mut events);
    let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["kind"], "suppression.started");
    assert_eq!(line(&mut events), "");
    // A third reader finds no place, and gets one when another leaves.
    let (status, body) = get(&shop, &shop.credentials.admin_token, "/feed/v1", "");
    assert_eq!((status, body.contains("busy")), (429, true), "{body}");
    drop(events);
    until("a place", || get(&shop, &shop.credentials.admin_token, "/feed/v1", "").0 == 200);
    assert!(shop.status()["feed"]["readers"].as_u64().unwrap() >= 1);
    let started = std::time::Instant::now();
    shop.running.stop().unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "a waiting reader does not hold up the end");
}

#[test]
fn a_reader_that_takes_nothing_is_disconnected() {
    let scratch = Scratch::new();
    let mut config = scratch.config();
    config.feed.stall_ms = 300;
    let shop = Shop::with(scratch, config, StartOptions::default());
    let stuck = open(&shop, "/feed/v1?wait_ms=60000", "");
    // More than the buffers of a connection hold.
    let products: Vec<String> =
        (0..400).map(|number| format!(r#"{{"product_id":"product {number}"}}"#)).collect();
    let products = products.join(",");
    let mut order = 0;
    until("a disconnection", || {
        for _ in 0..40 {
            order += 1;
            let body = format!(
                r#"{{"userId":"u{order}","event":"Order Completed","messageId":"m{order}",
                "properties":{{"order_id":"{order}","total":1,"currency":"EUR","products":[{products}]}}}}"#
            );
            assert_eq!(shop.send("track", &body).status, 200);
        }
        shop.status()["feed"]["readers_slow"].as_u64().unwrap() > 0
    });
    drop(stuck);
    until("its place", || shop.status()["feed"]["readers"] == 0);
    shop.running.stop().unwrap();
}

#[test]
fn a_snapshot_and_its_cursor_are_the_state() {
    let shop = Shop::open();
    for number in 0..30 {
        shop.order(&format!("user {number}"), &format!("o-{number}"), &format!("product {}", number % 7));
    }
    until("a checkpoint", || shop.status()["checkpoint_next"].as_u64().unwrap() > 20);
    shop.order("late", "o-late", "late product");
    let mut state = std::collections::BTreeSet::new();
    let snapshot = lines(&shop, "/feed/v1/snapshot");
    let (end, rows) = snapshot.split_last().unwrap();
    assert_eq!(end["kind"], "snapshot.end");
    for row in rows {
        assert_eq!(row["kind"], "suppression.state");
        for scope in row["scopes"].as_array().unwrap() {
            state.insert((
                row["profile"].as_str().unwrap().to_owned(),
                scope["scope"].as_str().unwrap().to_owned(),
            ));
        }
    }
    assert!(state.len() > 10, "{}", state.len());
    for item in lines(&shop, &format!("/feed/v1?after={}&kinds=suppression.started", cursor(end))) {
        for scope in item["detail"]["scopes"].as_array().into_iter().flatten() {
            let scope = scope["scope"].as_str().unwrap().to_owned();
            state.insert((item["profile"].as_str().unwrap().to_owned(), scope));
        }
    }
    assert_eq!(state.len(), 31);
    let (status, body) = get(&shop, &shop.token(&["feed:event.accepted"]), "/feed/v1/snapshot", "");
    assert_eq!((status, body.lines().count()), (200, 1), "nothing but the cursor: {body}");
    shop.running.stop().unwrap();
}

#[test]
fn the_erased_leave_the_feed_and_their_erasure_stays() {
    let shop = Shop::open();
    shop.order("jane", "o-1", "shoe");
    shop.order("joe", "o-2", "hat");
    let (jane, joe) = (profile(&shop, "jane"), profile(&shop, "joe"));
    let erased = shop.admin("POST", &format!("/admin/v1/profiles/{jane}/erase"), None);
    assert_eq!(erased.status, 200, "{erased:?}");
    until("the erasure", || shop.status()["erasure"]["done_before_position"].as_u64().unwrap() > 0);
    let left = lines(&shop, "/feed/v1");
    let of = |who: &str| -> Vec<&str> {
        left.iter().filter(|line| line["profile"] == who).map(|line| line["kind"].as_str().unwrap()).collect()
    };
    assert_eq!(of(&jane), ["profile.erased"]);
    assert_eq!(of(&joe), ["suppression.started", "event.accepted"]);
    let key: u128 = u128::from_str_radix(jane.strip_prefix("prf_").unwrap(), 16).unwrap();
    let mut found = 0;
    for file in std::fs::read_dir(shop.scratch.0.join("feed")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        found += bytes.windows(16).filter(|window| *window == key.to_le_bytes()).count();
    }
    assert!(found <= 1, "only the erasure itself names them on disk: {found}");
    shop.running.stop().unwrap();
}
