//! Lanes that are opened and closed while the others go on.

use super::{Driver, LaneParts, Report, moment};
use crate::error::OptionsError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// An open lane.
pub(super) struct Running {
    pub(super) parts: LaneParts,
    /// The task that tends to its destination.
    tending: Option<tokio::task::JoinHandle<()>>,
}

impl Running {
    pub(super) fn new(parts: LaneParts) -> Self {
        Self { parts, tending: None }
    }
}

/// A lane that is being closed.
pub(super) struct Closing {
    place: usize,
    /// When attempts under way are cut, in monotonic microseconds.
    deadline_us: u64,
    /// Its destination was told; it is waited for.
    told: bool,
    done: Vec<oneshot::Sender<()>>,
}

impl Driver {
    pub(super) fn parts(&self, place: usize) -> Option<&LaneParts> {
        self.lanes.get(&place).map(|running| &running.parts)
    }

    pub(super) fn open_lane(&mut self, parts: LaneParts) -> Result<(), OptionsError> {
        let place = self.core.open_lane(parts.options.clone(), moment(&self.env))?;
        self.lanes.insert(place, Running::new(parts));
        self.statuses.send_replace(self.core.statuses());
        Ok(())
    }

    pub(super) fn close_lane(&mut self, name: &str, done: oneshot::Sender<()>) {
        let Some(place) = self.core.wind_up(name) else {
            self.acknowledge.push(done);
            return;
        };
        if let Some(known) = self.closing.iter_mut().find(|closing| closing.place == place) {
            known.done.push(done);
            return;
        }
        let timeout_us = self.options.stop_timeout_ms.saturating_mul(1_000);
        let deadline_us = moment(&self.env).monotonic_us.saturating_add(timeout_us);
        self.closing.push(Closing { place, deadline_us, told: false, done: vec![done] });
    }

    /// Goes on with closing what has nothing under way any more, or has had its time.
    pub(super) fn let_go(&mut self) {
        let now_us = moment(&self.env).monotonic_us;
        let mut over = Vec::new();
        for closing in self.closing.iter_mut().filter(|closing| !closing.told) {
            if self.core.is_at_rest(closing.place) || now_us >= closing.deadline_us {
                closing.told = true;
                over.push(closing.place);
            }
        }
        for place in over {
            self.cut(place);
            let Some(running) = self.lanes.remove(&place) else { continue };
            let timeout = Duration::from_millis(self.options.stop_timeout_ms.max(1));
            let reports = self.reports.clone();
            tokio::spawn(async move {
                let name = running.parts.options.name.clone();
                let closed = async {
                    if let Some(tending) = running.tending {
                        // A panic in it has been reported by the runtime.
                        let _ = tending.await;
                    }
                    running.parts.destination.tend(true).await;
                };
                if tokio::time::timeout(timeout, closed).await.is_err() {
                    tracing::warn!(destination = name, "a destination did not close in time");
                }
                drop(running.parts);
                let _ = reports.send(Report::Closed(place)).await;
            });
        }
    }

    /// Ends what a lane still has under way.
    fn cut(&mut self, place: usize) {
        let mine: Vec<_> = self.under_way.keys().filter(|attempt| attempt.lane == place).copied().collect();
        for attempt in mine {
            if let Some(task) = self.under_way.remove(&attempt) {
                task.abort();
            }
            self.look_back(attempt);
        }
        self.core.close_lane(place);
        self.statuses.send_replace(self.core.statuses());
    }

    pub(super) fn closed(&mut self, place: usize) {
        let known = self.closing.iter().position(|closing| closing.place == place);
        if let Some(closing) = known.map(|known| self.closing.swap_remove(known)) {
            self.acknowledge.extend(closing.done);
        }
    }

    /// Each destination by itself, and none twice at a time: one that hangs keeps no other from tending.
    pub(super) fn tend(&mut self) {
        for running in self.lanes.values_mut() {
            if running.tending.as_ref().is_some_and(|task| !task.is_finished()) {
                continue;
            }
            let destination = Arc::clone(&running.parts.destination);
            running.tending = Some(tokio::spawn(async move { destination.tend(false).await }));
        }
    }
}
