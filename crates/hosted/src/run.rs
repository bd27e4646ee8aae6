//! A run of a system, from its start to its end.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use palisade_abi::layout::{PAGE, TIME_INFO};
use palisade_abi::scheduling_info::SchedulingInfo;
use palisade_abi::time_info::TimePage;
use palisade_policy::plan::{Backing, Plan, SubjectKind};
use palisade_services::log::Progress;

use crate::clock::{Clock, Measurement};
use crate::descriptors::{Source, Waiter};
use crate::ending::Reports;
use crate::journal::Journal;
use crate::memory::{SharedMemory, executable};
use crate::namespaces::Namespaces;
use crate::network::HostedNetwork;
use crate::spawn::Process;
use crate::subject::{Ground, HostedSubject};
use crate::supervisor::{Supervisor, status};
use crate::wiring::{Request, Wiring};
use crate::{End, Error, Figures, Happening, Next, Renewed, Report, Settings, Sink, refuse};

/// Runs a system to its end. What happens goes to `sink`.
///
/// When this returns, whatever the result, all processes are gone, and so is their memory: nothing of a run has a name. They
/// go, too, when the thread that called this ends, or is killed with its process.
///
/// # Errors
/// The system needs a machine, this computer refuses something, or `sink` failed.
pub fn run(settings: &Settings<'_>, sink: &mut Sink<'_>) -> Result<Report, Error> {
    let began = Instant::now();
    let plan = settings.plan;
    refuse::check(plan)?;
    let measurement = Measurement::begin();
    let records = plan.volatile.last().map_or(0, |last| last.start + last.size);
    let size = records + plan.subjects.len() as u64 * PAGE;
    let memory = SharedMemory::new(size).map_err(Error::system("shared memory cannot be had"))?;
    let wiring = Wiring::new(plan).map_err(Error::system("event descriptors cannot be had"))?;
    let launcher = executable("palisade-launcher", settings.launcher)
        .map_err(Error::system("no memory can be had that may be executed"))?;
    let (namespaces, remark) =
        Namespaces::find().map_err(Error::system("processes cannot be made (Linux 5.9 is needed)"))?;
    if let Some(remark) = remark {
        sink(Happening::Remark(&remark)).map_err(Error::Sink)?;
    }
    let clock = measurement.finish();
    let ground = Ground {
        plan,
        memory: &memory,
        wiring: &wiring,
        launcher: launcher.as_fd(),
        clock,
        namespaces,
        records,
    };
    publish(plan, &memory, clock);
    let mut run = Run {
        began,
        settings,
        ground: &ground,
        subjects: subjects(settings, &ground)?,
        network: settings.network.map_or(Ok(None), |network| HostedNetwork::new(&ground, network))?,
        waiter: Waiter::new().map_err(Error::system("descriptors cannot be waited for"))?,
        journal: Journal::new(plan, &memory),
        reports: Reports::new(),
        supervisor: Supervisor::new(plan)?,
        log: Progress::Busy,
        reset: Vec::new(),
        time_published: began,
        figures_told: began,
        end: None,
    };
    let end = run.run(sink)?;
    drop(run);
    Ok(Report { end, duration: began.elapsed() })
}

/// A run under way.
struct Run<'a> {
    began: Instant,
    settings: &'a Settings<'a>,
    ground: &'a Ground<'a>,
    subjects: Vec<HostedSubject<'a>>,
    network: Option<HostedNetwork<'a>>,
    waiter: Waiter,
    journal: Journal<'a>,
    reports: Reports,
    supervisor: Supervisor,
    log: Progress,
    /// Who is to be started anew because another subject says so.
    reset: Vec<u16>,
    time_published: Instant,
    figures_told: Instant,
    end: Option<End>,
}

