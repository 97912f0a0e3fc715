//! `bench backfill`: audiences are defined over everybody while events arrive, the server is killed in the middle, and in
//! the end they must be what the same rules are that were there from the beginning.
//!
//! The twins look at features of their own: their filters name a value that never occurs, another one for each. So
//! the later ones find nothing kept, and read the log. POSTs are measured before and during, at the same pace. The kill
//! comes while people are gone through, with most of them done.

use super::audiences::{self, Audience};
use super::load::{LaneResult, Load};
use super::pipeline::{AMPLE_BYTES, introduce, paced_lanes, resident};
use super::{BenchArgs, Folder, Generator, Population, Progress, Report, binary_of};
use crate::calendar::now_us;
use crate::http_client::Client;
use crate::process::{ServerOptions, ServerProcess, json_of, post};
use anyhow::{Context as _, bail};
use env::seeded::Seed;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

/// Every row of `[backfill]` in `benches/goals.toml`.
#[cfg(test)]
pub(crate) const GOALS: [&str; 4] =
    ["post_p99_ratio", "audiences_different", "people_different", "replay_differences"];

/// The prefixes of the twins.
const EARLY: &str = "early";
const LATE: &str = "late";
/// How long everybody may take to be found.
const BACKFILL_TIMEOUT: Duration = Duration::from_secs(2 * 3_600);
/// Load is let run for so long before it is measured.
const WARM_UP: Duration = Duration::from_secs(3);
/// How often it is looked at how far the server is.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The server is killed when the back-fill is so far on average, reading older events being one half of it.
const KILL_AT: f64 = 0.75;
/// How often it is said how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// People who are compared one by one.
const COMPARED_PEOPLE: u64 = 1_000;
/// Time goes by between two answers, and may change both twins: a difference must be seen so often in a row.
const LOOKS: usize = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// How many differences are printed.
const SHOWN_MAX: usize = 10;

struct Run<'a> {
    args: &'a BenchArgs,
    report: Report,
    progress: Progress,
    population: Population,
    generators: u64,
    nonce: u64,
}

/// Runs it and reports.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let folder = Folder::new(args.data.as_deref())?;
    let mut run = Run {
        args,
        report: Report::new("backfill"),
        progress: Progress::new(),
        population: Population { people: args.people, cold_percent: args.cold_percent },
        generators: 0,
        nonce: now_us().unsigned_abs(),
    };
    run.report.fact("people", json!(args.people));
    run.report.fact("seconds_before", json!(args.seconds));
    let set = vec![resident(AMPLE_BYTES)];
    let options = ServerOptions { binary: binary_of(args)?, data: folder.path().to_owned(), set };
    let mut server = ServerProcess::start(&options)?;
    audiences::define(&server, &audiences::of_prefix(EARLY, true))?;
    audiences::wait_until_found(&server, BACKFILL_TIMEOUT, &run.progress)?;
    run.progress.step(&format!("{} people are told, with a history each", args.people));
    let generator = run.generator();
    let told = introduce(&server, generator, args.people, true, &run.progress)?;
    run.report.fact("events_before", json!(told));
    let before_ms = run.before(&server)?;
    let (during_ms, took);
    (server, during_ms, took) = run.define_and_kill(server)?;
    run.report.goal("post_p99_ratio", during_ms / before_ms.max(f64::MIN_POSITIVE));
    run.finish(&server, took)?;
    run.compare(&server)?;
    server.stop()?;
    run.verify(&server)?;
    Ok(run.report)
}

