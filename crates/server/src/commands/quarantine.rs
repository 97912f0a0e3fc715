//! `throughline quarantine`: events that tracking plans keep out, listed, shown, mended, sent again or discarded.

use super::{ask, print, say, token};
use crate::http_client::{Client, Credential, Endpoint};
use crate::quarantine::types::{HeldDiscarded, HeldList, HeldResent, HeldSelection};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Events of one request.
const AT_ONCE: u32 = 500;
/// A longer file is no mapping.
const MAPPING_BYTES_MAX: u64 = 256 * 1024;

#[derive(Debug, Args)]
pub(super) struct QuarantineArguments {
    #[command(subcommand)]
    what: What,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// The admin listener of a running server.
    #[arg(long, global = true, value_name = "URL", default_value = "http://127.0.0.1:7310")]
    admin: String,
    /// A file with a token that has the scope `admin`; without it the variable THROUGHLINE_TOKEN is read.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show which events are there, and for which reasons.
    List {
        #[command(flatten)]
        filter: FilterArguments,
        /// How many events, the newest first.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Only events with a lower number: `next` of the list before.
        #[arg(long, value_name = "ID")]
        before: Option<u64>,
    },
    /// Show one event with what it says. It is noted who looked.
    Show {
        /// Its number.
        id: u64,
    },
    /// Mend events and send them again; what does not fit stays, with the new reason. Ends with 1 where something stayed.
    Resend {
        #[command(flatten)]
        selection: SelectionArguments,
        /// A file of steps, JSON; see docs/ingest.md.
        #[arg(long, value_name = "FILE")]
        mapping: Option<PathBuf>,
        /// Change nothing; show some events before and after, and how many would be sent.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take events out of quarantine without sending them.
    Discard {
        #[command(flatten)]
        selection: SelectionArguments,
    },
}

#[derive(Debug, Args)]
struct FilterArguments {
    /// Only events of the write key with this number.
    #[arg(long, value_name = "NUMBER")]
    write_key: Option<u32>,
    /// Only events of this name.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only events with this code, such as off_plan.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct SelectionArguments {
    /// Numbers of events, at most 1,000.
    #[arg(long = "id", value_name = "ID", num_args = 1.., value_delimiter = ',', conflicts_with_all = ["write_key", "event", "code", "all"])]
    ids: Vec<u64>,
    /// Only events of the write key with this number.
    #[arg(long, value_name = "NUMBER")]
    write_key: Option<u32>,
    /// Only events of this name.
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only events with this code, such as off_plan.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// All events.
    #[arg(long)]
    all: bool,
}

impl SelectionArguments {
    fn selection(&self) -> HeldSelection {
        let is_filter = self.ids.is_empty();
        HeldSelection {
            ids: (!is_filter).then(|| self.ids.clone()),
            write_key: self.write_key,
            event: self.event.clone(),
            code: self.code.clone(),
            limit: is_filter.then_some(AT_ONCE),
            ..HeldSelection::default()
        }
    }
}

pub(super) fn run(arguments: &QuarantineArguments) -> anyhow::Result<()> {
    let credential = Credential::Bearer(token(arguments.token_file.as_deref())?);
    let mut client = Client::new(Endpoint::parse(&arguments.admin)?, &credential);
    match &arguments.what {
        What::List { filter, limit, before } => {
            let path = list_path(filter, *limit, *before);
            let shown: HeldList = ask(&mut client, "GET", &path, b"")?;
            if arguments.json { print_json(&serde_json::to_value(&shown)?) } else { print(&table(&shown)) }
        }
        What::Show { id } => {
            let shown: Value = ask(&mut client, "GET", &format!("/admin/v1/quarantine/{id}"), b"")?;
            print_json(&shown)
        }
        What::Resend { selection, mapping, dry_run } => {
            let mapping = mapping.as_deref().map(read_mapping).transpose()?;
            let dry_run = dry_run.then_some(true);
            let first = HeldSelection { mapping, dry_run, ..selection.selection() };
            resend(&mut client, first, arguments.json)
        }
        What::Discard { selection } => discard(&mut client, selection.selection(), arguments.json),
    }
}

fn resend(client: &mut Client, mut selection: HeldSelection, json: bool) -> anyhow::Result<()> {
    let mut whole = HeldResent::default();
    loop {
        let body = serde_json::to_vec(&selection)?;
        let part: HeldResent = ask(client, "POST", "/admin/v1/quarantine/resend", &body)?;
        whole.sent += part.sent;
        whole.gone += part.gone;
        whole.stayed.extend(part.stayed);
        if whole.tried.is_none() {
            whole.tried = part.tried;
        }
        selection.after = part.next;
        if part.next.is_none() {
            break;
        }
        say(&format!("… {} and {} that stay", whole.sent, whole.stayed.len()));
    }
    let stayed = whole.stayed.len();
    if json {
        print_json(&serde_json::to_value(&whole)?)?;
    } else {
        let mut text = String::new();
        for tried in whole.tried.iter().flatten() {
            let none = Value::Null;
            let (before, after) =
                (tried.before.as_ref().unwrap_or(&none), tried.after.as_ref().unwrap_or(&none));
            let fits = if tried.fits { "fits" } else { "does not fit" };
            let _ = writeln!(
                text,
                "{} {fits}\n  - {} {before}\n  + {} {after}",
                tried.id, tried.event, tried.event_after
            );
        }
        for stays in &whole.stayed {
            let _ = writeln!(text, "{} stays: {} ({})", stays.id, stays.reason, stays.code);
        }
        let would = if selection.dry_run == Some(true) { "would be sent" } else { "sent" };
        let _ = writeln!(text, "{} {would}, {stayed} stay, {} are gone", whole.sent, whole.gone);
        print(&text)?;
    }
    if stayed > 0 {
        bail!("{stayed} events do not fit: mend them with a mapping, or change the plan");
    }
    Ok(())
}

fn discard(client: &mut Client, mut selection: HeldSelection, json: bool) -> anyhow::Result<()> {
    let mut discarded = 0;
    loop {
        let body = serde_json::to_vec(&selection)?;
        let part: HeldDiscarded = ask(client, "POST", "/admin/v1/quarantine/discard", &body)?;
        discarded += part.discarded;
        selection.after = part.next;
        if part.next.is_none() {
            break;
        }
        say(&format!("… {discarded} discarded"));
    }
    if json {
        print_json(&serde_json::json!({ "discarded": discarded }))
    } else {
        print(&format!("{discarded} discarded\n"))
    }
}

fn read_mapping(path: &Path) -> anyhow::Result<Value> {
    let shown = path.display();
    let bytes = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.len();
    anyhow::ensure!(bytes <= MAPPING_BYTES_MAX, "{shown} has {bytes} bytes: that is no mapping");
    let text = std::fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    serde_json::from_slice(&text).with_context(|| format!("{shown} is no JSON"))
}

fn list_path(filter: &FilterArguments, limit: u32, before: Option<u64>) -> String {
    let mut path = format!("/admin/v1/quarantine?limit={limit}");
    if let Some(before) = before {
        let _ = write!(path, "&before={before}");
    }
    if let Some(number) = filter.write_key {
        let _ = write!(path, "&write_key={number}");
    }
    for (name, value) in [("event", &filter.event), ("code", &filter.code)] {
        if let Some(value) = value {
            let _ = write!(path, "&{name}=");
            value.bytes().for_each(|byte| {
                let _ = write!(path, "%{byte:02X}");
            });
        }
    }
    path
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn table(shown: &HeldList) -> String {
    let mut text = format!("{:>10} {:<32} reason\n", "events", "event");
    for reason in &shown.reasons {
        let _ =
            writeln!(text, "{:>10} {:<32} {} ({})", reason.events, reason.event, reason.reason, reason.code);
    }
    let _ = writeln!(text, "\n{:>10} {:<24} {:>9} event", "id", "received", "write key");
    for one in &shown.quarantined {
        let _ = writeln!(text, "{:>10} {:<24} {:>9} {}", one.id, one.received_at, one.write_key, one.event);
    }
    let HeldList { held, resent, discarded, dropped, erased, .. } = shown;
    let _ = writeln!(
        text,
        "\n{held} in quarantine; before: {resent} sent again, {discarded} discarded, {dropped} too many or too old, {erased} erased"
    );
    text
}
