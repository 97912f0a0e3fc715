//! Tells a platform what changes in its lists: written down first, removals before additions, as many calls as its limits
//! ask for, and what it said written down after.

use super::super::answer::{Verdict, call_in_halves};
use super::super::shadow::{Change, Heard, Row, Shadow, ShadowError, Told, Wish};
use super::awaited::Awaited;
use super::{Answered, Audiences, Wished};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// When an attempt has no time left.
type OutOfTime<'a> = &'a (dyn Fn() -> bool + Sync);

impl Audiences {
    /// Writes wishes down, tells the platform, and writes down what it said. Returns for how many people something was
    /// sent.
    pub(super) async fn tell(
        &self,
        wished: &mut [Wished],
        out_of_time: OutOfTime<'_>,
    ) -> Result<u64, ShadowError> {
        let wishes: Vec<Wish> = wished.iter().map(|one| one.wish.clone()).collect();
        let waits = self.waits(&wishes);
        let changes = self.on_shadow(move |shadow| changes(shadow, &wishes, &waits)).await?;
        let sent = changes.iter().filter(|change| !change.is_empty()).count() as u64;
        self.awaited(|awaited| {
            let sent = wished.iter().zip(&changes).filter(|(_, change)| !change.is_empty());
            sent.for_each(|(one, _)| awaited.begin(&one.wish.list, one.wish.person));
        });
        let mut told = Vec::new();
        let lists: BTreeSet<String> = wished.iter().map(|one| one.wish.list.clone()).collect();
        for list in lists {
            let of_list = wished.iter().enumerate().filter(|(_, one)| one.wish.list == list);
            let places: Vec<usize> = of_list.map(|(place, _)| place).collect();
            self.tell_list(&list, &places, wished, &changes, out_of_time, &mut told).await;
        }
        self.on_shadow(move |shadow| shadow.heard(&told)).await?;
        Ok(sent)
    }

    /// Of which wishes the outcome of something that was said before is awaited.
    fn waits(&self, wishes: &[Wish]) -> Vec<bool> {
        let waits = |awaited: &mut Awaited| {
            wishes.iter().map(|wish| !wish.again && awaited.contains(&wish.list, wish.person)).collect()
        };
        self.awaited(waits)
    }

    async fn tell_list(
        &self,
        list: &str,
        places: &[usize],
        wished: &mut [Wished],
        changes: &[Change],
        out_of_time: OutOfTime<'_>,
        told: &mut Vec<Told>,
    ) {
        let mut halves: BTreeMap<usize, (Heard, Heard)> = BTreeMap::new();
        let mut held_up = None;
        for add in [false, true] {
            let rows = |place: &usize| {
                let change = changes.get(*place)?;
                let rows = if add { &change.add } else { &change.remove };
                (!rows.is_empty()).then(|| (*place, rows.clone()))
            };
            let people: Vec<(usize, Vec<Row>)> = places.iter().filter_map(rows).collect();
            let answers = match &held_up {
                // An addition that overtook a removal would be undone by it.
                Some(verdict) => vec![Answered::from(Verdict::clone(verdict)); people.len()],
                None => self.call(list, add, &people, out_of_time).await,
            };
            for ((place, _), Answered { verdict, request }) in people.iter().zip(answers) {
                let Some(one) = wished.get_mut(*place) else { continue };
                let heard = match (&verdict, request) {
                    (Verdict::Accepted, None) => Heard::Done,
                    (Verdict::Accepted, Some(request)) => {
                        self.awaited(|awaited| awaited.note(&request, list, one.wish.person, add));
                        Heard::Nothing
                    }
                    (Verdict::Refused { .. }, _) => Heard::Refused,
                    (Verdict::Later { .. } | Verdict::Unknown { .. }, _) => {
                        held_up = Some(verdict.clone());
                        Heard::Nothing
                    }
                };
                if verdict != Verdict::Accepted {
                    one.verdict = verdict;
                }
                let half = halves.entry(*place).or_insert((Heard::Nothing, Heard::Nothing));
                if add { half.1 = heard } else { half.0 = heard }
            }
        }
        for (place, (removed, added)) in halves {
            if let Some(one) = wished.get(place) {
                if one.verdict != Verdict::Accepted {
                    // Whoever waited for the half that was taken in would never say the other one.
                    self.awaited(|awaited| awaited.begin(list, one.wish.person));
                }
                told.push(Told { list: list.to_owned(), person: one.wish.person, removed, added });
            }
        }
    }

    /// Calls as often as the platform's limits ask for.
    async fn call(
        &self,
        list: &str,
        add: bool,
        people: &[(usize, Vec<Row>)],
        out_of_time: OutOfTime<'_>,
    ) -> Vec<Answered> {
        let mut answers = Vec::with_capacity(people.len());
        let mut rest = people;
        while !rest.is_empty() {
            let mut weight = 0;
            let fitting = rest.iter().take_while(|(_, rows)| {
                weight += self.lists.weight(rows.len());
                weight <= self.lists.call_max()
            });
            let (now, later) = rest.split_at(fitting.count().clamp(1, rest.len()));
            let part = self.call_once(list, add, now, out_of_time).await;
            let stopped = part.iter().find(|one| matches!(one.verdict, Verdict::Later { .. })).cloned();
            answers.extend(part);
            rest = later;
            if let Some(stopped) = stopped {
                answers.extend(rest.iter().map(|_| stopped.clone()));
                break;
            }
        }
        answers
    }

    /// One call, and more only where it is refused: then it is taken apart.
    async fn call_once(
        &self,
        list: &str,
        add: bool,
        people: &[(usize, Vec<Row>)],
        out_of_time: OutOfTime<'_>,
    ) -> Vec<Answered> {
        let requests: Mutex<Vec<(Range<usize>, String)>> = Mutex::default();
        let verdicts = call_in_halves(people.len(), people.len(), out_of_time, |range| {
            let rows = people.get(range.clone()).unwrap_or_default();
            let rows = rows.iter().map(|(_, rows)| rows.clone()).collect();
            let (call, requests) = (self.lists.tell(list, add, rows), &requests);
            Box::pin(async move {
                let Answered { verdict, request } = call.await;
                if let Some(request) = request {
                    requests.lock().unwrap_or_else(PoisonError::into_inner).push((range, request));
                }
                verdict.repeatable()
            })
        });
        let mut answers: Vec<Answered> = verdicts.await.into_iter().map(Answered::from).collect();
        for (range, request) in requests.into_inner().unwrap_or_else(PoisonError::into_inner) {
            for answer in answers.get_mut(range).unwrap_or_default() {
                answer.request = Some(request.clone());
            }
        }
        answers
    }
}

/// What is to be sent for each wish. Who waits for an outcome of just this waits on.
fn changes(shadow: &mut Shadow, wishes: &[Wish], waits: &[bool]) -> Result<Vec<Change>, ShadowError> {
    let mut changes = vec![Change::default(); wishes.len()];
    let mut asked = Vec::with_capacity(wishes.len());
    let mut places = Vec::with_capacity(wishes.len());
    for (place, (wish, waits)) in wishes.iter().zip(waits).enumerate() {
        if *waits {
            let mut rows = wish.rows.clone();
            rows.sort();
            rows.dedup();
            if rows == shadow.wanted(&wish.list, wish.person)? {
                continue;
            }
        }
        asked.push(wish.clone());
        places.push(place);
    }
    for (place, change) in places.into_iter().zip(shadow.wish(&asked)?) {
        if let Some(slot) = changes.get_mut(place) {
            *slot = change;
        }
    }
    Ok(changes)
}
