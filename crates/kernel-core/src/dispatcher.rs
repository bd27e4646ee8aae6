//! The decisions of one CPU: who runs next, and what happens when a subject stops running.

use palisade_abi::layout::MAX_SUBJECTS;
use palisade_abi::plan::{
    self, Interrupt, NONE, Plan, source_action, source_flags, subject_flags, target_action, trap,
};

use crate::clock::Clock;
use crate::device::{self, DeviceRegisters, Function};
use crate::mailbox::{Arrival, Mailbox, Mailboxes};
use crate::schedule::Schedule;
use crate::turns::{TURN_US, Turn, Turns};

/// Identifier of a subject: its index in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectId(u8);

impl SubjectId {
    /// The identifier as an index below [`MAX_SUBJECTS`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize & (MAX_SUBJECTS - 1)
    }

    // The plan's check keeps identifiers below `MAX_SUBJECTS`; the mask keeps the compiler and the processor from
    // having to believe it.
    pub(crate) const fn from_plan(id: u16) -> Self {
        Self((id as usize & (MAX_SUBJECTS - 1)) as u8)
    }
}

/// What the CPU does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Run this subject until it exits or the TSC reaches `until`.
    Run {
        /// The subject.
        subject: SubjectId,
        /// TSC value.
        until: u64,
    },
    /// Nobody can run: halt until an interrupt or until the TSC reaches `until`.
    Idle {
        /// TSC value.
        until: u64,
    },
    /// Something happens to the machine.
    Machine(MachineAction),
}

/// What a source event can do to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineAction {
    /// Reset it.
    Reset,
    /// Power it off.
    PowerOff,
    /// Stop the system with a crash record.
    Panic,
}

/// The pages that the kernel shares with subjects, and the registers of devices, as the decisions need them.
pub trait Pages: DeviceRegisters {
    /// The timed event of a subject: the TSC value it fires at, as the subject sees time, and the source event's number, if that is one.
    /// `None` if the subject has no timed-event page.
    fn timed_event(&self, subject: SubjectId) -> Option<(u64, Option<u8>)>;
    /// Sets a subject's timed event to "never".
    fn clear_timed_event(&self, subject: SubjectId);
    /// Publishes the bounds of a new minor frame in its partition's scheduling info, as subjects see time.
    fn show_frame(&self, partition: u16, start: u64, end: u64);
    /// Sends an inter-processor interrupt to another CPU, so that it looks at its mailboxes.
    fn notify(&self, cpu: u16);
}

/// The decisions of one CPU. Everything but the mailboxes belongs to this CPU alone.
#[derive(Debug)]
pub struct Dispatcher<'p> {
    plan: Plan<'p>,
    cpu: u16,
    clock: Clock,
    mailboxes: &'p Mailboxes,
    schedule: Schedule<'p>,
    subjects: [SubjectState; MAX_SUBJECTS],
    /// Index of the active member of each group.
    active: [u8; MAX_SUBJECTS],
    turns: Turns,
    /// The device interrupts of this CPU that are masked, one bit per vector.
    masked: Vectors,
    /// TSC value at which this CPU last began to listen to the others by itself.
    listened: u64,
}

/// A set of vectors, one bit each.
type Vectors = [u64; 4];

#[derive(Debug, Clone, Copy)]
struct SubjectState {
    activity: Activity,
    /// The subject is put into its initial state before it runs.
    reset: bool,
    generation: u64,
    /// Interrupts to inject.
    interrupts: Vectors,
    /// TSC value before which it does not start: its devices are being reset.
    not_before: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Stopped,
    Runnable,
    /// Until its wake token is set.
    Asleep,
    /// Until its wake token is set or its partition's next minor frame begins.
    AsleepForFrame,
}

impl<'p> Dispatcher<'p> {
    /// The decisions of `cpu` for a checked plan, whose devices are set up. The first major frame begins at TSC value `start`.
    #[must_use]
    pub fn new(plan: Plan<'p>, cpu: u16, clock: Clock, mailboxes: &'p Mailboxes, start: u64) -> Self {
        let stopped = SubjectState {
            activity: Activity::Stopped,
            reset: false,
            generation: 0,
            interrupts: [0; 4],
            not_before: 0,
        };
        let mut subjects = [stopped; MAX_SUBJECTS];
        for (state, subject) in subjects.iter_mut().zip(plan.subjects) {
            if subject.flags & subject_flags::AUTOSTART != 0 {
                state.activity = Activity::Runnable;
                state.reset = true;
            }
        }
        let schedule = Schedule::new(&plan, cpu, clock, start);
        Self {
            plan,
            cpu,
            clock,
            mailboxes,
            schedule,
            subjects,
            active: [0; MAX_SUBJECTS],
            turns: Turns::new(clock),
            masked: [u64::MAX; 4],
            listened: start,
        }
    }

