//! What a unikernel says before its application runs.

use core::sync::atomic::{AtomicBool, Ordering};

use palisade_services::text::Text;

use crate::arch::Extent;
use crate::clock;
use crate::console::{self, Place};

/// Switches the lines of the bindings on: subjects of the system itself stay silent, and so does a unikernel whose
/// command line says so.
pub(crate) fn speak() {
    SPEAKS.store(true, Ordering::Relaxed);
}

/// Writes a line of the bindings, if they speak.
pub(crate) fn say(line: &[u8]) {
    if SPEAKS.load(Ordering::Relaxed) {
        console::write_line(line);
    }
}

/// The lines at the start, in the order that users of Solo5 know.
pub(crate) fn report(place: Option<&Place>, memory_end: u64) {
    if let Some(place) = place {
        let line = Text::<120>::new()
            .str("Solo5: Console: Muen Channel @ ")
            .hex(place.address)
            .str(", size ")
            .hex(place.size)
            .str(", epoch ")
            .hex(place.epoch);
        say(line.as_bytes());
    }
    for line in BANNER {
        say(line.as_bytes());
    }
    say(concat!("Solo5: Bindings version Palisade ", env!("CARGO_PKG_VERSION")).as_bytes());
    report_memory(memory_end);
    let hertz = u64::from(clock::kilohertz()) * 1000;
    let line = Text::<120>::new()
        .str("Solo5: Clock source: Muen PV clock, TSC frequency ")
        .decimal(hertz)
        .str(" Hz");
    say(line.as_bytes());
}

fn report_memory(memory_end: u64) {
    let program = Extent::of_program();
    let line = Text::<80>::new().str("Solo5: Memory map: ").decimal(memory_end >> 20).str(" MB addressable:");
    say(line.as_bytes());
    for (name, start, end) in [
        ("  reserved", 0, program.start),
        ("      text", program.start, program.text_end),
        ("    rodata", program.text_end, program.rodata_end),
        ("      data", program.rodata_end, program.end),
    ] {
        let last = palisade_abi::layout::page_align_up(end).saturating_sub(1);
        let start = palisade_abi::layout::page_align_up(start);
        let line =
            Text::<80>::new().str("Solo5: ").str(name).str(" @ (").hex(start).str(" - ").hex(last).str(")");
        say(line.as_bytes());
    }
    let heap = palisade_abi::layout::page_align_up(program.end);
    let line = Text::<80>::new().str("Solo5:       heap >= ").hex(heap).str(" < stack < ").hex(memory_end);
    say(line.as_bytes());
}

static SPEAKS: AtomicBool = AtomicBool::new(false);

const BANNER: [&str; 4] = [
    "            |      ___|",
    "  __|  _ \\  |  _ \\ __ \\",
    "\\__ \\ (   | | (   |  ) |",
    "____/\\___/ _|\\___/____/",
];
