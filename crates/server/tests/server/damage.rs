//! What an operator is told when files are gone, and clients that only take up room.

use super::support::{Scratch, Shop, raw};
use server::serve::{StartOptions, start};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

fn program(arguments: &[&str], data: &Path) -> (bool, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .unwrap();
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// A data directory with an order in it, and its server stopped.
fn stopped() -> Scratch {
    let shop = Shop::open();
    shop.order("jane", "o-1", "shoe");
    let Shop { running, scratch, .. } = shop;
    running.stop().unwrap();
    scratch
}

fn files(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(beginning)).collect()
}

#[test]
fn a_log_that_ends_before_its_checkpoint_is_not_whole() {
    let scratch = stopped();
    let (whole, said) = program(&["log", "verify"], &scratch.0);
    assert!(whole && !said.contains("warning"), "{said}");
    for segment in files(&scratch.0.join("log"), "")
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
    {
        std::fs::remove_file(segment).unwrap();
    }
    let (whole, said) = program(&["log", "verify"], &scratch.0);
    assert!(
        !whole && said.contains("the log ends at position 0") && said.contains("checkpoint stands at"),
        "{said}"
    );
}

#[test]
fn unusable_checkpoints_are_made_again_from_the_log_as_the_message_says() {
    let scratch = stopped();
    let state = scratch.0.join("state");
    for manifest in files(&state, "manifest-") {
        std::fs::write(manifest, b"not a manifest").unwrap();
    }
    let message = format!("{:#}", start(scratch.config(), StartOptions::default()).err().unwrap());
    assert!(
        message.contains("with the server stopped, move") && message.contains("/state away"),
        "{message}"
    );
    std::fs::rename(&state, scratch.0.join("state.damaged")).unwrap();
    let running = start(scratch.config(), StartOptions::default()).unwrap();
    assert!(running.credentials().is_none(), "the tokens are known again");
    assert!(running.recovery().replayed > 0);
    running.stop().unwrap();
}

#[test]
fn rotating_without_a_keyring_says_how_to_make_one() {
    let scratch = Scratch::new();
    let (done, said) = program(&["keys", "rotate"], &scratch.0);
    assert!(!done && said.contains("keys init"), "{said}");
}

#[test]
fn an_occupied_port_leaves_no_directory_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new();
    let mut config = scratch.config();
    config.listen.admin = taken.local_addr().unwrap();
    assert!(start(config, StartOptions::default()).is_err());
    assert!(!scratch.0.exists());
}

#[test]
fn silent_connections_shut_nobody_out() {
    let scratch = Scratch::new();
    let mut config = scratch.config();
    config.private.connections_max = 4;
    let shop = Shop::with(scratch, config, StartOptions::default());
    let address = shop.running.addresses().profiles;
    let silent = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"G").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let mut crowd: Vec<TcpStream> = (0..12).map(|_| silent()).collect();
    for _ in 0..6 {
        assert_eq!(shop.decide("user_id", "jane", "shoe")["suppressed"], false);
    }
    // And the rest is not waited for: nothing whole came in their first seconds.
    let started = std::time::Instant::now();
    let mut byte = [0];
    assert!(matches!(crowd.last_mut().unwrap().read(&mut byte), Ok(0) | Err(_)));
    assert!(started.elapsed() < Duration::from_secs(15));
    shop.running.stop().unwrap();
}

#[test]
fn a_request_names_one_host() {
    let shop = Shop::open();
    let address = shop.running.addresses().admin;
    let table = [
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\n", 200),
        ("GET http://localhost/healthz HTTP/1.1\r\nhost: localhost\r\n", 200),
        ("GET http://evil.test/healthz HTTP/1.1\r\nhost: localhost\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: evil.test\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n", 400),
    ];
    for (head, status) in table {
        let reply = raw(address, format!("{head}connection: close\r\n\r\n").as_bytes());
        assert_eq!(reply.status, status, "{head}");
    }
    shop.running.stop().unwrap();
}
