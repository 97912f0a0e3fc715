//! `throughline apply`: makes a running server have what the files of a directory say.

use super::{Differences, print, token};
use crate::definitions_files::{
    Carried, Plan, Server, carry_out, check, plan, read_folder, wait_until_found,
};
use crate::terminal::Terminal;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ApplyArguments {
    /// The directory: every file below it that ends with .toml is read.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Show what is different and change nothing; ends with 2 where something is, with 0 where nothing is.
    #[arg(long)]
    dry_run: bool,
    /// Remove what the server has and the files do not. Settings are left alone.
    #[arg(long)]
    prune: bool,
    /// Return only once every audience is found for everybody who was there before.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Print what is different, and what became of it, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Which server, and who asks.
#[derive(Debug, Args)]
pub(super) struct ServerArguments {
    /// The admin listener of a running server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7310")]
    admin: String,
    /// A file with a token that has the scope `admin`; without it the variable THROUGHLINE_TOKEN is read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl ServerArguments {
    pub(super) fn open(&self) -> anyhow::Result<Server> {
        Server::new(&self.admin, token(self.token_file.as_deref())?)
    }
}

pub(super) fn run(arguments: &ApplyArguments) -> anyhow::Result<()> {
    let items = read_folder(&arguments.folder)?;
    check(&items)?;
    let mut server = arguments.server.open()?;
    let plan = plan(&items, &server.read()?, arguments.prune)?;
    if !arguments.json {
        print(&described(&plan))?;
    }
    let terminal = Terminal::stderr();
    let carried = if arguments.dry_run {
        Carried { made: 0, stopped: None }
    } else {
        carry_out(&plan, &mut server, &terminal)
    };
    let pending = if arguments.dry_run || carried.stopped.is_some() {
        0
    } else if arguments.wait {
        wait_until_found(&mut server, &terminal)?;
        0
    } else {
        server.finding()?.audiences.len()
    };
    if arguments.json {
        print(&format!("{:#}\n", summary(arguments, &plan, &carried, pending)))?;
    } else {
        print(&verdict(arguments, &plan, &carried, pending))?;
    }
    if let Some(error) = carried.stopped {
        let left = plan.steps.len() - carried.made;
        return Err(error.context(format!("{} changes were made, {left} were not", carried.made)));
    }
    if arguments.dry_run && !plan.steps.is_empty() {
        return Err(Differences(plan.steps.len()).into());
    }
    Ok(())
}

/// The differences, for people.
fn described(plan: &Plan) -> String {
    let mut text: String = plan.steps.iter().map(ToString::to_string).collect();
    for (kind, name) in &plan.not_in_files {
        text.push_str(&format!(
            "- {:<13} {name}   (not in files; stays, unless --prune is given)\n",
            kind.title()
        ));
    }
    text
}

fn verdict(arguments: &ApplyArguments, plan: &Plan, carried: &Carried, pending: usize) -> String {
    let (added, changed, removed) = plan.counts();
    let mut text = match (plan.steps.len(), arguments.dry_run) {
        (0, _) => format!("Nothing to do: the server has the {} definitions of the files.\n", plan.wanted),
        (_, true) => format!("To add: {added}, to change: {changed}, to remove: {removed}.\n"),
        (_, false) if carried.stopped.is_some() => String::new(),
        (_, false) => format!("Added: {added}, changed: {changed}, removed: {removed}.\n"),
    };
    if pending > 0 {
        text.push_str(&format!(
            "{pending} audiences are being found for everybody in the background; --wait waits for it.\n"
        ));
    }
    text
}

fn summary(arguments: &ApplyArguments, plan: &Plan, carried: &Carried, pending: usize) -> serde_json::Value {
    let not_in_files: Vec<_> =
        plan.not_in_files.iter().map(|(kind, name)| json!({ "kind": kind.title(), "name": name })).collect();
    json!({
        "dry_run": arguments.dry_run,
        "differences": plan.steps.iter().map(|step| step.json()).collect::<Vec<_>>(),
        "not_in_files": not_in_files,
        "made": carried.made,
        "being_found": pending,
    })
}
