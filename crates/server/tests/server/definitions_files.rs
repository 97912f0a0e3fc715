//! `throughline apply` and `throughline export`, as processes, against a running server.

use super::support::{Scratch, Shop, repository, until};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

fn run(shop: &Shop, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(arguments)
        .args(["--admin", &format!("http://{}", shop.running.addresses().admin)])
        .env("THROUGHLINE_TOKEN", &shop.credentials.admin_token)
        .output()
        .unwrap()
}

/// Standard output of what ended with `code`.
#[track_caller]
fn ends_with(code: i32, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(code), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

fn put(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

fn files(folder: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn the_example_shop_is_applied_exported_changed_and_pruned() {
    let shop = Shop::open();
    for user in 0..50 {
        shop.order(&format!("u{user}"), &format!("order {user}"), "boots");
    }
    let example = repository("examples/shop");
    let example = example.to_str().unwrap();
    let shown = ends_with(2, &run(&shop, &["apply", example, "--dry-run"]));
    assert!(shown.contains("To add: 16, to change: 1, to remove: 0."), "{shown}");
    assert_eq!(shop.admin("GET", "/admin/v1/audiences", None).json()["audiences"], serde_json::json!([]));
    let shown = ends_with(0, &run(&shop, &["apply", example, "--wait"]));
    assert!(shown.contains("Added: 16"), "{shown}");
    assert!(!shown.contains("whsec_"), "a secret is shown: {shown}");
    let status = shop.status();
    assert_eq!(status["backfill"]["pending"], 0, "{status}");
    assert!(ends_with(0, &run(&shop, &["apply", example])).contains("Nothing to do"));
    assert_eq!(shop.status()["applied_next"], status["applied_next"], "nothing to do is nothing done");

    let exported = Scratch::new();
    let folder = exported.0.to_str().unwrap();
    ends_with(0, &run(&shop, &["export", folder]));
    let first = files(&exported.0);
    ends_with(0, &run(&shop, &["export", folder]));
    assert_eq!(files(&exported.0), first);
    assert!(!first.values().any(|text| text.contains("whsec_") || text.contains("secret")), "{first:#?}");
    ends_with(0, &run(&shop, &["apply", folder, "--dry-run", "--prune"]));

    // Foreign files are neither written over nor read together with an export.
    put(&exported.0, "mine.toml", "# mine\n");
    assert!(ends_with(1, &run(&shop, &["export", folder])).contains("mine.toml"));
    std::fs::remove_file(exported.0.join("mine.toml")).unwrap();
    let edited = first["audiences.toml"].split_once('\n').unwrap().1.to_owned();
    let edited = edited.replacen("\"30d\") >= 4", "\"30d\") >= 5", 1);
    put(&exported.0, "audiences.toml", &edited);
    assert!(ends_with(1, &run(&shop, &["export", folder])).contains("audiences.toml"));

    // A change, and right behind it another one of the same definition, which is still being found.
    ends_with(0, &run(&shop, &["apply", folder]));
    let again = edited.replacen("\"30d\") >= 5", "\"30d\") >= 6", 1);
    put(&exported.0, "audiences.toml", &again);
    ends_with(0, &run(&shop, &["apply", folder]));
    let frequent = shop.admin("GET", "/admin/v1/audiences/frequent", None).json();
    assert_eq!(
        (&frequent["version"], frequent["rule"].as_str().unwrap().ends_with(">= 6")),
        (&3.into(), true)
    );
    // The same as at first, a second time: nothing of the first time is taken for it.
    put(&exported.0, "audiences.toml", &edited);
    let shown = ends_with(0, &run(&shop, &["apply", folder, "--wait"]));
    assert!(shown.contains("changed: 1"), "{shown}");
    let frequent = shop.admin("GET", "/admin/v1/audiences/frequent", None).json();
    assert!(frequent["rule"].as_str().unwrap().ends_with(">= 5"), "{frequent}");

    let few = Scratch::new();
    put(
        &few.0,
        "few.toml",
        "[[audience]]\nname = \"lapsed\"\nrule = 'since(last_at(\"Order Completed\")) >= duration(\"60d\")'\n",
    );
    let few = few.0.to_str().unwrap();
    let shown = ends_with(0, &run(&shop, &["apply", few, "--wait"]));
    assert!(shown.contains("not in files; stays"), "{shown}");
    let shown = ends_with(0, &run(&shop, &["apply", few, "--prune", "--wait"]));
    assert!(shown.contains("removed: 15"), "{shown}");
    assert!(ends_with(0, &run(&shop, &["apply", few, "--prune", "--dry-run"])).contains("Nothing to do"));
    shop.running.stop().unwrap();
}

#[test]
fn nothing_is_changed_where_something_is_wrong() {
    let shop = Shop::open();
    let scratch = Scratch::new();
    let folder = scratch.0.to_str().unwrap();
    assert!(ends_with(1, &run(&shop, &["apply", folder])).contains("cannot be read"));
    std::fs::create_dir_all(&scratch.0).unwrap();
    assert!(
        ends_with(1, &run(&shop, &["apply", folder, "--prune"])).contains("no file that ends with .toml")
    );
    let good = "[[audience]]\nname = \"good\"\nrule = 'count(\"x\") > 0'\n";
    put(&scratch.0, "a.toml", good);
    put(
        &scratch.0.join("deeper"),
        "b.toml",
        "[[audience]]\nname = \"bad\"\nrule = 'count(\"x\") > cuont(\"y\")'\n",
    );
    let shown = ends_with(1, &run(&shop, &["apply", folder]));
    assert!(shown.contains("b.toml:3:22: "), "{shown}");
    assert!(shown.contains("\n                         ^^^^^"), "{shown}");
    assert_eq!(shop.admin("GET", "/admin/v1/audiences", None).json()["audiences"], serde_json::json!([]));
    // What only the server can refuse stops it there, and says how far it came.
    put(
        &scratch.0.join("deeper"),
        "b.toml",
        "[[destination]]\nname = \"d\"\ntype = \"webhook\"\nurl = \"https://127.0.0.1/\"\n",
    );
    let shown = ends_with(1, &run(&shop, &["apply", folder]));
    assert!(shown.contains("1 changes were made, 1 were not"), "{shown}");
    shop.running.stop().unwrap();
}

/// Definitions that every server takes. Rules hold quotes, line ends and letters beyond ASCII.
fn any_definitions() -> impl Strategy<Value = String> {
    let text =
        || prop::sample::select(vec!["shoes", "it's", "a'''b", "größe 😀", "#", "\\\\x", "plus\\\"quote"]);
    let name = || prop::sample::select(vec!["a", "b c", "ü/ö?%.", "it's \\\"d\\\"", "..", "e"]);
    let feature = (text(), prop::sample::select(vec![7, 30, 90, 365])).prop_map(|(text, days)| {
        format!("name = \"f {text}\"\nexpression = '''\nsum(\"Order Completed\", \"value\", \"{days}d\")'''")
    });
    let audience = (name(), text(), 1..31_u32, 0..4_u32).prop_map(|(name, text, days, suppress)| {
        let text = text.replace("'''", "'");
        let suppress = match suppress {
            0 => "suppress = { everything = true }",
            1 => "suppress = { product_id = \"it's 1\" }",
            2 => "suppress = { category = \"größe\" }",
            _ => "",
        };
        format!(
            "name = \"{name}\"\nrule = '''\n  count(\"Product Viewed\", \"{days}d\",\n category == \"{text}\") > 1\n'''\n{suppress}"
        )
    });
    let destination = (1..5_u32, any::<bool>(), any::<bool>()).prop_map(|(number, enabled, chosen)| {
        let chosen = if chosen {
            "kinds = [\"audience.exited\", \"audience.entered\"]\nidentifiers = [\"user_id\"]"
        } else {
            ""
        };
        format!("name = \"files-{number}\"\ntype = \"ndjson\"\nenabled = {enabled}\n{chosen}")
    });
    let many = |kind: &'static str, one: BoxedStrategy<String>| {
        prop::collection::vec(one, 0..4).prop_map(move |all| {
            let mut seen = BTreeSet::new();
            let all =
                all.into_iter().filter(|one| seen.insert(one.lines().next().unwrap_or_default().to_owned()));
            all.map(|one| format!("[[{kind}]]\n{one}\n")).collect::<String>()
        })
    };
    let settings = (1..400_u32, any::<bool>()).prop_map(|(days, products)| {
        format!("[settings.suppression]\nwindow_s = {}\nproducts = {products}\n", days * 86_400)
    });
    let rates = prop::collection::btree_map(1..28_u8, 1..99_999_u32, 0..3);
    let line = (1..20_u32, any::<bool>(), 0..30_u32, rates).prop_map(|(cap, sessions, days, rates)| {
        let rate = |(day, rate): (&u8, &u32)| {
            let (day, rate) = (format!("2026-02-{day:02}"), format!("0.{rate:05}"));
            format!("[[settings.line.rates]]\ncurrency = \"USD\"\nday = \"{day}\"\nrate = \"{rate}\"\n")
        };
        format!(
            "[settings.line]\ncurrency = \"EUR\"\nfrequency_cap = {cap}\nsessions = {sessions}\nview_window_s = {}\n{}",
            days * 86_400,
            rates.iter().map(rate).collect::<String>()
        )
    });
    let settings = (settings, line).prop_map(|(settings, line)| settings + &line);
    let all = (
        many("feature", feature.boxed()),
        many("audience", audience.boxed()),
        many("destination", destination.boxed()),
        settings,
    );
    all.prop_map(|(features, audiences, destinations, settings)| {
        settings + &features + &audiences + &destinations
    })
}

/// Whatever is defined: once it is applied there is nothing to do, its export is the same again and again, and applying
/// the export is nothing to do. One server goes from state to state.
#[test]
fn an_export_of_anything_says_what_the_server_has() {
    let shop = Shop::open();
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&any_definitions(), |definitions| {
        let (files_of, exported) = (Scratch::new(), Scratch::new());
        put(&files_of.0, "all.toml", &definitions);
        let (folder, export) = (files_of.0.to_str().unwrap(), exported.0.to_str().unwrap());
        ends_with(0, &run(&shop, &["apply", folder, "--prune"]));
        let shown = ends_with(0, &run(&shop, &["apply", folder, "--prune", "--dry-run"]));
        prop_assert!(shown.contains("Nothing to do"), "{}", shown);
        ends_with(0, &run(&shop, &["export", export]));
        let first = files(&exported.0);
        let shown = ends_with(0, &run(&shop, &["apply", export, "--prune"]));
        prop_assert!(shown.contains("Nothing to do"), "{}\n{:#?}", shown, first);
        ends_with(0, &run(&shop, &["export", export]));
        prop_assert_eq!(first, files(&exported.0));
        Ok(())
    });
    outcome.unwrap();
    until("everything is found", || shop.status()["backfill"]["pending"] == 0);
    shop.running.stop().unwrap();
}
