//! What a connection has encoded and not sent yet.

use alloc::vec::Vec;

/// A buffer that is filled with zeros when it grows, and not each time something is encoded into it.
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// What was encoded ends here.
    end: usize,
    sent: usize,
}

impl Outgoing {
    /// A buffer that does not grow before it holds more than `capacity` bytes.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), end: 0, sent: 0 }
    }

    /// Room for the next bytes, behind those that are there.
    pub(crate) fn room(&mut self, size: usize) -> &mut [u8] {
        let end = self.end + size;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(self.end..end).unwrap_or_default()
    }

    /// So many bytes of the room were used.
    pub(crate) fn used(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// What is to be sent.
    pub(crate) fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..self.end).unwrap_or_default()
    }

    /// So many bytes of the rest were sent.
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.end {
            (self.sent, self.end) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_sent_in_its_order_and_nothing_twice() {
        let mut outgoing = Outgoing::with_capacity(4);
        outgoing.room(8)[..5].copy_from_slice(b"hello");
        outgoing.used(5);
        outgoing.room(8)[..6].copy_from_slice(b" world");
        outgoing.used(6);
        assert_eq!(outgoing.rest(), b"hello world");
        outgoing.sent(7);
        assert_eq!(outgoing.rest(), b"orld");
        outgoing.sent(4);
        assert_eq!(outgoing.rest(), b"");
        outgoing.room(2).copy_from_slice(b"ab");
        outgoing.used(2);
        assert_eq!(outgoing.rest(), b"ab", "the room begins anew");
    }
}
