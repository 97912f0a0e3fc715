//! What happens when a rule panics: the process stops, and the second time the record is put aside.

use env::{Env, OpenMode};
use model::id::Position;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The file that remembers the position of the last panic.
const MARKER: &str = "panicked-at";

/// Runs something that may panic. What it changed must not be used after a panic, and is not: the shard stops.
pub(crate) fn guard<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned())
    })
}

/// Writes down where a panic struck.
pub(crate) fn remember(env: &Env, directory: &Path, position: Position) -> io::Result<()> {
    let path = directory.join(MARKER);
    if env.disk.exists(&path) {
        env.disk.remove(&path)?;
    }
    let file = env.disk.open(&path, OpenMode::CreateNew)?;
    file.write_all_at(0, &position.0.to_le_bytes())?;
    file.sync_data()?;
    env.disk.sync_directory(directory)
}

/// Where the last panic struck, if one did. A marker that cannot be read counts as none: then it takes one more time.
pub(crate) fn recall(env: &Env, directory: &Path) -> Option<Position> {
    let file = env.disk.open(&directory.join(MARKER), OpenMode::Read).ok()?;
    let mut bytes = [0; 8];
    file.read_exact_at(0, &mut bytes).ok()?;
    Some(Position(u64::from_le_bytes(bytes)))
}
