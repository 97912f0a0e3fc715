//! Whether an attempt is still right, asked of the loop: so it is decided in log order against purchases, erasures and
//! everything else that is applied.

use crate::api::Context;
use delivery::{Class, Later, Parcel, Permit, PermitRequest, Permits};
use engage::effect::AUDIENCE_ENTERED;
use engage::{Answer, ProfileRead, Query};
use model::audience::DefinitionId;
use model::suppression::Scope;
use std::sync::Arc;
use tokio::sync::oneshot;

/// How long to wait where the loop cannot be asked, in milliseconds.
const ASK_AGAIN_MS: u64 = 500;

pub(super) struct LoopPermits {
    context: Arc<Context>,
}

impl LoopPermits {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn decide(&self, parcel: &Parcel) -> Permit {
        // What says that somebody left, or is erased, is always right to say.
        if parcel.class != Class::Marketing || parcel.kind != AUDIENCE_ENTERED {
            return Permit::Granted;
        }
        let (word, answer) = oneshot::channel();
        let asked = self.context.engine.query(Query::Profile(parcel.subject), move |result| {
            let _ = word.send(result);
        });
        let later = || Permit::Later { reason: "shard".to_owned(), wait_ms: ASK_AGAIN_MS };
        if asked.is_err() {
            return later();
        }
        let Ok(Ok((Answer::Profile(read, _), _))) = answer.await else { return later() };
        match read {
            None => refused("erased"),
            Some(read) => self.judge(parcel, &read),
        }
    }

    fn judge(&self, parcel: &Parcel, read: &ProfileRead) -> Permit {
        let book = self.context.engine.view().book();
        let definition = parcel.about.and_then(|number| book.definition(DefinitionId(number)));
        let Some(definition) = definition else { return refused("audience_removed") };
        if !read.audiences.iter().any(|member| member.audience == definition.id) {
            return refused("left_meanwhile");
        }
        let suppresses = book.suppresses(definition.id).is_some();
        let held = read.held.iter().any(|(scope, _)| *scope == Scope::EVERYTHING);
        if held && !suppresses {
            return refused("suppressed");
        }
        Permit::Granted
    }
}

fn refused(reason: &str) -> Permit {
    Permit::Refused { reason: reason.to_owned() }
}

impl Permits for LoopPermits {
    fn request(&self, _: &str, requests: Vec<PermitRequest>) -> Later<'_, Vec<Permit>> {
        Box::pin(async move {
            let mut permits = Vec::with_capacity(requests.len());
            for request in &requests {
                permits.push(self.decide(&request.parcel).await);
            }
            permits
        })
    }

    fn crossed(&self, _: &str, parcels: Arc<[Parcel]>) -> Later<'_, u64> {
        Box::pin(async move {
            let mut crossed = 0;
            for parcel in parcels.iter() {
                crossed += u64::from(matches!(self.decide(parcel).await, Permit::Refused { .. }));
            }
            crossed
        })
    }
}
