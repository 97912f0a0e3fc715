//! Erased people leave every list: the platform is told by what the shadow holds, and then the shadow forgets them too.

use super::super::shadow::{Held, ShadowError};
use super::Audiences;
use super::resync::{PART_PEOPLE, ResyncError};
use model::id::{Key, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a re-sync that is under way is waited for.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// What became of erased people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Those of whom the shadow still holds something, because the platform did not acknowledge that they are out.
    pub left: BTreeSet<Key>,
    /// What keeps them: a stable word, often with the platform's own code.
    pub reason: Option<String>,
    /// Those who were taken out of the shadow although the platform did not acknowledge it, each with a list.
    pub abandoned: Vec<(String, Key)>,
}

impl Audiences {
    /// Takes people out of every list, by what the platform was told of them before a position each, and out of the
    /// shadow. Who is in `give_up` goes from the shadow whatever the platform says. Doing it twice is as doing it once;
    /// what is left goes when it is asked again.
    pub async fn forget(
        &self,
        people: &BTreeMap<Key, Position>,
        give_up: &BTreeSet<Key>,
    ) -> Result<Forgotten, ShadowError> {
        let barred = people.clone();
        // At once: who waits for the turn with older words finds them barred.
        self.on_shadow(move |shadow| {
            shadow.bar(&barred);
            Ok(())
        })
        .await?;
        let Ok(_turn) = tokio::time::timeout(TURN_WAIT, self.turn.lock()).await else {
            let (left, reason) = (people.keys().copied().collect(), Some("resync_under_way".to_owned()));
            return Ok(Forgotten { left, reason, abandoned: Vec::new() });
        };
        let reason = self.tell_erased(people).await?;
        let (asked, given_up) = (people.clone(), give_up.clone());
        let (left, abandoned) = self
            .on_shadow(move |shadow| {
                let held = shadow.held_of(&asked)?;
                let (abandoned, left): (Vec<_>, Vec<_>) =
                    held.into_iter().partition(|one| given_up.contains(&one.person));
                shadow.abandon(&abandoned)?;
                shadow.purge()?;
                let abandoned = abandoned.into_iter().map(|one| (one.list, one.person)).collect();
                Ok((left.into_iter().map(|one| one.person).collect(), abandoned))
            })
            .await?;
        Ok(Forgotten { left, reason, abandoned })
    }

    /// Says of everybody who is still held that they are out. Gives why the platform did not take it, if it did not.
    async fn tell_erased(&self, people: &BTreeMap<Key, Position>) -> Result<Option<String>, ShadowError> {
        let people = people.clone();
        let held = self.on_shadow(move |shadow| shadow.held_of(&people)).await?;
        for part in held.chunks(PART_PEOPLE) {
            match self.fulfil(part.iter().map(Held::wish).collect()).await {
                Ok(_) => {}
                Err(ResyncError::Shadow(error)) => return Err(error),
                Err(ResyncError::Platform { reason }) => return Ok(Some(reason)),
                Err(ResyncError::NoReplacement | ResyncError::NoList | ResyncError::People(_)) => {}
            }
        }
        Ok(None)
    }
}
