//! Re-syncs and replacements: a list as a whole, instead of change by change.

use super::super::answer::Verdict;
use super::super::contact::Contact;
use super::super::shadow::{Heard, Row, ShadowError, Summary, Told, Wish};
use super::{Audiences, Wished};
use model::id::Key;
use std::collections::BTreeSet;

/// People that are told about at once.
const PART_PEOPLE: usize = 5_000;

/// A part of a replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The same for all parts of a replacement, and different for every replacement.
    pub session: u64,
    /// When it began, in microseconds since 1970.
    pub began_us: i64,
    /// 1 for the first.
    pub number: u64,
    /// Nothing follows.
    pub last: bool,
    /// How many people all parts have.
    pub people: u64,
}

/// What a re-sync came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resynced {
    /// What was wanted.
    pub wanted: Summary,
    /// What the platform was told and acknowledged.
    pub told: Summary,
    /// People for whom something was sent.
    pub sent: u64,
}

impl Resynced {
    /// Whether the platform has acknowledged exactly what was wanted.
    pub fn is_verified(&self) -> bool {
        self.wanted.agrees_with(&self.told) && self.told.unsettled == 0
    }
}

/// Why a re-sync did not end.
#[derive(Debug, thiserror::Error)]
pub enum ResyncError {
    /// The shadow failed.
    #[error(transparent)]
    Shadow(#[from] ShadowError),
    /// The platform did not accept a part. What was told is written down; a new re-sync goes on from there.
    #[error(
        "the platform did not accept a part of a list ({reason}): the re-sync goes on where it stopped when it is begun again"
    )]
    Platform {
        /// The platform's own code.
        reason: String,
    },
    /// The platform has no way to replace a list.
    #[error("the platform cannot replace a list in one piece: re-sync it by differences")]
    NoReplacement,
}

impl Audiences {
    /// Makes a list exactly what is wanted, by differences: who is missing is added, who is too much is taken out.
    /// `next` gives everybody who is wanted, each once. With `again` everything is sent, whatever was acknowledged.
    pub async fn resync(
        &self,
        audience: &str,
        again: bool,
        next: &mut (dyn FnMut() -> Option<(Key, Contact)> + Send),
    ) -> Result<Resynced, ResyncError> {
        let _turn = self.turn.lock().await;
        let list = self.names.get(audience).cloned().unwrap_or_default();
        let (mut wanted, mut sent) = (Summary::default(), 0);
        let mut seen: BTreeSet<Key> = BTreeSet::new();
        loop {
            let part: Vec<(Key, Contact)> = std::iter::from_fn(&mut *next).take(PART_PEOPLE).collect();
            if part.is_empty() {
                break;
            }
            let mut wishes = Vec::with_capacity(part.len());
            for (person, contact) in part {
                let rows = self.lists.rows(&contact);
                wanted.count(&list, person, &rows);
                seen.insert(person);
                wishes.push(Wish { list: list.clone(), person, rows, again });
            }
            sent += self.fulfil(wishes).await?;
        }
        let mut after = None;
        loop {
            let from = list.clone();
            let people =
                self.on_shadow(move |shadow| Ok(shadow.people(&from, after, PART_PEOPLE, false))).await?;
            let Some(last) = people.last() else { break };
            after = Some(*last);
            let gone = people.into_iter().filter(|person| !seen.contains(person));
            let wishes = gone.map(|person| Wish { list: list.clone(), person, rows: Vec::new(), again });
            sent += self.fulfil(wishes.collect()).await?;
        }
        let told = self.on_shadow(move |shadow| Ok(shadow.summary(&list))).await?;
        Ok(Resynced { wanted, told, sent })
    }

    /// Puts everybody who is wanted in place of whatever the platform's list holds, also of what it holds for reasons
    /// that nobody here knows. `count` is how many `next` gives.
    pub async fn replace(
        &self,
        audience: &str,
        count: u64,
        next: &mut (dyn FnMut() -> Option<(Key, Contact)> + Send),
    ) -> Result<Resynced, ResyncError> {
        let _turn = self.turn.lock().await;
        let list = self.names.get(audience).cloned().unwrap_or_default();
        let began_us = self.clock.now_us();
        let session = u64::try_from(began_us).unwrap_or(1);
        let mut wanted = Summary::default();
        let mut seen = BTreeSet::new();
        let mut part = Part { session, began_us, number: 0, last: false, people: count };
        let part_people = PART_PEOPLE.min(self.lists.call_max() / self.lists.weight(10).max(1)).max(1);
        let mut waiting: Vec<(Key, Contact)> = std::iter::from_fn(&mut *next).take(part_people).collect();
        loop {
            let following: Vec<(Key, Contact)> = std::iter::from_fn(&mut *next).take(part_people).collect();
            part = Part { number: part.number + 1, last: following.is_empty(), ..part };
            let people: Vec<(Key, Vec<Row>)> =
                waiting.iter().map(|(person, contact)| (*person, self.lists.rows(contact))).collect();
            for (person, rows) in &people {
                wanted.count(&list, *person, rows);
                seen.insert(*person);
            }
            self.replace_part(&list, part, people).await?;
            if part.last {
                break;
            }
            waiting = following;
        }
        self.settle_absent(&list, &seen).await?;
        let (from, sent) = (list.clone(), wanted.people);
        let told = self.on_shadow(move |shadow| Ok(shadow.summary(&from))).await?;
        Ok(Resynced { wanted, told, sent })
    }

