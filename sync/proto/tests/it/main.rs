//! The exchange from outside: frames against hostile bytes, pairs of peers against each other.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

mod frames;
mod pair;
mod vectors;
