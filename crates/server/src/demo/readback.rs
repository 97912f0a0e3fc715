//! Reads every person back through the profile API and holds them against the data.

use super::Stage;
use super::retail::Retail;
use super::story::Story;
use crate::http_client::{Client, Credential, Endpoint, Request, RetryPolicy};
use crate::terminal::Terminal;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Differences told in words; all are counted.
const TOLD_MAX: u64 = 10;

/// What reading back showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ReadBack {
    /// People asked for: households, and devices that never logged in.
    pub(super) people: u64,
    /// Households whose number or value of orders is not the data's.
    pub(super) orders_wrong: u64,
    /// People who are missing, or share their profile with another.
    pub(super) not_one_person: u64,
    /// Events of all of them together.
    pub(super) events: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Profile {
    id: String,
    #[serde(default)]
    events: u64,
    #[serde(default)]
    orders: u64,
    #[serde(default)]
    revenue: Vec<Revenue>,
}

#[derive(Debug, Deserialize)]
struct Revenue {
    currency: String,
    value_minor: i64,
}

/// Asks for everybody.
pub(super) fn read_back(
    retail: &Retail,
    story: &Story<'_>,
    stage: &dyn Stage,
    terminal: &Terminal,
) -> Result<ReadBack> {
    let endpoint = Endpoint::parse(&format!("http://{}", stage.profiles()))?;
    let client = Client::new(endpoint, &Credential::Bearer(stage.profile_token().to_owned()));
    let mut reader =
        Reader { client, found: ReadBack::default(), owners: BTreeMap::new(), told: 0, terminal };
    let mut bought: Vec<(u64, i64)> = vec![(0, 0); retail.households.len()];
    for basket in &retail.baskets {
        if let Some((orders, value_minor)) = bought.get_mut(basket.household) {
            *orders += 1;
            *value_minor += retail.total_minor(basket);
        }
    }
    for (household, expected) in retail.households.iter().zip(bought) {
        reader.household(*household, expected)?;
    }
    for anonymous_id in story.people.strangers() {
        reader.person("anonymous_id", anonymous_id)?;
    }
    Ok(reader.found)
}

struct Reader<'a> {
    client: Client,
    found: ReadBack,
    /// Whose a profile is.
    owners: BTreeMap<String, String>,
    told: u64,
    terminal: &'a Terminal,
}

impl Reader<'_> {
    fn household(&mut self, household: u32, (orders, value_minor): (u64, i64)) -> Result<()> {
        let Some(profile) = self.person("user_id", &household.to_string())? else { return Ok(()) };
        let revenue: i64 =
            profile.revenue.iter().filter(|one| one.currency == "USD").map(|one| one.value_minor).sum();
        if profile.orders != orders || revenue != value_minor {
            self.found.orders_wrong += 1;
            self.tell(&format!(
                "household {household} has {orders} orders of {value_minor} cents in the data, and {} of {revenue} \
                 in its profile {}",
                profile.orders, profile.id
            ));
        }
        Ok(())
    }

    fn person(&mut self, kind: &str, value: &str) -> Result<Option<Profile>> {
        self.found.people += 1;
        let Some(profile) = self.lookup(kind, value)? else {
            self.found.not_one_person += 1;
            self.tell(&format!("{kind} {value} has no profile"));
            return Ok(None);
        };
        let who = format!("{kind} {value}");
        if let Some(other) = self.owners.insert(profile.id.clone(), who.clone()) {
            self.found.not_one_person += 1;
            self.tell(&format!("{who} and {other} have become one person, {}", profile.id));
        } else {
            self.found.events += profile.events;
        }
        Ok(Some(profile))
    }

    fn lookup(&mut self, kind: &str, value: &str) -> Result<Option<Profile>> {
        let body = serde_json::json!({"identifier": {"type": kind, "value": value}}).to_string();
        let request =
            Request { method: "POST", path: "/v1/profiles/lookup", headers: &[], body: body.as_bytes() };
        let response = RetryPolicy::default().send(&mut self.client, request, &mut |_, _| {})?;
        match response.status {
            200 => serde_json::from_slice(&response.body)
                .map(Some)
                .context("/v1/profiles/lookup answered something else than a profile"),
            404 => Ok(None),
            other => bail!("/v1/profiles/lookup answered {other}: {}", response.quote()),
        }
    }

    fn tell(&mut self, what: &str) {
        self.told += 1;
        if self.told <= TOLD_MAX {
            self.terminal.say(&format!("DIFFERENCE: {what}"));
        }
    }
}
