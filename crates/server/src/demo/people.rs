//! The synthetic part of who is who: which devices a household has, which it shares, and who is logged in where.

use super::chance::{Purpose, between, draw, happens, index, uuid};

/// Of a hundred devices that are not a household's first, so many never log in.
const NEVER_LOGS_IN_PER_MILLE: u64 = 60;
/// Sessions that a device may have before its first login.
const SESSIONS_BEFORE_LOGIN_MAX: i64 = 2;
/// Every so many households, two neighbours share a browser.
const PAIR_EVERY: usize = 40;
/// The first of such a pair.
const PAIR_AT: usize = 3;
/// Every so many households, a few share a browser in a public place.
const KIOSK_EVERY: usize = 160;
/// The first of them.
const KIOSK_AT: usize = 8;
/// How many share it: more than the three that make a device shared in the server's eyes.
const KIOSK_HOUSEHOLDS: usize = 4;
/// How often, in a thousand sessions, a household that shares a device uses it.
const SHARED_USE_PER_MILLE: u64 = 150;

/// A browser or an app.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) anonymous_id: String,
    /// Only an app has one.
    pub(super) device_id: Option<String>,
    /// Several households use it.
    pub(super) shared: bool,
    /// The session at whose beginning somebody logs in; never, for some.
    first_login: Option<u32>,
    sessions: u32,
    /// When it was first tied to its household.
    pub(super) linked_at_us: Option<i64>,
}

/// One household's part of it.
#[derive(Debug)]
pub(super) struct Household {
    pub(super) id: u32,
    pub(super) email: String,
    pub(super) advertising: bool,
    /// Indices in [`People::devices`]; own ones.
    own: Vec<usize>,
    shared: Vec<usize>,
    /// When its e-mail address was first said.
    pub(super) email_at_us: Option<i64>,
    /// Households with the same number share a device, so their events must stay in one order.
    pub(super) circle: usize,
}

/// Everybody, and their devices.
#[derive(Debug)]
pub(super) struct People {
    pub(super) households: Vec<Household>,
    pub(super) devices: Vec<Device>,
}

/// A session on a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// Index in [`People::devices`].
    pub(super) device: usize,
    /// The household is known from here on.
    pub(super) known: bool,
    /// Somebody logs in during this session.
    pub(super) login: bool,
}

impl People {
    /// Makes everybody up.
    pub(super) fn new(ids: &[u32]) -> Self {
        let mut people = Self { households: Vec::with_capacity(ids.len()), devices: Vec::new() };
        for (position, id) in ids.iter().enumerate() {
            people.move_in(position, *id);
        }
        people.share_devices();
        people
    }

    fn move_in(&mut self, position: usize, id: u32) {
        let key = u64::from(id);
        let browsers = between(draw(Purpose::Devices, key, 0), 2, 3) as u64;
        let mut own = Vec::new();
        for number in 0..=browsers {
            let app = number == browsers;
            let drawn = draw(Purpose::FirstLogin, key, number);
            let logs_in = number == 0 || !happens(drawn >> 32, NEVER_LOGS_IN_PER_MILLE);
            own.push(self.devices.len());
            self.devices.push(Device {
                anonymous_id: uuid(Purpose::AnonymousId, key, number),
                device_id: app.then(|| uuid(Purpose::DeviceId, key, number)),
                shared: false,
                first_login: logs_in.then(|| between(drawn, 0, SESSIONS_BEFORE_LOGIN_MAX) as u32),
                sessions: 0,
                linked_at_us: None,
            });
        }
        self.households.push(Household {
            id,
            email: format!("hh{id}@example.invalid"),
            advertising: !happens(draw(Purpose::Consent, key, 0), 100),
            own,
            shared: Vec::new(),
            email_at_us: None,
            circle: position,
        });
    }

    fn share_devices(&mut self) {
        let circles = |every: usize, at: usize, size: usize, count: usize| {
            (at..count).step_by(every).map(move |first| first..(first + size).min(count))
        };
        let count = self.households.len();
        let all = circles(PAIR_EVERY, PAIR_AT, 2, count).chain(circles(
            KIOSK_EVERY,
            KIOSK_AT,
            KIOSK_HOUSEHOLDS,
            count,
        ));
        for (number, members) in all.enumerate() {
            let device = self.devices.len();
            self.devices.push(Device {
                anonymous_id: uuid(Purpose::AnonymousId, u64::MAX, number as u64),
                device_id: None,
                shared: true,
                first_login: Some(0),
                sessions: 0,
                linked_at_us: None,
            });
            let circle = members.start;
            for household in self.households.get_mut(members).unwrap_or_default() {
                household.shared.push(device);
                household.circle = circle;
            }
        }
    }

