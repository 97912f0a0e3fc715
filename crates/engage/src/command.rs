//! What operators can ask for, and what they are answered. Commands are records: replayed like any other.

use crate::define::{Draft, Stretch, decode_ids, decode_people, encode_ids};
use crate::destination::{self, Destination};
use crate::key_rules::KeyRules;
use crate::quarantine::QuarantineChange;
use crate::resolve::Step;
use crate::settings::{
    MAX_TEXT_BYTES, MAX_TOKEN_SCOPES, MAX_TOKENS, MAX_WRITE_KEYS, Settings, Token, WriteKey,
};
use crate::state::Answered;
use crate::view::Change;
use model::audience::{DefinitionError, DefinitionId};
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{Key, Position};
use model::identity::{IdentitySettings, SettingsError};
use model::line::LineSettings;
use model::suppression::SuppressionSettings;
use std::sync::Arc;
use thiserror::Error;

/// How long a repeated command is answered as the first time.
pub(crate) const ANSWERS_KEPT_US: i64 = 48 * 3_600 * 1_000_000;

const FORMAT_VERSION: u8 = 1;

/// A request to change settings or people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Hash of the caller's idempotency key; zero for none.
    pub idempotency: Key,
    /// What to do.
    pub operation: Operation,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Adds a write key, or replaces the one with that number.
    DefineWriteKey(WriteKey),
    /// Lets nothing in with the write key of that number any more.
    DisableWriteKey(u32),
    /// Replaces what a write key may send. The version is set by the machine.
    SetKeyRules(KeyRules),
    /// Adds a token, or replaces the one with that number.
    DefineToken(Token),
    /// Removes the token of that number.
    RevokeToken(u32),
    /// Replaces the rules of identity. The version is set by the machine.
    SetIdentity(IdentitySettings),
    /// Replaces the rules of suppression. The version is set by the machine.
    SetSuppression(SuppressionSettings),
    /// Replaces what the line is measured by. The version is set by the machine.
    SetLine(LineSettings),
    /// Parts nodes that were joined.
    Unmerge(Parting),
    /// Erases a person.
    Erase(WhoToErase),
    /// Defines an audience or a feature, or changes it.
    Define(Draft),
    /// Removes the definition of this name.
    RemoveDefinition(String),
    /// Adds a destination, or replaces the one of that name.
    DefineDestination(Destination),
    /// Removes the destination of that name.
    RemoveDestination(String),
    /// Hands in what nodes gathered in older events, for definitions that need it.
    Gather {
        /// The definitions, at most [`crate::MAX_TOGETHER`], all of which stand where the stretch and its parts begin.
        definitions: Vec<DefinitionId>,
        /// What they gathered in which events.
        stretch: Stretch,
    },
    /// Finds the audiences of definitions for some people.
    Reckon {
        /// The definitions, at most [`crate::MAX_TOGETHER`], all of which stand at `from`.
        definitions: Vec<DefinitionId>,
        /// How far the definitions were: a number that only grows and that means something to whoever names people,
        /// e.g. the place behind the last one named.
        from: u64,
        /// How far they are with these people.
        to: u64,
        /// Profiles, at most [`crate::MAX_CHUNK`].
        people: Vec<Key>,
    },
    /// The audiences of a definition have been found for everybody.
    Backfilled {
        /// The definition.
        definition: DefinitionId,
        /// How far the last of [`Operation::Reckon`] went.
        chunks: u64,
    },
    /// Changes what is in quarantine.
    Quarantine(QuarantineChange),
}

/// Which edges to take out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The one between two nodes.
    Pair(Key, Key),
    /// All that one record made in the profile of a node.
    Record(Key, Position),
}

/// Whom to erase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhoToErase {
    /// The person whom an identifier finds.
    Identifier(Key),
    /// The person of a profile.
    Profile(Key),
}

