//! Who is alive where: statements that a node signs, so that others can pass them on.
//!
//! A statement carries ages, never times: clocks may be wrong. `at` orders the statements of one node and nothing else.

use std::net::SocketAddr;

use ctxnode_model::NodeKey;
use ctxnode_store::{Store, verify};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

const DOMAIN: &[u8] = b"ctxnode presence v1";

/// One living session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// The session's id.
    pub session: String,
    /// Milliseconds since its last sign of life, when the statement was made.
    pub age_ms: u64,
}

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Who.
    pub node: NodeKey,
    /// Its clock, in milliseconds since 1970.
    pub at: i64,
    /// Its living sessions.
    pub sessions: Vec<Beat>,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Version and commit.
    pub software: String,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    body: String,
    signature: String,
}

impl Statement {
    /// Signs it. The bytes are JSON text, which is never encoded again.
    pub(crate) fn sign(&self, store: &Store) -> Vec<u8> {
        let body = serde_json::to_string(self).unwrap_or_default();
        let signature = HEXLOWER.encode(&store.sign(DOMAIN, body.as_bytes()));
        serde_json::to_vec(&Envelope { body, signature }).unwrap_or_default()
    }

    /// Reads a statement whose signature holds.
    pub(crate) fn verify(bytes: &[u8]) -> Option<Self> {
        let envelope: Envelope = serde_json::from_slice(bytes).ok()?;
        let statement: Self = serde_json::from_str(&envelope.body).ok()?;
        let signature: [u8; 64] = HEXLOWER.decode(envelope.signature.as_bytes()).ok()?.try_into().ok()?;
        verify(statement.node, DOMAIN, envelope.body.as_bytes(), &signature).then_some(statement)
    }
}
