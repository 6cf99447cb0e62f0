//! The fleet as this node lives in it: one endpoint, a connection to every member that can be reached, and the tasks
//! that keep it so.
//!
//! A machine that is alone opens no port: the endpoint is bound when there is another member or an open invitation.

mod alerts;
mod dial;
mod door;
mod network;
mod presence;
mod rounds;
mod save;
mod status;
mod tasks;
mod unsent;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use ctxnode_model::{NodeKey, Space, SpaceId, Spaces, Timestamp};
use ctxnode_store::{Finding, LocalTable, NodeSecret, Store, StoreError};
use ctxnode_sync_proto::{Hello, OwnHeads, code, limits};
use iroh::endpoint::Connection;
use iroh::{Endpoint, RelayUrl, SecretKey};
use thiserror::Error;
use tokio::sync::{Mutex as AsyncMutex, Notify, broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::alerts::{Alert, Alerts};
use crate::endpoint::{self, Admission, BindError, NetConfig, node_of};
use crate::guests::Guests;
use crate::link::{self, Link};
use crate::moment::Moment;
use crate::pace::{Pace, Pacing, Spent};
use crate::peers::{PeerState, PeerStatus, Peers, Reach, Reason, Trouble, read_rows};
use crate::presence::Beat;
use crate::standing::Standing;

/// How many statements a slow connection may lag behind.
const TOLD: usize = 256;
const PORT_KEY: &[u8] = b"sync_port";
/// How long it may take to find the nearest relay: the probes of iroh take three seconds.
const RELAY: Duration = Duration::from_secs(5);

/// What the fleet asks of the daemon.
pub trait Host: Send + Sync + 'static {
    /// Returns the living sessions of this node.
    fn beats(&self) -> Vec<Beat>;
    /// Returns further addresses of a node, for example from its machine record.
    fn addresses(&self, node: &NodeKey) -> Vec<SocketAddr>;
}

/// The fleet could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What all tasks share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) software: String,
    pub(crate) heads: watch::Sender<Arc<OwnHeads>>,
    /// Statements to pass on, with the peer from which each came.
    pub(crate) told: broadcast::Sender<(NodeKey, Arc<Vec<u8>>)>,
    standing: Arc<Standing>,
    secret: NodeSecret,
    pub(crate) config: NetConfig,
    host: Arc<dyn Host>,
    peers: Peers,
    endpoint: AsyncMutex<Option<Endpoint>>,
    bound: watch::Sender<Option<Endpoint>>,
    bind_error: Mutex<Option<String>>,
    alerts: Mutex<Alerts>,
    started: Timestamp,
    last_contact: Option<Timestamp>,
    alerts_unsaved: AtomicBool,
    /// What alerts tell of, which the store is to forget when they are saved.
    findings_told: Mutex<BTreeSet<Finding>>,
    /// Asks for what is known to be saved at once.
    save_soon: Notify,
    /// Held by whoever saves.
    saving: AsyncMutex<()>,
    dialled: Mutex<BTreeSet<NodeKey>>,
    /// Counts the times that every dialler should try at once: the network changed, or somebody asked.
    wake: watch::Sender<u64>,
    speak: Notify,
    /// How often this node has begun to listen, this time included.
    life: AtomicU64,
    /// The time in its last statement.
    said_at: AtomicI64,
    pub(crate) pacing: Pacing,
    guests: Mutex<Guests>,
    stop: CancellationToken,
}

/// The running fleet. Cheap to clone.
#[derive(Clone)]
pub struct Fleet {
    shared: Arc<Shared>,
    tasks: Arc<AsyncMutex<JoinSet<()>>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet").field("node", &self.shared.store.node()).finish_non_exhaustive()
    }
}

