//! What happens between slices, when every answer is there and log time stands still: audiences are defined and looked
//! at, and at the end of every week of the year it is written down who is in which.

use super::Stage;
use super::audiences::{AUDIENCES, Audiences, Shown};
use super::line;
use super::listener::Listener;
use super::people::People;
use super::retail::Retail;
use super::slices::Slice;
use super::story::Door;
use crate::calendar::DAY_US;
use crate::http_client::{Client, Credential, Endpoint, Request, RetryPolicy};
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

const WEEK_US: i64 = 7 * DAY_US;

/// Holds the audiences, and the record if there is to be one.
pub(super) struct Between {
    pub(super) audiences: Audiences,
    record: Option<Record>,
    /// From then on the late audiences are there.
    middle_us: i64,
    is_past_middle: bool,
}

impl Between {
    /// Defines the audiences that are there from the beginning.
    pub(super) fn new(
        retail: &Retail,
        stage: &dyn Stage,
        record: Option<&Path>,
        listener: &Listener,
    ) -> Result<Self> {
        let mut audiences = Audiences::new(stage)?;
        audiences.begin()?;
        line::begin(stage, listener)?;
        let at_us = |basket: Option<&super::retail::Basket>| basket.map_or(0, |basket| basket.at_us);
        let (first_us, last_us) = (at_us(retail.baskets.first()), at_us(retail.baskets.last()));
        let record = record.map(|folder| Record::create(folder, retail, stage)).transpose()?;
        Ok(Self { audiences, record, middle_us: first_us + (last_us - first_us) / 2, is_past_middle: false })
    }

    /// This slice is about to be sent.
    pub(super) fn before(&mut self, slice: &Slice) -> Result<()> {
        self.record.as_mut().map_or(Ok(()), |record| record.slice(slice))
    }

    /// All up to `log_time_us` has been answered; the next slice has that log time, or there is none.
    pub(super) fn after(&mut self, people: &People, log_time_us: i64, next_us: Option<i64>) -> Result<()> {
        self.audiences.look(log_time_us)?;
        if next_us.is_none() {
            self.audiences.settle(log_time_us)?;
        }
        let is_week_over =
            next_us.is_none_or(|next| next.div_euclid(WEEK_US) != log_time_us.div_euclid(WEEK_US));
        if is_week_over && let Some(record) = &mut self.record {
            let shown = self.audiences.shown()?;
            record.week(people, log_time_us, &shown)?;
        }
        // Behind the week's end, so that what is being found has a whole week for it.
        if !self.is_past_middle && log_time_us >= self.middle_us {
            self.is_past_middle = true;
            self.audiences.surprise(log_time_us)?;
        }
        if next_us.is_none()
            && let Some(record) = self.record.take()
        {
            record.finish(&self.audiences)?;
        }
        Ok(())
    }
}

/// The files of a record, one JSON object a line. `docs/demo.md` says what is in them.
struct Record {
    folder: PathBuf,
    requests: BufWriter<File>,
    members: BufWriter<File>,
    tallies: BufWriter<File>,
    profiles: Client,
    line: line::Reader,
}

#[derive(Debug, Default, Deserialize)]
struct Profile {
    #[serde(default)]
    audiences: Vec<String>,
}

impl Record {
    fn create(folder: &Path, retail: &Retail, stage: &dyn Stage) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let endpoint = Endpoint::parse(&format!("http://{}", stage.profiles()))?;
        Ok(Self {
            folder: folder.to_owned(),
            requests: file(folder, "requests.ndjson")?,
            members: file(folder, "members.ndjson")?,
            tallies: file(folder, "tallies.ndjson")?,
            profiles: Client::new(endpoint, &Credential::Bearer(stage.profile_token().to_owned())),
            line: line::Reader::new(retail, stage)?,
        })
    }

    /// Writes what is sent: of people who share a device, in the order in which the server gets it.
    fn slice(&mut self, slice: &Slice) -> Result<()> {
        for batch in slice.lanes.iter().flatten() {
            let door = if batch.door == Door::Server { "server" } else { "browser" };
            let time_us = slice.log_time_us;
            write!(self.requests, r#"{{"log_time_us":{time_us},"door":"{door}","sent":"#)?;
            self.requests.write_all(&batch.body)?;
            self.requests.write_all(b"}\n")?;
        }
        Ok(())
    }

    fn week(&mut self, people: &People, log_time_us: i64, shown: &[Shown]) -> Result<()> {
        for one in shown {
            let line = json!({
                "log_time_us": log_time_us, "audience": one.name, "members": one.members, "entries": one.entries,
                "exits": one.exits, "found": one.is_found(),
            });
            writeln!(self.tallies, "{line}")?;
        }
        for household in &people.households {
            self.person(log_time_us, "user_id", &household.id.to_string())?;
        }
        for anonymous_id in people.unknown_devices(log_time_us) {
            self.person(log_time_us, "anonymous_id", anonymous_id)?;
        }
        Ok(())
    }

    fn person(&mut self, log_time_us: i64, kind: &str, value: &str) -> Result<()> {
        let body = json!({"identifier": {"type": kind, "value": value}}).to_string();
        let request =
            Request { method: "POST", path: "/v1/profiles/lookup", headers: &[], body: body.as_bytes() };
        let response = RetryPolicy::default().send(&mut self.profiles, request, &mut |_, _| {})?;
        let profile: Profile = match response.status {
            200 => serde_json::from_slice(&response.body)
                .context("/v1/profiles/lookup answered something else than a profile")?,
            // Nothing of theirs was sent yet.
            404 => return Ok(()),
            other => bail!("/v1/profiles/lookup answered {other}: {}", response.quote()),
        };
        let line =
            json!({"log_time_us": log_time_us, "type": kind, "value": value, "audiences": profile.audiences});
        writeln!(self.members, "{line}")?;
        Ok(())
    }

    /// Writes which audiences there were, and since when, and what the line says of the year.
    fn finish(mut self, audiences: &Audiences) -> Result<()> {
        let mut definitions = file(&self.folder, "definitions.ndjson")?;
        for planned in &AUDIENCES {
            let late = audiences.late.iter().find(|one| one.name == planned.name);
            let line = json!({
                "audience": planned.name, "rule": planned.rule, "twin": planned.twin,
                "defined_at_us": late.map(|one| one.defined_at_us),
                "found_at_us": late.and_then(|one| one.found).map(|(at_us, _)| at_us),
            });
            writeln!(definitions, "{line}")?;
        }
        let mut answers = file(&self.folder, "line.ndjson")?;
        for by in ["campaign", "day"] {
            write!(answers, r#"{{"by":"{by}","answer":"#)?;
            answers.write_all(self.line.answer(by)?.trim_ascii())?;
            answers.write_all(b"}\n")?;
        }
        for mut written in [definitions, answers, self.requests, self.members, self.tallies] {
            written.flush()?;
        }
        Ok(())
    }
}

fn file(folder: &Path, name: &str) -> Result<BufWriter<File>> {
    let path = folder.join(name);
    let file = File::create(&path).with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(BufWriter::with_capacity(1024 * 1024, file))
}
