//! How channels share what paths of them sold: last click, Markov of order 1, simplified Shapley.
//!
//! All three split *observed* credit; none is causal. What a channel caused only a control group tells.
//!
//! Paths are added up into whole numbers, so neither their order nor how they are divided over calls matters. Only
//! [`Paths::shares`] computes with floating point, in the order of channels' names: nothing of it is stored, and the same
//! paths give the same bits.

use std::collections::BTreeMap;
use thiserror::Error;

/// The most channels. Time grows with the third power, memory with the second: about a megabyte at this many.
pub const MAX_CHANNELS: usize = 256;
/// The longest name of a channel, in bytes.
pub const MAX_CHANNEL_BYTES: usize = 128;
/// The most touches of one path.
pub const MAX_PATH_TOUCHES: usize = 100_000;
/// The most paths, converting or not, all calls together. Products of counts stay exact below it.
pub const MAX_TOTAL: u64 = 1_000_000_000_000;

/// Paths that cannot be meant. Nothing of the path was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// There is no channel.
    #[error("a path names no channel: leave it out, or name the channels in their order")]
    Empty,
    /// A name is no name.
    #[error("a channel's name has 1 to {MAX_CHANNEL_BYTES} bytes: {0:?} has not")]
    Name(String),
    /// There are too many channels.
    #[error("more than {MAX_CHANNELS} channels: put those together that you would judge together")]
    TooManyChannels,
    /// A path is too long.
    #[error("a path has more than {MAX_PATH_TOUCHES} touches: cut off its beginning")]
    TooLong,
    /// There are too many paths.
    #[error("more than {MAX_TOTAL} paths in all: count them in parts")]
    TooMany,
}

impl PathError {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "path_empty",
            Self::Name(_) => "channel_name",
            Self::TooManyChannels => "too_many_channels",
            Self::TooLong => "path_too_long",
            Self::TooMany => "too_many_paths",
        }
    }
}

/// What is credited to a channel: conversions. Each column sums to all conversions.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Its name.
    pub channel: String,
    /// As the last of its paths.
    pub last: u64,
    /// In proportion to what fewer would convert without it.
    pub markov: f64,
    /// In equal parts with the others of each path.
    pub shapley: f64,
}

/// Everything that was computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Shares {
    /// By name of the channel, as bytes.
    pub channels: Vec<Share>,
    /// How many converted.
    pub conversions: u64,
    /// How many did not.
    pub nulls: u64,
    /// The chance to convert that the Markov chain gives, from 0 to 1.
    pub chance: f64,
}

/// A channel, as all paths together say.
#[derive(Clone, Debug, Default)]
struct Channel {
    /// Paths that begin with it.
    begun: u64,
    /// Paths that end with it and convert.
    converted: u64,
    /// Paths that end with it and do not.
    lost: u64,
    /// To other channels, by their place.
    onward: BTreeMap<usize, u64>,
    /// Conversions of paths that it is on, by how many different channels are.
    shared: BTreeMap<usize, u64>,
}

/// Paths of channels, added up.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    places: BTreeMap<String, usize>,
    channels: Vec<Channel>,
    conversions: u64,
    nulls: u64,
}

impl Paths {
    /// Adds a path that so many people took who then converted, and so many who did not.
    pub fn add<'n>(
        &mut self,
        channels: impl Iterator<Item = &'n str> + Clone,
        conversions: u64,
        nulls: u64,
    ) -> Result<(), PathError> {
        let weight = self.checked(channels.clone(), conversions, nulls)?;
        let path: Vec<usize> = channels.map(|name| self.place(name)).collect();
        let mut different = path.clone();
        different.sort_unstable();
        different.dedup();
        for place in &different {
            if let Some(own) = self.channels.get_mut(*place) {
                *own.shared.entry(different.len()).or_default() += conversions;
            }
        }
        for (from, to) in path.iter().zip(path.iter().skip(1)).filter(|(from, to)| from != to) {
            if let Some(own) = self.channels.get_mut(*from) {
                *own.onward.entry(*to).or_default() += weight;
            }
        }
        if let Some(first) = path.first().and_then(|place| self.channels.get_mut(*place)) {
            first.begun += weight;
        }
        if let Some(last) = path.last().and_then(|place| self.channels.get_mut(*place)) {
            last.converted += conversions;
            last.lost += nulls;
        }
        self.conversions += conversions;
        self.nulls += nulls;
        Ok(())
    }

    /// How many people took the path. Changes nothing.
    fn checked<'n>(
        &self,
        channels: impl Iterator<Item = &'n str>,
        conversions: u64,
        nulls: u64,
    ) -> Result<u64, PathError> {
        let weight = conversions.checked_add(nulls).ok_or(PathError::TooMany)?;
        if weight > MAX_TOTAL.saturating_sub(self.conversions + self.nulls) {
            return Err(PathError::TooMany);
        }
        let (mut touches, mut fresh) = (0, Vec::new());
        for name in channels {
            touches += 1;
            if touches > MAX_PATH_TOUCHES {
                return Err(PathError::TooLong);
            }
            if !(1..=MAX_CHANNEL_BYTES).contains(&name.len()) {
                return Err(PathError::Name(name.chars().take(MAX_CHANNEL_BYTES).collect()));
            }
            if !self.places.contains_key(name) && !fresh.contains(&name) {
                fresh.push(name);
            }
            if self.places.len() + fresh.len() > MAX_CHANNELS {
                return Err(PathError::TooManyChannels);
            }
        }
        if touches == 0 { Err(PathError::Empty) } else { Ok(weight) }
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.channels.len();
        self.channels.push(Channel::default());
        self.places.insert(name.to_owned(), place);
        place
    }

    /// What each channel is credited with. A conversion is never lost: each column sums to all of them.
    pub fn shares(&self) -> Shares {
        // By name, so that the order in which channels were first named moves no bit.
        let named: Vec<(&String, &Channel)> =
            self.places.iter().filter_map(|(name, place)| Some((name, self.channels.get(*place)?))).collect();
        let ranks: BTreeMap<usize, usize> =
            self.places.values().enumerate().map(|(rank, place)| (*place, rank)).collect();
        let (chance, effects) = removal_effects(&named, &ranks);
        let all: f64 = effects.iter().sum();
        let scale = if all > 0.0 { self.conversions as f64 / all } else { 0.0 };
        let channels = named.iter().zip(effects).map(|((name, own), effect)| Share {
            channel: (*name).clone(),
            last: own.converted,
            markov: effect * scale,
            shapley: own.shared.iter().map(|(count, conversions)| *conversions as f64 / *count as f64).sum(),
        });
        Shares { channels: channels.collect(), conversions: self.conversions, nulls: self.nulls, chance }
    }
}

