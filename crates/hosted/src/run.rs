//! A run of a system, from its start to its end.

use std::collections::BTreeSet;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use palisade_abi::layout::PAGE;
use palisade_policy::plan::SubjectKind;
use palisade_services::log::Progress;

use crate::clock::Measurement;
use crate::delivery::Delivery;
use crate::descriptors::{Source, Waiter};
use crate::ending::{self, Reports};
use crate::journal::Journal;
use crate::memory::{SharedMemory, executable};
use crate::namespaces::Namespaces;
use crate::network::HostedNetwork;
use crate::pages::{publish, publish_time};
use crate::spawn::Process;
use crate::subject::{Ground, HostedSubject};
use crate::supervisor::{Supervisor, status};
use crate::trace::Watch;
use crate::wiring::{Request, Way, Wiring};
use crate::{End, Error, Figures, Renewed, Report, Settings, Sink, refuse};

/// Runs a system to its end. What happens goes to `sink`, in a thread of its own: a sink that takes its time holds nobody up,
/// and is told how much it missed if it takes too long.
///
/// When this returns, whatever the result, all processes are gone, and so is their memory: nothing of a run has a name. They
/// go, too, when the thread that called this ends, or is killed with its process. It returns when `sink` has taken everything.
///
/// # Errors
/// The system needs a machine, this computer refuses something, or `sink` failed.
///
/// # Panics
/// If `sink` does.
pub fn run(settings: &Settings<'_>, sink: &mut Sink<'_>) -> Result<Report, Error> {
    let delivery = Delivery::new().map_err(Error::system("event descriptors cannot be had"))?;
    let (result, taken) = thread::scope(|scope| {
        let taker = scope.spawn(|| delivery.deliver(sink));
        let opened = delivery.opened();
        let result = supervise(settings, &delivery);
        drop(opened);
        if let Some(untaken) = settings.untaken {
            untaken.store(!delivery.is_taken_within(PATIENCE), Ordering::Relaxed);
        }
        (result, taker.join())
    });
    match taken {
        Ok(Ok(())) => result,
        Ok(Err(error)) => Err(Error::Sink(error)),
        Err(panic) => resume_unwind(panic),
    }
}

fn supervise<'p>(settings: &Settings<'p>, delivery: &Delivery<'p>) -> Result<Report, Error> {
    let began = Instant::now();
    let plan = settings.plan;
    refuse::check(plan)?;
    let measurement = Measurement::begin();
    let records = plan.volatile.last().map_or(0, |last| last.start + last.size);
    let size = records + plan.subjects.len() as u64 * PAGE;
    let memory = SharedMemory::new(size).map_err(Error::system("shared memory cannot be had"))?;
    let way = if settings.trace { Way::Relayed } else { Way::Direct };
    let wiring = Wiring::new(plan, way).map_err(Error::system("event descriptors cannot be had"))?;
    let launcher = executable("palisade-launcher", settings.launcher)
        .map_err(Error::system("no memory can be had that may be executed"))?;
    let (namespaces, remark) =
        Namespaces::find().map_err(Error::system("processes cannot be made (Linux 5.9 is needed)"))?;
    if let Some(remark) = remark {
        delivery.remark(remark);
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
    let tell = |lines: &[u8]| delivery.output(lines);
    let mut run = Run {
        began,
        settings,
        delivery,
        ground: &ground,
        subjects: subjects(settings, &ground)?,
        network: settings.network.map_or(Ok(None), |network| HostedNetwork::new(&ground, network))?,
        waiter: Waiter::new().map_err(Error::system("descriptors cannot be waited for"))?,
        journal: Journal::new(plan, &memory, &tell),
        watch: settings.trace.then(|| Watch::new(plan, &memory)),
        reports: Reports::new(),
        supervisor: Supervisor::new(plan)?,
        log: Progress::Busy,
        more_traffic: false,
        reset: BTreeSet::new(),
        time_published: began,
        figures_told: began,
        end: None,
    };
    let end = run.run()?;
    drop(run);
    Ok(Report { end, duration: began.elapsed() })
}

