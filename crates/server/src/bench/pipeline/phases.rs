//! The phases under load.

use super::super::Generator;
use super::super::latency::Latencies;
use super::super::load::{Lane, LaneResult, Load, Pace};
use super::super::request::{BATCH_EVENTS, Decides};
use super::{BATCH_CLIENTS, LOOK_EVERY, Phase, Run};
use crate::process::{ServerProcess, Usage};
use std::time::{Duration, Instant};

/// Connections of closed load of single events.
const SINGLE_CLIENTS: usize = 256;
/// Paced load: half of the events come alone, half in batches.
const PACED_SINGLES_PER_SECOND: f64 = 10_000.0;
const PACED_BATCHES_PER_SECOND: f64 = 100.0;
/// So many connections that requests wait for the server, and not for a free connection.
const PACED_SINGLE_CLIENTS: usize = 1_000;
const PACED_BATCH_CLIENTS: usize = 64;
const DECIDES_PER_SECOND: f64 = 5_000.0;
const DECIDE_CLIENTS: usize = 32;
/// The longest warm-up.
const WARM_UP_MAX: Duration = Duration::from_secs(10);

/// What happened while a phase was measured.
struct Measured {
    events: u64,
    seconds: f64,
    used: Usage,
    lanes: Vec<LaneResult>,
}

