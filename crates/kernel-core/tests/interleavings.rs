//! Events from one CPU to a subject on another, and the start of several CPUs, in every interleaving that processors can produce:
//! the kernel's own code, with the model checker's atomics in place of the processor's.

// The files are written for the crate that they are part of.
#![allow(dead_code, unreachable_pub)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

#[path = "../src/mailbox.rs"]
mod mailbox;
#[path = "../src/rendezvous.rs"]
mod rendezvous;

/// What they are made of.
mod atomic {
    pub(crate) use std::sync::atomic::Ordering;

    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};
}

use mailbox::{Arrival, Mailboxes};
use rendezvous::{NoStart, StartLine};

#[test]
fn a_sleeper_on_another_cpu_is_woken() {
    model(|cpu| {
        let other = cpu.clone();
        let other = thread::spawn(move || other.raise(3, Arrival::Wakes));
        cpu.attend(PARTITION);
        cpu.sleep_until(1 << 3);
        other.join().unwrap();
    });
}

#[test]
fn two_events_at_once_arrive_once_each_with_an_interrupt_for_each_sleep_at_most() {
    model_with(Some(2), |cpu| {
        cpu.attend(PARTITION);
        let others = [3, 5].map(|event| {
            let other = cpu.clone();
            thread::spawn(move || other.raise(event, Arrival::Wakes))
        });
        let sleeps = cpu.sleep_until(1 << 3 | 1 << 5);
        for other in others {
            other.join().unwrap();
        }
        assert!(cpu.interrupts() <= sleeps, "{} interrupts for {sleeps} sleeps", cpu.interrupts());
    });
}

#[test]
fn an_event_for_a_partition_that_the_cpu_turns_to_is_seen_then_or_interrupts() {
    for arrival in [Arrival::Wakes, Arrival::Changes] {
        model(move |cpu| {
            cpu.attend(OTHER_PARTITION);
            let other = cpu.clone();
            let other = thread::spawn(move || other.raise(3, arrival));
            cpu.attend(PARTITION);
            cpu.sleep_until(1 << 3);
            other.join().unwrap();
        });
    }
}

#[test]
fn what_changes_a_subject_that_never_sleeps_is_seen() {
    model_with(Some(3), |cpu| {
        let other = cpu.clone();
        let other = thread::spawn(move || {
            other.raise(3, Arrival::Changes);
            other.raise(5, Arrival::Changes);
        });
        cpu.attend(PARTITION);
        cpu.run_until(1 << 3 | 1 << 5);
        other.join().unwrap();
    });
}

