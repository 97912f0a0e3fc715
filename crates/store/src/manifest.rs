//! The manifest: what a checkpoint consists of, and the pointer that makes one the current one.

use crate::StoreError;
use crate::objects::Objects;
use model::codec::{DecodeError, Decoder, Encoder};
use model::id::{Position, Term, Timestamp};

/// Longest engine metadata in a manifest.
pub const METADATA_BYTES_MAX: usize = 16 << 20;
/// Longest manifest: metadata, and some hundred bytes for each of at most some thousand files.
const MANIFEST_BYTES_MAX: u64 = 32 << 20;
const MAGIC: &[u8; 8] = b"TLMAN\0\0\x01";
/// Name of the pointer to the current manifest.
pub(crate) const CURRENT: &str = "CURRENT";
/// How names of manifests begin.
pub(crate) const MANIFEST: &str = "manifest-";

/// A digest over rows that does not depend on their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StateDigest {
    /// How many rows.
    pub rows: u64,
    /// Sum of their digests.
    pub sum: u128,
}

/// A run as a manifest names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunEntry {
    /// Its object.
    pub name: String,
    /// How many times its rows were merged.
    pub level: u32,
    /// Rows and deletions.
    pub entries: u64,
    /// Its length.
    pub bytes: u64,
}

/// A file of de-duplication ids as a manifest names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdFileEntry {
    /// Its object.
    pub name: String,
    /// The bucket of log time its ids belong to.
    pub bucket: i64,
    /// How many times its ids were merged.
    pub level: u32,
    /// How many ids.
    pub count: u64,
}

/// What one bucket of the de-duplication window holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BucketState {
    /// Its number: log time divided by the length of a bucket.
    pub bucket: i64,
    /// How many ids.
    pub count: u64,
    /// Sum of the digests of its ids, whatever their order.
    pub digest: u128,
}

/// The de-duplication part of a manifest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DedupManifest {
    /// Length of a bucket; 0 as long as nothing was ever de-duplicated.
    pub bucket_us: i64,
    /// The latest log time the window has seen.
    pub at: Timestamp,
    /// Live buckets, oldest first.
    pub buckets: Vec<BucketState>,
    /// Their id files, newest first.
    pub files: Vec<IdFileEntry>,
}

/// A checkpoint, complete.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Manifest {
    /// Grows with every manifest.
    pub generation: u64,
    /// The generation that first held this state: a merge makes a new manifest of the same checkpoint.
    pub checkpoint: u64,
    /// The log position whose outcome is the last one included.
    pub position: Position,
    /// The term of the writer.
    pub term: Term,
    /// The rules that made the state.
    pub rules_version: u32,
    /// Log time at the position.
    pub log_time: Timestamp,
    /// Digest of the state.
    pub state_digest: StateDigest,
    /// Digest of the effects so far.
    pub effects_digest: u128,
    /// Whatever the engine wants to find again.
    pub metadata: Vec<u8>,
    /// Runs, newest first.
    pub runs: Vec<RunEntry>,
    /// De-duplication.
    pub dedup: DedupManifest,
}

impl Manifest {
    /// Its object.
    pub(crate) fn name(generation: u64) -> String {
        format!("{MANIFEST}{generation:020}")
    }