    /// Decides what this CPU does at TSC value `now`: moves on in the schedule, fires timed events, takes arrived events in.
    pub fn next(&mut self, now: u64, pages: &impl Pages) -> Next {
        let new_frame = self.schedule.advance(now);
        let partition = self.schedule.partition();
        if new_frame {
            self.begin_frame(partition, pages);
        }
        let timed = match self.fire_timed_events(partition, now, pages) {
            Ok(earliest) => earliest,
            Err(action) => return Next::Machine(action),
        };
        let look = self.listen(now);
        let mut ready = u64::MAX;
        self.for_each_subject(partition, |cpu, id| {
            cpu.take_in_events(id, now, pages);
            let not_before = cpu.state(id).not_before;
            if not_before > now {
                ready = ready.min(not_before);
            }
        });
        let end = self.schedule.bounds().1.min(look);
        let wake = timed.min(ready);
        match self.choose(partition, now) {
            Some((subject, turn)) => {
                let own = self.deadline(subject, pages);
                let others = if turn.others { turn.end } else { turn.end.max(wake) };
                Next::Run { subject, until: end.min(own).min(others) }
            }
            None => Next::Idle { until: end.min(wake) },
        }
    }

    /// Raises source event `number` of `subject`. Undefined numbers do nothing.
    pub fn raise(&mut self, subject: SubjectId, number: u64, pages: &impl Pages) -> Option<MachineAction> {
        let events = self.plan.source_events.get(subject.index())?;
        let event =
            usize::try_from(number).ok().filter(|n| *n < events.len()).and_then(|n| events.get(n & 63))?;
        if event.action == source_action::UNDEFINED {
            return None;
        }
        if event.target != NONE {
            self.signal(subject, event, pages);
        }
        match event.action {
            source_action::SLEEP => self.sleep(subject, pages),
            source_action::YIELD => self.yield_turn(subject),
            source_action::SYSTEM_RESET => return Some(MachineAction::Reset),
            source_action::SYSTEM_POWER_OFF => return Some(MachineAction::PowerOff),
            source_action::SYSTEM_PANIC => return Some(MachineAction::Panic),
            source_action::START_DEVICE => self.start_device(subject, event.device, pages),
            _ => {}
        }
        None
    }

    /// Puts `subject` to sleep until an event arrives; at once awake if one arrived since it last slept.
    pub fn sleep(&mut self, subject: SubjectId, pages: &impl Pages) {
        self.fall_asleep(subject, Activity::Asleep, pages);
    }

    /// `subject` executed `pause`: raises the source event that the plan gives for that, then puts the subject to sleep until an
    /// event arrives or its partition's next minor frame begins.
    pub fn pause(&mut self, subject: SubjectId, pages: &impl Pages) -> Option<MachineAction> {
        let action = self.raise_for(subject, trap::PAUSE, pages);
        self.fall_asleep(subject, Activity::AsleepForFrame, pages);
        action
    }

    /// Stops `subject` because of `trap`, and its devices with it, and raises the source event that the plan maps the trap to.
    pub fn stop(&mut self, subject: SubjectId, trap: u8, pages: &impl Pages) -> Option<MachineAction> {
        self.state(subject).activity = Activity::Stopped;
        self.for_each_device(subject, pages, |device| device.stop());
        self.raise_for(subject, trap, pages)
    }

    /// The interrupt `vector` of the host arrived. If a device's, it is masked, wakes its owner and becomes pending there; others
    /// mean nothing here.
    ///
    /// It is unmasked when its owner really goes to sleep. So however fast a device interrupts, it costs its owner's neighbours
    /// two exits for each of the owner's sleeps at most: one that masks it, and one for a message that was under way.
    pub fn interrupt(&mut self, vector: u8, pages: &impl Pages) {
        for (number, interrupt) in (0..).zip(self.plan.interrupts) {
            if interrupt.host_vector != vector || !self.is_own(interrupt) {
                continue;
            }
            // A message that was under way finds it masked, or its device in the middle of a reset, when nobody may touch it.
            if insert(&mut self.masked, vector) {
                device::set_masked(&self.plan, number, true, pages);
            }
            let owner = SubjectId::from_plan(interrupt.subject);
            if interrupt.guest_vector != 0 {
                insert(&mut self.state(owner).interrupts, interrupt.guest_vector);
            }
            self.mailbox(owner).wake();
        }
    }