impl Fleet {
    /// Starts the tasks. Binds nothing while this node is alone.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn start(
        store: Store,
        secret: NodeSecret,
        config: NetConfig,
        software: String,
        host: Arc<dyn Host>,
    ) -> Result<Self, StartError> {
        let snapshot = store.read()?;
        let reader = snapshot.reader();
        let rows = read_rows(reader)?;
        let heads = Arc::new(OwnHeads { heads: reader.heads()?, layout: reader.layout()? });
        let alerts = Alerts::read(reader)?;
        let findings = reader.findings()?;
        drop(snapshot);
        let inviter = rows.iter().find(|(_, row)| row.inviter).map(|(node, _)| *node);
        let last_contact = rows.values().filter_map(|row| row.last_seen).max();
        let standing = Arc::new(Standing::new(store.clone(), inviter));
        let started = store.clock().now();
        let shared = Arc::new(Shared {
            store,
            software,
            heads: watch::Sender::new(heads),
            told: broadcast::Sender::new(TOLD),
            standing,
            secret,
            config,
            host,
            peers: Peers::new(rows),
            endpoint: AsyncMutex::new(None),
            bound: watch::Sender::new(None),
            bind_error: Mutex::default(),
            alerts: Mutex::new(alerts),
            started,
            last_contact,
            alerts_unsaved: AtomicBool::new(false),
            findings_told: Mutex::default(),
            save_soon: Notify::new(),
            saving: AsyncMutex::default(),
            dialled: Mutex::default(),
            wake: watch::Sender::new(0),
            speak: Notify::new(),
            life: AtomicU64::new(0),
            said_at: AtomicI64::new(i64::MIN),
            pacing: Pacing::default(),
            guests: Mutex::default(),
            stop: CancellationToken::new(),
        });
        findings.into_iter().for_each(|finding| shared.found(finding));
        shared.pacing.set(shared.config.pace);
        let mut running = JoinSet::new();
        running.spawn(tasks::follow_store(Arc::clone(&shared)));
        running.spawn(tasks::accept(Arc::clone(&shared)));
        running.spawn(tasks::speak(Arc::clone(&shared)));
        running.spawn(network::follow(Arc::clone(&shared)));
        Ok(Self { shared, tasks: Arc::new(AsyncMutex::new(running)) })
    }

    /// Makes sure that the endpoint is bound; returns where it can be reached, best first.
    ///
    /// # Errors
    /// When no port can be opened.
    pub async fn listen(&self) -> Result<Vec<SocketAddr>, BindError> {
        let endpoint = self.shared.bind().await?;
        Ok(endpoint::reachable(&endpoint))
    }

    /// Returns where this node can be reached; empty while it is not bound.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.bound.borrow().as_ref().map(endpoint::reachable).unwrap_or_default()
    }

    /// Returns the relay over which this node can be reached, if relays are used. Which one that is is known a moment after it
    /// listens; that is waited for.
    pub async fn relay(&self) -> Option<RelayUrl> {
        let endpoint = self.shared.bound.borrow().clone()?;
        let relays = &self.shared.config.relays;
        if relays.are_used() && relays.home(&endpoint).is_none() {
            // It may take longer where the network is bad: then there is none yet.
            let _ = timeout(RELAY, endpoint.online()).await;
        }
        relays.home(&endpoint)
    }

    /// Waits until this node listens.
    pub async fn bound(&self) {
        // An error means that the fleet is gone, and with it everybody who waits.
        let _ = self.shared.bound.subscribe().wait_for(Option::is_some).await;
    }

    /// Returns the UDP port on which this node listens.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.shared.bound.borrow().as_ref()?.bound_sockets().first().map(SocketAddr::port)
    }

    /// Returns why no port could be opened.
    #[must_use]
    pub fn bind_error(&self) -> Option<String> {
        self.shared.bind_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tries every peer now, and looks at the network anew. Where peers are only looked for in rounds, begins one.
    pub async fn wake(&self) {
        if !self.shared.pacing.is_live() {
            self.shared.pacing.begin_round();
        }
        self.shared.network_changed().await;
    }

    /// Notes where a member can be reached, best first, and over which relay; what was known before comes after it, and a relay stays
    /// when none is given. It is looked for there at the next [`Self::wake`].
    pub fn is_at(&self, node: NodeKey, addresses: &[SocketAddr], relay: Option<&str>) {
        self.shared.peers.one(node, |peer| {
            let known = peer.row.relay.clone();
            peer.row.learn(addresses, relay.or(known.as_deref()));
            peer.unsaved = true;
        });
    }

    /// Says how eagerly to keep in touch from now on.
    pub fn set_pace(&self, pace: Pace) {
        self.shared.pacing.set(pace);
    }

    /// Whether peers may be connected to now: not between two rounds, and not without bytes.
    #[must_use]
    pub fn is_in_touch(&self) -> bool {
        self.shared.pacing.may_connect()
    }

    /// Returns when another member was last heard before this fleet was started.
    #[must_use]
    pub fn last_contact_before(&self) -> Option<Timestamp> {
        self.shared.last_contact
    }

    /// Takes the bytes that were sent and received since the last call.
    #[must_use]
    pub fn take_spent(&self) -> Spent {
        self.shared.count();
        self.shared.pacing.take_spent()
    }

    /// Tells the others soon that sessions began or ended.
    pub fn sessions_changed(&self) {
        self.shared.speak.notify_one();
    }

    /// Returns how every other member stands, and every revoked one that is known.
    #[must_use]
    pub fn status(&self) -> Vec<PeerStatus> {
        let authority = self.shared.store.authority();
        let own = self.shared.store.node();
        let now = self.shared.moment();
        let written = self.shared.written();
        let is_live = self.shared.pacing.is_live();
        let mut nodes: BTreeMap<NodeKey, _> = authority.members().map(|(node, role)| (node, Some(role))).collect();
        nodes.extend(authority.revoked().map(|node| (node, None)));
        nodes.remove(&own);
        self.shared.peers.with(|peers| {
            let status = |(node, role): (NodeKey, Option<_>)| {
                let peer = peers.entry(node).or_default();
                let name = authority.name(&node).unwrap_or_default().to_owned();
                let status = status::status_of(peer, node, name, role, now);
                let unsent = written.get(&node).zip(peer.row.has).map(|(all, has)| all.saturating_sub(has));
                let paused = || Trouble { reason: Reason::Paused, text: "this machine is in field mode".to_owned() };
                let trouble = match (status.trouble, status.state) {
                    (None, PeerState::Unreachable) if !is_live => Some(paused()),
                    (trouble, _) => trouble,
                };
                PeerStatus { unsent, trouble, ..status }
            };
            nodes.into_iter().map(status).collect()
        })
    }

    /// Returns whether a node's sessions are known as of now.
    #[must_use]
    pub fn reach(&self, node: &NodeKey) -> Reach {
        let now = self.shared.moment();
        self.shared.peers.with(|peers| peers.get(node).map_or(Reach::Unreachable(None), |peer| peer.reach(now)))
    }

    /// Returns what a person should know and nobody has read yet, newest last.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        self.shared.with_alerts(|alerts| alerts.open())
    }

    /// Notes that a person has read all of it; returns what was open. Durable when this returns.
    ///
    /// # Errors
    /// When the storage fails: then it is open as before.
    pub async fn acknowledge_alerts(&self) -> Result<Vec<Alert>, StoreError> {
        let (at, open) = self.shared.acknowledge();
        match self.shared.save().await {
            Ok(()) => Ok(open),
            Err(error) => {
                self.shared.unacknowledge(at);
                Err(error)
            }
        }
    }

    /// Says goodbye to every peer and ends all tasks.
    pub async fn stop(&self) {
        let links: Vec<Arc<Link>> =
            self.shared.peers.with(|peers| peers.values().filter_map(|peer| peer.link.clone()).collect());
        links.iter().for_each(|link| link.end(code::STOPPING, "the daemon stops"));
        // Links send their goodbye and close their connection themselves. A peer that does not take it learns it later.
        let gone = async {
            for link in &links {
                link.connection.closed().await;
            }
        };
        let _ = timeout(Duration::from_secs(1), gone).await;
        self.shared.stop.cancel();
        let endpoint = self.shared.endpoint.lock().await.take();
        if let Some(endpoint) = endpoint {
            let _ = timeout(Duration::from_secs(2), endpoint.close()).await;
        }
        self.shared.save_or_warn().await;
        self.tasks.lock().await.shutdown().await;
    }
}