/// A run under way.
struct Run<'a, 'p> {
    began: Instant,
    settings: &'a Settings<'p>,
    delivery: &'a Delivery<'p>,
    ground: &'a Ground<'a>,
    subjects: Vec<HostedSubject<'a>>,
    network: Option<HostedNetwork<'a>>,
    waiter: Waiter,
    journal: Journal<'a>,
    watch: Option<Watch<'a, 'p>>,
    reports: Reports,
    supervisor: Supervisor,
    log: Progress,
    /// Whether the channels that are watched have more to look at.
    more_traffic: bool,
    /// Who is to be started anew because another subject says so, or because there is new content.
    reset: BTreeSet<u16>,
    time_published: Instant,
    figures_told: Instant,
    end: Option<End>,
}

impl Run<'_, '_> {
    fn run(&mut self) -> Result<End, Error> {
        self.wait_for_what_stays()?;
        self.start_network()?;
        self.wait_for_network()?;
        for index in 0..self.subjects.len() {
            self.start(index)?;
        }
        loop {
            self.log = self.journal.sweep();
            let restart = self.supervisor.attend(
                self.ground.plan,
                &self.reports,
                self.ground.memory,
                self.now(),
                &mut self.journal,
            );
            // Once each, whoever wants it, and however many do.
            let mut anew = mem::take(&mut self.reset);
            anew.extend(restart);
            // Whoever is about to begin has not ended, although the supervisor has not seen that yet.
            let end = if anew.is_empty() { self.supervisor.end(&mut self.journal) } else { None };
            self.journal.hand_over();
            for id in anew {
                self.start_anew(id)?;
            }
            if let Some(end) = self.end.take().or(end) {
                self.subjects.clear();
                self.network = None;
                self.journal.finish_all();
                self.look_at_channels();
                self.journal.hand_over();
                return Ok(end);
            }
            self.tell_figures();
            let sources = self.wait()?;
            // What was written before an event is told before it.
            self.look_at_channels();
            for source in sources {
                self.happened(source)?;
            }
            self.look_around();
        }
    }

    /// Waits for everything that does not come and go with subjects.
    fn wait_for_what_stays(&self) -> Result<(), Error> {
        let add = |descriptor, source| {
            self.waiter.add(descriptor, source).map_err(Error::system("descriptors cannot be waited for"))
        };
        if let Some(stop) = self.settings.stop {
            add(stop, Source::Stop)?;
        }
        if let Some(renewals) = self.settings.renewals {
            add(renewals.ready(), Source::Renewal)?;
        }
        add(self.delivery.enough(), Source::Enough)?;
        add(self.ground.wiring.log(), Source::Log)?;
        for (index, (_, descriptor)) in (0..).zip(self.ground.wiring.requests()) {
            add(descriptor, Source::Request(index))?;
        }
        for (index, relay) in (0..).zip(self.ground.wiring.relays()) {
            add(relay.raised(), Source::Relay(index))?;
        }
        Ok(())
    }

    /// Starts whoever has this identifier, not for the first time. A failure is another end of his.
    fn start_anew(&mut self, id: u16) -> Result<(), Error> {
        if let Some(index) = self.subjects.iter().position(|subject| subject.id == id) {
            let started = self.start(index);
            self.survive(Who::Subject(index), started)?;
        } else if self.network.as_ref().is_some_and(|network| network.id == id) {
            let started = self.start_network();
            self.survive(Who::Network, started)?;
        }
        Ok(())
    }

