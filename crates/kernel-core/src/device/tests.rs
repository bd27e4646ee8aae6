//! Devices made by hand, and what the kernel does to them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use palisade_abi::pci::{CAPABILITIES, CONFIG_SIZE, HAS_CAPABILITIES};
use palisade_abi::plan::{Cpu, Header, Interrupt, NONE, Subject};
use zerocopy::FromZeros;

use super::*;

/// Configuration space begins here.
pub(crate) const ECAM: u64 = 0xb000_0000;
const BDF: u16 = 0x18;
const CONFIG: u64 = ECAM + 0x18 * CONFIG_SIZE;
pub(crate) const REGISTERS: u64 = 0xfe00_0000;
pub(crate) const TABLE: u64 = 0xfe01_0000;
const APIC_ID: u32 = 3;

/// A machine with one network card at 00:03.0, as the firmware left it: running, at addresses of its own choice. It has an
/// MSI-X table of four entries in base address register 1 (4 KiB) and registers in 4 and 5 (64 bits, 16 KiB).
pub(crate) struct Card {
    words: RefCell<BTreeMap<u64, u32>>,
    writes: RefCell<Vec<(u64, u32)>>,
}

impl Default for Card {
    fn default() -> Self {
        Self::new()
    }
}

impl Card {
    fn new() -> Self {
        let card = Self { words: RefCell::default(), writes: RefCell::default() };
        for (offset, value) in [
            (ID, 0x1041_1af4),
            (COMMAND, HAS_CAPABILITIES | BUS_MASTER | MEMORY | 1),
            (HEADER, 0),
            (0x14, 0xfebf_e000),
            (0x20, 0xfebf_800c),
            (CAPABILITIES, 0x98),
            (0x84, 0x0009),
            (0x98, 3 << 16 | 0xa411),
            (0x9c, 1),
            (0xa0, 0x801),
            (0xa4, MSI_ENABLED | 0xb005),
            (0xb0, 0x8410),
            (0xb4, CAN_RESET),
            (0xb8, 0x2810),
        ] {
            card.set(CONFIG + offset, value);
        }
        for entry in 0..4 {
            card.set(TABLE + entry * MSIX_ENTRY_SIZE, 0);
        }
        card
    }

    fn with(offset: u64, value: u32) -> Self {
        let card = Self::new();
        card.set(CONFIG + offset, value);
        card
    }

    fn set(&self, address: u64, value: u32) {
        self.words.borrow_mut().insert(address, value);
    }

    fn get(&self, offset: u64) -> u32 {
        self.word(CONFIG + offset)
    }

    fn word(&self, address: u64) -> u32 {
        self.words.borrow().get(&address).copied().unwrap_or(0)
    }

    pub(crate) fn reaches_memory(&self) -> bool {
        self.get(COMMAND) & BUS_MASTER != 0
    }

    pub(crate) fn is_masked(&self, entry: u64) -> bool {
        self.word(TABLE + entry * MSIX_ENTRY_SIZE + ENTRY_CONTROL) & ENTRY_MASKED != 0
    }

    /// The card forgets everything, as a function-level reset has it.
    pub(crate) fn forget(&self) {
        for offset in [COMMAND, 0x14, 0x20, 0x24, 0x98] {
            let value = [(COMMAND, HAS_CAPABILITIES), (0x98, 3 << 16 | 0xa411), (0x20, 0xc)];
            self.set(CONFIG + offset, value.iter().find(|v| v.0 == offset).map_or(0, |v| v.1));
        }
        for entry in 0..4 {
            self.set(TABLE + entry * MSIX_ENTRY_SIZE, 0);
            self.set(TABLE + entry * MSIX_ENTRY_SIZE + ENTRY_CONTROL, ENTRY_MASKED);
        }
    }

    /// How often anything was written.
    pub(crate) fn writes(&self) -> usize {
        self.writes.borrow().len()
    }
}

impl DeviceRegisters for Card {
    fn read(&self, address: u64) -> u32 {
        self.word(address)
    }

