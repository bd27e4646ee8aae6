//! IOMMUs made by hand, which answer as the specifications say, and what the kernel does to them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;

const REGISTERS: u64 = 0xfed8_0000;
const DEVICE_TABLE: u64 = 0x20_0000;
const INTERRUPT_TABLE: u64 = 0x21_0000;
const QUEUES: u64 = 0x30_0000;

const AMD: plan::Iommu = plan::Iommu {
    kind: iommu_kind::AMD,
    device_table_size: 0x2000,
    registers: REGISTERS,
    device_table: DEVICE_TABLE,
    interrupt_table: 0,
    queues: QUEUES,
};
const INTEL: plan::Iommu = plan::Iommu {
    kind: iommu_kind::INTEL,
    device_table_size: 0x1000,
    interrupt_table: INTERRUPT_TABLE,
    ..AMD
};

/// A unit, and the memory with its queues, as the firmware left it.
struct Unit {
    record: plan::Iommu,
    words: RefCell<BTreeMap<u64, u32>>,
    writes: RefCell<Vec<(u64, u32)>>,
    /// Whether it does what it is told.
    works: bool,
}

impl Unit {
    fn new(record: plan::Iommu, registers: &[(u64, u32)]) -> Self {
        let unit = Self { record, words: RefCell::default(), writes: RefCell::default(), works: true };
        registers.iter().for_each(|(offset, value)| unit.set(REGISTERS + offset, *value));
        // What was in the memory before is no command and no report.
        (0..plan::Iommu::QUEUES_SIZE).step_by(4).for_each(|at| unit.set(QUEUES + at, 0x2000_0000));
        unit
    }

    fn amd() -> Self {
        Self::new(AMD, &[(0x30, 1 << 6), (0x2020, 0)])
    }

    fn intel() -> Self {
        // 16 domains, 48 bits, large pages, two fault records at 0x200; queue and interrupts.
        let capabilities = 4_u64 << 8 | 47 << 16 | 1_u64 << 34 | 0x20 << 24 | 1_u64 << 40 | 3 << 5;
        let extended = 1 << 1 | 1 << 3;
        Self::new(
            INTEL,
            &[(0x08, capabilities as u32), (0x0c, (capabilities >> 32) as u32), (0x10, extended), (0x1c, 0)],
        )
    }

    fn set(&self, address: u64, value: u32) {
        self.words.borrow_mut().insert(address, value);
    }

    fn get(&self, address: u64) -> u32 {
        self.words.borrow().get(&address).copied().unwrap_or(u32::MAX)
    }

    fn wide(&self, offset: u64) -> u64 {
        u64::from(self.get(REGISTERS + offset)) | u64::from(self.get(REGISTERS + offset + 4)) << 32
    }

    fn command(&self, number: u64) -> [u64; 2] {
        let word = |at| u64::from(self.get(QUEUES + number * 16 + at));
        [word(0) | word(4) << 32, word(8) | word(12) << 32]
    }

    fn set_up(&self) -> Result<(), Problem> {
        Iommu::new(&self.record, self).set_up(15)
    }

    fn take_fault(&self) -> Option<Fault> {
        Iommu::new(&self.record, self).take_fault()
    }

    /// Does the commands up to `tail`: the last one stores a word.
    fn run(&self, tail: u64) {
        if !self.works {
            return;
        }
        let [first, second] = self.command(tail / 16 - 1);
        let (address, data) = if self.record.kind == iommu_kind::AMD {
            assert_eq!((first >> 60, first & 7), (1, 1), "a completion wait with a store");
            (first & 0x000f_ffff_ffff_fff8, second as u32)
        } else {
            assert_eq!(first & 0xffff_ffff, 0x25, "a wait with a store");
            (second, (first >> 32) as u32)
        };
        self.set(address, data);
    }

    /// How often the register was written, and where in the order of all writes the first time was.
    fn first_write(&self, offset: u64, value: u32) -> usize {
        let writes = self.writes.borrow();
        let found = writes.iter().position(|write| *write == (REGISTERS + offset, value));
        found.unwrap_or_else(|| panic!("{value:#x} is never written to {offset:#x}: {writes:x?}"))
    }
}

impl DeviceRegisters for Unit {
    fn read(&self, address: u64) -> u32 {
        self.get(address)
    }

