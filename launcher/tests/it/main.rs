//! The launcher as its users meet it: the built programs in a home of their own, with stand-ins for the agent CLIs, a
//! stand-in for Infisical on loopback, real git and real tmux. A test's name begins with the id of the check it carries.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod checkouts;
mod continuing;
mod launching;
mod one_session;
mod secrets;
mod service;
mod support;
mod terminal;
