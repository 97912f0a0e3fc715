//! Signatures against vectors from elsewhere, our own examples in three languages, and the official packages.

#![allow(
    clippy::disallowed_methods,
    reason = "other languages' verifiers run as processes; tests may use files"
)]

use crate::verify::verify;
use outbound::webhook::{Secret, Signer};
use proptest::prelude::*;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// The first line is the example of the specification; the others were computed with Python's `hmac`.
#[test]
fn known_vectors() {
    let long =
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+Pw==";
    let table: &[(&str, &str, i64, &str, &str)] = &[
        (
            SECRET,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (OTHER, "eff_12_3", 0, "", "8q6JZ+OAmNhuCpmf7BdvAzVdHKrbAxLtxC25xFpZMXg="),
        (
            long,
            "eff_18446744073709551615_4294967295",
            1_795_323_061,
            r#"{"text":"ü€😀"}"#,
            "uyhryf5N2obq5G4MazOfpN2vRHE/E6ISeHqwXizchTo=",
        ),
    ];
    for (secret, id, timestamp_s, body, expected) in table {
        let signer = Signer::new(&[Secret::new(*secret)]).unwrap();
        assert_eq!(signer.sign(id, *timestamp_s, body.as_bytes()), format!("v1,{expected}"));
    }
    let both = Signer::new(&[Secret::new(OTHER), Secret::new(SECRET)]).unwrap();
    let signature = both.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
    let (first, second) = signature.split_once(' ').unwrap();
    assert!(first.starts_with("v1,"));
    assert_eq!(second, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

proptest! {
    #[test]
    fn the_rust_example_verifies_what_we_sign_and_nothing_else(
        id in "[a-z0-9_]{1,40}",
        timestamp_s in 0_i64..4_000_000_000,
        body in prop::collection::vec(any::<u8>(), 0..300),
        flip in any::<prop::sample::Index>(),
    ) {
        let signature = Signer::new(&[Secret::new(SECRET), Secret::new(OTHER)]).unwrap().sign(&id, timestamp_s, &body);
        let timestamp = timestamp_s.to_string();
        let header = |name: &str| match name {
            "webhook-id" => Some(id.as_str()),
            "webhook-timestamp" => Some(timestamp.as_str()),
            "webhook-signature" => Some(signature.as_str()),
            _ => None,
        };
        for secret in [SECRET, OTHER] {
            prop_assert_eq!(verify(&[secret], header, &body, timestamp_s + 299), Ok(()));
        }
        prop_assert!(verify(&[SECRET], header, &body, timestamp_s + 301).is_err());
        prop_assert!(verify(&["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"], header, &body, timestamp_s).is_err());
        let mut changed = body.clone();
        changed.push(0);
        let place = flip.index(changed.len());
        changed[place] ^= 1;
        prop_assert!(verify(&[SECRET], header, &changed, timestamp_s).is_err());
    }
}

fn now_s() -> i64 {
    delivery::env::Env::real().clock.now_us() / 1_000_000
}

/// A request as the examples read it: signed by `secrets` at `at_s`, with a body that may differ from the signed one.
fn request(secrets: &[&str], at_s: i64, signed: &str, body: &str) -> String {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
    let signature = Signer::new(&secrets).unwrap().sign("eff_12_3", at_s, signed.as_bytes());
    serde_json::json!({
        "headers": {"webhook-id": "eff_12_3", "webhook-timestamp": at_s.to_string(), "Webhook-Signature": signature},
        "body": body,
    })
    .to_string()
}

fn run(program: &str, arguments: &[&str], input: &str) -> Option<(bool, String)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output.status.success(), text))
}

fn skip(what: &str) {
    eprintln!("\n==== SKIPPED: {what} ====\n");
}

