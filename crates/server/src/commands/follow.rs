//! `throughline follow`.

use super::{print, say};
use crate::feed::{Feed, Follow, follow};
use crate::http_client::Endpoint;
use anyhow::Context as _;
use clap::Args;
use std::path::PathBuf;

/// The variable that names the token where no file does.
const TOKEN_VARIABLE: &str = "THROUGHLINE_TOKEN";
/// A longer file is no token.
const TOKEN_BYTES_MAX: u64 = 4_096;

#[derive(Debug, Args)]
pub(super) struct FollowArguments {
    /// The profile listener of a running server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7311")]
    url: String,
    /// A file with a token that has a feed scope; without it the variable THROUGHLINE_TOKEN is read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Kinds, separated by commas; without, all that the token shows.
    #[arg(long, value_name = "KIND,…")]
    kinds: Option<String>,
    /// Begin behind this cursor; `end` begins with what comes next. Without, at the oldest item that is kept.
    #[arg(long, value_name = "CURSOR", conflicts_with = "from_snapshot")]
    after: Option<String>,
    /// Begin with the state: who is suppressed, who is in which audience.
    #[arg(long)]
    from_snapshot: bool,
    /// Print the lines as they come, with their cursors.
    #[arg(long)]
    json: bool,
    /// End once everything that is there was printed.
    #[arg(long)]
    once: bool,
}

pub(super) fn run(arguments: &FollowArguments) -> anyhow::Result<()> {
    let endpoint = Endpoint::parse(&arguments.url)?;
    let feed = Feed::new(endpoint, token(arguments)?);
    let what = Follow {
        kinds: arguments.kinds.clone(),
        after: arguments.after.clone(),
        from_snapshot: arguments.from_snapshot,
        json: arguments.json,
        once: arguments.once,
    };
    follow(&feed, what, &mut print, &mut |line| say(&format!("throughline: {line}")))
}

fn token(arguments: &FollowArguments) -> anyhow::Result<String> {
    let token = match &arguments.token_file {
        Some(path) => {
            let shown = path.display();
            let bytes = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.len();
            anyhow::ensure!(bytes <= TOKEN_BYTES_MAX, "{shown} has {bytes} bytes: that is no token");
            std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?
        }
        None => std::env::var(TOKEN_VARIABLE)
            .with_context(|| format!("no token: name a file with --token-file, or set {TOKEN_VARIABLE}"))?,
    };
    Ok(token.trim().to_owned())
}
