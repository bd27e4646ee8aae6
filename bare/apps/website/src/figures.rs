//! What the server has done, for the status page.

use core::sync::atomic::{AtomicU64, Ordering};

/// The figures of this server. Its counters on the status page are, from the first: requests that were answered, connections,
/// bytes of bodies that were sent.
pub(crate) static FIGURES: Figures =
    Figures { requests: AtomicU64::new(0), connections: AtomicU64::new(0), bytes: AtomicU64::new(0) };

pub(crate) struct Figures {
    requests: AtomicU64,
    connections: AtomicU64,
    bytes: AtomicU64,
}

impl Figures {
    /// A client has connected.
    pub(crate) fn connection(&self) {
        count(CONNECTIONS, &self.connections, 1);
    }

    /// A request was answered with a body of so many bytes.
    pub(crate) fn request(&self, bytes: u64) {
        count(REQUESTS, &self.requests, 1);
        count(BYTES, &self.bytes, bytes);
    }
}

fn count(index: usize, figure: &AtomicU64, more: u64) {
    let before = figure.fetch_add(more, Ordering::Relaxed);
    solo5::status::set_counter(index, before.wrapping_add(more));
}

const REQUESTS: usize = 0;
const CONNECTIONS: usize = 1;
const BYTES: usize = 2;
