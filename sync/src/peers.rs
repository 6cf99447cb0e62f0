//! What is known of each peer: where it was reached, what it last said, how its connection stands.
//!
//! Addresses and last contact are node-local rows, so that a restarted daemon finds its peers again; everything else is
//! memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ctxnode_model::{NodeKey, Timestamp};
use ctxnode_store::{LocalTable, Reader, Role, Store, StoreError, WriteError};
use ctxnode_sync_proto::{Lacks, code};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Duration;

use crate::endpoint::{REVOKED, UNKNOWN};
use crate::join::Joined;
use crate::link::{Link, Path, Traffic};
use crate::moment::Moment;
use crate::presence::{Beat, Order, Statement};

/// How many addresses of a peer are kept.
const MAX_ADDRESSES: usize = 8;
/// The longest name of a relay that is kept; those in use have thirty letters.
const MAX_RELAY: usize = 256;
/// How long a statement that others passed on says that its node is reachable. Nodes speak every twenty seconds.
pub(crate) const FRESH: Duration = Duration::from_secs(70);
/// How long a connection on which nothing is heard counts as one: as long as the transport waits, and a little.
const SILENT: Duration = Duration::from_secs(25);

/// The row of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Best first.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The relay over which it can be reached, as it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relay: Option<String>,
    /// When it was last heard, directly or through others.
    #[serde(default)]
    pub(crate) last_seen: Option<Timestamp>,
    /// Version and commit, as it said.
    #[serde(default)]
    pub(crate) software: String,
    /// Where its newest statement stands: an older one that somebody repeats never makes a node look alive.
    #[serde(default)]
    pub(crate) last: Order,
    /// It invited this node.
    #[serde(default)]
    pub(crate) inviter: bool,
    /// How many of this node's own entries it is known to have; absent when it has never said.
    #[serde(default, alias = "confirmed", skip_serializing_if = "Option::is_none")]
    pub(crate) has: Option<u64>,
    /// Since when it has lacked some of them.
    #[serde(default)]
    pub(crate) unsent_since: Option<Timestamp>,
    /// How many there were then.
    #[serde(default)]
    pub(crate) unsent_of: u64,
}

/// Notes who invited this node and where it is; the first connection goes there.
///
/// # Errors
/// When the storage fails.
pub fn remember_inviter(store: &Store, joined: &Joined) -> Result<(), StoreError> {
    let mut row = Row { inviter: true, ..Row::default() };
    row.learn(&joined.addresses, joined.relay.as_deref());
    let key = joined.inviter.0;
    let saved = store.write_blocking(move |draft| {
        draft.put_local(LocalTable::Peers, key, serde_json::to_vec(&row).unwrap_or_default());
        Ok::<(), StoreError>(())
    });
    saved.map(drop).map_err(WriteError::flatten)
}

impl Row {
    /// Puts addresses first; those that are not said again fall off the end in time. A relay that is not said again is none.
    pub(crate) fn learn(&mut self, addresses: &[SocketAddr], relay: Option<&str>) {
        self.relay = relay.filter(|relay| relay.len() <= MAX_RELAY).map(str::to_owned);
        let mut all = addresses.to_vec();
        all.extend(self.addresses.iter().filter(|known| !addresses.contains(known)));
        all.truncate(MAX_ADDRESSES);
        self.addresses = all;
    }
}

pub(crate) fn read_rows(reader: Reader<'_>) -> Result<BTreeMap<NodeKey, Row>, StoreError> {
    let rows = reader.local_prefix(LocalTable::Peers, &[], usize::MAX)?;
    let rows = rows.into_iter().filter_map(|(key, row)| {
        let node = NodeKey(key.try_into().ok()?);
        let mut row: Row = serde_json::from_slice(&row).ok()?;
        // In rows of earlier builds it is what was never said as well.
        row.has = row.has.filter(|has| *has > 0);
        Some((node, row))
    });
    Ok(rows.collect())
}

