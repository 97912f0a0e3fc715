//! `throughline attribution`: how channels share what paths of them sold.

use super::print;
use crate::line::paths;
use anyhow::Context as _;
use clap::Args;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct AttributionArguments {
    /// A CSV file with the columns path (channels with > between them), conversions and nulls.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &AttributionArguments) -> anyhow::Result<()> {
    let shown = arguments.file.display();
    let file = File::open(&arguments.file).with_context(|| format!("{shown} cannot be opened"))?;
    let read = paths::read(BufReader::new(file)).with_context(|| format!("{shown} cannot be counted"))?;
    print(&if arguments.json { read.json() } else { read.table() })
}
