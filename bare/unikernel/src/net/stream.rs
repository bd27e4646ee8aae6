//! A TCP connection.

use core::fmt;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::{Context, Poll};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, RecvError, State};
use smoltcp::wire::IpEndpoint;

use super::connections::limit_silence;
use super::{Network, stack};
use crate::time::Duration;

/// A TCP connection. Dropping it closes it: what was written is still sent.
pub struct TcpStream {
    network: Network,
    socket: SocketHandle,
    peer: Option<SocketAddr>,
}

/// Why a connection does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpError {
    /// The peer has reset it, or has been silent for too long.
    Reset,
    /// There are too many connections.
    TooMany,
    /// There is no way to the peer's address.
    NoRoute,
}

impl TcpStream {
    pub(super) fn new(network: Network, socket: SocketHandle) -> Self {
        let peer = network.stack().sockets.get::<tcp::Socket<'_>>(socket).remote_endpoint();
        Self { network, socket, peer: peer.map(socket_address) }
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// When there are too many connections, no way to the peer, or no answer within a minute.
    pub async fn connect(network: &Network, to: SocketAddr) -> Result<Self, TcpError> {
        let socket = {
            let stack = &mut *network.stack();
            let handle = stack.connections.outgoing_socket(&mut stack.sockets).ok_or(TcpError::TooMany)?;
            let port = stack.connections.outgoing_port();
            let socket = stack.sockets.get_mut::<tcp::Socket<'_>>(handle);
            let connected = socket.connect(stack.interface.context(), IpEndpoint::from(to), port);
            if connected.is_err() {
                stack.connections.abort(handle, &mut stack.sockets);
                stack.touch();
                return Err(TcpError::NoRoute);
            }
            stack.touch();
            handle
        };
        let stream = Self { network: network.clone(), socket, peer: Some(to) };
        poll_fn(|context| {
            stream.with(|socket| match socket.state() {
                State::SynSent | State::SynReceived => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
                State::Closed => Poll::Ready(Err(TcpError::Reset)),
                _ => Poll::Ready(Ok(())),
            })
        })
        .await?;
        Ok(stream)
    }

    /// Address and port of the peer; `None` if the connection was reset before it was accepted.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Ends the connection when the peer is silent for so long; one that is there and has nothing to say is asked for a sign
    /// of life in time. It is a minute at first.
    pub fn set_silence_limit(&mut self, limit: Duration) {
        let limit = smoltcp::time::Duration::from_micros(limit.as_micros());
        self.with(|socket| limit_silence(socket, limit));
    }

    /// Says that nothing more will be written. What the peer still sends can be read.
    pub fn finish(&mut self) {
        self.with(tcp::Socket::close);
        self.network.stack().touch();
    }

    /// Waits until the peer has acknowledged everything that was written.
    ///
    /// # Errors
    ///
    /// The connection has ended before.
    pub async fn acknowledged(&mut self) -> Result<(), TcpError> {
        poll_fn(|context| {
            self.with(|socket| match (socket.send_queue(), socket.state()) {
                (0, _) => Poll::Ready(Ok(())),
                (_, State::Closed) => Poll::Ready(Err(TcpError::Reset)),
                _ => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Ends the connection at once. The peer gets a reset.
    pub fn abort(self) {
        self.with(tcp::Socket::abort);
    }

    fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize, TcpError>> {
        let read = self.with(|socket| match socket.recv_slice(buffer) {
            Ok(0) if !buffer.is_empty() => {
                socket.register_recv_waker(context.waker());
                Poll::Pending
            }
            Ok(length) => Poll::Ready(Ok(length)),
            Err(RecvError::Finished) => Poll::Ready(Ok(0)),
            Err(RecvError::InvalidState) => Poll::Ready(Err(TcpError::Reset)),
        });
        if matches!(read, Poll::Ready(Ok(1..))) {
            // The peer may be told that there is room again.
            self.network.stack().touch();
        }
        read
    }

    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, TcpError>> {
        let written = self.with(|socket| match socket.send_slice(bytes) {
            Ok(0) if !bytes.is_empty() => {
                socket.register_send_waker(context.waker());
                Poll::Pending
            }
            Ok(length) => Poll::Ready(Ok(length)),
            Err(tcp::SendError::InvalidState) => Poll::Ready(Err(TcpError::Reset)),
        });
        if written.is_ready() {
            self.network.stack().touch();
        }
        written
    }

    fn with<R>(&self, action: impl FnOnce(&mut tcp::Socket<'static>) -> R) -> R {
        action(self.network.stack().sockets.get_mut(self.socket))
    }
}

impl ErrorType for TcpStream {
    type Error = TcpError;
}

impl Read for TcpStream {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TcpError> {
        poll_fn(|context| self.poll_read(context, buffer)).await
    }
}

impl Write for TcpStream {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, TcpError> {
        poll_fn(|context| self.poll_write(context, bytes)).await
    }

    /// Returns at once: everything that was written leaves when the task waits next. See [`TcpStream::acknowledged`].
    async fn flush(&mut self) -> Result<(), TcpError> {
        Ok(())
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let stack = &mut *self.network.stack();
        stack.connections.close(self.socket, &mut stack.sockets, stack::now());
        stack.touch();
    }
}

impl fmt::Display for TcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "the connection was reset",
            Self::TooMany => "there are too many connections",
            Self::NoRoute => "there is no way to the address",
        })
    }
}

impl core::error::Error for TcpError {}

impl embedded_io_async::Error for TcpError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Reset => ErrorKind::ConnectionReset,
            Self::TooMany => ErrorKind::OutOfMemory,
            Self::NoRoute => ErrorKind::AddrNotAvailable,
        }
    }
}

fn socket_address(endpoint: IpEndpoint) -> SocketAddr {
    SocketAddr::new(endpoint.addr.into(), endpoint.port)
}
