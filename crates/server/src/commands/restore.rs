//! `throughline restore`.

use super::print;
use crate::backup::restore;
use clap::Args;
use env::Env;
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// A folder of backups, of which the newest is taken, or one backup in it.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The data directory to make: new, or empty.
    #[arg(long, value_name = "DATA")]
    to: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &RestoreArguments) -> anyhow::Result<()> {
    let to = &arguments.to;
    let restored = restore(&Env::real(), &arguments.folder, to)?;
    let contents = &restored.contents;
    if arguments.json {
        let all = json!({
            "backup": restored.backup,
            "data": to,
            "made_at": contents.made_at,
            "log_first": contents.log_first,
            "log_next": contents.log_next,
            "checkpoints": contents.checkpoints,
            "with_keys": contents.with_keys,
            "sealed": contents.sealed,
            "files": contents.files.len(),
            "bytes": contents.bytes(),
        });
        return print(&format!("{all:#}\n"));
    }
    let shown = to.display();
    let mut text = format!(
        "{shown}, from {} of {}: {} files, {} bytes, every digest as it was. The log ends at position {}.\n",
        restored.backup.display(),
        contents.made_at,
        contents.files.len(),
        contents.bytes(),
        contents.log_next,
    );
    if !contents.with_keys {
        let _ =
            writeln!(text, "Before the first start: put your copy of master.secret into {shown}, mode 600.");
        if contents.sealed {
            let _ = writeln!(text, "The data is sealed: put your copy of keyring there too, mode 600.");
        }
    }
    let _ = writeln!(
        text,
        "What happened after position {} is not in it: erase again who was erased since.",
        contents.log_next
    );
    print(&text)
}
