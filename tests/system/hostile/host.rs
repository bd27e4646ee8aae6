//! An honest host on the wire: the router of the network, with a TCP/IP stack of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, Stream};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, EthernetFrame, HardwareAddress, IpCidr, Ipv4Packet, TcpPacket};

use super::packets::{EVERYBODY, Mac, Way};
use super::wire::Wire;

/// The host, with the wire.
pub(crate) struct Host {
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    last_port: u16,
    /// The way from here to the website.
    pub(crate) way: Way,
}

/// A TCP connection of the host.
pub(crate) struct Connection<'h> {
    host: &'h mut Host,
    socket: SocketHandle,
    /// The port on this side.
    pub(crate) port: u16,
}

impl Host {
    /// Goes on the wire and finds the website, as soon as that is up.
    pub(crate) fn new(wire: Wire) -> Self {
        let mut card = Card { wire, last: Vec::new() };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(OWN)));
        config.random_seed = 1;
        let mut interface = Interface::new(config, &mut card, now());
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(ROUTER.into(), 24)).expect("there is room for one");
        });
        let to = SocketAddrV4::new(WEBSITE, 443);
        let way = Way { from: (OWN, SocketAddrV4::new(ROUTER, 50_000)), to: (EVERYBODY, to) };
        let mut host = Self { card, interface, sockets: SocketSet::new(Vec::new()), last_port: 40_000, way };
        host.way.to.0 = host.find();
        host
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.card.wire.send(frame);
    }

    /// Tells the website where this host is, as hosts do that look for somebody.
    pub(crate) fn speak_up(&mut self) {
        let ask = self.way.arp(1, OWN, ROUTER, WEBSITE);
        self.send(&ask);
    }

    /// The next frame that `is_wanted`; those before it are forgotten.
    pub(crate) fn receive(
        &mut self,
        patience: Duration,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            while let Some(frame) = self.card.wire.receive() {
                if is_wanted(&frame) {
                    return Some(frame);
                }
            }
            thread::sleep(NAP);
        }
        None
    }

    /// Asks for the page over HTTPS, and gives the answer.
    pub(crate) fn get(&mut self, mut client: ClientConnection) -> io::Result<String> {
        let mut connection = self.connect(443)?;
        let mut stream = Stream::new(&mut client, &mut connection);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Opens a connection.
    pub(crate) fn connect(&mut self, port: u16) -> io::Result<Connection<'_>> {
        // What others were answered is none of this host's business.
        while self.card.wire.receive().is_some() {}
        self.last_port += 1;
        let own = self.last_port;
        let buffer = || tcp::SocketBuffer::new(vec![0; 0x10000]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        let connected = socket.connect(self.interface.context(), (WEBSITE, port), own);
        connected.expect("there is a way to the website");
        let socket = self.sockets.add(socket);
        let mut connection = Connection { host: self, socket, port: own };
        connection.wait(|socket| match socket.state() {
            tcp::State::SynSent | tcp::State::SynReceived => None,
            tcp::State::Closed => Some(Err(ErrorKind::ConnectionRefused.into())),
            _ => Some(Ok(())),
        })?;
        Ok(connection)
    }

    /// The website's MAC address.
    fn find(&mut self) -> Mac {
        let deadline = Instant::now() + PATIENCE;
        let ask = self.way.arp(1, OWN, ROUTER, WEBSITE);
        while Instant::now() < deadline {
            self.send(&ask);
            thread::sleep(Duration::from_millis(50));
            while let Some(frame) = self.card.wire.receive() {
                // An answer of ARP from the website's address.
                if frame.get(12..14) == Some(&[8, 6])
                    && frame.get(20..22) == Some(&[0, 2])
                    && frame.get(28..32) == Some(&WEBSITE.octets())
                {
                    return frame[22..28].try_into().expect("it has six bytes");
                }
            }
        }
        panic!("the website does not come up");
    }

    fn turn(&mut self) {
        self.interface.poll(now(), &mut self.card, &mut self.sockets);
    }
}

impl Connection<'_> {
    /// The sequence number of what this side sends next, from the last segment that it sent.
    pub(crate) fn next_sequence(&self) -> u32 {
        let frame = EthernetFrame::new_unchecked(&self.host.card.last);
        let packet = Ipv4Packet::new_unchecked(frame.payload());
        let segment = TcpPacket::new_unchecked(packet.payload());
        (segment.seq_number() + segment.segment_len()).0.cast_unsigned()
    }

    /// Writes all of this.
    pub(crate) fn say(&mut self, text: &str) {
        self.write_all(text.as_bytes()).expect("the website listens");
    }

    /// Reads until the other side has said everything.
    pub(crate) fn hear(&mut self) -> String {
        let mut text = String::new();
        self.read_to_string(&mut text).expect("the website answers");
        text
    }

    /// Sends a frame past this host's stack.
    pub(crate) fn inject(&mut self, frame: &[u8]) {
        self.host.send(frame);
    }

    /// Waits until `done` gives something. What told the website where this host is may have been lost among the frames of
    /// an attack: it is said again while there is silence.
    fn wait<T>(
        &mut self,
        mut done: impl FnMut(&mut tcp::Socket<'static>) -> Option<io::Result<T>>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut spoken = Instant::now();
        loop {
            self.host.turn();
            if let Some(result) = done(self.host.sockets.get_mut(self.socket)) {
                self.host.turn();
                return result;
            }
            if Instant::now() > deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            if spoken.elapsed() > SILENCE {
                self.host.speak_up();
                spoken = Instant::now();
            }
            thread::sleep(NAP);
        }
    }
}

impl Read for Connection<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(|socket| match socket.recv_slice(buffer) {
            Ok(0) => None,
            Ok(length) => Some(Ok(length)),
            Err(tcp::RecvError::Finished) => Some(Ok(0)),
            Err(tcp::RecvError::InvalidState) => Some(Err(ErrorKind::ConnectionReset.into())),
        })
    }
}

impl Write for Connection<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|socket| match socket.send_slice(bytes) {
            Ok(0) if !bytes.is_empty() => None,
            Ok(length) => Some(Ok(length)),
            Err(tcp::SendError::InvalidState) => Some(Err(ErrorKind::ConnectionReset.into())),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.host.sockets.get_mut::<tcp::Socket<'_>>(self.socket).abort();
        self.host.turn();
        self.host.sockets.remove(self.socket);
    }
}

/// The wire, as the stack sees it.
struct Card {
    wire: Wire,
    /// The last frame that the stack sent.
    last: Vec<u8>,
}

struct Received(Vec<u8>);

struct Transmission<'c>(&'c mut Card);

impl Device for Card {
    type RxToken<'a> = Received;
    type TxToken<'a> = Transmission<'a>;

    fn receive(&mut self, _now: smoltcp::time::Instant) -> Option<(Received, Transmission<'_>)> {
        let frame = self.wire.receive()?;
        Some((Received(frame), Transmission(self)))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Transmission<'_>> {
        Some(Transmission(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Transmission<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.wire.send(&frame);
        self.0.last = frame;
        result
    }
}

fn now() -> smoltcp::time::Instant {
    smoltcp::time::Instant::now()
}

pub(crate) const WEBSITE: Ipv4Addr = Ipv4Addr::new(192, 168, 254, 10);
pub(crate) const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 254, 1);
const OWN: Mac = [0x02, 0, 0, 0, 0, 1];
/// How long an answer may take: on a loaded computer, and when a flood has taken all places.
const PATIENCE: Duration = Duration::from_secs(300);
/// After which the host speaks up again.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two looks.
const NAP: Duration = Duration::from_micros(200);
