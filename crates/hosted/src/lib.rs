//! Runs a system on Linux, without an emulator and without privileges.
//!
//! The plan is the one that an image would be made from. Each unikernel becomes a process whose address space holds what the
//! plan gives the subject, at the plan's addresses and with the plan's rights, and nothing else; it can make five system
//! calls, and reaches nothing but event descriptors. Channels are memory that exactly two processes share. One more process
//! is the network.
//!
//! What the kernel, `supervisor`, `log` and `time` do in a machine, [`run()`] does itself, by the code that they use. It is
//! not involved when unikernels, or a unikernel and the network, exchange data.

#![deny(unsafe_code)]

mod addresses;
mod capabilities;
mod clock;
mod confine;
mod content;
mod debugger;
mod delivery;
mod descriptors;
mod ending;
mod error;
mod filter;
mod journal;
mod memory;
mod namespaces;
mod network;
mod pages;
mod refuse;
mod renewal;
mod run;
mod spawn;
mod subject;
mod supervisor;
mod tap;
mod trace;
mod wiring;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use palisade_abi::status::COUNTERS;
use palisade_policy::plan::Plan;

pub use addresses::own_addresses;
pub use error::Error;
pub use network::{Network, PortAddresses, serve as serve_network};
pub use renewal::{Renewals, Renewed, Renewer, renewals};
pub use run::run;
pub use tap::open_tap;

/// What to run, and how.
#[derive(Debug)]
pub struct Settings<'a> {
    /// The system.
    pub plan: &'a Plan,
    /// The launcher: the program `launcher` of the freestanding workspace.
    pub launcher: &'a [u8],
    /// Its network; without one, subjects with network devices reach nobody.
    pub network: Option<&'a Network>,
    /// How long it may run.
    pub limit: Option<Duration>,
    /// The run ends when this becomes readable.
    pub stop: Option<BorrowedFd<'a>>,
    /// Becomes true if the run has ended and some seconds later the sink has not taken all the rest, which is waited for: only whoever
    /// ends the calling process can end that.
    pub untaken: Option<&'a AtomicBool>,
    /// The subject that waits, at each start, until a debugger is attached to its process.
    pub debug: Option<&'a str>,
    /// New content for subjects, while they run.
    pub renewals: Option<&'a Renewals>,
    /// How often it is said how the subjects are.
    pub figures: Option<Duration>,
    /// Whether events and channels are watched. Events take the way by the calling process then.
    pub trace: bool,
}

/// What happens during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening<'a> {
    /// What the serial port of a machine would carry: lines of the form `[name] text`, each ended by CR and LF. The lines
    /// of `supervisor` say what becomes of the others.
    Output(&'a [u8]),
    /// A subject, or the network in the place of `nic`, is about to run, or is waiting for a debugger to be attached.
    Started {
        /// Its identifier.
        subject: u16,
        /// How many times it was started.
        generation: u64,
        /// Number of its process.
        process: i32,
    },
    /// What was seen of an event or a channel.
    Trace(&'a Trace<'a>),
    /// How the unikernels are.
    Figures(&'a [Figures]),
    /// Something about this computer that the user should know.
    Remark(&'a str),
}

/// What was seen of an event or a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace<'p> {
    /// When it was seen, since the run began: what happened lies before that.
    pub at: Duration,
    /// Name of the subject that it comes from.
    pub from: &'p str,
    /// Name of the one that it goes to; that of the subject itself, if it goes to the machine.
    pub to: &'p str,
    /// Name of the event at its source, or of the channel.
    pub name: &'p str,
    /// What it is.
    pub traffic: Traffic,
}

/// What passes between subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traffic {
    /// An event, which was passed on.
    Event {
        /// What it does.
        effect: Effect,
        /// How often it was raised since the last time, as far as the raiser's word goes.
        times: u64,
    },
    /// An Ethernet frame in a channel.
    Frame {
        /// Its bytes.
        length: usize,
        /// What it says it is: protocols, addresses, ports.
        what: String,
    },
    /// Frames that were overwritten before they were seen.
    Unseen {
        /// How many, as far as the writer's word goes.
        frames: u64,
    },
    /// Elements of a channel with another protocol.
    Elements {
        /// How many, as far as the writer's word goes.
        count: u64,
        /// Bytes of each.
        size: u64,
    },
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Wakes its target, if that sleeps.
    Wakes,
    /// Starts its target anew.
    Restarts,
    /// Powers the machine off.
    PowersOff,
    /// Resets the machine.
    Resets,
    /// Stops the system.
    Panics,
    /// Nothing: its target notices what it is about by itself.
    Nothing,
}

/// How a unikernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Its identifier.
    pub subject: u16,
    /// Number of its process, if it has one.
    pub process: Option<i32>,
    /// Its progress counters; what they count is its own business.
    pub counters: [u64; COUNTERS],
}

/// What whoever takes the happenings wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on.
    Continue,
    /// End the system.
    End,
}

/// Takes what happens, in its order, in a thread of its own: nothing waits for it.
pub type Sink<'a> = dyn FnMut(Happening<'_>) -> io::Result<Next> + Send + 'a;

/// What is known of a run after its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// How long it ran.
    pub duration: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The system would have powered its machine off.
    PowerOff,
    /// It would have reset it.
    Reset,
    /// The subject with this name stopped the system.
    Panic(String),
    /// The time given was used up.
    TimeRanOut,
    /// [`Settings::stop`] became readable.
    Asked,
    /// Whoever takes the happenings had enough.
    Stopped,
}
