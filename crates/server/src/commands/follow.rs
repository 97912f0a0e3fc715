//! `throughline follow`.

use super::{print, say, token};
use crate::feed::{Feed, Follow, follow};
use crate::http_client::Endpoint;
use clap::Args;
use std::path::PathBuf;

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
    let feed = Feed::new(endpoint, token(arguments.token_file.as_deref())?);
    let what = Follow {
        kinds: arguments.kinds.clone(),
        after: arguments.after.clone(),
        from_snapshot: arguments.from_snapshot,
        json: arguments.json,
        once: arguments.once,
    };
    follow(&feed, what, &mut print, &mut |line| say(&format!("throughline: {line}")))
}