/// Why a command was refused. It changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The idempotency key was used for something else.
    #[error("this idempotency key was used with another body: send a new key")]
    Conflict,
    /// The record is not a command.
    #[error("the command cannot be read: send one that this version knows")]
    Malformed,
    /// No such write key, token, profile or identifier.
    #[error("there is no such {0}: look it up and send one that exists")]
    Unknown(String),
    /// No edge joins the nodes.
    #[error("the two are not joined directly: look at the profile's edges and name one of them")]
    NotJoined,
    /// A value outside its bounds.
    #[error("{0}")]
    Invalid(String),
    /// A bound was reached.
    #[error("there are {0} already: remove one first")]
    TooMany(String),
    /// A definition cannot be.
    #[error("{message}")]
    Definition {
        /// The stable code, see [`DefinitionError::code`].
        code: String,
        /// What is wrong and what to do.
        message: String,
        /// Where in the rule, with a caret below it; empty where that says nothing.
        excerpt: String,
    },
}

/// What a command is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Done; the version of the settings after it.
    Settings(u32),
    /// The profiles that there are now, by root; one where other edges still join everybody.
    Unmerged(Vec<Key>),
    /// So many nodes are no more.
    Erased(u32),
    /// The number and version of a definition.
    Defined(DefinitionId, u32),
    /// How far a back-fill is: events before this position are read, and so many chunks of people gone through.
    Backfill(Position, u64),
    /// So many events of the quarantine were changed; of a released event, whether it was there.
    Quarantine(u32),
    /// Nothing was changed.
    Refused(CommandError),
}

impl Operation {
    /// Of operations on definitions and destinations.
    fn encode_definition(&self, encoder: &mut Encoder<'_>) {
        match self {
            Self::Define(draft) => {
                encoder.u8(11);
                draft.encode(encoder);
            }
            Self::RemoveDefinition(name) => {
                encoder.u8(12);
                encoder.text(name);
            }
            Self::DefineDestination(destination) => {
                encoder.u8(16);
                destination.encode(encoder);
            }
            Self::RemoveDestination(name) => {
                encoder.u8(17);
                encoder.text(name);
            }
            Self::Gather { definitions, stretch } => {
                encoder.u8(18);
                encode_ids(definitions, encoder);
                stretch.encode(encoder);
            }
            Self::Reckon { definitions, from, to, people } => {
                encoder.u8(19);
                encode_ids(definitions, encoder);
                encoder.u64(*from);
                encoder.u64(*to);
                encoder.varint(people.len() as u64);
                people.iter().for_each(|profile| encoder.u128(profile.0));
            }
            Self::Backfilled { definition, chunks } => {
                encoder.u8(15);
                encoder.u32(definition.0);
                encoder.u64(*chunks);
            }
            Self::Quarantine(change) => {
                encoder.u8(25);
                change.encode(encoder);
            }
            _ => {}
        }
    }
}

