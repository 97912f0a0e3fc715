//! Kills the server under load, starts it again, and counts what the log holds.

use super::super::load::{Load, Pace};
use super::super::request::BATCH_EVENTS;
use super::{BATCH_CLIENTS, LOOK_EVERY, Run};
use crate::process::ServerProcess;
use anyhow::bail;
use env::Env;
use eventlog::{LocalLog, Log as _, LogOptions};
use model::record::{RecordKind, decode_records};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the log may take to reach its size.
const FILL_TIMEOUT: Duration = Duration::from_secs(3 * 3_600);
/// The least time under load before the kill, so that checkpoints, merges and sealing are at work.
const LOADED: Duration = Duration::from_secs(3);

impl Run<'_> {
    /// The server is killed while it takes batches as fast as it can.
    pub(super) fn recover(&mut self, mut server: ServerProcess) -> anyhow::Result<()> {
        self.progress.step(&format!(
            "the log grows to {} events, then the server is killed",
            self.args.recovery_events
        ));
        let lane = self.event_lane(&server, BATCH_EVENTS, BATCH_CLIENTS, Pace::Closed);
        let load = Load::start(vec![lane])?;
        let started = Instant::now();
        loop {
            std::thread::sleep(LOOK_EVERY);
            let records = server.status_number("durable_next")?;
            self.progress.tick(&format!("{records} records"));
            if records >= self.args.recovery_events && started.elapsed() >= LOADED {
                break;
            }
            if started.elapsed() > FILL_TIMEOUT {
                bail!("the log did not reach {} events within three hours", self.args.recovery_events);
            }
        }
        let checkpoint = server.status_number("checkpoint_next")?;
        server.kill()?;
        let acknowledged = self.acknowledged + load.acknowledged_events();
        let mut unanswered = self.unanswered;
        for lane in load.stop()? {
            unanswered += lane.unanswered_events;
        }
        let mut server = server.restart()?;
        self.report.goal("recovery", server.ready_after().as_secs_f64());
        let records = server.status_number("applied_next")?;
        self.report.detail("recovery_records_in_log", "", records as f64);
        self.report.detail(
            "recovery_records_after_checkpoint_at_most",
            "",
            records.saturating_sub(checkpoint) as f64,
        );
        server.stop()?;
        self.progress.step("the log is read from end to end");
        let events = events_in_log(server.data())?;
        self.report.goal("lost_events", acknowledged.saturating_sub(events) as f64);
        self.report.detail("unanswered_events", "", unanswered as f64);
        let beyond = events.saturating_sub(acknowledged);
        self.report.detail("unanswered_events_that_are_there", "", beyond as f64);
        if beyond > unanswered {
            bail!(
                "the log holds {beyond} events that nobody is known to have sent, {unanswered} were unanswered"
            );
        }
        Ok(())
    }
}

/// Events in the log of a stopped server. Message ids of this bench never repeat, so none is there twice.
fn events_in_log(data: &Path) -> anyhow::Result<u64> {
    let (log, _) = LocalLog::open(&Env::real(), data, LogOptions::default())?;
    let mut reader = log.read_from(log.first_position())?;
    let mut events = 0;
    while let Some(frame) = reader.next()? {
        if frame.control {
            continue;
        }
        for record in decode_records(&frame.body, frame.first, frame.received_at) {
            events += u64::from(record?.kind == RecordKind::EVENT);
        }
    }
    Ok(events)
}
