//! The fleet inside the daemon: what peers hear of this node's sessions, and what is known of theirs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock, Weak};

use ctxnode_config::{Relay, SyncSettings};
use ctxnode_model::record::{Machine, Session};
use ctxnode_model::rules::presence::is_stale;
use ctxnode_model::{Kind, NodeKey, Rec, Timestamp};
use ctxnode_store::{NodeSecret, StoreError};
use ctxnode_sync::{Beat, Fleet, Host, NetConfig, Reach, Relays, StartError};

use crate::app::App;

/// The name under which a machine's record holds the UDP port of its daemon.
pub(crate) const SYNC_PORT: &str = "sync_port";

/// Starts the fleet of a daemon; `build` is what others hear that it runs.
///
/// # Errors
/// When the store cannot be read.
pub(crate) fn start(app: &Arc<App>, secret: NodeSecret, build: &str) -> Result<Fleet, StoreError> {
    let daemon = Arc::new(Daemon(OnceLock::new()));
    // The fleet lives in the daemon that it asks; a strong reference would keep both alive for ever.
    daemon.0.get_or_init(|| Arc::downgrade(app));
    let config = NetConfig { pace: crate::field::pace(app), ..net_config(&app.config.sync) };
    let fleet = Fleet::start(app.store.clone(), secret, config, build.to_owned(), daemon);
    fleet.map_err(|StartError::Store(error)| error)
}

/// Returns the network settings of the configuration. A relay that is no URL is none; the configuration has checked it.
pub(crate) fn net_config(settings: &SyncSettings) -> NetConfig {
    let relays = match &settings.relay {
        Relay::Off => Relays::None,
        Relay::Public => Relays::Public,
        Relay::Url(url) => url.parse().map_or(Relays::None, |url| Relays::Own(vec![url])),
    };
    NetConfig { port: settings.port, bind: settings.bind.clone(), relays, mdns: settings.mdns, ..NetConfig::default() }
}

struct Daemon(OnceLock<Weak<App>>);

impl Daemon {
    fn app(&self) -> Option<Arc<App>> {
        self.0.get()?.upgrade()
    }
}

impl Host for Daemon {
    fn beats(&self) -> Vec<Beat> {
        let Some(app) = self.app() else { return Vec::new() };
        let now = app.now();
        let alive = app.presence.all().into_iter().filter(|(_, pulse)| !is_stale(now.since(pulse.at)));
        let beat = |(id, pulse): (ctxnode_model::DocumentId, crate::daemon::presence::Pulse)| Beat {
            session: id.to_string(),
            age_ms: u64::try_from(now.since(pulse.at)).unwrap_or(0),
        };
        alive.map(beat).collect()
    }

    fn addresses(&self, node: &NodeKey) -> Vec<SocketAddr> {
        let Some(app) = self.app() else { return Vec::new() };
        let key = node.to_string();
        let configured = app.config.sync.peers.iter().filter(|(peer, _)| *peer == key);
        let mut found: Vec<SocketAddr> = configured.map(|(_, address)| *address).collect();
        let machines = app.store.read().and_then(|snapshot| snapshot.reader().all::<Machine>(Kind::Machine));
        let machines = machines.unwrap_or_default();
        let machine = machines.iter().find(|machine| machine.node_key.as_deref() == Some(&key));
        // Its record says which addresses and which port it has; otherwise the port that is the same everywhere is likely.
        let said = machine.and_then(|machine| u16::try_from(machine.value.meta.get(SYNC_PORT)?.as_u64()?).ok());
        let port = said.or_else(|| Some(app.config.sync.port).filter(|port| *port != 0));
        let ips = machine.into_iter().flat_map(|machine| machine.addresses.iter().filter_map(|text| text.parse().ok()));
        found.extend(ips.filter_map(|ip: IpAddr| Some(SocketAddr::new(ip, port?))));
        found
    }
}

/// Where a session lives, and what is known of it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// On this node.
    Here,
    /// On a node that can be reached, which says that it is alive and when it last gave a sign.
    Alive(Timestamp),
    /// On a node that can be reached and does not name it among the living.
    Silent,
    /// On a node that cannot be reached: when that was last heard.
    Away(Option<Timestamp>),
}

/// Finds out where a session is.
pub(crate) fn whereabouts(app: &App, session: &Rec<Session>, now: Timestamp) -> Whereabouts {
    if session.node == app.store.node().to_string() {
        return Whereabouts::Here;
    }
    let Some((fleet, node)) = app.fleet.get().zip(session.node.parse::<NodeKey>().ok()) else {
        return Whereabouts::Away(None);
    };
    match fleet.reach(&node) {
        Reach::Unreachable(last) => Whereabouts::Away(last),
        Reach::Reachable(beats) => {
            let id = session.id.to_string();
            let age = beats.iter().find(|beat| beat.session == id);
            let age = age.map(|beat| i64::try_from(beat.age_ms).unwrap_or(i64::MAX)).filter(|age| !is_stale(*age));
            age.map_or(Whereabouts::Silent, |age| Whereabouts::Alive(now.plus(-age)))
        }
    }
}