/// How a peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// There is a connection.
    Connected,
    /// Others are connected to it and pass on what it says.
    Forwarded,
    /// Neither.
    Unreachable,
    /// It is no member any more.
    Revoked,
}

/// Why there is no connection to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nobody has said where it is.
    NoAddress,
    /// Nothing answers where it was: the machine, its daemon or its port is not there.
    NoAnswer,
    /// It does not know this node's key.
    UnknownKey,
    /// It says that this node was revoked.
    Revoked,
    /// No protocol version in common.
    Protocol,
    /// It is of another fleet.
    OtherFleet,
    /// It is in field mode, and comes back by itself.
    Away,
    /// This node is in field mode.
    Paused,
    /// Something else.
    Other,
}

/// Why there is no connection to a peer, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Why.
    pub reason: Reason,
    /// What happened.
    pub text: String,
}

impl Trouble {
    /// Reads why a connection could not be made, or was closed, from its close code and from what was said.
    pub(crate) fn of(code: Option<u64>, text: String) -> Self {
        let by_code = match code {
            Some(found) if found == u64::from(UNKNOWN) => Some(Reason::UnknownKey),
            Some(found) if found == u64::from(REVOKED) || found == u64::from(code::REVOKED) => Some(Reason::Revoked),
            Some(found) if found == u64::from(code::VERSION) => Some(Reason::Protocol),
            Some(found) if found == u64::from(code::FLEET) => Some(Reason::OtherFleet),
            Some(found) if found == u64::from(code::AWAY) => Some(Reason::Away),
            _ => None,
        };
        // The handshake itself gives no code.
        let by_text = || match () {
            () if text.contains("not a member") => Reason::UnknownKey,
            () if text.contains("revoked") => Reason::Revoked,
            // It may say so before the dialling side has seen the handshake end.
            () if text.contains("in field mode") => Reason::Away,
            () if text.contains("application protocol") => Reason::Protocol,
            () if text.contains("no answer") || text.contains("timed out") => Reason::NoAnswer,
            () => Reason::Other,
        };
        Self { reason: by_code.unwrap_or_else(by_text), text }
    }
}

/// Everything about one peer.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Its key.
    pub node: NodeKey,
    /// What it was called when it was granted.
    pub name: String,
    /// Its role; `None` once revoked.
    pub role: Option<Role>,
    /// How it stands.
    pub state: PeerState,
    /// How the connection goes.
    pub path: Option<Path>,
    /// What went over it.
    pub traffic: Traffic,
    /// How many entries each side lacks; `None` before it has said.
    pub lacks: Option<Lacks>,
    /// For how long it has lacked something that we hold.
    pub behind_for: Option<Duration>,
    /// When it was last heard.
    pub last_seen: Option<Timestamp>,
    /// Version and commit.
    pub software: String,
    /// Its clock minus ours when it connected, in milliseconds.
    pub skew_ms: Option<i64>,
    /// Its living sessions, as it said a moment ago; `None` when it did not.
    pub sessions: Option<Vec<Beat>>,
    /// How many entries that were written here it lacks; `None` when it has never said what it has.
    pub unsent: Option<u64>,
    /// Since when.
    pub unsent_since: Option<Timestamp>,
    /// Why there is no connection.
    pub trouble: Option<Trouble>,
    /// Where it is looked for.
    pub addresses: Vec<SocketAddr>,
}

/// Whether a node's statements about its sessions are of now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// They are: its living sessions, with their ages now.
    Reachable(Vec<Beat>),
    /// They are not: when it was last heard.
    Unreachable(Option<Timestamp>),
}

#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) row: Row,
    pub(crate) unsaved: bool,
    pub(crate) link: Option<Arc<Link>>,
    /// How many connections with it have not ended yet.
    pub(crate) served: usize,
    pub(crate) said: Option<(Statement, Arc<Vec<u8>>, Moment)>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) signals: Arc<Signals>,
    /// The last round in which both sides had the same at the end.
    pub(crate) round_done: u64,
}