impl Command {
    /// Appends the body of a record of kind [`model::record::RecordKind::COMMAND`].
    pub fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.u8(FORMAT_VERSION);
        encoder.u128(self.idempotency.0);
        match &self.operation {
            Operation::DefineWriteKey(key) => {
                encoder.u8(1);
                key.encode(encoder);
            }
            Operation::DisableWriteKey(number) => {
                encoder.u8(2);
                encoder.u32(*number);
            }
            Operation::SetKeyRules(rules) => {
                encoder.u8(24);
                rules.encode(encoder);
            }
            Operation::DefineToken(token) => {
                encoder.u8(3);
                token.encode(encoder);
            }
            Operation::RevokeToken(number) => {
                encoder.u8(4);
                encoder.u32(*number);
            }
            Operation::SetIdentity(settings) => {
                encoder.u8(5);
                settings.encode(encoder);
            }
            Operation::SetSuppression(settings) => {
                encoder.u8(6);
                settings.encode(encoder);
            }
            Operation::SetLine(settings) => {
                encoder.u8(20);
                settings.encode(encoder);
            }
            Operation::Unmerge(parting) => {
                let (tag, first, second) = match parting {
                    Parting::Pair(a, b) => (7, a.0, b.0),
                    Parting::Record(node, position) => (8, node.0, u128::from(position.0)),
                };
                encoder.u8(tag);
                encoder.u128(first);
                encoder.u128(second);
            }
            Operation::Erase(who) => {
                let (tag, key) = match who {
                    WhoToErase::Identifier(key) => (9, key),
                    WhoToErase::Profile(key) => (10, key),
                };
                encoder.u8(tag);
                encoder.u128(key.0);
            }
            definition => definition.encode_definition(encoder),
        }
    }

    /// Reads the body of a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let version = decoder.u8()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown(u64::from(version)));
        }
        let idempotency = Key(decoder.u128()?);
        let operation = match decoder.u8()? {
            1 => Operation::DefineWriteKey(WriteKey::decode(decoder)?),
            2 => Operation::DisableWriteKey(decoder.u32()?),
            24 => Operation::SetKeyRules(KeyRules::decode(decoder)?),
            3 => Operation::DefineToken(Token::decode(decoder)?),
            4 => Operation::RevokeToken(decoder.u32()?),
            5 => Operation::SetIdentity(IdentitySettings::decode(decoder)?),
            6 => Operation::SetSuppression(SuppressionSettings::decode(decoder)?),
            20 => Operation::SetLine(LineSettings::decode(decoder)?),
            7 => Operation::Unmerge(Parting::Pair(Key(decoder.u128()?), Key(decoder.u128()?))),
            8 => Operation::Unmerge(Parting::Record(Key(decoder.u128()?), Position(decoder.u128()? as u64))),
            9 => Operation::Erase(WhoToErase::Identifier(Key(decoder.u128()?))),
            10 => Operation::Erase(WhoToErase::Profile(Key(decoder.u128()?))),
            11 => Operation::Define(Draft::decode(decoder)?),
            12 => Operation::RemoveDefinition(decoder.text()?.to_owned()),
            16 => Operation::DefineDestination(Destination::decode(decoder)?),
            17 => Operation::RemoveDestination(decoder.text()?.to_owned()),
            // Records of one definition, as they were once written: its chunks were counted.
            13 => Operation::Gather {
                definitions: vec![DefinitionId(decoder.u32()?)],
                stretch: Stretch::decode(decoder)?,
            },
            14 => {
                let (definitions, from) = (vec![DefinitionId(decoder.u32()?)], decoder.u64()?);
                let to = from.saturating_add(1);
                Operation::Reckon { definitions, from, to, people: decode_people(decoder)? }
            }
            18 => Operation::Gather { definitions: decode_ids(decoder)?, stretch: Stretch::decode(decoder)? },
            19 => Operation::Reckon {
                definitions: decode_ids(decoder)?,
                from: decoder.u64()?,
                to: decoder.u64()?,
                people: decode_people(decoder)?,
            },
            15 => Operation::Backfilled { definition: DefinitionId(decoder.u32()?), chunks: decoder.u64()? },
            25 => Operation::Quarantine(QuarantineChange::decode(decoder)?),
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        decoder.finish()?;
        Ok(Self { idempotency, operation })
    }
}

