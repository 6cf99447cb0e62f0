//! The UDP endpoint: where it listens, how it is tuned, and who gets past its handshake.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ctxnode_model::NodeKey;
use ctxnode_store::Store;
use ctxnode_sync_proto::limits;
use iroh::endpoint::{
    AfterHandshakeOutcome, BindOpts, Connection, EndpointHooks, NetReportConfig, QuicTransportConfig, ServerConfig,
    Side, VarInt, presets,
};
use iroh::{Endpoint, SecretKey};
use thiserror::Error;

use crate::invite::any_open;
use crate::pace::Pace;
use crate::relays::Relays;
use crate::standing::{Refused, Standing};
use crate::{ALPN_EXCHANGE, ALPN_JOIN, ALPN_ROUND};

/// How often an idle connection is kept alive, and after how much silence it is given up. One of a round as well: it ends as
/// soon as both sides have the same, and one that waits for the other's disk is not to be lost for a hundred bytes.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(20);
/// The round trip that is assumed before one was measured. It sets when a lost handshake is sent again: 0.3, 0.9, 2.1 s
/// after the first. The usual third of a second would take longer than a person waits for a path that is back.
const FIRST_RTT: Duration = Duration::from_millis(100);
/// What a peer may send without it being read: a little more than the largest frame, twice.
const WINDOW: u32 = 10 << 20;
/// The same while bytes are counted: what is on its way when they are used up has been paid for.
pub(crate) const METERED_WINDOW: u32 = 128 << 10;
/// The close codes of admission.
pub(crate) const UNKNOWN: u32 = 0x401;
pub(crate) const REVOKED: u32 = 0x403;
pub(crate) const NO_INVITATION: u32 = 0x410;

/// How a node is on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfig {
    /// The UDP port; 0 for any.
    pub port: u16,
    /// Addresses to listen on; all when empty.
    pub bind: Vec<IpAddr>,
    /// Servers that pass packets on between nodes which cannot reach each other.
    pub relays: Relays,
    /// Whether nodes look for each other on the local network. Tells the network that ctxnode is here.
    pub mdns: bool,
    /// How eagerly to keep in touch at first.
    pub pace: Pace,
    /// How long peers may take.
    pub patience: Patience,
}

/// How long a peer may take; a slower one is let go, and comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// To open its stream, and then to say hello.
    pub hello: Duration,
    /// For more of a frame that has begun to come, and six times that for room for one that is written.
    pub frame: Duration,
    /// To acknowledge a batch.
    pub ack: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { hello: ms(limits::HELLO_MS), frame: ms(limits::FRAME_MS), ack: ms(limits::ACK_MS) }
    }
}

impl Patience {
    pub(crate) fn of_exchange(&self) -> ctxnode_sync_proto::Patience {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        ctxnode_sync_proto::Patience { hello_ms: ms(self.hello), ack_ms: ms(self.ack) }
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            port: 0,
            bind: Vec::new(),
            relays: Relays::None,
            mdns: false,
            pace: Pace::Live,
            patience: Patience::default(),
        }
    }
}

/// The endpoint could not be made.
#[derive(Debug, Error)]
pub enum BindError {
    /// A socket could not be opened.
    #[error("the UDP port {port} cannot be opened: {reason}")]
    Socket {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        reason: String,
    },
}

/// Binds the endpoint. A port in use is replaced by a free one, so that two replicas of one machine both work.
pub(crate) async fn bind(
    secret: SecretKey,
    config: &NetConfig,
    admission: Option<Admission>,
) -> Result<Endpoint, BindError> {
    match bind_port(secret.clone(), config, config.port, admission.clone()).await {
        Err(error) if config.port != 0 => {
            tracing::warn!(%error, "another port is taken");
            bind_port(secret, config, 0, admission).await
        }
        bound => bound,
    }
}