    fn write(&self, address: u64, value: u32) {
        self.writes.borrow_mut().push((address, value));
        let old = self.word(address);
        if (TABLE..TABLE + 0x1000).contains(&address) {
            let decoded = self.get(COMMAND) & MEMORY != 0 && self.get(0x14) == TABLE as u32;
            assert!(decoded, "{address:#x} is written while the card is not there");
            return self.set(address, value);
        }
        let value = match address - CONFIG.min(address) {
            // Status bits are cleared by ones.
            COMMAND => old & !value & !COMMAND_MASK | value & 0x507,
            0x14 => value & !0xfff,
            0x20 => value & !0x3fff | 0xc,
            0x24 => value,
            0x98 => old & !(MSIX_ENABLED | MSIX_MASKED) | value & (MSIX_ENABLED | MSIX_MASKED),
            0xa4 => old & !MSI_ENABLED | value & MSI_ENABLED,
            0xb8 => value,
            _ => old,
        };
        self.set(address, value);
    }
}

/// A plan of one subject that owns the card and its first three interrupts, the second of which is injected.
pub(crate) fn plan_with_card() -> Plan<'static> {
    let mut subject = Subject::new_zeroed();
    subject.trap_events = [0xff; plan::trap::COUNT];
    let interrupt = |number: u8| Interrupt {
        host_vector: 0x30 + number,
        guest_vector: if number == 1 { 0x41 } else { 0 },
        iommu: NONE,
        pin: NONE,
        ..Interrupt::default()
    };
    let entry = |number: u16| MsixEntry {
        address: TABLE + u64::from(number) * MSIX_ENTRY_SIZE,
        interrupt: number,
        ..MsixEntry::default()
    };
    let device = Device {
        bdf: BDF,
        vendor: 0x1af4,
        device: 0x1041,
        bars: 2,
        msix: 3,
        config: CONFIG,
        stop: device_stop::BUS_MASTER,
        ..Device::default()
    };
    let movable = bar_flags::MOVABLE;
    let bars = vec![
        Bar { address: TABLE, size: 0x1000, index: 1, flags: movable, ..Bar::default() },
        Bar {
            address: REGISTERS,
            size: 0x4000,
            index: 4,
            flags: movable | bar_flags::WIDE | bar_flags::PREFETCHABLE,
            ..Bar::default()
        },
    ];
    Plan {
        header: Box::leak(Box::new(Header::default())),
        cpus: leak(vec![Cpu { apic_id: APIC_ID, ..Cpu::default() }]),
        frames: &[],
        partitions: &[],
        groups: &[],
        members: &[],
        source_events: &[],
        target_events: &[],
        subjects: leak(vec![subject]),
        cpuid: &[],
        code: &[],
        ram: &[],
        clear: &[],
        power_off: &[],
        reset: &[],
        interrupts: leak((0..3).map(interrupt).collect()),
        devices: leak(vec![device]),
        bars: leak(bars),
        msix: leak((0..3).map(entry).collect()),
        iommus: &[],
    }
}

pub(crate) fn leak<T>(records: Vec<T>) -> &'static [T] {
    Box::leak(records.into_boxed_slice())
}

fn set_up(plan: &Plan<'_>, card: &Card) -> Result<(), Problem> {
    Function::new(plan, &plan.devices[0], card).set_up()
}

/// What `set_up` says if the plan's device or one of its base address registers is another one.
fn set_up_with(device: impl Fn(&mut Device), bar: impl Fn(&mut Bar)) -> Result<(), Problem> {
    let mut plan = plan_with_card();
    let mut changed = plan.devices[0];
    device(&mut changed);
    plan.devices = leak(vec![changed]);
    let mut bars = plan.bars.to_vec();
    bars.iter_mut().for_each(bar);
    plan.bars = leak(bars);
    set_up(&plan, &Card::new())
}

#[test]
fn a_device_is_placed_and_decodes_memory_but_does_not_reach_any() {
    let (plan, card) = (plan_with_card(), Card::new());
    assert_eq!(set_up(&plan, &card), Ok(()));
    assert_eq!(card.get(COMMAND), HAS_CAPABILITIES | INTX_DISABLED | MEMORY);
    assert_eq!([card.get(0x14), card.get(0x20), card.get(0x24)], [TABLE as u32, REGISTERS as u32 | 0xc, 0]);
    assert_eq!(card.get(0xa4) & MSI_ENABLED, 0, "one kind of message at a time");
}

