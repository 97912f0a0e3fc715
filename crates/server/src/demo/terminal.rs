//! What the person in front of it sees: lines, and one line that is drawn again and again.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a terminal, a line of progress is written this often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// On a terminal it is drawn again this often.
const REDRAWN_EVERY: Duration = Duration::from_millis(200);

/// The standard output, used by several threads.
#[derive(Debug)]
pub(super) struct Terminal {
    redraws: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// There is a line to be drawn over.
    drawn: bool,
    last: Option<Instant>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self { redraws: io::stdout().is_terminal(), state: Mutex::default() }
    }

    /// How often progress is worth working out.
    pub(super) fn every(&self) -> Duration {
        if self.redraws { REDRAWN_EVERY } else { PLAIN_EVERY }
    }

    /// Writes a line that stays.
    pub(super) fn say(&self, line: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let over = if state.drawn { "\r\x1b[2K" } else { "" };
        state.drawn = false;
        // Nobody reads it any more if this fails, and the run goes on without a reader.
        let _ = writeln!(io::stdout().lock(), "{over}{line}");
    }

    /// Draws the line of progress, where it is time for it.
    pub(super) fn progress(&self, line: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| last.elapsed() < self.every()) {
            return;
        }
        state.last = Some(Instant::now());
        let mut out = io::stdout().lock();
        let _ = if self.redraws {
            state.drawn = true;
            write!(out, "\r\x1b[2K{line}").and_then(|()| out.flush())
        } else {
            writeln!(out, "{line}")
        };
    }

    /// Does something that may take long, and says so every now and then.
    pub(super) fn during<T: Send>(&self, what: &str, work: impl FnOnce() -> T + Send) -> T {
        let began = Instant::now();
        std::thread::scope(|scope| {
            let (ended, wait) = std::sync::mpsc::sync_channel::<()>(1);
            scope.spawn(move || {
                // An answer or a hang-up means that the work has ended.
                while wait.recv_timeout(self.every().min(Duration::from_secs(2)))
                    == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    self.progress(&format!("{what} … {} s", began.elapsed().as_secs()));
                }
            });
            let result = work();
            drop(ended);
            result
        })
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