    /// Begins a session of a household. On a shared device somebody always logs in first; on an own one at the
    /// session that was drawn, and they stay logged in.
    pub(super) fn begin_session(&mut self, household: usize, drawn: u64) -> Option<Session> {
        let members = self.households.get(household)?;
        let shares = !members.shared.is_empty() && happens(drawn >> 40, SHARED_USE_PER_MILLE);
        let among = if shares { &members.shared } else { &members.own };
        let number = *among.get(index(drawn >> 20, among.len()))?;
        let device = self.devices.get_mut(number)?;
        let session = device.sessions;
        device.sessions = session.saturating_add(1);
        Some(match device.first_login {
            _ if device.shared => Session { device: number, known: true, login: true },
            Some(first) if session == first => Session { device: number, known: false, login: true },
            Some(first) => Session { device: number, known: session > first, login: false },
            None => Session { device: number, known: false, login: false },
        })
    }

    /// Somebody of this household logged in there.
    pub(super) fn log_in(&mut self, household: usize, device: usize, at_us: i64) {
        if let Some(device) = self.devices.get_mut(device) {
            device.linked_at_us.get_or_insert(at_us);
        }
        if let Some(household) = self.households.get_mut(household) {
            let earliest = household.email_at_us.map_or(at_us, |known| known.min(at_us));
            household.email_at_us = Some(earliest);
        }
    }

    /// Identifiers, as (type, value), that were tied to the household by `at_us`, other than this device. Shared
    /// devices are nobody's.
    pub(super) fn other_identifiers(
        &self,
        household: usize,
        besides: Option<usize>,
        at_us: i64,
    ) -> Vec<(&'static str, &str)> {
        let Some(household) = self.households.get(household) else { return Vec::new() };
        let known = |since: Option<i64>| since.is_some_and(|since| since <= at_us);
        let mut found = Vec::new();
        for number in &household.own {
            let Some(device) = self.devices.get(*number) else { continue };
            if Some(*number) == besides || !known(device.linked_at_us) {
                continue;
            }
            found.push(("anonymous_id", device.anonymous_id.as_str()));
            if let Some(id) = &device.device_id {
                found.push(("device_id", id.as_str()));
            }
        }
        if known(household.email_at_us) {
            found.push(("email", household.email.as_str()));
        }
        found
    }

    /// Anonymous ids of devices that may have been used by then and were tied to nobody yet.
    pub(super) fn unknown_devices(&self, at_us: i64) -> impl Iterator<Item = &str> {
        let unknown = move |device: &&Device| {
            device.sessions > 0 && !device.shared && device.linked_at_us.is_none_or(|linked| linked > at_us)
        };
        self.devices.iter().filter(unknown).map(|device| device.anonymous_id.as_str())
    }

    /// Anonymous ids of devices that were used and never tied to anybody: each is a profile of its own.
    pub(super) fn strangers(&self) -> impl Iterator<Item = &str> {
        let strange = |device: &&Device| device.sessions > 0 && device.linked_at_us.is_none();
        self.devices.iter().filter(strange).map(|device| device.anonymous_id.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_device_belongs_to_one_circle_and_a_stranger_is_nobodys() {
        let ids: Vec<u32> = (1..=400).collect();
        let mut people = People::new(&ids);
        let mut shared_uses = 0;
        for round in 0..50_u64 {
            for household in 0..ids.len() {
                let session =
                    people.begin_session(household, draw(Purpose::Session, household as u64, round));
                let Session { device, known, login } = session.unwrap();
                shared_uses += usize::from(people.devices[device].shared);
                assert!(!people.devices[device].shared || (known && login));
                if login {
                    people.log_in(household, device, 7);
                }
            }
        }
        assert!(shared_uses > 100);
        let members = |device: usize| -> Vec<&Household> {
            people
                .households
                .iter()
                .filter(|one| one.own.contains(&device) || one.shared.contains(&device))
                .collect()
        };
        let mut sizes = std::collections::BTreeSet::new();
        for (number, device) in people.devices.iter().enumerate() {
            let members = members(number);
            assert!(members.iter().all(|one| one.circle == members[0].circle));
            assert_eq!(members.len() > 1, device.shared);
            sizes.insert(members.len());
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [1, 2, 4]);
        let never = people.devices.iter().filter(|device| device.first_login.is_none()).count() as u64;
        assert!(never > 20);
        assert_eq!(people.strangers().count() as u64, never);
        for (number, household) in people.households.iter().enumerate() {
            for (_, value) in people.other_identifiers(number, Some(household.own[0]), 7) {
                assert_ne!(value, people.devices[household.own[0]].anonymous_id);
            }
            assert!(people.other_identifiers(number, None, 6).is_empty());
        }
    }
}