    /// Starts a subject, for the first time or anew.
    fn start(&mut self, index: usize) -> Result<(), Error> {
        let Some(subject) = self.subjects.get_mut(index) else { return Ok(()) };
        // Its log begins anew, and what was not read of the old one would be lost.
        subject.leave(&self.waiter);
        self.journal.finish(subject.id);
        subject.start(self.ground)?;
        self.reports.started(subject.id, subject.generation);
        let Some(process) = subject.process() else { return Ok(()) };
        let watched = Error::system("a process cannot be waited for");
        self.waiter.add(process.as_fd(), Source::End(index as u32)).map_err(&watched)?;
        if let Some(launching) = subject.launching() {
            self.waiter.add(launching, Source::Launch(index as u32)).map_err(&watched)?;
        }
        self.delivery.started(subject.id, subject.generation, process.number());
        Ok(())
    }

    /// Starts the network process, if there is one, for the first time or anew.
    fn start_network(&mut self) -> Result<(), Error> {
        let Some(network) = &mut self.network else { return Ok(()) };
        network.leave(&self.waiter);
        network.start(self.ground)?;
        self.reports.started(network.id, network.generation);
        let Some(process) = network.process() else { return Ok(()) };
        let ends = [(Some(process.as_fd()), Source::NetworkEnd), (network.speaking(), Source::NetworkLine)];
        for (descriptor, source) in ends {
            if let Some(descriptor) = descriptor {
                let watched = self.waiter.add(descriptor, source);
                watched.map_err(Error::system("a process cannot be waited for"))?;
            }
        }
        self.delivery.started(network.id, network.generation, process.number());
        Ok(())
    }

    /// Waits until the network is there, but not for ever: a unikernel that does not learn its address in time takes another
    /// one, and the right one in its next life. The others in the network would look for it where it was.
    fn wait_for_network(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        while began.elapsed() < NETWORK_PATIENCE
            && self.end.is_none()
            && let Some(network) = self.network.as_ref().filter(|network| network.process().is_some())
            && !network.is_open(self.ground.memory)
        {
            let sources = self.waiter.wait(Some(NETWORK));
            for source in sources.map_err(Error::system("descriptors cannot be waited for"))? {
                self.happened(source)?;
            }
        }
        Ok(())
    }

