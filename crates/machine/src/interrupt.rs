//! Being asked to stop: Ctrl-C and its relatives.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

/// Catches the requests to stop from its making to its end. They then end a [`crate::run()`] in good order in place of
/// killing the process on the spot.
#[derive(Debug)]
pub struct Interrupts {
    last: Arc<AtomicUsize>,
    at_once: Arc<AtomicBool>,
    wake: UnixStream,
    registered: Vec<SigId>,
}

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal went away.
    HangUp,
}

impl Interrupts {
    /// Begins to catch.
    ///
    /// # Errors
    /// If the operating system refuses.
    pub fn catch() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        let mut this = Self { last: Arc::default(), at_once: Arc::default(), wake, registered: Vec::new() };
        for signal in Signal::ALL {
            let number = signal.number();
            this.registered.push(flag::register_conditional_default(number, Arc::clone(&this.at_once))?);
            // In this order: whoever is woken finds the number.
            let value = usize::try_from(number).unwrap_or_default();
            this.registered.push(flag::register_usize(number, Arc::clone(&this.last), value)?);
            this.registered.push(low_level::pipe::register(number, waker.try_clone()?)?);
        }
        Ok(this)
    }

    /// The last request, if there was one.
    #[must_use]
    pub fn received(&self) -> Option<Signal> {
        let number = self.last.load(Ordering::SeqCst);
        Signal::ALL.into_iter().find(|signal| usize::try_from(signal.number()) == Ok(number))
    }

    /// As soon as this is true, the next request kills the process on the spot, as if nobody caught it: for when good order takes
    /// somebody who does nothing.
    #[must_use]
    pub fn at_once(&self) -> &AtomicBool {
        &self.at_once
    }

    /// Becomes readable with the first request, and stays so.
    #[must_use]
    pub fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            low_level::unregister(id);
        }
    }
}

impl Signal {
    const ALL: [Self; 3] = [Self::Interrupt, Self::Terminate, Self::HangUp];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
            Self::HangUp => SIGHUP,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::HangUp => "SIGHUP",
        })
    }
}
