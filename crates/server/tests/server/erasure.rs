//! An erased person is gone from state at once and from the log soon, and a replay still comes out the same.

use super::support::{Shop, until};
use eventlog::{LocalLog, Log as _};
use model::id::Position;
use server::serve::verify_directory;

const CANARY: &str = "canary-of-jane";

/// How often the canary stands in what the log gives to a reader.
fn canaries(shop_directory: &std::path::Path) -> usize {
    let (log, _) = LocalLog::open(&env::Env::real(), shop_directory, options()).unwrap();
    let mut reader = log.read_from(Position(0)).unwrap();
    let mut found = 0;
    while let Some(frame) = reader.next().unwrap() {
        found += frame.body.windows(CANARY.len()).filter(|window| *window == CANARY.as_bytes()).count();
    }
    found
}

fn options() -> eventlog::LogOptions {
    eventlog::LogOptions { segment_bytes: 1 << 20, ..eventlog::LogOptions::default() }
}

/// More than a segment of other people's events.
fn fill(shop: &Shop, round: u32) {
    let filler = "x".repeat(2_000);
    for batch in 0..8 {
        let events: Vec<String> = (0..100)
            .map(|number| {
                format!(
                    r#"{{"type":"track","userId":"other-{number}","event":"Seen","messageId":"{round}-{batch}-{number}",
                    "properties":{{"note":"{filler}"}}}}"#
                )
            })
            .collect();
        let reply = shop.send("batch", &format!(r#"{{"batch":[{}]}}"#, events.join(",")));
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[test]
fn an_erased_person_leaves_state_and_log() {
    let shop = Shop::open();
    shop.order(CANARY, "o-1", "shoe");
    let seen = format!(
        r#"{{"userId":"{CANARY}","anonymousId":"{CANARY}-phone","event":"Seen","messageId":"s",
        "properties":{{"secret":"{CANARY}"}},"context":{{"traits":{{"email":"{CANARY}@example.com"}}}}}}"#
    );
    assert_eq!(shop.send("track", &seen).status, 200);
    shop.order("john", "o-2", "hat");
    fill(&shop, 1);
    let reader = shop.token(&["profile:read"]);
    let id = shop.lookup(&reader, "user_id", CANARY).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/v1/profiles/{id}/erase");
    let erased = shop.admin_with("POST", &path, None, &[("idempotency-key", "erase-1")]);
    assert_eq!((erased.status, &erased.json()["identifiers"]), (200, &3.into()), "{erased:?}");
    let again = shop.admin_with("POST", &path, None, &[("idempotency-key", "erase-1")]);
    assert_eq!(again.body, erased.body, "the same request is answered alike");
    assert_eq!(shop.admin("POST", &path, None).status, 404, "another one finds nobody");
    for (kind, value) in [("user_id", CANARY.to_owned()), ("email", format!("{CANARY}@example.com"))] {
        assert_eq!(shop.lookup(&reader, kind, &value).status, 404);
        assert_eq!(shop.decide(kind, &value, "shoe")["suppressed"], false);
    }
    assert_eq!(shop.decide("user_id", "john", "hat")["suppressed"], true, "others stay");
    until("the erasure is noticed", || shop.status()["erasure"]["pending"] == 1);
    // The segment with the erasing record has to be full before it can be passed over.
    fill(&shop, 2);
    until("the log is rewritten", || shop.status()["erasure"]["pending"] == 0);
    let erasure = &shop.status()["erasure"];
    assert_eq!(erasure["records_emptied"], 2, "{erasure}");
    assert!(erasure["done_before_position"].as_u64().unwrap() > 0);

    let shop = shop.restart();
    assert_eq!(shop.status()["erasure"]["pending"], 0, "done stays done");
    assert_eq!(shop.lookup(&reader, "user_id", CANARY).status, 404);
    assert_eq!(shop.decide("user_id", "john", "hat")["suppressed"], true);
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    assert_eq!(canaries(&scratch.0), 0);
    let stretches = verify_directory(&scratch.config()).unwrap();
    assert!(
        !stretches.is_empty() && stretches.iter().all(engine::verify::Stretch::is_exact),
        "{stretches:?}"
    );
}

#[test]
fn an_unfinished_erasure_goes_on_after_a_restart() {
    let shop = Shop::open();
    shop.order(CANARY, "o-1", "shoe");
    let reader = shop.token(&["profile:read"]);
    let id = shop.lookup(&reader, "user_id", CANARY).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.admin("POST", &format!("/admin/v1/profiles/{id}/erase"), None).status, 200);
    until("the erasure is noticed", || shop.status()["erasure"]["pending"] == 1);
    let shop = shop.restart();
    assert_eq!(shop.status()["erasure"]["pending"], 1, "its segment is still being written");
    fill(&shop, 1);
    until("the log is rewritten", || shop.status()["erasure"]["pending"] == 0);
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    assert_eq!(canaries(&scratch.0), 0);
}
