//! The exchange of ctxnode: what two replicas say to each other, as pure state.
//!
//! [`Exchange`] is the state machine of one connected pair, [`frame`] its bytes, [`limits`] its bounds. Never here:
//! sockets, clocks, stores, randomness.

pub mod exchange;
pub mod frame;
pub mod limits;
pub mod message;
mod plan;

pub use exchange::{Event, Exchange, Lacks, Me, Output, OwnHeads, Patience};
pub use message::{Bye, Entries, Hello, Message, code};
pub use plan::next_batch;
