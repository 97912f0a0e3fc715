//! Backups beside a real server under load, data directories made from them, and what is not accepted.

use super::delivery;
use super::support::{Scratch, Shop, until};
use engage::Engage;
use engine::recovery::{STATE_FOLDER, replay_log, restore};
use engine::verify::Stretch;
use env::Env;
use env::seeded::{Seed, World};
use eventlog::{LocalLog, LogOptions};
use model::id::Position;
use serde_json::{Value, json};
use server::config::Config;
use server::process::{ServerOptions, ServerProcess, json_of, post};
use server::serve::{DataDirectory, StartOptions, start, verify_directory};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use store::{LocalObjects, Objects, Store, StoreOptions};

const CLIENTS: u64 = 4;
const BATCH_EVENTS: u64 = 100;

/// The real program. Gives whether it succeeded and everything that it said.
pub(super) fn program(arguments: &[&str]) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_throughline")).args(arguments).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), said)
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(super) fn backup(data: &Path, folder: &Path, more: &[&str]) -> Value {
    let (done, said) = program(&[&["backup", text(folder), "--data", text(data), "--json"], more].concat());
    assert!(done, "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Every file below a folder, in order.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

/// Clients that send as fast as they are answered, each about a person of its own, and remember what was acknowledged.
struct Load {
    over: Arc<AtomicBool>,
    acknowledged: Vec<Arc<AtomicU64>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(server: &ServerProcess) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let acknowledged: Vec<_> = (0..CLIENTS).map(|_| Arc::new(AtomicU64::new(0))).collect();
        let mut threads = Vec::new();
        for (client, count) in acknowledged.iter().cloned().enumerate() {
            let (mut door, over) = (server.ingest_client(), Arc::clone(&over));
            threads.push(std::thread::spawn(move || {
                let mut next = 0;
                while !over.load(SeqCst) {
                    let events: Vec<Value> = (next..next + BATCH_EVENTS)
                        .map(|number| {
                            json!({ "type": "track", "event": "Product Viewed", "userId": format!("user-{client}"),
                                "messageId": format!("{client}-{number}"), "properties": { "category": "shoes" } })
                        })
                        .collect();
                    let body = json!({ "batch": events }).to_string();
                    let answer = post(&mut door, "/v1/batch", body.as_bytes()).unwrap();
                    if answer.status == 200 {
                        next += BATCH_EVENTS;
                        count.store(next, SeqCst);
                    }
                }
            }));
        }
        Self { over, acknowledged, threads }
    }

    fn counts(&self) -> Vec<u64> {
        self.acknowledged.iter().map(|count| count.load(SeqCst)).collect()
    }

    fn stop(self) {
        self.over.store(true, SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// The state that a log gives from nothing, up to a position.
fn digest_from_nothing(log: &LocalLog, until: Position) -> u128 {
    let scratch = World::new(0, 0).env();
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::open(&scratch, Path::new("/scratch")).unwrap());
    let (store, _) = Store::open(objects, store_options()).unwrap();
    let mut core = engine::core::Core::new(Engage, store.source(), store.dedup_window().unwrap());
    replay_log(&mut core, log, Some(until)).unwrap();
    core.digest_now()
}

/// The state of a data directory at the end of its log, as a start finds it.
fn digest_of_directory(data: &Path) -> (Position, u128) {
    let env = Env::real();
    let (log, _) = LocalLog::open(&env, data, LogOptions::default()).unwrap();
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::view(&env, &data.join(STATE_FOLDER)));
    let newest = Store::kept(&*objects).unwrap().pop().unwrap();
    let (store, manifest) = Store::open_at(objects, store_options(), newest.generation).unwrap();
    let mut core = restore(Engage, &store, Some(&manifest)).unwrap();
    replay_log(&mut core, &log, None).unwrap();
    (core.progress().next_position, core.digest_now())
}

fn store_options() -> StoreOptions {
    let config = Config::default();
    server::serve::open_options(&config, &DataDirectory::at(&config.data), &Env::real()).unwrap().store
}

fn verified(data: &Path) -> Vec<Stretch> {
    let mut config = Config::default();
    config.data.directory = data.to_owned();
    verify_directory(&config).unwrap()
}

fn events_of(server: &ServerProcess, user: &str) -> u64 {
    let question = json!({ "identifier": { "type": "user_id", "value": user } }).to_string();
    let answer = post(&mut server.profiles_client(), "/v1/profiles/lookup", question.as_bytes()).unwrap();
    json_of("lookup", &answer).unwrap()["events"].as_u64().unwrap()
}

fn copy_secret(from: &Path, to: &Path) {
    fs::copy(from.join("master.secret"), to.join("master.secret")).unwrap();
}

/// The server restarts at its own ports, with the token of the first start.
pub(super) fn busy() -> Vec<String> {
    ["state.checkpoint_interval_ms=200", "log.segment_bytes=1048576"].map(str::to_owned).to_vec()
}

#[test]
fn a_backup_under_load_is_the_server_at_its_position_and_the_next_one_adds_only_what_is_new() {
    let (scratch, folder) = (Scratch::new(), Scratch::new());
    let options = ServerOptions {
        binary: env!("CARGO_BIN_EXE_throughline").into(),
        data: scratch.0.clone(),
        set: busy(),
    };
    let mut server = ServerProcess::start(&options).unwrap();
    let load = Load::start(&server);
    until("checkpoints under load", || {
        server.status_number("checkpoints").unwrap() >= 6 && load.counts().iter().all(|count| *count > 2_000)
    });
    let (durable, before, started) =
        (server.status_number("durable_next").unwrap(), load.counts(), Instant::now());
    let first = backup(&scratch.0, &folder.0, &[]);
    // Every one of them looks at all its bytes again: a race with the server would be found here.
    for _ in 0..6 {
        backup(&scratch.0, &folder.0, &[]);
    }
    let second = backup(&scratch.0, &folder.0, &[]);
    let sent: u64 = load.counts().iter().sum::<u64>() - before.iter().sum::<u64>();
    let rate = sent as f64 / started.elapsed().as_secs_f64();
    println!("{rate:.0} events/s acknowledged while backups ran\n{first:#}\n{second:#}");
    assert!(rate > 1_000.0, "{rate:.0} events/s are no load");
    load.stop();
    let number = |backup: &Value, name: &str| backup[name].as_u64().unwrap();
    assert!(number(&first, "log_next") >= durable, "what was durable before is in it");
    assert!(number(&second, "log_next") > number(&first, "log_next"));
    assert_eq!(number(&first, "shared_files"), 0);
    assert!(number(&second, "shared_files") > 0 && number(&second, "shared_bytes") > 1 << 20, "{second}");
    assert_eq!(
        number(&second, "shared_bytes") + number(&second, "written_bytes"),
        number(&second, "bytes"),
        "every file is one or the other"
    );
    let twice = files(Path::new(second["path"].as_str().unwrap()))
        .iter()
        .filter(|path| fs::metadata(path).unwrap().nlink() > 1)
        .count();
    assert_eq!(twice as u64, number(&second, "shared_files"));
    assert!(server.stop().unwrap().success());

    let (log, _) = LocalLog::open(&Env::real(), &scratch.0, LogOptions::default()).unwrap();
    for made in [&first, &second] {
        let restored = Scratch::new();
        let (done, said) = program(&["restore", made["path"].as_str().unwrap(), "--to", text(&restored.0)]);
        assert!(done && said.contains("put your copy of master.secret"), "{said}");
        assert!(!restored.0.join("master.secret").exists(), "keys are only where they are wanted");
        let position = Position(number(made, "log_next"));
        let found = digest_of_directory(&restored.0);
        assert_eq!(
            found,
            (position, digest_from_nothing(&log, position)),
            "the state where the backup stands"
        );
        // What `replay --verify` finds at the checkpoints is what the backup says, and the same from the first log.
        let stretches = verified(&restored.0);
        let checkpoints = made["checkpoints"].as_array().unwrap();
        assert_eq!(stretches.len(), checkpoints.len());
        for (stretch, checkpoint) in stretches.iter().zip(checkpoints) {
            assert!(stretch.is_exact(), "{stretch:?}");
            assert_eq!(stretch.to.0, checkpoint["position"].as_u64().unwrap());
            assert_eq!(format!("{:032x}", stretch.state.1), checkpoint["state"].as_str().unwrap());
            assert_eq!(stretch.state.1, digest_from_nothing(&log, stretch.to));
        }
        let (done, said) = program(&["replay", "--verify", "--data", text(&restored.0)]);
        assert!(done && said.contains("exact") && !said.contains("DIFFERENT"), "{said}");
    }
    drop(log);
    // A server goes on from it, and knows everything that had been acknowledged before the backup began.
    let restored = Scratch::new();
    let (done, said) = program(&["restore", text(&folder.0), "--to", text(&restored.0)]);
    assert!(done, "{said}");
    copy_secret(&scratch.0, &restored.0);
    fs::rename(&scratch.0, scratch.0.with_extension("lost")).unwrap();
    fs::rename(&restored.0, &scratch.0).unwrap();
    let mut server = server.restart().unwrap();
    for (client, before) in before.iter().enumerate() {
        let events = events_of(&server, &format!("user-{client}"));
        assert!(events >= *before, "user-{client}: {events} of at least {before}");
    }
    let load = Load::start(&server);
    until("it takes events", || load.counts().iter().all(|count| *count > 500));
    load.stop();
    assert!(server.stop().unwrap().success());
    fs::remove_dir_all(scratch.0.with_extension("lost")).unwrap();
}

/// A stopped data directory with some people, orders and checkpoints in it.
pub(super) fn stopped(people: u32) -> (Scratch, String) {
    let shop = Shop::open();
    for person in 0..people {
        shop.order(&format!("user-{person}"), &format!("o-{person}"), "shoe");
    }
    let Shop { running, scratch, credentials } = shop;
    running.stop().unwrap();
    (scratch, credentials.admin_token)
}

#[test]
fn one_wrong_byte_anywhere_is_refused_with_the_name_of_the_file() {
    let ((scratch, _), folder) = (stopped(5), Scratch::new());
    let made = backup(&scratch.0, &folder.0, &["--with-keys"]);
    let path = PathBuf::from(made["path"].as_str().unwrap());
    let all = files(&path);
    assert!(all.len() > 10, "{all:?}");
    for file in &all {
        let whole = fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        // `backup.check` vouches for `backup.json`, which is named where the two disagree.
        let name = if name == "backup.check" { "backup.json" } else { name };
        let mut flipped = whole.clone();
        if let Some(byte) = flipped.get_mut(whole.len() / 2) {
            *byte ^= 1;
        }
        let mut damages = vec![Some(whole[..whole.len().saturating_sub(1)].to_vec()), None];
        damages.push((!whole.is_empty()).then_some(flipped));
        for damage in damages {
            let to = Scratch::new();
            match damage {
                Some(bytes) if bytes == whole => continue,
                Some(bytes) => fs::write(file, bytes).unwrap(),
                None => fs::remove_file(file).unwrap(),
            }
            let (done, said) = program(&["restore", text(&path), "--to", text(&to.0)]);
            assert!(!done, "{} is damaged and was accepted", file.display());
            // Without its description it is no backup at all.
            let described = file.exists() || !name.starts_with("backup.");
            let wanted = if described { name } else { "no finished backup" };
            assert!(said.contains(wanted), "{wanted} is not named: {said}");
            assert!(!to.0.exists() || files(&to.0).is_empty(), "nothing is left");
            fs::write(file, &whole).unwrap();
        }
    }
    let to = Scratch::new();
    let (done, said) = program(&["restore", text(&path), "--to", text(&to.0)]);
    assert!(done, "whole again: {said}");
    let (done, said) = program(&["restore", text(&path), "--to", text(&to.0)]);
    assert!(!done && said.contains("not empty"), "{said}");
}

#[test]
fn a_backup_that_is_killed_leaves_nothing_that_restore_accepts() {
    let ((scratch, _), mut seed) = (stopped(200), Seed::new(31));
    let whole = backup(&scratch.0, &Scratch::new().0, &[])["bytes"].as_u64().unwrap();
    let folder = Scratch::new();
    let mut killed_midway = 0;
    for round in 0..6_u64 {
        // Files are read twice, so that the whole takes about two seconds.
        let mut child = Command::new(env!("CARGO_BIN_EXE_throughline"))
            .args(["backup", text(&folder.0), "--data", text(&scratch.0), "--megabytes-per-second", "1"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begun = || folder.0.exists() && fs::read_dir(&folder.0).unwrap().count() > 1;
        until("it begins", begun);
        std::thread::sleep(Duration::from_millis(seed.below(whole / 2_000).min(2_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let left: Vec<_> = fs::read_dir(&folder.0).unwrap().flatten().map(|entry| entry.path()).collect();
        let unfinished: Vec<_> = left.iter().filter(|path| text(path).contains("unfinished-")).collect();
        if unfinished.is_empty() {
            println!("round {round}: it was faster than the kill");
            continue;
        }
        killed_midway += 1;
        assert_eq!(unfinished.len(), 1, "what the kill before left is gone: {left:?}");
        for refused in [&folder.0, unfinished[0]] {
            let to = Scratch::new();
            let (done, said) = program(&["restore", text(refused), "--to", text(&to.0)]);
            assert!(!done && said.contains("no finished backup"), "{said}");
            assert!(!to.0.exists(), "nothing is made");
        }
    }
    assert!(killed_midway >= 3, "{killed_midway} of 6 kills met it midway");
    backup(&scratch.0, &folder.0, &[]);
    let names: Vec<_> = fs::read_dir(&folder.0).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!names.iter().any(|name| name.to_str().unwrap().contains("unfinished-")), "{names:?}");
    let to = Scratch::new();
    let (done, said) = program(&["restore", text(&folder.0), "--to", text(&to.0)]);
    assert!(done, "{said}");
}

#[test]
fn keys_come_only_where_they_are_asked_for_and_sealed_data_needs_them() {
    let scratch = Scratch::new();
    let (done, said) = program(&["keys", "init", "--data", text(&scratch.0)]);
    assert!(done, "{said}");
    let config = scratch.config();
    let shop = Shop::with(scratch, config, StartOptions::default());
    shop.order("jane", "o-1", "shoe");
    until("a checkpoint", || shop.status()["checkpoints"].as_u64() > Some(0));
    let (without, with) = (Scratch::new(), Scratch::new());
    let bare = backup(&shop.scratch.0, &without.0, &[]);
    assert_eq!((&bare["sealed"], &bare["with_keys"]), (&json!(true), &json!(false)));
    backup(&shop.scratch.0, &with.0, &["--with-keys"]);
    for path in files(&with.0).iter().filter(|path| !path.ends_with("lock")) {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    let restored = Scratch::new();
    let (done, said) = program(&["restore", text(&without.0), "--to", text(&restored.0)]);
    assert!(done && said.contains("master.secret") && said.contains("keyring"), "{said}");
    let refused = start(restored.config(), StartOptions::default()).err().unwrap();
    assert!(format!("{refused:#}").contains("no master secret"), "{refused:#}");
    for key in ["master.secret", "keyring"] {
        fs::copy(scratch.0.join(key), restored.0.join(key)).unwrap();
    }
    start(restored.config(), StartOptions::default()).unwrap().stop().unwrap();
    let restored = Scratch::new();
    let (done, said) = program(&["restore", text(&with.0), "--to", text(&restored.0)]);
    assert!(done && !said.contains("master.secret"), "{said}");
    start(restored.config(), StartOptions::default()).unwrap().stop().unwrap();
    assert!(verified(&scratch.0).iter().all(Stretch::is_exact));
}

#[test]
fn a_folder_is_for_one_data_directory_and_for_one_backup_at_a_time() {
    let ((one, _), (other, _), folder) = (stopped(1), stopped(1), Scratch::new());
    let first = backup(&one.0, &folder.0, &["--recent"]);
    assert!(first["log_next"].as_u64() > Some(0));
    let refused = |said: &str| program(&["backup", text(&folder.0), "--data", said]);
    let (done, said) = refused(text(&other.0));
    assert!(!done && said.contains("of another data directory"), "{said}");
    let lock = Env::real().disk.lock(&folder.0.join("lock")).unwrap();
    let (done, said) = refused(text(&one.0));
    assert!(!done && said.contains("another backup into"), "{said}");
    drop(lock);
    let (done, said) = refused("/nowhere");
    assert!(!done && said.contains("holds no log"), "{said}");
    // A file of the backup before that has rotted is not shared.
    let path = PathBuf::from(first["path"].as_str().unwrap());
    let run = files(&path).into_iter().find(|file| text(file).contains("run-")).unwrap();
    let mut bytes = fs::read(&run).unwrap();
    bytes[40] ^= 1;
    fs::write(&run, bytes).unwrap();
    backup(&one.0, &folder.0, &[]);
    let restored = Scratch::new();
    let (done, said) = program(&["restore", text(&folder.0), "--to", text(&restored.0)]);
    assert!(done, "the newest is taken, and it is whole: {said}");
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 3, "two backups and the lock");
}

#[test]
fn destinations_go_on_where_they_were_and_followers_begin_anew() {
    let (shop, receiver, folder) = (delivery::open(), delivery::Receiver::open(), Scratch::new());
    let hook = json!({ "type": "webhook", "url": receiver.url, "kinds": ["audience.entered"],
        "identifiers": ["user_id"] });
    delivery::destination(&shop, "crm", &hook);
    delivery::add(&shop, "ann");
    let delivered = |shop: &Shop| {
        shop.admin("GET", "/admin/v1/destinations/crm", None).json()["status"]["delivered"].clone()
    };
    until("ann's entry arrives", || delivered(&shop) == 1);
    receiver.status.store(503, SeqCst);
    delivery::add(&shop, "bob");
    let applied = shop.status()["applied_next"].as_u64().unwrap();
    until("a checkpoint behind it", || shop.status()["checkpoint_next"].as_u64() >= Some(applied));
    backup(&shop.scratch.0, &folder.0, &["--with-keys"]);
    let token = shop.credentials.admin_token.clone();
    let feed = |shop: &Shop, path: &str| shop.profiles(&token, "GET", path, None);
    let seen = feed(&shop, "/feed/v1").body;
    let last = seen.lines().rfind(|line| line.starts_with('{')).unwrap();
    let line: Value = serde_json::from_str(last).unwrap();
    let cursor = format!("/feed/v1?after={}", line["cursor"].as_str().unwrap());
    assert_eq!(feed(&shop, &cursor).status, 200);
    let Shop { running, scratch, credentials } = shop;
    running.stop().unwrap();
    let config = scratch.config();
    drop(scratch);

    let restored = Scratch::new();
    let (done, said) = program(&["restore", text(&folder.0), "--to", text(&restored.0)]);
    assert!(done, "{said}");
    let mut config = Config { data: restored.config().data, ..config };
    config.delivery.allow = "127.0.0.0/8+http".to_owned();
    receiver.status.store(204, SeqCst);
    let running = start(config, StartOptions::default()).unwrap();
    let shop = Shop { running, credentials, scratch: restored };
    until("bob's entry arrives", || receiver.got.lock().unwrap().len() == 2);
    let got: Vec<Value> = receiver.got.lock().unwrap().iter().map(|(_, body)| body.clone()).collect();
    let who = |body: &Value| body["data"]["identifiers"][0]["value"].as_str().unwrap().to_owned();
    assert_eq!((who(&got[0]), who(&got[1])), ("ann".to_owned(), "bob".to_owned()), "each once");
    assert_eq!(shop.status()["delivery"]["losses"], 0);
    assert_eq!(feed(&shop, &cursor).status, 410, "it may have seen what is not in the backup");
    let entries = |body: &str| body.matches("audience.entered").count();
    assert_eq!((entries(&seen), entries(&feed(&shop, "/feed/v1").body)), (2, 2), "everything is still there");
    shop.running.stop().unwrap();
}
