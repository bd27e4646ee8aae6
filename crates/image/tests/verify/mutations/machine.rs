//! Damage to bitmaps, CPUID, extended state, schedule and events.

use palisade_abi::plan::{Frame, Table, source_action, source_flags};

use super::{Mutation, breaks};
use crate::damage::Damage;
use crate::system::{HELLO, LOG, SLEEP, STOPPED, SUPERVISOR, TIME};

pub(super) const MUTATIONS: &[Mutation] = &[
    breaks("io-bitmaps-equal", &[], "a port is granted on AMD processors only", |d| {
        let amd = d.read_subject(TIME).iopm;
        d.clear_bit(amd, 0x80);
    }),
    breaks("io-bitmaps-equal", &[], "a port is granted on Intel processors only", |d| {
        let intel = d.read_subject(TIME).io_bitmaps;
        d.clear_bit(intel, 0x80);
    }),
    breaks("io-bitmaps-equal", &[], "a port behind the last one is granted", |d| {
        let amd = d.read_subject(TIME).iopm;
        d.clear_bit(amd, 0x1_0001);
    }),
    breaks("ports-one-owner", &[], "two subjects have the serial port", |d| grant(d, TIME, 0x3f8)),
    breaks("ports-one-owner", &[], "a shared bitmap grants a port", |d| grant(d, HELLO, 0x80)),
    breaks("ports-of-the-kernel", &[], "a subject has the first interrupt controller", |d| {
        grant(d, TIME, 0x21)
    }),
    breaks("ports-of-the-kernel", &[], "a subject has the second interrupt controller", |d| {
        grant(d, TIME, 0xa0)
    }),
    breaks("ports-of-the-kernel", &[], "a subject has the interval timer", |d| grant(d, TIME, 0x43)),
    breaks("ports-of-the-kernel", &[], "a subject has the interval timer's gate", |d| grant(d, TIME, 0x61)),
    breaks("ports-of-the-kernel", &[], "a subject has PCI configuration", |d| grant(d, TIME, 0xcfc)),
    breaks("ports-of-the-kernel", &[], "a subject has the reset port", |d| grant(d, TIME, 0xcf9)),
    breaks("ports-of-the-kernel", &[], "a subject has half of the power port", |d| grant(d, TIME, 0x605)),
    breaks("ports-of-the-kernel", &[], "a subject has the power-management timer", |d| grant(d, TIME, 0x60a)),
    breaks("ports-of-the-kernel", &[], "a subject has the debug console", |d| grant(d, TIME, 0xe9)),
    breaks("ports-of-the-kernel", &[], "a subject has a DMA controller", |d| grant(d, TIME, 0xc4)),
    breaks("ports-of-the-kernel", &[], "a subject has the keyboard controller", |d| grant(d, TIME, 0x64)),
    breaks("msr-bitmaps", &[], "an MSR can be read on AMD processors only", |d| {
        let amd = d.read_subject(HELLO).msrpm;
        d.clear_bit(amd, (0x2000 + 0x101) * 2 + 0x10);
    }),
    breaks("msr-bitmaps", &[], "EFER can be written", |d| {
        let (amd, intel) = (d.read_subject(HELLO).msrpm, d.read_subject(HELLO).msr_bitmap);
        d.clear_bit(amd, (0x2000 + 0x80) * 2 + 1);
        d.clear_bit(intel, 0x6000 + 0x80);
    }),
    breaks("msr-bitmaps", &[], "the APIC base can be read on Intel processors", |d| {
        let intel = d.read_subject(HELLO).msr_bitmap;
        d.clear_bit(intel, 0x1b);
    }),
    breaks("msr-bitmaps", &[], "GS_BASE can be written on AMD processors only", |d| {
        let intel = d.read_subject(HELLO).msr_bitmap;
        d.at(intel)[(0x6000 + 0x101) / 8] |= 1 << (0x101 % 8);
    }),
    breaks("msr-bitmaps", &[], "an MSR of AMD's own range is granted", |d| {
        let amd = d.read_subject(HELLO).msrpm;
        d.clear_bit(amd, 0x4000 * 2 + 0x114 * 2);
    }),
    breaks("extended-state", &[], "a subject has extended state that does not fit", |d| {
        d.subject(HELLO, |s| s.xcr0 |= 3 << 17);
    }),
    breaks("extended-state", &[], "a subject has a part of AVX-512", |d| {
        d.subject(HELLO, |s| s.xcr0 |= 1 << 5)
    }),
    breaks("extended-state", &["cpuid-hides"], "a subject has AVX-512 without AVX", |d| {
        d.subject(HELLO, |s| s.xcr0 = 0b1110_0011);
    }),
    breaks("cpuid-hides", &[], "CPUID shows VMX", |d| d.cpuid(1, |l| l.mask[2] |= 1 << 5)),
    breaks("cpuid-hides", &[], "CPUID pretends MONITOR", |d| d.cpuid(1, |l| l.fixed[2] |= 1 << 3)),
    breaks("cpuid-hides", &[], "CPUID shows x2APIC", |d| d.cpuid(1, |l| l.mask[2] |= 1 << 21)),
    breaks("cpuid-hides", &[], "CPUID shows SVM", |d| d.cpuid(0x8000_0001, |l| l.mask[2] |= 1 << 2)),
    breaks("cpuid-hides", &[], "CPUID shows SVM's properties", |d| d.cpuid(7, |l| l.leaf = 0x8000_000a)),
    breaks("cpuid-hides", &[], "CPUID shows too much extended state in every subleaf", |d| {
        d.cpuid(7, |l| (l.leaf, l.subleaf, l.mask[0]) = (0xd, u32::MAX, 1 << 9));
    }),
    breaks("cpuid-hides", &[], "CPUID shows extended state the subject may not use", |d| {
        d.cpuid(0xd, |l| l.mask[0] |= 1 << 9);
    }),
    breaks("schedule-fits", &[], "a frame is too short", |d| {
        d.record(Table::Frames, 0, |f: &mut Frame| f.end_us = 99);
    }),
    breaks("events-closed", &[], "an event interrupts its own CPU", |d| {
        d.source_event(HELLO, STOPPED, |e| e.flags |= source_flags::IPI);
    }),
    breaks("events-closed", &[], "an event has an unknown flag", |d| {
        d.source_event(HELLO, STOPPED, |e| e.flags = 0x80)
    }),
    breaks("events-closed", &[], "a subject can raise an event that nobody declared", |d| {
        d.source_event(HELLO, 9, |e| e.action = source_action::NONE);
    }),
    breaks("events-closed", &[], "a declared event does not exist", |d| {
        d.source_event(HELLO, SLEEP, |e| e.action = source_action::UNDEFINED);
    }),
    breaks("events-closed", &[], "a trap raises an event that does not exist", |d| {
        d.subject(HELLO, |s| s.trap_events[6] = 40);
    }),
    breaks("machine-rights", &[], "a unikernel can power the machine off", |d| {
        d.source_event(HELLO, SLEEP, |e| e.action = source_action::SYSTEM_POWER_OFF);
    }),
    breaks("machine-rights", &[], "the log can reset the machine", |d| {
        d.source_event(LOG, SLEEP, |e| e.action = source_action::SYSTEM_RESET);
    }),
    breaks("machine-rights", &[], "a unikernel's fault stops the system", |d| {
        d.source_event(HELLO, STOPPED, |e| e.action = source_action::SYSTEM_PANIC);
    }),
    breaks("machine-rights", &["subject-info-true"], "the supervisor has another name", |d| {
        d.subject(SUPERVISOR, |s| s.name[0] = b'x');
    }),
];

/// Grants a port on both vendors' processors.
fn grant(d: &mut Damage, subject: usize, port: usize) {
    let record = d.read_subject(subject);
    d.clear_bit(record.iopm, port);
    d.clear_bit(record.io_bitmaps, port);
}
