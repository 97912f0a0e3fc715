//! The ports, and the server behind them if one runs.

use super::{Finding, Verdict};
use crate::config::Config;
use crate::http_client::{Client, Credential, Endpoint, Request, Response};
use crate::process::endpoint;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Applied records may be behind durable ones by so much before it is worth a word.
const APPLY_LAG_RECORDS: f64 = 100_000.0;
/// A destination may be behind by so much.
const DESTINATION_LAG_MS: f64 = 600_000.0;

/// Looks at every address, and asks a server that answers there how it is.
pub(super) fn look(config: &Config) -> Vec<Finding> {
    let listen = &config.listen;
    let ports = [
        ("port ingest", "listen.ingest", listen.ingest),
        ("port admin", "listen.admin", listen.admin),
        ("port profiles", "listen.profiles", listen.profiles),
    ];
    let mut findings: Vec<Finding> = ports.map(|(check, key, address)| port(check, key, address)).into();
    match get(listen.admin, "/readyz").map(|answer| json(&answer)) {
        Some(ready) if ready.get("ready").is_some() => findings.extend(running(listen.admin, &ready)),
        _ => findings.push(Finding::ok("server", format!("none answers at {}", listen.admin))),
    }
    findings
}

fn port(check: &'static str, key: &str, address: SocketAddr) -> Finding {
    if address.port() == 0 {
        return Finding::ok(check, format!("{address}: a free port at every start"));
    }
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(check, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // Whatever is asked, all our doors answer mistakes with a code.
            let ours =
                get(address, "/no-such-path").is_some_and(|answer| json(&answer).get("code").is_some());
            if ours {
                return Finding::ok(check, format!("{address} is answered by a Throughline server"));
            }
            let advice = format!("Stop the program that holds it (`ss -ltnp`), or set {key}.");
            Finding::fail(check, format!("{address} is held by another program"), advice)
        }
        Err(error) => {
            let advice = format!("Set {key} to an address of this machine that this user may listen at.");
            Finding::fail(check, format!("{address} cannot be used ({error})"), advice)
        }
    }
}

fn running(admin: SocketAddr, ready: &Value) -> Vec<Finding> {
    let mut findings = vec![match ready.get("ready").and_then(Value::as_bool) {
        Some(true) => Finding::ok("server", format!("ready at {admin}")),
        _ => {
            let reasons = ready.get("reasons").and_then(Value::as_array).cloned().unwrap_or_default();
            let reasons: Vec<&str> = reasons.iter().filter_map(Value::as_str).collect();
            let advice =
                "Look into its messages; \"At 3 a.m.\" in docs/operating.md goes through the reasons.";
            Finding::fail("server", format!("not ready: {}", reasons.join("; ")), advice)
        }
    }];
    let version = get(admin, "/admin/v1/openapi.json").map(|answer| json(&answer));
    let version =
        version.as_ref().and_then(|openapi| openapi.pointer("/info/version")).and_then(Value::as_str);
    if let Some(version) = version.filter(|version| *version != env!("CARGO_PKG_VERSION")) {
        let found = format!("{version} runs, and this is {}", env!("CARGO_PKG_VERSION"));
        findings.push(Finding::warn("server version", found, "Restart the server to finish the upgrade."));
    }
    match get(admin, "/metrics") {
        Some(answer) if answer.status == 200 => {
            findings.extend(judged(&series(&String::from_utf8_lossy(&answer.body))))
        }
        _ => findings.push(Finding::warn(
            "metrics",
            "no answer",
            "Try `curl` on /metrics of the admin listener.",
        )),
    }
    findings
}

/// Every series of Prometheus' text format: its name with its labels, and its value.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// What the metrics say.
struct Seen<'a>(&'a BTreeMap<String, f64>);

impl Seen<'_> {
    /// A series without labels; 0 where it is not there.
    fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// The greatest of the series of all destinations; 0 without any.
    fn greatest(&self, name: &str) -> f64 {
        let of_name = |key: &str| key.strip_prefix(name).is_some_and(|labels| labels.starts_with('{'));
        self.0.iter().filter(|(key, _)| of_name(key)).map(|(_, value)| *value).fold(0.0, f64::max)
    }
}

