//! The local APIC (AMD APM volume 2, chapter 16): the timer that ends a subject's run, end-of-interrupt, and messages to other
//! CPUs.
//!
//! x2APIC mode where the processor has it and the plan allows it; the memory-mapped registers otherwise (QEMU's deterministic mode
//! needs those).

use core::ptr;

use super::processor::{self, read_msr, write_msr};

/// The local APIC of whichever CPU uses it: they all work the same way.
#[derive(Clone, Copy)]
pub(crate) struct LocalApic {
    registers: Registers,
    /// Timer ticks per TSC tick, as a fraction of 2^32.
    ratio: u64,
}

#[derive(Clone, Copy)]
enum Registers {
    /// MSRs from 800h.
    X2,
    /// Memory at this address.
    Mapped(u64),
}

/// The modes that local APICs may be used in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modes {
    /// x2APIC mode where the processor has it.
    Both,
    /// The older one, with memory-mapped registers.
    Mapped,
}

/// Vector of the timer.
pub(crate) const TIMER_VECTOR: u8 = 0xf0;
/// Vector by which another CPU says that there are events to look at.
pub(crate) const EVENT_VECTOR: u8 = 0xf1;
/// Vector by which another CPU says that the system ends.
pub(crate) const STOP_VECTOR: u8 = 0xf2;
/// Vector of spurious interrupts.
pub(crate) const SPURIOUS_VECTOR: u8 = 0xff;

impl LocalApic {
    /// Enables this CPU's local APIC, whose registers are at `address` if they are mapped. `None` if the firmware keeps it in a mode
    /// that is not among `modes`.
    ///
    /// # Safety
    /// `address` is the local APIC's page, mapped uncached.
    pub(crate) unsafe fn enable(address: u64, modes: Modes) -> Option<Self> {
        let x2 = modes == Modes::Both && x2_exists();
        let apic = Self { registers: if x2 { Registers::X2 } else { Registers::Mapped(address) }, ratio: 0 };
        apic.prepare().then_some(apic)
    }

    /// Enables the local APIC of this CPU as that of the CPU which calibrated this one. `false` if it cannot work the same way.
    ///
    /// # Safety
    /// As for [`LocalApic::enable`]: the page is mapped here too.
    pub(crate) unsafe fn enable_too(&self) -> bool {
        if matches!(self.registers, Registers::X2) && !x2_exists() || !self.prepare() {
            return false;
        }
        self.write(LVT_TIMER, u32::from(TIMER_VECTOR));
        true
    }

    /// `false` if the APIC cannot be put into its mode.
    fn prepare(&self) -> bool {
        // SAFETY: the register exists on every 64-bit processor; the APIC interrupts only through vectors set below. CPUID
        // announces x2APIC mode where it is chosen.
        unsafe {
            let base = read_msr(APIC_BASE);
            match self.registers {
                Registers::X2 => {
                    write_msr(APIC_BASE, base | APIC_ENABLED);
                    write_msr(APIC_BASE, base | APIC_ENABLED | APIC_X2);
                }
                Registers::Mapped(_) => {
                    if base & APIC_X2 != 0 {
                        if x2_is_locked() {
                            return false;
                        }
                        // No other way leads back (Intel SDM volume 3, section 11.12.5).
                        write_msr(APIC_BASE, base & !(APIC_ENABLED | APIC_X2));
                    }
                    write_msr(APIC_BASE, base & !APIC_X2 | APIC_ENABLED);
                }
            }
        }
        self.end_what_the_firmware_left();
        self.write(TASK_PRIORITY, 0);
        self.write(SPURIOUS, 0x100 | u32::from(SPURIOUS_VECTOR));
        for entry in [LVT_PERFORMANCE, LVT_LINT0, LVT_LINT1, LVT_ERROR] {
            self.write(entry, MASKED);
        }
        self.write(TIMER_DIVIDE, 0b1011); // by 1
        self.write(LVT_TIMER, MASKED | u32::from(TIMER_VECTOR));
        true
    }

