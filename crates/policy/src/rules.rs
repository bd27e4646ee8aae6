//! The rules that every system keeps, each with a name and a one-line specification.
//!
//! Some are kept by reading (what breaks them never becomes a [`System`]), some are checked on the system as described,
//! some on the finished plan. [`rules`] lists all of them; the book's list is made from it.

pub(crate) mod connections;
pub(crate) mod data;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod processor;
pub(crate) mod programs;
pub(crate) mod reading;
pub(crate) mod schedule;

use std::fmt;

use crate::plan::Plan;
use crate::problem::Collector;
use crate::system::System;

/// A rule.
pub struct Rule {
    /// Its identifier, which problems show and which does not change.
    pub id: &'static str,
    /// What it demands, in one sentence.
    pub specification: &'static str,
    pub(crate) check: Check,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Where a rule is checked.
pub(crate) enum Check {
    /// While files are read.
    Reading,
    /// On the system as described.
    System(fn(&System, &Collector)),
    /// On the plan.
    Plan(fn(&Plan, &Collector)),
}

/// All rules.
#[must_use]
pub fn rules() -> &'static [&'static Rule] {
    RULES
}

/// Checks a system against every rule for descriptions.
pub(crate) fn check_system(system: &System, problems: &Collector) {
    for rule in RULES {
        if let Check::System(check) = rule.check {
            check(system, problems);
        }
    }
}

/// Checks a plan against every rule for plans.
pub(crate) fn check_plan(plan: &Plan, problems: &Collector) {
    for rule in RULES {
        if let Check::Plan(check) = rule.check {
            check(plan, problems);
        }
    }
}

static RULES: &[&Rule] = &[
    &reading::SYNTAX,
    &reading::UNKNOWN_KEY,
    &reading::MISSING_KEY,
    &reading::TYPE,
    &reading::VALUE,
    &reading::FILE,
    &names::UNIQUE,
    &names::SYNTAX,
    &names::RESERVED,
    &names::COUNT,
    &programs::ELF,
    &programs::NOTES,
    &programs::TARGET,
    &programs::ABI_VERSION,
    &programs::LAYOUT,
    &programs::W_XOR_X,
    &programs::STACK,
    &programs::COMMAND_LINE,
    &programs::DEVICES,
    &programs::RESTART,
    &programs::NO_EFFECT,
    &memory::FITS,
    &memory::RAM,
    &memory::CHANNEL_SIZE,
    &memory::CHANNEL_WINDOW,
    &memory::REGIONS,
    &memory::PHYSICAL,
    &memory::SHARING,
    &connections::CHANNEL_ENDS,
    &connections::RESOURCE_NAMES,
    &connections::RESOURCE_COUNT,
    &connections::EVENT_ENDS,
    &connections::EVENT_NAMES,
    &connections::EVENT_COUNT,
    &connections::HANDOVER,
    &network::CARD,
    &network::PORTS,
    &network::PUBLISH,
    &network::OUTBOUND,
    &network::DMA_UNCONFINED,
    &data::SIZE,
    &data::CERTIFICATE,
    &data::INDEX,
    &schedule::CPU_EXISTS,
    &schedule::CPUS_COVERED,
    &schedule::MEMBERSHIP,
    &schedule::FRAMES,
    &schedule::FRAME_PARTITION,
    &schedule::MAJOR_FRAME,
    &schedule::FRAME_LENGTH,
    &machine::KNOWN,
    &machine::MEMORY_MAP,
    &machine::POWER_OFF,
    &machine::APIC_IDS,
    &machine::APIC_REACH,
    &processor::FEATURES,
    &machine::PCI,
    &machine::DEVICES,
    &machine::BARS,
    &machine::MSIX,
    &machine::IOMMU,
    &machine::PORT_OWNERS,
    &machine::DEVICE_OWNERS,
];

#[cfg(test)]
mod tests;
