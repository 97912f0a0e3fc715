//! The region's keys, as far as runs need them.

use crate::StoreError;
use env::Entropy;
use model::seal::{self, NONCE_BYTES, SECRET_BYTES};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Bytes of the random part of a run's nonces.
pub(crate) const SALT_BYTES: usize = 8;

/// Seals the blocks of new runs with the active key and opens those of old ones with theirs. Never printed.
#[derive(Clone)]
pub struct Sealing {
    active: u32,
    keys: Arc<BTreeMap<u32, Zeroizing<[u8; SECRET_BYTES]>>>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Sealing(active key {})", self.active)
    }
}

impl Sealing {
    /// Key number 0 means "not sealed" in stored form, so it cannot be one.
    pub fn new(
        entropy: Arc<dyn Entropy>,
        active: u32,
        keys: BTreeMap<u32, [u8; SECRET_BYTES]>,
    ) -> Result<Self, StoreError> {
        if active == 0 || !keys.contains_key(&active) {
            let reason = format!("the keyring's active key {active} is 0 or not among its keys");
            return Err(StoreError::Options { reason });
        }
        let keys = keys.into_iter().map(|(id, secret)| (id, Zeroizing::new(secret))).collect();
        Ok(Self { active, keys: Arc::new(keys), entropy })
    }

    pub(crate) fn active(&self) -> u32 {
        self.active
    }

    pub(crate) fn salt(&self) -> Result<[u8; SALT_BYTES], StoreError> {
        let mut salt = [0; SALT_BYTES];
        self.entropy.fill(&mut salt).map_err(StoreError::Entropy)?;
        Ok(salt)
    }

    pub(crate) fn key(
        &self,
        key_id: u32,
        object: &str,
        salt: [u8; SALT_BYTES],
    ) -> Result<BlockKey, StoreError> {
        let known = self.keys.get(&key_id).cloned();
        let secret = known.ok_or_else(|| StoreError::NoKey { object: object.to_owned(), key_id })?;
        Ok(BlockKey { secret, salt })
    }
}

/// The key of one run.
pub(crate) struct BlockKey {
    secret: Zeroizing<[u8; SECRET_BYTES]>,
    salt: [u8; SALT_BYTES],
}

impl BlockKey {
    fn nonce(&self, block: u32) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        for (to, from) in nonce.iter_mut().zip(self.salt.into_iter().chain(block.to_le_bytes())) {
            *to = from;
        }
        nonce
    }

    pub(crate) fn seal(&self, block: u32, header: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let sealed = seal::seal(&self.secret, self.nonce(block), header, plain);
        sealed.map_err(|_| StoreError::TooLarge { what: "a sealed block", limit: u64::from(u32::MAX) })
    }

    /// `None` if it is damaged or was sealed with another key.
    pub(crate) fn open(&self, block: u32, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        seal::open(&self.secret, self.nonce(block), header, sealed).ok()
    }
}
