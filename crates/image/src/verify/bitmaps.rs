//! What I/O and MSR permission bitmaps grant.
//!
//! Formats: AMD64 Architecture Programmer's Manual volume 2, sections 15.10 (I/O) and 15.11 (MSRs); Intel Software
//! Developer's Manual volume 3, sections "I/O-Bitmap Addresses" and "MSR-Bitmap Address". In all of them a set bit
//! denies.

use palisade_abi::layout::PAGE;
use palisade_abi::plan::PortWrite;

use super::System;
use super::rules::{Findings, IO_BITMAPS_EQUAL, MSR_BITMAPS, PORTS_OF_THE_KERNEL, PORTS_ONE_OWNER};
use super::subjects::Subject;

/// Checks the bitmaps of every subject.
pub(super) fn check(system: &System<'_>, findings: &mut Findings) {
    let kernel = kernel_ports(system);
    let mut owners: Vec<Option<&str>> = vec![None; PORTS];
    for subject in &system.subjects {
        let name = subject.name;
        for port in ports(system, subject, findings) {
            if let Some(owner) = owners.get_mut(port) {
                if let Some(other) = owner {
                    findings
                        .add(&PORTS_ONE_OWNER, || format!("{other} and {name} can both use port {port:#x}"));
                }
                *owner = Some(name);
            }
            let kernel = kernel.iter().find(|(range, _)| range.contains(&port));
            if let Some((_, what)) = kernel {
                findings.add(&PORTS_OF_THE_KERNEL, || format!("{name} can use port {port:#x}: {what}"));
            }
        }
        check_msrs(system, subject, findings);
    }
}

/// The ports that either vendor's bitmap grants.
fn ports(system: &System<'_>, subject: &Subject<'_>, findings: &mut Findings) -> Vec<usize> {
    let record = subject.record;
    let Some((amd, intel)) =
        system.image.at(record.iopm, 3 * PAGE).zip(system.image.at(record.io_bitmaps, 2 * PAGE))
    else {
        return Vec::new();
    };
    let mut granted = Vec::new();
    for port in interesting(amd, intel).take_while(|port| *port < PORTS) {
        let (by_amd, by_intel) = (!is_set(amd, port), !is_set(intel, port));
        findings.require(by_amd == by_intel, &IO_BITMAPS_EQUAL, || {
            let vendor = if by_amd { "AMD" } else { "Intel" };
            format!("{}: only the {vendor} bitmap grants port {port:#x}", subject.name)
        });
        if by_amd || by_intel {
            granted.push(port);
        }
    }
    // An access of up to four bytes at the last port looks at bits behind the 65,536th.
    let rest = amd.get(PORTS / 8..).unwrap_or_default();
    findings.require(rest.iter().all(|b| *b == 0xff), &IO_BITMAPS_EQUAL, || {
        format!("{}: the AMD bitmap grants something behind the last port", subject.name)
    });
    granted
}

fn kernel_ports(system: &System<'_>) -> Vec<(std::ops::Range<usize>, &'static str)> {
    let mut ports = KERNEL_PORTS.to_vec();
    let header = system.plan.header;
    let mut add = |port: u16, width: u16, what| {
        if port != 0 {
            ports.push((usize::from(port)..usize::from(port) + usize::from(width), what));
        }
    };
    add(header.debug_port, 1, "the debug console");
    add(header.pm_timer_port, 4, "the power-management timer");
    for PortWrite { port, width, .. } in system.plan.power_off {
        add(*port, *width, "it powers the machine off");
    }
    for PortWrite { port, width, .. } in system.plan.reset {
        add(*port, *width, "it resets the machine");
    }
    ports
}

fn check_msrs(system: &System<'_>, subject: &Subject<'_>, findings: &mut Findings) {
    let record = subject.record;
    let Some((amd, intel)) =
        system.image.at(record.msrpm, 2 * PAGE).zip(system.image.page(record.msr_bitmap))
    else {
        return;
    };
    let name = subject.name;
    for (range, first) in [LOW_MSRS, HIGH_MSRS].into_iter().enumerate() {
        for index in 0..MSRS_PER_RANGE {
            let msr = first + index as u32;
            let amd_bit = (range * MSRS_PER_RANGE + index) * 2;
            let intel_bit = range * MSRS_PER_RANGE + index;
            let by_amd = [!is_set(amd, amd_bit), !is_set(amd, amd_bit + 1)];
            let by_intel = [!is_set(intel, intel_bit), !is_set(intel, 2 * MSRS_PER_RANGE + intel_bit)];
            findings.require(by_amd == by_intel, &MSR_BITMAPS, || {
                format!("{name}: the AMD and the Intel bitmap differ about MSR {msr:#x}")
            });
            let granted = by_amd.contains(&true) || by_intel.contains(&true);
            findings.require(!granted || GRANTED_MSRS.contains(&msr), &MSR_BITMAPS, || {
                format!("{name} can read or write MSR {msr:#x}")
            });
        }
    }
    let rest = amd.get(2 * MSRS_PER_RANGE * 2 / 8..).unwrap_or_default();
    findings.require(rest.iter().all(|b| *b == 0xff), &MSR_BITMAPS, || {
        format!("{name}: the AMD bitmap grants MSRs of AMD's own range")
    });
}

/// The bits that are clear in either of two bitmaps, and others next to them.
fn interesting(one: &[u8], other: &[u8]) -> impl Iterator<Item = usize> {
    let bytes = one.iter().zip(other).enumerate().filter(|(_, (a, b))| **a & **b != 0xff);
    bytes.flat_map(|(byte, _)| byte * 8..byte * 8 + 8)
}

fn is_set(bitmap: &[u8], bit: usize) -> bool {
    bitmap.get(bit / 8).is_none_or(|byte| byte >> (bit % 8) & 1 != 0)
}

const PORTS: usize = 65536;
const MSRS_PER_RANGE: usize = 0x2000;
const LOW_MSRS: u32 = 0;
const HIGH_MSRS: u32 = 0xc000_0000;
/// FS_BASE, GS_BASE and KERNEL_GS_BASE: saved and restored with the subject.
const GRANTED_MSRS: [u32; 3] = [0xc000_0100, 0xc000_0101, 0xc000_0102];

const KERNEL_PORTS: [(std::ops::Range<usize>, &str); 13] = [
    (0x00..0x10, "the first DMA controller"),
    (0x81..0x90, "the DMA controllers' page registers"),
    (0xc0..0xe0, "the second DMA controller"),
    (0x60..0x61, "the keyboard controller, which resets the machine"),
    (0x64..0x65, "the keyboard controller, which resets the machine"),
    (0xb2..0xb4, "system management mode"),
    (0x510..0x51c, "QEMU's firmware configuration, which writes to memory"),
    (0x20..0x22, "the first interrupt controller"),
    (0xa0..0xa2, "the second interrupt controller"),
    (0x40..0x44, "the interval timer"),
    (0x61..0x62, "the interval timer's gate"),
    (0x92..0x93, "the reset of system control port A"),
    (0xcf8..0xd00, "PCI configuration and reset"),
];
