//! `throughline lists`: the lists of an ad platform, and work on one of them as a whole.

use super::{ask, print, say, token};
use crate::deliver::list_types::{ListWork, ListsShown};
use crate::http_client::{Client, Credential, Endpoint};
use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often it is asked whether the work has ended.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How often it is said how far the work is.
const SAY_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// Send what is missing, and take out what is too much.
    Differences,
    /// Send everything, whatever was acknowledged before.
    Again,
    /// Put everybody in place of whatever the list holds. Meta and Google only.
    Replace,
    /// Hold what is wanted against what was acknowledged, and send nothing.
    Verify,
}

#[derive(Debug, Args)]
pub(super) struct ListsArguments {
    /// The destination.
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// The audience whose list to work on; without it the lists are shown.
    #[arg(long, value_name = "NAME", requires = "how")]
    audience: Option<String>,
    /// What to do with the list. It ends with 1 where the list is not what it should be afterwards.
    #[arg(long, value_name = "HOW", requires = "audience")]
    how: Option<How>,
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

pub(super) fn run(arguments: &ListsArguments) -> anyhow::Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if arguments.destination.is_empty() || !arguments.destination.bytes().all(plain) {
        bail!("{:?} is no name of a destination", arguments.destination);
    }
    let credential = Credential::Bearer(token(arguments.token_file.as_deref())?);
    let mut client = Client::new(Endpoint::parse(&arguments.admin)?, &credential);
    let path = format!("/admin/v1/destinations/{}/lists", arguments.destination);
    let mut shown: ListsShown = match (&arguments.audience, arguments.how) {
        (Some(audience), Some(how)) => {
            let how = how.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
            let body = json!({ "audience": audience, "how": how }).to_string();
            ask(&mut client, "POST", &path, body.as_bytes())?
        }
        _ => ask(&mut client, "GET", &path, b"")?,
    };
    if arguments.how.is_some() {
        let mut said = Instant::now();
        while let Some(work) = shown.work.as_ref().filter(|work| work.ended_at.is_none()) {
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                say(&format!("… {} of about {} people looked at", work.looked_at, work.to_look_at));
            }
            std::thread::sleep(ASK_EVERY);
            shown = ask(&mut client, "GET", &path, b"")?;
        }
    }
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&shown)?))?;
    } else {
        print(&table(&shown))?;
    }
    match (arguments.how, &shown.work) {
        (Some(_), Some(ListWork { problem: Some(problem), .. })) => bail!("{problem}"),
        (Some(_), Some(ListWork { agrees: Some(false), .. })) => {
            bail!(
                "the list is not what it should be: look at what is not acknowledged, or work on it with differences"
            )
        }
        _ => Ok(()),
    }
}

fn table(shown: &ListsShown) -> String {
    let mut text = format!("{:<32} {:>12} {:>12} {:>16}\n", "audience", "people", "hashes", "unacknowledged");
    for list in &shown.lists {
        let _ = writeln!(
            text,
            "{:<32} {:>12} {:>12} {:>16}",
            list.audience, list.people, list.rows, list.unsettled
        );
    }
    let Some(work) = &shown.work else { return text };
    let ListWork { audience, how, began_at, ended_at, wanted, told, sent, agrees, verified, problem, .. } =
        work;
    let _ = write!(text, "\n{how} of {audience}, begun {began_at}: ");
    let _ = match (ended_at, problem, agrees) {
        (None, ..) => writeln!(text, "under way"),
        (_, Some(problem), _) => writeln!(text, "{problem}"),
        (_, None, agrees) => {
            let number = |count: &Option<u64>| count.unwrap_or(0);
            let is = match (agrees, verified) {
                (Some(true), Some(true)) => "acknowledged as a whole",
                (Some(true), _) => "said as a whole, not yet acknowledged",
                _ => "not as it should be",
            };
            let (wanted, told, sent) = (number(wanted), number(told), number(sent));
            writeln!(text, "{wanted} people wanted, {told} told, {sent} sent now; {is}")
        }
    };
    text
}
