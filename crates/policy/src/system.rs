//! A description after reading: every value in its type, defaults filled in, places kept. Nothing is checked against
//! anything else yet; that is what the rules do.

mod network;
mod outbound;

use std::sync::Arc;

use palisade_abi::plan::FatalAction;
use palisade_abi::supervisor_config::Restart;

use crate::elf::{InitStub, Program};
use crate::machine::MachineDescription;
use crate::plan::{Exceptions, SubjectKind};
use crate::source::Located;

pub use network::{Network, Port, Protocol, Publish};
pub(crate) use network::{input_name, output_name};
pub use outbound::{Destination, Host, NoDestination, Outbound};

/// A system as described.
#[derive(Debug, Clone)]
pub struct System {
    /// Its name.
    pub name: Located<String>,
    /// The machine; `None` if its file could not be read, which is a problem of its own.
    pub machine: Option<Located<Arc<MachineDescription>>>,
    /// Name of the power-off method, if the description chooses one; else the machine's first.
    pub power_off: Option<Located<String>>,
    /// What happens when every unikernel has ended for good.
    pub on_end: EndAction,
    /// What a fatal kernel condition does.
    pub on_fatal: FatalAction,
    /// Subjects in the order of their identifiers: time, log, supervisor, nic if it is needed, then the unikernels as
    /// described.
    pub subjects: Vec<Subject>,
    /// The program that restores a subject's memory before it starts; `None` if it could not be read.
    pub init: Option<InitStub>,
    /// Channels between unikernels.
    pub channels: Vec<Channel>,
    /// Events between unikernels.
    pub events: Vec<Event>,
    /// How unikernels reach the machine's network.
    pub network: Network,
    /// When everything runs.
    pub schedule: Schedule,
}

impl System {
    /// The identifier of a subject.
    #[must_use]
    pub fn subject_id(&self, name: &str) -> Option<usize> {
        self.subjects.iter().position(|subject| subject.name.value == name)
    }

    /// The partitions as the description gives them, or one per CPU in use with a group for every subject.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        if self.schedule.partitions.is_empty() {
            self.default_partitions()
        } else {
            self.schedule.partitions.clone()
        }
    }

    fn default_partitions(&self) -> Vec<Partition> {
        let mut cpus: Vec<u16> = self.subjects.iter().map(Subject::default_cpu).collect();
        cpus.sort_unstable();
        cpus.dedup();
        let partition = |cpu: &u16| Partition {
            name: self.name.clone().map(|_| format!("cpu{cpu}")),
            cpu: self.name.clone().map(|_| *cpu),
            groups: (self.subjects.iter().filter(|subject| subject.default_cpu() == *cpu))
                .map(|subject| vec![subject.name.clone()])
                .collect(),
        };
        cpus.iter().map(partition).collect()
    }
}

/// What happens when every unikernel has ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndAction {
    /// The machine is powered off.
    PowerOff,
    /// The machine is reset.
    Reset,
    /// The system stays up.
    Stay,
}

/// A subject as described.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its name.
    pub name: Located<String>,
    /// What it is.
    pub kind: SubjectKind,
    /// Its program as the description calls it.
    pub program_name: Located<String>,
    /// Its program; `None` if it could not be read, which is a problem of its own.
    pub program: Option<Arc<Program>>,
    /// Its command line.
    pub command_line: Located<String>,
    /// Bytes of RAM behind its program.
    pub ram: Located<u64>,
    /// When it is started anew.
    pub restart: Restart,
    /// Pause before the first restart, in microseconds; it doubles with each further one.
    pub backoff: Located<u64>,
    /// The longest pause, in microseconds.
    pub backoff_max: Located<u64>,
    /// Who takes its exceptions.
    pub exceptions: Exceptions,
    /// What it may do to the machine as a whole.
    pub rights: Vec<MachineRight>,
    /// Its CPU, if the description gives one.
    pub cpu: Option<Located<u16>>,
    /// Bytes of its log channel.
    pub log_size: Located<u64>,
    /// Files that it reads as memory regions.
    pub data: Vec<Data>,
    /// Where it is published while an emulator runs the system.
    pub publish: Vec<Located<Publish>>,
}

impl Subject {
    /// Its CPU where no schedule says otherwise.
    fn default_cpu(&self) -> u16 {
        self.cpu.as_ref().map_or(0, |cpu| cpu.value)
    }
}

/// A file that a subject reads as a memory region.
#[derive(Debug, Clone)]
pub struct Data {
    /// The region's name; it stands where the file was named.
    pub name: Located<String>,
    /// The bytes.
    pub contents: Arc<[u8]>,
    /// What is in it, if it is a website.
    pub site: Option<palisade_site::Summary>,
}

/// Something that a subject may do to the machine as a whole: it gets a source event for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineRight {
    /// Power it off.
    PowerOff,
    /// Reset it.
    Reset,
    /// Stop the system with a crash record.
    Panic,
    /// Start the network driver anew.
    RestartNetwork,
}

impl MachineRight {
    /// The name of the source event.
    pub(crate) const fn event(self) -> &'static str {
        match self {
            Self::PowerOff => "system_power_off",
            Self::Reset => "system_reset",
            Self::Panic => "system_panic",
            Self::RestartNetwork => "network_restart",
        }
    }
}

/// One end of a channel or event: a subject and a name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The subject.
    pub subject: String,
    /// The resource or event there.
    pub name: String,
}

/// A channel as described.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name in the system.
    pub name: Located<String>,
    /// Who writes.
    pub writer: Located<End>,
    /// Who reads.
    pub reader: Located<End>,
    /// Bytes.
    pub size: Located<u64>,
    /// Whether the writer gets an event that wakes the reader.
    pub signal: bool,
}

/// An event as described.
#[derive(Debug, Clone)]
pub struct Event {
    /// Who raises it, and the source event's name there.
    pub from: Located<End>,
    /// Where it arrives, and the target event's name there.
    pub to: Located<End>,
    /// A [`palisade_abi::plan::source_action`] on the raiser.
    pub action: u8,
    /// What it does where it arrives.
    pub arrival: Located<Arrival>,
    /// Whether the target runs next.
    pub handover: Located<bool>,
}

/// What an event does where it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Wakes the subject.
    Wake,
    /// Injects an interrupt vector.
    Inject(u8),
    /// Starts the subject anew.
    Reset,
}

/// When everything runs, as described.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Length of a minor frame that has no length of its own, in microseconds.
    pub minor_frame: Located<u64>,
    /// Partitions; empty for the default.
    pub partitions: Vec<Partition>,
    /// Minor frames of CPUs; CPUs that are not listed take their partitions in turn.
    pub cpus: Vec<CpuFrames>,
}

/// A scheduling partition as described.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Its name.
    pub name: Located<String>,
    /// Its CPU.
    pub cpu: Located<u16>,
    /// Names of its subjects, group by group.
    pub groups: Vec<Vec<Located<String>>>,
}

/// The minor frames of a CPU as described.
#[derive(Debug, Clone)]
pub struct CpuFrames {
    /// The CPU.
    pub cpu: Located<u16>,
    /// Its minor frames: the partition's name and the length in microseconds.
    pub frames: Vec<(Located<String>, Located<u64>)>,
}
