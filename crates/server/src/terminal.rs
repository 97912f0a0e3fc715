//! What the person in front of it sees: lines, and one line that is drawn again and again.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Without a terminal, a line of progress is written this often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// On a terminal it is drawn again this often.
const REDRAWN_EVERY: Duration = Duration::from_millis(200);
/// Nothing takes longer than this without a word.
const QUIET_MAX: Duration = Duration::from_secs(2);

/// Standard output or standard error, used by several threads.
#[derive(Debug)]
pub(crate) struct Terminal {
    stream: Stream,
    redraws: bool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum Stream {
    Out,
    Err,
}

#[derive(Debug)]
struct State {
    /// There is a line to be drawn over.
    drawn: bool,
    /// When progress was drawn last: at first the beginning, since what is quick needs none.
    last: Instant,
}

impl State {
    fn begin() -> Mutex<Self> {
        Mutex::new(Self { drawn: false, last: Instant::now() })
    }
}

impl Terminal {
    pub(crate) fn stdout() -> Self {
        Self { stream: Stream::Out, redraws: io::stdout().is_terminal(), state: State::begin() }
    }

    /// For commands whose output a program may read.
    pub(crate) fn stderr() -> Self {
        Self { stream: Stream::Err, redraws: io::stderr().is_terminal(), state: State::begin() }
    }

    /// Whether somebody sees lines being drawn: a chart is for nobody else.
    pub(crate) fn redraws(&self) -> bool {
        self.redraws
    }

    /// How often progress is worth working out.
    pub(crate) fn every(&self) -> Duration {
        if self.redraws { REDRAWN_EVERY } else { PLAIN_EVERY }
    }

    /// Writes a line that stays.
    pub(crate) fn say(&self, line: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let over = if state.drawn { "\r\x1b[2K" } else { "" };
        state.drawn = false;
        self.write(&format!("{over}{line}\n"));
    }

    /// Whether a line of progress would be drawn now: it is not worth working out otherwise.
    pub(crate) fn is_due(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last.elapsed() >= self.every()
    }

    /// Draws the line of progress, where it is time for it.
    pub(crate) fn progress(&self, line: &str) {
        if !self.is_due() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last = Instant::now();
        state.drawn = self.redraws;
        if self.redraws {
            self.write(&format!("\r\x1b[2K{line}"));
        } else {
            self.write(&format!("{line}\n"));
        }
    }

    /// If this fails nobody reads any more, and the run goes on without a reader.
    fn write(&self, text: &str) {
        let _ = match self.stream {
            Stream::Out => write_to(io::stdout().lock(), text),
            Stream::Err => write_to(io::stderr().lock(), text),
        };
    }

    /// Does something that may take long, and says so every now and then.
    pub(crate) fn during<T: Send>(&self, what: &str, work: impl FnOnce() -> T + Send) -> T {
        let began = Instant::now();
        std::thread::scope(|scope| {
            let (ended, wait) = sync_channel::<()>(1);
            scope.spawn(move || {
                // A hang-up means that the work has ended.
                if wait.recv_timeout(QUIET_MAX) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                self.say(&format!("{what} …"));
                while wait.recv_timeout(self.every()) == Err(RecvTimeoutError::Timeout) {
                    self.progress(&format!("{what} … {} s", began.elapsed().as_secs()));
                }
            });
            let result = work();
            drop(ended);
            result
        })
    }
}

fn write_to(mut out: impl io::Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
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
