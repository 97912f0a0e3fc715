//! Files of the feed, made of blocks. The format is described in `docs/format-feed.md`.

use super::chunk::{Chunk, each_chunk, read_items};
use super::head::{FILE_HEAD_BYTES, FORMAT_VERSION, FileHead, Holds, SALT_BYTES};
use super::{FeedError, Item, Place};
use env::{Disk, DiskFile, Env, OpenMode};
use eventlog::Keyring;
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{EffectId, Position, Timestamp};
use model::seal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a block's head.
pub(super) const BLOCK_HEAD_BYTES: usize = 64;
/// No block is larger; one that says so is damage.
pub(super) const BLOCK_BYTES_MAX: usize = 64 << 20;

/// One block, as the index in memory knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockRef {
    pub(super) offset: u64,
    /// Bytes behind the head, as stored.
    pub(super) stored_bytes: u32,
    pub(super) items: u32,
    /// The first and last item; both the watermark where there is none.
    pub(super) first: Place,
    pub(super) last: Place,
    /// With this block, every item before this position is in the feed.
    pub(super) complete: Position,
    pub(super) at: Timestamp,
    payload_check: u32,
    /// Its place in the file: part of its nonce.
    number: u32,
}

impl BlockRef {
    pub(super) fn end(&self) -> u64 {
        self.offset + BLOCK_HEAD_BYTES as u64 + u64::from(self.stored_bytes)
    }

    /// What the seal is bound to, beside the nonce.
    fn associated(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(48);
        let mut encoder = Encoder(&mut bytes);
        encoder.u32(self.items);
        encoder.u64(self.first.position.0);
        encoder.u32(self.first.ordinal);
        encoder.u64(self.last.position.0);
        encoder.u32(self.last.ordinal);
        encoder.u64(self.complete.0);
        encoder.i64(self.at.0);
        bytes
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BLOCK_HEAD_BYTES);
        let mut encoder = Encoder(&mut bytes);
        encoder.u8(FORMAT_VERSION);
        encoder.u8(0);
        encoder.u16(0);
        encoder.u32(self.stored_bytes);
        encoder.u32(self.payload_check);
        bytes.extend_from_slice(&self.associated());
        bytes.resize(BLOCK_HEAD_BYTES - 4, 0);
        let check = crc32c::crc32c(&bytes);
        Encoder(&mut bytes).u32(check);
        bytes
    }

    fn decode(bytes: &[u8], offset: u64, number: u32) -> Option<Self> {
        let (content, check) = bytes.split_at_checked(BLOCK_HEAD_BYTES - 4)?;
        if Decoder::new(check).u32().ok()? != crc32c::crc32c(content) {
            return None;
        }
        let mut decoder = Decoder::new(content);
        if decoder.u8().ok()? != FORMAT_VERSION {
            return None;
        }
        decoder.take(3).ok()?;
        let stored_bytes = decoder.u32().ok()?;
        let payload_check = decoder.u32().ok()?;
        let items = decoder.u32().ok()?;
        let mut place =
            || Some(Place { position: Position(decoder.u64().ok()?), ordinal: decoder.u32().ok()? });
        let (first, last) = (place()?, place()?);
        let complete = Position(decoder.u64().ok()?);
        let at = Timestamp(decoder.i64().ok()?);
        let sound = stored_bytes as usize <= BLOCK_BYTES_MAX;
        sound.then_some(Self {
            offset,
            stored_bytes,
            items,
            first,
            last,
            complete,
            at,
            payload_check,
            number,
        })
    }
}

/// A file of the feed, open.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) head: FileHead,
    pub(super) blocks: Vec<BlockRef>,
    pub(super) bytes: u64,
    /// Nothing more is written to it.
    pub(super) closed: bool,
    /// Its last block ends with a whole frame. A file must not be closed where it does not.
    pub(super) whole: bool,
}

/// How the feed's files are sealed.
#[derive(Clone)]
pub(super) struct Seals {
    pub(super) keyring: Option<Keyring>,
    pub(super) env: Env,
}

impl Seals {
    fn fresh(&self) -> Result<(u32, [u8; SALT_BYTES]), FeedError> {
        let Some(keyring) = &self.keyring else { return Ok((0, [0; SALT_BYTES])) };
        let mut salt = [0; SALT_BYTES];
        self.env.entropy.fill(&mut salt).map_err(FeedError::io("the system gives no random bytes"))?;
        Ok((keyring.active, salt))
    }

    /// Whether the key that a file is sealed with is there.
    pub(super) fn can_open(&self, head: &FileHead) -> bool {
        head.key_id == 0 || self.secret(head.key_id).is_ok()
    }

    fn secret(&self, key_id: u32) -> Result<&[u8; seal::SECRET_BYTES], FeedError> {
        let keys = self.keyring.as_ref().map(|keyring| &keyring.keys);
        keys.and_then(|keys| keys.get(&key_id)).ok_or(FeedError::NoKey { key_id })
    }
}

