//! Reads every person back through the profile API and holds them against the data.

use super::Stage;
use super::audiences::{AUDIENCES, HELD_CATEGORY, HOLDS};
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
    /// People who are in an audience that came late and not in its twin, or the other way round.
    pub(super) not_as_twin: u64,
    /// People in the audience that suppresses.
    pub(super) held: u64,
    /// People of whom a decision says otherwise.
    pub(super) held_wrong: u64,
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
    #[serde(default)]
    audiences: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Decision {
    suppressed: bool,
    #[serde(default)]
    why: serde_json::Value,
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
        self.twins(&who, &profile);
        self.held(kind, value, &profile)?;
        Ok(Some(profile))
    }

    fn twins(&mut self, who: &str, profile: &Profile) {
        let is_in = |name: &str| profile.audiences.iter().any(|own| own == name);
        for late in &AUDIENCES {
            let Some(twin) = late.twin.filter(|twin| is_in(twin) != is_in(late.name)) else { continue };
            self.found.not_as_twin += 1;
            self.tell(&format!(
                "{who} is in one of the audiences {} and {twin}, which mean the same",
                late.name
            ));
        }
    }

    /// Asks for a product that nobody has bought, in the category that the audience holds back.
    fn held(&mut self, kind: &str, value: &str, profile: &Profile) -> Result<()> {
        let is_held = profile.audiences.iter().any(|own| own == HOLDS);
        self.found.held += u64::from(is_held);
        let body = serde_json::json!({
            "identifiers": [{"type": kind, "value": value}], "product_id": "never-sold", "category": HELD_CATEGORY,
        });
        let body = body.to_string();
        let request = Request { method: "POST", path: "/v1/decide", headers: &[], body: body.as_bytes() };
        let response = RetryPolicy::default().send(&mut self.client, request, &mut |_, _| {})?;
        let decision: Decision = match response.status {
            200 => serde_json::from_slice(&response.body)
                .context("/v1/decide answered something else than a decision")?,
            other => bail!("/v1/decide answered {other}: {}", response.quote()),
        };
        let is_audience = decision.suppressed && decision.why == "audience";
        if is_held && !decision.suppressed || !is_held && is_audience {
            self.found.held_wrong += 1;
            self.tell(&format!("{kind} {value}: in {HOLDS} is {is_held}, and the decision is {decision:?}"));
        }
        Ok(())
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