    /// Whether `subject` has to be put into its initial state before it runs; if so, the number of this start (1 at first). Its
    /// devices are prepared for the start.
    pub fn take_reset(&mut self, subject: SubjectId, pages: &impl Pages) -> Option<u64> {
        let state = self.state(subject);
        if !state.reset {
            return None;
        }
        state.reset = false;
        state.generation = state.generation.wrapping_add(1);
        state.interrupts = [0; 4];
        let generation = state.generation;
        self.mailbox(subject).take_token();
        pages.clear_timed_event(subject);
        self.for_each_device(subject, pages, |device| device.prepare());
        Some(generation)
    }

    /// The interrupt to inject into `subject` now: the highest pending vector.
    pub fn pending_interrupt(&mut self, subject: SubjectId) -> Option<u8> {
        let mut highest = None;
        for (index, word) in (0_u8..).zip(&self.state(subject).interrupts) {
            if *word != 0 {
                highest = Some(index * 64 + 63 - word.leading_zeros() as u8);
            }
        }
        highest
    }

    /// Notes that `subject` has taken interrupt `vector`.
    pub fn interrupt_taken(&mut self, subject: SubjectId, vector: u8) {
        remove(&mut self.state(subject).interrupts, vector);
    }

    fn begin_frame(&mut self, partition: u16, pages: &impl Pages) {
        self.mailboxes.attend(self.cpu, partition);
        let (start, end) = self.schedule.bounds();
        pages.show_frame(partition, self.clock.shown(start), self.clock.shown(end));
        self.for_each_subject(partition, |cpu, id| {
            if cpu.state(id).activity == Activity::AsleepForFrame {
                cpu.rouse(id);
            }
        });
        self.turns.end();
    }

    /// Fires what is due in `partition`; returns the earliest time that something else will be.
    fn fire_timed_events(
        &mut self,
        partition: u16,
        now: u64,
        pages: &impl Pages,
    ) -> Result<u64, MachineAction> {
        let mut earliest = u64::MAX;
        let mut action = None;
        self.for_each_subject(partition, |cpu, id| {
            if cpu.state(id).activity == Activity::Stopped || cpu.state(id).reset {
                return;
            }
            let Some((at, number)) = pages.timed_event(id) else { return };
            let at = cpu.clock.real(at);
            if at > now {
                earliest = earliest.min(at);
                return;
            }
            pages.clear_timed_event(id);
            cpu.mailbox(id).wake();
            if let Some(number) = number {
                action = cpu.raise(id, u64::from(number), pages).or(action);
            }
        });
        action.map_or(Ok(earliest), Err)
    }

    /// Has other CPUs interrupt this one for subjects that are awake, once in a turn's length at most, whatever they raise. Until it
    /// may happen again, this CPU has to look by itself: at the TSC value given.
    fn listen(&mut self, now: u64) -> u64 {
        if self.mailboxes.listens(self.cpu) {
            return u64::MAX;
        }
        let again = self.listened.saturating_add(self.clock.ticks(TURN_US));
        if now < again {
            return again;
        }
        self.listened = now;
        self.mailboxes.listen(self.cpu);
        u64::MAX
    }

    /// The token comes first: an event whose token is taken is taken with it.
    fn take_in_events(&mut self, id: SubjectId, now: u64, pages: &impl Pages) {
        let asleep = matches!(self.state(id).activity, Activity::Asleep | Activity::AsleepForFrame);
        if asleep && self.mailbox(id).take_token() {
            self.state(id).activity = Activity::Runnable;
        }
        let mut pending = self.mailbox(id).take_pending();
        while pending != 0 {
            let number = pending.trailing_zeros() as usize & 63;
            pending &= pending - 1;
            let event = self.plan.target_events.get(id.index()).and_then(|t| t.get(number));
            match event.map(|e| (e.action, e.vector)) {
                Some((target_action::INJECT_INTERRUPT, vector)) => {
                    insert(&mut self.state(id).interrupts, vector);
                }
                Some((target_action::RESET, _)) => {
                    self.state(id).reset = true;
                    self.rouse(id);
                    pages.clear_timed_event(id);
                    self.reset_devices(id, now, pages);
                }
                _ => {}
            }
        }
    }

