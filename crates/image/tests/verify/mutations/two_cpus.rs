//! Damage to an image for two CPUs: what one CPU's kernel has is not the other one's.

use palisade_abi::layout::{CPU_START, PAGE};
use palisade_abi::plan::{Cpu, Frame, MemoryRange, Table, source_flags};

use super::{Mutation, breaks_on_two_cpus as breaks};
use crate::damage::{NO_EXECUTE, Rights, Tree, WRITE};
use crate::system::{HELLO, PAUSED, RAM, RESTART, SUPERVISOR, TIME};

pub(super) const MUTATIONS: &[Mutation] = &[
    breaks("kernel-tables", &[], "the boot CPU's kernel maps another CPU's stack", |d| {
        let stack = d.read_cpu(1).stack_top - PAGE;
        d.map_kernel_on(0, stack, Rights::ReadWrite);
    }),
    breaks("kernel-tables", &[], "the boot CPU's kernel maps another CPU's data", |d| {
        let data = d.read_cpu(1).data;
        d.map_kernel_on(0, data, Rights::ReadWrite);
    }),
    breaks("kernel-tables", &[], "the boot CPU's kernel maps another CPU's host area", |d| {
        let host_area = d.read_cpu(1).host_area;
        d.map_kernel_on(0, host_area, Rights::ReadWrite);
    }),
    breaks("kernel-tables", &[], "the boot CPU's kernel maps the state of another CPU's subject", |d| {
        let state = d.read_subject(HELLO).state;
        d.map_kernel_large_on(0, state);
    }),
    breaks("kernel-tables", &[], "another CPU's kernel maps the state of the boot CPU's subject", |d| {
        let state = d.read_subject(TIME).state;
        d.map_kernel_large_on(1, state);
    }),
    breaks("kernel-tables", &[], "another CPU's kernel maps the boot CPU's stack", |d| {
        let stack = d.read_cpu(0).stack_top - PAGE;
        d.map_kernel_on(1, stack, Rights::ReadWrite);
    }),
    breaks("kernel-tables", &[], "a CPU's kernel does not map its own subject's state", |d| {
        let state = d.read_subject(HELLO).state;
        d.entry(Tree::KernelOn(1), state, 1, |_| 0);
    }),
    breaks("kernel-memory-distinct", &["kernel-tables"], "two CPUs have one stack", |d| {
        let stack_top = d.read_cpu(0).stack_top;
        d.record(Table::Cpus, 1, |cpu: &mut Cpu| cpu.stack_top = stack_top);
    }),
    breaks("kernel-segments", &["write-xor-execute"], "another CPU's kernel can write to its text", |d| {
        d.entry(Tree::KernelOn(1), 0x10_0000, 1, |e| e | WRITE);
    }),
    breaks(
        "kernel-segments",
        &[],
        "another CPU's kernel can write to the text that the boot CPU executes",
        |d| {
            d.entry(Tree::KernelOn(1), 0x10_0000, 1, |e| e | WRITE | NO_EXECUTE);
        },
    ),
    breaks("kernel-unreachable", &[], "a subject reaches the page at which CPUs begin", |d| {
        d.map_nested(HELLO, RAM, CPU_START, Rights::ReadWrite);
    }),
    breaks("plan-valid", &[], "the page at which CPUs begin is no memory of the plan", |d| {
        d.record(Table::Ram, 0, |range: &mut MemoryRange| range.start += PAGE);
    }),
    breaks("events-closed", &[], "an event for another CPU interrupts nobody", |d| {
        d.source_event(SUPERVISOR, RESTART, |event| event.flags &= !source_flags::IPI);
    }),
    breaks("events-closed", &[], "an event from another CPU interrupts nobody", |d| {
        d.source_event(HELLO, PAUSED, |event| event.flags &= !source_flags::IPI);
    }),
    breaks("plan-valid", &[], "the second CPU's frames end before the major frame", |d| {
        d.record(Table::Frames, 2, |frame: &mut Frame| frame.end_us -= 1000);
    }),
];
