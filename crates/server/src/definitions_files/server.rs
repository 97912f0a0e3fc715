//! A running server, through its admin API.

use super::kinds::{Form, KINDS, Kind, values_of};
use super::plan::{Present, Step};
use super::read::Item;
use crate::http_client::{Client, Credential, Endpoint, Request, Response, RetryPolicy};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;
use thiserror::Error;

/// How often a change is sent where the server is busy or away: within some six seconds.
const POLICY: RetryPolicy =
    RetryPolicy { attempts_max: 6, first_wait: Duration::from_millis(200), wait_max: Duration::from_secs(5) };
/// What the server says of a definition that cannot be changed yet.
const STILL_FINDING: &str = "still being found for everybody";

/// Why a change was not made.
#[derive(Debug, Error)]
pub(crate) enum NotMade {
    /// Somebody else was faster.
    #[error(
        "{what} was changed on the server since it was read, so nothing is written over it. \
         Look at the differences with --dry-run, then apply again"
    )]
    ChangedMeanwhile {
        /// What.
        what: String,
    },
    /// It is being found for everybody: later it can be changed.
    #[error("{what} is {STILL_FINDING}")]
    StillFinding {
        /// What.
        what: String,
    },
    /// The server says no.
    #[error("the server refused {what}: {why}")]
    Refused {
        /// What.
        what: String,
        /// What it said.
        why: String,
    },
    /// Nobody knows whether it was made: applying again finds out.
    #[error("{what}: {source:#}")]
    Unknown {
        /// What.
        what: String,
        /// Why there is no answer.
        source: anyhow::Error,
    },
}

/// Finding definitions for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Audiences that are not found for everybody yet, and how many percent of the people were gone through.
    pub(crate) audiences: Vec<(String, u64)>,
    /// Everything that says whether it goes on.
    pub(crate) progress: String,
    /// What stopped it, if something did.
    pub(crate) problem: Option<String>,
    /// Definitions that wait, features included.
    pub(crate) pending: u64,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    client: Client,
    url: String,
}

impl Server {
    pub(crate) fn new(url: &str, token: String) -> Result<Self> {
        let client = Client::new(Endpoint::parse(url)?, &Credential::Bearer(token));
        Ok(Self { client, url: url.to_owned() })
    }

    /// Everything that it has.
    pub(crate) fn read(&mut self) -> Result<Present> {
        let status = self.get("/admin/v1/status")?;
        let position = status.get("applied_next").and_then(Value::as_u64).unwrap_or(0);
        let mut present = Present { position, ..Present::default() };
        for kind in KINDS {
            for (item, version) in self.list(kind)? {
                if let Some(version) = version {
                    present.versions.insert((kind.word, item.name.clone()), version);
                }
                present.items.push(item);
            }
        }
        Ok(present)
    }

    /// What it has of one kind, with versions where there are some.
    fn list(&mut self, kind: &'static Kind) -> Result<Vec<(Item, Option<u64>)>> {
        let answer = self.get(kind.path)?;
        let item = |answer: &Value, name: &str| {
            let version = answer.get("version").and_then(Value::as_u64).filter(|_| kind.has_versions);
            let values = values_of(kind.fields, answer);
            (Item { kind, name: name.to_owned(), values, origin: None }, version)
        };
        if kind.form == Form::Settings {
            return Ok(vec![item(&answer, "")]);
        }
        let list = answer.get(kind.member).and_then(Value::as_array);
        let list = list.with_context(|| format!("{} lists no {}", kind.path, kind.member))?;
        let name = |one: &Value| one.get("name").and_then(Value::as_str).map(str::to_owned);
        Ok(list.iter().filter_map(|one| Some(item(one, &name(one)?))).collect())
    }

