//! The network between a shard and its destinations, made from a seed: connections that are refused, hang, break and
//! are used again, and receivers that answer late, twice, wrongly or never.
//!
//! It stands where the machine's sockets stand: behind the egress client, which resolves, checks, pools and times out
//! as in production. A receiver reads real HTTP from the wire and writes real HTTP to it.

mod manner;
mod wire;

pub use manner::Manner;

use delivery::Later;
use delivery::egress::{Connector, Stream};
use env::seeded::Seed;
use manner::Answer;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::{Wire, WireStream};

/// The port of the first receiver; the others follow.
pub const FIRST_PORT: u16 = 9_000;

/// One message as a receiver got it.
#[derive(Clone, Debug)]
pub struct Reception {
    /// Which receiver.
    pub lane: usize,
    /// The idempotency key.
    pub id: String,
    /// The message.
    pub body: Vec<u8>,
    /// The receiver keeps it.
    pub taken: bool,
    /// The receiver said that it keeps it, or another answer was taken for its own.
    pub promised: bool,
    /// The client was told, in whole, that it may send it again.
    pub denied: bool,
}

/// What happens on the wire later.
enum Due {
    /// Bytes reach the client.
    Bytes { wire: u64, bytes: Vec<u8>, reception: usize },
    /// The receiver hangs up.
    Close(u64),
    /// The connection breaks.
    Reset(u64),
}

struct State {
    seed: Seed,
    now_us: u64,
    next: u64,
    manners: Vec<Manner>,
    wires: BTreeMap<u64, Wire>,
    due: BTreeMap<(u64, u64), Due>,
    receptions: Vec<Reception>,
    /// Connections that were asked for.
    connects: u64,
}

/// The network. Clones share it.
#[derive(Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
}

impl Network {
    /// A network with as many receivers, all of them good.
    pub fn new(seed: u64, receivers: usize) -> Self {
        let state = State {
            seed: Seed::new(seed ^ 0x4E45_5457),
            now_us: 0,
            next: 0,
            manners: vec![Manner::Good; receivers],
            wires: BTreeMap::new(),
            due: BTreeMap::new(),
            receptions: Vec::new(),
            connects: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how a receiver behaves from now on.
    pub fn set_manner(&self, lane: usize, manner: Manner) {
        if let Some(own) = self.lock().manners.get_mut(lane) {
            *own = manner;
        }
    }

    /// How many messages receivers have got.
    pub fn received(&self) -> usize {
        self.lock().receptions.len()
    }

    /// The messages from a number on.
    pub fn receptions_from(&self, from: usize) -> Vec<Reception> {
        self.lock().receptions.get(from..).unwrap_or_default().to_vec()
    }

    /// Moves time, and lets what is due reach the clients.
    pub fn advance(&self, by_us: u64) {
        let mut state = self.lock();
        state.now_us = state.now_us.saturating_add(by_us);
        while let Some(place) = state.due.keys().next().copied().filter(|(at_us, _)| *at_us <= state.now_us) {
            if let Some(due) = state.due.remove(&place) {
                state.happen(due);
            }
        }
    }

    /// The client's process is gone, and with it its ends of all connections.
    pub fn hang_up(&self) {
        let mut state = self.lock();
        state.wires.clear();
        state.due.clear();
    }
}

impl State {
    fn after(&mut self, delay_us: u64, due: Due) {
        self.next += 1;
        self.due.insert((self.now_us.saturating_add(delay_us), self.next), due);
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Bytes { wire, bytes, reception } => {
                let Some(wire) = self.wires.get_mut(&wire) else { return };
                // An answer that comes while another request waits is taken for that one's: a receiver that answers
                // twice can lose a message, and nobody but it is to blame.
                if let Some(waiting) = wire.waiting.filter(|waiting| *waiting != reception)
                    && let Some(confused) = self.receptions.get_mut(waiting)
                {
                    confused.promised = true;
                    confused.denied |= manner::says_later(&bytes);
                }
                if wire.push(&bytes)
                    && manner::says_later(&bytes)
                    && let Some(own) = self.receptions.get_mut(reception)
                {
                    own.denied = true;
                }
            }
            Due::Close(wire) => self.wires.get_mut(&wire).into_iter().for_each(Wire::close),
            Due::Reset(wire) => self.wires.get_mut(&wire).into_iter().for_each(Wire::reset),
        }
    }

    /// The client has written: whole requests are received.
    fn written(&mut self, number: u64) {
        while let Some(wire) = self.wires.get_mut(&number)
            && let Some(request) = wire.take_request()
        {
            let lane = wire.lane;
            let manner = self.manners.get(lane).copied().unwrap_or(Manner::Good);
            let Answer { taken, steps } = manner.meet(request.id.as_str(), &mut self.seed);
            let promised = steps.iter().any(|step| step.says_yes());
            let reception = self.receptions.len();
            wire.waiting = Some(reception);
            self.receptions.push(Reception {
                lane,
                id: request.id,
                body: request.body,
                taken,
                promised,
                denied: false,
            });
            for step in steps {
                let (delay_us, due) = match step {
                    manner::Step::Say(delay_us, bytes) => {
                        (delay_us, Due::Bytes { wire: number, bytes, reception })
                    }
                    manner::Step::Close(delay_us) => (delay_us, Due::Close(number)),
                    manner::Step::Reset(delay_us) => (delay_us, Due::Reset(number)),
                };
                self.after(delay_us, due);
            }
        }
    }
}

impl Connector for Network {
    fn connect(&self, address: SocketAddr) -> Later<'_, io::Result<Box<dyn Stream>>> {
        let lane = usize::from(address.port().saturating_sub(FIRST_PORT));
        let answered = {
            let mut state = self.lock();
            state.connects += 1;
            let manner = state.manners.get(lane).copied().unwrap_or(Manner::Dead);
            let accepts = manner.accepts(&mut state.seed);
            if accepts == Some(true) {
                state.next += 1;
                let number = state.next;
                state.wires.insert(number, Wire::new(lane));
                Some(Some(number))
            } else {
                accepts.map(|_| None)
            }
        };
        let network = self.clone();
        Box::pin(async move {
            match answered {
                Some(Some(number)) => Ok(Box::new(WireStream { network, number }) as Box<dyn Stream>),
                Some(None) => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens")),
                // Packets are dropped on the way: the client's own time has to run out.
                None => std::future::pending().await,
            }
        })
    }
}
