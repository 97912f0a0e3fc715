use super::*;
use crate::finding::assert_caught;

fn check_one(path: &str, text: &str) -> Vec<Finding> {
    check(&[TextFile::new(path, text)])
}

fn long_function(lines: usize) -> String {
    format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2))
}

#[test]
fn long_functions_are_caught_at_the_border_and_not_in_tests() {
    let path = "crates/a/src/b.rs";
    assert_eq!(check_one(path, &long_function(FUNCTION_LINES_MAX)), []);
    let long = long_function(FUNCTION_LINES_MAX + 1);
    assert_caught("long", &check_one(path, &long), "`long` has 71 lines");
    assert_caught(
        "method",
        &check_one(path, &format!("impl A {{ pub async {long} }}")),
        "`long` has 71 lines",
    );
    assert_eq!(check_one(path, &format!("#[cfg(test)]\nmod tests {{ {long} }}")), []);
    assert_eq!(check_one("crates/a/tests/b.rs", &long), []);
}

#[test]
fn a_file_declared_as_test_is_test() {
    let long = long_function(FUNCTION_LINES_MAX + 1);
    let declared = |parent: &str, child: &str| {
        check(&[TextFile::new(parent, "#[cfg(test)]\nmod tests;\n"), TextFile::new(child, long.clone())])
    };
    assert_eq!(declared("crates/a/src/b.rs", "crates/a/src/b/tests.rs"), []);
    assert_eq!(declared("crates/a/src/b.rs", "crates/a/src/b/tests/deep.rs"), []);
    assert_caught("other", &declared("crates/a/src/b.rs", "crates/a/src/c/tests_too.rs"), "71 lines");
}

#[test]
fn a_front_page_must_say_never() {
    let path = "crates/a/src/lib.rs";
    assert_caught("silent", &check_one(path, "//! Does things.\nmod b;"), "`never`");
    assert_caught("too late", &check_one(path, "//! Does things.\n\n// never\nmod b;"), "`never`");
    assert_caught("part of a word", &check_one(path, "//! Nevertheless.\nmod b;"), "`never`");
    assert_eq!(check_one(path, "//! Does things.\n//!\n//! **Never** sleeps.\nmod b;"), []);
    assert_eq!(check_one(path, "//! Nothing is here yet.\n"), []);
    assert_eq!(check_one("crates/a/src/bin/main.rs", "fn main() { a() }"), []);
}

#[test]
fn attributes_need_reasons() {
    let path = "crates/a/src/b.rs";
    let bad = [
        "#[allow(dead_code)]\nfn a() {}",
        "/// What it does.\n#[allow(dead_code)]\nfn a() {}",
        "#![allow(dead_code)]",
        "#[expect(dead_code)]\nfn a() {}",
        "#[cfg(test)]\nmod tests { #[allow(dead_code)] fn a() {} }",
    ];
    for text in bad {
        assert_caught(text, &check_one(path, text), "reason");
    }
    let good = [
        "// The macro makes it.\n#[allow(dead_code)]\nfn a() {}",
        "#[allow(dead_code)] // the macro makes it\nfn a() {}",
        "#[expect(\n    dead_code,\n    reason = \"the macro makes it\"\n)]\nfn a() {}",
        "let a = \"#[allow(dead_code)]\";",
        "#[should_panic(expected = \"a\")]\nfn a() {}",
    ];
    for text in good {
        assert_eq!(check_one(path, text), [], "{text}");
    }
}

#[test]
fn the_machine_is_out_of_reach_below_env() {
    let bad = [
        "use std::fs;",
        "use std::{io, thread};",
        "fn a() { std::net::TcpStream::connect(b) }",
        "use std::time::SystemTime;",
        "fn a(since: Instant) {}",
        "fn a() { getrandom::fill(b) }",
        "use tokio::sync::mpsc;",
        "use std::os::unix::fs::FileExt;",
        "fn a() { std::env::var(b) }",
    ];
    for text in bad {
        for name in WORLDLESS {
            assert_caught(text, &check_one(&format!("crates/{name}/src/b.rs"), text), "go through `env`");
        }
        assert_eq!(check_one("crates/collect/src/b.rs", text), [], "{text}");
        assert_eq!(
            check_one("crates/store/src/b.rs", &format!("#[cfg(test)]\nmod tests {{ {text} }}")),
            [],
            "{text}"
        );
        assert_eq!(check_one("crates/store/src/b.rs", &format!("// {text}")), [], "{text}");
    }
    let harmless =
        "use env::{Disk, Env};\nuse std::{io, sync::Arc, time::Duration};\nfn a(instant_us: u64) {}";
    assert_eq!(check_one("crates/store/src/b.rs", harmless), []);
}

#[test]
fn model_has_no_unordered_container() {
    for text in ["use std::collections::HashMap;", "fn a(b: &hashbrown::HashTable<u8>) {}"] {
        assert_caught(text, &check_one("crates/model/src/b.rs", text), "BTreeMap");
        assert_eq!(check_one("crates/store/src/b.rs", text), []);
    }
}
