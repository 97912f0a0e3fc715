//! The real binary is killed under load and started again: nothing acknowledged is lost, nothing counts twice, effects
//! keep their ids. A few rounds here; `tests/proof/kill.sh` runs many.

use clap::Parser;
use serde_json::{Value, json};
use server::bench::{BenchArgs, measure};
use server::http_client::{Client, Credential, Request};
use server::process::{ServerOptions, ServerProcess, endpoint, post};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    bench: BenchArgs,
}

#[test]
fn nothing_acknowledged_is_lost_over_kills() {
    let binary = env!("CARGO_BIN_EXE_throughline");
    let arguments =
        Arguments::parse_from(["test", "kill", "--rounds", "2", "--seed", "20", "--binary", binary]);
    let report = measure(&arguments.bench).unwrap();
    println!("{}", report.table());
    for promise in ["lost_events", "events_counted_twice", "effects_wrong"] {
        assert_eq!(report.value(promise), Some(0.0), "{promise}");
    }
    report.promises().unwrap();
    // A run that compared nothing proves nothing.
    assert!(report.value("acknowledged_events").unwrap() > 100.0);
    assert!(report.value("effects_compared").unwrap() > 100.0);
}

/// Events of the quarantine are sent again while the server is killed; whoever asks does not know how far it came, and asks
/// again until nothing is left. Each order counts once.
#[test]
fn what_is_sent_again_over_kills_is_sent_once() {
    const ORDERS: u64 = 400;
    let data = std::env::temp_dir().join(format!("throughline-quarantine-kill-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&data);
    let options = ServerOptions {
        binary: env!("CARGO_BIN_EXE_throughline").into(),
        data: data.clone(),
        set: vec!["state.checkpoint_interval_ms=100".to_owned(), "log.segment_bytes=1048576".to_owned()],
    };
    let mut server = ServerProcess::start(&options).unwrap();
    let rules = json!({"plan": {"otherwise": "quarantine",
        "events": {"Order Completed": {"properties": {"order_id": {"type": "string"}}}}}});
    let rules = rules.to_string();
    let headers =
        [("Content-Type", "application/json".to_owned()), ("Content-Length", rules.len().to_string())];
    let mut admin =
        Client::new(endpoint(server.ports().admin), &Credential::Bearer(server.keys().admin_token.clone()));
    let path = "/admin/v1/write-keys/2/rules";
    let put = admin.send(Request { method: "PUT", path, headers: &headers, body: rules.as_bytes() });
    assert_eq!(put.unwrap().status, 200);
    let events: Vec<Value> = (0..ORDERS)
        .map(|number| {
            json!({"type": "track", "event": "Order Completed", "userId": "ann", "messageId": format!("m-{number}"),
                "properties": {"order_id": number, "total": "1.00", "currency": "EUR"}})
        })
        .collect();
    let sent =
        post(&mut server.ingest_client(), "/v1/batch", json!({"batch": events}).to_string().as_bytes());
    assert_eq!(sent.unwrap().status, 200);
    // It is in quarantine with the 200.
    server.kill().unwrap();
    server = server.restart().unwrap();
    let held =
        |server: &ServerProcess| server.admin("GET", "/admin/v1/quarantine?limit=1", &Value::Null).unwrap();
    assert_eq!(held(&server)["held"], ORDERS);
    let body = json!({"event": "Order Completed", "limit": 40, "mapping": [{"cast": {"at": "/order_id", "to": "string"}}]});
    let mut kills = 0;
    while held(&server)["held"] != 0 {
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                // The answer may never come: then nobody knows what was sent.
                while server
                    .admin("POST", "/admin/v1/quarantine/resend", &body)
                    .is_ok_and(|done| done["sent"] != 0)
                {}
            });
            if kills < 4 {
                std::thread::sleep(std::time::Duration::from_millis(5 + 3 * kills));
                let killed =
                    std::process::Command::new("kill").arg("-9").arg(server.id().to_string()).status();
                assert!(killed.unwrap().success());
            }
            asking.join().unwrap();
        });
        if kills < 4 {
            kills += 1;
            server = server.restart().unwrap();
        }
    }
    let question = json!({"identifier": {"type": "user_id", "value": "ann"}}).to_string();
    let found = post(&mut server.profiles_client(), "/v1/profiles/lookup", question.as_bytes()).unwrap();
    let profile: Value = serde_json::from_slice(&found.body).unwrap();
    assert_eq!(
        (&profile["orders"], &profile["revenue"][0]["value_minor"]),
        (&json!(ORDERS), &json!(ORDERS * 100))
    );
    let listed = held(&server);
    assert_eq!((&listed["taken"], &listed["resent"]), (&json!(ORDERS), &json!(ORDERS)));
    server.stop().unwrap();
    let _ = std::fs::remove_dir_all(&data);
}
