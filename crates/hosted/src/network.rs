//! The network process: the switch of the driver `nic`, outside of which this computer's network lies.
//!
//! It executes the calling program once more, so that nothing of this process is in its memory. It gets the channels of its
//! ports and the sockets that are bound already; what it has to know is a text in memory. [`serve`] is what it does.

mod child;
mod message;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use palisade_abi::channel::{EPOCH, INACTIVE};
use palisade_abi::launch::Word;
use palisade_abi::layout::{CONFIG, PAGE, STATUS};
use palisade_abi::nic_config;
use palisade_abi::report::SubjectReport;
use palisade_abi::status::StatusPage;
use palisade_abi::volatile::Memory;
use palisade_gateway::{Listener, World};
use palisade_policy::plan::{Backing, Subject, SubjectKind};
use rustix::pipe::{PipeFlags, pipe_with};
use zerocopy::{FromZeros, IntoBytes};

use crate::descriptors::Waiter;
use crate::memory::{SharedMemory, sealed};
use crate::spawn::{Process, Program};
use crate::subject::Ground;
use crate::{Error, ending};

pub use child::serve;

use message::{Message, PortMessage};

/// The network of a system.
#[derive(Debug)]
pub struct Network {
    /// What it leads to.
    pub world: World,
    /// The MAC address of the gateway.
    pub mac: [u8; 6],
    /// The addresses behind each port, in the order of the system's ports.
    pub ports: Vec<PortAddresses>,
    /// A program that calls [`serve`] when it is started with `arguments`: `/proc/self/exe` is this one.
    pub program: PathBuf,
    /// Its arguments, its own name first.
    pub arguments: Vec<CString>,
}

/// The addresses of a unikernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortAddresses {
    /// Fixed ones, which nobody else can use.
    pub fixed: Vec<IpAddr>,
    /// The one that it gets if it asks for one.
    pub lease: Option<Ipv4Addr>,
}

/// The network process, and what it is made from.
pub(crate) struct HostedNetwork<'a> {
    /// Identifier of the subject whose place it takes.
    pub(crate) id: u16,
    /// How many times it was started.
    pub(crate) generation: u64,
    /// The name of that subject.
    pub(crate) name: &'a str,
    network: &'a Network,
    program: OwnedFd,
    /// What unikernels write comes to it by this descriptor.
    readable: OwnedFd,
    ports: Vec<Port<'a>>,
    status: Option<StatusPage<'a>>,
    life: Option<Life>,
}

/// A port of the switch, from the driver's configuration.
struct Port<'a> {
    message: PortMessage,
    ready: BorrowedFd<'a>,
}

struct Life {
    process: Process,
    /// What it says, line by line.
    lines: File,
    unfinished: Vec<u8>,
    start: File,
    /// As long as this is open, the process knows that the host is there.
    _end: OwnedFd,
}

impl<'a> HostedNetwork<'a> {
    /// Prepares the network of a system; `None` if no subject has a network device.
    pub(crate) fn new(ground: &Ground<'a>, network: &'a Network) -> Result<Option<Self>, Error> {
        let plan = ground.plan;
        let nic = (0..).zip(&plan.subjects).find(|(_, subject)| subject.kind == SubjectKind::Nic);
        let Some((id, subject)) = nic else { return Ok(None) };
        let program = File::open(&network.program).map_err(Error::system("this program cannot be read"))?;
        let readable = ground.memory.to_be_read().map_err(Error::system("shared memory cannot be opened"))?;
        let ports = ports(ground, id, subject, network).ok_or(Error::Plan("its network is not complete"))?;
        let status = volatile(subject, STATUS).and_then(|at| ground.memory.part(at, PAGE)).map(StatusPage);
        let name = subject.name.as_str();
        Ok(Some(Self {
            id,
            generation: 0,
            name,
            network,
            program: program.into(),
            readable,
            ports,
            status,
            life: None,
        }))
    }

    /// Starts it, for the first time or anew.
    pub(crate) fn start(&mut self, ground: &Ground<'_>) -> Result<(), Error> {
        self.generation += 1;
        if let Some(status) = &self.status {
            status.begin(self.generation);
        }
        let failed = |what: &str| {
            let (subject, what) = (self.name.to_owned(), what.to_owned());
            move |cause: io::Error| Error::Launch { subject, what, cause }
        };
        let pipe = || pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(io::Error::from);
        let (lines, lines_end) = pipe().map_err(failed("a pipe"))?;
        let (start, start_end) = pipe().map_err(failed("a pipe"))?;
        let (end, end_end) = pipe().map_err(failed("a pipe"))?;
        let message = self.message().map_err(failed("what it has to know"))?;
        let fixed = [
            end.as_fd(),
            lines_end.as_fd(),
            start_end.as_fd(),
            message.as_fd(),
            ground.memory.as_fd(),
            self.readable.as_fd(),
            ground.wiring.network(),
        ];
        let ports = self.ports.iter().map(|port| port.ready);
        let descriptors: Vec<_> =
            fixed.into_iter().chain(ports).chain(sockets(&self.network.world)).collect();
        let process = Process::start(&Program {
            executable: self.program.as_fd(),
            arguments: &self.network.arguments,
            descriptors: &descriptors,
            start: child::START,
            signals: true,
            namespaces: ground.namespaces.of_network(),
        })
        .map_err(failed("a process"))?;
        self.life = Some(Life {
            process,
            lines: lines.into(),
            unfinished: Vec::new(),
            start: start.into(),
            _end: end_end,
        });
        Ok(())
    }

    /// Its process, if it has one.
    pub(crate) fn process(&self) -> Option<&Process> {
        self.life.as_ref().map(|life| &life.process)
    }

