//! Joining: a machine that is no member shows an invitation's secret and gets the genesis of the fleet.
//!
//! One request and one answer, JSON, on one stream of `ctxnode/join/1`. The grant is durable on the inviter before it
//! answers; the joiner's first exchange brings everything else.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use ctxnode_model::id::FleetId;
use ctxnode_model::{Ids, NodeKey, Space, SpaceId};
use ctxnode_store::{NodeSecret, Role, Store, StoreError};
use data_encoding::{BASE64, HEXLOWER};
use iroh::endpoint::{Connection, VarInt};
use iroh::{Endpoint, EndpointAddr, RelayUrl, SecretKey, TransportAddr};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::time::timeout;

use crate::ALPN_JOIN;
use crate::code::Code;
use crate::endpoint::{self, BindError, NetConfig, node_of};
use crate::invite::{Offer, REFUSED, offer_of, redeem};
use crate::near;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the inviter may take to be found.
const CONNECT: Duration = Duration::from_secs(15);
/// What a machine is told whose build can be no member of the fleet.
const TOO_OLD: &str =
    "this fleet needs a newer ctxnode than the joining machine has: install that there and use the same code again";
/// The largest request and answer: a genesis entry and a name.
const MAX: usize = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    secret: String,
    name: String,
    /// The newest version of ids that the machine knows; see [`Ids`].
    #[serde(default = "oldest_ids")]
    ids: u32,
    /// Of a machine that keeps its replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    present: Option<Present>,
}

/// What a machine with a replica may do already, as that says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// The fleet of the replica.
    pub fleet: FleetId,
    /// Its role.
    pub role: Role,
    /// The spaces that it may read and write; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spaces: Option<BTreeSet<SpaceId>>,
}

impl Present {
    /// Why an invitation is not for this machine. What one that is not known here wrote with more rights would be judged by the
    /// new grant, since nothing says here up to where the earlier one held.
    fn refused(&self, store: &Store, node: NodeKey, offer: &Offer) -> Option<String> {
        if self.fleet != store.fleet() {
            return Some("the replica of this machine is of another fleet; the code was not used".to_owned());
        }
        let authority = store.authority();
        let is_known = authority.role(&node).is_some() || authority.revoked().any(|revoked| revoked == node);
        let fleet_space = Space::Fleet.id(&store.fleet());
        let has_all = match (&offer.spaces, &self.spaces) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(offered), Some(has)) => has.iter().all(|space| *space == fleet_space || offered.contains(space)),
        };
        (!is_known && (offer.role < self.role || !has_all)).then(|| {
            let role = serde_json::to_value(self.role).ok().and_then(|role| Some(role.as_str()?.to_owned()));
            let role = role.unwrap_or_default();
            let all = if has_all { "" } else { " and all ventures that it reads" };
            format!(
                "this machine is {role} as its replica says: make the code with `ctxnode invite --role {role}`{all}, and change its role \
                 afterwards; this code was not used"
            )
        })
    }
}

fn oldest_ids() -> u32 {
    Ids::UNTAGGED
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Welcome {
        genesis: String,
        addresses: Vec<SocketAddr>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<String>,
    },
    Refused(String),
}

/// What a machine got by joining.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The signed genesis entry, for [`Store::create_member`].
    pub genesis: Vec<u8>,
    /// The node that invited.
    pub inviter: NodeKey,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// The relay over which it can be reached.
    pub relay: Option<String>,
}

/// Joining failed; nothing was made here.
#[derive(Debug, Error)]
pub enum JoinError {
    /// No endpoint.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The inviter cannot be reached.
    #[error("the machine that invited cannot be reached at {addresses}: {reason}")]
    Unreachable {
        /// Where it was looked for.
        addresses: String,
        /// What happened.
        reason: String,
    },
    /// The inviter said no.
    #[error("{0}")]
    Refused(String),
    /// The inviter said something else.
    #[error("the machine that invited answered nonsense: {0}")]
    Nonsense(String),
}

/// Asks the inviter to be made a member under `secret`'s key.
///
/// # Errors
/// When it cannot be reached or says no.
pub async fn join(secret: &NodeSecret, code: &Code, name: &str, config: &NetConfig) -> Result<Joined, JoinError> {
    join_as(secret, code, name, None, config).await
}