impl Shared {
    /// Returns the present moment.
    pub(crate) fn moment(&self) -> Moment {
        Moment::now(self.store.clock().as_ref())
    }

    pub(crate) fn fleet_space(&self) -> SpaceId {
        Space::Fleet.id(&self.store.fleet())
    }

    /// Returns the spaces that both this node and a peer may read; `None` when either is no member.
    pub(crate) fn allowed(&self, peer: NodeKey) -> Option<Spaces> {
        self.standing.allowed(peer)
    }

    async fn bind(self: &Arc<Self>) -> Result<Endpoint, BindError> {
        let mut held = self.endpoint.lock().await;
        if let Some(endpoint) = &*held {
            return Ok(endpoint.clone());
        }
        let secret = SecretKey::from_bytes(&self.secret.seed());
        let admission = Admission { store: self.store.clone(), standing: Arc::clone(&self.standing) };
        // Peers look for this node where it was last; a port that nobody chose should stay the same as well.
        let last = self.last_port().filter(|_| self.config.port == 0);
        let config = NetConfig { port: last.unwrap_or(self.config.port), ..self.config.clone() };
        let bound = endpoint::bind(secret, &config, Some(admission)).await;
        *self.bind_error.lock().unwrap_or_else(PoisonError::into_inner) = bound.as_ref().err().map(ToString::to_string);
        let endpoint = bound?;
        self.begin_life().await;
        tracing::info!(addresses = ?endpoint.bound_sockets(), "listening for peers");
        if let Some(port) = endpoint.bound_sockets().first().map(SocketAddr::port)
            && last != Some(port)
            && self.config.port == 0
        {
            let noted = self.store.write(move |draft| {
                draft.put_local(LocalTable::Caches, PORT_KEY, port.to_be_bytes());
                Ok::<(), StoreError>(())
            });
            if let Err(error) = noted.await {
                tracing::warn!(%error, "the port could not be noted");
            }
        }
        *held = Some(endpoint.clone());
        self.bound.send_replace(Some(endpoint.clone()));
        Ok(endpoint)
    }

