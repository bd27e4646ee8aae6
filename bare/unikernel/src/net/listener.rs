//! Incoming TCP connections.

use core::future::poll_fn;
use core::task::Poll;

use super::Network;
use super::stream::TcpStream;
use crate::Error;

/// A port at which TCP connections are accepted.
///
/// Connections complete their handshake by themselves, whether anybody waits in [`TcpListener::accept`] or not; how many
/// there may be is limited for all listeners together. See [`Network::most_connections`].
pub struct TcpListener {
    network: Network,
    port: u16,
}

impl TcpListener {
    pub(super) fn new(network: Network, port: u16) -> Result<Self, Error> {
        if network.stack().connections.listen(port) {
            Ok(Self { network, port })
        } else {
            Err(Error::PortInUse(port))
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the next connection.
    pub async fn accept(&mut self) -> TcpStream {
        let accepted =
            poll_fn(|context| match self.network.stack().connections.accept(self.port, context.waker()) {
                Some(socket) => Poll::Ready(socket),
                None => Poll::Pending,
            });
        let socket = accepted.await;
        TcpStream::new(self.network.clone(), socket)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let stack = &mut *self.network.stack();
        stack.connections.stop_listening(self.port, &mut stack.sockets);
        stack.touch();
    }
}
