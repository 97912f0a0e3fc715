//! Since when the server runs.

/// A moment of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant(std::time::Instant);

impl Instant {
    pub(crate) fn now() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed_s(self) -> u64 {
        self.0.elapsed().as_secs()
    }
}