    /// Passes on what keeps a process from its first start. Later ones that fail are ends like others: whether they are tried
    /// again is the supervisor's business. This computer may be short of something for a while.
    fn survive<T>(&mut self, who: Who, result: Result<T, Error>) -> Result<Option<T>, Error> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let (id, generation) = match who {
            Who::Subject(index) => {
                let Some(subject) = self.subjects.get_mut(index).filter(|subject| subject.generation > 1)
                else {
                    return Err(error);
                };
                subject.leave(&self.waiter);
                (subject.id, subject.generation)
            }
            Who::Network => {
                let Some(network) = self.network.as_mut().filter(|network| network.generation > 1) else {
                    return Err(error);
                };
                network.leave(&self.waiter);
                (network.id, network.generation)
            }
        };
        self.reports.ended(id, generation, &ending::not_started(&error));
        self.delivery.remark(error.to_string());
        Ok(None)
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
        let traffic =
            self.watch.is_some().then_some(if self.more_traffic { Duration::ZERO } else { TRAFFIC });
        let times = [Some(log), figures, self.supervisor.deadline().map(until), limit, debugger, traffic];
        let patience = times.into_iter().flatten().min();
        self.waiter.wait(patience).map_err(Error::system("descriptors cannot be waited for"))
    }

    fn happened(&mut self, source: Source) -> Result<(), Error> {
        match source {
            Source::Stop => self.end_with(End::Asked),
            Source::Log => clear(self.ground.wiring.log()),
            Source::Launch(index) => {
                let index = index as usize;
                if let Some(subject) = self.subjects.get_mut(index) {
                    let heard = subject.heard(&self.waiter);
                    self.survive(Who::Subject(index), heard)?;
                }
            }
            Source::End(index) => self.subject_ended(index as usize)?,
            Source::NetworkLine => self.hear_network(),
            Source::NetworkEnd => self.network_ended()?,
            Source::Enough => self.end_with(End::Stopped),
            Source::Relay(index) => self.pass_on(index as usize),
            Source::Renewal => self.renew(),
            Source::Request(index) => {
                if let Some((request, descriptor)) = self.ground.wiring.requests().nth(index as usize) {
                    clear(descriptor);
                    self.asked_for(request);
                }
            }
        }
        Ok(())
    }

    fn subject_ended(&mut self, index: usize) -> Result<(), Error> {
        let Some(subject) = self.subjects.get_mut(index) else { return Ok(()) };
        let (id, generation) = (subject.id, subject.generation);
        let ended = subject.ended(&self.waiter);
        if let Some(Some(ending)) = self.survive(Who::Subject(index), ended)? {
            self.reports.ended(id, generation, &ending);
        }
        Ok(())
    }

    fn network_ended(&mut self) -> Result<(), Error> {
        self.hear_network();
        let Some(network) = &mut self.network else { return Ok(()) };
        let (id, generation) = (network.id, network.generation);
        let ended = network.ended(&self.waiter);
        if let Some(Some(ending)) = self.survive(Who::Network, ended)? {
            self.reports.ended(id, generation, &ending);
        }
        Ok(())
    }

    /// Has subjects with new content started anew. One for whose content there is no memory goes on with what it has.
    fn renew(&mut self) {
        for Renewed { id, subject: content } in self.settings.renewals.iter().flat_map(|it| it.take()) {
            if let Some(subject) = self.subjects.iter_mut().find(|subject| subject.id == id) {
                match subject.renew(self.ground, content) {
                    Ok(()) => {
                        self.reset.insert(id);
                    }
                    Err(error) => self.delivery.remark(format!("nothing changes: {error}")),
                }
            }
        }
    }

    /// Passes an event on that processes do not pass to each other, because it is watched.
    fn pass_on(&mut self, index: usize) {
        let Some(relay) = self.ground.wiring.relays().get(index) else { return };
        let at = self.began.elapsed();
        let times = self.ground.wiring.pass_on(relay);
        let seen = self.watch.as_ref().filter(|_| times != 0).and_then(|watch| watch.event(relay, times, at));
        if let Some(trace) = seen {
            self.delivery.trace(trace);
        }
    }

    /// Tells what was written to channels, if they are watched.
    fn look_at_channels(&mut self) {
        let (at, delivery) = (self.began.elapsed(), self.delivery);
        if let Some(watch) = &mut self.watch {
            self.more_traffic = watch.sweep(at, &mut |trace| delivery.trace(trace));
        }
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
            Request::Reset(subject) => {
                self.reset.insert(subject);
            }
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
    fn tell_figures(&mut self) {
        if self.settings.figures.is_none_or(|every| self.figures_told.elapsed() < every) {
            return;
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
        self.delivery.figures(figures.collect());
    }

    fn end_with(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Nanoseconds since the run began.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A process that was to be started.
#[derive(Debug, Clone, Copy)]
enum Who {
    /// That of a subject, by its index.
    Subject(usize),
    Network,
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

/// Takes the signals from an event descriptor.
fn clear(descriptor: BorrowedFd<'_>) {
    // It fails if there are none.
    let _ = rustix::io::read(descriptor, &mut [0; 8]);
}

/// How long the rest may take that the sink has not taken when the run ends.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often channels are looked at whose writers do not announce their lines, and those with an unfinished line.
const UNANNOUNCED_LINES: Duration = Duration::from_millis(200);
const UNFINISHED_LINES: Duration = Duration::from_millis(20);
/// How long the published time of day is good enough.
const TIME_IS_CORRECT_FOR: Duration = Duration::from_secs(10);
/// How often channels are looked at that are watched, though no event tells of them.
const TRAFFIC: Duration = Duration::from_millis(10);
/// How often it is looked whether the network is there, and for how long.
const NETWORK: Duration = Duration::from_millis(1);
const NETWORK_PATIENCE: Duration = Duration::from_secs(10);
/// How often a debugger is looked for.
const DEBUGGER: Duration = Duration::from_millis(50);
