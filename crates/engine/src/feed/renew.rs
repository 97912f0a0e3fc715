//! Gives the files of a feed another identity, so that the cursors of before are refused.

use super::FeedError;
use super::head::{FILE_HEAD_BYTES, FileHead, is_file_name};
use super::open::{make_identity, read_identity};
use env::{Env, OpenMode};
use std::path::Path;

/// Makes the feed in a folder another one with the same items. For a data directory that goes back in time, such as one
/// from a backup: followers may have seen what was after it, so their cursors must not count any more.
///
/// Nobody may have the feed open. After an error, or a crash in between, the feed begins anew when it is opened.
pub fn renew_identity(env: &Env, directory: &Path) -> Result<(), FeedError> {
    let failed = FeedError::io("the feed could not be given another identity");
    let Some(former) = read_identity(env, directory)? else { return Ok(()) };
    let identity = make_identity(env, directory)?;
    let names = env.disk.list(directory).map_err(&failed)?;
    for name in names.iter().filter(|name| is_file_name(name)) {
        let file = env.disk.open(&directory.join(name), OpenMode::ReadWrite).map_err(&failed)?;
        let mut bytes = [0; FILE_HEAD_BYTES];
        let is_long = file.len().map_err(&failed)? >= FILE_HEAD_BYTES as u64;
        if is_long {
            file.read_exact_at(0, &mut bytes).map_err(&failed)?;
        }
        // What is torn or of another feed stays as it is: opening removes it.
        if let Some(head) = FileHead::decode(&bytes).filter(|head| head.identity == former) {
            file.write_all_at(0, &FileHead { identity, ..head }.encode()).map_err(&failed)?;
            file.sync_data().map_err(&failed)?;
        }
    }
    Ok(())
}