impl Run<'_> {
    fn run(&mut self, sink: &mut Sink<'_>) -> Result<End, Error> {
        self.watch()?;
        self.start_network()?;
        for index in 0..self.subjects.len() {
            self.start(index, sink)?;
        }
        loop {
            self.log = self.journal.sweep();
            let attention = self.supervisor.attend(
                self.ground.plan,
                &self.reports,
                self.ground.memory,
                self.now(),
                &mut self.journal,
            );
            self.hand_over(sink)?;
            for id in self.reset.drain(..).chain(attention.restart).collect::<Vec<_>>() {
                if let Some(index) = self.subjects.iter().position(|subject| subject.id == id) {
                    self.start(index, sink)?;
                } else if self.network.as_ref().is_some_and(|network| network.id == id) {
                    self.start_network()?;
                }
            }
            if let Some(end) = self.end.take().or(attention.end) {
                self.subjects.clear();
                self.network = None;
                self.journal.drain();
                self.hand_over(sink)?;
                return Ok(end);
            }
            self.tell_figures(sink)?;
            for source in self.wait()? {
                self.happened(source)?;
            }
            self.look_around();
        }
    }

    /// Waits for everything that does not come and go with subjects.
    fn watch(&self) -> Result<(), Error> {
        let add = |descriptor, source| {
            self.waiter.add(descriptor, source).map_err(Error::system("descriptors cannot be waited for"))
        };
        if let Some(stop) = self.settings.stop {
            add(stop, Source::Stop)?;
        }
        if let Some(renewals) = self.settings.renewals {
            add(renewals.ready(), Source::Renewal)?;
        }
        add(self.ground.wiring.log(), Source::Log)?;
        for (index, (_, descriptor)) in (0..).zip(self.ground.wiring.requests()) {
            add(descriptor, Source::Request(index))?;
        }
        Ok(())
    }

    /// Starts a subject, for the first time or anew.
    fn start(&mut self, index: usize, sink: &mut Sink<'_>) -> Result<(), Error> {
        // Its log begins anew, and what was not read of the old one would be lost.
        self.journal.drain();
        let Some(subject) = self.subjects.get_mut(index) else { return Ok(()) };
        subject.start(self.ground, &self.waiter)?;
        self.reports.started(subject.id, subject.generation);
        let Some(process) = subject.process() else { return Ok(()) };
        let watched = Error::system("a process cannot be waited for");
        self.waiter.add(process.as_fd(), Source::End(index as u32)).map_err(&watched)?;
        if let Some(launching) = subject.launching() {
            self.waiter.add(launching, Source::Launch(index as u32)).map_err(&watched)?;
        }
        let started = Happening::Started {
            subject: subject.id,
            generation: subject.generation,
            process: process.number(),
        };
        self.hand(started, sink)
    }

    /// Starts the network process, if there is one, for the first time or anew.
    fn start_network(&mut self) -> Result<(), Error> {
        let Some(network) = &mut self.network else { return Ok(()) };
        network.start(self.ground, &self.waiter)?;
        self.reports.started(network.id, network.generation);
        let ends = [
            (network.process().map(AsFd::as_fd), Source::NetworkEnd),
            (network.speaking(), Source::NetworkLine),
        ];
        for (descriptor, source) in ends {
            if let Some(descriptor) = descriptor {
                let watched = self.waiter.add(descriptor, source);
                watched.map_err(Error::system("a process cannot be waited for"))?;
            }
        }
        Ok(())
    }

    /// Waits until something happens, or it is time for something.
    fn wait(&self) -> Result<Vec<Source>, Error> {
        let log = match self.log {
            Progress::Busy => Duration::ZERO,
            Progress::Waiting => UNFINISHED_LINES,
            Progress::Idle => UNANNOUNCED_LINES,
        };
        let until = |deadline: u64| Duration::from_nanos(deadline.saturating_sub(self.now()));
        let limit = self.settings.limit.map(|limit| limit.saturating_sub(self.began.elapsed()));
        let debugger = self.subjects.iter().any(HostedSubject::waits_for_debugger).then_some(DEBUGGER);
        let figures = self.settings.figures.map(|every| every.saturating_sub(self.figures_told.elapsed()));
        let times = [Some(log), figures, self.supervisor.deadline().map(until), limit, debugger];
        let patience = times.into_iter().flatten().min();
        self.waiter.wait(patience).map_err(Error::system("descriptors cannot be waited for"))
    }

    fn happened(&mut self, source: Source) -> Result<(), Error> {
        match source {
            Source::Stop => self.end_with(End::Asked),
            Source::Log => clear(self.ground.wiring.log()),
            Source::Launch(index) => {
                if let Some(subject) = self.subjects.get_mut(index as usize) {
                    subject.heard(&self.waiter)?;
                }
            }
            Source::End(index) => {
                if let Some(subject) = self.subjects.get_mut(index as usize)
                    && let Some(ending) = subject.ended(&self.waiter)?
                {
                    self.reports.ended(subject.id, subject.generation, &ending);
                }
            }
            Source::NetworkLine => self.hear_network(),
            Source::NetworkEnd => {
                self.hear_network();
                if let Some(network) = &mut self.network
                    && let Some(ending) = network.ended(&self.waiter)?
                {
                    self.reports.ended(network.id, network.generation, &ending);
                }
            }
            Source::Renewal => self.renew()?,
            Source::Request(index) => {
                if let Some((request, descriptor)) = self.ground.wiring.requests().nth(index as usize) {
                    clear(descriptor);
                    self.asked_for(request);
                }
            }
        }
        Ok(())
    }

    /// Has subjects with new content started anew.
    fn renew(&mut self) -> Result<(), Error> {
        for Renewed { id, subject: content } in self.settings.renewals.iter().flat_map(|it| it.take()) {
            if let Some(subject) = self.subjects.iter_mut().find(|subject| subject.id == id) {
                subject.renew(self.ground, content)?;
                self.reset.push(id);
            }
        }
        Ok(())
    }

    fn hear_network(&mut self) {
        if let Some(network) = &mut self.network {
            let name = network.name;
            network.hear(|line| self.journal.say(name, line));
        }
    }

    /// Does what a subject asks for, which is what the policy lets it ask for.
    fn asked_for(&mut self, request: Request) {
        match request {
            Request::PowerOff => self.end_with(End::PowerOff),
            Request::ResetMachine => self.end_with(End::Reset),
            Request::Panic(subject) => {
                let name = self.ground.plan.subjects.get(usize::from(subject)).map(|s| s.name.clone());
                self.end_with(End::Panic(name.unwrap_or_default()));
            }
            Request::Reset(subject) => self.reset.push(subject),
        }
    }

    /// What nobody announces: that time has run out, what time it is, that a debugger is there.
    fn look_around(&mut self) {
        if self.settings.limit.is_some_and(|limit| self.began.elapsed() >= limit) {
            self.end_with(End::TimeRanOut);
        }
        if self.time_published.elapsed() >= TIME_IS_CORRECT_FOR {
            self.time_published = Instant::now();
            publish_time(self.ground.plan, self.ground.memory, self.ground.clock);
        }
        self.subjects.iter_mut().for_each(HostedSubject::look_for_debugger);
    }

    /// Says how the subjects are, if it is time for it.
    fn tell_figures(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        if self.settings.figures.is_none_or(|every| self.figures_told.elapsed() < every) {
            return Ok(());
        }
        self.figures_told = Instant::now();
        let plan = self.ground.plan;
        let figures = self.subjects.iter().map(|subject| {
            let page = plan
                .subjects
                .get(usize::from(subject.id))
                .and_then(|subject| status(subject, self.ground.memory));
            let counter = |index| page.as_ref().and_then(|page| page.counter(index)).unwrap_or_default();
            Figures {
                subject: subject.id,
                process: subject.process().map(Process::number),
                counters: std::array::from_fn(counter),
            }
        });
        let figures: Vec<_> = figures.collect();
        self.hand(Happening::Figures(&figures), sink)
    }

    fn end_with(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    fn hand_over(&mut self, sink: &mut Sink<'_>) -> Result<(), Error> {
        let lines = self.journal.take();
        if lines.is_empty() { Ok(()) } else { self.hand(Happening::Output(&lines), sink) }
    }

    fn hand(&mut self, happening: Happening<'_>, sink: &mut Sink<'_>) -> Result<(), Error> {
        if sink(happening).map_err(Error::Sink)? == Next::End {
            self.end_with(End::Stopped);
        }
        Ok(())
    }

    /// Nanoseconds since the run began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

fn subjects<'a>(settings: &Settings<'_>, ground: &Ground<'a>) -> Result<Vec<HostedSubject<'a>>, Error> {
    let unikernels = (0..).zip(&ground.plan.subjects).filter(|(_, s)| s.kind == SubjectKind::Unikernel);
    unikernels
        .map(|(id, subject)| {
            let debug = settings.debug.is_some_and(|name| name == subject.name);
            HostedSubject::new(ground, id, subject, debug)
        })
        .collect()
}

/// Writes what subjects read from the kernel and from `time`.
fn publish(plan: &Plan, memory: &SharedMemory, clock: Clock) {
    let now = clock.ticks();
    for partition in &plan.partitions {
        if let Some(page) = memory.part(partition.scheduling_info, PAGE).map(SchedulingInfo) {
            page.set_clock_shift(clock.shift());
            // There are no frames: one lasts as long as the system.
            page.set_frame(now, u64::MAX);
        }
    }
    publish_time(plan, memory, clock);
}

fn publish_time(plan: &Plan, memory: &SharedMemory, clock: Clock) {
    let pages = plan.subjects.iter().flat_map(|subject| &subject.regions);
    let page = pages.filter(|region| region.address == TIME_INFO).find_map(|region| match region.backing {
        Backing::Volatile(physical) => memory.part(physical, PAGE),
        _ => None,
    });
    if let Some(page) = page.map(TimePage) {
        page.publish(&clock.time());
    }
}

/// Takes the signals from an event descriptor.
fn clear(descriptor: BorrowedFd<'_>) {
    // It fails if there are none.
    let _ = rustix::io::read(descriptor, &mut [0; 8]);
}

/// How often channels are looked at whose writers do not announce their lines, and those with an unfinished line.
const UNANNOUNCED_LINES: Duration = Duration::from_millis(200);
const UNFINISHED_LINES: Duration = Duration::from_millis(20);
/// How long the published time of day is good enough.
const TIME_IS_CORRECT_FOR: Duration = Duration::from_secs(10);
/// How often a debugger is looked for.
const DEBUGGER: Duration = Duration::from_millis(50);
