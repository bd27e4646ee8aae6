//! The console: lines of text in the channel `debuglog`.

use core::fmt;
use core::num::NonZeroU64;

use palisade_abi::channel::Writer;
use palisade_abi::log_element::{LogBuffer, LogElement};
use palisade_abi::scheduling_info::SchedulingInfo;
use palisade_abi::volatile::Shared;

use crate::arch::{self, Global};
use crate::event::Event;

/// Writes text. Each line becomes visible with its newline, or with [`flush`].
///
/// A subject without a `debuglog` has no console; its text goes nowhere.
pub fn write(text: &[u8]) {
    CONSOLE.with(|console| {
        if let Some(console) = console {
            console.write(text);
        }
    });
}

/// Writes a line of text.
pub fn write_line(text: &[u8]) {
    write(text);
    write(b"\n");
}

/// Makes an unfinished line visible.
pub fn flush() {
    CONSOLE.with(|console| {
        if let Some(console) = console {
            console.flush();
        }
    });
}

/// The console as the target of `core::fmt`: see [`crate::println`].
#[derive(Debug, Clone, Copy)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}

/// What the boot output says about the channel.
pub(crate) struct Place {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) epoch: u64,
}

/// Starts the channel. `None` if there is none.
pub(crate) fn start() -> Option<Place> {
    let memory = arch::subject_info()?.memory(CHANNEL)?;
    // A restart within the same minor frame must have another epoch than the start: the cycle counter, not the frame's.
    let epoch = NonZeroU64::new(arch::cycles())?;
    let writer = Writer::start(arch::shared_memory(CHANNEL)?, epoch)?;
    let started = OpenConsole {
        writer,
        buffer: LogBuffer::new(),
        frame: arch::scheduling_info()?,
        ready: Event::named("log_ready"),
    };
    CONSOLE.with(|console| *console = Some(started));
    Some(Place { address: memory.address, size: memory.size, epoch: epoch.get() })
}

struct OpenConsole {
    writer: Writer<Shared<'static>, LogElement>,
    buffer: LogBuffer,
    frame: SchedulingInfo<'static>,
    ready: Option<Event>,
}

impl OpenConsole {
    fn write(&mut self, text: &[u8]) {
        let timestamp = self.frame.frame_start();
        for byte in text {
            if let Some(element) = self.buffer.push(*byte, timestamp) {
                self.writer.write(&element);
            }
            if *byte == b'\n' {
                self.announce();
            }
        }
    }

    fn flush(&mut self) {
        let timestamp = self.frame.frame_start();
        if let Some(element) = self.buffer.flush(timestamp) {
            self.writer.write(&element);
            self.announce();
        }
    }

    /// The log looks at its channels now and then in any case, so a program that never sleeps is heard as well.
    fn announce(&self) {
        if let Some(ready) = self.ready {
            ready.postpone();
        }
    }
}

static CONSOLE: Global<Option<OpenConsole>> = Global::new(None);

const CHANNEL: &str = "debuglog";
