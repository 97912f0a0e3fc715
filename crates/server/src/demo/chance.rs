//! Chance that is none: every draw is a hash of what it is drawn for, so the same data give the same story.

/// Changing it changes every synthetic event.
const SEED: u64 = 0x7468_726f_7567_686c;

/// What a draw is for: draws for different purposes are independent of each other.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
pub(super) enum Purpose {
    Household,
    AnonymousId,
    DeviceId,
    Devices,
    FirstLogin,
    Session,
    View,
    Add,
    Report,
    Late,
    Repeat,
    MessageId,
    Consent,
    Campaign,
    Question,
    Ad,
    Confirmation,
}

/// 64 bits for this purpose and these two numbers.
pub(super) fn draw(purpose: Purpose, one: u64, two: u64) -> u64 {
    let mut bytes = [0; 24];
    let (first, rest) = bytes.split_at_mut(8);
    let (second, third) = rest.split_at_mut(8);
    first.copy_from_slice(&(purpose as u64).to_le_bytes());
    second.copy_from_slice(&one.to_le_bytes());
    third.copy_from_slice(&two.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, SEED)
}

/// Whether something that happens `per_mille` times in a thousand happens.
pub(super) fn happens(drawn: u64, per_mille: u64) -> bool {
    drawn % 1_000 < per_mille
}

/// A whole number from `least` to `most`, both included.
pub(super) fn between(drawn: u64, least: i64, most: i64) -> i64 {
    let span = most.saturating_sub(least).unsigned_abs().saturating_add(1);
    least.saturating_add_unsigned(drawn % span)
}

/// The index of one of `count` things; 0 where there is none.
pub(super) fn index(drawn: u64, count: usize) -> usize {
    (drawn % (count as u64).max(1)) as usize
}

/// An id that looks like a UUID.
pub(super) fn uuid(purpose: Purpose, one: u64, two: u64) -> String {
    let high = draw(purpose, one, two);
    let low = draw(purpose, high, two.wrapping_add(1));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}
