//! The product as its users meet it: a daemon of the built binary in a home of its own, asked over its socket, over
//! TCP, by the command line and by MCP clients. A test's name begins with the id of the check that it carries.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]
#![expect(
    clippy::needless_pass_by_value,
    clippy::cloned_ref_to_slice_refs,
    reason = "json! values read best as they are"
)]

mod agents;
mod bad_input;
mod claims;
mod commands;
mod doc_rules;
mod docs;
mod doctor;
mod faults;
mod field;
mod fleet;
mod gate;
mod github;
mod handoffs;
mod hooks;
mod idempotency;
mod installation;
mod machines;
mod mcp;
mod merge;
mod model;
mod network;
mod note_rules;
mod notes;
mod offers;
mod parts;
mod planning;
mod preflight;
mod quarantine;
mod restore;
mod rights;
mod search;
mod sessions;
mod setup;
mod soak;
mod start_output;
mod status;
mod support;
mod waiting;
mod whole_session;
mod work;
