//! Tests of the store through its public surface.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod branches;
mod commands;
mod convergence;
mod crash;
mod faults;
mod history;
mod hostile;
mod matrix;
mod rescue;
mod screening;
mod support;
