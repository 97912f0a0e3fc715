//! `throughline keys init|rotate`: the keyring that seals the log and the checkpoints at rest.

use super::{Settings, print};
use crate::serve::DataDirectory;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use env::Env;
use eventlog::keyring;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

#[derive(Debug, Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a keyring. Data written from the next start on is sealed with its key.
    Init(Settings),
    /// Add a key and seal with it from the next start on. Old keys stay: old data is sealed with them.
    Rotate(Settings),
}

pub(super) fn run(arguments: &KeysArguments) -> anyhow::Result<()> {
    let (settings, fresh) = match &arguments.action {
        Action::Init(settings) => (settings, true),
        Action::Rotate(settings) => (settings, false),
    };
    let config = settings.load()?;
    let directory = DataDirectory::at(&config.data);
    let path = directory.keyring_path();
    let env = Env::real();
    let keys = if fresh {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .with_context(|| format!("cannot create {}: check the path", folder.display()))?;
        }
        keyring::create(&env, path)?
    } else {
        if !path.exists() {
            anyhow::bail!("there is no keyring at {}: make one with `throughline keys init`", path.display());
        }
        keyring::rotate(&env, path)?
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot restrict {} to its owner: run chmod 600 on it", path.display()))?;
    print(&format!(
        "{}: key {} seals from the next start on ({} in all). Keep a copy elsewhere: without it the data is lost.\n",
        path.display(),
        keys.active,
        keys.keys.len()
    ))
}
