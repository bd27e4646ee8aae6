//! `palisade measure`: figures from inside a machine, taken by the unikernel `probe`.

use std::ops::ControlFlow;

use palisade_machine::{
    Accelerator, Emulator, End, Image, Interrupts, Lines, Machine, Next, OnReset, Program, Stream, run,
};
use palisade_policy::{Emulator as Emulated, Options};
use serde_json::json;

use crate::cli::{Measure, MeasureSchedule, On};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::journal::LAST_WORDS;
use crate::supplies::Supplies;
use crate::system;
use crate::terminal::Terminal;
use crate::verb::boot::{disc, iommu_of};

/// Measures.
pub(crate) fn measure(what: &Measure, terminal: &Terminal) -> Result<Exit, Failure> {
    match what {
        Measure::Schedule(arguments) => schedule(arguments, terminal),
    }
}

/// Boots a probe on each CPU, and tells for each of its frames when the plan has it begin and when it began.
fn schedule(arguments: &MeasureSchedule, terminal: &Terminal) -> Result<Exit, Failure> {
    let cpus = arguments.smp;
    if arguments.deterministic && cpus > 1 {
        let help = "its CPUs run in turn there: what one of them waits for is the emulator, not the kernel";
        let message = "the deterministic mode measures one CPU";
        return Err(Failure::message(Exit::Input, message, Some(help.to_owned())));
    }
    let (program, emulated) = match arguments.on {
        On::Qemu => (Program::Qemu, Emulated::Qemu),
        On::Bochs => (Program::Bochs, Emulated::Bochs),
    };
    let options = Options { cpus: Some(cpus), emulator: Some(emulated), ..Options::default() };
    let text = description(cpus, arguments.frames);
    let planned = palisade_policy::for_text("schedule", &text, &options, &Supplies::default())
        .map_err(|problems| Failure::new(Exit::Input, problems))?;
    let image = system::image(&planned, terminal)?;
    let emulator = Emulator::find(program, None).map_err(Failure::of_emulator)?;
    let disc = match program {
        Program::Qemu => None,
        Program::Bochs => match disc(&image)? {
            ControlFlow::Continue(bytes) => Some(bytes),
            ControlFlow::Break(exit) => return Ok(exit),
        },
    };
    let machine = Machine {
        image: disc.as_ref().map_or(Image::Kernel(&image.bytes), |disc| Image::Iso(disc)),
        memory: planned.plan.machine.memory,
        cpus,
        accelerator: if arguments.deterministic { Accelerator::Deterministic } else { Accelerator::Software },
        on_reset: OnReset::End,
        network: None,
        iommu: planned.plan.machine.iommu.map(|iommu| iommu_of(iommu.kind)),
        limit: arguments.limit,
    };
    let interrupts =
        Interrupts::catch().map_err(|error| Failure::host("signals cannot be caught", &error))?;
    let (mut serial, mut console) = (Lines::default(), Lines::default());
    let (mut heard, mut kernel) = (Vec::new(), Vec::new());
    let report = run(&emulator, &machine, &interrupts, &mut |stream, bytes| {
        let (lines, list) = match stream {
            Stream::Serial => (&mut serial, &mut heard),
            Stream::Console => (&mut console, &mut kernel),
        };
        list.extend(lines.push(bytes).iter().map(|line| String::from_utf8_lossy(line).into_owned()));
        let over = kernel.iter().any(|line: &String| KERNEL_ENDS.iter().any(|end| line.starts_with(end)));
        Ok(if over { Next::EndAfter(LAST_WORDS) } else { Next::Continue })
    });
    match report.map_err(Failure::of_emulator)?.end {
        End::PowerOff => {}
        End::Interrupted(signal) => return Ok(Exit::Interrupted(signal)),
        End::TimeRanOut => return Ok(Exit::TimeRanOut),
        _ => {
            let help = kernel.last().cloned();
            return Err(Failure::message(
                Exit::KernelStopped,
                "the machine ended before the measurement",
                help,
            ));
        }
    }
    (0..cpus).try_for_each(|cpu| show(cpu, &Probe::of(cpu, &heard)?, arguments.deterministic, terminal))?;
    Ok(Exit::SUCCESS)
}

/// A system with a probe on each CPU, alone in its frames. CPU 0 also has a frame for the system's own subjects, and the last
/// CPU has the partner that answers the first probe's events.
fn description(cpus: u16, frames: u32) -> String {
    let last = cpus - 1;
    let mut text = format!(
        "name = \"schedule\"\ncpus = {cpus}\n\
         [subject.partner]\nunikernel = \"probe\"\nbootparams = \"0 {REPEATS} return\"\ncpu = {last}\n\
         [[schedule.partition]]\nname = \"system\"\ngroups = [[\"time\"], [\"log\"], [\"supervisor\"]]\n"
    );
    for cpu in 0..cpus {
        let role = if cpu == 0 { " serve" } else { "" };
        let partner = if cpu == last { ", [\"partner\"]" } else { "" };
        let list = if cpu == 0 { "{ partition = \"system\" }, " } else { "" };
        let length = if cpu == 0 { FRAME_MS } else { 2 * FRAME_MS };
        text += &format!(
            "[subject.probe{cpu}]\nunikernel = \"probe\"\nbootparams = \"{frames} {REPEATS}{role}\"\ncpu = {cpu}\n\
             [[schedule.partition]]\nname = \"probe{cpu}\"\ncpu = {cpu}\ngroups = [[\"probe{cpu}\"]{partner}]\n\
             [[schedule.cpu]]\nframes = [{list}{{ partition = \"probe{cpu}\", length = \"{length} ms\" }}]\n"
        );
    }
    for (from, to) in [("probe0", "partner"), ("partner", "probe0")] {
        text += &format!(
            "[[channel]]\nname = \"from-{from}\"\nwriter = \"{from}:mine\"\nreader = \"{to}:theirs\"\nsize = \"4 KiB\"\n\
             [[event]]\nfrom = \"{from}:ball\"\nto = \"{to}:ball_in\"\n"
        );
    }
    text
}

