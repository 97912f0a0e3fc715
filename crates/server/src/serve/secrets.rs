//! What is derived from the master secret, and fresh randomness.

use crate::api::Problem;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use env::Entropy;
use model::id::Key;
use model::seal::{Keys, SECRET_BYTES};
use outbound::webhook::Secret;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of the random part of a token.
const TOKEN_BYTES: usize = 32;
/// Bytes of the secret of a webhook.
const WEBHOOK_BYTES: usize = 32;
/// Bytes of the random part of a write key: long enough that none is guessed, short enough for a web page.
const WRITE_KEY_BYTES: usize = 18;

/// The secrets of one data directory. Never printed.
pub(crate) struct Secrets {
    pub(crate) keys: Keys,
    repeatable: Zeroizing<[u8; SECRET_BYTES]>,
    entropy: Arc<dyn Entropy>,
}

impl Secrets {
    pub(crate) fn derive(master: &[u8; SECRET_BYTES], entropy: Arc<dyn Entropy>) -> Self {
        let repeatable =
            Zeroizing::new(blake3::derive_key("throughline 2026-11 repeatable requests", master));
        Self { keys: Keys::derive(master), repeatable, entropy }
    }

    /// A token. The same idempotency key always gives the same one, so a request whose answer was lost can be sent
    /// again; without the master secret nobody can compute it.
    pub(crate) fn token(&self, idempotency: Option<Key>) -> Result<String, Problem> {
        Ok(format!("tlt_{}", self.text::<TOKEN_BYTES>("token", idempotency)?))
    }

    /// A write key, in the same way.
    pub(crate) fn write_key(&self, idempotency: Option<Key>) -> Result<String, Problem> {
        Ok(format!("tlw_{}", self.text::<WRITE_KEY_BYTES>("write key", idempotency)?))
    }

    /// What signs the messages of a webhook. It follows from the destination's name and generation, so it is stored
    /// nowhere.
    pub(crate) fn webhook(&self, name: &str, generation: u32) -> Secret {
        Secret::new(self.webhook_text(name, generation).to_string())
    }

    /// The same as text, for the one who is to verify them.
    pub(crate) fn webhook_text(&self, name: &str, generation: u32) -> Zeroizing<String> {
        let mut hasher = blake3::Hasher::new_keyed(&self.repeatable);
        hasher.update(b"webhook");
        hasher.update(&generation.to_le_bytes());
        hasher.update(name.as_bytes());
        let mut bytes = Zeroizing::new([0; WEBHOOK_BYTES]);
        hasher.finalize_xof().fill(&mut *bytes);
        Zeroizing::new(format!("whsec_{}", STANDARD.encode(*bytes)))
    }

    /// What seals a session of the status page: it was opened with this token and ends at this second since 1970.
    pub(crate) fn session(&self, token: u32, token_hash: &[u8; 32], ends_s: i64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.repeatable);
        hasher.update(b"session of the status page");
        hasher.update(&token.to_le_bytes());
        hasher.update(token_hash);
        hasher.update(&ends_s.to_le_bytes());
        *hasher.finalize().as_bytes()
    }

    /// 16 fresh random bytes.
    pub(crate) fn fresh(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        if let Err(error) = self.entropy.fill(&mut bytes) {
            // The kernel's generator does not fail once it has started. Two messages of one value would be a lost one.
            tracing::error!(error = %error, "there is no randomness: the process stops");
            std::process::abort();
        }
        bytes
    }

    fn text<const BYTES: usize>(&self, purpose: &str, idempotency: Option<Key>) -> Result<String, Problem> {
        let mut bytes = [0; BYTES];
        match idempotency {
            Some(key) => {
                let mut hasher = blake3::Hasher::new_keyed(&self.repeatable);
                hasher.update(purpose.as_bytes());
                hasher.update(&key.0.to_le_bytes());
                hasher.finalize_xof().fill(&mut bytes);
            }
            None => self.entropy.fill(&mut bytes).map_err(|error| Problem::no_randomness(&error))?,
        }
        let text = URL_SAFE_NO_PAD.encode(bytes);
        bytes.zeroize();
        Ok(text)
    }
}