/// The same for a machine that keeps its replica. The code is not used when it grants less than the machine has.
///
/// # Errors
/// When the inviter cannot be reached or says no.
pub async fn join_again(
    secret: &NodeSecret,
    code: &Code,
    name: &str,
    present: Present,
    config: &NetConfig,
) -> Result<Joined, JoinError> {
    join_as(secret, code, name, Some(present), config).await
}

async fn join_as(
    secret: &NodeSecret,
    code: &Code,
    name: &str,
    present: Option<Present>,
    config: &NetConfig,
) -> Result<Joined, JoinError> {
    // Any port: this endpoint lives for one question.
    let config = NetConfig { port: 0, ..config.clone() };
    let endpoint = endpoint::bind(SecretKey::from_bytes(&secret.seed()), &config, None).await?;
    let lookup = config.mdns.then(|| near::look_around(&endpoint));
    let request = Request { secret: HEXLOWER.encode(&code.secret), name: name.to_owned(), ids: Ids::NEWEST, present };
    let asked = ask(&endpoint, code, &request, config.relays.over(code.relay.as_ref().map(|url| url.as_str()))).await;
    // From here on it answers nobody, so nobody is to find it.
    drop(lookup);
    endpoint.close().await;
    asked
}

async fn ask(
    endpoint: &Endpoint,
    code: &Code,
    request: &Request,
    relay: Option<RelayUrl>,
) -> Result<Joined, JoinError> {
    let unreachable = |mut reason: String| {
        let relay = relay.as_ref().map(|url| format!("the relay {url}"));
        if let (Some(url), None) = (&code.relay, &relay) {
            reason = format!("{reason} (it also listens at the relay {url}, which `sync.relay` does not allow here)");
        }
        let all: Vec<String> = code.addresses.iter().map(ToString::to_string).chain(relay).collect();
        let addresses = if all.is_empty() { "any address".to_owned() } else { all.join(", ") };
        JoinError::Unreachable { addresses, reason }
    };
    let id = endpoint::endpoint_id(code.inviter).ok_or_else(|| JoinError::Nonsense("its key is none".to_owned()))?;
    let sockets = code.addresses.iter().copied().map(TransportAddr::Ip);
    let address = EndpointAddr::from_parts(id, sockets.chain(relay.clone().map(TransportAddr::Relay)));
    let connection = match timeout(CONNECT, endpoint.connect(address, ALPN_JOIN)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(unreachable(error.to_string())),
        Err(_) => return Err(unreachable("no answer; is its daemon running, and is the UDP port open?".to_owned())),
    };
    let talk = async {
        let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
        let bytes = serde_json::to_vec(request).unwrap_or_default();
        send.write_all(&bytes).await.map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())?;
        receive.read_to_end(MAX).await.map_err(|error| error.to_string())
    };
    let answer = match timeout(PATIENCE, talk).await {
        Ok(Ok(answer)) => answer,
        // Admission closes the connection when no invitation is open at all.
        Ok(Err(_)) if connection.close_reason().is_some() => return Err(JoinError::Refused(REFUSED.to_owned())),
        Ok(Err(error)) => return Err(unreachable(error)),
        Err(_) => return Err(unreachable("it took too long".to_owned())),
    };
    connection.close(VarInt::from_u32(0), b"done");
    match serde_json::from_slice(&answer).map_err(|error| JoinError::Nonsense(error.to_string()))? {
        Answer::Welcome { genesis, addresses, relay } => {
            let genesis = BASE64.decode(genesis.as_bytes()).map_err(|error| JoinError::Nonsense(error.to_string()))?;
            Ok(Joined { genesis, inviter: code.inviter, addresses, relay })
        }
        Answer::Refused(why) => Err(JoinError::Refused(why)),
    }
}