/// What a probe reported. Times are ticks of the time-stamp counter.
struct Probe {
    khz: u64,
    frames: Vec<Frame>,
    costs: Vec<(String, u64)>,
}

/// A minor frame: when the plan has it begin and how long it lasts; by how much later the probe first ran, and how long from then on.
struct Frame {
    start: u64,
    length: u64,
    late: u64,
    seen: u64,
}

impl Probe {
    fn of(cpu: u16, lines: &[String]) -> Result<Self, Failure> {
        let name = format!("[probe{cpu}] ");
        let mut probe = Self { khz: 0, frames: Vec::new(), costs: Vec::new() };
        for line in lines.iter().filter_map(|line| line.strip_prefix(&name)) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
            match (words[0], number(1), number(2), number(3), number(4)) {
                ("clock", Some(khz), ..) => probe.khz = khz,
                ("cost", _, Some(ticks), ..) => probe.costs.push((words[1].to_owned(), ticks)),
                ("frame", Some(start), Some(length), Some(late), Some(seen)) => {
                    probe.frames.push(Frame { start, length, late, seen });
                }
                _ => {}
            }
        }
        if probe.khz == 0 || probe.frames.is_empty() {
            let message = format!("the probe on CPU {cpu} reported nothing");
            return Err(Failure::message(Exit::Host, message, None));
        }
        Ok(probe)
    }
}

fn show(cpu: u16, probe: &Probe, deterministic: bool, terminal: &Terminal) -> Result<(), Failure> {
    let Probe { khz, frames, costs } = probe;
    if terminal.json() {
        for (number, Frame { start, length, late, seen }) in frames.iter().enumerate() {
            terminal.object(&json!({ "event": "frame", "cpu": cpu, "frame": number, "start": start,
                "length": length, "late": late, "seen": seen, "khz": khz }))?;
        }
        for (what, ticks) in costs {
            let instructions = deterministic.then_some(ticks / TICKS_PER_INSTRUCTION);
            terminal.object(&json!({ "event": "cost", "cpu": cpu, "what": what, "ticks": ticks,
                "instructions": instructions, "khz": khz }))?;
        }
        return Ok(());
    }
    terminal.text(format_args!("CPU {cpu}, time-stamp counter {khz} kHz"))?;
    terminal.text("  frame  planned start     planned length  began late by  ran for        (ticks)")?;
    for (number, Frame { start, length, late, seen }) in frames.iter().enumerate() {
        terminal.text(format_args!("  {number:<5}  {start:<16}  {length:<14}  {late:<13}  {seen}"))?;
    }
    let (least, usual, most) = range(frames, |frame| frame.late as i64);
    terminal.text(format_args!("  began late by {least} to {most} ticks, usually {usual}"))?;
    let (least, usual, most) = range(frames, |frame| (frame.late + frame.seen) as i64 - frame.length as i64);
    terminal
        .text(format_args!("  ended late by {least} to {most} ticks, usually {usual} (below 0: early)"))?;
    for (what, ticks) in costs {
        let what = COSTS.iter().find(|(name, _)| name == what).map_or(what.as_str(), |(_, text)| text);
        if deterministic {
            let instructions = ticks / TICKS_PER_INSTRUCTION;
            terminal.text(format_args!("  {what}: {instructions} instructions, {ticks} ticks"))?;
        } else {
            terminal.text(format_args!("  {what}: {ticks} ticks, {} ns", ticks * 1_000_000 / khz))?;
        }
    }
    Ok(())
}

/// The least, the middle and the greatest of what the frames have of something.
fn range(frames: &[Frame], value: impl Fn(&Frame) -> i64) -> (i64, i64, i64) {
    let mut values: Vec<i64> = frames.iter().map(value).collect();
    values.sort_unstable();
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    (at(0), at(values.len() / 2), at(values.len().saturating_sub(1)))
}

/// What the probe's words for costs mean.
const COSTS: [(&str, &str); 3] = [
    ("exit", "an exit and back (an event that is not defined)"),
    ("cpuid", "CPUID"),
    ("answer", "an event to another subject, which answers by one"),
];
/// How the kernel's last lines begin.
const KERNEL_ENDS: [&str; 2] = ["kernel refused: ", "kernel stopped: "];
const FRAME_MS: u32 = 5;
const REPEATS: u32 = 2000;
/// In the deterministic mode an instruction takes 8 ns (`shift=3`), and the counter ticks once in a nanosecond.
const TICKS_PER_INSTRUCTION: u64 = 8;
