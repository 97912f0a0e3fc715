//! How a receiver behaves.

use env::seeded::Seed;

/// The ways of receivers. A new one needs its line in [`Manner::ALL`], and a branch in each function below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Answers within 5 ms, and truthfully.
    Good,
    /// Answers truthfully, but late: sometimes after the client has given up.
    Slow,
    /// Takes the connection and the request, and never answers.
    Hanging,
    /// Nobody listens.
    Dead,
    /// Connections are never made, and never refused.
    Dropping,
    /// Says yes and forgets; says no and keeps.
    Lying,
    /// Answers twice, and differently.
    Double,
    /// The connection breaks before, or in the middle of, the answer.
    Breaking,
    /// Answers with what is not HTTP.
    Babbling,
    /// Refuses some messages for good.
    Picky,
    /// Asks to come later.
    Busy,
}

/// What a receiver does with a request.
pub(super) struct Answer {
    pub(super) taken: bool,
    pub(super) steps: Vec<Step>,
}

/// One thing that it does, after so many microseconds.
pub(super) enum Step {
    Say(u64, Vec<u8>),
    Close(u64),
    Reset(u64),
}

impl Step {
    /// Whether it tells the client that the message was taken.
    pub(super) fn says_yes(&self) -> bool {
        matches!(self, Self::Say(_, bytes) if bytes.starts_with(b"HTTP/1.1 20") && bytes.ends_with(b"ok"))
    }
}

/// Whether these bytes are a whole answer that asks for another attempt.
pub(super) fn says_later(bytes: &[u8]) -> bool {
    let is_later = [b"HTTP/1.1 5", b"HTTP/1.1 4"].iter().any(|start| bytes.starts_with(*start));
    is_later && bytes.ends_with(b"ok")
}

fn response(status: u16, headers: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Simulated\r\n{headers}content-length: 2\r\n\r\nok").into_bytes()
}

impl Manner {
    /// All of them, the good one as often as two others.
    pub const ALL: [Self; 12] = [
        Self::Good,
        Self::Good,
        Self::Slow,
        Self::Hanging,
        Self::Dead,
        Self::Dropping,
        Self::Lying,
        Self::Double,
        Self::Breaking,
        Self::Babbling,
        Self::Picky,
        Self::Busy,
    ];

    /// One of them.
    pub fn draw(seed: &mut Seed) -> Self {
        Self::ALL.get(seed.below(Self::ALL.len() as u64) as usize).copied().unwrap_or(Self::Good)
    }

    /// Whether it takes a connection; `None` if nothing is ever heard of it.
    pub(super) fn accepts(self, seed: &mut Seed) -> Option<bool> {
        match self {
            Self::Dead => Some(false),
            Self::Dropping => seed.one_in(3).then_some(true),
            _ => Some(true),
        }
    }

    pub(super) fn meet(self, id: &str, seed: &mut Seed) -> Answer {
        let quick_us = 1_000 + seed.below(4_000);
        let say = |delay_us, status| Step::Say(delay_us, response(status, ""));
        let answer = |taken, steps| Answer { taken, steps };
        match self {
            Self::Good | Self::Dead | Self::Dropping => answer(true, vec![say(quick_us, 200)]),
            Self::Slow => answer(true, vec![say(seed.below(700_000), 200)]),
            Self::Hanging => answer(seed.one_in(2), Vec::new()),
            Self::Lying => match seed.below(4) {
                0 => answer(false, vec![say(quick_us, 200)]),
                1 => answer(true, vec![say(quick_us, 500)]),
                2 => answer(true, vec![say(quick_us, 429)]),
                _ => answer(true, vec![Step::Reset(quick_us)]),
            },
            Self::Double => {
                let second = if seed.one_in(2) { 503 } else { 200 };
                answer(true, vec![say(quick_us, 200), say(quick_us + seed.below(60_000), second)])
            }
            Self::Breaking => {
                let whole = response(200, "");
                let cut = whole.get(..seed.below(whole.len() as u64) as usize).unwrap_or_default().to_vec();
                let end = if seed.one_in(2) { Step::Close(quick_us * 2) } else { Step::Reset(quick_us * 2) };
                let said = if cut.is_empty() { Vec::new() } else { vec![Step::Say(quick_us, cut)] };
                answer(seed.one_in(2), said.into_iter().chain([end]).collect())
            }
            Self::Babbling => {
                answer(false, vec![Step::Say(quick_us, b"220 mail.example ESMTP\r\n".to_vec())])
            }
            Self::Picky if id.bytes().map(u64::from).sum::<u64>().is_multiple_of(5) => {
                answer(false, vec![say(quick_us, 400)])
            }
            Self::Picky => answer(true, vec![say(quick_us, 200)]),
            Self::Busy if seed.one_in(2) => {
                let later = if seed.one_in(2) { "retry-after: 1\r\n" } else { "" };
                answer(false, vec![Step::Say(quick_us, response(503, later))])
            }
            Self::Busy => answer(true, vec![say(quick_us, 200)]),
        }
    }
}
