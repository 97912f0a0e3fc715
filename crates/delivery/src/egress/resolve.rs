//! Names to addresses.

use crate::parcel::Later;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 16;
/// Names whose addresses are remembered.
const NAMES_MAX: usize = 1_024;

/// Finds the addresses of a name. Asked once for a connection: what it answers is checked, and only that is used.
pub trait Resolver: Send + Sync {
    /// The addresses of a host name.
    fn resolve<'a>(&'a self, host: &'a str) -> Later<'a, io::Result<Vec<IpAddr>>>;
}

/// The resolver of the system, with its files and search lists.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Later<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).take(ADDRESSES_MAX).collect())
        })
    }
}

/// Answers remembered for a short time: the system's resolver costs a thread per question.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    answers: Mutex<BTreeMap<String, (u64, Vec<IpAddr>)>>,
}

impl Remembered {
    pub(super) fn get(&self, host: &str, now_us: u64) -> Option<Vec<IpAddr>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(host).filter(|(until_us, _)| now_us < *until_us).map(|(_, found)| found.clone())
    }

    pub(super) fn put(&self, host: &str, found: &[IpAddr], now_us: u64, until_us: u64) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= NAMES_MAX {
            answers.retain(|_, (until_us, _)| now_us < *until_us);
        }
        if answers.len() < NAMES_MAX && until_us > now_us {
            answers.insert(host.to_owned(), (until_us, found.to_vec()));
        }
    }
}
