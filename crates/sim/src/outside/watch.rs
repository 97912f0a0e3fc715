//! Permits and destinations with somebody who writes down what goes through them.

use super::books::Books;
use delivery::{Destination, Later, Outcome, Parcel, Permit, PermitRequest, Permits};
use std::sync::Arc;

/// The real permits.
pub(super) struct WatchedPermits<P> {
    pub(super) inner: P,
    pub(super) books: Books,
}

impl<P: Permits> Permits for WatchedPermits<P> {
    fn request(&self, destination: &str, requests: Vec<PermitRequest>) -> Later<'_, Vec<Permit>> {
        let name = destination.to_owned();
        Box::pin(async move {
            let lane = self.books.lane(&name);
            let permits = self.inner.request(&name, requests.clone()).await;
            for (request, permit) in requests.iter().zip(&permits) {
                self.books.decided(lane, &request.parcel, permit);
            }
            permits
        })
    }

    fn crossed(&self, destination: &str, parcels: Arc<[Parcel]>) -> Later<'_, u64> {
        let name = destination.to_owned();
        Box::pin(async move {
            let lane = self.books.lane(&name);
            let crossed = self.inner.crossed(&name, Arc::clone(&parcels)).await;
            self.books.looked_back(lane, &parcels, crossed);
            crossed
        })
    }
}

/// A real destination.
pub(super) struct WatchedDestination<D> {
    pub(super) inner: D,
    pub(super) lane: usize,
    pub(super) books: Books,
}

impl<D: Destination> Destination for WatchedDestination<D> {
    fn send(&self, parcels: Arc<[Parcel]>, timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move {
            let flight = self.books.begin(self.lane, &parcels);
            let outcome = self.inner.send(parcels, timeout_ms).await;
            flight.land(&outcome);
            outcome
        })
    }
}