fn nonce(salt: [u8; SALT_BYTES], number: u32) -> [u8; seal::NONCE_BYTES] {
    let mut nonce = [0; seal::NONCE_BYTES];
    for (to, from) in nonce.iter_mut().zip(salt.into_iter().chain(number.to_le_bytes())) {
        *to = from;
    }
    nonce
}

/// What a block is made of.
pub(super) struct Draft {
    pub(super) payload: Vec<u8>,
    pub(super) items: u32,
    pub(super) first: Place,
    pub(super) last: Place,
    pub(super) complete: Position,
    pub(super) at: Timestamp,
    pub(super) whole: bool,
}

impl Draft {
    /// Joins chunks. `None` of none.
    pub(super) fn of(chunks: &[Arc<Chunk>]) -> Option<Self> {
        let end = chunks.last()?;
        let mut payload = Vec::with_capacity(chunks.iter().map(|chunk| chunk.weight()).sum());
        let filled = || chunks.iter().filter(|chunk| chunk.items > 0);
        filled().for_each(|chunk| chunk.encode(&mut payload));
        let nowhere = Place::at(end.complete);
        Some(Self {
            payload,
            items: chunks.iter().map(|chunk| chunk.items).sum(),
            first: filled().next().map_or(nowhere, |chunk| chunk.first),
            last: filled().next_back().and_then(|chunk| chunk.last).map_or(nowhere, Place::of),
            complete: end.complete,
            at: end.at,
            whole: end.whole,
        })
    }
}

impl Segment {
    /// Makes a file. Its name is durable when this returns; its head with the first sync.
    pub(super) fn create(
        seals: &Seals,
        path: PathBuf,
        holds: Holds,
        identity: u64,
        first: Position,
    ) -> Result<Self, FeedError> {
        let disk = &seals.env.disk;
        let (key_id, salt) = seals.fresh()?;
        let head = FileHead { holds, identity, first, key_id, salt };
        if disk.exists(&path) {
            disk.remove(&path).map_err(FeedError::io("an old file of the feed could not be removed"))?;
        }
        let failed = FeedError::io("a file of the feed could not be made");
        let file = disk.open(&path, OpenMode::CreateNew).map_err(&failed)?;
        file.write_all_at(0, &head.encode()).map_err(&failed)?;
        if let Some(directory) = path.parent() {
            disk.sync_directory(directory).map_err(&failed)?;
        }
        Ok(Self {
            path,
            file,
            head,
            blocks: Vec::new(),
            bytes: FILE_HEAD_BYTES as u64,
            closed: false,
            whole: true,
        })
    }

    /// Opens a file and reads the heads of its blocks. Blocks from the first unsound one on are left out; with
    /// `check_payloads`, what the blocks hold is looked at too. `None` if it is no file of the feed.
    pub(super) fn scan(
        disk: &dyn Disk,
        path: &Path,
        check_payloads: bool,
    ) -> Result<Option<Self>, FeedError> {
        let failed = FeedError::io("a file of the feed could not be read");
        let file = disk.open(path, OpenMode::ReadWrite).map_err(&failed)?;
        let len = file.len().map_err(&failed)?;
        if len < FILE_HEAD_BYTES as u64 {
            return Ok(None);
        }
        let mut head = [0; FILE_HEAD_BYTES];
        file.read_exact_at(0, &mut head).map_err(&failed)?;
        let Some(head) = FileHead::decode(&head) else { return Ok(None) };
        let mut segment = Self {
            path: path.to_owned(),
            file,
            head,
            blocks: Vec::new(),
            bytes: FILE_HEAD_BYTES as u64,
            closed: true,
            whole: true,
        };
        while segment.bytes + BLOCK_HEAD_BYTES as u64 <= len {
            let mut head = [0; BLOCK_HEAD_BYTES];
            segment.file.read_exact_at(segment.bytes, &mut head).map_err(&failed)?;
            let number = segment.blocks.len() as u32;
            let Some(block) = BlockRef::decode(&head, segment.bytes, number) else { break };
            if block.end() > len || (check_payloads && segment.stored(&block)?.is_none()) {
                break;
            }
            segment.bytes = block.end();
            segment.blocks.push(block);
        }
        Ok(Some(segment))
    }

