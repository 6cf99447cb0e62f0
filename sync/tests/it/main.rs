//! Fleets of real endpoints on loopback, each with a store in memory. A test's name begins with the check that it carries.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod alerts;
mod attacks;
mod clocks;
mod crowd;
mod exchange;
mod hostile;
mod liar;
mod membership;
mod reasons;
mod relay;
mod relays;
mod rounds;
mod slow;
mod support;
