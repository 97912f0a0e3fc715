//! `bench pipeline`: the whole path of an event, and what it leaves behind.
//!
//! The order: prefill de-duplication, define audiences, tell everybody once (memory per profile), restart with less
//! memory than they take (so that cold people are cold), wait until rows have been read ahead, then the phases, then disk
//! per event, then kill and recover.

mod disk;
mod phases;
mod recovery;

pub(super) use disk::thread_cpu_ns;
pub(super) use phases::paced_lanes;

use super::load::{Lane, Load, Pace};
use super::request::{BATCH_EVENTS, Batches, Introductions, Source};
use super::{BenchArgs, Folder, Generator, Population, Progress, Report, audiences, binary_of, prefill};
use crate::calendar::now_us;
use crate::process::{ServerOptions, ServerProcess};
use anyhow::bail;
use clap::ValueEnum;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

/// Every row of `[pipeline]` in `benches/goals.toml`.
#[cfg(test)]
pub(crate) const GOALS: [&str; 11] = [
    "generator_cpu_per_event",
    "batch_events_per_second",
    "batch_cpu_per_event",
    "single_events_per_second",
    "single_cpu_per_event",
    "paced_post_p99",
    "paced_with_decide_post_p99",
    "memory_per_profile",
    "disk_per_event_sealed",
    "recovery",
    "lost_events",
];

/// Connections of closed load of batches.
pub(crate) const BATCH_CLIENTS: usize = 64;
/// How often long steps are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long introducing everybody may take.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(3 * 3_600);
/// How long the checkpoint after that may take.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(30);
/// Events that the generator's own cost is measured over.
const GENERATOR_EVENTS: u32 = 200_000;
/// How long defining audiences over nobody may take: each waits for a checkpoint.
const DEFINITION_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the phases wait for rows to be read ahead after the restart.
const READ_AHEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// The thread of the server that reads ahead; it ends when everything is read or the memory for rows is full.
const READ_AHEAD_THREAD: &str = "warm";
/// Memory for rows while everybody is told: enough for all of them.
pub(crate) const AMPLE_BYTES: u64 = 1 << 40;

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Batches of 100, closed loop.
    Batch,
    /// Single events, closed loop.
    Single,
    /// 20,000 events a second, without and with decisions.
    Paced,
    /// Kill and recover.
    Recovery,
}

/// A bench that runs.
pub(crate) struct Run<'a> {
    pub(crate) args: &'a BenchArgs,
    pub(crate) report: Report,
    pub(crate) progress: Progress,
    pub(crate) population: Population,
    /// Events that got a 200 since the data directory is new.
    pub(crate) acknowledged: u64,
    /// Events whose requests got no answer.
    pub(crate) unanswered: u64,
    generators: u64,
    nonce: u64,
}

/// Measures everything that was asked for.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let folder = Folder::new(args.data.as_deref())?;
    let binary = binary_of(args)?;
    let mut run = Run {
        args,
        report: Report::new("pipeline"),
        progress: Progress::new(),
        population: Population { people: args.people, cold_percent: args.cold_percent },
        acknowledged: 0,
        unanswered: 0,
        generators: 0,
        nonce: now_us().unsigned_abs(),
    };
    run.describe(folder.path())?;
    run.measure_generator();
    let options = ServerOptions { binary, data: folder.path().to_owned(), set: vec![resident(AMPLE_BYTES)] };
    let mut server = ServerProcess::start(&options)?;
    if args.prefill_ids > 0 {
        run.progress.step(&format!("de-duplication learns {} message ids", args.prefill_ids));
        server.stop()?;
        prefill::ids(folder.path(), args.prefill_ids, &run.progress)?;
        server = server.restart()?;
    }
    run.define_audiences(&server)?;
    run.introduce_everybody(&server)?;
    server.stop()?;
    server = server.restart_with(vec![resident(args.resident_mib << 20)])?;
    run.wait_for_rows(&server)?;
    for round in 0..args.repeat {
        run.progress.step(&format!("round {} of {}", round + 1, args.repeat));
        run.phases(&server)?;
    }
    run.disk(&server)?;
    if run.wants(Phase::Recovery) {
        run.recover(server)?;
    }
    Ok(run.report)
}

pub(crate) fn resident(bytes: u64) -> String {
    format!("state.resident_bytes_max={bytes}")
}