#[test]
fn a_device_reaches_no_memory_from_the_first_write_on() {
    let (plan, card) = (plan_with_card(), Card::new());
    set_up(&plan, &card).unwrap();
    let writes = card.writes.borrow();
    assert_eq!(writes[0].0, CONFIG + COMMAND);
    let commands: Vec<_> = writes.iter().filter(|(address, _)| *address == CONFIG + COMMAND).collect();
    assert!(commands.iter().all(|(_, value)| value & BUS_MASTER == 0 && value >> 16 == 0), "{commands:x?}");
}

#[test]
fn a_device_that_the_firmware_left_running_is_silenced_whatever_it_is() {
    let (plan, card) = (plan_with_card(), Card::with(ID, 0x1234_5678));
    card.set(CONFIG + COMMAND, MEMORY | BUS_MASTER);
    assert!(card.reaches_memory());
    Function::new(&plan, &plan.devices[0], &card).silence();
    assert!(!card.reaches_memory());
    assert_eq!(card.get(COMMAND) & 0xffff, MEMORY, "what is behind another device may be needed");
    card.set(CONFIG + ID, 0x1041_1af4);
    Function::new(&plan, &plan.devices[0], &card).silence();
    assert_eq!(card.get(COMMAND) & MEMORY, 0, "it moves, and must not answer where it was");
}

#[test]
fn every_interrupt_is_masked_and_goes_to_its_subjects_cpu() {
    let (plan, card) = (plan_with_card(), Card::new());
    set_up(&plan, &card).unwrap();
    for number in 0..4 {
        assert!(card.is_masked(number), "{number}");
    }
    for number in 0..3 {
        let entry = TABLE + number * MSIX_ENTRY_SIZE;
        let words = [0, 4, 8].map(|offset| card.word(entry + offset));
        assert_eq!(words, [0xfee0_3000, 0, 0x30 + number as u32]);
    }
    assert_eq!(card.get(0x98) >> 30, 2, "enabled, and not masked as a whole");
}

#[test]
fn another_device_or_none_is_refused() {
    let plan = plan_with_card();
    assert_eq!(set_up(&plan, &Card::with(ID, ABSENT)), Err(Problem::Missing));
    assert_eq!(set_up(&plan, &Card::with(ID, 0x1000_1af4)), Err(Problem::Other(0x1000_1af4)));
    assert_eq!(set_up(&plan, &Card::with(HEADER, 0x81_0000)), Err(Problem::HeaderType(1)));
}

#[test]
fn base_address_registers_are_those_of_the_plan_or_refused() {
    let same = |_: &mut Device| {};
    assert_eq!(set_up_with(same, |_| {}), Ok(()));
    assert_eq!(set_up_with(|d| d.bars = 1, |_| {}), Err(Problem::UnknownBar(4)));
    assert_eq!(set_up_with(same, |b| b.size = 0x2000), Err(Problem::OtherBar(1)));
    assert_eq!(set_up_with(same, |b| b.flags &= !bar_flags::PREFETCHABLE), Err(Problem::OtherBar(4)));
    assert_eq!(set_up_with(same, |b| b.flags |= bar_flags::PREFETCHABLE), Err(Problem::OtherBar(1)));
    assert_eq!(set_up_with(same, |b| b.flags &= !bar_flags::WIDE), Err(Problem::OtherBar(4)));
    assert_eq!(set_up_with(same, |b| b.address += 0x100), Err(Problem::Misplaced(1)));
    assert_eq!(set_up_with(same, |b| b.flags &= !bar_flags::MOVABLE), Err(Problem::Misplaced(1)));
}

#[test]
fn a_base_address_register_that_must_not_move_is_accepted_where_it_is() {
    let (mut plan, card) = (plan_with_card(), Card::new());
    card.set(CONFIG + 0x14, TABLE as u32);
    let mut bars = plan.bars.to_vec();
    bars[0].flags = 0;
    plan.bars = leak(bars);
    assert_eq!(set_up(&plan, &card), Ok(()));
}

