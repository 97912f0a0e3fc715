//! Where the repository is, which files it has, and what cargo says about it.

use anyhow::{Context, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A text file larger than this is data, and no check reads it.
const TEXT_BYTES_MAX: u64 = 4 << 20;
/// More files than this means that the walk has left the sources.
const FILES_MAX: usize = 20_000;
/// Folders that hold what was built, installed or recorded. A folder whose name starts with a dot is skipped as well.
const SKIPPED_FOLDERS: &[&str] = &["target", "node_modules", "__pycache__", "data"];
/// Folders with a leading dot that are sources all the same.
const DOT_FOLDERS: &[&str] = &[".ci", ".cargo", ".config", ".github"];

/// A text file of the repository.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    /// From the root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// What follows the last dot of the name, or nothing.
    pub(crate) fn extension(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

/// The root of the workspace: the folder above `crates/xtask`.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(2).context("crates/xtask has no workspace above it")?;
    Ok(root.to_path_buf())
}

/// Every text file of the repository, sorted by path.
pub(crate) fn text_files() -> anyhow::Result<Vec<TextFile>> {
    let root = root()?;
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries =
            std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type()?;
            if kind.is_dir() && is_source_folder(&name) {
                folders.push(entry.path());
            }
            if kind.is_file() && entry.metadata()?.len() <= TEXT_BYTES_MAX {
                files.extend(read_text(&root, &entry.path())?);
            }
            if files.len() > FILES_MAX {
                bail!("more than {FILES_MAX} files: add the folder that holds them to SKIPPED_FOLDERS");
            }
        }
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(files)
}

/// What `cargo metadata` says, for the platform we ship on.
pub(crate) fn metadata() -> anyhow::Result<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments =
        ["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output =
        Command::new(cargo).args(arguments).current_dir(root()?).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata did not print JSON")
}

/// A text field of a JSON object, or the empty string.
pub(crate) fn text_of<'value>(value: &'value Value, field: &str) -> &'value str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// An array field of a JSON object, or nothing.
pub(crate) fn items_of<'value>(value: &'value Value, field: &str) -> &'value [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The packages of `cargo metadata` that are ours.
pub(crate) fn own_packages(metadata: &Value) -> Vec<&Value> {
    let members = items_of(metadata, "workspace_members");
    items_of(metadata, "packages")
        .iter()
        .filter(|package| package.get("id").is_some_and(|id| members.contains(id)))
        .collect()
}

fn is_source_folder(name: &str) -> bool {
    !SKIPPED_FOLDERS.contains(&name) && (!name.starts_with('.') || DOT_FOLDERS.contains(&name))
}

/// Binary files and files that went away while we looked are not text; neither is an error.
fn read_text(root: &Path, path: &Path) -> anyhow::Result<Option<TextFile>> {
    let Ok(bytes) = std::fs::read(path) else { return Ok(None) };
    let Ok(text) = String::from_utf8(bytes) else { return Ok(None) };
    let relative = path.strip_prefix(root).context("a file outside the root")?;
    Ok(Some(TextFile::new(relative.to_string_lossy().replace('\\', "/"), text)))
}
