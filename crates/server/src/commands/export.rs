//! `throughline export`: writes what a running server has as files that `throughline apply` reads.

use super::apply::ServerArguments;
use super::print;
use crate::definitions_files::{HEAD, toml_files, write};
use anyhow::{Context as _, bail};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The directory; made if it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write also where the directory holds .toml files that no export wrote; those of the same name are lost.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &ExportArguments) -> anyhow::Result<()> {
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let (own, foreign) = sorted(folder)?;
    if let (Some(first), false) = (foreign.first(), arguments.force) {
        bail!(
            "{} was not written by an export, and apply would read it together with one. Export to another directory, \
             or give --force",
            first.display()
        );
    }
    let present = arguments.server.open()?.read()?;
    let files = write(&present.items);
    for (name, text) in &files {
        put(folder, name, text)?;
    }
    // What an earlier export wrote and this one has nothing for.
    for path in own {
        let is_written = path.parent() == Some(folder)
            && path.file_name().and_then(|name| name.to_str()).is_some_and(|name| files.contains_key(name));
        if !is_written {
            fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
        }
    }
    let names: Vec<&str> = files.keys().copied().collect();
    print(&format!("{} definitions in {}: {}\n", present.items.len(), folder.display(), names.join(", ")))
}

/// The definition files of a directory: those that exports wrote, and others.
fn sorted(folder: &Path) -> anyhow::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let is_own = |path: &PathBuf| {
        let text = fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
        anyhow::Ok(text.starts_with(HEAD.as_bytes()))
    };
    let (mut own, mut foreign) = (Vec::new(), Vec::new());
    for path in toml_files(folder)? {
        if is_own(&path)? { own.push(path) } else { foreign.push(path) }
    }
    Ok((own, foreign))
}

/// Writes a file beside its place first, so that there is never a part of one.
fn put(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let (path, beside) = (folder.join(name), folder.join(format!(".{name}.new")));
    let context = || format!("{} cannot be written", path.display());
    fs::write(&beside, text).with_context(context)?;
    fs::rename(&beside, &path).with_context(context)
}
