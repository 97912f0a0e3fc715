//! An erased person is gone from state at once and from the whole data directory soon, in a quiet shop too, and a
//! replay still comes out the same.

use super::support::{Shop, until};
use engine::OpenOptions;
use env::Env;
use eventlog::{LocalLog, Log as _};
use model::event::{Event, IdentifierKind};
use model::id::Position;
use model::record::{RecordKind, decode_records};
use server::config::Config;
use server::serve::{DataDirectory, open_options, verify_directory};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{LocalObjects, Objects, Store, TableId};

/// In the user id, in a trait, in a property and in the e-mail address.
const CANARY: &str = "canary-of-jane";

/// Copies what a running server has on its disk, and opens the copy as a start would.
struct Copied {
    path: PathBuf,
    options: OpenOptions,
}

impl Copied {
    fn of(shop: &Shop) -> Self {
        let path = shop.scratch.0.with_extension("copy");
        let _ = std::fs::remove_dir_all(&path);
        copy(&shop.scratch.0, &path);
        let mut config: Config = shop.scratch.config();
        config.data.directory = path.clone();
        let options = open_options(&config, &DataDirectory::at(&config.data), &Env::real()).unwrap();
        Self { path, options }
    }

    /// The frames of all segments, as a reader of the log gets them.
    fn frames(&self) -> Vec<eventlog::Frame> {
        let (log, _) = LocalLog::open(&Env::real(), &self.path, self.options.log.clone()).unwrap();
        let mut reader = log.read_from(Position(0)).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            frames.push(frame);
        }
        frames
    }

    /// E-mail addresses are sealed: the bytes that stand for the canary's in the log.
    fn sealed_emails(&self) -> BTreeSet<Vec<u8>> {
        let mut found = BTreeSet::new();
        for frame in self.frames() {
            for record in decode_records(&frame.body, frame.first, frame.received_at) {
                let record = record.unwrap();
                let Some(event) =
                    (record.kind == RecordKind::EVENT).then(|| Event::decode(record.body).unwrap())
                else {
                    continue;
                };
                let identifiers = event.identifiers.as_slice();
                if identifiers.iter().any(|one| one.value == CANARY.as_bytes()) {
                    let emails = identifiers.iter().filter(|one| IdentifierKind(one.kind).is_sealed());
                    found.extend(emails.map(|one| one.value.to_vec()));
                }
            }
        }
        found
    }

    /// Where any of the needles stands: in the bytes of any file, in a frame of the log, in a row of a kept checkpoint.
    fn traces(&self, needles: &BTreeSet<Vec<u8>>) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        let mut look = |place: String, bytes: &[u8]| {
            let hits = needles.iter().map(|needle| memchr::memmem::find_iter(bytes, needle).count());
            let hits: usize = hits.sum();
            if hits > 0 {
                *found.entry(place).or_default() += hits;
            }
        };
        for path in files(&self.path) {
            look(format!("file {}", path.display()), &std::fs::read(&path).unwrap());
        }
        for frame in self.frames() {
            look("log".to_owned(), &frame.body);
        }
        let env = Env::real();
        let objects: Arc<dyn Objects> = Arc::new(LocalObjects::open(&env, &self.path.join("state")).unwrap());
        for manifest in Store::kept(&*objects).unwrap() {
            let (store, _) =
                Store::open_at(Arc::clone(&objects), self.options.store.clone(), manifest.generation)
                    .unwrap();
            for table in 0..=u8::MAX {
                for row in store.scan(TableId(table)) {
                    look("state".to_owned(), &row.unwrap().1);
                }
            }
        }
        found
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Background work may take a file away while it is copied: then all is copied again.
fn copy(from: &Path, to: &Path) {
    let mut tries = 0;
    until("a copy", || {
        tries += 1;
        let _ = std::fs::remove_dir_all(to);
        let copied = try_copy(from, to);
        assert!(tries < 100, "{copied:?}");
        copied.is_ok()
    });
}

fn try_copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            try_copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// A fifth of a segment of other people's events.
fn send_batch(shop: &Shop, round: u32, batch: u32) {
    let filler = "x".repeat(2_000);
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

/// More than a segment of them.
fn fill(shop: &Shop, round: u32) {
    (0..8).for_each(|batch| send_batch(shop, round, batch));
}

/// The canary buys and looks around; somebody else buys too. Gives a token that may read profiles.
fn visit(shop: &Shop) -> String {
    shop.order(CANARY, "o-1", "shoe");
    let seen = format!(
        r#"{{"userId":"{CANARY}","anonymousId":"{CANARY}-phone","event":"Seen","messageId":"s",
        "properties":{{"secret":"{CANARY}"}},"context":{{"traits":{{"email":"{CANARY}@example.com",
        "nickname":"{CANARY}"}}}}}}"#
    );
    assert_eq!(shop.send("track", &seen).status, 200);
    shop.order("john", "o-2", "hat");
    shop.token(&["profile:read"])
}

