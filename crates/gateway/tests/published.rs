//! What comes in: published ports, and how connections through them begin, go on and end.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::LazyLock;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt;
use smoltcp::socket::tcp::State;
use support::{GUEST, GUEST_6, Guest, PATIENCE, Plan, ROUTER, Served};

#[test]
fn a_connection_leads_to_the_unikernel_and_comes_from_the_router() {
    let (mut served, address) = published((GUEST, 80));
    let guest = served.guest();
    let handle = guest.listen(80);
    let client = ask(address, b"how are you?");
    assert_eq!(guest.read_to_end(handle), b"how are you?");
    let socket = guest.tcp(handle);
    assert_eq!(socket.remote_endpoint().unwrap().addr, ROUTER.into());
    // The client has said all it had to say, and can still be told something.
    assert_eq!(socket.state(), State::CloseWait);
    socket.send_slice(b"well, thank you").unwrap();
    socket.close();
    guest.until("the end", |guest| guest.tcp(handle).state() == State::Closed);
    assert_eq!(client.join().unwrap(), b"well, thank you");
}

#[test]
fn a_unikernel_is_found_again_that_begins_anew_with_another_mac_address_and_says_nothing() {
    let (mut served, address) = published((GUEST, 80));
    for turn in 0..2 {
        let guest = served.guest();
        if turn == 1 {
            guest.restart();
        }
        let handle = guest.listen(80);
        let client = thread::spawn(move || connect(address).write_all(b"hello").unwrap());
        assert_eq!(guest.read_to_end(handle), b"hello");
        client.join().unwrap();
    }
}

#[test]
fn ipv6_leads_there_as_well() {
    let (mut served, address) = published((GUEST_6, 80));
    let handle = served.guest().listen(80);
    let client = thread::spawn(move || connect(address).write_all(b"hello").unwrap());
    assert_eq!(served.guest().read_to_end(handle), b"hello");
    client.join().unwrap();
}

#[test]
fn a_unikernel_that_ends_its_side_first_still_hears_the_other() {
    let (mut served, address) = published((GUEST, 80));
    let guest = served.guest();
    let handle = guest.listen(80);
    let client = thread::spawn(move || {
        let mut stream = connect(address);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(b"I heard you out").unwrap();
        all
    });
    guest.until("a connection", |guest| guest.tcp(handle).may_send());
    guest.tcp(handle).send_slice(b"that is all").unwrap();
    guest.tcp(handle).close();
    assert_eq!(guest.read_to_end(handle), b"I heard you out");
    assert_eq!(client.join().unwrap(), b"that is all");
}

