//! The contract of the daemon: every operation with its route, right, request and response; errors; the typed client.
//!
//! One table, [`ROUTES`], says what exists. HTTP routes, the OpenAPI document, the MCP tools, the CLI and the tests of
//! rights and idempotency are made from it. Never here: redb, automerge, iroh, tantivy, rules.

pub mod autostart;
pub mod caller;
pub mod claims;
pub mod client;
pub mod correlation;
pub mod docs;
pub mod edge;
pub mod error;
pub mod field;
pub mod fleet;
pub mod handoffs;
pub mod headers;
pub mod hooks;
pub mod node;
pub mod notes;
pub mod openapi;
pub mod operations;
pub mod records;
pub mod routes;
pub mod sessions;
pub mod shape;
pub mod span;
pub mod sse;
pub mod version;

pub use caller::Caller;
pub use client::{Client, ClientError, Endpoint, EventStream};
pub use correlation::CorrelationId;
pub use edge::{Iso, List, Patch, Section};
pub use error::{ErrorBody, ErrorCode};
pub use routes::{Call, Domain, Form, Granted, Method, ROUTES, Right, Route, route};
