//! The loop of every CPU: run the subject whose turn it is, deal with why it stopped, decide again.

use core::sync::atomic::{AtomicU64, Ordering};

use palisade_abi::crash::Reason;
use palisade_abi::plan::{self, Subject};
use palisade_kernel_core::cpuid;
use palisade_kernel_core::device::DeviceRegisters;
use palisade_kernel_core::dispatcher::{Dispatcher, MachineAction, Next, Pages, SubjectId};
use palisade_kernel_core::exit::{Exit, Trap};

use crate::arch::apic;
use crate::arch::extended_state::ExtendedState;
use crate::arch::virtualisation::Virtualisation;
use crate::arch::{processor, tables};
use crate::boot::System;
use crate::console::{self, Part};
use crate::memory::PlanMemory;
use crate::{ending, fatal, iommus, machine, report};

/// What a CPU works with.
pub(crate) struct Cpu {
    pub(crate) number: u16,
    pub(crate) system: &'static System,
    pub(crate) memory: PlanMemory<'static>,
}

/// Runs the subjects of one CPU, for ever. The first major frame begins at TSC value `start`, which has come.
pub(crate) fn run<V: Virtualisation>(cpu: Cpu, backend: V, start: u64) -> ! {
    let dispatcher =
        Dispatcher::new(cpu.system.plan, cpu.number, cpu.system.clock, &cpu.system.mailboxes, start);
    let mut running =
        Running { cpu, backend, dispatcher, armed: None, last: None, totals: Totals::default(), look: 0 };
    loop {
        let now = processor::tsc();
        if now >= running.look {
            running.look_at_iommus(now);
            continue; // It is later now, and frames end when they end.
        }
        match running.dispatcher.next(now, &running.cpu) {
            Next::Run { subject, until } => running.run_subject(subject, until),
            Next::Idle { until } => {
                running.totals.idle += 1;
                running.arm(until);
                processor::wait_for_interrupt();
                running.acknowledge();
            }
            Next::Machine(action) => running.act(action),
        }
    }
}

struct Running<V> {
    cpu: Cpu,
    backend: V,
    dispatcher: Dispatcher<'static>,
    /// TSC value that the timer is set to, if it is set.
    armed: Option<u64>,
    /// The subject whose extended state is in the processor.
    last: Option<SubjectId>,
    totals: Totals,
    /// TSC value at which IOMMUs are asked again.
    look: u64,
}

/// What the kernel counts, for people who measure.
#[derive(Default)]
struct Totals {
    /// Exits of subjects.
    exits: u64,
    /// Interrupts of the host, the timer's among them.
    interrupts: u64,
    /// Accesses and interrupts that IOMMUs refused to devices which are nobody's.
    refused: u64,
    /// How often nobody could run.
    idle: u64,
}

impl<V: Virtualisation> Running<V> {
    fn run_subject(&mut self, id: SubjectId, until: u64) {
        let Some(subject) = self.cpu.system.plan.subjects.get(id.index()) else { return };
        if let Some(generation) = self.dispatcher.take_reset(id, &self.cpu) {
            self.reset(id, subject, generation);
        }
        self.switch_extended_state(id, subject);
        let offered = self.dispatcher.pending_interrupt(id);
        self.backend.offer_interrupt(subject, offered);
        if !V::KEEPS_TIME {
            self.arm(until);
        }
        let exit = self.backend.run(subject, id.index(), until);
        self.totals.exits += 1;
        if let Some(vector) = offered
            && self.backend.interrupt_was_taken(subject)
        {
            self.dispatcher.interrupt_taken(id, vector);
        }
        self.handle(id, subject, &exit);
    }

    fn handle(&mut self, id: SubjectId, subject: &Subject, exit: &Exit) {
        match *exit {
            Exit::Interrupt => {
                processor::take_interrupts();
                self.acknowledge();
            }
            Exit::Hypercall(number) => {
                self.backend.skip_instruction(subject, exit);
                let action = self.dispatcher.raise(id, number, &self.cpu);
                self.act_if(action);
            }
            Exit::Cpuid => {
                self.answer_cpuid(subject);
                self.backend.skip_instruction(subject, exit);
            }
            Exit::Pause => {
                self.backend.skip_instruction(subject, exit);
                let action = self.dispatcher.pause(id, &self.cpu);
                self.act_if(action);
            }
            Exit::Halt => {
                self.backend.skip_instruction(subject, exit);
                if self.dispatcher.pending_interrupt(id).is_none() {
                    self.dispatcher.sleep(id, &self.cpu);
                }
            }
            Exit::SetExtendedState(0, value) if self.cpu.system.extended_state.accepts(subject, value) => {
                self.backend.registers(subject).xcr0 = value;
                self.last = None;
                self.cpu.system.extended_state.save(subject);
                self.backend.skip_instruction(subject, exit);
            }
            Exit::SetExtendedState(register, value) => {
                self.stop(id, subject, &Trap::extended_state(register, value));
            }
            Exit::Resume => {}
            Exit::Trap(trap) => self.stop(id, subject, &trap),
            Exit::Fatal(reason, code) => fatal::stop(reason, Some(id), self.backend.position(subject), code),
        }
    }

    fn stop(&mut self, id: SubjectId, subject: &Subject, trap: &Trap) {
        report::stopped(self.cpu.memory.report(), id, trap, self.backend.position(subject));
        let action = self.dispatcher.stop(id, trap.kind, &self.cpu);
        self.act_if(action);
    }

    fn reset(&mut self, id: SubjectId, subject: &Subject, generation: u64) {
        if self.last == Some(id) {
            self.last = None;
        }
        self.backend.reset(subject, id.index(), generation);
        self.backend.registers(subject).xcr0 = self.cpu.system.extended_state.allowed(subject);
        ExtendedState::reset(subject);
        report::started(self.cpu.memory.report(), id, generation);
    }

