use super::*;
use crate::finding::{assert_caught, assert_no_errors};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn the_clippy_files_hold_together() {
    assert_no_errors(&check_repository().unwrap());
}

#[test]
fn a_lost_rule_is_caught() {
    let root = "allow-unwrap-in-tests = true\n\
        disallowed-methods = [{ path = \"std::fs::read\", reason = \"a\" }, { path = \"std::io::copy\", reason = \"a\" }]\n";
    let pair =
        |path: &str, text: &str| check(&[TextFile::new("clippy.toml", root), TextFile::new(path, text)]);
    let only_limits =
        "allow-unwrap-in-tests = true\ndisallowed-methods = [{ path = \"std::io::copy\", reason = \"a\" }]\n";
    assert_eq!(pair("crates/server/clippy.toml", only_limits), []);
    assert_caught("model", &pair("crates/model/clippy.toml", only_limits), "`std::fs::read` of the root");
    assert_caught(
        "server",
        &pair("crates/server/clippy.toml", "allow-unwrap-in-tests = true"),
        "`std::io::copy` of the root",
    );
    assert_caught("setting", &pair("crates/model/clippy.toml", ""), "`allow-unwrap-in-tests` differs");
    let silent = "disallowed-types = [{ path = \"std::fs::File\" }]";
    assert_caught("silent", &check(&[TextFile::new("clippy.toml", silent)]), "needs a path, and a reason");
    assert_caught("no root", &check(&[]), "is missing");
}

/// Runs clippy on a small file as if it stood in `crates/NAME`, and returns what it says.
///
/// Nothing tells clippy which file of settings to use but the crate's folder, exactly as in a build.
fn clippy_on(crate_name: &str, code: &str) -> String {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let root = workspace::root().unwrap();
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("throughline-lints-{}-{call}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("planted.rs");
    std::fs::write(&file, code).unwrap();
    let output = Command::new("clippy-driver")
        .args(["--crate-type=lib", "--edition=2024", "--emit=metadata", "-Aunused", "-Ddeprecated"])
        .args([
            "-Dclippy::iter_over_hash_type",
            "-Dclippy::disallowed_methods",
            "-Dclippy::disallowed_types",
            "-Dclippy::disallowed_macros",
        ])
        .arg("--out-dir")
        .arg(&folder)
        .arg(&file)
        .env("CARGO_MANIFEST_DIR", root.join("crates").join(crate_name))
        .env_remove("CLIPPY_CONF_DIR")
        .output()
        .expect("clippy-driver must be installed: rustup component add clippy");
    std::fs::remove_dir_all(&folder).unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_loop_over_a_hash_map_is_refused_but_not_over_a_tree() {
    let code = |map: &str| format!("pub fn f(m: &std::collections::{map}<u8, u8>) {{ for _ in m {{}} }}");
    assert!(clippy_on("engage", &code("HashMap")).contains("iteration over unordered hash-based type"));
    assert_eq!(clippy_on("engage", &code("BTreeMap")), "");
}

#[test]
fn planted_code_is_refused_where_the_rule_holds_and_accepted_elsewhere() {
    let machine = ["model", "env", "eventlog", "store", "engine", "engage", "collect"];
    let everywhere = ["model", "store", "engage", "collect", "server", "sim", "xtask"];
    let pure = ["model"];
    let cases: &[(&str, &str, &[&str])] = &[
        ("std::time::SystemTime::now", "pub fn f() { std::time::SystemTime::now(); }", &machine),
        (
            "std::time::Instant::now",
            "use std::time::Instant; pub fn f() { let g = Instant::now; g(); }",
            &machine,
        ),
        ("std::thread::sleep", "pub fn f(d: std::time::Duration) { std::thread::sleep(d) }", &machine),
        ("std::thread::spawn", "pub fn f() { std::thread::spawn(|| {}); }", &machine),
        ("std::fs::read", "pub fn f() { let _ = std::fs::read(\"a\"); }", &machine),
        ("std::fs::File::open", "pub fn f() { let _ = std::fs::File::open(\"a\"); }", &machine),
        ("std::path::Path::exists", "pub fn f(p: &std::path::PathBuf) { p.exists(); }", &machine),
        (
            "std::net::TcpListener::bind",
            "pub fn f() { let _ = std::net::TcpListener::bind(\"a\"); }",
            &machine,
        ),
        (
            "std::io::Read::read_to_end",
            "use std::io::Read; pub fn f(mut r: impl Read) { let _ = r.take(9).read_to_end(&mut vec![]); }",
            &everywhere,
        ),
        (
            "std::io::BufRead::lines",
            "use std::io::BufRead; pub fn f(r: impl BufRead) { r.lines(); }",
            &everywhere,
        ),
        ("std::sync::mpsc::channel", "pub fn f() { let _ = std::sync::mpsc::channel::<u8>(); }", &everywhere),
        (
            "std::collections::HashMap::keys",
            "pub fn f(m: &std::collections::HashMap<u8, u8>) { m.keys(); }",
            &everywhere,
        ),
        ("std::thread_local", "thread_local! { static A: u8 = const { 1 }; }", &everywhere),
        ("std::collections::HashMap", "pub fn f(_: std::collections::HashMap<u8, u8>) {}", &pure),
        ("std::sync::Mutex", "pub struct A(std::sync::Mutex<u8>);", &pure),
        ("std::env::var", "pub fn f() { let _ = std::env::var(\"a\"); }", &pure),
    ];
    for (path, code, holds_in) in cases {
        for crate_name in ["model", "store", "engage", "server"] {
            let said = clippy_on(crate_name, code);
            let refused = said.contains("error: use of a disallowed") && said.contains(&format!("`{path}`"));
            assert_eq!(refused, holds_in.contains(&crate_name), "{path} in {crate_name}: {said}");
        }
    }
}
