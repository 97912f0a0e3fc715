//! `throughline replay --verify`.

use super::{Settings, print};
use crate::serve::{DataDirectory, verify_directory};
use clap::Args;
use engine::verify::Stretch;
use serde_json::{Value, json};
use std::fmt::Write as _;

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    #[command(flatten)]
    settings: Settings,
    /// Compare with what every kept checkpoint recorded. This is all that replay does for now.
    #[arg(long, required = true)]
    verify: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &ReplayArguments) -> anyhow::Result<()> {
    let config = arguments.settings.load()?;
    let directory = DataDirectory::at(&config.data);
    if !directory.holds_data() {
        anyhow::bail!("{} holds no log: name a data directory with --data", directory.path().display());
    }
    let stretches = verify_directory(&config)?;
    print(&if arguments.json { json_of(&stretches) } else { text_of(&stretches) })?;
    let differing = stretches.iter().filter(|stretch| !stretch.is_exact()).count();
    if differing > 0 {
        anyhow::bail!(
            "{differing} of {} stretches came out differently: keep this directory and report it",
            stretches.len()
        );
    }
    if stretches.is_empty() {
        anyhow::bail!(
            "there is nothing to compare: no two checkpoints are kept; run the server a little longer"
        );
    }
    Ok(())
}

fn text_of(stretches: &[Stretch]) -> String {
    let mut text = String::new();
    for stretch in stretches {
        let verdict = if stretch.is_exact() { "exact" } else { "DIFFERENT" };
        let _ = writeln!(
            text,
            "positions {} to {}: {} records, {} effects so far, state {:032x}: {verdict}",
            stretch.from, stretch.to, stretch.records, stretch.effects, stretch.state.1,
        );
    }
    text
}

fn json_of(stretches: &[Stretch]) -> String {
    let all: Vec<Value> = stretches
        .iter()
        .map(|stretch| {
            json!({
                "from": stretch.from.0,
                "to": stretch.to.0,
                "records": stretch.records,
                "effects": stretch.effects,
                "state_recorded": format!("{:032x}", stretch.state.0),
                "state_replayed": format!("{:032x}", stretch.state.1),
                "effects_recorded": format!("{:032x}", stretch.effect_chain.0),
                "effects_replayed": format!("{:032x}", stretch.effect_chain.1),
                "exact": stretch.is_exact(),
            })
        })
        .collect();
    let exact = !stretches.is_empty() && stretches.iter().all(Stretch::is_exact);
    format!("{:#}\n", json!({ "exact": exact, "stretches": all }))
}
