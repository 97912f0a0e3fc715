//! Who is who: identifiers, the edges between them, and the rules that unite and part them.
//!
//! A *node* is an identifier or a session on a device. Nodes that were seen together are joined by edges; the nodes
//! that edges connect are one [`Component`], which is one profile. Its root is the node seen first. Sessions follow the
//! person who identified last and never unite two people who each hold a unique id (see [`Device`]).

mod component;
mod device;
mod settings;

pub use component::{
    Claim, Component, Edge, EdgeKind, FirstSeen, MAX_EDGES, MAX_MEMBERS, MAX_TOMBSTONES, Member,
};
pub use device::{Device, MAX_TAKERS, Taker};
pub use settings::{CapWindow, IdentitySettings, KindRule, MAX_KIND_RULES, SettingsError};

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::{Identifier, IdentifierKind};
use crate::id::{Key, Position};

/// The most refusals that one node remembers; older ones are counted only.
pub const MAX_REFUSALS: usize = 4;

/// Why two nodes were not joined. Numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// An operator parted the two by `unmerge`.
    Unmerged = 1,
    /// A browser claimed that two known persons are one.
    BrowserClaim = 2,
    /// Both sides hold a different id of a type of which a person has one.
    UniqueConflict = 3,
    /// Together they would hold more ids of a type than its cap allows.
    Cap = 4,
    /// Together they would hold more ids than a profile can.
    Full = 5,
}

impl Reason {
    /// Reads the stored number.
    pub fn from_u8(value: u8) -> Result<Self, DecodeError> {
        Ok(match value {
            1 => Self::Unmerged,
            2 => Self::BrowserClaim,
            3 => Self::UniqueConflict,
            4 => Self::Cap,
            5 => Self::Full,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }

    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unmerged => "unmerged",
            Self::BrowserClaim => "browser_claim",
            Self::UniqueConflict => "unique_conflict",
            Self::Cap => "cap",
            Self::Full => "full",
        }
    }
}

/// An edge that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The node at the other end.
    pub other: Key,
    /// The record that asked for it.
    pub position: Position,
    /// Why not.
    pub reason: Reason,
}

/// The refusals of one node: the latest few and the count of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// The latest, oldest first.
    pub latest: Vec<Refusal>,
    /// All there ever were.
    pub count: u32,
}

impl Refusals {
    /// Remembers one.
    pub fn push(&mut self, refusal: Refusal) {
        self.count = self.count.saturating_add(1);
        if self.latest.len() >= MAX_REFUSALS {
            self.latest.remove(0);
        }
        self.latest.push(refusal);
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(u64::from(self.count));
        encoder.varint(self.latest.len() as u64);
        for refusal in &self.latest {
            encoder.u128(refusal.other.0);
            encoder.varint(refusal.position.0);
            encoder.u8(refusal.reason as u8);
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)?;
        let mut latest = Vec::new();
        for _ in 0..decoder.count()? {
            latest.push(Refusal {
                other: Key(decoder.u128()?),
                position: Position(decoder.varint()?),
                reason: Reason::from_u8(decoder.u8()?)?,
            });
        }
        Ok(Self { latest, count })
    }
}

/// The key of the profile whose root is this node. Derived, so that a profile's public id does not say by which
/// identifier it can be looked up.
pub fn profile_key(root: Key) -> Key {
    root.with(Key(0x0070_726f_6669_6c65))
}

/// The node of the session that a person has on a device which somebody else had before.
pub fn session_key(device: Key, anchor: Key) -> Key {
    device.with(anchor)
}

/// Puts the identifiers of an event in the order in which they count: persons before sessions, then by the priority
/// of their type, then by type, then as sent. The second of two equal ones is dropped.
pub fn in_order<'a>(identifiers: &[Identifier<'a>], settings: &IdentitySettings) -> Vec<Identifier<'a>> {
    let mut ordered: Vec<Identifier<'a>> = Vec::with_capacity(identifiers.len());
    for identifier in identifiers {
        if !ordered.iter().any(|other| other.key == identifier.key) {
            ordered.push(*identifier);
        }
    }
    // One identifier is the common case of a page view, and two are mostly in order already.
    if ordered.len() > 1 {
        ordered.sort_by_key(|identifier| {
            let session = IdentifierKind(identifier.kind).is_session();
            (session, settings.rule(identifier.kind).priority, identifier.kind)
        });
    }
    ordered
}
