//! A relay for tests: what a server of `iroh-relay` does for two nodes that cannot reach each other, on loopback, without TLS
//! and without asking who may. It counts. Not here: QUIC address discovery, limits, more than one connection of a node.
//!
//! Written out, since the server of `iroh-relay` would bring forty packages, and other features of iroh for every build.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use iroh::RelayUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What a server adds to the key of a websocket before it is hashed (RFC 6455).
const WEBSOCKET: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// More than iroh sends in one frame.
const LARGEST: usize = 1 << 20;
/// How many frames wait for a node; more are lost, as packets are.
const WAITING: usize = 1_024;

/// The first byte of a frame of the relay.
mod kind {
    pub(super) const CHALLENGE: u8 = 0;
    pub(super) const CONFIRMED: u8 = 2;
    pub(super) const FROM_CLIENT: [u8; 2] = [4, 5];
    /// What a client sent is passed on under a kind that is two higher.
    pub(super) const TO_CLIENT: u8 = 2;
    pub(super) const PING: u8 = 9;
    pub(super) const PONG: u8 = 10;
}

type Key = [u8; 32];

#[derive(Debug, Default)]
struct Shared {
    clients: Mutex<BTreeMap<Key, mpsc::Sender<Vec<u8>>>>,
    asked: AtomicU64,
    passed: AtomicU64,
}

/// A relay that runs as long as this is kept.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) url: RelayUrl,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let shared = Arc::<Shared>::default();
        let mut serving = JoinSet::new();
        let all = Arc::clone(&shared);
        serving.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                all.asked.fetch_add(1, Ordering::SeqCst);
                let all = Arc::clone(&all);
                // A client that goes away ends its task.
                clients.spawn(async move { drop(serve(&all, stream).await) });
            }
        });
        Self { url, shared, _serving: serving }
    }

    /// Returns how many connections were made to it.
    pub(crate) fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Returns how many packets it has passed on.
    pub(crate) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }
}

async fn serve(all: &Arc<Shared>, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 8_192 {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.starts_with("GET /relay") {
        // How far away it is.
        return stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    }
    let value = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    let key = head.lines().find(|line| line.to_ascii_lowercase().starts_with("sec-websocket-key:")).and_then(value);
    let accept = BASE64.encode(&sha1_smol::Sha1::from(format!("{}{WEBSOCKET}", key.unwrap())).digest().bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: iroh-relay-v2\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await?;
    let (mut read, mut write) = stream.into_split();
    // What it signs is not looked at.
    write_frame(&mut write, &[&[kind::CHALLENGE], [0; 16].as_slice()].concat()).await?;
    let signed = read_frame(&mut read).await?;
    let own: Key = signed[1..33].try_into().unwrap();
    write_frame(&mut write, &[kind::CONFIRMED]).await?;
    let (frames, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING);
    all.clients.lock().unwrap().insert(own, frames.clone());
    let mut writing = JoinSet::new();
    writing.spawn(async move {
        while let Some(frame) = waiting.recv().await {
            if write_frame(&mut write, &frame).await.is_err() {
                return;
            }
        }
    });
    loop {
        let frame = read_frame(&mut read).await?;
        match frame.split_first() {
            Some((&kind::PING, rest)) => drop(frames.try_send([&[kind::PONG], rest].concat())),
            Some((first, rest)) if kind::FROM_CLIENT.contains(first) => {
                let (to, packet) = rest.split_at(32);
                let to = all.clients.lock().unwrap().get(to).cloned();
                let passed = to.map(|to| to.try_send([&[first + kind::TO_CLIENT], &own[..], packet].concat()));
                all.passed.fetch_add(u64::from(passed.is_some_and(|sent| sent.is_ok())), Ordering::SeqCst);
            }
            _ => {}
        }
    }
}

/// Reads the next binary message of a websocket; control frames are skipped, and none comes in pieces.
async fn read_frame(stream: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    loop {
        let (first, second) = (stream.read_u8().await?, stream.read_u8().await?);
        let length = match second & 0x7f {
            126 => usize::from(stream.read_u16().await?),
            127 => usize::try_from(stream.read_u64().await?).unwrap(),
            short => usize::from(short),
        };
        assert!(length <= LARGEST && second & 0x80 != 0, "a frame of {length} bytes");
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).await?;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        if first == 0x82 {
            return Ok(payload);
        }
    }
}

async fn write_frame(stream: &mut OwnedWriteHalf, payload: &[u8]) -> std::io::Result<()> {
    let mut frame = vec![0x82];
    match u16::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(short as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await
}
