//! `throughline log inspect|verify`.

use super::{Settings, print, say};
use crate::calendar::iso;
use crate::serve::DataDirectory;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use engine::recovery::STATE_FOLDER;
use env::Env;
use eventlog::{Damage, LogSummary, VerifyReport};
use model::id::Position;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use store::{LocalObjects, Store};

#[derive(Debug, Args)]
pub(super) struct LogArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say what each segment holds.
    Inspect(Common),
    /// Read everything and check every checksum, chain and seal.
    Verify(Common),
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    settings: Settings,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &LogArguments) -> anyhow::Result<()> {
    let (common, deep) = match &arguments.action {
        Action::Inspect(common) => (common, false),
        Action::Verify(common) => (common, true),
    };
    let config = common.settings.load()?;
    let directory = DataDirectory::at(&config.data);
    let env = Env::real();
    if !directory.holds_data() {
        anyhow::bail!("{} holds no log: name a data directory with --data", directory.path().display());
    }
    let keyring = directory.keyring(&env)?;
    let report = if deep {
        eventlog::verify(&env, directory.path(), keyring.as_ref())?
    } else {
        let summary = eventlog::inspect(&env, directory.path(), keyring.as_ref())?;
        VerifyReport { summary, ..VerifyReport::default() }
    };
    let checkpoint = if deep { newest_checkpoint(&env, directory.path()) } else { Ok(None) };
    let position = checkpoint.as_ref().ok().copied().flatten();
    print(&if common.json { json_of(&report, deep, position) } else { text_of(&report, deep) })?;
    if deep && report.summary.first > Position(0) {
        say(&format!(
            "warning: the log begins at position {}, not at 0: state cannot be rebuilt from it alone; keep backups of \
             the checkpoints too",
            report.summary.first
        ));
    }
    match report.damage {
        None => hold_against(&report.summary, checkpoint?),
        Some(damage) => {
            anyhow::bail!("the log is damaged: {}; restore it from its replica or backup", place(&damage))
        }
    }
}

/// Where the newest checkpoint stands: the log reached as far once.
fn newest_checkpoint(env: &Env, directory: &Path) -> anyhow::Result<Option<Position>> {
    let state = directory.join(STATE_FOLDER);
    if !state.exists() {
        return Ok(None);
    }
    let kept = Store::kept(&LocalObjects::view(env, &state)).with_context(|| {
        format!("the log cannot be held against the checkpoints in {}: they cannot be read", state.display())
    })?;
    Ok(kept.iter().map(|manifest| manifest.position).max())
}

/// Whole segments that are gone leave no damage behind; the checkpoint knows that they were there.
fn hold_against(log: &LogSummary, checkpoint: Option<Position>) -> anyhow::Result<()> {
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    if checkpoint > log.next {
        anyhow::bail!(
            "the newest checkpoint stands at position {checkpoint}, but the log ends at position {}: its end was \
             deleted or cut off; restore it from its replica or backup",
            log.next
        );
    }
    if checkpoint < log.first {
        anyhow::bail!(
            "the newest checkpoint stands at position {checkpoint}, but the log begins at position {}: what lies \
             between is missing; restore it from its replica or backup",
            log.first
        );
    }
    Ok(())
}

fn text_of(report: &VerifyReport, deep: bool) -> String {
    let LogSummary { segments, first, next, spares } = &report.summary;
    let mut text = String::new();
    for segment in segments {
        let state = if segment.sealed { "sealed" } else { "open" };
        let _ = writeln!(
            text,
            "{}  {state}  positions {} to {}  {} bytes  {} .. {}",
            segment.path.display(),
            segment.first,
            segment.next,
            segment.file_bytes,
            iso(segment.first_at.0),
            iso(segment.last_at.0),
        );
    }
    let _ = writeln!(text, "{} segments, {spares} spare; positions {first} to {next}", segments.len());
    if deep {
        let _ = writeln!(text, "{} records read, {} bytes of them", report.records, report.body_bytes);
        if let Some(torn) = &report.torn {
            let _ = writeln!(text, "unfinished at the end (nobody was told about it): {}", place(torn));
        }
        if report.damage.is_none() {
            let _ = writeln!(text, "no damage");
        }
    }
    text
}

fn json_of(report: &VerifyReport, deep: bool, checkpoint: Option<Position>) -> String {
    let segments: Vec<Value> = report
        .summary
        .segments
        .iter()
        .map(|segment| {
            json!({
                "path": segment.path,
                "sealed": segment.sealed,
                "first": segment.first.0,
                "next": segment.next.0,
                "file_bytes": segment.file_bytes,
                "body_bytes": segment.body_bytes,
                "first_at": iso(segment.first_at.0),
                "last_at": iso(segment.last_at.0),
            })
        })
        .collect();
    let mut out = json!({
        "first": report.summary.first.0,
        "next": report.summary.next.0,
        "spares": report.summary.spares,
        "segments": segments,
    });
    if let (true, Some(map)) = (deep, out.as_object_mut()) {
        map.insert("records".to_owned(), report.records.into());
        map.insert("body_bytes".to_owned(), report.body_bytes.into());
        map.insert("checkpoint".to_owned(), checkpoint.map(|position| position.0).into());
        map.insert("torn".to_owned(), report.torn.as_ref().map(place).into());
        map.insert("damage".to_owned(), report.damage.as_ref().map(place).into());
    }
    format!("{out:#}\n")
}

fn place(damage: &Damage) -> String {
    format!("{} at byte {}: {}", damage.segment.display(), damage.offset, damage.what)
}
