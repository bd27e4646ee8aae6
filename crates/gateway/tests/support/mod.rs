//! A network with unikernels: the real one in a thread, and in place of each unikernel a TCP/IP stack of its own behind real
//! channels.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use palisade_abi::channel::HEADER_SIZE;
use palisade_abi::frame_channel::{Announcement, FrameReader, FrameWriter, Overruns};
use palisade_abi::network_element::{MAX_FRAME, NetworkElement};
use palisade_abi::volatile::Shared;
use palisade_gateway::{Error, Gateway, Listener, Network, Outbound, Port, Published, Setup, Subnet, World};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::{dup, read, write};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub const ROUTER_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
pub const GUEST_6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 15);
/// Whatever is waited for comes much sooner, also on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(300);
const MAC: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];

/// What is served, before it is.
pub struct Plan {
    pub published: Vec<Published>,
    pub outbound: Outbound,
    pub name_servers: Vec<SocketAddr>,
    pub own_addresses: Vec<IpAddr>,
    guests: Vec<(Vec<IpAddr>, Option<Ipv4Addr>)>,
}

/// A network that serves.
pub struct Served {
    pub guests: Vec<Guest>,
    lines: Arc<Mutex<Vec<String>>>,
    end: OwnedFd,
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Plan {
    /// A network with one unikernel that has a fixed address in each family, and nothing that leaves.
    pub fn new() -> Self {
        Self {
            published: vec![],
            outbound: Outbound::Only(vec![]),
            name_servers: vec![],
            own_addresses: vec![],
            guests: vec![(vec![GUEST.into(), GUEST_6.into()], None)],
        }
    }

    /// Another unikernel, which asks for this address.
    pub fn with_lease(mut self, lease: Ipv4Addr) -> Self {
        self.guests.push((vec![], Some(lease)));
        self
    }

    pub fn allowing(mut self, destinations: &[String]) -> Self {
        let parsed = destinations.iter().map(|text| text.parse().expect("a destination"));
        self.outbound = Outbound::Only(parsed.collect());
        self
    }

    /// Publishes a port of the unikernel, and returns where.
    pub fn publish_tcp(&mut self, guest: impl Into<SocketAddr>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        self.published.push(Published { listener: Listener::Tcp(listener), guest: guest.into() });
        address
    }

    pub fn publish_udp(&mut self, guest: impl Into<SocketAddr>) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        self.published.push(Published { listener: Listener::Udp(socket), guest: guest.into() });
        address
    }

    pub fn serve(self) -> Served {
        let gateway = World::Gateway(Gateway {
            ipv4: Subnet { prefix: 24, router: ROUTER, name_server: NAME_SERVER },
            ipv6: Some(Subnet {
                prefix: 64,
                router: ROUTER_6,
                name_server: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 3),
            }),
            published: self.published,
            outbound: self.outbound,
            name_servers: self.name_servers,
            own_addresses: self.own_addresses,
        });
        Served::start(gateway, self.guests)
    }
}

impl Served {
    /// A network whose world is a tap device, with one unikernel.
    pub fn with_tap(tap: OwnedFd) -> Self {
        Self::start(World::Tap(tap), vec![(vec![GUEST.into()], None)])
    }

    fn start(world: World, guests: Vec<(Vec<IpAddr>, Option<Ipv4Addr>)>) -> Self {
        let wake = counter();
        let (ports, guests) = guests
            .into_iter()
            .enumerate()
            .map(|(number, (addresses, lease))| {
                let (input, output, ready) = (memory(), memory(), counter());
                let port = Port {
                    subject: format!("guest{number}"),
                    device: "service".into(),
                    input,
                    output,
                    overruns: Overruns::Recovered,
                    ready: dup(&ready).unwrap(),
                    addresses,
                    lease,
                };
                let guest = Guest::new(number, input, output, ready, dup(&wake).unwrap());
                (port, guest)
            })
            .collect();
        let end = counter();
        let their_end = dup(&end).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let said = lines.clone();
        let thread = thread::spawn(move || {
            let setup = Setup { ports, wake, generation: 1, mac: MAC, world, end: Some(their_end) };
            Network::prepare(setup)?.serve(&mut |line| said.lock().unwrap().push(line.to_owned()))
        });
        Self { guests, lines, end, thread: Some(thread) }
    }

    pub fn guest(&mut self) -> &mut Guest {
        &mut self.guests[0]
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Lets the unikernel work until the log has such a line.
    pub fn wait_for_line(&mut self, part: &str) {
        let lines = self.lines.clone();
        self.guest().until(part, |_| lines.lock().unwrap().iter().any(|line| line.contains(part)));
    }
}

/// The network must have served to the end.
impl Drop for Served {
    fn drop(&mut self) {
        write(&self.end, &1_u64.to_ne_bytes()).unwrap();
        let served = self.thread.take().unwrap().join();
        if !thread::panicking() {
            served.expect("it does not panic").expect("it serves to the end");
        }
    }
}

/// What stands for a unikernel.
pub struct Guest {
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    pub card: Card,
}

/// Its network device.
pub struct Card {
    reader: FrameReader<Shared<'static>>,
    writer: FrameWriter<Shared<'static>>,
    output: Shared<'static>,
    ready: OwnedFd,
    wake: OwnedFd,
    has_written: bool,
    /// Frames as they came, if somebody wants to see them.
    pub seen: Option<VecDeque<Vec<u8>>>,
}

impl Guest {
    fn new(
        number: usize,
        input: Shared<'static>,
        output: Shared<'static>,
        ready: OwnedFd,
        wake: OwnedFd,
    ) -> Self {
        let (reader, writer) = (FrameReader::new(input), start(output, 7));
        let mut card = Card { reader, writer, output, ready, wake, has_written: false, seen: None };
        let interface = interface(&mut card, 1 + number as u8);
        let mut guest = Self { interface, sockets: SocketSet::new(vec![]), card };
        if number == 0 {
            guest.configure(GUEST);
        }
        guest
    }

