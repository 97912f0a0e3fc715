//! What a bench says at the end.

use crate::figures::{Figure, Figures};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Figures with their goals, and further ones that explain them.
#[derive(Clone, Debug)]
pub struct Report {
    bench: &'static str,
    /// Facts about the machine and the run.
    facts: Vec<(String, Value)>,
    /// Held against a goal.
    goals: Vec<(String, Vec<f64>)>,
    /// Not held against anything: name, unit, whether higher is better, values of each repetition.
    details: Vec<(String, &'static str, bool, Vec<f64>)>,
}

impl Report {
    /// An empty report.
    pub fn new(bench: &'static str) -> Self {
        Self { bench, facts: Vec::new(), goals: Vec::new(), details: Vec::new() }
    }

    /// A fact about the machine or the run.
    pub fn fact(&mut self, name: &str, value: Value) {
        self.facts.retain(|(known, _)| known != name);
        self.facts.push((name.to_owned(), value));
    }

    /// A figure with a row in `benches/goals.toml`. Told again, it is a repetition.
    pub fn goal(&mut self, name: &str, value: f64) {
        match self.goals.iter_mut().find(|(known, _)| known == name) {
            Some((_, values)) => values.push(value),
            None => self.goals.push((name.to_owned(), vec![value])),
        }
    }

    /// A figure without a goal of which less is better.
    pub fn detail(&mut self, name: &str, unit: &'static str, value: f64) {
        self.further(name, unit, false, value);
    }

    /// A figure without a goal of which more is better.
    pub fn detail_higher(&mut self, name: &str, unit: &'static str, value: f64) {
        self.further(name, unit, true, value);
    }

    fn further(&mut self, name: &str, unit: &'static str, higher: bool, value: f64) {
        match self.details.iter_mut().find(|(known, ..)| known == name) {
            Some((.., values)) => values.push(value),
            None => self.details.push((name.to_owned(), unit, higher, vec![value])),
        }
    }

    /// The value of a figure.
    pub fn value(&self, name: &str) -> Option<f64> {
        let goals = self.goals.iter().map(|(known, values)| (known, values));
        let details = self.details.iter().map(|(known, .., values)| (known, values));
        let (_, values) = goals.chain(details).find(|(known, _)| *known == name)?;
        Some(median(values))
    }

    /// An error if a figure that must be exactly its goal, because it counts broken promises, is not.
    pub fn promises(&self) -> anyhow::Result<()> {
        for figure in self.figures()?.figures {
            if figure.goal == 0.0 && !figure.met {
                anyhow::bail!("{} is {} and must be 0: a promise is broken", figure.name, figure.value);
            }
        }
        Ok(())
    }

    fn figures(&self) -> anyhow::Result<Figures> {
        let medians: Vec<(&str, f64)> =
            self.goals.iter().map(|(name, values)| (name.as_str(), median(values))).collect();
        Figures::new(self.bench, &medians)
    }

    /// One JSON object. Figures without a goal have `null` there.
    pub fn json(&self) -> anyhow::Result<String> {
        let figures = self.figures()?;
        let mut machine = serde_json::to_value(&figures.machine)?;
        if let Some(machine) = machine.as_object_mut() {
            machine.extend(self.facts.iter().cloned().collect::<Map<_, _>>());
        }
        let mut all = figures.figures.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
        for (name, unit, higher, values) in &self.details {
            let better = if *higher { "higher" } else { "lower" };
            all.push(json!({
                "name": name, "value": median(values), "unit": unit, "goal": null, "better": better, "met": null,
            }));
        }
        let report = json!({ "bench": self.bench, "machine": machine, "figures": all });
        let mut text = serde_json::to_string_pretty(&report)?;
        text.push('\n');
        Ok(text)
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = match self.figures() {
            Ok(figures) => self.write_table(&figures, &mut text),
            Err(error) => writeln!(text, "{error:#}"),
        };
        text
    }

    fn write_table(&self, figures: &Figures, text: &mut String) -> std::fmt::Result {
        let machine = &figures.machine;
        writeln!(text, "{}: {}, {} cores, Linux {}", self.bench, machine.cpu, machine.cores, machine.kernel)?;
        if !machine.optimised {
            writeln!(text, "This is a debug build: the figures mean little.")?;
        }
        for (name, value) in &self.facts {
            writeln!(text, "  {name}: {value}")?;
        }
        for Figure { name, value, unit, goal, better, met } in &figures.figures {
            let sign = if *better == crate::figures::Better::Lower { "≤" } else { "≥" };
            let verdict = if *met { "met" } else { "MISSED" };
            writeln!(
                text,
                "{name:<44} {:>14} {unit:<7} {sign} {:<10} {verdict}",
                short(*value),
                short(*goal)
            )?;
        }
        for (name, unit, _, values) in &self.details {
            writeln!(text, "{name:<44} {:>14} {unit}", short(median(values)))?;
        }
        Ok(())
    }
}

/// The middle value; of an even number the lower of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Four figures are more than a measurement holds.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_become_medians_and_figures_without_goals_say_so() {
        let mut report = Report::new("pipeline");
        for value in [9.0, 3.0, 4.0] {
            report.goal("batch_cpu_per_event", value);
            report.detail("batch_post_p50", "ms", value * 2.0);
        }
        report.fact("disk", json!("ext4"));
        let told: Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(told["figures"][0]["value"], 4.0);
        assert_eq!(told["figures"][0]["met"], false);
        assert_eq!(
            told["figures"][1],
            json!({"name":"batch_post_p50","value":8.0,"unit":"ms","goal":null,"better":"lower","met":null})
        );
        assert_eq!(told["machine"]["disk"], "ext4");
        assert!(report.table().contains("MISSED"));
    }

    #[test]
    fn every_goal_of_the_pipeline_is_measured_by_name() {
        let mut report = Report::new("pipeline");
        super::super::pipeline::GOALS.iter().for_each(|name| report.goal(name, 1.0));
        assert!(report.json().is_ok());
    }
}