    fn write(&self, address: u64, value: u32) {
        self.writes.borrow_mut().push((address, value));
        match (self.record.kind, address.wrapping_sub(REGISTERS)) {
            (iommu_kind::AMD, 0x18) => {
                self.set(address, value);
                if !self.works {
                    return;
                }
                let running = u32::from(value & 5 == 5) << 3 | u32::from(value & 0x1001 == 0x1001) << 4;
                self.set(REGISTERS + 0x2020, self.get(REGISTERS + 0x2020) & !0x18 | running);
            }
            (iommu_kind::AMD, 0x2020) => self.set(address, self.get(address) & !value),
            (iommu_kind::AMD, 0x2008) => {
                self.set(address, value);
                if value > 0 {
                    self.run(value.into());
                }
            }
            (iommu_kind::INTEL, 0x18) => {
                // One-shot commands stay visible in the status, all others are as written. The flush ends at once.
                let once = self.get(REGISTERS + 0x1c) & 0x4100_0000;
                if self.works {
                    self.set(REGISTERS + 0x1c, (value | once) & !(1 << 27));
                }
            }
            (iommu_kind::INTEL, 0x88) => {
                self.set(address, value);
                if value > 0 {
                    self.run(value.into());
                }
            }
            (iommu_kind::INTEL, 0x34) => self.set(address, self.get(address) & !(value & 0x7d)),
            (iommu_kind::INTEL, record @ (0x20c | 0x21c)) => {
                assert_eq!(value, 1 << 31);
                self.set(REGISTERS + record, self.get(address) & !value);
                let pending = [0x20c, 0x21c].iter().any(|at| self.get(REGISTERS + at) >> 31 == 1);
                self.set(REGISTERS + 0x34, self.get(REGISTERS + 0x34) & !2 | u32::from(pending) << 1);
            }
            _ => self.set(address, value),
        }
    }
}

#[test]
fn amd_is_on_with_the_plan_s_table_and_after_it_has_forgotten_everything() {
    let unit = Unit::amd();
    unit.set(REGISTERS + 0x20, 0x10_0003);
    unit.set_up().unwrap();
    assert_eq!(unit.wide(0x00), DEVICE_TABLE | 1, "two pages");
    assert_eq!(unit.wide(0x20), 0, "no range of the firmware's that is not translated");
    assert_eq!((unit.wide(0x08), unit.wide(0x10)), (QUEUES | 8 << 56, (QUEUES + PAGE) | 8 << 56));
    assert_eq!(unit.wide(0x18) & 0x1405, 0x1405);
    assert_eq!(unit.command(0), [8 << 60, 0]);
    let (table, on) = (unit.first_write(0x00, DEVICE_TABLE as u32 | 1), unit.first_write(0x18, 0x1405));
    assert!(unit.first_write(0x18, 0) < table && table < on && on < unit.first_write(0x2008, 32));
}

#[test]
fn intel_is_on_with_the_plan_s_tables_and_after_it_has_forgotten_everything() {
    let unit = Unit::intel();
    // The firmware used it, with tables in scalable mode and interrupts in the long format.
    unit.set(REGISTERS + 0x1c, 0xc6 << 24 | 1 << 23);
    unit.set(REGISTERS + 0x20, 1 << 10);
    unit.set_up().unwrap();
    assert_eq!((unit.wide(0x20), unit.wide(0xb8)), (DEVICE_TABLE, INTERRUPT_TABLE | 7));
    assert_eq!(unit.wide(0x90), QUEUES);
    let status = unit.get(REGISTERS + 0x1c);
    assert_eq!(
        status & 0xc680_0000,
        0xc600_0000,
        "translation, root table, queue, interrupts; no old format"
    );
    assert_eq!([0, 1, 2].map(|number| unit.command(number)), [[0x11, 0], [0xd2, 0], [4, 0]]);
    assert_eq!(unit.get(REGISTERS + 0x64), 0, "memory that the firmware protected is the plan's now");
    let writes = unit.writes.borrow();
    let at = |bit: u32| writes.iter().position(|w| w.0 == REGISTERS + 0x18 && w.1 & bit != 0).unwrap();
    let invalidated = unit.first_write(0x88, 64);
    assert!(at(1 << 30) < invalidated && at(1 << 24) < invalidated);
    let off = |bit: u32| writes.iter().position(|w| w.0 == REGISTERS + 0x18 && w.1 & bit == 0).unwrap();
    let table = unit.first_write(0x20, DEVICE_TABLE as u32);
    assert!(
        [31, 26, 25].map(|bit| off(1 << bit)).iter().all(|off| *off < table),
        "off before anything changes"
    );
    let mut after = writes[table..].iter().zip(table..).filter(|(w, _)| w.0 == REGISTERS + 0x18);
    let on = after.find(|(w, _)| w.1 & (1 << 31 | 1 << 25) != 0).map(|(_, at)| at);
    assert!(on > Some(invalidated), "on after everything is forgotten: {on:?}");
}

