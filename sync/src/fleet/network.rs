//! What the system and the local network tell: addresses that change, members that are seen.

use std::sync::Arc;

use ctxnode_model::NodeKey;
use iroh::{Endpoint, Watcher as _};
use iroh_mdns_address_lookup::DiscoveryEvent;
use tokio::time::{Instant, sleep_until};
use tokio_stream::StreamExt as _;

use super::Shared;
use crate::near;

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
        () = look_around(&shared, &endpoint) => {}
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

/// Looks for members on the local network, and can be found there, whenever connections may be made: always, or in rounds and
/// never in between. What that costs is not counted.
async fn look_around(shared: &Shared, endpoint: &Endpoint) {
    if !shared.config.mdns {
        return std::future::pending().await;
    }
    let mut pacing = shared.pacing.subscribe();
    loop {
        let ends = pacing.borrow_and_update().ends();
        if shared.pacing.may_connect() {
            tokio::select! {
                () = follow_sightings(shared, endpoint) => {}
                () = sleep_until(ends.unwrap_or_else(Instant::now)), if ends.is_some() => {}
                changed = pacing.changed() => if changed.is_err() { return },
            }
            near::look_no_more(endpoint);
        } else if pacing.changed().await.is_err() {
            return;
        }
    }
}

async fn follow_sightings(shared: &Shared, endpoint: &Endpoint) {
    if let Some(lookup) = near::look_around(endpoint) {
        let mut sightings = lookup.subscribe().await;
        while let Some(sighting) = sightings.next().await {
            if let DiscoveryEvent::Discovered { endpoint_info, .. } = sighting {
                let node = NodeKey(*endpoint_info.endpoint_id.as_bytes());
                if shared.standing.admits(node).is_ok() {
                    shared.redial(node);
                }
            }
        }
    }
    // Without it, the others are found in another way.
    std::future::pending().await
}