impl Run<'_> {
    pub(crate) fn wants(&self, phase: Phase) -> bool {
        self.args.only.is_empty() || self.args.only.contains(&phase)
    }

    /// A generator whose message ids no other has.
    pub(crate) fn generator(&mut self) -> Generator {
        self.generators += 1;
        // The upper bits are the run's microsecond, the lower ones the generator.
        Generator::new(self.population, self.generators, self.nonce << 8 | self.generators)
    }

    /// A lane of batches, or of single events.
    pub(crate) fn event_lane(
        &mut self,
        server: &ServerProcess,
        events: u32,
        clients: usize,
        pace: Pace,
    ) -> Lane {
        Lane::of_events(server, self.generator(), events, clients, pace)
    }

    fn describe(&mut self, folder: &Path) -> anyhow::Result<()> {
        let disk = disk::probe(folder)?;
        self.report.fact("disk", json!(disk.filesystem));
        self.report.fact("sync_4kib_p50_us", json!(disk.sync_p50_us));
        self.report.fact("sync_4kib_p99_us", json!(disk.sync_p99_us));
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load: Vec<&str> = load.split(' ').take(3).collect();
        self.report.fact("load_average_before", json!(load.join(" ")));
        let args = self.args;
        self.report.fact("seconds_per_phase", json!(args.seconds));
        self.report.fact("repeat", json!(args.repeat));
        self.report.fact("people", json!(args.people));
        self.report.fact("cold_percent", json!(args.cold_percent));
        self.report.fact("resident_mib", json!(args.resident_mib));
        self.report.fact("prefilled_ids", json!(args.prefill_ids));
        Ok(())
    }

    /// What an event costs this process before it is sent.
    fn measure_generator(&mut self) {
        let generator = self.generator();
        let mut source = Batches::new(([127, 0, 0, 1], 1).into(), "key", generator, BATCH_EVENTS);
        let (mut out, mut bytes) = (Vec::new(), 0);
        let before_ns = disk::thread_cpu_ns();
        for _ in 0..GENERATOR_EVENTS / BATCH_EVENTS {
            out.clear();
            source.render(&mut out);
            bytes += out.len();
        }
        let ns = disk::thread_cpu_ns().saturating_sub(before_ns);
        let events = f64::from(GENERATOR_EVENTS);
        self.report.goal("generator_cpu_per_event", ns as f64 / 1e3 / events);
        self.report.detail("event_size", "B", bytes as f64 / events);
    }

    /// Before anybody is there, so that there is nobody to find them for.
    fn define_audiences(&mut self, server: &ServerProcess) -> anyhow::Result<()> {
        audiences::define(server, &audiences::mixed(self.args.audiences))?;
        let took = audiences::wait_until_found(server, DEFINITION_TIMEOUT, &self.progress)?;
        self.report.detail("audiences_defined_over_nobody", "s", took.as_secs_f64());
        audiences::describe(server, &mut self.report)
    }

    /// Short phases would otherwise measure little but a server that warms up.
    fn wait_for_rows(&mut self, server: &ServerProcess) -> anyhow::Result<()> {
        self.progress.step("rows are read ahead");
        let started = Instant::now();
        let mut reading = true;
        while reading && started.elapsed() < READ_AHEAD_TIMEOUT {
            std::thread::sleep(LOOK_EVERY);
            reading = server.usage()?.threads.contains_key(READ_AHEAD_THREAD);
        }
        self.report.fact("rows_were_read_ahead", json!(!reading));
        self.report.detail("read_ahead_before_phases", "s", started.elapsed().as_secs_f64());
        let rows = server.status_number("resident_rows")?;
        self.report.detail("rows_in_memory_before_phases", "", rows as f64);
        Ok(())
    }

    /// Tells everybody once, with three identifiers, and takes the memory that they take. With audiences, everybody has a
    /// history that fills their features.
    fn introduce_everybody(&mut self, server: &ServerProcess) -> anyhow::Result<()> {
        let people = self.args.people;
        self.progress.step(&format!("{people} people are told, with three identifiers each"));
        let before = server.usage()?;
        let with_history = self.args.audiences > 0;
        let started = Instant::now();
        let told = introduce(server, self.generator(), people, with_history, &self.progress)?;
        let seconds = started.elapsed().as_secs_f64();
        self.acknowledged += told;
        let after = server.usage()?;
        let used = after.since(&before);
        let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
        self.report.goal("memory_per_profile", grown as f64 / people as f64);
        let rows = rows_in_memory(server)?;
        self.report.detail("memory_of_rows_per_profile", "B", rows as f64 / people as f64);
        self.report.fact("events_per_new_profile", json!(told / people));
        self.report.detail_higher("new_people_events_per_second", "1/s", told as f64 / seconds);
        self.report.detail("new_people_cpu_per_event", "us", used.cpu_ns as f64 / 1e3 / told as f64);
        Ok(())
    }
}

/// Tells people once, with three identifiers each. Gives how many events that took.
pub(crate) fn introduce(
    server: &ServerProcess,
    generator: Generator,
    people: u64,
    with_history: bool,
    progress: &Progress,
) -> anyhow::Result<u64> {
    let (address, key) = (server.ports().ingest, server.keys().server_write_key.clone());
    let source = move || -> Box<dyn Source> {
        let told = Introductions::new(address, &key, generator, 0, people);
        Box::new(if with_history { told.with_history() } else { told })
    };
    let lane = Lane { address, clients: BATCH_CLIENTS, pace: Pace::Closed, source: Box::new(source) };
    let started = Instant::now();
    let load = Load::start(vec![lane])?;
    while !load.is_finished() {
        if started.elapsed() > INTRODUCTION_TIMEOUT {
            bail!("the people could not be told within three hours");
        }
        std::thread::sleep(LOOK_EVERY);
        progress.tick(&format!("{} events about {people} people", load.acknowledged_events()));
    }
    let told = load.acknowledged_events();
    for lane in load.stop()? {
        if lane.refused > 0 || lane.unanswered_events > 0 {
            bail!("{} requests were refused while people were told: use fewer people", lane.refused);
        }
    }
    Ok(told)
}

/// What the server believes that rows take; it weighs them as it writes checkpoints.
pub(crate) fn rows_in_memory(server: &ServerProcess) -> anyhow::Result<u64> {
    let (started, told) = (Instant::now(), server.status_number("applied_next")?);
    while started.elapsed() < CHECKPOINT_TIMEOUT && server.status_number("checkpoint_next")? < told {
        std::thread::sleep(LOOK_EVERY);
    }
    server.status_number("resident_bytes")
}
