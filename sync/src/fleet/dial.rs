//! Keeping a connection to one member: when to dial, how long to wait, when to try another beside a silent one.

use std::sync::{Arc, PoisonError};

use ctxnode_model::NodeKey;
use iroh::endpoint::{ConnectOptions, Connection};
use iroh::{Endpoint, EndpointAddr, TransportAddr};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::Shared;
use crate::endpoint;
use crate::peers::{Reason, Trouble};
use crate::{ALPN_EXCHANGE, ALPN_ROUND};

/// How long a peer may take to be reached. A handshake is sent four times in it; the next attempt sends it again at once,
/// where QUIC would wait ever longer.
const CONNECT: Duration = Duration::from_secs(3);
/// The shortest and the longest pause between two attempts to reach a peer.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// How long attempts stay close together after a peer was lost, seen, or the network changed. It costs 1.5 KB a second for
/// each address, and finds a path that comes back within three seconds although nothing here notices.
const EAGER: Duration = Duration::from_secs(120);
/// The pause after a peer said that it comes back by itself.
const AWAY: Duration = Duration::from_secs(30 * 60);
/// A connection that lasted this long was a good one: when it is lost, the next attempt is made at once.
pub(super) const GOOD: Duration = Duration::from_secs(10);

/// Keeps a connection to one member as long as it is one.
pub(super) async fn dial(shared: Arc<Shared>, peer: NodeKey) {
    let mut wake = shared.wake.subscribe();
    let mut pacing = shared.pacing.subscribe();
    let signals = shared.peers.one(peer, |peer| Arc::clone(&peer.signals));
    let mut serving = JoinSet::new();
    let mut pace = Pace { pause: PAUSE.0, eager_since: Instant::now() };
    while !shared.stop.is_cancelled() && shared.standing.admits(peer).is_ok() {
        while serving.try_join_next().is_some() {}
        // What changes from here on is seen below.
        wake.borrow_and_update();
        pacing.borrow_and_update();
        let mut failed = false;
        if shared.may_connect(peer) && !shared.is_answered(peer) {
            let attempt = tokio::select! {
                attempt = attempt(&shared, peer) => attempt,
                // What was sent into the old network is not waited for.
                _ = wake.changed() => {
                    pace = pace.anew();
                    continue;
                }
                () = shared.stop.cancelled() => break,
            };
            match attempt {
                Ok(connection) => {
                    let shared = Arc::clone(&shared);
                    serving.spawn(async move { shared.serve(connection, shared.store.node(), false).await });
                }
                Err(trouble) => {
                    shared.peers.one(peer, |peer| peer.trouble = Some(trouble));
                    failed = true;
                }
            }
        }
        let is_away = shared.peers.one(peer, |peer| peer.is_away());
        let pause = if is_away { AWAY } else { pace.jittered(shared.store.entropy().number() as u8) };
        tokio::select! {
            () = shared.stop.cancelled() => {}
            _ = wake.changed() => pace = pace.anew(),
            _ = pacing.changed() => pace = pace.anew(),
            () = signals.urgent.notified() => pace = pace.anew(),
            () = sleep(pause), if failed => pace = pace.slower(),
            // A connection that did not last will not the next time: it was refused, or something is wrong.
            () = after(&signals.ended, pause), if !failed => pace.pause = (pace.pause * 2).min(PAUSE.1),
        }
    }
    shared.dialled.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    while serving.join_next().await.is_some() {}
}

/// How soon the next attempt is.
struct Pace {
    pause: Duration,
    eager_since: Instant,
}

impl Pace {
    fn anew(self) -> Self {
        Self { pause: PAUSE.0, eager_since: Instant::now() }
    }

    fn slower(self) -> Self {
        let next = if self.eager_since.elapsed() < EAGER { self.pause } else { self.pause * 2 };
        Self { pause: next.min(PAUSE.1), ..self }
    }

    /// Half of the pause to one and a half, so that two nodes which lost each other do not dial in step.
    fn jittered(&self, random: u8) -> Duration {
        self.pause.mul_f64(0.5 + f64::from(random) / 255.0)
    }
}

async fn after(ended: &Notify, pause: Duration) {
    ended.notified().await;
    sleep(pause).await;
}

/// Dials once.
async fn attempt(shared: &Arc<Shared>, peer: NodeKey) -> Result<Connection, Trouble> {
    let other = |text: String| Trouble { reason: Reason::Other, text };
    let endpoint: Endpoint = shared.bind().await.map_err(|error| other(error.to_string()))?;
    let mut addresses = shared.peers.one(peer, |peer| peer.row.addresses.clone());
    for address in shared.host.addresses(&peer) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() && !shared.config.mdns {
        return Err(Trouble { reason: Reason::NoAddress, text: "no address is known".to_owned() });
    }
    let id = endpoint::endpoint_id(peer).ok_or_else(|| other("its key is none".to_owned()))?;
    let tried: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let address = EndpointAddr::from_parts(id, addresses.into_iter().map(TransportAddr::Ip));
    match timeout(CONNECT, connect(shared, &endpoint, address)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(text)) => Err(Trouble::of(None, format!("no connection: {text}"))),
        Err(_) => {
            let at =
                if tried.is_empty() { "on the local network".to_owned() } else { format!("at {}", tried.join(", ")) };
            Err(Trouble { reason: Reason::NoAnswer, text: format!("no answer {at}") })
        }
    }
}

async fn connect(shared: &Shared, endpoint: &Endpoint, address: EndpointAddr) -> Result<Connection, String> {
    let text = |error: &dyn std::error::Error| endpoint::with_sources(error);
    if shared.pacing.is_live() {
        return endpoint.connect(address, ALPN_EXCHANGE).await.map_err(|error| text(&error));
    }
    // Older nodes know no rounds.
    let mut options = ConnectOptions::new().with_additional_alpns(vec![ALPN_ROUND.to_vec()]);
    if shared.pacing.is_metered() {
        options =
            options.with_transport_config(endpoint::transport(shared.config.keep_alive, endpoint::METERED_WINDOW));
    }
    let connecting = endpoint.connect_with_opts(address, ALPN_EXCHANGE, options).await.map_err(|error| text(&error))?;
    connecting.await.map_err(|error| text(&error))
}