impl Run<'_> {
    pub(super) fn phases(&mut self, server: &ServerProcess) -> anyhow::Result<()> {
        if self.wants(Phase::Batch) {
            let lane = self.event_lane(server, BATCH_EVENTS, BATCH_CLIENTS, Pace::Closed);
            let measured = self.measure(server, "batches of 100, 64 connections", vec![lane])?;
            self.closed("batch", &measured);
        }
        if self.wants(Phase::Single) {
            let lane = self.event_lane(server, 1, SINGLE_CLIENTS, Pace::Closed);
            let measured = self.measure(server, "single events, 256 connections", vec![lane])?;
            self.closed("single", &measured);
        }
        if self.wants(Phase::Paced) {
            let lanes = self.paced_lanes(server);
            let measured = self.measure(server, "20,000 events a second", lanes)?;
            self.paced("paced", &measured);
            let mut lanes = self.paced_lanes(server);
            lanes.push(self.decide_lane(server));
            let measured = self.measure(server, "20,000 events and 5,000 decisions a second", lanes)?;
            self.paced("paced_with_decide", &measured);
        }
        let pause_us = server.status_number("pause_max_us")?;
        self.report.detail("apply_pause_max", "ms", pause_us as f64 / 1e3);
        self.report.detail("resident_after_phases", "MiB", (server.usage()?.resident_bytes >> 20) as f64);
        Ok(())
    }

    fn paced_lanes(&mut self, server: &ServerProcess) -> Vec<Lane> {
        let generators = [self.generator(), self.generator()];
        paced_lanes(server, generators)
    }

    fn decide_lane(&mut self, server: &ServerProcess) -> Lane {
        let generator = self.generator();
        let (address, token) = (server.ports().profiles, server.keys().admin_token.clone());
        Lane {
            address,
            clients: DECIDE_CLIENTS,
            pace: Pace::PerSecond(DECIDES_PER_SECOND),
            source: Box::new(move || Box::new(Decides::new(address, &token, generator))),
        }
    }

    /// Warms up, then measures for as long as was asked.
    fn measure(&mut self, server: &ServerProcess, what: &str, lanes: Vec<Lane>) -> anyhow::Result<Measured> {
        self.progress.step(what);
        let duration = Duration::from_secs(self.args.seconds);
        // The other lanes of a phase ask and do not send events.
        let sends: Vec<bool> = lanes.iter().map(|lane| lane.address == server.ports().ingest).collect();
        let load = Load::start(lanes)?;
        std::thread::sleep((duration / 10).max(Duration::from_secs(1)).min(WARM_UP_MAX));
        let accepted_before = server.status_number("accepted_events")?;
        let before = server.usage()?;
        let started = Instant::now();
        load.record();
        while started.elapsed() < duration {
            std::thread::sleep(LOOK_EVERY.min(duration.saturating_sub(started.elapsed())));
            let (seconds, of) = (started.elapsed().as_secs(), duration.as_secs());
            self.progress.tick(&format!("{seconds} of {of} s, {} answered", load.acknowledged_events()));
        }
        let used = server.usage()?.since(&before);
        let seconds = started.elapsed().as_secs_f64();
        let events = server.status_number("accepted_events")?.saturating_sub(accepted_before);
        let lanes = load.stop()?;
        for (lane, sends) in lanes.iter().zip(&sends) {
            if *sends {
                self.acknowledged += lane.acknowledged_events;
                self.unanswered += lane.unanswered_events;
            }
            if lane.refused > 0 {
                self.progress.step(&format!("  {} requests were refused", lane.refused));
            }
        }
        Ok(Measured { events, seconds, used, lanes })
    }

    fn closed(&mut self, name: &str, measured: &Measured) {
        let per_second = measured.events as f64 / measured.seconds;
        self.report.goal(&format!("{name}_events_per_second"), per_second);
        self.report
            .goal(&format!("{name}_cpu_per_event"), per_event_us(measured.used.cpu_ns, measured.events));
        self.stages(name, measured);
        if let Some(lane) = measured.lanes.first() {
            self.latencies(&format!("{name}_post"), &lane.latencies, false);
        }
        let refused: u64 = measured.lanes.iter().map(|lane| lane.refused).sum();
        self.report.detail(&format!("{name}_refused"), "", refused as f64);
    }

    fn paced(&mut self, name: &str, measured: &Measured) {
        let [singles, batches, rest @ ..] = measured.lanes.as_slice() else { return };
        self.latencies(&format!("{name}_post"), &singles.latencies, true);
        self.latencies(&format!("{name}_batch_post"), &batches.latencies, false);
        if let Some(decides) = rest.first() {
            self.latencies(&format!("{name}_decide"), &decides.latencies, false);
        }
        let per_second = measured.events as f64 / measured.seconds;
        self.report.detail_higher(&format!("{name}_events_per_second"), "1/s", per_second);
        let cpu_us = per_event_us(measured.used.cpu_ns, measured.events);
        self.report.detail(&format!("{name}_cpu_per_event"), "us", cpu_us);
    }

    fn latencies(&mut self, name: &str, latencies: &Latencies, p99_has_goal: bool) {
        let ms = |permille| latencies.permille_ns(permille) as f64 / 1e6;
        self.report.detail(&format!("{name}_p50"), "ms", ms(500));
        if p99_has_goal {
            self.report.goal(&format!("{name}_p99"), ms(990));
        } else {
            self.report.detail(&format!("{name}_p99"), "ms", ms(990));
        }
        self.report.detail(&format!("{name}_max"), "ms", latencies.max_ns() as f64 / 1e6);
    }

    /// Processor time by thread name, and in the kernel.
    fn stages(&mut self, name: &str, measured: &Measured) {
        for (stage, thread) in &measured.used.threads {
            let us = per_event_us(thread.cpu_ns, measured.events);
            if us >= 0.001 {
                self.report.detail(&format!("{name}_cpu_{stage}"), "us", us);
            }
        }
        self.report.detail(
            &format!("{name}_cpu_in_kernel"),
            "us",
            per_event_us(measured.used.system_ns, measured.events),
        );
    }
}

/// 20,000 events a second: a lane of singles and one of batches.
pub(in crate::bench) fn paced_lanes(server: &ServerProcess, [singles, batches]: [Generator; 2]) -> Vec<Lane> {
    let lane = |generator, events, clients, per_second| {
        Lane::of_events(server, generator, events, clients, Pace::PerSecond(per_second))
    };
    vec![
        lane(singles, 1, PACED_SINGLE_CLIENTS, PACED_SINGLES_PER_SECOND),
        lane(batches, BATCH_EVENTS, PACED_BATCH_CLIENTS, PACED_BATCHES_PER_SECOND),
    ]
}

fn per_event_us(ns: u64, events: u64) -> f64 {
    ns as f64 / 1e3 / events.max(1) as f64
}
