//! A member that speaks the protocol and means no good: it says what a test wants, on the real wire.

use std::time::Duration;

use ctxnode_model::frontier::{Head, LogId, Run};
use ctxnode_model::{NodeKey, Space};
use ctxnode_store::entry::{Header, Op, VerifiedEntry, decode};
use ctxnode_store::{NodeSecret, Store};
use ctxnode_sync_proto::{Entries, Hello, Message, frame};
use iroh::endpoint::{
    ConnectOptions, ConnectingError, Connection, ConnectionError, QuicTransportConfig, RecvStream, SendStream, presets,
};
use iroh::{Endpoint, EndpointAddr, SecretKey, TransportAddr};

use crate::support::Node;

pub(crate) const EXCHANGE: &[u8] = b"ctxnode/exchange/1";

/// Makes an endpoint with a key.
pub(crate) async fn endpoint(secret: &NodeSecret) -> Endpoint {
    endpoint_for(secret, &[]).await
}

/// Makes an endpoint with a key to which others can connect, for an exchange.
pub(crate) async fn listener(secret: &NodeSecret) -> Endpoint {
    endpoint_for(secret, &[EXCHANGE]).await
}

async fn endpoint_for(secret: &NodeSecret, protocols: &[&[u8]]) -> Endpoint {
    let builder = Endpoint::builder(presets::Minimal).secret_key(SecretKey::from_bytes(&secret.seed()));
    let builder = builder.alpns(protocols.iter().map(|protocol| protocol.to_vec()).collect());
    builder.clear_ip_transports().bind_addr("127.0.0.1:0").unwrap().bind().await.unwrap()
}

/// Lets whoever connects begin an exchange, says one thing in it and waits until it is let go; again and again.
pub(crate) async fn answer(listener: &Endpoint, word: &Message) {
    while let Some(incoming) = listener.accept().await {
        // Who dialled may have given up meanwhile, and dials again.
        let Ok(accepting) = incoming.accept() else { continue };
        let Ok(connection) = accepting.await else { continue };
        let Ok((mut send, _receive)) = connection.accept_bi().await else { continue };
        let _ = send.write_all(&frame::encode(word)).await;
        connection.closed().await;
    }
}

/// What an honest member says to a node first, with a digest that differs from any, so that heads are exchanged.
pub(crate) fn hello(to: &Node) -> Hello {
    Hello {
        oldest: 1,
        newest: 1,
        fleet: to.store.fleet().0,
        software: "liar".to_owned(),
        digest: [9; 32],
        clock_ms: to.store.clock().now().0,
    }
}

/// Connects to a node.
pub(crate) async fn dial(endpoint: &Endpoint, to: &Node) -> Connection {
    let id = iroh::EndpointId::from_bytes(&to.key().0).unwrap();
    let address = EndpointAddr::from_parts(id, to.fleet.addresses().into_iter().map(TransportAddr::Ip));
    endpoint.connect(address, EXCHANGE).await.unwrap()
}

/// Knocks at a node until it says no; returns whether it said anything.
pub(crate) async fn knock(endpoint: &Endpoint, at: &Node) -> bool {
    let id = iroh::EndpointId::from_bytes(&at.key().0).unwrap();
    let address = EndpointAddr::from_parts(id, at.fleet.addresses().into_iter().map(TransportAddr::Ip));
    // An endpoint gives up by itself after silence, and only then: a busy machine is slow, but it says something.
    let silence = Duration::from_secs(10).try_into().unwrap();
    let config = QuicTransportConfig::builder().max_idle_timeout(Some(silence)).build();
    let options = ConnectOptions::new().with_transport_config(config);
    match endpoint.connect_with_opts(address, EXCHANGE, options).await.unwrap().await {
        Ok(connection) => {
            connection.closed().await;
            true
        }
        // It may say so before the handshake has ended for this side.
        Err(error) => !matches!(error, ConnectingError::ConnectionError { source: ConnectionError::TimedOut, .. }),
    }
}

