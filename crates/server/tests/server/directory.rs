//! The data directory refuses what would lose or mix data.

use super::support::{Scratch, Shop};
use server::serve::{StartOptions, start, verify_directory};
use std::os::unix::fs::PermissionsExt as _;

fn refusal(scratch: &Scratch, options: StartOptions) -> String {
    match start(scratch.config(), options) {
        Ok(_) => panic!("it started"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn a_secret_is_missing_changed_or_readable() {
    let Shop { running, scratch, .. } = Shop::open();
    running.stop().unwrap();
    let secret = scratch.0.join("master.secret");
    let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read(&secret).unwrap();
    let table: [(&dyn Fn(), &str); 4] = [
        (&|| std::fs::remove_file(&secret).unwrap(), "no master secret"),
        (&|| private(&secret, &[7; 32]), "another data directory"),
        (&|| private(&secret, &[7; 31]), "exactly 32 bytes"),
        (&|| std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap(), "chmod 600"),
    ];
    for (damage, expected) in table {
        damage();
        let message = refusal(&scratch, StartOptions::default());
        assert!(message.contains(expected), "{message}");
        private(&secret, &kept);
    }
    start(scratch.config(), StartOptions::default()).unwrap().stop().unwrap();
}

fn private(path: &std::path::Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn one_server_per_directory() {
    let shop = Shop::open();
    let message = refusal(&shop.scratch, StartOptions::default());
    assert!(message.contains("lock") || message.contains("another"), "{message}");
    shop.running.stop().unwrap();
}

#[test]
fn an_occupied_port_is_named() {
    let shop = Shop::open();
    let other = Scratch::new();
    let mut config = other.config();
    for (taken, key) in
        [(shop.running.addresses().ingest, "ingest"), (shop.running.addresses().admin, "admin")]
    {
        config.listen = other.config().listen;
        match key {
            "ingest" => config.listen.ingest = taken,
            _ => config.listen.admin = taken,
        }
        let message = format!("{:#}", start(config.clone(), StartOptions::default()).err().unwrap());
        assert!(
            message.contains(&taken.to_string()) && message.contains(&format!("listen.{key}")),
            "{message}"
        );
    }
    shop.running.stop().unwrap();
}

#[test]
fn log_time_is_driven_in_its_own_directory_only() {
    let Shop { running, scratch, .. } = Shop::open();
    running.stop().unwrap();
    let driving = StartOptions { drive_log_time: true, ..StartOptions::default() };
    assert!(refusal(&scratch, driving).contains("follows the clock"));

    let scratch = Scratch::new();
    let config = scratch.config();
    let shop = Shop::with(scratch, config, driving);
    assert_eq!(shop.status()["log_time_us"], 0, "the wall clock drives nothing");
    let event = r#"{"userId":"u","event":"Seen","messageId":"1"}"#;
    let at = [("x-throughline-log-time", "1500000000000000")];
    assert_eq!(shop.send_as(&shop.credentials.server_write_key, "track", event, &at).status, 200);
    assert_eq!(shop.status()["log_time_us"], 1_500_000_000_000_000_i64);
    let event = r#"{"userId":"u","event":"Seen","messageId":"2"}"#;
    assert_eq!(shop.send("track", event).status, 200);
    assert_eq!(
        shop.status()["log_time_us"],
        1_500_000_000_000_000_i64,
        "a request without a time moves none"
    );
    assert_eq!(shop.admin("DELETE", "/admin/v1/write-keys/1", None).status, 200);
    assert_eq!(shop.status()["log_time_us"], 1_500_000_000_000_000_i64, "nor does a command");
    let exact = shop.running.verify().unwrap();
    assert!(exact.iter().all(engine::verify::Stretch::is_exact));
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    assert!(refusal(&scratch, StartOptions::default()).contains("--drive-log-time"));
}

#[test]
fn a_header_moves_no_log_time_where_the_clock_does() {
    let shop = Shop::open();
    let event = r#"{"userId":"u","event":"Seen","messageId":"1"}"#;
    let at = [("x-throughline-log-time", "9500000000000000")];
    assert_eq!(shop.send_as(&shop.credentials.server_write_key, "track", event, &at).status, 200);
    assert!(shop.status()["log_time_us"].as_i64().unwrap() < 9_000_000_000_000_000);
    shop.running.stop().unwrap();
}

#[test]
fn a_keyring_seals_the_log_and_is_needed_again() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(&scratch.0).unwrap();
    let keyring = scratch.0.join("keyring");
    eventlog::keyring::create(&env::Env::real(), &keyring).unwrap();
    std::fs::set_permissions(&keyring, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = scratch.config();
    let shop = Shop::with(scratch, config, StartOptions::default());
    shop.order("canary-of-jane", "1", "shoe");
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    for folder in ["log", "state"] {
        for entry in std::fs::read_dir(scratch.0.join(folder)).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let clear = bytes.windows(14).any(|window| window == b"canary-of-jane");
            assert!(!clear, "the value stands in clear in {folder}");
        }
    }
    assert!(verify_directory(&scratch.config()).unwrap().iter().all(engine::verify::Stretch::is_exact));
    std::fs::rename(&keyring, scratch.0.join("elsewhere")).unwrap();
    let message = refusal(&scratch, StartOptions::default());
    assert!(message.contains("key"), "{message}");
}
