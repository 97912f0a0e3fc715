//! `throughline backup`.

use super::{Settings, print};
use crate::backup::{Taken, Wishes, take};
use clap::Args;
use env::Env;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What `--megabytes-per-second` counts in.
const MEGABYTE: u64 = 1_000_000;

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The folder of backups; made if it is not there. Every backup becomes a folder in it, and takes only what is new.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Copy the master secret and the keyring too. Whoever has such a backup can read everything in it; without them
    /// nobody can, you included: keep a copy of both elsewhere.
    #[arg(long)]
    with_keys: bool,
    /// Of the log only what the checkpoints need. Such a backup restores the state, not the history: audiences that are
    /// defined later cannot look back behind it.
    #[arg(long)]
    recent: bool,
    /// How fast it may read, so that the server does not wait for the disk; 0 is no limit.
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    megabytes_per_second: u64,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &BackupArguments) -> anyhow::Result<()> {
    let config = arguments.settings.load()?;
    let wishes = Wishes {
        with_keys: arguments.with_keys,
        recent: arguments.recent,
        bytes_per_second: arguments.megabytes_per_second.saturating_mul(MEGABYTE),
    };
    let taken = take(&Env::real(), &config, &arguments.folder, wishes)?;
    print(&if arguments.json { json_of(&taken) } else { text_of(&taken) })
}

fn text_of(taken: &Taken) -> String {
    let (contents, figures) = (&taken.contents, &taken.figures);
    let mut text = format!(
        "{}\n  log          positions {} to {}\n  checkpoints  {}\n  written      {} files, {} bytes\n  shared       {} files, \
         {} bytes with the backup before\n  time         {:.1} s\n",
        taken.path.display(),
        contents.log_first,
        contents.log_next,
        places(contents.checkpoints.iter().map(|checkpoint| checkpoint.position)),
        figures.written_files,
        figures.written_bytes,
        figures.shared_files,
        figures.shared_bytes,
        taken.elapsed.as_secs_f64(),
    );
    let _ = match (contents.with_keys, contents.sealed) {
        (true, _) => writeln!(text, "It holds its keys: whoever has it can read everything."),
        (false, true) => {
            writeln!(text, "It holds no keys. To restore it you need master.secret and keyring.")
        }
        (false, false) => writeln!(text, "It holds no keys. To restore it you need master.secret."),
    };
    text
}

fn places(positions: impl Iterator<Item = u64>) -> String {
    let all: Vec<String> = positions.map(|position| position.to_string()).collect();
    if all.is_empty() { "none yet".to_owned() } else { format!("at {}", all.join(", ")) }
}

fn json_of(taken: &Taken) -> String {
    let (contents, figures) = (&taken.contents, &taken.figures);
    let all = json!({
        "path": taken.path,
        "log_first": contents.log_first,
        "log_next": contents.log_next,
        "checkpoints": contents.checkpoints,
        "with_keys": contents.with_keys,
        "sealed": contents.sealed,
        "files": contents.files.len(),
        "bytes": contents.bytes(),
        "written_files": figures.written_files,
        "written_bytes": figures.written_bytes,
        "shared_files": figures.shared_files,
        "shared_bytes": figures.shared_bytes,
        "elapsed_ms": u64::try_from(taken.elapsed.as_millis()).unwrap_or(u64::MAX),
    });
    format!("{all:#}\n")
}