#[test]
fn a_unit_that_is_missing_or_lacks_something_is_refused() {
    for kind in [AMD, INTEL] {
        assert_eq!(Unit::new(kind, &[]).set_up(), Err(Problem::Missing), "ones");
        let zeros = [0x08, 0x0c, 0x10, 0x30, 0x34].map(|register| (register, 0));
        assert_eq!(Unit::new(kind, &zeros).set_up(), Err(Problem::Missing));
    }
    for (features, what) in
        [(1, "command that invalidates everything"), (1 << 6 | 3 << 10, "page tables for devices")]
    {
        let amd = Unit::new(AMD, &[(0x30, features), (0x34, 0)]);
        assert_eq!(amd.set_up(), Err(Problem::Lacks(what)));
    }
    for (offset, bit, what) in [
        (0x08, 1 << 10, "addresses of 48 bits"),
        (0x08, 1 << 21, "room for the addresses of drivers"),
        (0x0c, 1 << 2, "large pages"),
        (0x10, 1 << 1, "invalidation queue"),
        (0x10, 1 << 3, "interrupt remapping"),
    ] {
        let unit = Unit::intel();
        unit.set(REGISTERS + offset, unit.get(REGISTERS + offset) & !bit);
        assert_eq!(unit.set_up(), Err(Problem::Lacks(what)));
    }
    let unit = Unit::intel();
    let sixteen = Iommu::new(&unit.record, &unit).set_up(16);
    assert_eq!(sixteen, Err(Problem::Lacks("domain for each device")));
    let unit = Unit::intel();
    unit.set(REGISTERS + 0x0c, unit.get(REGISTERS + 0x0c) | 0xff << 8);
    assert_eq!(unit.set_up(), Err(Problem::Lacks("fault records on the first page of its registers")));
}

#[test]
fn a_unit_that_does_nothing_is_refused() {
    for mut unit in [Unit::amd(), Unit::intel()] {
        unit.works = false;
        assert_eq!(unit.set_up(), Err(Problem::Stuck));
    }
}

#[test]
fn amd_s_unit_that_the_firmware_left_on_gets_no_tables_before_it_has_stopped() {
    let mut unit = Unit::amd();
    unit.works = false;
    unit.set(REGISTERS + 0x2020, 1 << 3 | 1 << 4);
    assert_eq!(unit.set_up(), Err(Problem::Stuck));
    let writes = unit.writes.borrow();
    assert!(writes.iter().all(|(address, _)| *address != REGISTERS), "{writes:x?}");
}

#[test]
fn intel_s_write_buffers_are_flushed_before_the_first_table_where_that_is_needed() {
    let flush = |write: &(u64, u32)| *write == (REGISTERS + 0x18, 1 << 27);
    let unit = Unit::intel();
    unit.set_up().unwrap();
    assert!(!unit.writes.borrow().iter().any(flush), "not needed");
    let unit = Unit::intel();
    unit.set(REGISTERS + 0x08, unit.get(REGISTERS + 0x08) | 1 << 4);
    unit.set_up().unwrap();
    assert!(unit.first_write(0x18, 1 << 27) < unit.first_write(0x20, DEVICE_TABLE as u32));
}

#[test]
fn amd_s_reports_are_taken_one_by_one_and_around_the_end_of_the_log() {
    let unit = Unit::amd();
    unit.set_up().unwrap();
    assert_eq!(unit.take_fault(), None);
    unit.set(REGISTERS + 0x2010, 0xff0);
    for (entry, address) in [(0xff0, 0x1_0000_2000_u64), (0, 0x10_0000)] {
        let event = [0x18, 2 << 28 | 1, address as u32, (address >> 32) as u32];
        event
            .into_iter()
            .zip((0..).step_by(4))
            .for_each(|(word, at)| unit.set(QUEUES + PAGE + entry + at, word));
    }
    let fault = |address| Some(Fault { function: 0x18, address: Some(address) });
    assert_eq!(unit.take_fault(), fault(0x1_0000_2000));
    assert_eq!((unit.get(REGISTERS + 0x2010), unit.get(QUEUES + PAGE + 0xff4)), (0, 0));
    assert_eq!((unit.take_fault(), unit.take_fault()), (fault(0x10_0000), None));
    assert_eq!(unit.get(REGISTERS + 0x2010), 16);
}

