//! What `throughline doctor` finds, in a directory and of a server that runs.

use super::operating::{busy, files, stopped, text};
use super::support::{Scratch, repository};
use serde_json::Value;
use server::process::{ServerOptions, ServerProcess};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `doctor`, with its exit code and its checks by name.
fn doctor(config: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let out = Command::new(env!("CARGO_BIN_EXE_throughline"))
        .args(["doctor", "--json", "--config", text(config)])
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    for check in report["checks"].as_array().unwrap() {
        let advice = check["advice"].as_str().unwrap();
        assert_eq!(advice.is_empty(), check["verdict"] == "ok", "every complaint says what to do: {check}");
    }
    (out.status.code(), report)
}

fn verdict(report: &Value, name: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["check"] == name);
    found.unwrap_or_else(|| panic!("no check {name}: {report:#}"))["verdict"].as_str().unwrap().to_owned()
}

/// Everything about the files below a folder that a look at them could change.
fn picture(folder: &Path) -> Vec<(PathBuf, u64, i64, i64)> {
    let of = |path: PathBuf| {
        let metadata = fs::metadata(&path).unwrap();
        (path, metadata.len(), metadata.mtime_nsec(), metadata.ctime_nsec())
    };
    files(folder).into_iter().map(of).collect()
}

#[test]
fn the_doctor_finds_what_is_wrong_and_changes_nothing() {
    let ((scratch, _), place) = (stopped(3), Scratch::new());
    fs::create_dir_all(&place.0).unwrap();
    let config = place.0.join("throughline.toml");
    let write = |ports: [u16; 3], more: &str| {
        let text = format!(
            "[listen]\ningest = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\nprofiles = \"127.0.0.1:{}\"\n\
             [data]\ndirectory = \"{}\"\n{more}",
            ports[0],
            ports[1],
            ports[2],
            text(&scratch.0)
        );
        fs::write(&config, text).unwrap();
    };
    write([0, 0, 0], "");
    let before = picture(&scratch.0);
    let (code, report) = doctor(&config, &[]);
    assert_eq!(picture(&scratch.0), before, "nothing is touched");
    // Speed, room and memory are those of the machine that tests run on.
    assert!(code == Some(1) || code == Some(2), "{code:?} {report:#}");
    for name in [
        "version",
        "configuration",
        "clock",
        "master secret",
        "data directory",
        "log",
        "checkpoints",
        "server",
    ] {
        assert_eq!(verdict(&report, name), "ok", "{name}: {report:#}");
    }
    assert_eq!(verdict(&report, "keyring"), "warn", "it lies in clear");
    assert!(report.to_string().contains("nobody uses it"), "{report:#}");

    // One thing after the other is broken, found under its name, and mended.
    let secret = scratch.0.join("master.secret");
    let kept = fs::read(&secret).unwrap();
    let expect = |name: &str, wanted: &str| {
        let (code, report) = doctor(&config, &[]);
        assert_eq!(verdict(&report, name), wanted, "{report:#}");
        if wanted == "fail" {
            assert_eq!(code, Some(2));
        }
    };
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    expect("master secret", "fail");
    fs::remove_file(&secret).unwrap();
    expect("master secret", "fail");
    fs::write(&secret, [1; 32]).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    expect("master secret", "fail");
    fs::write(&secret, &kept).unwrap();
    let run = files(&scratch.0.join("state")).into_iter().find(|path| text(path).contains("run-")).unwrap();
    let away = place.0.join("away");
    fs::rename(&run, &away).unwrap();
    expect("checkpoints", "fail");
    fs::rename(&away, &run).unwrap();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o755)).unwrap();
    expect("data directory", "warn");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    write([0, 0, port], "");
    let answering = std::thread::spawn(move || {
        for stream in holder.incoming().take(1).flatten() {
            drop(stream);
        }
    });
    expect("port profiles", "fail");
    answering.join().unwrap();
    write([0, 0, 0], "[log]\nsegment_bites = 3\n");
    let (code, report) = doctor(&config, &[]);
    assert_eq!((code, verdict(&report, "configuration").as_str()), (Some(2), "fail"), "{report:#}");
}

#[test]
fn the_doctor_asks_a_server_that_runs() {
    let scratch = Scratch::new();
    let options = ServerOptions {
        binary: env!("CARGO_BIN_EXE_throughline").into(),
        data: scratch.0.clone(),
        set: busy(),
    };
    let mut server = ServerProcess::start(&options).unwrap();
    let config = scratch.0.with_extension("toml");
    let ports = server.ports();
    let lines = format!(
        "[listen]\ningest = \"{}\"\nadmin = \"{}\"\nprofiles = \"{}\"\n[data]\ndirectory = \"{}\"\n",
        ports.ingest,
        ports.admin,
        ports.profiles,
        text(&scratch.0)
    );
    fs::write(&config, lines).unwrap();
    let (_, report) = doctor(&config, &[]);
    for name in ["port ingest", "port admin", "port profiles", "server", "metrics", "log", "checkpoints"] {
        assert_eq!(verdict(&report, name), "ok", "{name}: {report:#}");
    }
    let said = report.to_string();
    assert!(said.contains(&format!("process {} uses it", server.id())), "{said}");
    assert!(said.contains("answered by a Throughline server") && said.contains("ready at"), "{said}");
    assert!(server.stop().unwrap().success());
    let (_, report) = doctor(&config, &[]);
    assert!(report.to_string().contains("none answers at"), "{report:#}");
    fs::remove_file(&config).unwrap();
}

#[test]
fn the_dashboard_draws_only_metrics_that_are_there() {
    let dashboard = fs::read_to_string(repository("examples/deploy/grafana-dashboard.json")).unwrap();
    let _: Value = serde_json::from_str(&dashboard).unwrap();
    let known = fs::read_to_string(repository("docs/metrics.md")).unwrap();
    let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let names: BTreeSet<&str> = dashboard
        .split(|character| !word(character))
        .filter(|name| name.starts_with("throughline_"))
        .collect();
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        assert!(known.contains(&format!("`{name}`")), "{name} is not in docs/metrics.md");
    }
}
