//! Keyed hashes and sealing: how personal values are found without being readable.
//!
//! An identifier is looked up by a keyed BLAKE3 hash of its type and normalised value, never by a bare SHA-256 that
//! anyone with a list of addresses could recompute. Where the value itself must be kept (e-mail, phone), it is sealed
//! with AES-256-GCM-SIV (RFC 8452) under a nonce derived from its own keyed hash: the same value seals to the same
//! bytes, so replay and state hashes stay exact, and the misuse-resistant mode makes that safe.

use crate::event::IdentifierKind;
use crate::id::Key;
use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use thiserror::Error;
use zeroize::Zeroize;

/// Bytes of a secret key.
pub const SECRET_BYTES: usize = 32;
/// Bytes of a nonce of [`seal`].
pub const NONCE_BYTES: usize = 12;

/// A sealed value that does not open: damaged, or sealed with another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a sealed value does not open: it is damaged or was sealed with another key")]
pub struct SealError;

/// The secrets of one data directory, derived from one master secret. Never printed.
#[derive(Clone)]
pub struct Keys {
    identifier: [u8; SECRET_BYTES],
    message: [u8; SECRET_BYTES],
    cipher: Box<Aes256GcmSiv>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Keys(…)")
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.identifier.zeroize();
        self.message.zeroize();
    }
}

impl Keys {
    /// Derives the secrets from a master secret (BLAKE3 key derivation, one context per purpose).
    pub fn derive(master: &[u8; SECRET_BYTES]) -> Self {
        let mut sealing = blake3::derive_key("throughline 2026-11 value sealing", master);
        let cipher = Box::new(Aes256GcmSiv::new(&sealing.into()));
        sealing.zeroize();
        Self {
            identifier: blake3::derive_key("throughline 2026-11 identifier lookup", master),
            message: blake3::derive_key("throughline 2026-11 message identity", master),
            cipher,
        }
    }

    /// The key of an identifier: keyed hash of its type and normalised value.
    pub fn identifier(&self, kind: IdentifierKind, value: &[u8]) -> Key {
        keyed(&self.identifier, &[kind.0], value)
    }

    /// The key of a message: keyed hash of the write key's number and the `messageId`.
    pub fn message(&self, source: u32, message_id: &str) -> Key {
        keyed(&self.message, &source.to_le_bytes(), message_id.as_bytes())
    }

    /// Seals the value of an identifier. The same value always gives the same bytes.
    pub fn seal_identifier(&self, key: Key, value: &[u8]) -> Result<Vec<u8>, SealError> {
        self.cipher.encrypt(&identifier_nonce(key), value).map_err(|_| SealError)
    }

    /// Opens what [`Keys::seal_identifier`] sealed.
    pub fn open_identifier(&self, key: Key, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.cipher.decrypt(&identifier_nonce(key), sealed).map_err(|_| SealError)
    }
}

fn identifier_nonce(key: Key) -> Nonce {
    let mut nonce = [0; NONCE_BYTES];
    for (to, from) in nonce.iter_mut().zip(key.0.to_le_bytes()) {
        *to = from;
    }
    nonce.into()
}

fn keyed(secret: &[u8; SECRET_BYTES], domain: &[u8], value: &[u8]) -> Key {
    // Nearly all values are short, and hashing them in one piece is faster than feeding a hasher.
    let mut piece = [0; 128];
    let hash = match piece.split_at_mut_checked(domain.len()) {
        Some((head, tail)) if value.len() <= tail.len() => {
            head.copy_from_slice(domain);
            tail.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
            blake3::keyed_hash(secret, piece.get(..domain.len() + value.len()).unwrap_or_default())
        }
        _ => blake3::Hasher::new_keyed(secret).update(domain).update(value).finalize(),
    };
    let (half, _) = hash.as_bytes().split_first_chunk().unwrap_or((&[0; 16], &[]));
    Key(u128::from_le_bytes(*half))
}

/// Seals a block (a frame, a run's block) with a region's key. `associated` is bound to it but not stored in it.
pub fn seal(
    secret: &[u8; SECRET_BYTES],
    nonce: [u8; NONCE_BYTES],
    associated: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    let cipher = Aes256GcmSiv::new(&(*secret).into());
    cipher.encrypt(&nonce.into(), Payload { msg: plain, aad: associated }).map_err(|_| SealError)
}

/// Opens what [`seal`] sealed.
pub fn open(
    secret: &[u8; SECRET_BYTES],
    nonce: [u8; NONCE_BYTES],
    associated: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let cipher = Aes256GcmSiv::new(&(*secret).into());
    cipher.decrypt(&nonce.into(), Payload { msg: sealed, aad: associated }).map_err(|_| SealError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_values_open_with_their_key_only() {
        let keys = Keys::derive(&[7; SECRET_BYTES]);
        let key = keys.identifier(IdentifierKind::EMAIL, b"a@b.c");
        let sealed = keys.seal_identifier(key, b"a@b.c").unwrap();
        assert_eq!(sealed, keys.seal_identifier(key, b"a@b.c").unwrap(), "sealing is deterministic");
        assert_eq!(keys.open_identifier(key, &sealed).unwrap(), b"a@b.c");
        let others = Keys::derive(&[8; SECRET_BYTES]);
        assert_eq!(others.open_identifier(key, &sealed), Err(SealError));
        assert_ne!(others.identifier(IdentifierKind::EMAIL, b"a@b.c"), key);
        assert_ne!(keys.identifier(IdentifierKind::USER_ID, b"a@b.c"), key);
    }

    #[test]
    fn short_and_long_values_hash_alike() {
        for length in 0..300 {
            let value = vec![b'x'; length];
            let mut hasher = blake3::Hasher::new_keyed(&[3; SECRET_BYTES]);
            hasher.update(b"domain").update(&value);
            let mut bytes = [0; 16];
            hasher.finalize_xof().fill(&mut bytes);
            assert_eq!(
                keyed(&[3; SECRET_BYTES], b"domain", &value),
                Key(u128::from_le_bytes(bytes)),
                "{length}"
            );
        }
    }

    #[test]
    fn blocks_are_bound_to_their_header() {
        let sealed = seal(&[1; 32], [2; 12], b"header", b"body").unwrap();
        assert_eq!(open(&[1; 32], [2; 12], b"header", &sealed).unwrap(), b"body");
        assert_eq!(open(&[1; 32], [2; 12], b"other", &sealed), Err(SealError));
    }
}
