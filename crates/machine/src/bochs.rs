//! Bochs: its configuration for a machine, and what its log and its standard output say.
//!
//! Nothing is written into the file system: configuration, debugger commands and the disc are files in memory, the serial
//! port and the log are pipes. Debian's Bochs has its debugger built in; its only command is to continue. Facts: the manual
//! page bochsrc(5), and the log of Bochs 2.7.

use std::env;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::Child;
use crate::machine::{file_in_memory, path_of};
use crate::run::{Event, Kind, Source, Started, pipe};
use crate::{Accelerator, Error, Image, Lines, Machine, OnReset, Program, Stream};

/// Starts Bochs at `path` with a machine, which [`require_possible`] has looked at.
pub(crate) fn start(path: &Path, machine: &Machine<'_>) -> io::Result<Started> {
    let (serial, serial_end) = pipe()?;
    let (log, log_end) = pipe()?;
    let (screen, screen_end) = pipe()?;
    let disc = machine.image.in_memory()?;
    let [disc_number, serial_number, log_number] = [&disc, &serial_end, &log_end].map(AsRawFd::as_raw_fd);
    let configuration =
        file_in_memory(configuration(machine, disc_number, serial_number, log_number).as_bytes())?;
    let commands = file_in_memory(b"c\n")?;
    let mut command = Command::new(path);
    command.args(["-q", "-f", &path_of(configuration.as_raw_fd()), "-rc", &path_of(commands.as_raw_fd())]);
    // The screen is drawn for a terminal that nobody looks at: the smallest one.
    command.envs([("TERM", "xterm"), ("LINES", "1"), ("COLUMNS", "1")]);
    command.stdin(Stdio::null()).stdout(Stdio::from(screen_end)).stderr(Stdio::piped());
    let mut child = Child::start(command, vec![disc, serial_end, log_end, configuration, commands])?;
    let said = child.take_stderr().map(|said| Source::new(Kind::Said, OwnedFd::from(said)));
    let mut sources = vec![
        Source::new(Kind::Output(Stream::Serial), serial),
        Source::new(Kind::Screen, screen),
        Source::new(Kind::Events, log),
    ];
    sources.extend(said);
    Ok(Started { child, sources })
}

/// # Errors
/// [`Error::Unsuitable`] if Bochs cannot be this machine.
pub(crate) fn require_possible(machine: &Machine<'_>) -> Result<(), Error> {
    let unsuitable = match machine {
        Machine { image: Image::Kernel(_), .. } => "Bochs loads no kernel by itself, only from a disc",
        Machine { accelerator: Accelerator::Deterministic, .. } => {
            "Bochs counts no instructions for its clock"
        }
        Machine { accelerator: Accelerator::Kvm, .. } => NO_ACCELERATOR,
        Machine { network: Some(_), .. } => "Bochs has no network card that a system could use (virtio)",
        Machine { memory, .. } if *memory > MOST_MEMORY => "Bochs emulates at most 2 GiB of memory",
        _ => return Ok(()),
    };
    Err(Error::Unsuitable(unsuitable))
}

/// # Errors
/// [`Error::FileMissing`] if a part of Bochs' firmware is not installed.
pub(crate) fn find_firmware() -> Result<(), Error> {
    [BIOS, VIDEO_BIOS].iter().map(|name| shared(name)).try_for_each(|path| {
        let missing = || Error::FileMissing { program: Program::Bochs, path: path.clone() };
        if path.is_file() { Ok(()) } else { Err(missing()) }
    })
}

/// What Bochs logs.
pub(crate) struct Log {
    on_reset: OnReset,
    /// Switching the machine on is a reset too.
    on: bool,
}

impl Log {
    pub(crate) const fn new(on_reset: OnReset) -> Self {
        Self { on_reset, on: false }
    }

    /// What a line says that matters.
    pub(crate) fn event(&mut self, line: &[u8]) -> Option<Event> {
        let line = String::from_utf8_lossy(line);
        if line.ends_with(SHUT_DOWN) {
            return Some(Event::PowerOff);
        }
        if !line.ends_with("bx_pc_system_c::Reset(HARDWARE) called") || !mem::replace(&mut self.on, true) {
            return None;
        }
        Some(match self.on_reset {
            OnReset::End => Event::LastReset,
            OnReset::BootAgain => Event::Reset,
        })
    }
}

/// What Bochs writes to its standard output: the console of the machine, among lines of the debugger.
#[derive(Default)]
pub(crate) struct Screen {
    lines: Lines,
    begun: bool,
}

impl Screen {
    /// Takes the next piece; gives what the machine wrote.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.lines.push(bytes).into_iter().filter(|line| is_the_machines(&mut self.begun, line)).fold(
            Vec::new(),
            |mut all, line| {
                all.extend_from_slice(&line);
                all.push(b'\n');
                all
            },
        )
    }

    /// What the machine wrote last, if it did not end its line.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let line = self.lines.finish().unwrap_or_default();
        if is_the_machines(&mut self.begun, &line) { line } else { Vec::new() }
    }
}

