//! Re-syncs and replacements: a list as a whole, instead of change by change.

use super::super::answer::Verdict;
use super::super::contact::Contact;
use super::super::shadow::{Heard, Row, ShadowError, Summary, Told, Wish};
use super::awaited::Awaited;
use super::{Answered, Audiences, Wished};
use model::id::{Key, Position};
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// People that are told about at once.
pub(super) const PART_PEOPLE: usize = 5_000;

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
    /// `next` gives everybody who is wanted, each once, as they were at a position of the log. With `again` everything is sent, whatever was acknowledged.
    pub async fn resync(
        &self,
        audience: &str,
        again: bool,
        position: Position,
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
                wishes.push(Wish { list: list.clone(), person, rows, again, position });
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
            let wishes =
                gone.map(|person| Wish { list: list.clone(), person, rows: Vec::new(), again, position });
            sent += self.fulfil(wishes.collect()).await?;
        }
        let told = self.on_shadow(move |shadow| Ok(shadow.summary(&list))).await?;
        Ok(Resynced { wanted, told, sent })
    }

    /// Puts everybody who is wanted in place of whatever the platform's list holds, also of what it holds for reasons
    /// that nobody here knows. `count` is how many `next` gives, as they were at a position of the log.
    pub async fn replace(
        &self,
        audience: &str,
        count: u64,
        position: Position,
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
        let ends_apart = self.lists.ends_apart();
        let request = loop {
            let following: Vec<(Key, Contact)> = std::iter::from_fn(&mut *next).take(part_people).collect();
            let last = following.is_empty() && (!ends_apart || waiting.is_empty());
            part = Part { number: part.number + 1, last, ..part };
            let people: Vec<(Key, Vec<Row>)> =
                waiting.iter().map(|(person, contact)| (*person, self.lists.rows(contact))).collect();
            for (person, rows) in &people {
                wanted.count(&list, *person, rows);
                seen.insert(*person);
            }
            let request = self.replace_part(&list, part, position, people).await?;
            if part.last {
                break request;
            }
            waiting = following;
        };
        self.settle_absent(&list, &seen, request.as_deref()).await?;
        let (from, sent) = (list.clone(), wanted.people);
        let told = self.on_shadow(move |shadow| Ok(shadow.summary(&from))).await?;
        Ok(Resynced { wanted, told, sent })
    }

    async fn replace_part(
        &self,
        list: &str,
        part: Part,
        position: Position,
        people: Vec<(Key, Vec<Row>)>,
    ) -> Result<Option<String>, ResyncError> {
        let wish = |(person, rows): &(Key, Vec<Row>)| Wish {
            list: list.to_owned(),
            person: *person,
            rows: rows.clone(),
            again: true,
            position,
        };
        let wishes: Vec<Wish> = people.iter().map(wish).collect();
        self.awaited(|awaited| people.iter().for_each(|(person, _)| awaited.begin(list, *person)));
        // What a person had before goes with everything else when the replacement is complete.
        let removed = if part.last { Heard::Done } else { Heard::Nothing };
        let told = |(person, _): &(Key, Vec<Row>)| Told {
            list: list.to_owned(),
            person: *person,
            removed,
            added: Heard::Done,
        };
        let told: Vec<Told> = people.iter().map(told).collect();
        self.on_shadow(move |shadow| shadow.wish(&wishes).map(|_| ())).await?;
        let named: Vec<Key> = people.iter().map(|(person, _)| *person).collect();
        let rows = people.into_iter().map(|(_, rows)| rows).filter(|rows| !rows.is_empty()).collect();
        let call = self.lists.replace(list, part, rows).ok_or(ResyncError::NoReplacement)?;
        let Answered { verdict, request } = call.await;
        match (verdict.repeatable(), &request) {
            (Verdict::Accepted, None) => self.on_shadow(move |shadow| shadow.heard(&told)).await?,
            (Verdict::Accepted, Some(request)) => self.awaited(|awaited| {
                named.iter().for_each(|person| awaited.note(request, list, *person, true));
            }),
            (
                Verdict::Later { reason, .. } | Verdict::Refused { reason } | Verdict::Unknown { reason },
                _,
            ) => {
                return Err(ResyncError::Platform { reason });
            }
        }
        Ok(request)
    }

    /// After a replacement nobody is in the list who was not named, and of nobody is there a row of before: now, or when
    /// the request that ends it is done.
    async fn settle_absent(
        &self,
        list: &str,
        seen: &BTreeSet<Key>,
        request: Option<&str>,
    ) -> Result<(), ResyncError> {
        let mut after = None;
        loop {
            let from = list.to_owned();
            let people =
                self.on_shadow(move |shadow| Ok(shadow.people(&from, after, PART_PEOPLE, false))).await?;
            let Some(last) = people.last() else { return Ok(()) };
            after = Some(*last);
            let gone: Vec<Key> = people.iter().copied().filter(|person| !seen.contains(person)).collect();
            let wish = |person: &Key| Wish {
                list: list.to_owned(),
                person: *person,
                rows: Vec::new(),
                again: false,
                position: Position(0),
            };
            let wishes: Vec<Wish> = gone.iter().map(wish).collect();
            let told = |person: &Key| Told {
                list: list.to_owned(),
                person: *person,
                removed: Heard::Done,
                added: Heard::Nothing,
            };
            let told: Vec<Told> = match request {
                None => people.iter().map(told).collect(),
                Some(_) => Vec::new(),
            };
            self.awaited(|awaited| {
                gone.iter().for_each(|person| awaited.begin(list, *person));
                let waiting = request.iter().flat_map(|request| people.iter().map(move |one| (request, one)));
                waiting.for_each(|(request, person)| awaited.note(request, list, *person, false));
            });
            self.on_shadow(move |shadow| {
                shadow.wish(&wishes)?;
                shadow.heard(&told)
            })
            .await?;
        }
    }

    /// Works with what is awaited.
    pub(super) fn awaited<T>(&self, work: impl FnOnce(&mut Awaited) -> T) -> T {
        work(&mut self.awaited.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells what the platform has not acknowledged and nothing is awaited of: after a crash, and after answers that got
    /// lost.
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
                        // What is repeated is as old as it was.
                        let position = Position(0);
                        Ok(Wish { list: from.clone(), person, rows, again: false, position })
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

    pub(super) async fn fulfil(&self, wishes: Vec<Wish>) -> Result<u64, ResyncError> {
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
