//! `throughline config check|docs`.

use super::{Settings, print};
use crate::config::{keys, markdown};
use clap::{Args, Subcommand};
use std::fmt::Write as _;

#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read everything and show what holds.
    Check {
        #[command(flatten)]
        settings: Settings,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Describe every key, in Markdown.
    Docs,
}

pub(super) fn run(arguments: &ConfigArguments) -> anyhow::Result<()> {
    let (settings, json) = match &arguments.action {
        Action::Docs => return print(&markdown()),
        Action::Check { settings, json } => (settings, *json),
    };
    let config = settings.load()?;
    if json {
        let all: serde_json::Map<String, serde_json::Value> =
            keys().iter().map(|key| (key.path(), (key.show)(&config).into())).collect();
        return print(&format!("{:#}\n", serde_json::Value::Object(all)));
    }
    let mut text = String::new();
    for key in keys() {
        let value = (key.show)(&config);
        let note = if value == key.default_text() { "" } else { "  (set)" };
        let _ = writeln!(text, "{} = {value}{note}", key.path());
    }
    print(&text)
}