    /// Whether messages reach the CPU with this identifier: without x2APIC mode an identifier has 8 bits, of which all ones are everybody.
    pub(crate) fn reaches(&self, apic_id: u32) -> bool {
        match self.registers {
            Registers::X2 => apic_id != u32::MAX,
            Registers::Mapped(_) => apic_id < 0xff,
        }
    }

    /// Interrupts another CPU with `vector`.
    pub(crate) fn send(&self, apic_id: u32, vector: u8) {
        self.command(apic_id, ASSERT | u32::from(vector));
    }

    /// Interrupts another CPU whatever it does.
    pub(crate) fn send_non_maskable(&self, apic_id: u32) {
        self.command(apic_id, ASSERT | NON_MASKABLE);
    }

    /// Puts another CPU into the state that it has after power-on, waiting for [`LocalApic::send_start`].
    pub(crate) fn send_init(&self, apic_id: u32) {
        self.command(apic_id, ASSERT | INIT);
    }

    /// Has a CPU that waits for it begin at `page`, below 1 MiB.
    pub(crate) fn send_start(&self, apic_id: u32, page: u64) {
        self.command(apic_id, ASSERT | START | (page >> 12) as u32 & 0xff);
    }

    /// Sends a message, once the one before has left.
    fn command(&self, apic_id: u32, command: u32) {
        match self.registers {
            Registers::X2 => {
                // Writing the register waits for nothing, not even for stores before it (Intel SDM volume 3, section 11.12.3).
                processor::finish_stores();
                // SAFETY: the APIC is in x2APIC mode, which has this register. What a message does to the other CPU, its handlers or
                // its start have been made for.
                unsafe {
                    write_msr(X2_FIRST + (COMMAND >> 4), u64::from(apic_id) << 32 | u64::from(command))
                };
            }
            Registers::Mapped(_) => {
                while self.read(COMMAND) & COMMAND_PENDING != 0 {
                    core::hint::spin_loop();
                }
                self.write(COMMAND_TARGET, apic_id << 24);
                self.write(COMMAND, command);
            }
        }
    }

    /// Starts the timer at its highest value, masked, for measuring its speed.
    pub(crate) fn start_measuring(&self) {
        self.write(TIMER_INITIAL, u32::MAX);
    }

    /// Timer ticks since [`LocalApic::start_measuring`].
    pub(crate) fn measured(&self) -> u32 {
        u32::MAX - self.read(TIMER_CURRENT)
    }

    /// The APIC with its speed set: `timer` timer ticks took `tsc` TSC ticks (not 0). Unmasks the timer.
    pub(crate) fn calibrated(self, timer: u64, tsc: u64) -> Self {
        self.write(TIMER_INITIAL, 0);
        self.write(LVT_TIMER, u32::from(TIMER_VECTOR));
        Self { ratio: (timer << 32).checked_div(tsc).unwrap_or(0), ..self }
    }

    /// Has the timer interrupt in `tsc_ticks` TSC ticks.
    pub(crate) fn arm(&self, tsc_ticks: u64) {
        let ticks = (u128::from(tsc_ticks) * u128::from(self.ratio)) >> 32;
        self.write(TIMER_INITIAL, u32::try_from(ticks).unwrap_or(u32::MAX).max(1));
    }

    /// Ends the interrupt that is being handled.
    pub(crate) fn end_of_interrupt(&self) {
        self.write(END_OF_INTERRUPT, 0);
    }

    /// Ends every interrupt that the firmware or the loader took and did not end: it would hold back all that are not more urgent.
    fn end_what_the_firmware_left(&self) {
        for _ in 0..VECTORS {
            if (0..VECTORS / 32).all(|word| self.read(IN_SERVICE + word * 0x10) == 0) {
                return;
            }
            self.end_of_interrupt();
        }
    }

    fn read(&self, register: u32) -> u32 {
        match self.registers {
            // SAFETY: the APIC is in x2APIC mode, which has this register.
            Registers::X2 => unsafe { read_msr(X2_FIRST + (register >> 4)) as u32 },
            // SAFETY: `enable`'s caller promised the mapping.
            Registers::Mapped(base) => unsafe {
                ptr::read_volatile((base + u64::from(register)) as *const u32)
            },
        }
    }

