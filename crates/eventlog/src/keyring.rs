//! The keys that seal a region's log at rest.
//!
//! A keyring is a small text file: a first line that names the format, a note, one line per key, the number of the
//! key that seals from now on, and a checksum. Old keys stay in it, since old segments are sealed with them.
//! Losing the file loses the log; whoever can read it can read the log. Keep it at mode 600 and off the data disk.

use crate::error::LogError;
use env::{Env, OpenMode};
use model::seal::SECRET_BYTES;
use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// The most keys of one keyring.
pub const KEYS_MAX: usize = 4_096;

const FILE_BYTES_MAX: u64 = 1 << 20;
const TITLE: &str = "throughline keyring 1";
const NOTE: &str =
    "# Whoever reads this file can read the log, and without it nobody can. chmod 600, and keep a copy.";

/// The keys of one region, by number. Printing shows the numbers only; the keys are wiped when dropped.
#[derive(Clone)]
pub struct Keyring {
    /// The key that new frames are sealed with.
    pub active: u32,
    /// Every key that a frame may have been sealed with.
    pub keys: BTreeMap<u32, [u8; SECRET_BYTES]>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keyring(active {}, {} keys)", self.active, self.keys.len())
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.keys.values_mut().for_each(Zeroize::zeroize);
    }
}

/// Makes a keyring with one new key and stores it. The file must not exist. Restrict its mode to 600 afterwards.
pub fn create(env: &Env, path: &Path) -> Result<Keyring, LogError> {
    if env.disk.exists(path) {
        return refuse(path, "it exists already; use rotate to add a key to it");
    }
    let mut keyring = Keyring { active: 1, keys: BTreeMap::new() };
    keyring.keys.insert(1, fresh_secret(env, path)?);
    store(env, path, &keyring)?;
    Ok(keyring)
}

/// Adds a new key, makes it the active one, and stores the keyring in one step.
pub fn rotate(env: &Env, path: &Path) -> Result<Keyring, LogError> {
    let mut keyring = load(env, path)?;
    if keyring.keys.len() >= KEYS_MAX {
        return refuse(path, "it holds as many keys as it may; start a new data directory");
    }
    let Some(active) = keyring.keys.keys().next_back().and_then(|last| last.checked_add(1)) else {
        return refuse(path, "its key numbers are used up; start a new data directory");
    };
    keyring.keys.insert(active, fresh_secret(env, path)?);
    keyring.active = active;
    store(env, path, &keyring)?;
    Ok(keyring)
}

/// Reads a keyring.
pub fn load(env: &Env, path: &Path) -> Result<Keyring, LogError> {
    let file = env.disk.open(path, OpenMode::Read).map_err(|error| LogError::io("open", path, error))?;
    let length = file.len().map_err(|error| LogError::io("measure", path, error))?;
    if length > FILE_BYTES_MAX {
        return refuse(path, "it is too large to be a keyring; check the path");
    }
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(length).unwrap_or(0)]);
    file.read_exact_at(0, &mut bytes).map_err(|error| LogError::io("read", path, error))?;
    match std::str::from_utf8(&bytes).map_err(|_| "it is not text; check the path").and_then(parse) {
        Ok(keyring) => Ok(keyring),
        Err(what) => refuse(path, what),
    }
}

fn refuse<T>(path: &Path, what: &str) -> Result<T, LogError> {
    Err(LogError::Keyring { path: path.to_owned(), what: what.to_owned() })
}

fn fresh_secret(env: &Env, path: &Path) -> Result<[u8; SECRET_BYTES], LogError> {
    let mut secret = [0; SECRET_BYTES];
    env.entropy.fill(&mut secret).map_err(|error| LogError::io("draw a key for", path, error))?;
    Ok(secret)
}

fn store(env: &Env, path: &Path, keyring: &Keyring) -> Result<(), LogError> {
    let text = render(keyring);
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    if env.disk.exists(&temporary) {
        env.disk.remove(&temporary).map_err(|error| LogError::io("remove", &temporary, error))?;
    }
    let file = env
        .disk
        .open(&temporary, OpenMode::CreateNew)
        .map_err(|error| LogError::io("create", &temporary, error))?;
    file.write_all_at(0, text.as_bytes()).map_err(|error| LogError::io("write", &temporary, error))?;
    file.sync_data().map_err(|error| LogError::io("sync", &temporary, error))?;
    env.disk.rename(&temporary, path).map_err(|error| LogError::io("replace", path, error))?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    env.disk.sync_directory(directory).map_err(|error| LogError::io("sync", directory, error))
}