#[test]
fn an_msix_table_that_is_not_where_the_plan_says_is_refused() {
    let plan = plan_with_card();
    for (offset, value) in [(0x9c, 0), (0x9c, 0x10 | 1), (0x9c, 0x1000 | 1), (0x98, 1 << 16 | 0xa411)] {
        assert_eq!(set_up(&plan, &Card::with(offset, value)), Err(Problem::Msix), "{offset:#x} {value:#x}");
    }
    assert_eq!(set_up(&plan, &Card::with(0x98, 0xa412)), Err(Problem::Msix), "no capability");
    assert_eq!(set_up(&plan, &Card::with(COMMAND, 0)), Err(Problem::Msix), "no capabilities at all");
}

#[test]
fn pending_bits_that_the_driver_would_have_are_refused() {
    let plan = plan_with_card();
    for pending in [0x804, 0x1001, 0x801 & !1] {
        assert_eq!(set_up(&plan, &Card::with(0xa0, pending)), Err(Problem::PendingBits), "{pending:#x}");
    }
    assert_eq!(set_up(&plan, &Card::with(0xa0, 0xff9)), Ok(()), "at the very end");
}

#[test]
fn a_list_of_capabilities_without_an_end_is_left() {
    assert_eq!(set_up(&plan_with_card(), &Card::with(0x98, 0x9812)), Err(Problem::Msix));
}

#[test]
fn an_interrupt_that_would_not_arrive_at_its_subject_is_refused() {
    let mut plan = plan_with_card();
    plan.cpus = leak(vec![Cpu { apic_id: 255, ..Cpu::default() }]);
    assert_eq!(set_up(&plan, &Card::new()), Err(Problem::Interrupt));
    let mut plan = plan_with_card();
    plan.subjects = leak(vec![plan.subjects[0]; 2]);
    let mut interrupts = plan.interrupts.to_vec();
    interrupts[2].subject = 1;
    plan.interrupts = leak(interrupts);
    assert_eq!(set_up(&plan, &Card::new()), Err(Problem::Interrupt));
}

#[test]
fn a_started_device_reaches_memory_until_it_is_stopped() {
    let (plan, card) = (plan_with_card(), Card::new());
    set_up(&plan, &card).unwrap();
    let function = Function::new(&plan, &plan.devices[0], &card);
    function.start();
    assert!(card.reaches_memory());
    set_masked(&plan, 1, false, &card);
    assert!(!card.is_masked(1));
    function.stop();
    assert!(!card.reaches_memory() && card.is_masked(1));
}

#[test]
fn a_device_that_is_gone_is_not_started() {
    let (plan, card) = (plan_with_card(), Card::new());
    set_up(&plan, &card).unwrap();
    card.set(CONFIG + ID, ABSENT);
    Function::new(&plan, &plan.devices[0], &card).start();
    assert!(!card.reaches_memory());
}

#[test]
fn what_a_function_level_reset_wiped_out_is_there_again_at_the_next_start() {
    let (mut plan, card) = (plan_with_card(), Card::new());
    plan.devices = leak(vec![Device { stop: device_stop::ALL, ..plan.devices[0] }]);
    set_up(&plan, &card).unwrap();
    let before = card.words.borrow().clone();
    let function = Function::new(&plan, &plan.devices[0], &card);
    function.start();
    assert_eq!(function.reset(), 100_000);
    assert_eq!(card.get(0xb8), 0x2810 | FUNCTION_RESET, "the other bits are as they were");
    assert!(!card.reaches_memory());
    card.set(CONFIG + 0xb8, 0x2810);
    card.forget();
    function.prepare();
    assert_eq!(*card.words.borrow(), before);
}

#[test]
fn a_device_that_cannot_be_reset_on_its_own_is_refused_if_the_plan_wants_that() {
    let mut plan = plan_with_card();
    plan.devices = leak(vec![Device { stop: device_stop::ALL, ..plan.devices[0] }]);
    assert_eq!(set_up(&plan, &Card::with(0xb4, 0)), Err(Problem::NoFunctionReset));
    assert_eq!(set_up(&plan, &Card::with(0xa4, 0x0005)), Err(Problem::NoFunctionReset));
}
