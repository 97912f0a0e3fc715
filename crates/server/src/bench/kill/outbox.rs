//! Effects as the outbox shows them, remembered over restarts.

use crate::process::ServerProcess;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::BTreeMap;

/// Effects of one page.
const PAGE: usize = 1_000;
/// The most pages: the outbox holds 65,536 effects.
const PAGES_MAX: usize = 80;

/// Effects by position and ordinal, and what each of them says.
#[derive(Default)]
pub(super) struct Effects {
    known: BTreeMap<(u64, u64), Value>,
}

impl Effects {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Reads the outbox and remembers it.
    pub(super) fn remember(&mut self, server: &ServerProcess) -> anyhow::Result<()> {
        for effect in read(server)? {
            self.known.insert(place_of(&effect)?, effect);
        }
        Ok(())
    }

    /// Effects that are there twice, that changed, or that are gone though younger ones than the oldest are still
    /// there.
    pub(super) fn faults_of(&mut self, server: &ServerProcess) -> anyhow::Result<u64> {
        let mut found = BTreeMap::new();
        let mut faults = 0;
        for effect in read(server)? {
            faults += u64::from(found.insert(place_of(&effect)?, effect).is_some());
        }
        Ok(faults + faults_between(&self.known, &found))
    }
}

/// The outbox drops its oldest where nobody consumes: only what is not older than the oldest one found is compared.
fn faults_between(known: &BTreeMap<(u64, u64), Value>, found: &BTreeMap<(u64, u64), Value>) -> u64 {
    let Some(oldest) = found.keys().next() else { return known.len() as u64 };
    known.range(oldest..).filter(|(place, effect)| found.get(place) != Some(effect)).count() as u64
}

fn read(server: &ServerProcess) -> anyhow::Result<Vec<Value>> {
    let mut effects = Vec::new();
    let mut path = format!("/admin/v1/outbox?limit={PAGE}");
    for _ in 0..PAGES_MAX {
        let page = server.admin("GET", &path, &Value::Null)?;
        effects.extend(page.get("effects").and_then(Value::as_array).cloned().unwrap_or_default());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => path = format!("/admin/v1/outbox?limit={PAGE}&after={next}"),
            None => return Ok(effects),
        }
    }
    bail!("the outbox has no end")
}

/// `eff_POSITION_ORDINAL`.
fn place_of(effect: &Value) -> anyhow::Result<(u64, u64)> {
    let id = effect.get("id").and_then(Value::as_str).unwrap_or_default();
    let numbers = id.strip_prefix("eff_").and_then(|rest| rest.split_once('_'));
    let place = numbers.and_then(|(position, ordinal)| Some((position.parse().ok()?, ordinal.parse().ok()?)));
    place.with_context(|| format!("{id:?} is no effect id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn gone_and_changed_effects_are_faults_and_dropped_old_ones_are_not() {
        let all = |from: u64, change: u64| -> BTreeMap<(u64, u64), Value> {
            (from..10).map(|position| ((position, 0), json!(position * change))).collect()
        };
        assert_eq!(faults_between(&all(0, 1), &all(0, 1)), 0);
        assert_eq!(faults_between(&all(0, 1), &all(4, 1)), 0);
        let mut gone = all(0, 1);
        gone.remove(&(5, 0));
        assert_eq!(faults_between(&all(0, 1), &gone), 1);
        assert_eq!(faults_between(&all(0, 1), &all(0, 2)), 9);
        assert_eq!(faults_between(&all(0, 1), &BTreeMap::new()), 10);
        assert_eq!(place_of(&json!({ "id": "eff_12_3" })).unwrap(), (12, 3));
        assert!(place_of(&json!({ "id": "12" })).is_err());
    }
}
