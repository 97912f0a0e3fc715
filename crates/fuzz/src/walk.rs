//! Known bytes, changed by chance: what a stable toolchain can do without looking at coverage.

use crate::Target;
use env::seeded::Seed;

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
    let mut chance = Seed::new(seed);
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
        let mut input = known.get(below(&mut chance, known.len())).cloned().unwrap_or_default();
        let other = known.get(below(&mut chance, known.len())).map(Vec::as_slice).unwrap_or_default();
        for _ in 0..=chance.below(3) {
            mutate(&mut chance, &mut input, other, target.words);
        }
        meet(round, &input);
    }
    met
}

fn below(chance: &mut Seed, end: usize) -> usize {
    chance.below(end as u64) as usize
}

fn mutate(chance: &mut Seed, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
    let at = below(chance, input.len() + 1);
    let until = (at + 1 + below(chance, 40)).min(input.len());
    let at = at.min(until);
    match chance.below(7) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << below(chance, 8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = chance.next_u64() as u8;
            }
        }
        2 => drop(input.drain(at..until)),
        3 => {
            let again = input.get(at..until).map(<[u8]>::to_vec).unwrap_or_default();
            input.splice(at..at, again);
        }
        4 => input.truncate(at),
        5 => {
            let from = below(chance, other.len());
            let to = (from + 1 + below(chance, 60)).min(other.len());
            input.splice(at..until, other.get(from..to).unwrap_or_default().iter().copied());
        }
        _ => {
            let word = words.get(below(chance, words.len())).copied().unwrap_or_default();
            input.splice(at..at, word.iter().copied());
        }
    }
}
