//! Tests of the store through its public surface.

mod commands;
mod convergence;
mod faults;
mod screening;
mod support;