/// Something in the metrics that somebody should know of.
struct Complaint {
    holds: fn(&Seen<'_>) -> bool,
    verdict: Verdict,
    found: &'static str,
    advice: &'static str,
}

const COMPLAINTS: &[Complaint] = &[
    Complaint {
        holds: |seen| seen.value("throughline_shard_stopped") > 0.0,
        verdict: Verdict::Fail,
        found: "the shard has stopped",
        advice: "Read the last lines that the server wrote, then restart it.",
    },
    Complaint {
        holds: |seen| seen.value("throughline_writes_refused") > 0.0,
        verdict: Verdict::Fail,
        found: "writes are refused",
        advice: "Free disk space, or raise dedup.bytes_max; the server's lines say which.",
    },
    Complaint {
        holds: |seen| {
            let durable = seen.value("throughline_log_durable_position");
            durable - seen.value("throughline_applied_position") > APPLY_LAG_RECORDS
        },
        verdict: Verdict::Warn,
        found: "more than 100,000 records are durable and not applied",
        advice: "Look at the load of the machine: the applying thread is behind.",
    },
    Complaint {
        holds: |seen| seen.value("throughline_records_skipped_total") > 0.0,
        verdict: Verdict::Warn,
        found: "records were put aside",
        advice: "Look for `skipped` in the server's lines, and report the record.",
    },
    Complaint {
        holds: |seen| seen.value("throughline_feed_gaps_total") > 0.0,
        verdict: Verdict::Warn,
        found: "the change feed began anew",
        advice: "Look for the reason in the server's lines: followers had to take snapshots.",
    },
    Complaint {
        holds: |seen| seen.value("throughline_delivery_problems") > 0.0,
        verdict: Verdict::Warn,
        found: "a destination cannot be sent to",
        advice: "GET /admin/v1/destinations says why.",
    },
    Complaint {
        holds: |seen| seen.value("throughline_delivery_dead_letters") > 0.0,
        verdict: Verdict::Warn,
        found: "dead letters wait",
        advice: "Look at them, then resend or discard them (docs/delivery.md).",
    },
    Complaint {
        holds: |seen| seen.greatest("throughline_destination_breaker_state") >= 2.0,
        verdict: Verdict::Warn,
        found: "the circuit breaker of a destination is open",
        advice: "Look whether the destination answers; sending goes on by itself once it does.",
    },
    Complaint {
        holds: |seen| seen.greatest("throughline_destination_lag_milliseconds") > DESTINATION_LAG_MS,
        verdict: Verdict::Warn,
        found: "a destination is more than ten minutes behind",
        advice: "Look whether it answers, and how fast.",
    },
    Complaint {
        holds: |seen| seen.value("throughline_trace_spans_dropped_total") > 0.0,
        verdict: Verdict::Warn,
        found: "spans of traces were lost",
        advice: "Look whether the collector at telemetry.traces.endpoint answers. No request waits for it.",
    },
];

fn judged(series: &BTreeMap<String, f64>) -> Vec<Finding> {
    const CHECK: &str = "metrics";
    let seen = Seen(series);
    let holding = COMPLAINTS.iter().filter(|complaint| (complaint.holds)(&seen));
    let mut findings: Vec<Finding> = holding
        .map(|complaint| Finding {
            check: CHECK,
            verdict: complaint.verdict,
            found: complaint.found.to_owned(),
            advice: complaint.advice.to_owned(),
        })
        .collect();
    if findings.is_empty() {
        let applied = seen.value("throughline_records_applied_total");
        findings.push(Finding::ok(CHECK, format!("{applied} records applied, nothing to complain about")));
    }
    findings
}

fn get(address: SocketAddr, path: &str) -> Option<Response> {
    // A server that listens everywhere is asked on loopback.
    let address = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    };
    if address.port() == 0 {
        return None;
    }
    let to: Endpoint = endpoint(address);
    let mut client = Client::new(to, &Credential::Bearer(String::new()));
    client.send(Request { method: "GET", path, headers: &[], body: &[] }).ok()
}

fn json(answer: &Response) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::worst;
    use super::*;

    #[test]
    fn metrics_are_read_and_judged() {
        let healthy = "# HELP x y\nthroughline_shard_stopped 0\nthroughline_records_applied_total 12\n\
                       throughline_destination_breaker_state{destination=\"crm\"} 0\n";
        assert_eq!(worst(&judged(&series(healthy))), Verdict::Ok);
        for (line, verdict) in [
            ("throughline_shard_stopped 1", Verdict::Fail),
            ("throughline_writes_refused 1", Verdict::Fail),
            ("throughline_log_durable_position 1000000", Verdict::Warn),
            ("throughline_records_skipped_total 1", Verdict::Warn),
            ("throughline_feed_gaps_total 1", Verdict::Warn),
            ("throughline_delivery_problems 1", Verdict::Warn),
            ("throughline_delivery_dead_letters 3", Verdict::Warn),
            ("throughline_destination_breaker_state{destination=\"a b\"} 2", Verdict::Warn),
            ("throughline_destination_lag_milliseconds{destination=\"crm\"} 600001", Verdict::Warn),
            ("throughline_trace_spans_dropped_total 7", Verdict::Warn),
            ("throughline_destination_breaker_state{destination=\"crm\"} 1", Verdict::Ok),
        ] {
            assert_eq!(worst(&judged(&series(&format!("{healthy}{line}\n")))), verdict, "{line}");
        }
    }
}