    /// Has a sleeper, or one that was stopped, run again without a token.
    fn rouse(&mut self, id: SubjectId) {
        self.state(id).activity = Activity::Runnable;
        self.mailbox(id).rouse();
    }

    /// The subject to run in `partition`, and its group's turn.
    fn choose(&mut self, partition: u16, now: u64) -> Option<(SubjectId, Turn)> {
        let record = self.plan.partitions.get(usize::from(partition))?;
        let mut ready = 0;
        for group in 0..record.groups.min(64) {
            let member = self.active_member(record.first_group + group);
            if member.is_some_and(|subject| self.state(subject).is_ready(now)) {
                ready |= 1 << (group & 63);
            }
        }
        let turn = self.turns.choose(partition, record, ready, now)?;
        Some((self.active_member(turn.group)?, turn))
    }

    /// When the timed event of `subject` is due. Before its start its page says nothing.
    fn deadline(&mut self, subject: SubjectId, pages: &impl Pages) -> u64 {
        let event = if self.state(subject).reset { None } else { pages.timed_event(subject) };
        event.map_or(u64::MAX, |(at, _)| self.clock.real(at))
    }

    fn signal(&mut self, raiser: SubjectId, event: &plan::SourceEvent, pages: &impl Pages) {
        let target = SubjectId::from_plan(event.target);
        if event.flags & source_flags::IPI == 0 {
            self.mailbox(target).deliver(event.target_event);
        } else if let Some(record) = self.plan.subjects.get(target.index())
            && self.mailboxes.deliver_elsewhere(
                target.index(),
                event.target_event,
                self.arrival(target, event.target_event),
                record.cpu,
                record.partition,
            )
        {
            pages.notify(record.cpu);
        }
        if event.flags & source_flags::HANDOVER != 0 {
            self.hand_over(raiser, target);
        }
    }

    fn arrival(&self, target: SubjectId, number: u8) -> Arrival {
        let event = self.plan.target_events.get(target.index()).and_then(|t| t.get(usize::from(number)));
        match event.map(|e| e.action) {
            Some(target_action::INJECT_INTERRUPT | target_action::RESET) => Arrival::Changes,
            _ => Arrival::Wakes,
        }
    }

    /// Makes `target` the active member in place of `raiser`. A timed event of a member that is not active changes nothing.
    fn hand_over(&mut self, raiser: SubjectId, target: SubjectId) {
        let Some(record) = self.plan.subjects.get(raiser.index()) else { return };
        if self.active_member(record.group) != Some(raiser) {
            return;
        }
        let Some(group) = self.plan.groups.get(usize::from(record.group)) else { return };
        let members = plan::slice(self.plan.members, group.first_member, group.members);
        let position = members.iter().position(|m| SubjectId::from_plan(*m) == target);
        if let (Some(position), Some(active)) = (position, self.active.get_mut(usize::from(record.group))) {
            *active = position as u8;
        }
    }

    fn active_member(&self, group: u16) -> Option<SubjectId> {
        let record = self.plan.groups.get(usize::from(group))?;
        let active = self.active.get(usize::from(group))?;
        let members = plan::slice(self.plan.members, record.first_member, record.members);
        members.get(usize::from(*active)).map(|m| SubjectId::from_plan(*m))
    }

    /// Ends the turn of `subject`'s group, if it is its turn: a timed event must not cut another's short.
    fn yield_turn(&mut self, subject: SubjectId) {
        let number = self.schedule.partition();
        let partition = self.plan.partitions.get(usize::from(number));
        let own = self.plan.subjects.get(subject.index()).map(|s| s.group);
        if partition
            .zip(own)
            .is_some_and(|(partition, group)| self.turns.is_present(number, partition, group))
        {
            self.turns.give_away();
        }
    }