/// The chance to convert from the start, and of each channel the share of that chance which goes with it.
///
/// The chain has the states start, channels, conversion and nothing. A transition weighs as much as the people who made
/// it; staying where one is counts as none; rows are normalised. Taking a channel out sends what comes to it to nothing,
/// so what is lost are the ways that pass through it: the chance ever to come there, times the chance to convert from
/// there. With N, the inverse of I − Q, which says how often a channel is visited from another: the chance ever to come
/// from the start to i is (start · N)ᵢ / Nᵢᵢ (Kemeny and Snell, Finite Markov Chains, 1960, theorem 3.5.7; the removal effect
/// is that of Anderl et al., 2016, doi 10.1016/j.ijresmar.2016.03.001).
fn removal_effects(named: &[(&String, &Channel)], ranks: &BTreeMap<usize, usize>) -> (f64, Vec<f64>) {
    let size = named.len();
    let begun: u64 = named.iter().map(|(_, own)| own.begun).sum();
    let mut left = vec![vec![0.0; size]; size];
    let mut converts = vec![0.0; size];
    for (row, (_, own)) in named.iter().enumerate() {
        let out: u64 = own.onward.values().sum::<u64>() + own.converted + own.lost;
        let share = |weight: u64| if out == 0 { 0.0 } else { weight as f64 / out as f64 };
        set(&mut left, row, row, 1.0);
        for (to, weight) in &own.onward {
            if let Some(column) = ranks.get(to) {
                set(&mut left, row, *column, -share(*weight));
            }
        }
        if let Some(chance) = converts.get_mut(row) {
            *chance = share(own.converted);
        }
    }
    let visits = inverse(left);
    let dot = |row: &[f64], other: &[f64]| -> f64 { row.iter().zip(other).map(|(one, two)| one * two).sum() };
    let from_there: Vec<f64> = visits.iter().map(|row| dot(row, &converts)).collect();
    let starts: Vec<f64> =
        named.iter().map(|(_, own)| if begun == 0 { 0.0 } else { own.begun as f64 / begun as f64 }).collect();
    let chance = dot(&starts, &from_there);
    let effects = (0..size).map(|column| {
        let visited: f64 = visits.iter().zip(&starts).map(|(row, start)| start * at(row, column)).sum();
        let own = visits.get(column).map_or(0.0, |row| at(row, column));
        let lost = visited / own * from_there.get(column).copied().unwrap_or_default();
        if chance > 0.0 && own > 0.0 { lost / chance } else { 0.0 }
    });
    (chance, effects.collect())
}

fn at(row: &[f64], column: usize) -> f64 {
    row.get(column).copied().unwrap_or_default()
}

fn set(matrix: &mut [Vec<f64>], row: usize, column: usize, value: f64) {
    if let Some(own) = matrix.get_mut(row).and_then(|row| row.get_mut(column)) {
        *own = value;
    }
}

/// By Gauss and Jordan, without exchanging rows: every channel leads to an end, so I − Q is an M-matrix, of which no pivot
/// is zero and none needs to be looked for.
fn inverse(mut left: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let size = left.len();
    let mut right: Vec<Vec<f64>> = (0..size)
        .map(|row| (0..size).map(|column| if row == column { 1.0 } else { 0.0 }).collect())
        .collect();
    for pivot in 0..size {
        let (Some(mut own), Some(mut of_it)) = (left.get(pivot).cloned(), right.get(pivot).cloned()) else {
            return right;
        };
        let scale = at(&own, pivot);
        own.iter_mut().chain(of_it.iter_mut()).for_each(|value| *value /= scale);
        for (row, (lefts, rights)) in left.iter_mut().zip(&mut right).enumerate() {
            let factor = at(lefts, pivot);
            if row == pivot || factor == 0.0 {
                continue;
            }
            let pairs = lefts.iter_mut().zip(&own).chain(rights.iter_mut().zip(&of_it));
            pairs.for_each(|(value, other)| *value -= factor * other);
        }
        if let (Some(lefts), Some(rights)) = (left.get_mut(pivot), right.get_mut(pivot)) {
            (*lefts, *rights) = (own, of_it);
        }
    }
    right
}