impl Reply {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let encoder = &mut Encoder(&mut out);
        match self {
            Self::Settings(version) => {
                encoder.u8(1);
                encoder.u32(*version);
            }
            Self::Unmerged(parts) => {
                encoder.u8(2);
                encoder.varint(parts.len() as u64);
                parts.iter().for_each(|part| encoder.u128(part.0));
            }
            Self::Erased(count) => {
                encoder.u8(3);
                encoder.u32(*count);
            }
            Self::Defined(definition, version) => {
                encoder.u8(4);
                encoder.u32(definition.0);
                encoder.u32(*version);
            }
            Self::Backfill(read_to, chunks) => {
                encoder.u8(5);
                encoder.u64(read_to.0);
                encoder.u64(*chunks);
            }
            Self::Quarantine(count) => {
                encoder.u8(6);
                encoder.u32(*count);
            }
            Self::Refused(error) => {
                let (tag, text) = match error {
                    CommandError::Conflict => (16, ""),
                    CommandError::Malformed => (17, ""),
                    CommandError::Unknown(what) => (18, what.as_str()),
                    CommandError::NotJoined => (19, ""),
                    CommandError::Invalid(why) => (20, why.as_str()),
                    CommandError::TooMany(what) => (21, what.as_str()),
                    CommandError::Definition { code, message, excerpt } => {
                        encoder.u8(22);
                        [code, message, excerpt].into_iter().for_each(|text| encoder.text(text));
                        return out;
                    }
                };
                encoder.u8(tag);
                encoder.text(text);
            }
        }
        out
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let reply = match decoder.u8()? {
            1 => Self::Settings(decoder.u32()?),
            2 => {
                let mut parts = Vec::new();
                for _ in 0..decoder.count()? {
                    parts.push(Key(decoder.u128()?));
                }
                Self::Unmerged(parts)
            }
            3 => Self::Erased(decoder.u32()?),
            4 => Self::Defined(DefinitionId(decoder.u32()?), decoder.u32()?),
            5 => Self::Backfill(Position(decoder.u64()?), decoder.u64()?),
            6 => Self::Quarantine(decoder.u32()?),
            22 => Self::Refused(CommandError::Definition {
                code: decoder.text()?.to_owned(),
                message: decoder.text()?.to_owned(),
                excerpt: decoder.text()?.to_owned(),
            }),
            tag => {
                let text = decoder.text()?.to_owned();
                Self::Refused(match tag {
                    16 => CommandError::Conflict,
                    17 => CommandError::Malformed,
                    18 => CommandError::Unknown(text),
                    19 => CommandError::NotJoined,
                    20 => CommandError::Invalid(text),
                    21 => CommandError::TooMany(text),
                    other => return Err(DecodeError::Unknown(u64::from(other))),
                })
            }
        };
        decoder.finish()?;
        Ok(reply)
    }
}

impl From<DefinitionError> for CommandError {
    fn from(error: DefinitionError) -> Self {
        let place = match &error {
            DefinitionError::Rule(rule) => Some(&rule.place),
            DefinitionError::Breaks { error: rule, .. } => Some(&rule.place),
            _ => None,
        };
        Self::Definition {
            code: error.code().to_owned(),
            message: error.to_string(),
            excerpt: place.map(|place| place.excerpt.clone()).unwrap_or_default(),
        }
    }
}

