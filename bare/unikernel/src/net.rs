//! The network: TCP, UDP and names over one Ethernet device.
//!
//! The program's loop gives the stack its turns (`Network::turn`); tasks only exchange bytes with its buffers. What
//! tasks write in one turn of the loop leaves together in the next, and one signal tells the other end about all of it.

mod addresses;
mod card;
mod connections;
mod listener;
mod resolver;
mod stack;
mod stream;
mod udp;

use alloc::rc::Rc;
use core::cell::{RefCell, RefMut};
use core::future::poll_fn;
use core::net::IpAddr;
use core::task::Poll;

use palisade_unikernel_core::arguments::{Arguments, CONNECTIONS};
use smoltcp::wire::IpCidr;

use self::connections::Connections;
use self::stack::Stack;
use crate::Error;

pub use listener::TcpListener;
pub use resolver::ResolveError;
pub use stream::{TcpError, TcpStream};
pub use udp::{UdpError, UdpSocket};

/// The network. Copies are the same network.
#[derive(Clone)]
pub struct Network(Rc<RefCell<Stack>>);

impl Network {
    /// Opens the network device `service` and configures it as the command line says.
    pub(crate) fn start(arguments: &Arguments) -> Result<Self, Error> {
        let device = solo5::net::acquire(DEVICE)
            .map_err(|_| Error::other("the system has no network device 'service' for this subject"))?;
        let connections = Connections::new(arguments.value(&CONNECTIONS))?;
        Ok(Self(Rc::new(RefCell::new(Stack::start(device, connections, arguments)))))
    }

    /// Listens for TCP connections to `port`.
    ///
    /// # Errors
    ///
    /// [`Error::PortInUse`] if somebody does already.
    pub fn listen(&self, port: u16) -> Result<TcpListener, Error> {
        TcpListener::new(self.clone(), port)
    }

    /// Opens a UDP socket.
    ///
    /// # Errors
    ///
    /// [`Error::PortInUse`] if another socket has the port.
    pub fn bind_udp(&self, port: u16) -> Result<UdpSocket, Error> {
        UdpSocket::new(self.clone(), port)
    }

    /// The addresses of a host: those of IPv4, or if it has none, those of IPv6. A resolver may take ten seconds for each.
    ///
    /// # Errors
    ///
    /// When there is no resolver, or it knows no such name, or does not answer.
    pub async fn resolve(&self, name: &str) -> Result<alloc::vec::Vec<IpAddr>, ResolveError> {
        resolver::resolve(self, name).await
    }

    /// Waits until the unikernel has an address that others can reach, and returns it: its IPv4 address, or if it has
    /// none, its IPv6 address.
    pub async fn address(&self) -> IpAddr {
        poll_fn(|context| {
            let mut stack = self.stack();
            let address = stack.address();
            if address.is_none() {
                stack.wake_when_configured(context.waker());
            }
            address.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// How many TCP connections there may be at once.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.stack().connections.limit()
    }

    /// How many TCP connections there are, those included that are being opened or closed.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.stack().connections.open()
    }

    /// The addresses with their prefixes.
    #[must_use]
    pub fn addresses(&self) -> alloc::vec::Vec<IpCidr> {
        self.stack().interface.ip_addrs().to_vec()
    }

    /// Takes in the frames that are there, and sends what is to be sent.
    pub(crate) fn turn(&self) {
        self.stack().turn();
    }

    /// Sleeps until there is a frame, the stack has something to do, or [`solo5::clock::monotonic`] reaches `deadline`.
    pub(crate) fn sleep(&self, deadline: u64) {
        self.stack().sleep(deadline);
    }

    /// The stack. Nobody keeps it: each use ends before the next one begins, and none waits.
    fn stack(&self) -> RefMut<'_, Stack> {
        self.0.borrow_mut()
    }
}

/// The device's name in the manifest: the one that MirageOS unikernels use.
const DEVICE: &str = "service";