/// What a peer's dialler waits for.
#[derive(Default)]
pub(crate) struct Signals {
    /// It was seen, a good connection was lost, or one is silent.
    pub(crate) urgent: Notify,
    /// A connection ended that had just begun.
    pub(crate) ended: Notify,
}

impl Peer {
    /// Whether it said that it comes back by itself.
    pub(crate) fn is_away(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.reason == Reason::Away)
    }

    /// Takes in a statement of this node that arrived from the node itself, or from another one; returns whether it is news.
    ///
    /// What a node says itself, on a connection on which it has proved its key, is believed: its clock may have been set
    /// back, or its replica may be a restored one. Only within one life nothing is taken back. What others pass on counts when
    /// it is newer than everything before, and as long as the node speaks for itself it alone does: so an older statement
    /// neither wins nor travels in circles.
    pub(crate) fn hear(&mut self, said: Statement, bytes: &Arc<Vec<u8>>, is_own: bool, at: Moment) -> bool {
        let is_newer = said.order() > self.row.last;
        let is_another_life = said.life.is_none() || said.life != self.row.last.0;
        let is_news = if is_own { is_newer || is_another_life } else { is_newer && !self.speaks() };
        if is_news {
            self.row.last = said.order();
            self.row.learn(&said.addresses, said.relay.as_deref());
            self.row.last_seen = Some(at.wall);
            self.row.software.clone_from(&said.software);
            self.unsaved = true;
            self.said = Some((said, Arc::clone(bytes), at));
        }
        is_news
    }

    /// It is known to have so many of this node's own entries.
    pub(crate) fn has(&mut self, entries: u64) {
        self.unsaved |= self.row.has != Some(entries);
        self.row.has = Some(entries);
    }

    /// Notes how many of them there are now.
    pub(crate) fn note_unsent(&mut self, all: u64, now: Timestamp) {
        let before = (self.row.unsent_since, self.row.unsent_of);
        match self.row.has {
            Some(has) if has < all => {
                // What there was then has arrived, and what it lacks is newer.
                if self.row.unsent_since.is_none() || has >= self.row.unsent_of {
                    (self.row.unsent_since, self.row.unsent_of) = (Some(now), all);
                }
            }
            _ => (self.row.unsent_since, self.row.unsent_of) = (None, 0),
        }
        self.unsaved |= (self.row.unsent_since, self.row.unsent_of) != before;
    }

    /// Whether there is a connection on which it has said hello.
    pub(crate) fn speaks(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.figures().software.is_some())
    }

    /// Whether it speaks, and was heard a moment ago.
    pub(crate) fn is_connected(&self, now: Moment) -> bool {
        self.speaks() && self.link.as_ref().is_some_and(|link| now.since(link.figures().heard.at) < SILENT)
    }

    /// Whether its last statement is of now. It makes one every twenty seconds, with a connection as well.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        self.said.as_ref().is_some_and(|(_, _, heard)| now.since(*heard) < FRESH)
    }

    pub(crate) fn reach(&self, now: Moment) -> Reach {
        match &self.said {
            Some((statement, _, heard)) if self.is_fresh(now) => {
                let since = u64::try_from(now.since(*heard).as_millis()).unwrap_or(u64::MAX);
                let aged = |beat: &Beat| Beat { age_ms: beat.age_ms.saturating_add(since), ..beat.clone() };
                Reach::Reachable(statement.sessions.iter().map(aged).collect())
            }
            _ => Reach::Unreachable(self.row.last_seen),
        }
    }
}

/// All peers.
#[derive(Default)]
pub(crate) struct Peers(Mutex<BTreeMap<NodeKey, Peer>>);

impl Peers {
    pub(crate) fn new(rows: BTreeMap<NodeKey, Row>) -> Self {
        let peer = |(node, row)| (node, Peer { row, ..Peer::default() });
        Self(Mutex::new(rows.into_iter().map(peer).collect()))
    }