impl Run<'_> {
    fn generator(&mut self) -> Generator {
        self.generators += 1;
        Generator::new(self.population, self.args.seed + self.generators, self.nonce << 8 | self.generators)
    }

    fn load(&mut self, server: &ServerProcess) -> anyhow::Result<Load> {
        let generators = [self.generator(), self.generator()];
        let load = Load::start(paced_lanes(server, generators))?;
        std::thread::sleep(WARM_UP);
        load.record();
        Ok(load)
    }

    /// Says how long single POSTs took. Gives the p99 in milliseconds.
    fn posts(&mut self, name: &str, lanes: &[LaneResult]) -> anyhow::Result<f64> {
        let singles = lanes.first().context("there is no load")?;
        let ms = |permille| singles.latencies.permille_ns(permille) as f64 / 1e6;
        self.report.detail(&format!("{name}_post_p50"), "ms", ms(500));
        self.report.detail(&format!("{name}_post_p99"), "ms", ms(990));
        self.report.detail(&format!("{name}_post_max"), "ms", singles.latencies.max_ns() as f64 / 1e6);
        self.report.detail_higher(&format!("{name}_posts"), "", singles.latencies.count() as f64);
        let refused: u64 = lanes.iter().map(|lane| lane.refused).sum();
        self.report.detail(&format!("{name}_refused"), "", refused as f64);
        Ok(ms(990))
    }

    fn before(&mut self, server: &ServerProcess) -> anyhow::Result<f64> {
        self.progress.step("20,000 events a second");
        let load = self.load(server)?;
        std::thread::sleep(Duration::from_secs(self.args.seconds));
        let lanes = load.stop()?;
        self.posts("before", &lanes)
    }

    /// Defines the later twins under load and kills the server when half of them hold for everybody.
    fn define_and_kill(
        &mut self,
        mut server: ServerProcess,
    ) -> anyhow::Result<(ServerProcess, f64, Duration)> {
        let late = audiences::of_prefix(LATE, true);
        self.progress
            .step(&format!("{} audiences are defined over everybody, under the same load", late.len()));
        let load = self.load(&server)?;
        let started = Instant::now();
        let mut slowest = Duration::ZERO;
        for audience in &late {
            let asked = Instant::now();
            audiences::define(&server, std::slice::from_ref(audience))?;
            slowest = slowest.max(asked.elapsed());
        }
        self.report.detail("definition_slowest", "ms", slowest.as_secs_f64() * 1e3);
        let used_before = server.usage()?;
        let begun = Instant::now();
        let mut said = Instant::now();
        let reached = loop {
            let reached = done_part(&server)?;
            if reached >= KILL_AT {
                break reached;
            }
            if started.elapsed() > BACKFILL_TIMEOUT {
                bail!("only {:.0} % of everybody is found after two hours", reached * 100.0);
            }
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                let seconds = started.elapsed().as_secs();
                self.progress.step(&format!("  {:.0} % after {seconds} s", reached * 100.0));
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let pending = audiences::pending(&server)?;
        if pending == 0 {
            bail!("everybody was found before the server could be killed: use more people");
        }
        let used = server.usage()?.since(&used_before);
        let share = |cpu_ns: u64| cpu_ns as f64 / begun.elapsed().as_nanos().max(1) as f64;
        self.report.detail("during_cpu", "cores", share(used.cpu_ns));
        for thread in ["backfill", "apply", "commit", "checkpoint"] {
            let cpu_ns = used.threads.get(thread).map_or(0, |thread| thread.cpu_ns);
            self.report.detail(&format!("during_cpu_{thread}"), "cores", share(cpu_ns));
        }
        server.kill()?;
        let took = started.elapsed();
        let lanes = load.stop()?;
        let p99_ms = self.posts("during", &lanes)?;
        self.progress.step(&format!("killed with {:.0} % done, {pending} to go", reached * 100.0));
        let server = server.restart()?;
        self.report.detail("ready_after_kill", "s", server.ready_after().as_secs_f64());
        self.report.fact("pending_at_kill", json!(pending));
        self.report.fact("done_at_kill", json!((reached * 1e3).round() / 1e3));
        self.report.fact("pending_after_restart", json!(audiences::pending(&server)?));
        self.report.fact("done_after_restart", json!((done_part(&server)? * 1e3).round() / 1e3));
        Ok((server, p99_ms, took))
    }

    /// The rest, under the same load.
    fn finish(&mut self, server: &ServerProcess, before_kill: Duration) -> anyhow::Result<()> {
        let load = self.load(server)?;
        let took =
            before_kill + WARM_UP + audiences::wait_until_found(server, BACKFILL_TIMEOUT, &self.progress)?;
        let lanes = load.stop()?;
        self.posts("after_kill", &lanes)?;
        let found = self.args.people as f64 * audiences::of_prefix(LATE, true).len() as f64;
        self.report.detail("backfill", "s", took.as_secs_f64());
        self.report.detail_higher("profiles_per_second", "1/s", found / took.as_secs_f64());
        Ok(())
    }

    fn compare(&mut self, server: &ServerProcess) -> anyhow::Result<()> {
        self.progress.step("the twins are compared");
        let twins: Vec<(Audience, Audience)> =
            audiences::of_prefix(EARLY, true).into_iter().zip(audiences::of_prefix(LATE, true)).collect();
        let mut different = Vec::new();
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(BETWEEN_LOOKS);
            }
            let tallies = audiences::tallies(server)?;
            let members = |name: &str| tallies.get(name).map(|tally| tally.members);
            let differ = |(early, late): &&(Audience, Audience)| {
                members(&early.name).is_none() || members(&early.name) != members(&late.name)
            };
            different = twins
                .iter()
                .filter(differ)
                .map(|(early, late)| {
                    format!(
                        "{}: {:?} and {:?} members: {}",
                        early.name,
                        members(&early.name),
                        members(&late.name),
                        early.rule
                    )
                })
                .collect();
            let inside: u64 = twins.iter().filter_map(|(early, _)| members(&early.name)).sum();
            let empty = twins.iter().filter(|(early, _)| members(&early.name) == Some(0)).count();
            self.report.fact("memberships", json!(inside));
            self.report.fact("audiences_without_anybody", json!(empty));
            if different.is_empty() {
                break;
            }
        }
        for text in &different {
            self.progress.step(&format!("DIFFERENT {text}"));
        }
        self.report.goal("audiences_different", different.len() as f64);
        self.compare_people(server, &twins)
    }

    /// People drawn by chance: all their audiences, and one of them explained.
    fn compare_people(
        &mut self,
        server: &ServerProcess,
        twins: &[(Audience, Audience)],
    ) -> anyhow::Result<()> {
        let mut seed = Seed::new(self.args.seed ^ 0xBACF);
        let (mut profiles, mut different, mut inside) = (server.profiles_client(), 0_u64, 0_u64);
        let compared = COMPARED_PEOPLE.min(self.args.people);
        for _ in 0..compared {
            let user = super::events::user_id(seed.below(self.args.people));
            let index = seed.below(twins.len() as u64) as usize;
            let Some((early, late)) = twins.get(index) else { continue };
            let mut found = None;
            for look in 0..LOOKS {
                if look > 0 {
                    std::thread::sleep(BETWEEN_LOOKS);
                }
                let (count, faults) = person(server, &mut profiles, &user, early, late)?;
                (found, inside) = (faults, inside + if look == 0 { count } else { 0 });
                if found.is_none() {
                    break;
                }
            }
            if let Some(fault) = found {
                different += 1;
                if different <= SHOWN_MAX as u64 {
                    self.progress.step(&format!("DIFFERENT {user}: {fault}"));
                }
            }
        }
        self.report.goal("people_different", different as f64);
        self.report.detail_higher("people_compared", "", compared as f64);
        self.report.detail_higher("memberships_of_people_compared", "", inside as f64);
        Ok(())
    }

    /// The same log gives the same state again, between the checkpoints that are kept.
    fn verify(&mut self, server: &ServerProcess) -> anyhow::Result<()> {
        self.progress.step("the log is replayed");
        let output = Command::new(binary_of(self.args)?)
            .args(["replay", "--verify", "--json", "--data"])
            .arg(server.data())
            .output()
            .context("replay cannot be started")?;
        let told: Value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!("replay printed no JSON: {}", String::from_utf8_lossy(&output.stderr).trim_end())
        })?;
        let stretches = told.get("stretches").and_then(Value::as_array).cloned().unwrap_or_default();
        let records: u64 =
            stretches.iter().filter_map(|stretch| stretch.get("records").and_then(Value::as_u64)).sum();
        let exact = told.get("exact") == Some(&json!(true)) && output.status.success();
        self.report.goal("replay_differences", f64::from(u8::from(!exact)));
        self.report.detail_higher("replayed_records", "", records as f64);
        Ok(())
    }
}

