//! The life of a program between its kernel and its `main`.

use palisade_abi::boot_info;
use palisade_services::command_line;

use crate::arch;
use crate::arguments::Arguments;
use crate::{boot, clock, console, exit, sleep, status};

/// What a program gets when it starts.
#[derive(Debug)]
pub struct StartInfo {
    /// The command line, without the options for the bindings.
    pub command_line: &'static str,
    /// How many times the subject was started: 1 after boot.
    pub generation: u64,
    memory_end: u64,
}

impl StartInfo {
    /// The words of the command line.
    #[must_use]
    pub fn arguments(&self) -> Arguments {
        Arguments::of(self.command_line)
    }

    /// The memory that the program may use as it likes. Only the first call returns it.
    #[must_use]
    pub fn heap(&self) -> Option<&'static mut [u8]> {
        arch::heap(self.memory_end)
    }
}

/// What the macros [`crate::unikernel`] and [`crate::subject`] define.
#[doc(hidden)]
pub struct Entry {
    pub main: fn(&StartInfo) -> i32,
    pub speaks: bool,
}

/// Runs the program on its final stack.
pub(crate) extern "C" fn start(_boot_info: u64, generation: u64) -> ! {
    arch::catch_exceptions();
    clock::start();
    status::started(generation);
    sleep::start();
    let place = console::start();

    let (info, text) = boot_info::read(arch::boot_info()).unwrap_or((boot_info::BootInfo::default(), &[]));
    let (verbosity, command_line) = command_line::split(text);
    let entry = arch::entry();
    if entry.speaks && verbosity.shows_boot() {
        boot::speak();
        boot::report(place.as_ref(), info.mem_size);
    }
    exit::exit((entry.main)(&StartInfo { command_line, generation, memory_end: info.mem_size }))
}
