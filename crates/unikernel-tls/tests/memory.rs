//! What a connection can hold of the server's memory, measured: who admits connections counts with it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use embedded_io_async::{ErrorType, Read, Write};
use palisade_unikernel_tls::{Acceptor, MOST_MEMORY};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

#[test]
fn a_connection_holds_no_more_memory_than_it_says() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let acceptor = Acceptor::new(chain.as_bytes(), key.as_bytes(), now).unwrap();
    for version in [&TLS12, &TLS13] {
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let peer = Client(ClientConnection::new(Arc::new(config), name).unwrap());
        let before = HELD.get();
        COUNTING.set(true);
        let mut stream = ready(acceptor.accept(peer)).unwrap_or_else(|_| panic!("it trusts us"));
        // Records of all lengths, and a reader that at first leaves most of each where it is.
        for length in [1, 9000, 16_384, 18_000, 3, 12_000, 50_000] {
            uncounted(|| stream.stream().0.writer().write_all(&vec![1; length]).unwrap());
            ready(stream.read(&mut [0; 1])).unwrap();
            ready(stream.write_all(&[2; 40_000])).unwrap();
            let held = HELD.get() - before;
            assert!(held <= MOST_MEMORY as isize, "{version:?}: {held} bytes after {length}");
            ready(stream.read_exact(&mut vec![0; length - 1])).unwrap();
        }
        COUNTING.set(false);
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// A client behind a stream that never makes anybody wait. Its own memory is not counted.
struct Client(ClientConnection);

impl ErrorType for Client {
    type Error = Infallible;
}

impl Read for Client {
    async fn read(&mut self, mut buffer: &mut [u8]) -> Result<usize, Infallible> {
        Ok(uncounted(|| self.0.write_tls(&mut buffer).unwrap()))
    }
}

impl Write for Client {
    async fn write(&mut self, mut bytes: &[u8]) -> Result<usize, Infallible> {
        uncounted(|| {
            let length = self.0.read_tls(&mut bytes).unwrap();
            let state = self.0.process_new_packets().unwrap();
            let mut plain = vec![0; state.plaintext_bytes_to_read()];
            std::io::Read::read_exact(&mut self.0.reader(), &mut plain).unwrap();
            Ok(length)
        })
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn uncounted<T>(action: impl FnOnce() -> T) -> T {
    let counting = COUNTING.replace(false);
    let result = action();
    COUNTING.set(counting);
    result
}

/// Runs a future that never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nobody is there to wait for"),
    }
}

/// The system's allocator, which counts what this thread holds.
struct Counting;

// SAFETY: every call is one of the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps what this function asks for, which is what that one asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above; all blocks come from there.
        unsafe { System.dealloc(block, layout) }
    }
}

fn count(bytes: isize) {
    if COUNTING.get() {
        HELD.set(HELD.get() + bytes);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<isize> = const { Cell::new(0) };
}