fn erase(shop: &Shop, reader: &str) {
    let id = shop.lookup(reader, "user_id", CANARY).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/v1/profiles/{id}/erase");
    let erased = shop.admin_with("POST", &path, None, &[("idempotency-key", "erase-1")]);
    assert_eq!((erased.status, &erased.json()["identifiers"]), (200, &3.into()), "{erased:?}");
    let again = shop.admin_with("POST", &path, None, &[("idempotency-key", "erase-1")]);
    assert_eq!(again.body, erased.body, "the same request is answered alike");
    assert_eq!(shop.admin("POST", &path, None).status, 404, "another one finds nobody");
    for (kind, value) in [("user_id", CANARY.to_owned()), ("email", format!("{CANARY}@example.com"))] {
        assert_eq!(shop.lookup(reader, kind, &value).status, 404);
        assert_eq!(shop.decide(kind, &value, "shoe")["suppressed"], false);
    }
    assert_eq!(shop.decide("user_id", "john", "hat")["suppressed"], true, "others stay");
}

fn is_done(shop: &Shop) -> bool {
    let erasure = &shop.status()["erasure"];
    erasure["pending"] == 0 && erasure["done_before_position"].as_u64().unwrap() > 0
}

/// Nothing of the canary is on the disk any more, and the log and its checkpoints are as sound as before.
fn check_gone(shop: Shop, reader: &str, needles: &BTreeSet<Vec<u8>>) {
    assert_eq!(shop.status()["erasure"]["records_emptied"], 2, "{}", shop.status()["erasure"]);
    // The server still runs: it is what a thief of the disk would find.
    assert_eq!(Copied::of(&shop).traces(needles), BTreeMap::new());
    let shop = shop.restart();
    assert_eq!(shop.status()["erasure"]["pending"], 0, "done stays done");
    assert_eq!(shop.lookup(reader, "user_id", CANARY).status, 404);
    assert_eq!(shop.decide("user_id", "john", "hat")["suppressed"], true);
    assert_eq!(Copied::of(&shop).traces(needles), BTreeMap::new());
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    let stretches = verify_directory(&scratch.config()).unwrap();
    assert!(
        !stretches.is_empty() && stretches.iter().all(engine::verify::Stretch::is_exact),
        "{stretches:?}"
    );
}

/// What stands on the disk as long as nobody is erased: without it, finding nothing would prove nothing.
fn needles(shop: &Shop) -> BTreeSet<Vec<u8>> {
    let applied = shop.status()["applied_next"].as_u64().unwrap();
    until("a checkpoint", || shop.status()["checkpoint_next"].as_u64().unwrap() >= applied);
    let copied = Copied::of(shop);
    let mut needles = copied.sealed_emails();
    assert_eq!(needles.len(), 1, "an address is sealed to the same bytes each time");
    needles.insert(CANARY.as_bytes().to_vec());
    for needle in &needles {
        let found = copied.traces(&BTreeSet::from([needle.clone()]));
        assert!(found.contains_key("log") && found.contains_key("state"), "{found:?}");
        assert!(found.keys().any(|place| place.ends_with(".seg")), "{found:?}");
    }
    needles
}

#[test]
fn an_erased_person_leaves_a_quiet_data_directory() {
    let shop = Shop::open();
    let reader = visit(&shop);
    let needles = needles(&shop);
    erase(&shop, &reader);
    // Nothing more is sent: only status is read.
    until("the erasure", || is_done(&shop));
    check_gone(shop, &reader, &needles);
}

/// The file in which the person stood was sealed, and the next events are written over its beginning.
#[test]
fn an_erased_person_leaves_used_files() {
    let shop = Shop::open();
    // The canary's events stand in the second half of a segment, where they are overwritten late.
    (0..3).for_each(|batch| send_batch(&shop, 0, batch));
    let reader = visit(&shop);
    let needles = needles(&shop);
    let mut batch = 0;
    until("a used file that is in use again", || {
        send_batch(&shop, 1, batch);
        batch += 1;
        let traces = Copied::of(&shop).traces(&needles);
        let open =
            files(&shop.scratch.0.join("log")).into_iter().map(|path| path.file_name().unwrap().to_owned());
        let open = open.filter(|name| !name.to_string_lossy().contains("spare")).max().unwrap();
        let first = format!("{:020}.seg", 0);
        open != *first && traces.keys().any(|place| place.ends_with(&*open.to_string_lossy()))
    });
    erase(&shop, &reader);
    until("the erasure", || is_done(&shop));
    check_gone(shop, &reader, &needles);
}

#[test]
fn an_erased_person_leaves_a_busy_shop() {
    let shop = Shop::open();
    let reader = visit(&shop);
    let needles = needles(&shop);
    fill(&shop, 1);
    erase(&shop, &reader);
    let mut round = 2;
    until("the erasure", || {
        if round < 12 {
            fill(&shop, round);
            round += 1;
        }
        is_done(&shop)
    });
    check_gone(shop, &reader, &needles);
}

