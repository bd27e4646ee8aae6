//! What a subject sees of the processor.

use palisade_abi::plan::{CpuidLeaf, slice};

use super::System;
use super::rules::{CPUID_HIDES, EXTENDED_STATE, Findings};

/// Checks extended state and CPUID of every subject.
pub(super) fn check(system: &System<'_>, findings: &mut Findings) {
    for subject in &system.subjects {
        let (name, record) = (subject.name, subject.record);
        findings.require(is_valid_xcr0(record.xcr0), &EXTENDED_STATE, || {
            format!("{name}: its extended state {:#x} is no valid combination of one page", record.xcr0)
        });
        for leaf in slice(system.plan.cpuid, record.first_cpuid, record.cpuids) {
            for (at, register, bits, what) in HIDDEN {
                let shown = shown(leaf, *register) & bits;
                findings.require(leaf.leaf != *at || shown == 0, &CPUID_HIDES, || {
                    format!("{name}: CPUID leaf {at:#x} shows {what}")
                });
            }
            let hidden = HIDDEN_LEAVES.iter().find(|(at, _)| *at == leaf.leaf);
            if let Some((at, what)) = hidden.filter(|_| (0..4).any(|r| shown(leaf, r) != 0)) {
                findings.add(&CPUID_HIDES, || format!("{name}: CPUID leaf {at:#x} shows {what}"));
            }
            let main = leaf.leaf == EXTENDED_STATE_LEAF && matches!(leaf.subleaf, 0 | CpuidLeaf::ANY_SUBLEAF);
            let states = u64::from(shown(leaf, EAX)) | u64::from(shown(leaf, EDX)) << 32;
            findings.require(!main || states & !record.xcr0 == 0, &CPUID_HIDES, || {
                format!("{name}: CPUID shows extended state {states:#x}, but it may use {:#x}", record.xcr0)
            });
        }
    }
}

/// x87 and SSE always; AVX; all three parts of AVX-512 together, and on top of AVX. Nothing else: the kernel's save area is
/// one page.
fn is_valid_xcr0(xcr0: u64) -> bool {
    let base = xcr0 & X87_SSE == X87_SSE;
    let avx = xcr0 & AVX != 0;
    let avx512 = xcr0 & AVX512;
    base && (avx512 == 0 || avx512 == AVX512 && avx) && xcr0 & !(X87_SSE | AVX | AVX512) == 0
}

/// Bits of a register that can be set in what the subject sees.
fn shown(leaf: &CpuidLeaf, register: usize) -> u32 {
    let at = |registers: &[u32; 4]| registers.get(register).copied().unwrap_or(u32::MAX);
    at(&leaf.mask) | at(&leaf.fixed)
}

const X87_SSE: u64 = 0b11;
const AVX: u64 = 1 << 2;
const AVX512: u64 = 0b111 << 5;

const EAX: usize = 0;
const EBX: usize = 1;
const ECX: usize = 2;
const EDX: usize = 3;
const EXTENDED_STATE_LEAF: u32 = 0xd;

/// Features whose instructions or registers a subject does not have: leaf, register, bits, name.
const HIDDEN: &[(u32, usize, u32, &str)] = &[
    (1, ECX, 1 << 3, "MONITOR"),
    (1, ECX, 1 << 5, "VMX"),
    (1, ECX, 1 << 6, "SMX"),
    (1, ECX, 1 << 21, "x2APIC"),
    (1, ECX, 1 << 24, "the TSC deadline timer"),
    (7, EBX, 1 << 2, "SGX"),
    (0x8000_0001, ECX, 1 << 2, "SVM"),
    (0x8000_0001, ECX, 1 << 12, "SKINIT"),
    (0x8000_0001, ECX, 1 << 29, "MONITORX"),
];

/// Leaves that must read as zero.
const HIDDEN_LEAVES: &[(u32, &str)] = &[
    (5, "MONITOR's properties"),
    (0xa, "performance counters"),
    (0x12, "SGX"),
    (0x8000_000a, "SVM's properties"),
    (0x8000_001f, "memory encryption"),
];