    /// Names of all files it needs.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        let runs = self.runs.iter().map(|run| run.name.as_str());
        runs.chain(self.dedup.files.iter().map(|file| file.name.as_str()))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let mut encoder = Encoder(&mut bytes);
        encoder.u64(self.generation);
        encoder.u64(self.checkpoint);
        encoder.u64(self.position.0);
        encoder.u64(self.term.0);
        encoder.u32(self.rules_version);
        encoder.i64(self.log_time.0);
        encoder.u64(self.state_digest.rows);
        encoder.u128(self.state_digest.sum);
        encoder.u128(self.effects_digest);
        encoder.bytes(&self.metadata);
        encoder.varint(self.runs.len() as u64);
        for run in &self.runs {
            encoder.text(&run.name);
            encoder.u32(run.level);
            encoder.u64(run.entries);
            encoder.u64(run.bytes);
        }
        self.dedup.encode(&mut encoder);
        let crc = crc32c::crc32c(&bytes);
        Encoder(&mut bytes).u32(crc);
        bytes
    }

    pub(crate) fn decode(name: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = |reason| StoreError::Damaged { object: name.to_owned(), offset: 0, reason };
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(damaged("its checksum does not match"));
        }
        let fields = body.strip_prefix(MAGIC).ok_or_else(|| damaged("it is not a manifest of version 1"))?;
        Self::decode_fields(fields).map_err(|_| damaged("it cannot be read"))
    }

    fn decode_fields(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes);
        let mut manifest = Self {
            generation: decoder.u64()?,
            checkpoint: decoder.u64()?,
            position: Position(decoder.u64()?),
            term: Term(decoder.u64()?),
            rules_version: decoder.u32()?,
            log_time: Timestamp(decoder.i64()?),
            state_digest: StateDigest { rows: decoder.u64()?, sum: decoder.u128()? },
            effects_digest: decoder.u128()?,
            metadata: decoder.bytes()?.to_vec(),
            runs: Vec::new(),
            dedup: DedupManifest::default(),
        };
        for _ in 0..decoder.count()? {
            manifest.runs.push(RunEntry {
                name: decoder.text()?.to_owned(),
                level: decoder.u32()?,
                entries: decoder.u64()?,
                bytes: decoder.u64()?,
            });
        }
        manifest.dedup = DedupManifest::decode(&mut decoder)?;
        decoder.finish()?;
        Ok(manifest)
    }

    pub(crate) fn read(objects: &dyn Objects, generation: u64) -> Result<Self, StoreError> {
        let name = Self::name(generation);
        let reader = objects.reader(&name)?;
        let len = reader.len()?;
        if len > MANIFEST_BYTES_MAX {
            let reason = "it is longer than a manifest can be";
            return Err(StoreError::Damaged { object: name, offset: 0, reason });
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        reader.read_exact_at(0, &mut bytes)?;
        let manifest = Self::decode(&name, &bytes)?;
        if manifest.generation != generation {
            let reason = "it belongs to another generation than its name says";
            return Err(StoreError::Damaged { object: name, offset: 0, reason });
        }
        Ok(manifest)
    }
}

impl DedupManifest {
    fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.i64(self.bucket_us);
        encoder.i64(self.at.0);
        encoder.varint(self.buckets.len() as u64);
        for bucket in &self.buckets {
            encoder.i64(bucket.bucket);
            encoder.u64(bucket.count);
            encoder.u128(bucket.digest);
        }
        encoder.varint(self.files.len() as u64);
        for file in &self.files {
            encoder.text(&file.name);
            encoder.i64(file.bucket);
            encoder.u32(file.level);
            encoder.u64(file.count);
        }
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut dedup = Self { bucket_us: decoder.i64()?, at: Timestamp(decoder.i64()?), ..Self::default() };
        for _ in 0..decoder.count()? {
            let (bucket, count, digest) = (decoder.i64()?, decoder.u64()?, decoder.u128()?);
            dedup.buckets.push(BucketState { bucket, count, digest });
        }
        for _ in 0..decoder.count()? {
            dedup.files.push(IdFileEntry {
                name: decoder.text()?.to_owned(),
                bucket: decoder.i64()?,
                level: decoder.u32()?,
                count: decoder.u64()?,
            });
        }
        Ok(dedup)
    }
}

/// The generation in a manifest's name.
pub(crate) fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix(MANIFEST)?.parse().ok()
}

/// The content of `CURRENT`: which manifest counts, and which term may replace it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pointer {
    /// 0: there is no checkpoint yet.
    pub(crate) generation: u64,
    pub(crate) term: Term,
}

impl Pointer {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder(&mut bytes);
        encoder.u64(self.generation);
        encoder.u64(self.term.0);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let read = |mut decoder: Decoder<'_>| {
            let pointer = Self { generation: decoder.u64()?, term: Term(decoder.u64()?) };
            decoder.finish().map(|()| pointer)
        };
        let reason = "it cannot be read";
        let damaged = |_| StoreError::Damaged { object: CURRENT.to_owned(), offset: 0, reason };
        read(Decoder::new(bytes)).map_err(damaged)
    }
}
