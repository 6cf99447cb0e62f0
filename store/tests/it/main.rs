//! Tests of the store through its public surface.

mod commands;
mod convergence;
mod crash;
mod faults;
mod screening;
mod support;
