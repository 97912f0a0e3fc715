//! Definitions as records: what somebody defined, in which version.

use crate::audience::problem::RuleError;
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::suppression::Scope;
use thiserror::Error;

/// The longest name of a definition, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// The most definitions of one shard.
pub const MAX_DEFINITIONS: usize = 4_096;
/// How many audiences may stand behind each other, each a part of the next one's rule.
pub const MAX_AUDIENCE_CHAIN: usize = 16;

const FORMAT_VERSION: u8 = 1;

/// The number of a definition. It is never used for another one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DefinitionId(pub u32);

/// What an audience keeps away from its members, in every channel and before any other audience.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suppress {
    /// Everything.
    Everything,
    /// One product, by its id.
    Product(Box<str>),
    /// One category.
    Category(Box<str>),
}

impl Suppress {
    /// The scope that is suppressed.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Everything => Scope::EVERYTHING,
            Self::Product(product_id) => Scope::product(product_id),
            Self::Category(category) => Scope::category(category),
        }
    }
}

/// What is defined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefinitionKind {
    /// The people who match a rule now.
    Audience {
        /// The rule's text.
        rule: Box<str>,
        /// Set where its members are not to be reached.
        suppress: Option<Suppress>,
    },
    /// An aggregate with a name of its own, for `feature("name")`.
    Feature {
        /// One aggregation, e.g. `sum("Order Completed", "value", "30d")`.
        expression: Box<str>,
    },
}

/// A definition in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its number.
    pub id: DefinitionId,
    /// Its name: rules refer to it by this.
    pub name: Box<str>,
    /// Grows with every change, from 1.
    pub version: u32,
    /// What it is.
    pub kind: DefinitionKind,
}

impl Definition {
    /// The rule or expression.
    pub fn text(&self) -> &str {
        match &self.kind {
            DefinitionKind::Audience { rule, .. } => rule,
            DefinitionKind::Feature { expression } => expression,
        }
    }

    pub(crate) fn is_audience(&self) -> bool {
        matches!(self.kind, DefinitionKind::Audience { .. })
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u8(FORMAT_VERSION);
        encoder.varint(u64::from(self.id.0));
        encoder.text(&self.name);
        encoder.varint(u64::from(self.version));
        match &self.kind {
            DefinitionKind::Audience { rule, suppress } => {
                encoder.u8(1);
                encoder.text(rule);
                match suppress {
                    None => encoder.u8(0),
                    Some(Suppress::Everything) => encoder.u8(1),
                    Some(Suppress::Product(product_id)) => {
                        encoder.u8(2);
                        encoder.text(product_id);
                    }
                    Some(Suppress::Category(category)) => {
                        encoder.u8(3);
                        encoder.text(category);
                    }
                }
            }
            DefinitionKind::Feature { expression } => {
                encoder.u8(2);
                encoder.text(expression);
            }
        }
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let version = decoder.u8()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown(u64::from(version)));
        }
        let id = DefinitionId(small(decoder)?);
        let name = decoder.text()?.into();
        let version = small(decoder)?;
        let kind = match decoder.u8()? {
            1 => {
                let rule = decoder.text()?.into();
                let suppress = match decoder.u8()? {
                    0 => None,
                    1 => Some(Suppress::Everything),
                    2 => Some(Suppress::Product(decoder.text()?.into())),
                    3 => Some(Suppress::Category(decoder.text()?.into())),
                    other => return Err(DecodeError::Unknown(u64::from(other))),
                };
                DefinitionKind::Audience { rule, suppress }
            }
            2 => DefinitionKind::Feature { expression: decoder.text()?.into() },
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        Ok(Self { id, name, version, kind })
    }
}

pub(crate) fn small(decoder: &mut Decoder<'_>) -> Result<u32, DecodeError> {
    u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)
}

/// A definition that was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DefinitionError {
    /// Its rule is wrong.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Its name cannot be.
    #[error(
        "a name has 1 to {MAX_NAME_BYTES} bytes, no control characters and no blanks at its ends: choose another"
    )]
    Name,
    /// Another definition has this name.
    #[error("the name is taken by definition {by}: choose another, or change that one", by = by.0)]
    NameTaken {
        /// Which.
        by: DefinitionId,
    },
    /// Others refer to it by its name.
    #[error("`{by}` refers to it by its name: change that one first")]
    InUse {
        /// The name of one of them.
        by: Box<str>,
    },
    /// There is no such definition.
    #[error("there is no definition {id}", id = id.0)]
    Unknown {
        /// Which.
        id: DefinitionId,
    },
    /// The version is not above the one in force.
    #[error("version {current} is in force: read it again and send a higher version")]
    Stale {
        /// The version in force.
        current: u32,
    },
    /// An audience cannot become a feature, nor a feature an audience.
    #[error("a definition stays what it is, an audience or a feature: make a new one")]
    KindChanged,
    /// There are too many.
    #[error("there are {MAX_DEFINITIONS} definitions already: remove one that is not needed")]
    TooMany,
    /// A rule that refers to this feature would no longer be right.
    #[error("`{by}` refers to it and would be wrong: {error}")]
    Breaks {
        /// The name of the other definition.
        by: Box<str>,
        /// What would be wrong with its rule.
        error: Box<RuleError>,
    },
    /// Its suppressed product or category has no name.
    #[error("the suppressed product or category is empty: name it, or suppress everything")]
    EmptyScope,
}

impl DefinitionError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rule(error) => error.code.code(),
            Self::Name => "definition_name",
            Self::NameTaken { .. } => "definition_name_taken",
            Self::InUse { .. } => "definition_in_use",
            Self::Unknown { .. } => "definition_unknown",
            Self::Stale { .. } => "definition_stale",
            Self::KindChanged => "definition_kind_changed",
            Self::TooMany => "definition_too_many",
            Self::Breaks { .. } => "definition_breaks",
            Self::EmptyScope => "definition_empty_scope",
        }
    }
}
