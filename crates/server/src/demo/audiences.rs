//! The audiences of the demo: which there are, when they are defined, and what the server says of them.
//!
//! Most are those of `examples/shop`, and are there before the year begins. A few come in the middle of it, while events go on arriving: each is a rule
//! that was there under another name all the time, so what is found for everybody afterwards must be the same people.

use super::Stage;
use crate::definitions_files::{Findings, Item, read};
use crate::http_client::{Client, Credential, Endpoint, Request, Response};
use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// What the audience that suppresses holds back.
pub(super) const HELD_CATEGORY: &str = "CIGARETTES";
/// The audience that does.
pub(super) const HOLDS: &str = "smokers";
/// How long it may take until an audience is found for everybody.
const FOUND_MAX: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 120 });
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The definitions of the example shop: the only place where the early audiences are written down.
const SHOP: &str = include_str!("../../../../examples/shop/audiences.toml");

/// An audience that the demo defines.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) name: &'static str,
    pub(super) rule: Cow<'static, str>,
    /// What it suppresses, as the admin API takes it.
    pub(super) suppress: Option<serde_json::Value>,
    /// Defined in the middle of the year; this one has meant the same from the beginning.
    pub(super) twin: Option<&'static str>,
}

/// Name, twin and rule of those that come late. Where they have a filter that every order passes, they ask for what was
/// never kept. The first means what its twin does, word by word.
const LATE: [(&str, &str, Option<&str>); 4] = [
    ("frequent-late", "frequent", None),
    ("spenders-late", "spenders", Some(r#"sum("Order Completed", "value", "30d", currency == "USD") > 200"#)),
    (
        "looked-and-bought-late",
        "looked-and-bought",
        Some(
            r#"since(funnel_at(["Product Viewed", "Product Added", event("Order Completed", currency == "USD")], "1h")) < duration("7d")"#,
        ),
    ),
    (
        "many-kinds-late",
        "many-kinds",
        Some(r#"distinct("Order Completed", "category", "30d", currency == "USD") >= 30"#),
    ),
];

/// All audiences, those of the shop first.
pub(super) static AUDIENCES: All = All(LazyLock::new(all));

/// Read when they are first wanted. Empty if the program was built with files that hold mistakes; see
/// [`Audiences::begin`].
pub(super) struct All(LazyLock<Vec<Planned>>);

impl All {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Planned> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a All {
    type Item = &'a Planned;
    type IntoIter = std::slice::Iter<'a, Planned>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn all() -> Vec<Planned> {
    let mut findings = Findings::default();
    let shop = read("examples/shop/audiences.toml", SHOP, &mut findings);
    if findings.or(()).is_err() {
        return Vec::new();
    }
    let early = |item: Item| {
        let rule = item.text("rule")?.to_owned();
        // Once for each of a few names, which are wanted until the process ends.
        let name: &'static str = item.name.leak();
        Some(Planned { name, rule: rule.into(), suppress: item.values.get("suppress").cloned(), twin: None })
    };
    let mut all: Vec<Planned> = shop.into_iter().filter_map(early).collect();
    for (name, twin, rule) in LATE {
        let of_twin = all.iter().find(|one| one.name == twin).map(|one| one.rule.clone());
        let Some(rule) = rule.map(Cow::Borrowed).or(of_twin) else { continue };
        all.push(Planned { name, rule, suppress: None, twin: Some(twin) });
    }
    all
}

/// What `GET /admin/v1/audiences` says of one; other members are left alone.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) members: u64,
    pub(super) entries: u64,
    pub(super) exits: u64,
    /// There while it is being found for everybody.
    #[serde(default)]
    backfill: Option<serde_json::Value>,
}

impl Shown {
    /// Whether it holds for everybody.
    pub(super) fn is_found(&self) -> bool {
        self.backfill.is_none()
    }
}

#[derive(Debug, Deserialize)]
struct List {
    audiences: Vec<Shown>,
}

/// How an audience that came late was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Late {
    pub(super) name: &'static str,
    pub(super) twin: &'static str,
    pub(super) defined_at_us: i64,
    /// Log time and the time it took, once it is known to be found.
    pub(super) found: Option<(i64, Duration)>,
}

/// Defines audiences and asks about them.
pub(super) struct Audiences {
    client: Client,
    pub(super) late: Vec<Late>,
    defined: Option<Instant>,
}

impl Audiences {
    pub(super) fn new(stage: &dyn Stage) -> Result<Self> {
        let endpoint = Endpoint::parse(&format!("http://{}", stage.admin()))?;
        let credential = Credential::Bearer(stage.admin_token().to_owned());
        Ok(Self { client: Client::new(endpoint, &credential), late: Vec::new(), defined: None })
    }

    /// Defines those that are there before the year.
    pub(super) fn begin(&mut self) -> Result<()> {
        ensure!(
            AUDIENCES.iter().next().is_some(),
            "examples/shop/audiences.toml held mistakes when this was built"
        );
        for planned in AUDIENCES.iter().filter(|one| one.twin.is_none()) {
            self.put(planned)?;
        }
        let began = Instant::now();
        while self.shown()?.iter().any(|one| !one.is_found()) {
            ensure!(began.elapsed() < FOUND_MAX, "the server does not find audiences of nobody");
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Defines those that come in the middle of the year.
    pub(super) fn surprise(&mut self, log_time_us: i64) -> Result<()> {
        self.defined = Some(Instant::now());
        for planned in &AUDIENCES {
            let Some(twin) = planned.twin else { continue };
            self.put(planned)?;
            self.late.push(Late { name: planned.name, twin, defined_at_us: log_time_us, found: None });
        }
        Ok(())
    }

    /// Notes which of the late ones are found by now.
    pub(super) fn look(&mut self, log_time_us: i64) -> Result<()> {
        let Some(defined) = self.defined.filter(|_| self.late.iter().any(|one| one.found.is_none())) else {
            return Ok(());
        };
        let shown = self.shown()?;
        let passed = defined.elapsed();
        for late in self.late.iter_mut().filter(|one| one.found.is_none()) {
            if shown.iter().any(|one| one.name == late.name && one.is_found()) {
                late.found = Some((log_time_us, passed));
            }
        }
        Ok(())
    }

    /// Waits until all are found; what was not found in time stays without `found`.
    pub(super) fn settle(&mut self, log_time_us: i64) -> Result<()> {
        let began = Instant::now();
        self.look(log_time_us)?;
        while self.late.iter().any(|one| one.found.is_none()) && began.elapsed() < FOUND_MAX {
            std::thread::sleep(LOOK_EVERY);
            self.look(log_time_us)?;
        }
        Ok(())
    }

    /// What the server says of all of them now, in the order of [`AUDIENCES`].
    pub(super) fn shown(&mut self) -> Result<Vec<Shown>> {
        let path = "/admin/v1/audiences";
        let response = self.client.send(Request { method: "GET", path, headers: &[], body: b"" })?;
        let list: List = understood(path, &response)?;
        let ours = |planned: &Planned| list.audiences.iter().find(|one| one.name == planned.name).cloned();
        Ok(AUDIENCES.iter().filter_map(ours).collect())
    }

    fn put(&mut self, planned: &Planned) -> Result<()> {
        let mut body = serde_json::json!({ "rule": planned.rule });
        if let (Some(suppress), Some(object)) = (&planned.suppress, body.as_object_mut()) {
            object.insert("suppress".to_owned(), suppress.clone());
        }
        let (path, body) = (format!("/admin/v1/audiences/{}", planned.name), body.to_string());
        // The client itself only says what a POST carries.
        let headers =
            [("Content-Type", "application/json".to_owned()), ("Content-Length", body.len().to_string())];
        let request = Request { method: "PUT", path: &path, headers: &headers, body: body.as_bytes() };
        let response = self.client.send(request)?;
        understood::<serde_json::Value>(&path, &response).map(|_| ())
    }
}

fn understood<T: serde::de::DeserializeOwned>(path: &str, response: &Response) -> Result<T> {
    ensure!(response.status == 200, "{path} answered {}: {}", response.status, response.quote());
    serde_json::from_slice(&response.body)
        .with_context(|| format!("{path} answered something else than audiences: {}", response.quote()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_late_audience_has_a_twin_from_the_beginning_and_names_are_plain() {
        let early: Vec<&str> =
            AUDIENCES.iter().filter(|one| one.twin.is_none()).map(|one| one.name).collect();
        assert_eq!((early.len(), AUDIENCES.iter().count()), (14, 18));
        let holds = AUDIENCES.iter().find(|one| one.name == HOLDS).unwrap();
        assert_eq!(holds.suppress, Some(serde_json::json!({ "category": HELD_CATEGORY })));
        for planned in &AUDIENCES {
            assert!(planned.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
            assert!(planned.twin.is_none_or(|twin| early.contains(&twin)));
        }
    }

    #[test]
    fn every_rule_is_one() {
        use model::audience::{DefinitionKind, Rulebook};
        let mut book = Rulebook::default();
        for planned in &AUDIENCES {
            let kind = DefinitionKind::Audience { rule: (*planned.rule).into(), suppress: None };
            let draft = engage::Draft { name: planned.name.to_owned(), changes: None, kind };
            let (next, _) = draft.apply_to(&book).unwrap().changed.unwrap();
            book = next;
        }
    }
}
