//! Known bytes, changed by chance: what a stable toolchain can do without looking at coverage.

use crate::Target;

/// SplitMix64.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins at a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// What a walk met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Inputs that were accepted.
    pub accepted: u64,
    /// Inputs that were refused.
    pub refused: u64,
}

/// Checks every known input, and then so many that are made from them. What ends the process is a finding: `watch` is told
/// each input before it is tried.
pub fn walk(
    target: &Target,
    known: &[Vec<u8>],
    rounds: u64,
    seed: u64,
    mut watch: impl FnMut(u64, &[u8]),
) -> Met {
    let mut met = Met::default();
    let mut chance = Chance::new(seed);
    let mut meet = |round: u64, input: &[u8]| {
        watch(round, input);
        if (target.check)(input) {
            met.accepted += 1;
        } else {
            met.refused += 1;
        }
    };
    known.iter().for_each(|input| meet(0, input));
    for round in 1..=rounds {
        let mut input = known.get(chance.below(known.len())).cloned().unwrap_or_default();
        let other = known.get(chance.below(known.len())).map(Vec::as_slice).unwrap_or_default();
        for _ in 0..=chance.below(3) {
            mutate(&mut chance, &mut input, other, target.words);
        }
        meet(round, &input);
    }
    met
}

fn mutate(chance: &mut Chance, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
    let at = chance.below(input.len() + 1);
    let until = (at + 1 + chance.below(40)).min(input.len());
    let at = at.min(until);
    match chance.below(7) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = chance.next() as u8;
            }
        }
        2 => drop(input.drain(at..until)),
        3 => {
            let again = input.get(at..until).map(<[u8]>::to_vec).unwrap_or_default();
            input.splice(at..at, again);
        }
        4 => input.truncate(at),
        5 => {
            let from = chance.below(other.len());
            let to = (from + 1 + chance.below(60)).min(other.len());
            input.splice(at..until, other.get(from..to).unwrap_or_default().iter().copied());
        }
        _ => {
            let word = words.get(chance.below(words.len())).copied().unwrap_or_default();
            input.splice(at..at, word.iter().copied());
        }
    }
}
