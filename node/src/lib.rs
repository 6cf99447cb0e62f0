//! The daemon and the command line of ctxnode.
//!
//! `daemon` owns the store and serves `handlers` behind the `gate`, the one door that every call passes, whether it
//! came over the Unix socket, over TCP or through MCP. `cli` is a client of that API like any other.
//! Rules live in `ctxnode-model`; nothing here decides what is valid.

mod app;
mod caller;
pub mod checkout;
mod checkouts;
pub mod cli;
mod conversations;
pub mod daemon;
mod failure;
mod field;
mod gate;
mod handlers;
mod http_server;
mod mcp_server;
mod peers;
pub mod process;
mod returns;
mod search_index;
