//! Lines of text in the channel `debuglog`.

use core::fmt;

use crate::channel::Writer;
use crate::info::{self, SCHEDULING_INFO, load};

/// The console.
pub(crate) struct Console {
    channel: Writer,
    text: [u8; 56],
    used: usize,
}

impl Console {
    /// Starts the channel. A unikernel without one cannot say anything, and does not go on.
    pub(crate) fn start() -> Option<Self> {
        let (address, length) = info::memory("debuglog")?;
        Some(Self {
            channel: Writer::start(address, length, 0xf007_8909_4b6f_70cf, 64),
            text: [0; 56],
            used: 0,
        })
    }

    fn flush(&mut self) {
        let mut element = [0; 64];
        element[..8].copy_from_slice(&load(SCHEDULING_INFO).to_le_bytes());
        element[8..].copy_from_slice(&self.text);
        self.channel.write(&element);
        (self.text, self.used) = ([0; 56], 0);
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.text[self.used] = byte;
            self.used += 1;
            if byte == b'\n' || self.used == self.text.len() {
                self.flush();
            }
        }
        Ok(())
    }
}