#[test]
fn what_two_cpus_change_at_once_is_seen() {
    model_with(Some(2), |cpu| {
        cpu.attend(PARTITION);
        let others = [3, 5].map(|event| {
            let other = cpu.clone();
            thread::spawn(move || other.raise(event, Arrival::Changes))
        });
        cpu.run_until(1 << 3 | 1 << 5);
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn an_interrupt_that_is_not_sent_would_be_missed_here() {
    for arrival in [Arrival::Wakes, Arrival::Changes] {
        let without_interrupt = move || {
            model(move |cpu| {
                cpu.attend(PARTITION);
                let other = cpu.clone();
                let other = thread::spawn(move || _ = other.deliver(3, arrival));
                match arrival {
                    Arrival::Wakes => _ = cpu.sleep_until(1 << 3),
                    Arrival::Changes => cpu.run_until(1 << 3),
                }
                other.join().unwrap();
            });
        };
        let failure = catch_unwind(AssertUnwindSafe(without_interrupt)).unwrap_err();
        let text = failure.downcast_ref::<String>().map_or("", String::as_str);
        assert!(text.contains("deadlock"), "failed with: {text}");
    }
}

#[test]
fn when_the_patience_is_over_all_cpus_start_or_none_does() {
    explore(Some(3), || {
        let line = Arc::new(StartLine::new());
        let second = line.clone();
        let second = thread::spawn(move || come(&second, 1));
        match (come(&line, 0), second.join().unwrap()) {
            (Ok(start), Ok(other)) => assert_eq!(start, other),
            (Err(NoStart::Missing(missing)), Err(NoStart::Closed)) => assert_eq!(missing, 1),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn when_another_cpu_fails_all_cpus_start_or_none_does() {
    explore(Some(2), || {
        let line = Arc::new(StartLine::new());
        let (second, failing) = (line.clone(), line.clone());
        let second = thread::spawn(move || come(&second, 1));
        let failing = thread::spawn(move || failing.close());
        let first = come(&line, 0);
        let closed = failing.join().unwrap();
        let second = second.join().unwrap();
        assert_eq!((first.is_err(), second.is_err()), (closed, closed), "{first:?}, {second:?}");
    });
}

/// Comes to the line of two CPUs with a clock that always moves on, and little patience.
fn come(line: &StartLine, number: usize) -> Result<u64, NoStart> {
    let ticks = Cell::new(0);
    let now = || {
        ticks.set(ticks.get() + 1000);
        ticks.get()
    };
    line.wait(number, 2, now, 0, 500)
}

/// Explores every interleaving for a new [`Cpu`].
fn model(story: impl Fn(Arc<Cpu>) + Sync + Send + 'static) {
    model_with(None, story);
}

/// Explores some for a new [`Cpu`], as [`explore`] does.
fn model_with(preemptions: Option<usize>, story: impl Fn(Arc<Cpu>) + Sync + Send + 'static) {
    explore(preemptions, move || story(Arc::new(Cpu::new())));
}

/// Explores the interleavings in which threads are interrupted at most so many times: all of those of three threads take hours,
/// and those of longer stories of two take minutes.
fn explore(preemptions: Option<usize>, story: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(story);
}

/// The CPU of the target, as far as events go.
struct Cpu {
    mailboxes: Mailboxes,
    interrupts: Mutex<Interrupts>,
    interrupt: Condvar,
}

#[derive(Default)]
struct Interrupts {
    /// The kernel takes it when the CPU halts.
    pending: bool,
    sent: usize,
}

impl Cpu {
    fn new() -> Self {
        let interrupts = Mutex::new(Interrupts::default());
        Self { mailboxes: Mailboxes::new(), interrupts, interrupt: Condvar::new() }
    }

    /// Another CPU raises an event for the target.
    fn raise(&self, event: u8, arrival: Arrival) {
        if self.deliver(event, arrival) {
            let mut interrupts = self.interrupts.lock().unwrap();
            interrupts.pending = true;
            interrupts.sent += 1;
            self.interrupt.notify_one();
        }
    }

    fn deliver(&self, event: u8, arrival: Arrival) -> bool {
        self.mailboxes.deliver_elsewhere(SUBJECT, event, arrival, CPU, PARTITION)
    }

    fn attend(&self, partition: u16) {
        self.mailboxes.attend(CPU, partition);
    }

    /// The target sleeps again and again until these events have arrived. Gives how often it slept.
    fn sleep_until(&self, expected: u64) -> usize {
        let mailbox = self.mailboxes.of(SUBJECT);
        let (mut events, mut sleeps) = (0, 0);
        while events != expected {
            let mut asleep = mailbox.fall_asleep();
            sleeps += usize::from(asleep);
            loop {
                // What the kernel does after every exit.
                asleep = asleep && !mailbox.take_token();
                self.take_in(&mut events);
                if !asleep {
                    break;
                }
                self.wait_for_interrupt();
            }
        }
        sleeps
    }

    /// The target runs, and never exits by itself, until these events have arrived.
    fn run_until(&self, expected: u64) {
        let (mut events, mut time_is_over) = (0, false);
        loop {
            let listens = self.mailboxes.listens(CPU);
            let listens_anew = !listens && time_is_over;
            if listens_anew {
                self.mailboxes.listen(CPU);
            }
            self.take_in(&mut events);
            if events == expected {
                return;
            }
            time_is_over = !listens && !listens_anew;
            // Otherwise the timer has it look again.
            if !time_is_over {
                self.wait_for_interrupt();
            }
        }
    }

    fn take_in(&self, events: &mut u64) {
        let new = self.mailboxes.of(SUBJECT).take_pending();
        assert_eq!(*events & new, 0, "an event arrived twice");
        *events |= new;
    }

    /// Whether the target runs or the CPU halts: only an interrupt has the kernel look again.
    fn wait_for_interrupt(&self) {
        let mut interrupts = self.interrupts.lock().unwrap();
        while !interrupts.pending {
            interrupts = self.interrupt.wait(interrupts).unwrap();
        }
        interrupts.pending = false;
    }

    fn interrupts(&self) -> usize {
        self.interrupts.lock().unwrap().sent
    }
}

const CPU: u16 = 1;
const SUBJECT: usize = 7;
const PARTITION: u16 = 2;
const OTHER_PARTITION: u16 = 1;
