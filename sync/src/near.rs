//! Other nodes on the local network (mDNS): asking where they are, and being found there.
//!
//! Sockets only. Anybody on the network hears what is published and can answer what is asked: a relay is neither named to
//! them nor taken from them.

use std::pin::Pin;

use iroh::address_lookup::{AddrFilter, AddressLookup, EndpointData, EndpointInfo, Error, Item};
use iroh::{Endpoint, EndpointId};
use iroh_mdns_address_lookup::MdnsAddressLookup;
use tokio_stream::{Stream, StreamExt as _};

use crate::endpoint::with_sources;

/// Looks for others, and shows this endpoint to them, as long as what is returned lives and [`look_no_more`] is not called.
/// A machine whose network knows no multicast finds the others in another way.
pub(crate) fn look_around(endpoint: &Endpoint) -> Option<MdnsAddressLookup> {
    let text = |error: &dyn std::error::Error| with_sources(error);
    let lookup = MdnsAddressLookup::builder().service_name("ctxnode").addr_filter(AddrFilter::ip_only());
    let added = lookup.build(endpoint.id()).map_err(|error| text(&error)).and_then(|lookup| {
        endpoint.address_lookup().map_err(|error| text(&error))?.add(Near(lookup.clone()));
        Ok(lookup)
    });
    added.inspect_err(|error| tracing::warn!(error, "the local network cannot be searched")).ok()
}

/// Ends what [`look_around`] began; there is no other lookup.
pub(crate) fn look_no_more(endpoint: &Endpoint) {
    // An error means that the endpoint is closed.
    if let Ok(lookups) = endpoint.address_lookup() {
        lookups.clear();
    }
}

#[derive(Debug)]
struct Near(MdnsAddressLookup);

impl AddressLookup for Near {
    fn publish(&self, data: &EndpointData) {
        self.0.publish(data);
    }

    fn resolve(&self, node: EndpointId) -> Option<Pin<Box<dyn Stream<Item = Result<Item, Error>> + Send>>> {
        let answers = self.0.resolve(node)?;
        Some(Box::pin(answers.map(|answer| answer.map(|answer| sockets_of(&answer)))))
    }
}

/// Leaves of an answer what this node may send packets to.
fn sockets_of(answer: &Item) -> Item {
    let sockets = answer.endpoint_info().data.apply_filter(&AddrFilter::ip_only()).into_owned();
    Item::new(EndpointInfo::from_parts(answer.endpoint_id(), sockets), answer.provenance(), answer.last_updated())
}

#[cfg(test)]
mod tests {
    use iroh::{SecretKey, TransportAddr};

    use super::*;

    #[test]
    fn a_relay_that_somebody_on_the_network_names_is_not_dialled() {
        let socket = TransportAddr::Ip(([192, 0, 2, 1], 4_748).into());
        let relay = TransportAddr::Relay("https://relay.example".parse().unwrap());
        let id = SecretKey::from_bytes(&[1; 32]).public();
        let info = EndpointInfo::from_parts(id, EndpointData::new(vec![relay, socket.clone()]));
        let left = sockets_of(&Item::new(info, "test", None)).into_endpoint_addr();
        assert_eq!((left.id, left.addrs.into_iter().collect::<Vec<_>>()), (id, vec![socket]));
    }
}
