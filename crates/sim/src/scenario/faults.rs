//! What goes wrong, and when.

use super::Scenario;
use crate::classes::Class;
use crate::subject::Subject;
use env::seeded::Faults;

impl<S: Subject> Scenario<S> {
    /// Sets a fault that strikes within the next operations.
    pub(super) fn set_a_fault(&mut self) {
        let within = 1 + self.seed.below(30);
        let mut faults = Faults::default();
        let class = match self.seed.below(5) {
            0 | 1 => Class::Power,
            2 => Class::Sync,
            3 => Class::Write,
            _ => Class::Full,
        };
        let place = if class == Class::Full { self.seed.below(40_000) } else { self.seed.below(within) };
        if self.without.has(class) {
            return;
        }
        match class {
            Class::Power => faults.power_off_at_write = Some(place),
            Class::Sync => faults.fail_sync = Some(place),
            Class::Write => faults.fail_write = Some(place),
            _ => faults.capacity_bytes = Some(4_096 + place),
        }
        self.tally.faults += 1;
        self.faulty = true;
        self.world.set_faults(faults);
    }

    pub(super) fn maybe_fault_the_start(&mut self) {
        if self.seed.one_in(6) {
            self.set_a_fault();
        }
    }

    pub(super) fn clear_faults(&mut self) {
        self.faulty = false;
        self.world.set_faults(Faults::default());
    }

    pub(super) fn faults_are_set(&self) -> bool {
        self.faulty
    }
}