fn python() -> String {
    std::env::var("THROUGHLINE_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// What a verifier is held to: a name, the secrets that the receiver has, the request, and whether it is good.
fn cases() -> Vec<(&'static str, Vec<&'static str>, String, bool)> {
    let now = now_s();
    let body = r#"{"type":"audience.entered","data":{"text":"ü€😀\n"}}"#;
    vec![
        ("plain", vec![SECRET], request(&[SECRET], now, body, body), true),
        (
            "during a change, receiver has the old",
            vec![SECRET],
            request(&[OTHER, SECRET], now, body, body),
            true,
        ),
        (
            "during a change, receiver has the new",
            vec![OTHER],
            request(&[OTHER, SECRET], now, body, body),
            true,
        ),
        ("another secret", vec![OTHER], request(&[SECRET], now, body, body), false),
        (
            "changed on the way",
            vec![SECRET],
            request(&[SECRET], now, body, &body.replace("entered", "exited")),
            false,
        ),
        ("old", vec![SECRET], request(&[SECRET], now - 600, body, body), false),
        ("from the future", vec![SECRET], request(&[SECRET], now + 600, body, body), false),
    ]
}

fn check(program: &str, script: &[&str]) -> bool {
    for (name, secrets, request, good) in cases() {
        let arguments: Vec<&str> = script.iter().copied().chain(secrets).collect();
        let Some((success, text)) = run(program, &arguments, &request) else { return false };
        assert_eq!(success, good, "{name}: {text}");
        assert!(text.starts_with(if good { "verified" } else { "refused" }), "{name}: {text}");
    }
    true
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/webhooks").join(name)
}

#[test]
fn the_python_example_verifies() {
    if !check(&python(), &[example("verify.py").to_str().unwrap()]) {
        skip("the Python example of webhook verification: there is no Python");
    }
}

#[test]
fn the_node_example_verifies() {
    if !check("node", &[example("verify.mjs").to_str().unwrap()]) {
        skip("the Node example of webhook verification: there is no Node");
    }
}

/// Where packages are installed: kept between runs.
fn packages(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_official_python_package_verifies() {
    const VERSION: &str = "standardwebhooks==1.1.0";
    const SCRIPT: &str = "\
import json, sys\n\
sys.path.insert(0, sys.argv[1])\n\
from standardwebhooks.webhooks import Webhook, WebhookVerificationError\n\
request = json.load(sys.stdin)\n\
try:\n    Webhook(sys.argv[2]).verify(request['body'].encode(), request['headers'])\n\
except WebhookVerificationError as error:\n    print('refused:', error); sys.exit(1)\n\
print('verified')\n";
    let folder = packages("standardwebhooks-python");
    let folder = folder.to_str().unwrap();
    if !Path::new(folder).join("standardwebhooks").exists() {
        let arguments =
            ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--target", folder, VERSION];
        let installed = run(&python(), &arguments, "").or_else(|| run("python3", &arguments, ""));
        if !installed.as_ref().is_some_and(|(success, _)| *success) {
            skip(&format!("the official Python verifier cannot be installed: {installed:?}"));
            return;
        }
    }
    assert!(check(&python(), &["-c", SCRIPT, folder]));
}

#[test]
fn the_official_node_package_verifies() {
    const VERSION: &str = "standardwebhooks@1.1.1";
    const SCRIPT: &str = "\
const { Webhook, WebhookVerificationError } = require(process.argv[1] + '/node_modules/standardwebhooks');\n\
const request = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));\n\
try { new Webhook(process.argv[2]).verify(request.body, request.headers); console.log('verified'); }\n\
catch (error) { if (!(error instanceof WebhookVerificationError)) throw error;\n\
  console.log('refused: ' + error.message); process.exitCode = 1; }\n";
    let folder = packages("standardwebhooks-node");
    let folder = folder.to_str().unwrap();
    if !Path::new(folder).join("node_modules/standardwebhooks").exists() {
        let arguments = [
            "install",
            "--prefix",
            folder,
            "--no-save",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            VERSION,
        ];
        let installed = run("npm", &arguments, "");
        if !installed.as_ref().is_some_and(|(success, _)| *success) {
            skip(&format!("the official Node verifier cannot be installed: {installed:?}"));
            return;
        }
    }
    assert!(check("node", &["-e", SCRIPT, folder]));
}