    /// A subject that a trap or a timed event sends to sleep may be stopped or asleep already: it stays stopped, and its
    /// wake token wakes it.
    fn fall_asleep(&mut self, subject: SubjectId, how: Activity, pages: &impl Pages) {
        if self.state(subject).activity == Activity::Stopped {
            return;
        }
        let sleeps = self.mailbox(subject).fall_asleep();
        self.state(subject).activity = if sleeps { how } else { Activity::Runnable };
        if sleeps {
            self.unmask_interrupts(subject, pages);
        }
    }

    /// What a device had to say while its interrupt was masked arrives now: nothing is lost.
    fn unmask_interrupts(&mut self, subject: SubjectId, pages: &impl Pages) {
        for (number, interrupt) in (0..).zip(self.plan.interrupts) {
            let owned = SubjectId::from_plan(interrupt.subject) == subject;
            if owned && remove(&mut self.masked, interrupt.host_vector) {
                device::set_masked(&self.plan, number, false, pages);
            }
        }
    }

    /// The plan's check has found the device to be the raiser's own. A stopped subject's trap or timed event starts nothing.
    fn start_device(&mut self, raiser: SubjectId, device: u16, pages: &impl Pages) {
        if self.state(raiser).activity == Activity::Stopped {
            return;
        }
        if let Some(device) = self.plan.devices.get(usize::from(device)) {
            Function::new(&self.plan, device, pages).start();
        }
    }

    /// Has the devices of `subject` reach its memory no more: its start restores that. A function-level reset takes time that
    /// belongs to others as well, so nobody waits for it: the subject starts later.
    fn reset_devices(&mut self, subject: SubjectId, now: u64, pages: &impl Pages) {
        if self.state(subject).not_before > now {
            return; // they are being reset already
        }
        let mut longest = 0;
        self.for_each_device(subject, pages, |device| longest = longest.max(device.reset()));
        for interrupt in self.plan.interrupts.iter().filter(|i| SubjectId::from_plan(i.subject) == subject) {
            insert(&mut self.masked, interrupt.host_vector);
        }
        if longest > 0 {
            self.state(subject).not_before = now.saturating_add(self.clock.ticks(longest));
        }
    }

    fn raise_for(&mut self, subject: SubjectId, trap: u8, pages: &impl Pages) -> Option<MachineAction> {
        let record = self.plan.subjects.get(subject.index())?;
        match record.trap_events.get(usize::from(trap)) {
            Some(&number) if number != 0xff => self.raise(subject, u64::from(number), pages),
            _ => None,
        }
    }

    fn for_each_device<'a, P: Pages>(
        &'a self,
        subject: SubjectId,
        pages: &'a P,
        mut action: impl FnMut(Function<'a, P>),
    ) {
        for device in self.plan.devices.iter().filter(|d| SubjectId::from_plan(d.subject) == subject) {
            action(Function::new(&self.plan, device, pages));
        }
    }

    /// Whether the interrupt arrives at this CPU.
    fn is_own(&self, interrupt: &Interrupt) -> bool {
        self.plan.subjects.get(usize::from(interrupt.subject)).is_some_and(|s| s.cpu == self.cpu)
    }

    fn for_each_subject(&mut self, partition: u16, mut action: impl FnMut(&mut Self, SubjectId)) {
        let Some(record) = self.plan.partitions.get(usize::from(partition)) else { return };
        for group in plan::slice(self.plan.groups, record.first_group, record.groups) {
            for member in plan::slice(self.plan.members, group.first_member, group.members) {
                action(self, SubjectId::from_plan(*member));
            }
        }
    }

    fn state(&mut self, subject: SubjectId) -> &mut SubjectState {
        &mut self.subjects[subject.index()]
    }

    fn mailbox(&self, subject: SubjectId) -> &'p Mailbox {
        self.mailboxes.of(subject.index())
    }
}

impl SubjectState {
    fn is_ready(&self, now: u64) -> bool {
        self.activity == Activity::Runnable && self.not_before <= now
    }
}

/// Puts a vector into the set; tells whether it was not in it.
fn insert(vectors: &mut Vectors, vector: u8) -> bool {
    let (word, bit) = (&mut vectors[usize::from(vector >> 6)], 1 << (vector & 63));
    let is_new = *word & bit == 0;
    *word |= bit;
    is_new
}

/// Takes a vector out of the set; tells whether it was in it.
fn remove(vectors: &mut Vectors, vector: u8) -> bool {
    let word = &mut vectors[usize::from(vector >> 6)];
    let bit = 1 << (vector & 63);
    let had = *word & bit != 0;
    *word &= !bit;
    had
}