#[test]
fn amd_s_reports_of_interrupts_are_told_from_those_of_memory() {
    let told = |kind: u32, address: u64| {
        let unit = Unit::amd();
        unit.set_up().unwrap();
        let event = [0x18, kind, address as u32, (address >> 32) as u32];
        event.into_iter().zip((0..).step_by(4)).for_each(|(word, at)| unit.set(QUEUES + PAGE + at, word));
        unit.take_fault().and_then(|fault| fault.address)
    };
    for address in [0xfee0_0000, 0xfd_f800_0000, 0xffff_fffd_f800_0000] {
        assert_eq!(told(2 << 28 | 1 << 19, address), None);
        assert_eq!(told(2 << 28, address), Some(address), "no interrupt");
    }
    assert_eq!(told(2 << 28 | 1 << 19, 0x10_0000), Some(0x10_0000));
    assert_eq!(told(3 << 28 | 1 << 19, 0xfee0_0000), Some(0xfee0_0000), "the flag is of page faults");
}

#[test]
fn what_amd_s_unit_reports_of_its_commands_is_no_device_s() {
    let unit = Unit::amd();
    unit.set_up().unwrap();
    for (entry, kind) in [(0, 5), (16, 6), (32, 1)] {
        unit.set(QUEUES + PAGE + entry, 0x18);
        unit.set(QUEUES + PAGE + entry + 4, kind << 28);
    }
    unit.set(REGISTERS + 0x2018, 48);
    assert_eq!(unit.take_fault().map(|fault| fault.function), Some(0x18));
    assert_eq!((unit.take_fault(), unit.get(REGISTERS + 0x2010)), (None, 48));
}

#[test]
fn an_entry_of_amd_s_log_that_is_never_completed_holds_up_the_next_ones_for_a_while_only() {
    let unit = Unit::amd();
    unit.set_up().unwrap();
    unit.set(REGISTERS + 0x2018, 32);
    unit.set(QUEUES + PAGE + 16, 0x18);
    unit.set(QUEUES + PAGE + 20, 1 << 28);
    let taken = (0..20).position(|_| unit.take_fault().is_some());
    assert!(taken.is_some_and(|looks| looks > 2), "{taken:?}");
    assert!(
        (0..20).all(|_| unit.take_fault().is_none()),
        "nothing is taken twice, and an empty log has no such entry"
    );
    assert_eq!(unit.get(REGISTERS + 0x2010), 32);
}

#[test]
fn amd_s_log_goes_on_after_it_was_full() {
    let unit = Unit::amd();
    unit.set_up().unwrap();
    unit.set(REGISTERS + 0x2020, 1 | 1 << 4);
    assert_eq!(unit.take_fault(), None);
    assert_eq!(unit.get(REGISTERS + 0x2020), 1 << 3 | 1 << 4, "no overflow, and it runs again");
    assert_eq!(unit.get(REGISTERS + 0x18), 0x1405);
}

#[test]
fn intel_s_reports_are_taken_from_every_record_and_told_apart() {
    let unit = Unit::intel();
    unit.set_up().unwrap();
    unit.set(REGISTERS + 0x34, 0);
    assert_eq!(unit.take_fault(), None);
    unit.set(REGISTERS + 0x34, 1 << 8 | 1 << 1 | 1);
    for (record, reason) in [(0x200, 5), (0x210, 0x22)] {
        let words = [0x10_0fff, 1, 0x18, 1 << 31 | reason];
        words
            .into_iter()
            .zip((0..).step_by(4))
            .for_each(|(word, at)| unit.set(REGISTERS + record + at, word));
    }
    assert_eq!(unit.take_fault(), Some(Fault { function: 0x18, address: Some(0x1_0010_0000) }));
    assert_eq!(unit.take_fault(), Some(Fault { function: 0x18, address: None }));
    assert_eq!(unit.take_fault(), None);
    assert_eq!(unit.get(REGISTERS + 0x34) & 3, 0, "there is room for more");
}

#[test]
fn intel_s_reports_from_before_are_nobodys() {
    let unit = Unit::intel();
    // An error in the firmware's queue, which would keep the unit from doing commands, and a refused access.
    unit.set(REGISTERS + 0x34, 1 << 4 | 1 << 1);
    unit.set(REGISTERS + 0x21c, 1 << 31 | 5);
    unit.set_up().unwrap();
    assert_eq!((unit.get(REGISTERS + 0x34), unit.take_fault()), (0, None));
    assert!(unit.first_write(0x34, 0x7d) < unit.first_write(0x88, 64));
    assert_eq!(unit.get(REGISTERS + 0x38), 1 << 31, "it interrupts nobody");
}

#[test]
fn an_interrupt_s_message_has_its_index_where_the_unit_looks_for_it() {
    assert_eq!(message(&AMD, 5), (0xfee0_0000, 5));
    assert_eq!(message(&INTEL, 5), (0xfee0_00b0, 0));
}
