//! Re-syncs and replacements: a list as a whole, instead of change by change.

use super::super::answer::Verdict;
use super::super::contact::Contact;
use super::super::shadow::{Heard, Row, ShadowError, Summary, Told, Wish};
use super::awaited::Awaited;
use super::{Answered, Audiences, Wished};
use delivery::Later;
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
    /// There is no list for the audience.
    #[error("the destination has no list for this audience: name it in `lists` of its settings")]
    NoList,
    /// Who is wanted could not be found out. Nobody was taken out.
    #[error("the people of an audience could not be read ({0}): begin again")]
    People(String),
    /// The platform has no way to replace a list.
    #[error("the platform cannot replace a list in one piece: re-sync it by differences")]
    NoReplacement,
}

/// Everybody who is wanted in a list, a part at a time.
pub trait People: Send {
    /// The next ones, at most so many; nobody at the end. Nobody comes twice. An error ends the work before anybody is
    /// taken out.
    fn next(&mut self, limit: usize) -> Later<'_, Result<Vec<(Key, Contact)>, String>>;
}

/// People who are known already.
impl<I: Iterator<Item = (Key, Contact)> + Send> People for I {
    fn next(&mut self, limit: usize) -> Later<'_, Result<Vec<(Key, Contact)>, String>> {
        Box::pin(std::future::ready(Ok(self.take(limit).collect())))
    }
}

impl Audiences {
    /// Makes a list exactly what is wanted, by differences: who is missing is added, who is too much is taken out.
    /// `people` are as they were at a position of the log, or later. With `again` everything is sent, whatever was
    /// acknowledged.
    pub async fn resync(
        &self,
        audience: &str,
        again: bool,
        position: Position,
        people: &mut dyn People,
    ) -> Result<Resynced, ResyncError> {
        let _turn = self.turn.lock().await;
        let list = self.list(audience)?;
        let (mut wanted, mut sent) = (Summary::default(), 0);
        let mut seen: BTreeSet<Key> = BTreeSet::new();
        loop {
            let part = people.next(PART_PEOPLE).await.map_err(ResyncError::People)?;
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
            let people = self.people(audience, after, PART_PEOPLE).await?;
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

    /// Holds what is wanted against what the platform was told, and sends nothing.
    pub async fn verify(&self, audience: &str, people: &mut dyn People) -> Result<Resynced, ResyncError> {
        let _turn = self.turn.lock().await;
        let list = self.list(audience)?;
        let mut wanted = Summary::default();
        loop {
            let part = people.next(PART_PEOPLE).await.map_err(ResyncError::People)?;
            if part.is_empty() {
                break;
            }
            part.iter().for_each(|(person, contact)| wanted.count(&list, *person, &self.lists.rows(contact)));
        }
        let told = self.on_shadow(move |shadow| Ok(shadow.summary(&list))).await?;
        Ok(Resynced { wanted, told, sent: 0 })
    }

    /// People whom the platform was told of for an audience, in order after one of them.
    pub async fn people(
        &self,
        audience: &str,
        after: Option<Key>,
        limit: usize,
    ) -> Result<Vec<Key>, ResyncError> {
        let list = self.list(audience)?;
        Ok(self.on_shadow(move |shadow| Ok(shadow.people(&list, after, limit, false))).await?)
    }

    fn list(&self, audience: &str) -> Result<String, ResyncError> {
        self.names.get(audience).cloned().ok_or(ResyncError::NoList)
    }

    /// Puts everybody who is wanted in place of whatever the platform's list holds, also of what it holds for reasons
    /// that nobody here knows. `count` is about how many there are; they are as they were at a position of the log, or
    /// later.
    pub async fn replace(
        &self,
        audience: &str,
        count: u64,
        position: Position,
        people: &mut dyn People,
    ) -> Result<Resynced, ResyncError> {
        let _turn = self.turn.lock().await;
        let list = self.list(audience)?;
        let began_us = self.clock.now_us();
        let session = u64::try_from(began_us).unwrap_or(1);
        let mut wanted = Summary::default();
        let mut seen = BTreeSet::new();
        let mut part = Part { session, began_us, number: 0, last: false, people: count };
        let part_people = PART_PEOPLE.min(self.lists.call_max() / self.lists.weight(10).max(1)).max(1);
        let mut waiting = people.next(part_people).await.map_err(ResyncError::People)?;
        let ends_apart = self.lists.ends_apart();
        let request = loop {
            let following = people.next(part_people).await.map_err(ResyncError::People)?;
            let last = following.is_empty() && (!ends_apart || waiting.is_empty());
            part = Part { number: part.number + 1, last, ..part };
            let rows: Vec<(Key, Vec<Row>)> =
                waiting.iter().map(|(person, contact)| (*person, self.lists.rows(contact))).collect();
            for (person, rows) in &rows {
                wanted.count(&list, *person, rows);
                seen.insert(*person);
            }
            let request = self.replace_part(&list, part, position, rows).await?;
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