    fn write(&self, register: u32, value: u32) {
        match self.registers {
            // SAFETY: as in `read`; the values set vectors whose handlers exist.
            Registers::X2 => unsafe { write_msr(X2_FIRST + (register >> 4), u64::from(value)) },
            // SAFETY: as in `read`.
            Registers::Mapped(base) => unsafe {
                ptr::write_volatile((base + u64::from(register)) as *mut u32, value)
            },
        }
    }
}

fn x2_exists() -> bool {
    processor::cpuid(1, 0)[2] & 1 << 21 != 0
}

/// Whether the firmware has barred the way back from x2APIC mode (Intel SDM volume 4, IA32_XAPIC_DISABLE_STATUS).
fn x2_is_locked() -> bool {
    let announced = processor::cpuid(0, 0)[0] >= 7 && processor::cpuid(7, 0)[3] & 1 << 29 != 0;
    // SAFETY: each register is read only if what was read before announces it.
    announced
        && unsafe {
            read_msr(ARCHITECTURAL_CAPABILITIES) & X2_LOCK_EXISTS != 0
                && read_msr(XAPIC_DISABLE_STATUS) & X2_LOCKED != 0
        }
}

/// Masks every input of the legacy interrupt controllers and of the I/O APIC (Intel 82093AA data sheet, section 3.2): no subject owns
/// one of its pins, and the firmware may have left any of them open. Without an I/O APIC at the usual address that is left.
///
/// # Safety
/// The boot page tables are in use, which map the address, and no memory is there.
pub(crate) unsafe fn mask_interrupt_controllers() {
    processor::port_write_u8(PIC_1_MASK, 0xff);
    processor::port_write_u8(PIC_2_MASK, 0xff);
    let (index, data) = (IO_APIC as *mut u32, (IO_APIC + 0x10) as *mut u32);
    // SAFETY: promised by the caller. A register is chosen by its index, then accessed.
    unsafe {
        ptr::write_volatile(index, IO_APIC_VERSION);
        let version = ptr::read_volatile(data);
        if version == u32::MAX {
            return;
        }
        for pin in 0..=version >> 16 & 0xff {
            ptr::write_volatile(index, IO_APIC_PINS + pin * 2);
            ptr::write_volatile(data, MASKED);
        }
    }
}

/// Where every PC has its first I/O APIC.
const IO_APIC: u64 = 0xfec0_0000;
const IO_APIC_VERSION: u32 = 1;
/// Two registers for each pin; the lower one has the mask.
const IO_APIC_PINS: u32 = 0x10;
const VECTORS: u32 = 256;
const PIC_1_MASK: u16 = 0x21;
const PIC_2_MASK: u16 = 0xa1;
const APIC_BASE: u32 = 0x1b;
const APIC_ENABLED: u64 = 1 << 11;
const APIC_X2: u64 = 1 << 10;
const X2_FIRST: u32 = 0x800;
const ARCHITECTURAL_CAPABILITIES: u32 = 0x10a;
/// Among them: the next register exists.
const X2_LOCK_EXISTS: u64 = 1 << 21;
const XAPIC_DISABLE_STATUS: u32 = 0xbd;
const X2_LOCKED: u64 = 1 << 0;
const MASKED: u32 = 1 << 16;
// Registers by their offset in the page; in x2APIC mode a register's MSR is 800h plus a sixteenth of it.
const TASK_PRIORITY: u32 = 0x80;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const IN_SERVICE: u32 = 0x100;
const COMMAND: u32 = 0x300;
const COMMAND_TARGET: u32 = 0x310;
const COMMAND_PENDING: u32 = 1 << 12;
const NON_MASKABLE: u32 = 4 << 8;
const INIT: u32 = 5 << 8;
const START: u32 = 6 << 8;
const ASSERT: u32 = 1 << 14;
const LVT_TIMER: u32 = 0x320;
const LVT_PERFORMANCE: u32 = 0x340;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
const TIMER_INITIAL: u32 = 0x380;
const TIMER_CURRENT: u32 = 0x390;
const TIMER_DIVIDE: u32 = 0x3e0;
