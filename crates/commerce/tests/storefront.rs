//! The Storefront door on a real loop and a real disk: what is read, what is changed, what is refused, and that it serves
//! a true subset of the published interface.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test of the door runs on the real machine, and its helpers fail the test"
)]

#[path = "storefront/carts.rs"]
mod carts;
#[path = "storefront/fixture.rs"]
mod fixture;
#[path = "storefront/hostile.rs"]
mod hostile;
#[path = "storefront/listener.rs"]
mod listener;
#[path = "storefront/reading.rs"]
mod reading;
#[path = "storefront/served.rs"]
mod served;
#[path = "storefront/starter.rs"]
mod starter;
