//! Keeping a connection to one member: when to dial, how long to wait, when to try another beside a silent one.

use std::sync::{Arc, PoisonError};

use ctxnode_model::NodeKey;
use iroh::endpoint::{ConnectOptions, Connection};
use iroh::{Endpoint, EndpointAddr, EndpointId, TransportAddr};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_stream::StreamExt as _;

use super::Shared;
use crate::endpoint;
use crate::peers::{Reason, Trouble};
use crate::{ALPN_EXCHANGE, ALPN_ROUND};

/// How long a peer may take to be reached. A handshake is sent four times in it; the next attempt sends it again at once,
/// where QUIC would wait ever longer.
const CONNECT: Duration = Duration::from_secs(3);
/// The shortest and the longest pause between two attempts to reach a peer.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// How long it takes to be told where a peer was seen: it is known or it is not.
const FOUND: Duration = Duration::from_millis(200);
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

/// Dials once, wherever the peer may be.
async fn attempt(shared: &Arc<Shared>, peer: NodeKey) -> Result<Connection, Trouble> {
    let other = |text: String| Trouble { reason: Reason::Other, text };
    let no_address = |text: &str| Trouble { reason: Reason::NoAddress, text: text.to_owned() };
    let endpoint: Endpoint = shared.bind().await.map_err(|error| other(error.to_string()))?;
    let (mut addresses, named) = shared.peers.one(peer, |peer| (peer.row.addresses.clone(), peer.row.relay.clone()));
    for address in shared.host.addresses(&peer) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let relay = shared.config.relays.over(named.as_deref());
    let ways: Vec<TransportAddr> =
        addresses.into_iter().map(TransportAddr::Ip).chain(relay.map(TransportAddr::Relay)).collect();
    if ways.is_empty() && !shared.config.mdns {
        return Err(no_address("no address is known"));
    }
    let id = endpoint::endpoint_id(peer).ok_or_else(|| other("its key is none".to_owned()))?;
    let address = EndpointAddr::from_parts(id, ways.iter().cloned());
    let failed = match timeout(CONNECT, connect(shared, &endpoint, address)).await {
        Ok(Ok(connection)) => return Ok(connection),
        Ok(Err(text)) => Some(text),
        Err(_) => None,
    };
    let tried = if ways.is_empty() { found(&endpoint, id).await } else { ways };
    Err(match failed {
        _ if tried.is_empty() => no_address("no address is known, and it was not found on the local network"),
        Some(text) => Trouble::of(None, format!("no connection: {text}")),
        None => Trouble { reason: Reason::NoAnswer, text: format!("no answer {}", places(&tried)) },
    })
}

/// Returns where a peer was found on the local network.
async fn found(endpoint: &Endpoint, id: EndpointId) -> Vec<TransportAddr> {
    // An error means that the endpoint is closed.
    let Ok(lookups) = endpoint.address_lookup() else { return Vec::new() };
    let mut answers = std::pin::pin!(lookups.resolve(id));
    let first = timeout(FOUND, async {
        loop {
            match answers.next().await {
                Some(Ok(Ok(answer))) => return answer.into_endpoint_addr().addrs.into_iter().collect(),
                Some(Ok(Err(_))) => {}
                Some(Err(_)) | None => return Vec::new(),
            }
        }
    });
    first.await.unwrap_or_default()
}

/// Says where somebody was looked for.
fn places(tried: &[TransportAddr]) -> String {
    let sockets =
        tried.iter().filter_map(|way| if let TransportAddr::Ip(ip) = way { Some(ip.to_string()) } else { None });
    let sockets: Vec<String> = sockets.collect();
    let relay = tried.iter().find_map(|way| if let TransportAddr::Relay(url) = way { Some(url) } else { None });
    let at = (!sockets.is_empty()).then(|| format!("at {}", sockets.join(", ")));
    let over = relay.map(|url| format!("over the relay {url}"));
    at.into_iter().chain(over).collect::<Vec<_>>().join(" or ")
}

async fn connect(shared: &Shared, endpoint: &Endpoint, address: EndpointAddr) -> Result<Connection, String> {
    let text = |error: &dyn std::error::Error| endpoint::with_sources(error);
    if shared.pacing.is_live() {
        return endpoint.connect(address, ALPN_EXCHANGE).await.map_err(|error| text(&error));
    }
    // Older nodes know no rounds.
    let mut options = ConnectOptions::new().with_additional_alpns(vec![ALPN_ROUND.to_vec()]);
    if shared.pacing.is_metered() {
        options = options.with_transport_config(endpoint::transport(endpoint::METERED_WINDOW));
    }
    let connecting = endpoint.connect_with_opts(address, ALPN_EXCHANGE, options).await.map_err(|error| text(&error))?;
    connecting.await.map_err(|error| text(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_somebody_was_looked_for_is_said_in_words() {
        let socket = |last: u8| TransportAddr::Ip(([192, 0, 2, last], 4_748).into());
        let relay = TransportAddr::Relay("https://relay.example".parse().unwrap());
        assert_eq!(places(&[socket(1), socket(2)]), "at 192.0.2.1:4748, 192.0.2.2:4748");
        assert_eq!(places(&[socket(1), relay.clone()]), "at 192.0.2.1:4748 or over the relay https://relay.example/");
        assert_eq!(places(&[relay]), "over the relay https://relay.example/");
    }
}
