//! Whether an attempt is still right, asked of the loop: so it is decided in log order against purchases, erasures and
//! everything else that is applied.

use super::said::{self, EVENT_ACCEPTED};
use super::shard::{Shard, Told};
use delivery::{Class, Later, Parcel, Permit, PermitRequest, Permits};
use engage::effect::{AUDIENCE_ENTERED, CONSENT_CHANGED};
use engage::{Answer, ConsentNeed, Destination, DestinationKind, IdentifierRead, ProfileRead, Query};
use model::audience::DefinitionId;
use model::identity::profile_key;
use model::suppression::Scope;
use std::sync::Arc;

/// How long to wait where the loop cannot be asked, in milliseconds.
const ASK_AGAIN_MS: u64 = 500;

/// A permit on its way.
enum Asked {
    Known(Permit),
    Waiting(Told),
}

/// Permits as the loop of a shard decides them.
pub struct LoopPermits<S> {
    shard: Arc<S>,
}

impl<S: Shard> LoopPermits<S> {
    /// Permits of a shard.
    pub fn new(shard: Arc<S>) -> Self {
        Self { shard }
    }

    /// Asks the loop about a parcel for a destination, or knows the answer without it.
    fn ask(&self, parcel: &Parcel, destination: Option<&Destination>) -> Asked {
        let is_platform = destination.is_some_and(is_platform);
        let asks = destination.is_some_and(|one| one.consent != ConsentNeed::NotNeeded);
        // What says that somebody left, or is erased, is always right to say, and so is that they chose otherwise. What
        // somebody did is told of nobody who was erased, whatever the class: it is not needed by them.
        let is_judged = (parcel.class == Class::Marketing || asks) && parcel.kind == AUDIENCE_ENTERED;
        // Who agreed is put into lists; they may have changed their mind since.
        let is_judged = is_judged || (is_platform && parcel.kind == CONSENT_CHANGED);
        if !is_judged && parcel.kind != EVENT_ACCEPTED {
            return Asked::Known(Permit::Granted);
        }
        match self.shard.ask(Query::Profile(parcel.subject)) {
            Ok(answer) => Asked::Waiting(answer),
            Err(_) => Asked::Known(later()),
        }
    }

    async fn permit(&self, parcel: &Parcel, asked: Asked, destination: Option<&Destination>) -> Permit {
        let answer = match asked {
            Asked::Known(permit) => return permit,
            Asked::Waiting(answer) => answer.await,
        };
        let Ok(Ok((Answer::Profile(read, _), _))) = answer else { return later() };
        let Some(read) = read else { return refused("erased") };
        // Who was erased may have come back under the same identifier, and so as the same profile, or as a part of another:
        // what was said of them before is about nobody any more.
        let is_theirs = |one: &IdentifierRead| {
            one.first_seen.position <= parcel.id.position && profile_key(one.node) == parcel.subject
        };
        if !read.identifiers.iter().any(is_theirs) {
            return refused("erased");
        }
        if let Some(reason) = destination.and_then(|one| self.no_consent(one, parcel, &read)) {
            return refused(reason);
        }
        match parcel.class {
            Class::Marketing if parcel.kind == AUDIENCE_ENTERED => self.judge(parcel, &read),
            // Who agrees again is put into lists again, but for those who are not to be advertised anything now.
            Class::Marketing
                if parcel.kind == CONSENT_CHANGED && is_held(&read) && !said::is_denied(&parcel.body) =>
            {
                refused("suppressed")
            }
            _ => Permit::Granted,
        }
    }

    /// Why a destination may not be told this of a person, if it may not.
    fn no_consent(
        &self,
        destination: &Destination,
        parcel: &Parcel,
        read: &ProfileRead,
    ) -> Option<&'static str> {
        let settings = self.shard.view().settings();
        let choice = read.aggregate.consent.choice(destination.consent_category(&settings));
        let reason = destination.refusal(choice)?;
        // A message that says itself that there is no consent takes the person out of the list, where they are in it.
        let takes_out = is_platform(destination)
            && matches!(parcel.kind, AUDIENCE_ENTERED | CONSENT_CHANGED)
            && said::is_denied(&parcel.body);
        (!takes_out).then_some(reason)
    }

    /// All are asked for before the first answer is waited for: each takes a turn of the loop, and one turn answers
    /// many.
    async fn decide<'p>(&self, lane: &str, parcels: impl Iterator<Item = &'p Parcel>) -> Vec<Permit> {
        let settings = self.shard.view().settings();
        let is_named = |one: &&Destination| one.name == lane;
        let destination = settings.destinations.iter().find(is_named);
        let asked: Vec<(&Parcel, Asked)> =
            parcels.map(|parcel| (parcel, self.ask(parcel, destination))).collect();
        let mut permits = Vec::with_capacity(asked.len());
        for (parcel, asked) in asked {
            permits.push(self.permit(parcel, asked, destination).await);
        }
        permits
    }

    fn judge(&self, parcel: &Parcel, read: &ProfileRead) -> Permit {
        let book = self.shard.view().book();
        let definition = parcel.about.and_then(|number| book.definition(DefinitionId(number)));
        let Some(definition) = definition else { return refused("audience_removed") };
        if !read.audiences.iter().any(|member| member.audience == definition.id) {
            return refused("left_meanwhile");
        }
        let suppresses = book.suppresses(definition.id).is_some();
        if is_held(read) && !suppresses {
            return refused("suppressed");
        }
        Permit::Granted
    }
}

fn is_platform(destination: &Destination) -> bool {
    matches!(destination.kind, DestinationKind::Platform { .. })
}

/// Whether somebody is not to be advertised anything.
fn is_held(read: &ProfileRead) -> bool {
    read.held.iter().any(|(scope, _)| *scope == Scope::EVERYTHING)
}

fn refused(reason: &str) -> Permit {
    Permit::Refused { reason: reason.to_owned() }
}

fn later() -> Permit {
    Permit::Later { reason: "shard".to_owned(), wait_ms: ASK_AGAIN_MS }
}

impl<S: Shard> Permits for LoopPermits<S> {
    fn request(&self, lane: &str, requests: Vec<PermitRequest>) -> Later<'_, Vec<Permit>> {
        let lane = lane.to_owned();
        Box::pin(async move { self.decide(&lane, requests.iter().map(|request| &request.parcel)).await })
    }

    fn crossed(&self, lane: &str, parcels: Arc<[Parcel]>) -> Later<'_, u64> {
        let lane = lane.to_owned();
        Box::pin(async move {
            let permits = self.decide(&lane, parcels.iter()).await;
            permits.iter().filter(|permit| matches!(permit, Permit::Refused { .. })).count() as u64
        })
    }
}
