//! Messages as frames with their length before them: what subduction needs of a transport.

use std::io;
use std::sync::Arc;

use future_form::Sendable;
use futures::future::BoxFuture;
use subduction_core::handshake::Handshake;
use subduction_core::transport::Transport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::Mutex;

use crate::wire::End;

/// A wire that carries frames. Clones are the same wire.
#[derive(Clone, Debug)]
pub(crate) struct Frames {
    receive: Arc<Mutex<ReadHalf<End>>>,
    send: Arc<Mutex<WriteHalf<End>>>,
}

impl Frames {
    pub(crate) fn new(end: End) -> Self {
        let (receive, send) = split(end);
        Self { receive: Arc::new(Mutex::new(receive)), send: Arc::new(Mutex::new(send)) }
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut stream = self.send.lock().await;
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(bytes).await
    }

    async fn read(&self) -> io::Result<Vec<u8>> {
        let mut stream = self.receive.lock().await;
        let mut bytes = vec![0; stream.read_u32().await? as usize];
        stream.read_exact(&mut bytes).await?;
        Ok(bytes)
    }
}

impl PartialEq for Frames {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.send, &other.send)
    }
}

impl Transport<Sendable> for Frames {
    type SendError = io::Error;
    type RecvError = io::Error;
    type DisconnectionError = io::Error;

    fn send_bytes(&self, bytes: &[u8]) -> BoxFuture<'_, io::Result<()>> {
        let bytes = bytes.to_vec();
        Box::pin(async move { self.write(&bytes).await })
    }

    fn recv_bytes(&self) -> BoxFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(self.read())
    }

    fn disconnect(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async { self.send.lock().await.shutdown().await })
    }
}

impl Handshake<Sendable> for Frames {
    type Error = io::Error;

    fn send(&mut self, bytes: Vec<u8>) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move { self.write(&bytes).await })
    }

    fn recv(&mut self) -> BoxFuture<'_, io::Result<Vec<u8>>> {
        Box::pin(self.read())
    }
}
