//! Events from one CPU to a subject on another, in every interleaving that two processors can produce: the kernel's own
//! mailboxes, with the model checker's atomics in place of the processor's.

// The file is written for the crate that it is part of.
#![allow(dead_code, unreachable_pub)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

#[path = "../src/mailbox.rs"]
mod mailbox;

/// What [`mailbox`] is made of.
mod atomic {
    pub(crate) use std::sync::atomic::Ordering;

    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, fence};
}

use mailbox::Mailboxes;

#[test]
fn a_sleeper_on_another_cpu_is_woken() {
    model(|cpu| {
        let other = cpu.clone();
        let other = thread::spawn(move || other.raise(3));
        cpu.attend(PARTITION);
        cpu.run_until_woken_with(1 << 3);
        other.join().unwrap();
    });
}

#[test]
fn two_events_at_once_arrive_once_each_whether_with_one_interrupt_or_two() {
    model_with(Some(2), |cpu| {
        cpu.attend(PARTITION);
        let others = [3, 5].map(|event| {
            let other = cpu.clone();
            thread::spawn(move || other.raise(event))
        });
        cpu.run_until_woken_with(1 << 3 | 1 << 5);
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn an_event_for_a_partition_that_the_cpu_turns_to_is_seen_then_or_interrupts() {
    model(|cpu| {
        cpu.attend(OTHER_PARTITION);
        let other = cpu.clone();
        let other = thread::spawn(move || other.raise(3));
        cpu.attend(PARTITION);
        cpu.run_until_woken_with(1 << 3);
        other.join().unwrap();
    });
}

#[test]
fn an_interrupt_that_is_not_sent_would_be_missed_here() {
    let without_interrupt = || {
        model(|cpu| {
            cpu.attend(PARTITION);
            let other = cpu.clone();
            let other = thread::spawn(move || _ = other.deliver(3));
            cpu.run_until_woken_with(1 << 3);
            other.join().unwrap();
        });
    };
    let failure = catch_unwind(AssertUnwindSafe(without_interrupt)).unwrap_err();
    let text = failure.downcast_ref::<String>().map_or("", String::as_str);
    assert!(text.contains("deadlock"), "failed with: {text}");
}

/// Explores every interleaving.
fn model(story: impl Fn(Arc<Cpu>) + Sync + Send + 'static) {
    model_with(None, story);
}

/// Explores the interleavings in which threads are interrupted at most so many times: all of those of three threads take hours.
fn model_with(preemptions: Option<usize>, story: impl Fn(Arc<Cpu>) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || story(Arc::new(Cpu::new())));
}

/// The CPU of the sleeper, as far as sleeping goes.
struct Cpu {
    mailboxes: Mailboxes,
    /// Whether an interrupt is pending: the kernel takes it when the CPU halts.
    interrupted: Mutex<bool>,
    interrupt: Condvar,
}

impl Cpu {
    fn new() -> Self {
        Self { mailboxes: Mailboxes::new(), interrupted: Mutex::new(false), interrupt: Condvar::new() }
    }

    /// Another CPU raises an event for the sleeper.
    fn raise(&self, event: u8) {
        if self.deliver(event) {
            *self.interrupted.lock().unwrap() = true;
            self.interrupt.notify_one();
        }
    }

    fn deliver(&self, event: u8) -> bool {
        self.mailboxes.deliver_elsewhere(SUBJECT, event, CPU, PARTITION)
    }

    fn attend(&self, partition: u16) {
        self.mailboxes.attend(CPU, partition);
    }

    /// Goes on until the sleeper is awake and these events have arrived. Whether it runs or the CPU halts: only an interrupt has
    /// the kernel look again.
    fn run_until_woken_with(&self, expected: u64) {
        let mailbox = self.mailboxes.of(SUBJECT);
        let (mut events, mut awake) = (0, false);
        loop {
            // What the kernel does after every exit.
            let new = mailbox.take_pending();
            assert_eq!(events & new, 0, "an event arrived twice");
            events |= new;
            awake |= mailbox.take_token();
            if awake && events == expected {
                return;
            }
            let mut interrupted = self.interrupted.lock().unwrap();
            while !*interrupted {
                interrupted = self.interrupt.wait(interrupted).unwrap();
            }
            *interrupted = false;
        }
    }
}

const CPU: u16 = 1;
const SUBJECT: usize = 7;
const PARTITION: u16 = 2;
const OTHER_PARTITION: u16 = 1;