    /// Begins anew with another MAC address and without sockets.
    pub fn restart(&mut self) {
        self.card.writer = start(self.card.output, 8);
        self.interface = interface(&mut self.card, 0x77);
        self.sockets = SocketSet::new(vec![]);
        self.configure(GUEST);
    }

    /// Gives it an address and the usual routes.
    pub fn configure(&mut self, address: Ipv4Addr) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            addresses.push(IpCidr::new(address.into(), 24)).unwrap();
            addresses.push(IpCidr::new(GUEST_6.into(), 64)).unwrap();
        });
        self.interface.routes_mut().add_default_ipv4_route(ROUTER).unwrap();
        self.interface.routes_mut().add_default_ipv6_route(ROUTER_6).unwrap();
    }

    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let mut socket = Self::tcp_socket();
        socket.listen(port).unwrap();
        self.sockets.add(socket)
    }

    pub fn connect(&mut self, to: impl Into<SocketAddr>, from: u16) -> SocketHandle {
        let mut socket = Self::tcp_socket();
        socket.connect(self.interface.context(), to.into(), from).unwrap();
        self.sockets.add(socket)
    }

    fn tcp_socket() -> tcp::Socket<'static> {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket
    }

    pub fn bind(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 128 << 10]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.sockets.add(socket)
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Works once.
    pub fn turn(&mut self) {
        self.interface.poll(now(), &mut self.card, &mut self.sockets);
        self.card.tell();
    }

    /// Works until `done`, or fails with the name of what was waited for.
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.turn();
            if done(self) {
                // What was done may have something to send.
                self.turn();
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            self.card.rest(Duration::from_millis(1));
        }
    }

    /// Works for a while.
    pub fn work(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.turn();
            self.card.rest(Duration::from_millis(1));
        }
    }

    /// What a connection brings until its peer says no more.
    pub fn read_to_end(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut all = Vec::new();
        self.until("the end of a connection", |guest| {
            let socket = guest.tcp(handle);
            if matches!(socket.state(), tcp::State::Listen | tcp::State::SynSent | tcp::State::SynReceived) {
                return false;
            }
            while socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), all.extend_from_slice(bytes))).unwrap();
            }
            !socket.may_recv()
        });
        all
    }
}

impl Card {
    /// Writes a frame as it is.
    pub fn send(&mut self, frame: &[u8]) {
        self.writer.write(frame, Overruns::Recovered).unwrap();
        self.has_written = true;
    }

    /// Says that something was written.
    pub fn tell(&mut self) {
        if std::mem::take(&mut self.has_written) {
            // It fails if a neighbour has filled the counter, as it does in a process.
            let _ = write(&self.wake, &1_u64.to_ne_bytes());
        }
        self.writer.acknowledge(self.reader.taken());
    }

    /// Adds as much to the network's counter as it holds.
    pub fn fill_counter(&self) {
        // It fails if something was added to it a moment ago.
        let _ = write(&self.wake, &(u64::MAX - 1).to_ne_bytes());
    }

    fn rest(&mut self, limit: Duration) {
        let limit = rustix::fs::Timespec { tv_sec: 0, tv_nsec: limit.as_nanos() as i64 };
        if poll(&mut [PollFd::new(&self.ready, PollFlags::IN)], Some(&limit)).unwrap() > 0 {
            read(self.ready.as_fd(), &mut [0_u8; 8]).unwrap();
        }
    }
}

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Transmission<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received, Transmission<'_>)> {
        let mut frame = vec![0; MAX_FRAME];
        let length = self.reader.read(&mut frame)?;
        frame.truncate(length);
        if let Some(seen) = &mut self.seen {
            seen.push_back(frame.clone());
        }
        Some((Received(frame), Transmission(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Transmission<'_>> {
        Some(Transmission(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME;
        capabilities
    }
}

pub struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

pub struct Transmission<'a>(&'a mut Card);

impl TxToken for Transmission<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.send(&frame);
        result
    }
}

/// Begins an epoch of a channel.
fn start(output: Shared<'static>, epoch: u64) -> FrameWriter<Shared<'static>> {
    let said = Announcement { address: None, recovers: true };
    FrameWriter::start(output, NonZeroU64::new(epoch).unwrap(), said).unwrap()
}

/// A stack whose MAC address ends with `last`.
fn interface(card: &mut Card, last: u8) -> Interface {
    let mac = EthernetAddress([2, 0, 0, 0, 0, last]);
    Interface::new(Config::new(HardwareAddress::Ethernet(mac)), card, now())
}

fn now() -> smoltcp::time::Instant {
    smoltcp::time::Instant::now()
}

fn counter() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()
}

/// A channel for as long as the process lives.
fn memory() -> Shared<'static> {
    let bytes = HEADER_SIZE + 1024 * size_of::<NetworkElement>();
    let words: Vec<AtomicU64> = (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect();
    Shared::from(&*words.leak())
}
