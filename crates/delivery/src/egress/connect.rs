//! How a connection is made, once it is known where to: over the machine's sockets, or over a simulated network.

use crate::parcel::Later;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Bytes both ways, in order, until one side ends it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes connections. It is asked only for addresses that were checked, and decides nothing itself.
pub trait Connector: Send + Sync {
    /// Connects to an address. The caller bounds the time that this may take.
    fn connect(&self, address: SocketAddr) -> Later<'_, io::Result<Box<dyn Stream>>>;
}

/// The machine's sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockets;

impl Connector for Sockets {
    fn connect(&self, address: SocketAddr) -> Later<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