    pub(crate) fn with<T>(&self, use_: impl FnOnce(&mut BTreeMap<NodeKey, Peer>) -> T) -> T {
        use_(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn one<T>(&self, node: NodeKey, use_: impl FnOnce(&mut Peer) -> T) -> T {
        self.with(|peers| use_(peers.entry(node).or_default()))
    }

    /// Takes the rows that changed since the last call.
    pub(crate) fn take_unsaved(&self) -> Vec<(NodeKey, Row)> {
        self.with(|peers| {
            let changed = peers
                .iter_mut()
                .filter_map(|(node, peer)| std::mem::take(&mut peer.unsaved).then(|| (*node, peer.row.clone())));
            changed.collect()
        })
    }

    /// Notes that rows which were taken were not saved.
    pub(crate) fn give_back_unsaved(&self, nodes: &[NodeKey]) {
        self.with(|peers| {
            for node in nodes {
                peers.entry(*node).or_default().unsaved = true;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use ctxnode_store::ManualClock;

    use super::*;

    #[test]
    fn rows_that_were_taken_and_not_saved_are_taken_again_as_they_are_by_then() {
        let (peers, node) = (Peers::default(), NodeKey([1; 32]));
        peers.one(node, |peer| peer.has(1));
        let has = |rows: Vec<(NodeKey, Row)>| rows.iter().map(|(_, row)| row.has).collect::<Vec<_>>();
        assert_eq!(has(peers.take_unsaved()), [Some(1)]);
        assert!(peers.take_unsaved().is_empty());
        peers.one(node, |peer| peer.row.has = Some(2));
        peers.give_back_unsaved(&[node]);
        assert_eq!(has(peers.take_unsaved()), [Some(2)]);
    }

    /// Steady writing is no arrear, however long it lasts.
    #[test]
    fn what_a_peer_lacks_is_as_old_as_the_oldest_of_it() {
        let mut peer = Peer::default();
        let mut since = |has: Option<u64>, all: u64, now: i64| {
            has.into_iter().for_each(|has| peer.has(has));
            peer.note_unsent(all, Timestamp(now));
            peer.row.unsent_since.map(|since| since.0)
        };
        assert_eq!(since(None, 5, 1), None, "it has never said what it has");
        assert_eq!(since(Some(5), 5, 2), None);
        assert_eq!(since(None, 7, 3), Some(3));
        assert_eq!(since(Some(6), 9, 4), Some(3), "the seventh is still missing");
        assert_eq!(since(Some(7), 9, 5), Some(5), "the first of these were written since");
        assert_eq!(since(Some(8), 12, 6), Some(5));
        assert_eq!(since(Some(12), 12, 7), None);
    }

    #[test]
    fn the_reason_comes_from_the_close_code_and_else_from_what_was_said() {
        let reason = |code: Option<u64>, text: &str| Trouble::of(code, text.to_owned()).reason;
        assert_eq!(reason(Some(0x401), "refused: not a member"), Reason::UnknownKey);
        assert_eq!(reason(Some(0x403), "refused: revoked"), Reason::Revoked);
        assert_eq!(reason(Some(u64::from(code::REVOKED)), "x"), Reason::Revoked);
        assert_eq!(reason(Some(u64::from(code::VERSION)), "protocol 2 to 3 here, 1 to 1 there"), Reason::Protocol);
        assert_eq!(reason(Some(u64::from(code::FLEET)), "another fleet"), Reason::OtherFleet);
        assert_eq!(reason(Some(u64::from(code::AWAY)), "refused: in field mode"), Reason::Away);
        assert_eq!(
            reason(None, "no connection: peer doesn't support any known application protocol"),
            Reason::Protocol
        );
        assert_eq!(reason(None, "no connection: timed out"), Reason::NoAnswer);
        assert_eq!(reason(None, "no connection: closed by peer: in field mode (code 9)"), Reason::Away);
        assert_eq!(reason(Some(6), "a frame that is none"), Reason::Other);
    }

    #[test]
    fn new_addresses_come_first_and_old_ones_fall_off() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut row = Row::default();
        row.learn(&[address(1), address(2)], Some("https://relay.example"));
        row.learn(&[address(2), address(3)], Some("https://relay.example"));
        assert_eq!(row.addresses, [address(2), address(3), address(1)]);
        assert_eq!(row.relay.as_deref(), Some("https://relay.example"));
        row.learn(&(10..20).map(address).collect::<Vec<_>>(), Some(&"r".repeat(MAX_RELAY + 1)));
        assert_eq!((row.addresses.len(), row.addresses[0]), (MAX_ADDRESSES, address(10)));
        assert_eq!(row.relay, None, "nobody fills the table with names");
    }

    /// Earlier builds know no relay.
    #[test]
    fn rows_of_earlier_builds_are_read() {
        let row: Row = serde_json::from_str(r#"{"addresses":["192.0.2.1:4748"],"confirmed":5}"#).unwrap();
        assert_eq!((row.addresses.len(), row.relay, row.has), (1, None, Some(5)));
    }

    fn said(life: Option<u64>, at: i64) -> Statement {
        let node = NodeKey([1; 32]);
        let (sessions, addresses, software) = (Vec::new(), Vec::new(), String::new());
        Statement { node, life, at, sessions, has: BTreeMap::new(), addresses, relay: None, software }
    }

    /// Lets a peer hear statements one after the other, each from the node itself or not; returns which were news.
    fn news(statements: &[(bool, Option<u64>, i64)]) -> Vec<bool> {
        let mut peer = Peer::default();
        let now = Moment::now(&ManualClock::new(Timestamp(0)));
        let hear =
            |(is_own, life, at): &(bool, Option<u64>, i64)| peer.hear(said(*life, *at), &Arc::default(), *is_own, now);
        statements.iter().map(hear).collect()
    }

    /// While the machine slept the steady clock stood still.
    #[test]
    fn s_23_what_was_heard_before_sleep_is_not_of_now() {
        let clock = ManualClock::new(Timestamp(1_000_000));
        let mut peer = Peer::default();
        peer.hear(said(Some(4), 9), &Arc::default(), false, Moment::now(&clock));
        assert_eq!(peer.reach(Moment::now(&clock)), Reach::Reachable(Vec::new()));
        clock.advance(8 * 3_600_000);
        assert_eq!(peer.reach(Moment::now(&clock)), Reach::Unreachable(Some(Timestamp(1_000_000))));
    }

    #[test]
    fn what_others_pass_on_counts_when_it_is_newer_than_all_before() {
        let life = Some(4);
        assert_eq!(
            news(&[(false, life, 9), (false, life, 9), (false, life, 8), (false, life, 10)]),
            [true, false, false, true]
        );
        let other_lives = [(false, Some(4), 9), (false, Some(3), 100), (false, Some(5), 1), (false, Some(4), 200)];
        assert_eq!(news(&other_lives), [true, false, true, false]);
        assert_eq!(news(&[(false, None, 9), (false, None, 8), (false, Some(1), 1)]), [true, false, true]);
    }

    /// The clock was set back and the daemon restarted; the replica was restored; the version does not count its lives.
    #[test]
    fn what_a_node_says_itself_is_believed_and_others_cannot_take_it_back() {
        assert_eq!(news(&[(true, Some(4), 900), (true, Some(5), 10), (false, Some(4), 900)]), [true, true, false]);
        assert_eq!(news(&[(true, Some(4), 900), (true, Some(3), 10), (true, Some(3), 11)]), [true, true, true]);
        assert_eq!(news(&[(true, None, 900), (true, None, 10), (false, None, 11)]), [true, true, true]);
        // Two that were made at the same time overtake each other on the way.
        assert_eq!(news(&[(true, Some(4), 11), (true, Some(4), 10)]), [true, false]);
    }
}