/// The debugger says when it is before the first instruction and after a reset, and shows a CPU's next instruction where the
/// run begins and ends: `(0) [0x0000fffffff0] f000:fff0 ...` and `(0).[102980282] [0x00000010a9c0] ...`.
fn is_the_machines(begun: &mut bool, line: &[u8]) -> bool {
    let says_when = line.starts_with(b"Next at t=");
    *begun |= says_when;
    *begun && !says_when && !matches!(line, [b'(', b'0'..=b'9', ..])
}

/// Why Bochs ended, from what it wrote to its standard error.
pub(crate) fn last_words(said: &str) -> &str {
    let Some((_, rest)) = said.split_once("Bochs is exiting with the following message:\n") else {
        return said;
    };
    rest.split_once("\n====").map_or(rest, |(words, _)| words)
}

/// The configuration. It has Intel's 64-bit processor with everything that the kernel can use; a wrapper of the emulator
/// can choose another one by a further argument.
fn configuration(machine: &Machine<'_>, disc: RawFd, serial: RawFd, log: RawFd) -> String {
    let (bios, video_bios) = (shared(BIOS), shared(VIDEO_BIOS));
    let (bios, video_bios) = (bios.display(), video_bios.display());
    let mebibytes = machine.memory.div_ceil(1 << 20);
    let (disc, serial, log) = (path_of(disc), path_of(serial), path_of(log));
    let cpus = machine.cpus;
    format!(
        "\
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, e1000=0
display_library: term
config_interface: textconfig
romimage: file={bios}
vgaromimage: file={video_bios}
memory: guest={mebibytes}, host={mebibytes}
cpu: model={CPU_MODEL}, count={cpus}, ips={INSTRUCTIONS_PER_SECOND}, reset_on_triple_fault=1, ignore_bad_msrs=0
clock: sync=none, time0=utc
boot: cdrom
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={disc}, status=inserted
com1: enabled=1, mode=file, dev={serial}
port_e9_hack: enabled=1
log: {log}
panic: action=fatal
error: action=ignore
info: action=report
debug: action=ignore
sound: waveoutdrv=dummy
"
    )
}

/// A file that comes with Bochs.
fn shared(name: &str) -> PathBuf {
    let directory = env::var_os("BXSHARE").map_or_else(|| PathBuf::from("/usr/share/bochs"), PathBuf::from);
    directory.join(name)
}

pub(crate) const NO_ACCELERATOR: &str =
    "Bochs executes every instruction itself, so there is nothing to accelerate it";
/// What the word `Shutdown`, written to port 0x8900, makes Bochs log before it ends.
const SHUT_DOWN: &str = ">>PANIC<< Shutdown port: shutdown requested";
const BIOS: &str = "BIOS-bochs-latest";
const VIDEO_BIOS: &str = "VGABIOS-lgpl-latest";
const CPU_MODEL: &str = "corei7_skylake_x";
/// How fast the machine's clocks run, measured in its instructions: the fewer, the shorter the firmware waits.
const INSTRUCTIONS_PER_SECOND: u32 = 15_000_000;
/// More would be kept in a file.
const MOST_MEMORY: u64 = 2 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reset_is_switching_on() {
        let reset = b"00000000000i[SYS   ] bx_pc_system_c::Reset(HARDWARE) called";
        let events = |on_reset| {
            let mut log = Log::new(on_reset);
            [(); 3].map(|()| log.event(reset))
        };
        assert_eq!(events(OnReset::End), [None, Some(Event::LastReset), Some(Event::LastReset)]);
        assert_eq!(events(OnReset::BootAgain), [None, Some(Event::Reset), Some(Event::Reset)]);
        let off = b"00102980280p[UNMAP ] >>PANIC<< Shutdown port: shutdown requested";
        assert_eq!(Log::new(OnReset::End).event(off), Some(Event::PowerOff));
        let other = b"00000000000i[DEV   ] init_dev of 'pci' plugin device by virtual method";
        assert_eq!(Log::new(OnReset::End).event(other), None);
    }

    #[test]
    fn the_console_is_what_the_debugger_does_not_say() {
        let said = b"=====\n   Bochs x86 Emulator 2.7\n=====\nNext at t=0\n\
            (0) [0x0000fffffff0] f000:fff0 (unk. ctxt): jmpf 0xf000:e05b          ; ea5be000f0\n\
            (1) [0x0000fffffff0] f000:fff0 (unk. ctxt): jmpf 0xf000:e05b          ; ea5be000f0\n\
            Palisade: system hello\nNext at t=49755796\nkernel: 468 exits\n\
            (0).[102980280] [0x00000010a9c0] 0008:10a9c0 (unk. ctxt): out dx, al\nno end";
        let mut screen = Screen::default();
        let mut heard: Vec<u8> = said.chunks(7).flat_map(|piece| screen.push(piece)).collect();
        heard.extend(screen.finish());
        assert_eq!(String::from_utf8_lossy(&heard), "Palisade: system hello\nkernel: 468 exits\nno end");
    }

    #[test]
    fn the_last_words_are_the_message_between_two_lines() {
        let said = "\
Bochs connected to screen \"/dev/pts/0\"
==========
Bochs is exiting with the following message:
[CPU0  ] no more
==========
";
        assert_eq!(last_words(said), "[CPU0  ] no more");
        assert_eq!(last_words("bochs: not found"), "bochs: not found");
    }
}
