//! What the system and the local network tell: addresses that change, members that are seen.

use std::sync::{Arc, PoisonError};

use ctxnode_model::NodeKey;
use iroh::{Endpoint, Watcher as _};
use iroh_mdns_address_lookup::DiscoveryEvent;
use tokio_stream::StreamExt as _;

use super::Shared;

/// Follows both as long as the endpoint is bound.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut bound = shared.bound.subscribe();
    let endpoint = tokio::select! {
        () = shared.stop.cancelled() => return,
        bound = bound.wait_for(Option::is_some) => match bound.map(|bound| bound.clone()) {
            Ok(Some(endpoint)) => endpoint,
            _ => return,
        },
    };
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = follow_addresses(&shared, &endpoint) => {}
        () = follow_sightings(&shared) => {}
    }
}

/// A link that goes up or down, a lease, another WLAN, a tailnet: each shows as another set of own addresses.
async fn follow_addresses(shared: &Shared, endpoint: &Endpoint) {
    let mut addresses = endpoint.watch_addr();
    // It ends with the endpoint.
    while let Ok(address) = addresses.updated().await {
        tracing::info!(addresses = ?address.ip_addrs().collect::<Vec<_>>(), "the network changed");
        shared.look_anew();
        // The others should know where this node is now.
        shared.speak.notify_one();
    }
}

async fn follow_sightings(shared: &Shared) {
    let mdns = shared.mdns.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(mdns) = mdns {
        let mut sightings = mdns.subscribe().await;
        while let Some(sighting) = sightings.next().await {
            if let DiscoveryEvent::Discovered { endpoint_info, .. } = sighting {
                let node = NodeKey(*endpoint_info.endpoint_id.as_bytes());
                if shared.standing.admits(node).is_ok() {
                    shared.redial(node);
                }
            }
        }
    }
    std::future::pending().await
}