/// How far the later audiences are on average, from 0 to 1. The first half of each is reading older events.
fn done_part(server: &ServerProcess) -> anyhow::Result<f64> {
    let answer = server.admin("GET", "/admin/v1/audiences", &Value::Null)?;
    let all = answer.get("audiences").and_then(Value::as_array).context("there are no audiences")?;
    let late = all.iter().filter(|audience| {
        audience.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with(LATE))
    });
    let done = late.map(|audience| {
        let Some(backfill) = audience.get("backfill").filter(|row| !row.is_null()) else { return 1.0 };
        let number = |name: &str| backfill.get(name).and_then(Value::as_f64).unwrap_or_default();
        let read = number("read_to_position") / number("defined_at_position").max(1.0);
        (read + number("people_percent") / 100.0) / 2.0
    });
    let done: Vec<f64> = done.collect();
    Ok(done.iter().sum::<f64>() / (done.len() as f64).max(1.0))
}

/// How many of the earlier audiences a person is in, and what differs from the later ones.
fn person(
    server: &ServerProcess,
    profiles: &mut Client,
    user: &str,
    early: &Audience,
    late: &Audience,
) -> anyhow::Result<(u64, Option<String>)> {
    let question = json!({ "identifier": { "type": "user_id", "value": user } });
    let path = "/v1/profiles/lookup";
    let profile = json_of(path, &post(profiles, path, question.to_string().as_bytes())?)?;
    let names: Vec<&str> = profile
        .get("audiences")
        .and_then(Value::as_array)
        .context("the profile has no audiences")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let of = |prefix: &str| -> BTreeSet<String> {
        names.iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let (earlier, later) = (of(EARLY), of(LATE));
    if earlier != later {
        return Ok((earlier.len() as u64, Some(format!("in early {earlier:?} and late {later:?}"))));
    }
    let explained = |audience: &Audience, prefix: &str| -> anyhow::Result<String> {
        let path = format!("/admin/v1/audiences/{}/explain", audience.name);
        let answer = server.admin("POST", &path, &question)?;
        let (member, parts) = (answer.get("member"), answer.get("parts"));
        Ok(format!("{member:?} {parts:?}").replace(prefix, "twin"))
    };
    let (one, other) = (explained(early, EARLY)?, explained(late, LATE)?);
    let fault = (one != other).then(|| format!("{} is explained by {one} and by {other}", early.name));
    Ok((earlier.len() as u64, fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_goal_is_measured_by_name() {
        let mut report = Report::new("backfill");
        GOALS.iter().for_each(|name| report.goal(name, 1.0));
        assert!(report.json().is_ok());
    }
}
