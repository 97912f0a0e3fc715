//! Classes of what goes wrong, each of which a life can do without: so that a failure can be told with as few of them as
//! it needs.

use std::fmt;

/// A class of what goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The power goes, torn and reordered writes included.
    Power,
    /// The process is killed; what the system holds for it stays.
    Kill,
    /// A sync fails.
    Sync,
    /// A write fails.
    Write,
    /// The disk is full.
    Full,
    /// The clock steps.
    Clock,
    /// Messages are repeated and reordered.
    Repeats,
    /// Senders send what they must not.
    Hostile,
    /// People are erased and parted, settings change.
    Commands,
    /// Destinations misbehave.
    Receivers,
}

impl Class {
    /// Each with its name on the command line. One line adds one.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::Power, "power"),
        (Self::Kill, "kill"),
        (Self::Sync, "sync"),
        (Self::Write, "write"),
        (Self::Full, "full"),
        (Self::Clock, "clock"),
        (Self::Repeats, "repeats"),
        (Self::Hostile, "hostile"),
        (Self::Commands, "commands"),
        (Self::Receivers, "receivers"),
    ];
}

/// Some classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Classes(u16);

impl Classes {
    /// These and one more.
    #[must_use]
    pub fn with(self, class: Class) -> Self {
        Self(self.0 | 1 << class as u16)
    }

    /// Whether one is among them.
    pub fn has(self, class: Class) -> bool {
        self.0 & 1 << class as u16 != 0
    }

    /// Reads names separated by commas.
    pub fn parse(text: &str) -> Option<Self> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        names
            .map(|name| Class::ALL.iter().find(|(_, own)| *own == name))
            .try_fold(Self::default(), |classes, found| found.map(|(class, _)| classes.with(*class)))
    }

    /// All that are not among them.
    #[must_use]
    pub fn others(self) -> Self {
        let others = Class::ALL.iter().filter(|(class, _)| !self.has(*class));
        others.fold(Self::default(), |classes, (class, _)| classes.with(*class))
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            Class::ALL.iter().filter(|(class, _)| self.has(*class)).map(|(_, name)| *name).collect();
        formatter.write_str(&names.join(","))
    }
}
