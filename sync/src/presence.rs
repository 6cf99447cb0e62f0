//! Who is alive where: statements that a node signs, so that others can pass them on.
//!
//! A statement carries ages, never times: clocks may be wrong. `life` and `at` order the statements of one node and nothing
//! else.

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
    /// When its daemon began to listen, in seconds since 1970, or more where that would be no more than the last time. A later
    /// life says what is newer, whatever the clock was set to in between. Earlier versions do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<u64>,
    /// Its clock, in milliseconds since 1970, or more where that would be no more than it said before in this life.
    pub at: i64,
    /// Its living sessions.
    pub sessions: Vec<Beat>,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// The relay over which it can be reached; a text, since another version may name what is no URL here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    /// Version and commit.
    pub software: String,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    body: String,
    signature: String,
}

/// Where a statement stands among those of its node: the life that it was made in, and the time.
pub(crate) type Order = (Option<u64>, i64);

impl Statement {
    pub(crate) fn order(&self) -> Order {
        (self.life, self.at)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Earlier builds say neither `life` nor `relay`; later ones may say more.
    #[test]
    fn statements_of_earlier_and_later_versions_are_read() {
        let node = NodeKey([7; 32]);
        let old = serde_json::json!({ "node": node, "at": 5, "sessions": [], "addresses": ["192.0.2.1:4748"], "software": "x" });
        let read: Statement = serde_json::from_value(old.clone()).unwrap();
        assert_eq!((read.order(), &read.relay), ((None, 5), &None));
        assert_eq!(serde_json::to_value(&read).unwrap(), old, "nothing is said that is not known");
        let mut new = old;
        new["life"] = 3.into();
        new["relay"] = "quic+magic:somewhere".into();
        new["mood"] = "good".into();
        let read: Statement = serde_json::from_value(new).unwrap();
        assert_eq!((read.order(), read.relay.as_deref()), ((Some(3), 5), Some("quic+magic:somewhere")));
    }
}