    /// Leaves out the blocks from the first on that holds anything at or behind a position, on disk too: what was cut
    /// must not outlive an erasure. The cut need not be durable: it is made again as long as it is needed.
    pub(super) fn cut(&mut self, position: Position) -> Result<(), FeedError> {
        let end = Place::at(position);
        let kept = self
            .blocks
            .partition_point(|block| block.complete <= position && (block.items == 0 || block.last < end));
        self.blocks.truncate(kept);
        let bytes = self.blocks.last().map_or(FILE_HEAD_BYTES as u64, BlockRef::end);
        let failed = FeedError::io("a file of the feed could not be cut");
        if self.file.len().map_err(&failed)? > bytes {
            self.file.set_len(bytes).map_err(&failed)?;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Puts a file that was written under another name in its place, durably. Nothing more is written to it.
    pub(super) fn put_in_place(mut self, seals: &Seals, path: &Path) -> Result<Self, FeedError> {
        self.sync()?;
        let renamed = seals.env.disk.rename(&self.path, path);
        renamed.map_err(FeedError::io("a rewritten file of the feed could not be put in place"))?;
        if let Some(directory) = path.parent() {
            let synced = seals.env.disk.sync_directory(directory);
            synced.map_err(FeedError::io("the feed's folder could not be synced"))?;
        }
        path.clone_into(&mut self.path);
        (self.closed, self.whole) = (true, true);
        Ok(self)
    }

    /// The same file without its index, which of a large feed is large: enough to read a block of it.
    pub(super) fn handle(&self) -> Self {
        Self {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            head: self.head.clone(),
            blocks: Vec::new(),
            bytes: self.bytes,
            closed: self.closed,
            whole: self.whole,
        }
    }

    /// Whether both are the same file, and not one that was put in the place of the other.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file)
    }

    /// The first block that holds anything from a place on.
    pub(super) fn block_from(&self, from: Place) -> Option<&BlockRef> {
        let index = self.blocks.partition_point(|block| block.last < from);
        self.blocks.iter().skip(index).find(|block| block.items > 0 && block.last >= from)
    }

    pub(super) fn name(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Every item before this position, from [`FileHead::first`] on, is in here.
    pub(super) fn complete(&self) -> Position {
        self.blocks.last().map_or(self.head.first, |block| block.complete)
    }

    /// Log time of the newest block.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.blocks.last().map(|block| block.at)
    }

    /// Writes a block at the end. After an error the same may be written again.
    pub(super) fn append(&mut self, seals: &Seals, draft: &Draft) -> Result<(), FeedError> {
        let number = self.blocks.len() as u32;
        let mut block = BlockRef {
            offset: self.bytes,
            stored_bytes: 0,
            items: draft.items,
            first: draft.first,
            last: draft.last,
            complete: draft.complete,
            at: draft.at,
            payload_check: 0,
            number,
        };
        let sealed;
        let stored: &[u8] = if self.head.key_id == 0 || draft.payload.is_empty() {
            &draft.payload
        } else {
            let secret = seals.secret(self.head.key_id)?;
            let nonce = nonce(self.head.salt, number);
            let bytes = seal::seal(secret, nonce, &block.associated(), &draft.payload);
            sealed = bytes.map_err(|_| FeedError::Io {
                what: "a block of the feed could not be sealed",
                error: std::io::ErrorKind::InvalidInput.into(),
            })?;
            &sealed
        };
        block.stored_bytes = stored.len() as u32;
        block.payload_check = crc32c::crc32c(stored);
        let mut bytes = block.encode();
        bytes.extend_from_slice(stored);
        self.file
            .write_all_at(self.bytes, &bytes)
            .map_err(FeedError::io("a block of the feed could not be written"))?;
        self.bytes = block.end();
        self.blocks.push(block);
        self.whole = draft.whole;
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), FeedError> {
        // Whatever the reason, even a full disk: what a failed sync leaves behind is not known.
        let what = "a file of the feed could not be synced";
        self.file.sync_data().map_err(|error| FeedError::Io { what, error })
    }

    /// The stored bytes of a block; `None` if they are damaged.
    fn stored(&self, block: &BlockRef) -> Result<Option<Vec<u8>>, FeedError> {
        let mut bytes = vec![0; block.stored_bytes as usize];
        self.file
            .read_exact_at(block.offset + BLOCK_HEAD_BYTES as u64, &mut bytes)
            .map_err(FeedError::io("a block of the feed could not be read"))?;
        Ok((crc32c::crc32c(&bytes) == block.payload_check).then_some(bytes))
    }

    /// The payload of a block, opened.
    pub(super) fn payload(&self, seals: &Seals, block: &BlockRef) -> Result<Vec<u8>, FeedError> {
        let damaged = || FeedError::Damaged { file: self.name(), offset: block.offset };
        let stored = self.stored(block)?.ok_or_else(damaged)?;
        if self.head.key_id == 0 || stored.is_empty() {
            return Ok(stored);
        }
        let secret = seals.secret(self.head.key_id)?;
        let nonce = nonce(self.head.salt, block.number);
        seal::open(secret, nonce, &block.associated(), &stored).map_err(|_| damaged())
    }

    /// Reads the items of a block from `from` on, at most `items_max`.
    pub(super) fn read(
        &self,
        seals: &Seals,
        block: &BlockRef,
        from: Place,
        items_max: usize,
        into: &mut Vec<Item>,
    ) -> Result<(), FeedError> {
        let payload = self.payload(seals, block)?;
        let mut take = |item: Item| {
            if Place::of(item.id) >= from && into.len() < items_max {
                into.push(item);
            }
        };
        let read: Result<(), DecodeError> =
            each_chunk(&payload, &mut |base, at, _, bytes| read_items(base, at, bytes, &mut take));
        read.map_err(|_| FeedError::Damaged { file: self.name(), offset: block.offset })
    }
}

impl Place {
    /// The place of an item.
    pub fn of(id: EffectId) -> Self {
        Self { position: id.position, ordinal: id.ordinal }
    }
}