/// Room for all lines is reserved first: a string that grows would leave copies of the keys behind in memory.
fn render(keyring: &Keyring) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(512 + keyring.keys.len() * 96));
    let _ = writeln!(text, "{TITLE}\n{NOTE}");
    for (number, secret) in &keyring.keys {
        let _ = write!(text, "key {number} ");
        for byte in secret {
            let _ = write!(text, "{byte:02x}");
        }
        let _ = writeln!(text);
    }
    let _ = writeln!(text, "active {}", keyring.active);
    let check = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "check {check:08x}");
    text
}

fn parse(text: &str) -> Result<Keyring, &'static str> {
    let damaged = "a line of it is damaged; restore it from its copy";
    let body_len = text.rfind("check ").ok_or(damaged)?;
    let (body, check) = text.split_at_checked(body_len).ok_or(damaged)?;
    let wanted = check.strip_prefix("check ").and_then(|rest| u32::from_str_radix(rest.trim_end(), 16).ok());
    if wanted != Some(crc32c::crc32c(body.as_bytes())) {
        return Err("its checksum is wrong; restore it from its copy");
    }
    let mut lines = body.lines();
    if lines.next() != Some(TITLE) {
        return Err("it is of another format version; use the program that wrote it");
    }
    let mut keyring = Keyring { active: 0, keys: BTreeMap::new() };
    for line in lines.filter(|line| !line.starts_with('#')) {
        let mut words = line.split(' ');
        match (words.next(), words.next().and_then(|word| word.parse::<u32>().ok()), words.next()) {
            (Some("key"), Some(number), Some(digits)) if keyring.keys.len() < KEYS_MAX => {
                keyring.keys.insert(number, parse_secret(digits).ok_or(damaged)?);
            }
            (Some("active"), Some(number), None) => keyring.active = number,
            _ => return Err(damaged),
        }
    }
    if keyring.keys.contains_key(&keyring.active) { Ok(keyring) } else { Err(damaged) }
}

fn parse_secret(digits: &str) -> Option<[u8; SECRET_BYTES]> {
    if digits.len() != SECRET_BYTES * 2 {
        return None;
    }
    let mut secret = [0; SECRET_BYTES];
    for (byte, at) in secret.iter_mut().zip((0..digits.len()).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use env::seeded::World;

    #[test]
    fn a_keyring_reads_back_after_rotation_and_never_prints_its_keys() {
        let env = World::new(7, 0).env();
        let path = Path::new("/keys/eu.keyring");
        let created = create(&env, path).unwrap();
        assert!(matches!(create(&env, path), Err(LogError::Keyring { .. })), "a second create must refuse");
        let rotated = rotate(&env, path).unwrap();
        let loaded = load(&env, path).unwrap();
        assert_eq!((loaded.active, &loaded.keys), (2, &rotated.keys));
        assert_eq!(loaded.keys.get(&1), created.keys.get(&1), "the old key must stay");
        assert_ne!(loaded.keys.get(&1), loaded.keys.get(&2));
        assert_eq!(format!("{loaded:?}"), "Keyring(active 2, 2 keys)");
    }

    #[test]
    fn a_keyring_with_any_byte_changed_is_refused() {
        let world = World::new(8, 0);
        let path = Path::new("/keys/eu.keyring");
        create(&world.env(), path).unwrap();
        let good = world.read_file(path).unwrap();
        // The last byte is a line end, which carries nothing.
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            world.write_file(path, &bad);
            assert!(load(&world.env(), path).is_err(), "byte {at} was changed and nobody noticed");
        }
    }

    #[test]
    fn a_crash_while_rotating_leaves_the_old_or_the_new_keyring() {
        for seed in 0..200 {
            let world = World::new(seed, 0);
            let path = Path::new("/keys/eu.keyring");
            let old = create(&world.env(), path).unwrap();
            let faults = env::seeded::Faults { power_off_at_write: Some(0), ..Default::default() };
            if seed % 2 == 0 {
                world.set_faults(faults);
            }
            let done = rotate(&world.env(), path).is_ok();
            world.crash();
            let found = load(&world.env(), path).unwrap();
            assert_eq!(found.keys.get(&1), old.keys.get(&1), "seed {seed}");
            assert!(!done || found.active == 2, "seed {seed}: a finished rotation was lost");
        }
    }
}
