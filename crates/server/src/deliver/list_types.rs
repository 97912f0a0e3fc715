//! What is sent and answered about the lists of ad platforms.

use crate::api::shape::wire;

wire! {
    /// Work on a list of an ad platform as a whole.
    struct ListGiven {
        /// The audience whose list it is.
        audience: String,
        /// differences: send what is missing and take out what is too much. again: send everything, whatever was acknowledged. replace: put everybody in place of whatever the list holds (Meta and Google). verify: hold what is wanted against what was acknowledged, and send nothing.
        how: String,
    }

    /// A list of an ad platform, by what the platform was told.
    struct ListShown {
        /// The audience.
        audience: String,
        /// People who should be in it.
        people: u64,
        /// Hashes by which the platform would find them.
        rows: u64,
        /// People of whom something is not acknowledged.
        unsettled: u64,
    }

    /// Work on a list, under way or ended.
    struct ListWork {
        /// The audience.
        audience: String,
        /// differences, again, replace or verify.
        how: String,
        /// When it began.
        began_at: String,
        /// When it ended.
        ended_at: Option<String>,
        /// People who may be in the list and were looked at so far.
        looked_at: u64,
        /// About how many there are.
        to_look_at: u64,
        /// People who are wanted in the list.
        wanted: Option<u64>,
        /// People whom the platform was told to have in it.
        told: Option<u64>,
        /// People for whom something was sent.
        sent: Option<u64>,
        /// People of whom something is not acknowledged.
        unsettled: Option<u64>,
        /// Whether those who are wanted are those whom the platform was told of, with the same hashes.
        agrees: Option<bool>,
        /// Whether the platform has also acknowledged all of it.
        verified: Option<bool>,
        /// What ended it before it was done; begin it again to go on.
        problem: Option<String>,
    }

    /// The lists of a destination.
    struct ListsShown {
        /// By audience.
        lists: Vec<ListShown>,
        /// The last work on one of them, since the start.
        work: Option<ListWork>,
    }
}