#[test]
fn a_port_that_the_unikernel_does_not_have_is_a_reset() {
    let (mut served, address) = published((GUEST, 81));
    let client = thread::spawn(move || connect(address).read(&mut [0; 10]).map_err(|error| error.kind()));
    served.guest().until("the client", |_| client.is_finished());
    assert_eq!(client.join().unwrap(), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_unikernel_that_is_not_there_yet_is_waited_for_a_while() {
    let (mut served, address) = published((GUEST, 80));
    let mut early = connect(address);
    early.write_all(b"too early?").unwrap();
    early.shutdown(Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(300));
    let handle = served.guest().listen(80);
    assert_eq!(served.guest().read_to_end(handle), b"too early?");
}

#[test]
fn a_unikernel_that_never_comes_is_a_reset_in_time() {
    let (_served, address) = published((GUEST, 80));
    let mut stream = connect(address);
    let error = stream.read(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_goes_through_in_both_directions() {
    let (mut served, address) = published((GUEST, 80));
    let guest = served.guest();
    let handle = guest.listen(80);
    let client = thread::spawn(move || connect(address).read(&mut [0; 10]).map_err(|error| error.kind()));
    guest.until("a connection", |guest| guest.tcp(handle).may_send());
    guest.tcp(handle).abort();
    guest.until("the client", |_| client.is_finished());
    assert_eq!(client.join().unwrap(), Err(ErrorKind::ConnectionReset));

    let handle = guest.listen(80);
    let stream = connect(address);
    guest.until("a connection", |guest| guest.tcp(handle).may_send());
    guest.tcp(handle).send_slice(b"nobody reads this").unwrap();
    guest.work(Duration::from_millis(50));
    // Closing a socket with unread data resets the connection.
    drop(stream);
    guest.until("a reset", |guest| guest.tcp(handle).state() == State::Closed);
}

#[test]
fn a_reset_reaches_a_unikernel_that_does_not_read() {
    let (mut served, address) = published((GUEST, 80));
    let guest = served.guest();
    let handle = guest.listen(80);
    let mut stream = connect(address);
    guest.until("a connection", |guest| guest.tcp(handle).may_send());
    stream.set_nonblocking(true).unwrap();
    let mut written = 0;
    // Until everything between the two is full, and stays so.
    let mut rounds = 0;
    guest.until("a client that cannot go on", |_| {
        match stream.write(&[0; 10_000]) {
            Ok(count) => (written, rounds) = (written + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                rounds += 1;
            }
        }
        rounds == 200
    });
    assert!(written > 64 << 10);
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    guest.until("a reset", |guest| guest.tcp(handle).state() == State::Closed);
}

#[test]
fn fifty_megabytes_arrive_whole_at_the_pace_of_a_slow_reader() {
    let (mut served, address) = published((GUEST, 80));
    let guest = served.guest();
    let handle = guest.listen(80);
    let client = thread::spawn(move || {
        let mut stream = connect(address);
        let mut reader = stream.try_clone().unwrap();
        let sink = thread::spawn(move || {
            // The unikernel is ahead of this client, and must wait.
            thread::sleep(Duration::from_millis(500));
            let mut received = Numbers::default();
            let mut buffer = vec![0; 1 << 20];
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => return received.0,
                    count => received.check(&buffer[..count]),
                }
            }
        });
        let mut sent = Numbers::default();
        while sent.0 < TOTAL {
            stream.write_all(&sent.next(CHUNK)).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        sink.join().unwrap()
    });
    let (mut received, mut sent) = (Numbers::default(), Numbers::default());
    let mut pauses = 0;
    guest.until("fifty megabytes", |guest| {
        let socket = guest.tcp(handle);
        // Now and then the unikernel does not read, until everything between it and the client is full.
        if received.0 >= pauses * TOTAL / 4 && pauses < 4 {
            pauses += 1;
            guest.work(Duration::from_millis(100));
            return false;
        }
        while socket.can_recv() {
            socket.recv(|bytes| (bytes.len(), received.check(bytes))).unwrap();
        }
        while socket.can_send() && sent.0 < TOTAL {
            let before = sent.0;
            let accepted = socket.send_slice(&sent.next(CHUNK.min(TOTAL - before))).unwrap();
            sent.0 = before + accepted;
        }
        if sent.0 == TOTAL && socket.may_send() {
            socket.close();
        }
        received.0 == TOTAL && !socket.may_recv() && client.is_finished()
    });
    assert_eq!(client.join().unwrap(), TOTAL);
}

#[test]
fn five_hundred_connections_at_once_have_their_turn() {
    let (mut served, address) = published((GUEST, 80));
    let guest = served.guest();
    let client = thread::spawn(move || {
        let mut streams: Vec<TcpStream> = (0..500).map(|_| connect(address)).collect();
        for round in 0..3_u16 {
            for (number, stream) in streams.iter_mut().enumerate() {
                stream.write_all(&[round.to_be_bytes(), (number as u16).to_be_bytes()].concat()).unwrap();
            }
            for (number, stream) in streams.iter_mut().enumerate() {
                let mut answer = [0; 4];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(answer, *[round.to_be_bytes(), (number as u16).to_be_bytes()].concat());
            }
        }
    });
    let mut handles: Vec<_> = (0..510).map(|_| guest.listen(80)).collect();
    guest.until("five hundred clients", |guest| {
        for handle in &mut handles {
            let socket = guest.tcp(*handle);
            let mut said = Vec::new();
            while socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), said.extend_from_slice(bytes))).unwrap();
            }
            if !said.is_empty() {
                socket.send_slice(&said).unwrap();
            }
        }
        client.is_finished()
    });
    client.join().unwrap();
}

#[test]
fn a_storm_of_connections_that_are_closed_at_once_leaves_room_for_the_next() {
    let (mut served, address) = published((GUEST, 80));
    let guest = served.guest();
    let storm = thread::spawn(move || {
        for _ in 0..3000 {
            drop(connect(address));
        }
    });
    let mut handles: Vec<_> = (0..50).map(|_| guest.listen(80)).collect();
    guest.until("the storm", |guest| {
        listen_again(guest, &mut handles);
        storm.is_finished() && handles.iter().all(|handle| guest.tcp(*handle).is_listening())
    });
    storm.join().unwrap();
    // What is left of the storm may still come before the client and take all places; then he is refused, and comes again.
    let client = thread::spawn(move || {
        loop {
            let mut stream = connect(address);
            let mut answer = Vec::new();
            let said = stream.write_all(b"calm").and_then(|()| stream.shutdown(Shutdown::Write));
            if said.and_then(|()| stream.read_to_end(&mut answer)).is_ok() {
                return answer;
            }
        }
    });
    guest.until("the last client", |guest| {
        listen_again(guest, &mut handles);
        for handle in &handles {
            let socket = guest.tcp(*handle);
            if socket.can_recv() {
                let mut said = [0; 4];
                let count = socket.recv_slice(&mut said).unwrap();
                socket.send_slice(&said[..count]).unwrap();
            }
        }
        client.is_finished()
    });
    assert_eq!(client.join().unwrap(), b"calm");
}