    fn last_port(&self) -> Option<u16> {
        let bytes = self.store.read().ok()?.reader().local(LocalTable::Caches, PORT_KEY).ok()??;
        bytes.try_into().ok().map(u16::from_be_bytes)
    }

    /// A peer has said hello.
    pub(crate) fn met(&self, node: NodeKey, hello: &Hello) {
        let now = self.store.clock().now();
        self.peers.one(node, |peer| {
            peer.row.last_seen = Some(now);
            peer.row.software.clone_from(&hello.software);
            peer.trouble = None;
            peer.unsaved = true;
        });
        if self.peers.with(|peers| peers.iter().all(|(other, peer)| *other == node || !peer.speaks())) {
            // Where one can be reached, others can: nothing on this machine need have changed for it.
            self.look_anew();
        }
    }

    /// Runs the exchange of a connection until it ends. Of two connections between the same nodes, both keep the one
    /// that the lower key dialled; of two that the same node dialled, the newer. One that is older than any attempt gives
    /// way: its peer dials because it has lost it. Returns whether the peer said hello.
    async fn serve(self: &Arc<Self>, connection: Connection, dialled_by: NodeKey, is_guest: bool) -> bool {
        let peer = node_of(&connection);
        let preferred = self.store.node().min(peer);
        let guest = is_guest.then(|| self.pacing.share_of_one());
        let link = Arc::new(Link::new(connection, dialled_by, guest, self.moment()));
        let is_wanted = self.peers.one(peer, |known| {
            if known.served >= limits::CONNECTIONS_OF_ONE {
                return false;
            }
            if let Some(other) = &known.link {
                if other.dialled_by != dialled_by && dialled_by != preferred && !other.is_settled() {
                    return false;
                }
                other.end(code::DUPLICATE, "there is a second connection");
            }
            known.link = Some(Arc::clone(&link));
            known.served += 1;
            true
        });
        if !is_wanted {
            link.connection.close(u32::from(code::DUPLICATE).into(), b"there is a second connection");
            return false;
        }
        tracing::info!(%peer, dialled = dialled_by == self.store.node(), "connected");
        let begun = Instant::now();
        let own = (!is_guest).then(|| self.pacing.begin_own());
        let bye = link::run(self, peer, &link).await;
        let was_good = begun.elapsed() >= dial::GOOD;
        link.spend(self);
        drop(own);
        let code = link::close_code(&link.connection).or(Some(u64::from(bye.code)));
        tracing::info!(%peer, code = bye.code, reason = bye.text, "disconnected");
        let heard = link.figures().heard.at.wall;
        self.peers.one(peer, |known| {
            known.served -= 1;
            if known.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, &link)) {
                known.link = None;
                // What it said is of the moment of the parting, until others pass on something newer.
                known.said = None;
                if let Some(seen) = &mut known.row.last_seen {
                    *seen = heard.max(*seen);
                    known.unsaved = true;
                }
                let left_here = bye.code == code::AWAY && !self.pacing.is_live();
                if left_here {
                    known.round_done = self.pacing.round();
                }
                if bye.code != code::STOPPING && !left_here {
                    known.trouble = Some(Trouble::of(code, bye.text));
                }
                let signal = if was_good { &known.signals.urgent } else { &known.signals.ended };
                signal.notify_one();
            }
        });
        self.speak.notify_one();
        link.figures().software.is_some()
    }

    /// Whether there is a connection on which what is said is answered.
    fn is_answered(&self, node: NodeKey) -> bool {
        self.peers.one(node, |peer| peer.link.as_ref().is_some_and(|link| !link.is_unanswered()))
    }

    /// Lets the dialler of one peer try at once.
    pub(crate) fn redial(&self, peer: NodeKey) {
        self.peers.one(peer, |peer| peer.signals.urgent.notify_one());
    }

    /// Lets every dialler try at once.
    fn look_anew(&self) {
        self.wake.send_modify(|times| *times += 1);
    }

    /// The network may be another: connections look for new paths, diallers try at once.
    async fn network_changed(&self) {
        let endpoint = self.bound.borrow().clone();
        if let Some(endpoint) = endpoint {
            endpoint.network_change().await;
        }
        self.look_anew();
    }
}