    async fn replace_part(
        &self,
        list: &str,
        part: Part,
        people: Vec<(Key, Vec<Row>)>,
    ) -> Result<(), ResyncError> {
        let wishes: Vec<Wish> = people
            .iter()
            .map(|(person, rows)| Wish {
                list: list.to_owned(),
                person: *person,
                rows: rows.clone(),
                again: true,
            })
            .collect();
        let told: Vec<Told> = wishes
            .iter()
            .map(|wish| Told {
                list: wish.list.clone(),
                person: wish.person,
                // What a person had before goes with everything else when the replacement is complete.
                removed: if part.last { Heard::Done } else { Heard::Nothing },
                added: Heard::Done,
            })
            .collect();
        self.on_shadow(move |shadow| shadow.wish(&wishes).map(|_| ())).await?;
        let rows = people.into_iter().map(|(_, rows)| rows).filter(|rows| !rows.is_empty()).collect();
        let call = self.lists.replace(list, part, rows).ok_or(ResyncError::NoReplacement)?;
        match call.await.repeatable() {
            Verdict::Accepted => Ok(self.on_shadow(move |shadow| shadow.heard(&told)).await?),
            Verdict::Later { reason, .. } | Verdict::Refused { reason } | Verdict::Unknown { reason } => {
                Err(ResyncError::Platform { reason })
            }
        }
    }

    /// After a replacement nobody is in the list who was not named, and of nobody is there a row of before.
    async fn settle_absent(&self, list: &str, seen: &BTreeSet<Key>) -> Result<(), ResyncError> {
        let mut after = None;
        loop {
            let from = list.to_owned();
            let people =
                self.on_shadow(move |shadow| Ok(shadow.people(&from, after, PART_PEOPLE, false))).await?;
            let Some(last) = people.last() else { return Ok(()) };
            after = Some(*last);
            let named = |person, added| Told { list: list.to_owned(), person, removed: Heard::Done, added };
            let told: Vec<Told> = people.iter().map(|person| named(*person, Heard::Nothing)).collect();
            let gone = people.into_iter().filter(|person| !seen.contains(person));
            let wishes: Vec<Wish> = gone
                .map(|person| Wish { list: list.to_owned(), person, rows: Vec::new(), again: false })
                .collect();
            self.on_shadow(move |shadow| {
                shadow.wish(&wishes)?;
                shadow.heard(&told)
            })
            .await?;
        }
    }

    /// Tells what the platform has not acknowledged: after a crash, and after answers that got lost.
    pub async fn tell_unsettled(&self) -> Result<u64, ResyncError> {
        let _turn = self.turn.lock().await;
        let mut sent = 0;
        for list in self.on_shadow(|shadow| Ok(shadow.lists())).await? {
            let mut after = None;
            loop {
                let from = list.clone();
                let wishes = self.on_shadow(move |shadow| {
                    let people = shadow.people(&from, after, PART_PEOPLE, true);
                    let wish = |person| {
                        let rows = shadow.wanted(&from, person)?;
                        Ok(Wish { list: from.clone(), person, rows, again: false })
                    };
                    people.into_iter().map(wish).collect::<Result<Vec<Wish>, ShadowError>>()
                });
                let wishes = wishes.await?;
                let Some(last) = wishes.last() else { break };
                after = Some(last.person);
                sent += self.fulfil(wishes).await?;
            }
        }
        Ok(sent)
    }

    async fn fulfil(&self, wishes: Vec<Wish>) -> Result<u64, ResyncError> {
        let mut wished: Vec<Wished> =
            wishes.into_iter().map(|wish| Wished { wish, verdict: Verdict::Accepted }).collect();
        let sent = self.tell(&mut wished, &|| false).await?;
        let failed = wished.into_iter().find_map(|one| match one.verdict {
            Verdict::Later { reason, .. } | Verdict::Unknown { reason } => Some(reason),
            // A row that the platform refuses shows in the summary, and holds nobody else up.
            Verdict::Accepted | Verdict::Refused { .. } => None,
        });
        failed.map_or(Ok(sent), |reason| Err(ResyncError::Platform { reason }))
    }
}