#[test]
fn datagrams_reach_the_unikernel_and_the_answer_the_one_who_asked() {
    let mut plan = Plan::new();
    let address = plan.publish_udp((GUEST, 53));
    let mut served = plan.serve();
    let guest = served.guest();
    let handle = guest.bind(53);
    let clients: Vec<UdpSocket> = (0..3).map(|_| client_socket(address)).collect();
    for (number, client) in clients.iter().enumerate() {
        client.send(&[number as u8; 1000]).unwrap();
    }
    let mut answered = 0;
    guest.until("three questions", |guest| {
        let socket = guest.udp(handle);
        while let Ok((bytes, from)) = socket.recv().map(|(bytes, from)| (bytes.to_vec(), from)) {
            assert_eq!((from.endpoint.addr, bytes.len()), (ROUTER.into(), 1000));
            socket.send_slice(&[bytes[0] + 100], from.endpoint).unwrap();
            answered += 1;
        }
        answered == 3
    });
    for (number, client) in clients.iter().enumerate() {
        let mut answer = [0; 10];
        assert_eq!(client.recv(&mut answer).unwrap(), 1);
        assert_eq!(answer[0], number as u8 + 100);
    }
}

#[test]
fn a_datagram_that_fits_into_no_frame_is_lost_and_those_behind_it_are_not() {
    let mut plan = Plan::new();
    let address = plan.publish_udp((GUEST, 53));
    let mut served = plan.serve();
    let guest = served.guest();
    let handle = guest.bind(53);
    let client = client_socket(address);
    for length in [1473, 60_000, 1472, 0] {
        client.send(&vec![7; length]).unwrap();
    }
    let mut lengths = Vec::new();
    guest.until("two datagrams", |guest| {
        while let Ok((bytes, _)) = guest.udp(handle).recv() {
            lengths.push(bytes.len());
        }
        lengths.len() == 2
    });
    assert_eq!(lengths, [1472, 0]);
}

/// A network with a unikernel that has a published port, and where that is.
fn published(guest: impl Into<SocketAddr>) -> (Served, SocketAddr) {
    let mut plan = Plan::new();
    let address = plan.publish_tcp(guest);
    (plan.serve(), address)
}

/// A client that says something, and no more, and gives what it hears until the other side says no more.
fn ask(address: SocketAddr, question: &'static [u8]) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut stream = connect(address);
        stream.write_all(question).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    })
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn client_socket(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(to).unwrap();
    socket
}

/// Ends connections that are over, and listens in place of each.
fn listen_again(guest: &mut Guest, handles: &mut [smoltcp::iface::SocketHandle]) {
    for handle in handles {
        let socket = guest.tcp(*handle);
        if socket.state() == State::CloseWait && !socket.can_recv() {
            socket.close();
        }
        if matches!(socket.state(), State::Closed | State::TimeWait) {
            socket.abort();
            guest.sockets.remove(*handle);
            *handle = guest.listen(80);
        }
    }
}

/// A stream of bytes that is the same at both ends, with its length so far.
#[derive(Default)]
struct Numbers(usize);

impl Numbers {
    fn next(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count);
        while bytes.len() < count {
            let rest = Self::from(self.0);
            let piece = &rest[..rest.len().min(count - bytes.len())];
            bytes.extend_from_slice(piece);
            self.0 += piece.len();
        }
        bytes
    }

    fn check(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let rest = Self::from(self.0);
            let (piece, behind) = bytes.split_at(rest.len().min(bytes.len()));
            assert!(*piece == rest[..piece.len()], "after {}", self.0);
            self.0 += piece.len();
            bytes = behind;
        }
    }

    /// The bytes at a position and behind it: a pattern whose length has nothing in common with that of anything that moves.
    fn from(position: usize) -> &'static [u8] {
        static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
            (0..99_991_u32).map(|number| (number.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
        });
        &PATTERN[position % PATTERN.len()..]
    }
}

const TOTAL: usize = 50 << 20;
const CHUNK: usize = 64 << 10;