async fn bind_port(
    secret: SecretKey,
    config: &NetConfig,
    port: u16,
    admission: Option<Admission>,
) -> Result<Endpoint, BindError> {
    let failed = |reason: String| BindError::Socket { port, reason };
    // Where UDP is blocked, which is what relays are for, the nearest one is found by HTTPS and in no other way.
    let mut probes = NetReportConfig::minimal();
    probes.https_probes = config.relays.are_used();
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(secret)
        .relay_mode(config.relays.mode())
        .net_report_config(probes)
        .transport_config(transport(WINDOW))
        .clear_ip_transports();
    if let Some(admission) = admission {
        builder = builder.alpns(alpns()).hooks(admission);
    }
    if config.bind.is_empty() {
        builder = builder.bind_addr((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| failed(error.to_string()))?;
        // A machine without IPv6 is no fault.
        let optional = BindOpts::default().set_is_required(false);
        let v6 = builder.bind_addr_with_opts((Ipv6Addr::UNSPECIFIED, port), optional);
        builder = v6.map_err(|error| failed(error.to_string()))?;
    }
    for ip in &config.bind {
        builder = builder.bind_addr((*ip, port)).map_err(|error| failed(error.to_string()))?;
    }
    builder.bind().await.map_err(|error| failed(with_sources(&error)))
}

/// What is spoken with those who dial, the first that both know first: that a peer is in a round is to be heard.
fn alpns() -> Vec<Vec<u8>> {
    [ALPN_ROUND, ALPN_EXCHANGE, ALPN_JOIN].map(<[u8]>::to_vec).to_vec()
}

/// Returns how a connection is accepted while bytes are counted.
pub(crate) fn metered(endpoint: &Endpoint) -> Arc<ServerConfig> {
    let config = endpoint.create_server_config_builder(alpns());
    Arc::new(config.set_transport_config(transport(METERED_WINDOW)).build())
}

pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

pub(crate) fn transport(window: u32) -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(4))
        .receive_window(VarInt::from_u32(window))
        .stream_receive_window(VarInt::from_u32(window))
        .send_window(u64::from(WINDOW))
        .datagram_receive_buffer_size(None)
        .initial_rtt(FIRST_RTT)
        .max_idle_timeout(IDLE.try_into().ok())
        .default_path_max_idle_timeout(IDLE)
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .build()
}

/// Returns where others can reach an endpoint, best first: a tailnet, a private network, anything else; this machine
/// itself only when there is nothing else.
pub(crate) fn reachable(endpoint: &Endpoint) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = endpoint.addr().ip_addrs().copied().collect();
    all.extend(endpoint.bound_sockets().into_iter().filter(|address| !address.ip().is_unspecified()));
    all.sort_by_key(|address| (rank(address.ip()), *address));
    all.dedup();
    if all.iter().any(|address| !address.ip().is_loopback()) {
        all.retain(|address| !address.ip().is_loopback());
    }
    all
}

fn rank(ip: IpAddr) -> u8 {
    match ip {
        // The ranges that Tailscale gives to its machines.
        IpAddr::V4(ip) if ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]) => 0,
        IpAddr::V6(ip) if ip.segments()[..3] == [0xfd7a, 0x115c, 0xa1e0] => 0,
        IpAddr::V4(ip) if ip.is_private() => 1,
        IpAddr::V4(ip) if ip.is_loopback() => 4,
        IpAddr::V4(_) => 2,
        IpAddr::V6(ip) if ip.is_loopback() => 5,
        IpAddr::V6(_) => 3,
    }
}

/// Returns how many bytes of UDP went over an endpoint since it was bound: all of them, those of handshakes that failed and
/// of peers that did not answer included. What a connection counts would be less. Of what goes over a relay it is the packets
/// that it passes on; not counted are its own connection, and what is asked of the local network.
pub(crate) fn counted(endpoint: &Endpoint) -> u64 {
    let socket = &endpoint.metrics().socket;
    let sent = socket.send_ipv4.get() + socket.send_ipv6.get() + socket.send_relay.get();
    sent + socket.recv_data_ipv4.get() + socket.recv_data_ipv6.get() + socket.recv_data_relay.get()
}

/// Returns the network's name of a node.
pub(crate) fn endpoint_id(node: NodeKey) -> Option<iroh::EndpointId> {
    iroh::EndpointId::from_bytes(&node.0).ok()
}

pub(crate) fn node_of(connection: &Connection) -> NodeKey {
    NodeKey(*connection.remote_id().as_bytes())
}

/// Decides after the handshake, in which the peer has proved its key, and before anything it says is read.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) store: Store,
    pub(crate) standing: Arc<Standing>,
}

impl EndpointHooks for Admission {
    async fn after_handshake(&self, connection: &Connection) -> AfterHandshakeOutcome {
        match self.judge(connection) {
            Ok(()) => AfterHandshakeOutcome::Accept,
            Err((code, reason)) => {
                AfterHandshakeOutcome::Reject { error_code: VarInt::from_u32(code), reason: reason.as_bytes().to_vec() }
            }
        }
    }
}

impl Admission {
    fn judge(&self, connection: &Connection) -> Result<(), (u32, &'static str)> {
        if connection.alpn() == ALPN_JOIN && connection.side() == Side::Server {
            let now = self.store.clock().now();
            let open = self.store.read().is_ok_and(|snapshot| any_open(snapshot.reader(), now));
            return if open { Ok(()) } else { Err((NO_INVITATION, "no invitation is open")) };
        }
        self.standing.admits(node_of(connection)).map_err(|refused| match refused {
            Refused::Unknown => (UNKNOWN, "not a member"),
            Refused::Revoked => (REVOKED, "revoked"),
        })
    }
}
