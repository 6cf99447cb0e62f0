//! The exchange from outside: frames against hostile bytes, pairs of peers against each other.

mod frames;
mod pair;
mod vectors;