#[test]
fn an_unfinished_erasure_goes_on_after_a_restart() {
    let shop = Shop::open();
    let reader = visit(&shop);
    let needles = needles(&shop);
    erase(&shop, &reader);
    until("the erasure is noticed", || shop.status()["erasure"]["pending"] == 1);
    let shop = shop.restart();
    let erasure = &shop.status()["erasure"];
    assert_eq!((&erasure["pending"], &erasure["done_before_position"]), (&1.into(), &0.into()), "{erasure}");
    until("the erasure", || is_done(&shop));
    check_gone(shop, &reader, &needles);
}

/// Ada and Bob use one tablet in turns, and look at things without saying who they are.
fn share_a_tablet(shop: &Shop) {
    let send = |call: &str, body: String| {
        let reply = shop.send(call, &body);
        assert_eq!(reply.status, 200, "{reply:?}");
    };
    for round in 0..4 {
        for (who, note) in [(CANARY, CANARY), ("bob", "what-bob-saw")] {
            let identify = format!(
                r#"{{"userId":"{who}","anonymousId":"tablet","messageId":"i {who} {round}","traits":{{"note":"{note}"}}}}"#
            );
            send("identify", identify);
            for (number, category) in ["shoes", "hats", "bags"].into_iter().enumerate() {
                let category = format!("{category} {}", round % 2);
                let seen = format!(
                    r#"{{"anonymousId":"tablet","event":"Product Viewed","messageId":"{who} {round} {number}",
                    "properties":{{"category":"{category}","note":"{note}","price":{number}}},"context":{{"page":{{"title":"{note}"}}}}}}"#
                );
                send("track", seen);
            }
        }
    }
}

/// In the log, and how often.
fn in_the_log(copied: &Copied, text: &str) -> usize {
    copied.frames().iter().map(|frame| memchr::memmem::find_iter(&frame.body, text).count()).sum()
}

/// Whoever was erased is gone, and everything that somebody else did on the same device is still there: for a replay, and
/// for an audience that is made up afterwards.
#[test]
fn what_others_did_on_the_device_of_the_erased_stays() {
    let rules = [
        r#"distinct("Product Viewed", "category") == 6"#,
        r#"sum("Product Viewed", "price", "30d") > 11 && traits.note == "what-bob-saw""#,
        r#"last("Product Viewed", "context.page.title") == "what-bob-saw""#,
    ];
    let shop = Shop::open();
    let define = |shop: &Shop, own: &str| {
        for (number, rule) in rules.iter().enumerate() {
            let body = serde_json::json!({ "rule": rule }).to_string();
            let reply = shop.admin("PUT", &format!("/admin/v1/audiences/{own}{number}"), Some(&body));
            assert_eq!(reply.status, 200, "{reply:?}");
        }
    };
    let members = |shop: &Shop, own: &str| -> Vec<serde_json::Value> {
        let read = |number| shop.admin("GET", &format!("/admin/v1/audiences/{own}{number}"), None).json();
        let read: Vec<_> = (0..rules.len()).map(read).collect();
        read.iter().map(|one| serde_json::json!([one["members"], one["backfill"]])).collect()
    };
    let all_alone = vec![serde_json::json!([1, null]); rules.len()];
    define(&shop, "early");
    until("they are found", || members(&shop, "early").iter().all(|one| one[1].is_null()));
    share_a_tablet(&shop);
    let reader = shop.token(&["profile:read"]);
    let before = Copied::of(&shop);
    let (of_ada, of_bob) = (in_the_log(&before, CANARY), in_the_log(&before, "what-bob-saw"));
    drop(before);
    assert!(of_ada > 24 && of_bob > 24, "{of_ada} {of_bob}");
    let id = shop.lookup(&reader, "user_id", CANARY).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(shop.admin("POST", &format!("/admin/v1/profiles/{id}/erase"), None).status, 200);
    assert_eq!(members(&shop, "early"), all_alone);
    until("the erasure", || is_done(&shop));
    let after = Copied::of(&shop);
    assert_eq!((in_the_log(&after, CANARY), in_the_log(&after, "what-bob-saw")), (0, of_bob));
    drop(after);
    define(&shop, "late");
    until("they are found", || members(&shop, "late").iter().all(|one| one[1].is_null()));
    assert_eq!(members(&shop, "late"), all_alone);
    let shop = shop.restart();
    assert_eq!(members(&shop, "early"), all_alone);
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    let stretches = verify_directory(&scratch.config()).unwrap();
    assert_eq!(stretches.first().map(|stretch| stretch.from), Some(Position(0)));
    assert!(stretches.iter().all(engine::verify::Stretch::is_exact), "{stretches:?}");
}