/// Answers one machine that wants to join.
pub(crate) async fn welcome(store: &Store, connection: &Connection, addresses: Vec<SocketAddr>, relay: Option<String>) {
    let node = node_of(connection);
    let served = timeout(PATIENCE, async {
        let (mut send, mut receive) = connection.accept_bi().await.map_err(|error| error.to_string())?;
        let request = receive.read_to_end(MAX).await.map_err(|error| error.to_string())?;
        let answer = match serde_json::from_slice::<Request>(&request) {
            Ok(request) => decide(store, node, request, (addresses, relay)).await,
            Err(error) => Answer::Refused(format!("the request cannot be read: {error}")),
        };
        let bytes = serde_json::to_vec(&answer).unwrap_or_default();
        send.write_all(&bytes).await.map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())?;
        // The joiner closes when it has read the answer.
        connection.closed().await;
        Ok::<(), String>(())
    });
    match served.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%node, error, "a machine did not finish joining"),
        Err(_) => tracing::info!(%node, "a machine took too long to join"),
    }
}

async fn decide(
    store: &Store,
    node: NodeKey,
    request: Request,
    (addresses, relay): (Vec<SocketAddr>, Option<String>),
) -> Answer {
    let Ok(secret) = HEXLOWER.decode(request.secret.as_bytes()) else { return Answer::Refused(REFUSED.to_owned()) };
    if request.ids < store.ids().version() {
        // It could take nothing in. The invitation is not used up.
        return Answer::Refused(TOO_OLD.to_owned());
    }
    if let Some(present) = request.present {
        let offer = store.read().and_then(|snapshot| offer_of(snapshot.reader(), &secret));
        match offer.map(|offer| offer.and_then(|offer| present.refused(store, node, &offer))) {
            Ok(None) => {}
            Ok(Some(why)) => return Answer::Refused(why),
            Err(error) => return failed(&error),
        }
    }
    let name: String = request.name.chars().filter(|c| !c.is_control()).take(100).collect();
    let granted = store.write(move |draft| redeem(draft, &secret, node, &name));
    match granted.await {
        Ok(done) if done.value => match store.genesis() {
            Ok(genesis) => Answer::Welcome { genesis: BASE64.encode(&genesis), addresses, relay },
            Err(error) => failed(&error),
        },
        Ok(_) => Answer::Refused(REFUSED.to_owned()),
        Err(error) => failed(&error.flatten()),
    }
}

fn failed(error: &StoreError) -> Answer {
    tracing::error!(%error, "an invitation could not be honoured");
    Answer::Refused("the machine that invited could not store the grant; see its log".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ctxnode_store::{Location, ManualClock, Options, Role, SeededEntropy};

    use super::*;
    use crate::invite::{InviteState, create_invite, invites};

    /// A build that knows less than the fleet needs could take nothing in. It is told so, and the invitation stays good.
    #[tokio::test]
    async fn a_machine_of_an_older_build_is_told_so_and_uses_no_invitation_up() {
        let clock = Arc::new(ManualClock::new(ctxnode_model::Timestamp(1_795_435_200_000)));
        let options = Options {
            location: Location::Memory,
            secret: NodeSecret::generate(&SeededEntropy::new(1)),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SeededEntropy::new(2)),
            incarnation: None,
        };
        let store = Store::create(options, "test").unwrap().store;
        let expires_at = ctxnode_model::Timestamp(1_795_435_200_000 + 60_000);
        let offer = Offer { role: Role::Writer, ventures: Vec::new(), spaces: None, expires_at };
        let (_, code) = create_invite(&store, offer, Vec::new(), None).await.unwrap();
        let node = NodeSecret::generate(&SeededEntropy::new(3)).public();
        let secret = HEXLOWER.encode(&code.secret);
        // What a build wrote that knew of no versions of ids.
        let older: Request = serde_json::from_value(serde_json::json!({ "secret": secret, "name": "old" })).unwrap();
        let answer = decide(&store, node, older, (Vec::new(), None)).await;
        assert!(matches!(&answer, Answer::Refused(why) if why.contains("newer ctxnode")), "{answer:?}");
        let state = || invites(store.read().unwrap().reader()).unwrap()[0].state(store.clock().now());
        assert_eq!((state(), store.authority().role(&node)), (InviteState::Open, None));

        let newer = Request { secret, name: "new".to_owned(), ids: Ids::NEWEST, present: None };
        assert!(matches!(decide(&store, node, newer, (Vec::new(), None)).await, Answer::Welcome { .. }));
        assert_eq!((state(), store.authority().role(&node)), (InviteState::Used, Some(Role::Writer)));
    }
}
