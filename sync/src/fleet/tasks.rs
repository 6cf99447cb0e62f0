//! The tasks of the fleet: following the store, dialling, accepting, speaking.

use std::sync::{Arc, PoisonError};

use ctxnode_model::{NodeKey, Timestamp};
use iroh::endpoint::{Connection, Incoming};
use iroh::{EndpointAddr, TransportAddr};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Shared;
use crate::endpoint::{self, node_of};
use crate::invite::any_open;
use crate::{ALPN_EXCHANGE, ALPN_JOIN, join};

/// How long a peer may take to be reached.
const CONNECT: Duration = Duration::from_secs(5);
/// The shortest and the longest pause between two attempts to reach a peer.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// A connection that lasted this long was a good one: the next attempt is made at once.
const GOOD: Duration = Duration::from_secs(10);
/// How often a node says who is alive on it.
const SPEAK: Duration = Duration::from_secs(20);
/// How often changed rows of peers are saved.
const SAVE: Duration = Duration::from_secs(5);
/// The most handshakes at a time, and the most machines that join at a time.
const HANDSHAKES: usize = 32;
const JOINING: usize = 8;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A wall clock that jumps this far between two ticks means that the machine slept.
const SLEPT_MS: i64 = 30_000;

/// Follows the store: heads for the connections, members to dial, rights that ended.
pub(super) async fn follow_store(shared: Arc<Shared>) {
    let mut journal = shared.store.watch();
    let mut diallers = JoinSet::new();
    let mut first = true;
    loop {
        if !first {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                changed = journal.changed() => if changed.is_err() { return },
            }
        }
        first = false;
        journal.borrow_and_update();
        match shared.store.read().and_then(|snapshot| snapshot.reader().heads()) {
            Ok(heads) if heads != **shared.heads.borrow() => drop(shared.heads.send_replace(Arc::new(heads))),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the heads of the logs cannot be read"),
        }
        let others = shared.standing.others();
        if shared.bound.borrow().is_none() {
            let now = shared.store.clock().now();
            let invited = || shared.store.read().is_ok_and(|snapshot| any_open(snapshot.reader(), now));
            if (!others.is_empty() || invited())
                && let Err(error) = shared.bind().await
            {
                tracing::error!(%error, "no peer can be reached");
            }
        }
        for node in others {
            if shared.dialled.lock().unwrap_or_else(PoisonError::into_inner).insert(node) {
                diallers.spawn(dial(Arc::clone(&shared), node));
            }
        }
        while diallers.try_join_next().is_some() {}
    }
}

/// Keeps a connection to one member as long as it is one.
async fn dial(shared: Arc<Shared>, peer: NodeKey) {
    let mut pause = BACKOFF.0;
    loop {
        if shared.stop.is_cancelled() || shared.standing.admits(peer).is_err() {
            shared.dialled.lock().unwrap_or_else(PoisonError::into_inner).remove(&peer);
            return;
        }
        let begun = Instant::now();
        let is_linked = shared.is_linked(peer);
        if !is_linked && let Err(reason) = attempt(&shared, peer).await {
            shared.peers.one(peer, |peer| peer.last_error = Some(reason));
        }
        if is_linked || begun.elapsed() >= GOOD {
            pause = BACKOFF.0;
        }
        let jitter = 0.5 + f64::from(shared.store.entropy().number() as u8) / 255.0;
        tokio::select! {
            () = shared.stop.cancelled() => {}
            () = sleep(pause.mul_f64(jitter)) => pause = (pause * 2).min(BACKOFF.1),
            () = shared.wake.notified() => pause = BACKOFF.0,
        }
    }
}

/// Dials once and, when it works, serves the connection to its end.
async fn attempt(shared: &Arc<Shared>, peer: NodeKey) -> Result<(), String> {
    let endpoint = shared.bind().await.map_err(|error| error.to_string())?;
    let mut addresses = shared.peers.one(peer, |peer| peer.row.addresses.clone());
    for address in shared.host.addresses(&peer) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() && !shared.config.mdns {
        return Err("no address is known".to_owned());
    }
    let id = endpoint::endpoint_id(peer).ok_or("its key is none")?;
    let address = EndpointAddr::from_parts(id, addresses.into_iter().map(TransportAddr::Ip));
    let connection = match timeout(CONNECT, endpoint.connect(address, ALPN_EXCHANGE)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(format!("no connection: {error}")),
        Err(_) => return Err("no answer".to_owned()),
    };
    shared.serve(connection, shared.store.node()).await;
    Ok(())
}

/// Accepts connections whenever there is an endpoint.
pub(super) async fn accept(shared: Arc<Shared>) {
    let mut bound = shared.bound.subscribe();
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let joining = Arc::new(Semaphore::new(JOINING));
    let mut tasks = JoinSet::new();
    loop {
        let endpoint = bound.borrow_and_update().clone();
        let Some(endpoint) = endpoint else {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                changed = bound.changed() => if changed.is_err() { return },
            }
            continue;
        };
        let incoming = tokio::select! {
            () = shared.stop.cancelled() => return,
            incoming = endpoint.accept() => incoming,
            Some(_) = tasks.join_next() => continue,
        };
        let Some(incoming) = incoming else { return };
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            // Too many at once: members come again, others cost nothing more.
            incoming.ignore();
            continue;
        };
        let (shared, joining) = (Arc::clone(&shared), Arc::clone(&joining));
        tasks.spawn(async move {
            let connection = shake_hands(incoming).await;
            drop(permit);
            let Some(connection) = connection else { return };
            let peer = node_of(&connection);
            if connection.alpn() == ALPN_JOIN {
                let Ok(_permit) = joining.try_acquire_owned() else { return };
                let addresses = shared.bound.borrow().as_ref().map(endpoint::reachable).unwrap_or_default();
                join::welcome(&shared.store, &connection, addresses).await;
            } else {
                shared.serve(connection, peer).await;
            }
        });
    }
}

async fn shake_hands(incoming: Incoming) -> Option<Connection> {
    let accepting = incoming.accept().ok()?;
    match timeout(HANDSHAKE, accepting).await {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection was not admitted");
            None
        }
        Err(_) => None,
    }
}

/// Says who is alive here, now and then and when it changes; notices sleep; saves what is known of peers.
pub(super) async fn speak(shared: Arc<Shared>) {
    let (mut speak, mut save) = (interval(SPEAK), interval(SAVE));
    speak.set_missed_tick_behavior(MissedTickBehavior::Delay);
    save.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Timestamp = shared.store.clock().now();
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = speak.tick() => shared.tell(),
            () = shared.speak.notified() => shared.tell(),
            () = shared.renew.notified() => {
                if let Err(error) = shared.store.renew_epoch().await {
                    tracing::error!(%error, "no new epoch could be begun");
                }
            }
            _ = save.tick() => {
                let now = shared.store.clock().now();
                if now.since(last) > SLEPT_MS {
                    tracing::info!("the machine slept; looking for peers anew");
                    let endpoint = shared.bound.borrow().clone();
                    if let Some(endpoint) = endpoint {
                        endpoint.network_change().await;
                    }
                    shared.wake.notify_waiters();
                }
                last = now;
                shared.save().await;
            }
        }
    }
}