/// Sends bytes as a peer, and nothing after them; returns why it was thrown out.
pub(crate) async fn thrown_out(connection: &Connection, bytes: &[u8]) -> String {
    if let Ok((mut send, mut receive)) = connection.open_bi().await {
        // The other side may end it while we still speak.
        let _ = send.write_all(bytes).await;
        let _ = send.finish();
        let _ = receive.read_to_end(1 << 20).await;
    }
    connection.closed().await.to_string()
}

/// An open exchange after both hellos.
pub(crate) struct Liar {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    receive: RecvStream,
    _endpoint: Endpoint,
}

impl Liar {
    /// Connects and says hello.
    pub(crate) async fn greet(secret: &NodeSecret, to: &Node) -> Self {
        Self::greet_from(&endpoint(secret).await, to).await
    }

    /// The same from an endpoint that it has.
    pub(crate) async fn greet_from(endpoint: &Endpoint, to: &Node) -> Self {
        let connection = dial(endpoint, to).await;
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&frame::encode(&Message::Hello(hello(to)))).await.unwrap();
        Self { connection, send, receive, _endpoint: endpoint.clone() }
    }

    pub(crate) async fn say(&mut self, message: &Message) {
        // It may have been thrown out already, which is noticed by listening.
        let _ = self.send.write_all(&frame::encode(message)).await;
    }

    /// Returns the next message; the reason when it was thrown out.
    pub(crate) async fn hear(&mut self) -> Result<Message, String> {
        let mut field = [0; 4];
        loop {
            if self.receive.read_exact(&mut field).await.is_err() {
                return Err(self.connection.closed().await.to_string());
            }
            let mut body = vec![0; frame::length(field).unwrap()];
            if self.receive.read_exact(&mut body).await.is_err() {
                return Err(self.connection.closed().await.to_string());
            }
            if let Some(message) = frame::decode(&body).unwrap() {
                return Ok(message);
            }
        }
    }

    /// Sends entries and waits for their acknowledgement, or the reason why it was thrown out.
    pub(crate) async fn push(&mut self, runs: Vec<Entries>) -> Result<(), String> {
        self.say(&Message::Entries(runs)).await;
        loop {
            match self.hear().await? {
                Message::Ack { .. } => return Ok(()),
                Message::Bye(bye) => return Err(bye.text),
                _ => {}
            }
        }
    }

    /// Waits until it is thrown out.
    pub(crate) async fn until_thrown_out(&mut self, within: Duration) -> String {
        let out = async {
            loop {
                match self.hear().await {
                    Ok(Message::Bye(bye)) => return bye.text,
                    Err(reason) => return reason,
                    Ok(_) => {}
                }
            }
        };
        tokio::time::timeout(within, out).await.expect("it is thrown out in time")
    }
}

/// The entries of a node's log in a space, as a store knows them.
pub(crate) fn log_of(store: &Store, author: NodeKey, space: &Space) -> (LogId, Head) {
    let heads = store.read().unwrap().reader().heads().unwrap();
    let space = space.id(&store.fleet());
    heads.0.into_iter().find(|(log, _)| log.author == author && log.space == space).unwrap()
}

pub(crate) fn entries(store: &Store, log: LogId, from: u64, to: u64) -> Entries {
    let found = store.read().unwrap().reader().entries(&Run { log, from, to }, 10_000).unwrap();
    Entries { log, from, entries: found }
}

/// An entry that continues a log, with any ops, signed by its author.
pub(crate) fn forge(secret: &NodeSecret, last: &[u8], ops: Vec<Op>, seq: u64) -> VerifiedEntry {
    let (header, _) = decode(last).unwrap();
    let prev = *blake3::hash(last).as_bytes();
    let stamp = ctxnode_model::Stamp(header.stamp.0 + 1);
    VerifiedEntry::sign(Header { seq, prev, stamp, ..header }, ops, secret).unwrap()
}