    fn switch_extended_state(&mut self, id: SubjectId, subject: &Subject) {
        if self.last == Some(id) {
            return;
        }
        if let Some(last) = self.last.and_then(|l| self.cpu.system.plan.subjects.get(l.index())) {
            self.cpu.system.extended_state.save(last);
        }
        let xcr0 = self.backend.registers(subject).xcr0;
        self.cpu.system.extended_state.load(subject, xcr0);
        self.last = Some(id);
    }

    fn answer_cpuid(&mut self, subject: &Subject) {
        let leaves = plan::slice(self.cpu.system.plan.cpuid, subject.first_cpuid, subject.cpuids);
        let registers = self.backend.registers(subject);
        let [a, b, c, d] =
            cpuid::answer(leaves, registers.rax as u32, registers.rcx as u32, processor::cpuid);
        registers.rax = u64::from(a);
        registers.rbx = u64::from(b);
        registers.rcx = u64::from(c);
        registers.rdx = u64::from(d);
    }

    /// Sets the timer to `until`, if it is not set to that already. What is left is counted from here: the kernel's own way since
    /// it decided is no time for whoever runs next.
    fn arm(&mut self, until: u64) {
        if self.armed != Some(until) {
            self.cpu.system.apic.arm(until.saturating_sub(processor::tsc()));
            self.armed = Some(until);
        }
    }

    /// Deals with the interrupts that were taken, and ends them: a device's only when it is masked, so that the same one does not
    /// come again at once.
    fn acknowledge(&mut self) {
        for (index, mut word) in tables::taken_interrupts().into_iter().enumerate() {
            while word != 0 {
                let vector = (index as u32 * 64 + word.trailing_zeros()) as u8;
                word &= word - 1;
                match vector {
                    apic::SPURIOUS_VECTOR => continue,
                    apic::TIMER_VECTOR => self.armed = None,
                    // What it is about is in the mailboxes, which are looked at next.
                    apic::EVENT_VECTOR => {}
                    apic::STOP_VECTOR => self.leave(),
                    _ => self.dispatcher.interrupt(vector, &self.cpu),
                }
                self.totals.interrupts += 1;
                self.cpu.system.apic.end_of_interrupt();
            }
        }
    }

    /// The boot CPU asks the IOMMUs what they refused, once in a major frame: so often, and no more, whatever a device does.
    fn look_at_iommus(&mut self, now: u64) {
        let cpu = &self.cpu;
        if cpu.number == 0 {
            iommus::look(&cpu.system.plan, cpu, cpu.memory.report(), &mut self.totals.refused);
        }
        self.look =
            now.saturating_add(cpu.system.clock.ticks(u64::from(cpu.system.plan.header.major_frame_us)));
    }

    fn act_if(&mut self, action: Option<MachineAction>) {
        if let Some(action) = action {
            self.act(action);
        }
    }

    fn act(&mut self, action: MachineAction) -> ! {
        self.look_at_iommus(0);
        let system = self.cpu.system;
        if action == MachineAction::Panic {
            let last = self.last.and_then(|l| system.plan.subjects.get(l.index()));
            let position = last.map_or((0, 0), |subject| self.backend.position(subject));
            fatal::stop(Reason::SubjectPanic, self.last, position, 0)
        }
        self.totals.add();
        ending::claim(system);
        ending::stop_all(system);
        print_totals();
        if action == MachineAction::Reset {
            machine::reset(&system.plan)
        } else {
            machine::power_off(&system.plan)
        }
    }

    /// Another CPU says that it ends the system. If none does, the interrupt is nobody's.
    fn leave(&mut self) -> ! {
        if !ending::is_claimed() {
            fatal::stop(Reason::Internal, None, (0, 0), u64::from(apic::STOP_VECTOR))
        }
        self.look_at_iommus(0);
        self.totals.add();
        ending::leave(self.cpu.system)
    }
}

impl Totals {
    /// Adds what this CPU has counted to what the others have.
    fn add(&self) {
        for (sum, count) in SUMS.iter().zip([self.exits, self.interrupts, self.idle]) {
            sum.fetch_add(count, Ordering::Relaxed);
        }
    }
}

fn print_totals() {
    let [exits, interrupts, idle] = SUMS.each_ref().map(|sum| Part::Decimal(sum.load(Ordering::Relaxed)));
    let (a, b, c) = (Part::Text(" exits, "), Part::Text(" interrupts, "), Part::Text(" times idle"));
    console::line("kernel: ", &[exits, a, interrupts, b, idle, c]);
}

/// What all CPUs have counted that have come to their end.
static SUMS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

impl DeviceRegisters for Cpu {
    fn read(&self, address: u64) -> u32 {
        self.memory.read(address)
    }

    fn write(&self, address: u64, value: u32) {
        self.memory.write(address, value);
    }
}

impl Pages for Cpu {
    fn timed_event(&self, subject: SubjectId) -> Option<(u64, Option<u8>)> {
        self.memory.timed_event(subject.index()).map(|e| (e.at(), e.event()))
    }

    fn clear_timed_event(&self, subject: SubjectId) {
        if let Some(event) = self.memory.timed_event(subject.index()) {
            event.cancel();
        }
    }

    fn show_frame(&self, partition: u16, start: u64, end: u64) {
        if let Some(partition) = self.system.plan.partitions.get(usize::from(partition)) {
            PlanMemory::scheduling_info(partition).set_frame(start, end);
        }
    }

    fn notify(&self, cpu: u16) {
        if let Some(cpu) = self.system.plan.cpus.get(usize::from(cpu)) {
            self.system.apic.send(cpu.apic_id, apic::EVENT_VECTOR);
        }
    }
}