impl From<SettingsError> for CommandError {
    fn from(error: SettingsError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl Step<'_> {
    /// Applies a command once: a repeat with the same idempotency key is answered as the first time.
    pub(crate) fn command(&mut self, body: &[u8]) -> Vec<u8> {
        let Ok(command) = Command::decode(body) else {
            return Reply::Refused(CommandError::Malformed).encode();
        };
        let key = command.idempotency;
        let fingerprint = fingerprint(body);
        if key != Key(0)
            && let Some(answered) = self.state.commands.get(key)
        {
            return if answered.body == fingerprint {
                answered.reply.to_vec()
            } else {
                Reply::Refused(CommandError::Conflict).encode()
            };
        }
        let reply = self.operate(command.operation).unwrap_or_else(Reply::Refused).encode();
        if key != Key(0) {
            let answered = Answered { body: fingerprint, at: self.now, reply: reply.clone().into() };
            self.state.commands.insert(key, answered);
            self.outcome.timer(key, Some(self.now.plus_us(ANSWERS_KEPT_US)));
        }
        reply
    }

    fn operate(&mut self, operation: Operation) -> Result<Reply, CommandError> {
        let mut settings = self.settings.clone();
        settings.version = settings.version.saturating_add(1);
        match operation {
            Operation::Unmerge(parting) => return self.unmerge(parting),
            Operation::Erase(who) => return self.erase(who),
            Operation::Quarantine(change) => return self.change_quarantine(change),
            Operation::Define(draft) => return self.define(&draft),
            Operation::RemoveDefinition(name) => return self.remove_definition(&name),
            Operation::Gather { definitions, stretch } => return self.gather(&definitions, stretch),
            Operation::Reckon { definitions, from, to, people } => {
                return self.reckon_chunk(&definitions, (from, to), &people);
            }
            Operation::Backfilled { definition, chunks } => return self.backfilled(definition, chunks),
            Operation::DefineWriteKey(key) => define_write_key(&mut settings, key)?,
            Operation::DisableWriteKey(number) => {
                let key = settings.write_keys.iter_mut().find(|key| key.number == number);
                key.ok_or_else(|| CommandError::Unknown("write key".to_owned()))?.enabled = false;
            }
            Operation::SetKeyRules(rules) => rules.set(&mut settings)?,
            Operation::DefineToken(token) => define_token(&mut settings, token)?,
            Operation::RevokeToken(number) => {
                let before = settings.tokens.len();
                settings.tokens.retain(|token| token.number != number);
                if settings.tokens.len() == before {
                    return Err(CommandError::Unknown("token".to_owned()));
                }
            }
            Operation::DefineDestination(destination) => {
                destination::define(&mut settings, destination, self.position)?;
            }
            Operation::RemoveDestination(name) => destination::remove(&mut settings, &name)?,
            Operation::SetIdentity(mut identity) => {
                identity.check()?;
                identity.version = settings.identity.version.saturating_add(1);
                settings.identity = identity;
            }
            Operation::SetSuppression(mut suppression) => {
                suppression.check().map_err(|error| CommandError::Invalid(error.to_string()))?;
                suppression.version = settings.suppression.version.saturating_add(1);
                settings.suppression = suppression;
            }
            Operation::SetLine(mut line) => {
                Arc::make_mut(&mut line.rates).sort_unstable();
                line.check().map_err(|error| CommandError::Invalid(error.to_string()))?;
                if let (Some(now), Some(wanted)) = (settings.line.currency, line.currency)
                    && now != wanted
                {
                    let now = String::from_utf8_lossy(&now);
                    let advice = "figures of two currencies would stand in one sum. Switch the line off first, and on \
                                  again when hours of before no longer matter to you";
                    return Err(CommandError::Invalid(format!("the line is in {now}: {advice}")));
                }
                line.succeed(&settings.line, self.now);
                settings.line = line;
            }
        }
        let version = settings.version;
        let current = self.state.set_settings(settings);
        self.outcome.changes.push(Change::Settings(current));
        Ok(Reply::Settings(version))
    }
}

fn define_write_key(settings: &mut Settings, key: WriteKey) -> Result<(), CommandError> {
    bounded("key", &key.key, 1)?;
    bounded("name", &key.name, 0)?;
    if settings.write_keys.iter().any(|own| own.key == key.key && own.number != key.number) {
        return Err(CommandError::Invalid("another write key has this text: choose another".to_owned()));
    }
    match settings.write_keys.binary_search_by_key(&key.number, |own| own.number) {
        Ok(at) => settings.write_keys.iter_mut().skip(at).take(1).for_each(|own| *own = key.clone()),
        Err(_) if settings.write_keys.len() >= MAX_WRITE_KEYS => {
            return Err(CommandError::TooMany(format!("{MAX_WRITE_KEYS} write keys")));
        }
        Err(at) => settings.write_keys.insert(at, key),
    }
    Ok(())
}

fn define_token(settings: &mut Settings, token: Token) -> Result<(), CommandError> {
    bounded("name", &token.name, 0)?;
    if token.scopes.len() > MAX_TOKEN_SCOPES {
        return Err(CommandError::Invalid(format!("a token has at most {MAX_TOKEN_SCOPES} scopes")));
    }
    token.scopes.iter().try_for_each(|scope| bounded("scope", scope, 1))?;
    match settings.tokens.binary_search_by_key(&token.number, |own| own.number) {
        Ok(at) => settings.tokens.iter_mut().skip(at).take(1).for_each(|own| *own = token.clone()),
        Err(_) if settings.tokens.len() >= MAX_TOKENS => {
            return Err(CommandError::TooMany(format!("{MAX_TOKENS} tokens")));
        }
        Err(at) => settings.tokens.insert(at, token),
    }
    Ok(())
}

fn bounded(field: &str, text: &str, least: usize) -> Result<(), CommandError> {
    if (least..=MAX_TEXT_BYTES).contains(&text.len()) {
        return Ok(());
    }
    Err(CommandError::Invalid(format!(
        "{field} must have {least} to {MAX_TEXT_BYTES} bytes: send a shorter one"
    )))
}

/// What two bodies are compared by.
fn fingerprint(body: &[u8]) -> Key {
    body.chunks(16).fold(Key(body.len() as u128), |key, chunk| {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        key.with(Key(u128::from_le_bytes(bytes)))
    })
}
