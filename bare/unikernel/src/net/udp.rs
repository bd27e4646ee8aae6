//! Datagrams.

use alloc::vec;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{self, PacketBuffer, PacketMetadata, RecvError, SendError};
use smoltcp::wire::IpEndpoint;

use super::Network;
use crate::Error;

/// A UDP socket. It keeps a few datagrams that nobody has received yet; further ones are lost.
pub struct UdpSocket {
    network: Network,
    socket: SocketHandle,
    port: u16,
}

/// Why a datagram was not received or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UdpError {
    /// It was longer than the buffer, and is lost.
    TooLong,
    /// There is no way to the address.
    NoRoute,
}

impl UdpSocket {
    pub(super) fn new(network: Network, port: u16) -> Result<Self, Error> {
        let socket = {
            let stack = &mut *network.stack();
            let taken = stack.datagram_ports.contains(&port);
            let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; DATAGRAMS], vec![0; BYTES]);
            let mut socket = udp::Socket::new(buffer(), buffer());
            if taken || socket.bind(port).is_err() {
                return Err(Error::PortInUse(port));
            }
            stack.datagram_ports.push(port);
            stack.sockets.add(socket)
        };
        Ok(Self { network, socket, port })
    }

    /// Waits for a datagram and returns its length and its sender.
    ///
    /// # Errors
    ///
    /// The datagram is longer than the buffer.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> Result<(usize, SocketAddr), UdpError> {
        poll_fn(|context| {
            self.with(|socket| match socket.recv_slice(buffer) {
                Ok((length, from)) => {
                    let from = SocketAddr::new(from.endpoint.addr.into(), from.endpoint.port);
                    Poll::Ready(Ok((length, from)))
                }
                Err(RecvError::Truncated) => Poll::Ready(Err(UdpError::TooLong)),
                Err(RecvError::Exhausted) => {
                    socket.register_recv_waker(context.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }

    /// Sends a datagram as soon as there is room for it.
    ///
    /// # Errors
    ///
    /// The address is none to send to, or the datagram is longer than the socket's whole buffer.
    pub async fn send(&mut self, bytes: &[u8], to: SocketAddr) -> Result<(), UdpError> {
        if bytes.len() > BYTES {
            return Err(UdpError::TooLong);
        }
        poll_fn(|context| {
            let sent = self.with(|socket| match socket.send_slice(bytes, IpEndpoint::from(to)) {
                Ok(()) => Poll::Ready(Ok(())),
                Err(SendError::Unaddressable) => Poll::Ready(Err(UdpError::NoRoute)),
                Err(SendError::BufferFull) => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
            });
            self.network.stack().touch();
            sent
        })
        .await
    }

    fn with<R>(&self, action: impl FnOnce(&mut udp::Socket<'static>) -> R) -> R {
        action(self.network.stack().sockets.get_mut(self.socket))
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let stack = &mut *self.network.stack();
        stack.datagram_ports.retain(|port| *port != self.port);
        stack.sockets.remove(self.socket);
    }
}

/// What waits in each direction at most.
const DATAGRAMS: usize = 16;
const BYTES: usize = 16 << 10;