    /// Whether it has opened the channels to all unikernels, in which it tells them their addresses.
    pub(crate) fn is_open(&self, memory: &SharedMemory) -> bool {
        let is_open = |port: &Port<'_>| {
            let (offset, size) = port.message.input;
            memory
                .part(offset, size)
                .and_then(|input| input.load(EPOCH))
                .is_none_or(|epoch| epoch != INACTIVE)
        };
        self.ports.iter().all(is_open)
    }

    /// Becomes readable when it says something.
    pub(crate) fn speaking(&self) -> Option<BorrowedFd<'_>> {
        self.life.as_ref().map(|life| life.lines.as_fd())
    }

    /// Gives each complete line that it has said to `say`.
    pub(crate) fn hear(&mut self, mut say: impl FnMut(&[u8])) {
        let Some(life) = &mut self.life else { return };
        let mut buffer = [0; 4096];
        // As much as a pipe holds, but not for as long as somebody writes.
        for _ in 0..LONGEST_LINE / buffer.len() {
            let Ok(count @ 1..) = life.lines.read(&mut buffer) else { break };
            life.unfinished.extend_from_slice(&buffer[..count]);
        }
        while let Some(end) = life.unfinished.iter().position(|byte| *byte == b'\n') {
            say(&life.unfinished[..end]);
            life.unfinished.drain(..=end);
        }
        if life.unfinished.len() > LONGEST_LINE {
            say(&life.unfinished);
            life.unfinished.clear();
        }
    }

    /// Takes what is left of its process, if that has ended.
    pub(crate) fn ended(&mut self, waiter: &Waiter) -> Result<Option<SubjectReport>, Error> {
        let Some(life) = &mut self.life else { return Ok(None) };
        let status = life.process.status().map_err(Error::system("a process cannot be waited for"))?;
        let Some(status) = status else { return Ok(None) };
        let mut word = Word::new_zeroed();
        if life.start.read_exact(word.as_mut_bytes()).is_ok() && word.error != 0 {
            let cause = io::Error::from_raw_os_error(word.error.cast_signed());
            let what = match cause.kind() {
                io::ErrorKind::PermissionDenied => NOT_EXECUTABLE,
                _ => "the program cannot be executed",
            }
            .to_owned();
            return Err(Error::Launch { subject: self.name.to_owned(), what, cause });
        }
        self.leave(waiter);
        if let (Some(page), Some(code)) = (&self.status, status.exit_status()) {
            page.exit(code);
        }
        Ok(Some(ending::of_helper(&status)))
    }

    /// Ends its process, if it has one.
    pub(crate) fn leave(&mut self, waiter: &Waiter) {
        if let Some(life) = self.life.take() {
            waiter.forget(life.process.as_fd());
            waiter.forget(life.lines.as_fd());
        }
    }

    /// What the process has to know, as a file in memory.
    fn message(&self) -> io::Result<OwnedFd> {
        let ports = self.ports.iter().map(|port| port.message.clone()).collect();
        let message = Message::new(self.generation, self.network.mac, ports, &self.network.world);
        let text = serde_json::to_vec(&message)?;
        sealed("palisade-network", text.len() as u64, [(0, text.as_slice())])
    }
}

/// The ports of the driver's configuration, with the addresses that the network has for them.
fn ports<'a>(ground: &Ground<'a>, id: u16, nic: &Subject, network: &Network) -> Option<Vec<Port<'a>>> {
    let config = nic.regions.iter().find(|region| region.address == CONFIG)?;
    let Backing::Content(bytes) = &config.backing else { return None };
    let words = crate::content::aligned(bytes);
    let (_, ports) = nic_config::parse(words.as_bytes())?;
    let port = |(number, port): (usize, &nic_config::Port)| {
        let event = nic.source_events.iter().find(|event| event.number == port.ready_event)?;
        let (subject, _) = event.target?;
        let addresses = network.ports.get(number).cloned().unwrap_or_default();
        ground.plan.subjects.get(usize::from(subject))?;
        Some(Port {
            message: PortMessage {
                subject: port.subject().to_owned(),
                device: port.device().to_owned(),
                input: (volatile(nic, port.input)?, port.input_size),
                output: (volatile(nic, port.output)?, port.output_size),
                recovers: port.recovers == 1,
                fixed: addresses.fixed,
                lease: addresses.lease,
            },
            ready: ground.wiring.frames(id, event.number, subject)?,
        })
    };
    ports.iter().enumerate().map(port).collect()
}

/// Where the volatile memory lies that a subject has at this address.
fn volatile(subject: &Subject, address: u64) -> Option<u64> {
    let region = subject.regions.iter().find(|region| region.address == address)?;
    match region.backing {
        Backing::Volatile(physical) => Some(physical),
        _ => None,
    }
}

/// The sockets of a world, in the order in which the process finds them.
fn sockets(world: &World) -> Vec<BorrowedFd<'_>> {
    match world {
        World::Tap(tap) => vec![tap.as_fd()],
        World::Gateway(gateway) => {
            gateway.published.iter().map(|published| socket(&published.listener)).collect()
        }
    }
}

fn socket(listener: &Listener) -> BorrowedFd<'_> {
    match listener {
        Listener::Tcp(socket) => socket.as_fd(),
        Listener::Udp(socket) => socket.as_fd(),
    }
}

/// A process has given up root's rights, if it had any, before it executes the program.
const NOT_EXECUTABLE: &str = "its user cannot execute the program of this command without root's rights";
/// A longer line is given on in pieces. Linux's pipes hold as much (pipe(7)).
const LONGEST_LINE: usize = 64 * 1024;
