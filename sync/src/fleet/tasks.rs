//! The tasks of the fleet: following the store, accepting, speaking.

use std::sync::{Arc, PoisonError};

use ctxnode_model::Timestamp;
use ctxnode_sync_proto::code;
use iroh::endpoint::{ConnectingError, Connection, ConnectionError, Incoming, ServerConfig};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Duration, MissedTickBehavior, interval, sleep, timeout};

use super::Shared;
use super::dial::dial;
use super::door::{self, Door, Knock};
use crate::endpoint::{self, node_of};
use crate::guests::Answer;
use crate::invite::any_open;
use crate::{ALPN_JOIN, ALPN_ROUND, join, transfer};

/// How often a node says who is alive on it.
const SPEAK: Duration = Duration::from_secs(20);
/// How often changed rows of peers are saved.
const SAVE: Duration = Duration::from_secs(5);
/// How soon heads that could not be read are read again.
const AGAIN: Duration = Duration::from_secs(1);
/// The most machines that join at a time.
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
    let mut failed = false;
    loop {
        if !first {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                changed = journal.changed() => if changed.is_err() { return },
                () = sleep(AGAIN), if failed => {}
            }
        }
        first = false;
        journal.borrow_and_update();
        let own = transfer::own(&shared.store);
        failed = own.is_err();
        match own {
            Ok(own) if own != **shared.heads.borrow() => drop(shared.heads.send_replace(Arc::new(own))),
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

/// Accepts connections whenever there is an endpoint.
pub(super) async fn accept(shared: Arc<Shared>) {
    let mut bound = shared.bound.subscribe();
    let door = Arc::new(Door::default());
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
        let from = door::origin(&incoming);
        match shared.knock(from, incoming.remote_addr_validated()) {
            Answer::Enter => {}
            Answer::Prove => {
                // An error means that it has done so, which was asked.
                let _ = incoming.retry();
                continue;
            }
            Answer::Ignore => {
                incoming.ignore();
                continue;
            }
        }
        let permit = match door.knock(&incoming) {
            Knock::Enter(permit) => permit,
            Knock::Prove => {
                // An error means that it has done so, which was asked.
                let _ = incoming.retry();
                continue;
            }
            Knock::Wait => {
                // Members come again, others cost nothing more.
                incoming.ignore();
                continue;
            }
        };
        let (shared, joining) = (Arc::clone(&shared), Arc::clone(&joining));
        tasks.spawn(async move {
            // What a peer may send before it is read has been paid for when bytes are counted.
            let metered = shared.pacing.is_metered().then(|| endpoint::metered(&endpoint));
            let shaken = shake_hands(incoming, metered).await;
            drop(permit);
            let connection = match shaken {
                Shaken::Through(connection) => connection,
                Shaken::Refused => return shared.refused(None, from),
                Shaken::Lost => return,
            };
            let peer = node_of(&connection);
            if connection.alpn() == ALPN_JOIN {
                // One machine joins once; who guesses secrets comes often.
                shared.refused(None, from);
                let Ok(_permit) = joining.try_acquire_owned() else { return };
                let relay = shared.config.relays.home(&endpoint).map(|url| url.to_string());
                join::welcome(&shared.store, &connection, endpoint::reachable(&endpoint), relay).await;
            } else if shared.may_connect(peer) {
                shared.serve(connection, peer, false).await;
            } else if shared.may_visit(peer, connection.alpn() == ALPN_ROUND) {
                if !shared.serve(connection, peer, true).await {
                    shared.did_not_come(peer, from);
                }
            } else {
                // The peer learns why, and leaves this node alone for a while.
                connection.close(u32::from(code::AWAY).into(), b"in field mode");
                shared.refused(Some(peer), from);
            }
        });
    }
}

/// How a handshake went.
enum Shaken {
    Through(Connection),
    /// It ended with a no: a stranger, or somebody who speaks something else.
    Refused,
    /// The line broke, or was too slow: nobody's fault.
    Lost,
}

async fn shake_hands(incoming: Incoming, config: Option<Arc<ServerConfig>>) -> Shaken {
    let accepting = match config {
        Some(config) => incoming.accept_with(config),
        None => incoming.accept(),
    };
    let Ok(accepting) = accepting else { return Shaken::Refused };
    match timeout(HANDSHAKE, accepting).await {
        Ok(Ok(connection)) => Shaken::Through(connection),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection was not admitted");
            let is_lost = matches!(
                error,
                ConnectingError::ConnectionError { source: ConnectionError::TimedOut | ConnectionError::Reset, .. }
            );
            if is_lost { Shaken::Lost } else { Shaken::Refused }
        }
        Err(_) => Shaken::Lost,
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
            () = shared.save_soon.notified() => shared.save_or_warn().await,
            _ = save.tick() => {
                last = look_at_clock(&shared, last).await;
                shared.save_or_warn().await;
            }
        }
    }
}

/// Looks at the wall clock, and for peers when it jumped since it was last looked at; returns the time.
async fn look_at_clock(shared: &Shared, last: Timestamp) -> Timestamp {
    let now = shared.store.clock().now();
    if now.since(last) > SLEPT_MS {
        tracing::info!("the machine slept; looking for peers anew");
        shared.network_changed().await;
    }
    now
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ctxnode_model::NodeKey;
    use ctxnode_store::{Clock as _, Location, ManualClock, NodeSecret, Options, OsEntropy, Store};

    use super::*;
    use crate::{Beat, Fleet, Host, NetConfig};

    struct Nobody;

    impl Host for Nobody {
        fn beats(&self) -> Vec<Beat> {
            Vec::new()
        }

        fn addresses(&self, _: &NodeKey) -> Vec<SocketAddr> {
            Vec::new()
        }
    }

    /// Returns how often diallers were told to try at once when the clock moved so far between two looks.
    async fn woken(by_ms: i64) -> u64 {
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000)));
        let secret = NodeSecret::generate(&OsEntropy);
        let options = Options {
            location: Location::Memory,
            secret: secret.clone(),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(OsEntropy),
            incarnation: None,
        };
        let store = Store::create(options, "test").unwrap().store;
        let fleet = Fleet::start(store, secret, NetConfig::default(), String::new(), Arc::new(Nobody)).unwrap();
        let last = clock.now();
        clock.advance(by_ms);
        assert_eq!(look_at_clock(&fleet.shared, last).await, clock.now(), "the next jump counts from here");
        let woken = *fleet.shared.wake.borrow();
        fleet.stop().await;
        woken
    }

    #[tokio::test]
    async fn a_machine_that_slept_looks_for_peers_at_once() {
        assert_eq!(woken(3_600_000).await, 1);
        // A busy machine is late, and a clock that is set back has not slept.
        assert_eq!((woken(6_000).await, woken(SLEPT_MS).await, woken(-3_600_000).await), (0, 0, 0));
    }
}
