//! Where immutable files live: a folder now, an object storage service later.
//!
//! Six operations are enough, and every one of them exists on both: put if absent, read a range, size, list, delete
//! and compare-and-swap of one small object.

mod local;

use crate::StoreError;
use std::sync::Arc;

pub use local::LocalObjects;

/// What a version of a swappable object is called. Opaque: only equality means anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ETag(pub String);

/// Named byte strings. All but the swappable ones never change once they are visible.
pub trait Objects: Send + Sync {
    /// Creates an object, durable on return. [`StoreError::Conflict`] if the name is taken.
    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Creates an object piece by piece; it is visible and durable when [`ObjectWriter::finish`] returns, not before.
    fn create_writer(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError>;
    /// Opens an object for many reads. [`StoreError::Missing`] if there is none.
    fn reader(&self, name: &str) -> Result<Arc<dyn ObjectReader>, StoreError>;
    /// Names that begin with `prefix`, sorted.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;
    /// Removes an object; not an error if there is none.
    fn delete(&self, name: &str) -> Result<(), StoreError>;
    /// Reads a swappable object and the tag that a swap must present. `None` if there is none.
    fn read_tagged(&self, name: &str) -> Result<Option<(Vec<u8>, ETag)>, StoreError>;
    /// Replaces a swappable object if its tag is still `expected` (`None`: if it does not exist), durable on return.
    /// [`StoreError::Conflict`] if it is not; [`StoreError::Uncertain`] if the outcome is unknown.
    fn compare_and_swap(&self, name: &str, expected: Option<&ETag>, bytes: &[u8])
    -> Result<ETag, StoreError>;

    /// The length of an object.
    fn size(&self, name: &str) -> Result<u64, StoreError> {
        self.reader(name)?.len()
    }

    /// `len` bytes of an object.
    fn read_range(&self, name: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; len];
        self.reader(name)?.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }
}

/// An object that is being written. Dropping it without [`ObjectWriter::finish`] leaves nothing behind.
pub trait ObjectWriter: Send {
    /// Appends bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;
    /// Makes the object durable and visible. [`StoreError::Conflict`] if the name was taken meanwhile.
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// An open object. It stays readable until it is dropped, even if the object is deleted on a local disk.
pub trait ObjectReader: Send + Sync {
    /// Fills the buffer or fails.
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError>;
    /// The length of the object, in bytes.
    fn len(&self) -> Result<u64, StoreError>;

    /// Whether the object holds no bytes.
    fn is_empty(&self) -> Result<bool, StoreError> {
        Ok(self.len()? == 0)
    }
}
