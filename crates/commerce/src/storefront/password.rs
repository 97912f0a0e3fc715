//! Passwords of customers: PBKDF2 with HMAC-SHA-256 (RFC 8018), salted, and slow on purpose.
//!
//! The rounds are those that OWASP recommends for this function. They cost a fifth of a second, so few are worked out at
//! once, away from the threads that answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::pbkdf2;
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How often the function is applied for new passwords.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
/// The most rounds of a stored password that are worked out.
const ROUNDS_MAX: u32 = 2_000_000;
/// How many are worked out at once.
const AT_ONCE: usize = 1;
/// How many may wait.
const WAITING_MAX: usize = 16;
/// The name of the function in what is stored.
const FUNCTION: &str = "pbkdf2-sha256";
/// A salt's length.
pub(crate) const SALT_BYTES: usize = 16;

/// Works out passwords, few at once.
#[derive(Clone)]
pub(crate) struct Passwords {
    at_work: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    rounds: NonZeroU32,
}

/// There are too many passwords to work out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Default for Passwords {
    fn default() -> Self {
        Self::with_rounds(ROUNDS)
    }
}

impl Passwords {
    /// With other rounds, for tests.
    pub(crate) fn with_rounds(rounds: NonZeroU32) -> Self {
        let admitted = Arc::new(Semaphore::new(WAITING_MAX));
        Self { at_work: Arc::new(Semaphore::new(AT_ONCE)), admitted, rounds }
    }

    /// What is stored of a password.
    pub(crate) async fn hash(&self, password: String, salt: [u8; SALT_BYTES]) -> Result<String, TooMany> {
        let rounds = self.rounds;
        self.work(move || stored(rounds, &salt, &password)).await
    }

    /// Whether a password is the one that is stored. Where none is stored, it takes as long and is not.
    pub(crate) async fn is(&self, password: String, stored: String) -> Result<bool, TooMany> {
        let rounds = self.rounds;
        self.work(move || matches(rounds, &password, &stored)).await
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, TooMany> {
        let _admitted = self.admitted.try_acquire().map_err(|_| TooMany)?;
        let _turn = self.at_work.acquire().await.map_err(|_| TooMany)?;
        tokio::task::spawn_blocking(work).await.map_err(|_| TooMany)
    }
}

fn stored(rounds: NonZeroU32, salt: &[u8], password: &str) -> String {
    let mut hash = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut hash);
    format!("{FUNCTION}${rounds}${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash))
}

fn matches(rounds: NonZeroU32, password: &str, stored_form: &str) -> bool {
    match read(stored_form) {
        Some((rounds, salt, hash)) => {
            pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &hash).is_ok()
        }
        None => {
            // Whether somebody has an account is not told by how long it takes to say no.
            let _ = stored(rounds, &[0; SALT_BYTES], password);
            false
        }
    }
}

/// Rounds, salt and hash of what is stored.
fn read(stored: &str) -> Option<(NonZeroU32, Vec<u8>, Vec<u8>)> {
    let mut parts = stored.split('$');
    let (function, rounds, salt, hash) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let rounds: u32 = rounds.parse().ok().filter(|rounds| *rounds <= ROUNDS_MAX)?;
    let read =
        (NonZeroU32::new(rounds)?, STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?);
    (function == FUNCTION && parts.next().is_none()).then_some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_password_opens_and_nothing_else_does() {
        let rounds = NonZeroU32::new(10).unwrap();
        let kept = stored(rounds, &[7; SALT_BYTES], "Käse!");
        assert!(matches(rounds, "Käse!", &kept));
        assert_ne!(kept, stored(rounds, &[8; SALT_BYTES], "Käse!"), "the salt counts");
        for (password, stored_form) in [
            ("Kase!", kept.as_str()),
            ("", kept.as_str()),
            ("Käse!", ""),
            ("Käse!", "pbkdf2-sha256$0$$"),
            ("Käse!", "pbkdf2-sha256$4000000000$AAAA$AAAA"),
            ("Käse!", "plain$10$AAAA$AAAA"),
        ] {
            assert!(!matches(rounds, password, stored_form), "{password} {stored_form}");
        }
    }
}
