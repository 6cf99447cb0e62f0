//! Who is alive where: statements that a node signs, so that others can pass them on.
//!
//! A statement carries ages, never times: clocks may be wrong. `life` and `at` order the statements of one node and nothing
//! else.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ctxnode_model::NodeKey;
use ctxnode_store::{Store, verify};
use ctxnode_sync_proto::limits::MAX_PRESENCE;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

const DOMAIN: &[u8] = b"ctxnode presence v1";
/// What is left of [`MAX_PRESENCE`] for the envelope, which takes less than 200 bytes with its signature.
const ENVELOPE: usize = 1 << 10;

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
    /// Its living sessions; of more than a statement holds those with the newest signs of life.
    pub sessions: Vec<Beat>,
    /// How many entries it has of each member that it is not connected to, in all spaces that it may read: so that one knows what of
    /// its own has arrived. Earlier versions do not say it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub has: BTreeMap<NodeKey, u64>,
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

    /// Leaves out as many sessions as it takes for others not to ignore the statement, those with the oldest signs of life.
    pub(crate) fn fit(&mut self) {
        let mut beats = std::mem::take(&mut self.sessions);
        let room = MAX_PRESENCE.saturating_sub(ENVELOPE + size(&*self));
        if beats.iter().map(size).sum::<usize>() > room {
            beats.sort_by_key(|beat| beat.age_ms);
            let mut taken = 0;
            let fitting = beats.iter().take_while(|beat| {
                taken += size(*beat);
                taken <= room
            });
            let fitting = fitting.count();
            beats.truncate(fitting);
        }
        self.sessions = beats;
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

/// How much a part of a statement takes: it is JSON in a text that is JSON again. Its quotes make up for the comma behind it.
fn size<T: Serialize>(part: &T) -> usize {
    let text = serde_json::to_string(part).unwrap_or_default();
    serde_json::to_string(&text).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use ctxnode_store::{Location, NodeSecret, Options, OsEntropy};

    use super::*;

    /// Earlier builds say neither `life` nor `has` nor `relay`; later ones may say more.
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

    #[test]
    fn of_more_sessions_than_a_statement_holds_those_that_were_heard_last_are_said() {
        let options = Options { location: Location::Memory, ..Options::file("", NodeSecret::generate(&OsEntropy)) };
        let store = Store::create(options, "test").unwrap().store;
        // Ages from 0 on, each once, and ids that take more room the more often they are encoded.
        let beat = |number: u64| Beat { session: format!("\"\\{number}\n"), age_ms: number * 7_919 % 5_000 };
        let few = vec![beat(1), beat(2), beat(3), beat(4)];
        let mut statement = Statement {
            node: store.node(),
            life: Some(1),
            at: 5,
            sessions: few.clone(),
            has: BTreeMap::from([(store.node(), 3)]),
            addresses: vec!["192.0.2.1:4748".parse().unwrap()],
            relay: None,
            software: "x".to_owned(),
        };
        statement.fit();
        assert_eq!(statement.sessions, few, "all of them, as they were");

        statement.sessions = (0..5_000).map(beat).collect();
        statement.fit();
        let bytes = statement.sign(&store);
        assert!(bytes.len() <= MAX_PRESENCE && bytes.len() > MAX_PRESENCE - 4 * ENVELOPE, "{} bytes", bytes.len());
        let said = Statement::verify(&bytes).unwrap().sessions;
        let ages: Vec<u64> = said.iter().map(|beat| beat.age_ms).collect();
        assert_eq!(ages, (0..said.len() as u64).collect::<Vec<_>>());
    }
}
