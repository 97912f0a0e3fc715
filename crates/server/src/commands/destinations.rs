//! `throughline destinations preview`: what a destination with templates would send, without sending it.

use super::{ask, print, token};
use crate::api::types::PreviewShown;
use crate::http_client::{Client, Credential, Endpoint};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The largest file of messages, in bytes.
const MESSAGES_BYTES_MAX: u64 = 8 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct DestinationsArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the request that a message would become. Nothing is sent.
    Preview(PreviewArguments),
}

#[derive(Debug, Args)]
struct PreviewArguments {
    /// The destination.
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// The kind of message to make one up for; without it the first that the destination gets.
    #[arg(long, value_name = "KIND", conflicts_with = "messages")]
    kind: Option<String>,
    /// A file with messages instead, one JSON object a line: lines of an NDJSON destination, bodies of dead letters.
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The admin listener of a running server.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7310")]
    admin: String,
    /// A file with a token that has the scope `admin`; without it the variable THROUGHLINE_TOKEN is read.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn run(arguments: &DestinationsArguments) -> anyhow::Result<()> {
    let What::Preview(arguments) = &arguments.what;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if arguments.destination.is_empty() || !arguments.destination.bytes().all(plain) {
        bail!("{:?} is no name of a destination", arguments.destination);
    }
    let messages = arguments.messages.as_deref().map(read).transpose()?;
    let body = json!({ "kind": arguments.kind, "messages": messages }).to_string();
    let credential = Credential::Bearer(token(arguments.token_file.as_deref())?);
    let mut client = Client::new(Endpoint::parse(&arguments.admin)?, &credential);
    let path = format!("/admin/v1/destinations/{}/preview", arguments.destination);
    let shown: PreviewShown = ask(&mut client, "POST", &path, body.as_bytes())?;
    if arguments.json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&shown)?));
    }
    let mut text = format!("{} {}\n", shown.method, shown.url);
    for (name, value) in &shown.headers {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    print(&format!("{text}\n{}\n", shown.body))
}

fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let failed = || format!("{} cannot be read", path.display());
    let length = std::fs::metadata(path).with_context(failed)?.len();
    if length > MESSAGES_BYTES_MAX {
        bail!("{} has {length} bytes, and {MESSAGES_BYTES_MAX} are the limit", path.display());
    }
    let text = std::fs::read_to_string(path).with_context(failed)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let message = |(at, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{} is no JSON", path.display(), at + 1))
    };
    lines.map(message).collect()
}
