//! A rule that is made up late counts what happened long before, when followers of the feed cannot read it any more.

use super::operating::{backup, program, text};
use super::support::{Reply, Scratch, Shop, request, until};
use serde_json::{Value, json};
use server::serve::{Credentials, StartOptions, start};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

const DAY_US: i64 = 24 * 3_600 * 1_000_000;
const BEGIN_US: i64 = 1_750_000_000_000_000;
/// The feed keeps a day; this lies between two rounds of events.
const ROUND_US: i64 = 9 * DAY_US;
const ROUNDS: i64 = 20;
const USERS: i64 = 40;
const DRIVING: StartOptions = StartOptions { drive_log_time: true, new_credentials: false };

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The real binary on a data directory, so that it can be killed.
struct Server {
    child: Child,
    ingest: SocketAddr,
    admin: SocketAddr,
    profiles: SocketAddr,
    credentials: Credentials,
    scratch: Scratch,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn open() -> Self {
        let scratch = Scratch::new();
        let config = scratch.config();
        let Shop { running, credentials, scratch } = Shop::with(scratch, config, DRIVING);
        running.stop().unwrap();
        Self::start(scratch, credentials)
    }

    fn start(scratch: Scratch, credentials: Credentials) -> Self {
        let (ingest, admin, profiles) = (free(), free(), free());
        let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
        command.args(["serve", "--drive-log-time", "--data"]).arg(&scratch.0);
        for (name, address) in [("ingest", ingest), ("admin", admin), ("profiles", profiles)] {
            command.arg("--set").arg(format!("listen.{name}={address}"));
        }
        for set in ["feed.retention_age_days=1", "state.checkpoint_interval_ms=100"] {
            command.args(["--set", set]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut server = Self { child, ingest, admin, profiles, credentials, scratch };
        until("it is ready", || {
            assert_eq!(server.child.try_wait().unwrap(), None, "it ended");
            std::net::TcpStream::connect(admin).is_ok() && server.admin("GET", "/readyz", None).status == 200
        });
        server
    }

    fn kill(self) -> Self {
        self.kill_and_lose(&[])
    }

    fn kill_and_lose(mut self, folders: &[&str]) -> Self {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        folders.iter().for_each(|folder| std::fs::remove_dir_all(self.scratch.0.join(folder)).unwrap());
        let scratch = std::mem::replace(&mut self.scratch, Scratch::new());
        let credentials = self.credentials.clone();
        drop(self);
        Self::start(scratch, credentials)
    }

    fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let bearer = format!("Bearer {}", self.credentials.admin_token);
        let body = body.map(Value::to_string);
        request(self.admin, method, path, &[("authorization", &bearer)], body.as_deref())
    }

    fn status(&self) -> Value {
        self.admin("GET", "/admin/v1/status", None).json()
    }

    fn track(&self, at_us: i64, who: &str, event: &str, properties: &str) {
        let key = &self.credentials.server_write_key;
        let id = format!("{at_us} {who} {event}").replace('"', "");
        let body = format!(
            r#"{{"writeKey":"{key}","event":"{event}","messageId":"{id}",{who},"properties":{properties}}}"#
        );
        let at = at_us.to_string();
        let reply =
            request(self.ingest, "POST", "/v1/track", &[("x-throughline-log-time", &at)], Some(&body));
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    /// Gives from where on events are counted.
    fn define(&self, own: &str) -> u64 {
        let mut counted_from = Vec::new();
        for (number, rule) in rules(own).iter().enumerate() {
            let path = format!("/admin/v1/audiences/{own}%20{number}");
            let reply = self.admin("PUT", &path, Some(&json!({ "rule": rule })));
            assert_eq!(reply.status, 200, "{reply:?}");
            counted_from.push(reply.json()["counted_from_position"].as_u64().unwrap());
        }
        counted_from.dedup();
        assert_eq!(counted_from.len(), 1, "{counted_from:?}");
        counted_from[0]
    }

    fn audience(&self, own: &str, number: usize) -> Value {
        self.admin("GET", &format!("/admin/v1/audiences/{own}%20{number}"), None).json()
    }

    fn until_found(&self, own: &str) {
        until("everybody is found", || {
            (0..rules(own).len()).all(|number| self.audience(own, number)["backfill"].is_null())
        });
    }

    fn lookup(&self, kind: &str, value: &str) -> Reply {
        let bearer = format!("Bearer {}", self.credentials.admin_token);
        let body = json!({ "identifier": { "type": kind, "value": value } }).to_string();
        let path = "/v1/profiles/lookup";
        request(self.profiles, "POST", path, &[("authorization", &bearer)], Some(&body))
    }

    /// A round of events: people who shop, some of them after somebody else on the same device, and those who look
    /// around there without saying who they are.
    fn round(&self, round: i64) {
        let at = BEGIN_US + round * ROUND_US;
        for user in (0..USERS).filter(|user| (user + round) % 3 == 0) {
            let device = user / 2;
            let both = format!(r#""userId":"u{user}","anonymousId":"d{device}""#);
            let value = 20 + user + round;
            let order = format!(r#"{{"order_id":"o {user} {round}","total":"{value}.00","currency":"EUR"}}"#);
            self.track(at + user, &both, "Order Completed", &order);
            let alone = format!(r#""anonymousId":"d{device}""#);
            self.track(at + USERS + user, &alone, "Product Viewed", r#"{"category":"shoes"}"#);
        }
        // The feed is written to disk up to here.
        let stands = self.status()["applied_next"].as_u64().unwrap();
        until("a checkpoint", || self.status()["checkpoint_next"].as_u64().unwrap() >= stands);
    }
}

/// Their filters name a value that never occurs, another one for each: so nothing that one of them looks at is kept for
/// the others. None asks for a property that an erasure takes out of the log, also where it leaves the event.
fn rules(own: &str) -> [String; 4] {
    [
        format!(r#"sum("Order Completed", "value", currency != "{own}") > 300"#),
        format!(r#"count("Order Completed", "90d", currency != "{own}") >= 3"#),
        format!(r#"count("Product Viewed", name != "{own}") > 6"#),
        format!(r#"count("Product Viewed", "60d", name != "{own}") >= 3"#),
    ]
}

fn erase(server: &Server, user: &str) {
    let id = server.lookup("user_id", user).json()["id"].as_str().unwrap().to_owned();
    let reply = server.admin("POST", &format!("/admin/v1/profiles/{id}/erase"), None);
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn what_is_defined_late_counts_what_was_long_ago() {
    let server = Server::open();
    server.define("early");
    server.until_found("early");
    for round in 0..ROUNDS / 2 {
        server.round(round);
    }
    // They come back with the rounds that follow.
    erase(&server, "u4");
    erase(&server, "u13");
    let server = server.kill();
    for round in ROUNDS / 2..ROUNDS {
        server.round(round);
    }
    erase(&server, "u21");
    server.round(ROUNDS);
    // The last one may still be in the log.
    until("the first erasures are done", || server.status()["erasure"]["done_before_position"] != 0);
    let status = server.status();
    let (start, end) = (&status["feed"]["start"], &status["applied_next"]);
    assert!(start.as_u64().unwrap() * 10 > end.as_u64().unwrap() * 8, "the feed begins at {start} of {end}");
    assert!(status["feed"]["gaps"] == 0 && status["feed"]["history_bytes"].as_u64() > Some(0), "{status}");
    assert_eq!(server.define("late"), 0);
    let server = server.kill();
    server.until_found("late");
    compare(&server, "late");
    // What is known of old events is in a backup.
    let (folder, restored) = (Scratch::new(), Scratch::new());
    backup(&server.scratch.0, &folder.0, &["--with-keys"]);
    let credentials = server.credentials.clone();
    stop_and_verify(server);
    let (done, said) = program(&["restore", text(&folder.0), "--to", text(&restored.0)]);
    assert!(done, "{said}");
    let server = Server::start(restored, credentials);
    assert_eq!(server.define("latest"), 0);
    server.until_found("latest");
    compare(&server, "latest");
    is_said_where_old_events_are_not_known(server);
}

fn is_said_where_old_events_are_not_known(server: Server) {
    let server = server.kill_and_lose(&["feed"]);
    let known_from = server.status()["backfill"]["counts_from_position"].as_u64().unwrap();
    assert!(known_from > 500, "{known_from}");
    assert_eq!(server.define("blind"), known_from);
    // It may be found already.
    let backfill = &server.audience("blind", 0)["backfill"];
    assert!(backfill.is_null() || backfill["counted_from_position"] == known_from, "{backfill}");
    server.until_found("blind");
    assert_eq!(server.audience("blind", 0)["members"], 0);
    // The log is whole: what is made again from it is whole too.
    let server = server.kill_and_lose(&["state"]);
    assert_eq!(server.define("again"), 0);
    server.until_found("again");
    compare(&server, "again");
}

fn compare(server: &Server, late: &str) {
    for (number, rule) in rules(late).iter().enumerate() {
        let members = |own: &str| server.audience(own, number)["members"].as_u64().unwrap();
        assert_eq!(members("early"), members(late), "{rule}");
        assert!(members(late) > 3 && members(late) < 50, "{rule}: {}", members(late));
    }
    let people = (0..USERS).map(|user| ("user_id", format!("u{user}")));
    let devices = (0..USERS / 2).map(|device| ("anonymous_id", format!("d{device}")));
    for (kind, value) in people.chain(devices) {
        let found = server.lookup(kind, &value).json();
        let names = found["audiences"].as_array().cloned().unwrap_or_default();
        let of = |own: &str| -> Vec<String> {
            let own = format!("{own} ");
            names.iter().filter_map(|name| name.as_str()?.strip_prefix(&own)).map(str::to_owned).collect()
        };
        assert_eq!(of("early"), of(late), "{value}");
    }
}

/// The same log gives the same state again.
fn stop_and_verify(mut server: Server) {
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    let running = start(server.scratch.config(), DRIVING).unwrap();
    let verified = running.verify().unwrap();
    assert!(verified.iter().all(|stretch| stretch.is_exact()), "{verified:?}");
    running.stop().unwrap();
}