    /// Makes one change. With the same `key` it is made once, however often it is sent.
    pub(crate) fn make(&mut self, step: &Step, key: &str) -> Result<(), NotMade> {
        // Where the API takes no version along, looking again just before comes close to it.
        if step.version.is_none() || step.after.is_none() {
            self.confirm(step)?;
        }
        let path = match step.kind.form {
            Form::Named => format!("{}/{}", step.kind.path, encoded(&step.name)),
            Form::Settings => step.kind.path.to_owned(),
        };
        let body = step.after.as_ref().map(|after| {
            let mut body = json!(after);
            if let (Some(version), Some(members)) = (step.version, body.as_object_mut()) {
                members.insert("version".to_owned(), Value::from(version));
            }
            body.to_string()
        });
        let mut headers = vec![("Idempotency-Key", key.to_owned())];
        if let Some(body) = &body {
            headers.push(("Content-Type", "application/json".to_owned()));
            headers.push(("Content-Length", body.len().to_string()));
        }
        let method = if body.is_some() { "PUT" } else { "DELETE" };
        let body = body.unwrap_or_default();
        let request = Request { method, path: &path, headers: &headers, body: body.as_bytes() };
        match POLICY.send(&mut self.client, request, &mut |_, _| {}) {
            Ok(response) => judge(step, &response),
            Err(error) => Err(NotMade::Unknown { what: step.title(), source: error.into() }),
        }
    }

    fn confirm(&mut self, step: &Step) -> Result<(), NotMade> {
        let unknown = |source| NotMade::Unknown { what: step.title(), source };
        let mut list = self.list(step.kind).map_err(unknown)?.into_iter();
        let own = list.find(|(item, _)| item.name == step.name);
        let (values, version) = own.map_or((None, None), |(item, version)| (Some(item.values), version));
        if values == step.before && (version == step.version || values.is_none()) {
            return Ok(());
        }
        Err(NotMade::ChangedMeanwhile { what: step.title() })
    }

    /// Whether definitions are being found for everybody, and how far that is.
    pub(crate) fn finding(&mut self) -> Result<Finding> {
        let status = self.get("/admin/v1/status")?;
        let backfill = status.get("backfill").cloned().unwrap_or_default();
        let answer = self.get("/admin/v1/audiences")?;
        let list = answer.get("audiences").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut finding = Finding {
            pending: backfill.get("pending").and_then(Value::as_u64).unwrap_or(0),
            problem: backfill.get("problem").and_then(Value::as_str).map(str::to_owned),
            ..Finding::default()
        };
        for one in &list {
            let Some(own) = one.get("backfill").filter(|own| !own.is_null()) else { continue };
            let name = one.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let percent = own.get("people_percent").and_then(Value::as_u64).unwrap_or(0);
            finding.progress.push_str(&format!("{name} {own}\n"));
            finding.audiences.push((name, percent.min(100)));
        }
        finding.progress.push_str(&backfill.to_string());
        Ok(finding)
    }

    fn get(&mut self, path: &str) -> Result<Value> {
        let response = self.client.send(Request { method: "GET", path, headers: &[], body: b"" })?;
        match response.status {
            200 => serde_json::from_slice(&response.body)
                .with_context(|| format!("{}{path} answered no JSON: {}", self.url, response.quote())),
            401 | 403 => bail!(
                "{}{path} answered {}: {}. It needs a token with the scope `admin`",
                self.url,
                response.status,
                said(&response)
            ),
            404 => bail!("{}{path} does not exist: is this the admin listener of the server?", self.url),
            other => bail!("{}{path} answered {other}: {}", self.url, said(&response)),
        }
    }
}

fn judge(step: &Step, response: &Response) -> Result<(), NotMade> {
    let what = step.title();
    let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let member = |name| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    match response.status {
        200 => Ok(()),
        // It is gone: by a request of ours whose answer was lost, or by somebody who wanted the same.
        404 if step.after.is_none() => Ok(()),
        409 if member("rule_code") == "definition_stale" => Err(NotMade::ChangedMeanwhile { what }),
        400 if member("message").contains(STILL_FINDING) => Err(NotMade::StillFinding { what }),
        _ => Err(NotMade::Refused { what, why: said(response) }),
    }
}

/// What the server said, as a sentence with the place in the rule where there is one.
fn said(response: &Response) -> String {
    let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let Some(message) = answer.get("message").and_then(Value::as_str) else { return response.quote() };
    match answer.get("excerpt").and_then(Value::as_str) {
        Some(excerpt) => format!("{message}\n{excerpt}"),
        None => message.to_owned(),
    }
}

/// A name as a part of a path.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
