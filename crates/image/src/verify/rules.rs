//! The rules that a finished image must satisfy, and what is found against them.
//!
//! The list in the documentation is made from [`RULES`].

/// A rule of the verifier.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub id: &'static str,
    /// What holds for every image that passes, in one sentence.
    pub specification: &'static str,
}

/// One thing that is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule it is against.
    pub rule: &'static Rule,
    /// What is wrong, with names and addresses.
    pub message: String,
}

macro_rules! rules {
    ($($name:ident $id:literal $specification:literal;)*) => {
        $(pub(super) static $name: Rule = Rule { id: $id, specification: $specification };)*

        /// Every rule, in the order of the checks.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    IMAGE_IS_ELF "image-is-elf"
        "The image is a little-endian x86-64 ELF executable without sections, whose entry point lies in the kernel.";
    ONE_SEGMENT "one-load-segment"
        "One loadable segment at 1 MiB holds everything: it has content to its last byte and ends with the file.";
    NO_HIDDEN_BYTES "no-hidden-bytes"
        "Every byte of the file belongs to something that the plan names, or is zero.";
    MULTIBOOT "multiboot-headers"
        "A valid Multiboot 1 and a valid Multiboot 2 header lie where loaders look for them and load the whole file.";
    KERNEL_KNOWN "kernel-bytes-known"
        "The kernel is byte for byte the expected one, and is entered where it wants to be.";
    PLAN_VALID "plan-valid"
        "A plan with a correct checksum and no dangling reference lies on the first page after the kernel.";
    PLAN_MATCHES_IMAGE "plan-matches-image"
        "The plan gives the image's true bounds, and every field without a meaning in this version is zero.";
    NAMES_UNIQUE "names-unique"
        "Every subject has a name, no two have the same, and names of subjects and devices are of lower-case letters, digits, `-` and `_` alone.";
    UNJUDGED_NONE "unjudged-none"
        "The plan has no wired interrupts or registers behind I/O ports: this version has no rules that would judge them.";
    DEVICE_RECORDS "device-records"
        "Every device is a function of its own whose page is where it belongs in one configuration space, and every record belongs to one device.";
    DEVICE_SPACE "device-space-distinct"
        "Registers fill whole pages and are aligned to their size; they and the configuration space of all buses overlap neither each other nor memory or the chipset.";
    INTERRUPTS_OWNED "interrupts-owned"
        "Every device interrupt has an MSI-X entry of its own, in the registers of a device of the same subject.";
    DRIVERS_TRUSTED "drivers-trusted"
        "Without an IOMMU only the subject nic drives devices, for a device that was started can reach all memory.";
    IOMMU_UNITS "iommu-units"
        "All units of the IOMMU are of one kind and use the same tables, so that it does not matter which of them a device is behind.";
    DEVICE_CONFINED "device-confined"
        "Behind an IOMMU a device reaches exactly the memory that its driver's configuration names, at the address given there, and every other function of every bus reaches nothing.";
    INTERRUPTS_REMAPPED "interrupts-remapped"
        "An IOMMU passes on exactly the plan's device interrupts, each from its own device only and to its own vector and CPU.";
    DEVICE_CONTROL "device-control"
        "A device is started by an event that its driver raises itself, and reaches no memory while its driver is reset.";
    SHARED_WITH_DEVICE "shared-with-device"
        "The memory that a driver's configuration names for its device is the driver's own, all of it; without an IOMMU the address for the device is the physical one.";
    REGISTERS_OWNED "registers-owned"
        "Only its driver reaches the registers of a device, and cannot execute them.";
    CONFIGURATION_READ_ONLY "configuration-read-only"
        "No subject can write to configuration space, and only its driver reads the page of a device.";
    INTERRUPT_TABLES_HIDDEN "interrupt-tables-hidden"
        "No subject reaches registers that an MSI-X table lies among.";
    REGISTERS_UNCACHED "registers-uncached"
        "The local APIC, the IOMMU and the registers and configuration of devices are mapped uncached, memory is mapped write-back.";
    TABLES_IN_IMAGE "tables-inside-image"
        "Every page table, table of an IOMMU, I/O bitmap and MSR bitmap lies in the image, outside the kernel and the plan.";
    TABLES_ARE_TREES "tables-are-trees"
        "Every page table or table of an IOMMU is used exactly once, and no address space has more than 4,096 separate pieces.";
    TABLE_BITS "table-bits"
        "Table entries have the bits their format needs and no others: no reserved, user or caching bits; accessed and dirty preset.";
    NESTED_EQUAL "nested-tables-equal"
        "A subject's AMD and Intel tables agree in translation and rights for every page.";
    GUEST_IDENTITY "guest-is-identity"
        "A subject's own tables translate every address to itself, from 64 KiB to 128 TiB.";
    GUEST_RIGHTS "guest-rights-equal-nested"
        "A subject's own tables and its nested tables map the same pages with the same rights, its own tables' pages aside.";
    GUEST_TABLES_HIDDEN "guest-tables-hidden"
        "No virtual address of a subject leads to its page tables; nested tables map these read-write, not executable, to it alone.";
    WX "write-xor-execute"
        "No page is writable and executable, and what one subject or the kernel executes is writable by nobody.";
    ONE_WRITER "one-writer"
        "No page is writable by two subjects.";
    SHARING_DECLARED "sharing-declared"
        "A page written by one subject and read by another is a channel or state page that both subject infos declare alike.";
    CONTENT_READ_ONLY "content-read-only"
        "No subject can write to the content of the image, so that a restart finds it unchanged.";
    MEMORY_HAS_SOURCE "memory-has-source"
        "A page of memory that a subject can read is content of the image, or is written by a subject or by the kernel for it.";
    PRIVATE_KEYS "private-keys"
        "The memory that a subject info calls `key` is in one piece, read by that subject alone and written by nobody.";
    KERNEL_UNREACHABLE "kernel-unreachable"
        "No subject reaches kernel memory: only the log reads the crash record, only who declares it the report, only a partition its scheduling info.";
    KERNEL_MEMORY_DISTINCT "kernel-memory-distinct"
        "Every page of the kernel has one purpose and one owner, and the page below each kernel stack has none.";
    KERNEL_TABLES "kernel-tables"
        "Each CPU's kernel tables are an identity of exactly the kernel's memory and its control of devices: no subject's RAM, nothing private to another CPU.";
    KERNEL_SEGMENTS "kernel-segments"
        "Kernel text is executable and read-only, constants are read-only, data is not executable, as the kernel's own file says.";
    MEMORY_LISTED "memory-listed"
        "All memory in use is memory that the plan makes the kernel check against the loader's map; that list has no overlap.";
    KERNEL_MEMORY_CLEARED "kernel-memory-cleared"
        "The kernel clears its own volatile pages at boot, and clears nothing but listed memory outside image, crash record and the queues of an IOMMU.";
    MEMORY_RESTORED "memory-restored"
        "What a subject can write is cleared at boot if it is a channel, else restored by its init table at every start; a subject without one is cleared at boot and never reset.";
    IO_BITMAPS_EQUAL "io-bitmaps-equal"
        "A subject's AMD and Intel I/O bitmaps grant the same ports.";
    PORTS_ONE_OWNER "ports-one-owner"
        "No I/O port is granted to two subjects.";
    PORTS_OF_THE_KERNEL "ports-of-the-kernel"
        "No subject is granted a port that the kernel uses, that stops or resets the machine, or that makes a device write to memory.";
    MSR_BITMAPS "msr-bitmaps"
        "A subject's AMD and Intel MSR bitmaps are equal and grant nothing but FS_BASE, GS_BASE and KERNEL_GS_BASE.";
    SCHEDULE_FITS "schedule-fits"
        "Frames fill the major frame and are at least 100 microseconds; every subject is scheduled exactly once, on its own CPU.";
    EVENTS_CLOSED "events-closed"
        "Events lead to defined targets, carry an inter-processor interrupt exactly between CPUs, and are declared or raised by traps.";
    PAUSE_WAKES "pause-only-wakes"
        "An event that a subject raises by pausing wakes the subject nic and does nothing else.";
    MACHINE_RIGHTS "machine-rights"
        "Only the supervisor, and subjects whose subject info declares the right by its event's name, can reset, power off or stop the machine.";
    SUBJECT_INFO_TRUE "subject-info-true"
        "Subject infos are well-formed, name their subject, and agree with its tables in address, size and rights.";
    CONTENT_HASHES "content-hashes"
        "The content hash of a resource is the SHA-256 of the memory it describes.";
    KERNEL_WRITES_TRUE "kernel-writes-true"
        "The pages of a subject that the kernel writes or reads are the ones that it, and nobody else, sees at their addresses with the right rights.";
    BOOT_INFO_TRUE "boot-info-true"
        "The boot info gives a memory size inside the subject's RAM and a command line that ends inside the region.";
    ENTRY_EXECUTABLE "entry-executable"
        "A subject starts at an executable address, with its stack pointer in writable memory.";
    INIT_TABLE_TRUE "init-table-true"
        "An init table copies readable memory to writable memory of its subject and ends at an executable address.";
    CODE_IS_TEXT "code-is-text"
        "The plan's code ranges are executable memory of their subject, at the physical address the tables give.";
    EXTENDED_STATE "extended-state"
        "A subject's extended processor state is a valid combination that fits its save area.";
    CPUID_HIDES "cpuid-hides"
        "CPUID shows a subject no virtualisation, MONITOR, x2APIC or TSC deadline, and no more extended state than it may use.";
}

/// Findings as they are made: each message once, and a bounded number of them for each rule.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    /// Adds a finding, unless the rule has enough of them already.
    pub(super) fn add(&mut self, rule: &'static Rule, message: impl FnOnce() -> String) {
        let known = self.found.iter().filter(|f| f.rule == rule).count();
        if known > MOST_PER_RULE {
            return;
        }
        let message = if known == MOST_PER_RULE {
            "more of the same kind are not listed".to_owned()
        } else {
            message()
        };
        let finding = Finding { rule, message };
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    /// Adds a finding unless `holds`.
    pub(super) fn require(&mut self, holds: bool, rule: &'static Rule, message: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, message);
        }
    }

    /// All of them, in the order of the checks.
    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}

/// A damaged table can be wrong in thousands of entries; nobody reads more than these.
const MOST_PER_RULE: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_unique_and_specifications_are_one_sentence() {
        for (at, rule) in RULES.iter().enumerate() {
            assert!(RULES.iter().skip(at + 1).all(|other| other.id != rule.id), "{}", rule.id);
            assert!(rule.specification.ends_with('.'), "{}", rule.id);
            assert!(!rule.specification.contains(". "), "{}", rule.id);
        }
    }

    #[test]
    fn findings_of_one_rule_are_bounded() {
        let mut findings = Findings::default();
        for number in 0..1000 {
            findings.add(&WX, || format!("finding {number}"));
        }
        assert_eq!(findings.into_vec().len(), MOST_PER_RULE + 1);
    }
}
