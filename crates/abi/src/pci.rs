//! The configuration space of a PCI function: its registers by offset, and its list of capabilities.
//!
//! The facts are from the PCI Local Bus Specification 3.0: the header in 6.1 and 6.2, capabilities in 6.7, MSI and MSI-X in
//! 6.8. Registers are named as double words, as they are read through memory-mapped configuration space.

#![forbid(unsafe_code)]

/// Bytes of a function's configuration space, where it is mapped to memory (PCI Express Base Specification, 7.2.2).
pub const CONFIG_SIZE: u64 = 4096;
/// What is read where nothing answers.
pub const ABSENT: u32 = u32::MAX;

/// Vendor identifier, and device identifier in the upper half.
pub const ID: u64 = 0x00;
/// Command register in the lower half, status register in the upper half. Bits of the status register are cleared by writing
/// ones: who writes zeros there leaves it as it is.
pub const COMMAND: u64 = 0x04;
/// Revision; class and subclass in the upper half.
pub const CLASS: u64 = 0x08;
/// The header type is in bits 16 to 22.
pub const HEADER: u64 = 0x0c;
/// The base address register of a plain device that holds the address of its ROM.
pub const EXPANSION_ROM: u64 = 0x30;
/// Place of the first capability in the lowest byte.
pub const CAPABILITIES: u64 = 0x34;

/// The command register, without the status register.
pub const COMMAND_MASK: u32 = 0xffff;
/// Command: the function answers at the memory addresses of its base address registers.
pub const MEMORY: u32 = 1 << 1;
/// Command: the function reaches memory.
pub const BUS_MASTER: u32 = 1 << 2;
/// Command: the function raises no interrupts by pin.
pub const INTX_DISABLED: u32 = 1 << 10;
/// Status: there is a list of capabilities.
pub const HAS_CAPABILITIES: u32 = 1 << 20;

/// Base address registers of a plain device.
pub const BARS: u8 = 6;
/// Base address register: it is for I/O ports.
pub const BAR_PORTS: u32 = 1 << 0;
/// Base address register: it has 64 bits, the upper half in the next one.
pub const BAR_WIDE: u32 = 2 << 1;
/// Base address register: reading has no effects.
pub const BAR_PREFETCHABLE: u32 = 1 << 3;
/// The bits of a base address register for memory that are no address.
pub const BAR_KIND: u32 = 0xf;

/// Capability: interrupts by messages, told in configuration space.
pub const CAPABILITY_MSI: u8 = 0x05;
/// Capability: what the vendor defines.
pub const CAPABILITY_VENDOR: u8 = 0x09;
/// Capability: PCI Express.
pub const CAPABILITY_EXPRESS: u8 = 0x10;
/// Capability: interrupts by messages, told in a table.
pub const CAPABILITY_MSIX: u8 = 0x11;
/// Bytes of an MSI-X entry: message address (two words), message data, control.
pub const MSIX_ENTRY_SIZE: u64 = 16;

/// The offset of base address register `index`, from 0 on.
pub const fn bar_register(index: u8) -> u64 {
    0x10 + index as u64 * 4
}

/// The capabilities of a function. `read` gives the double word at an offset in its configuration space, a multiple of four
/// below 256.
///
/// The device is not believed: a list that bites its tail ends nevertheless, and no capability is inside the header.
pub fn capabilities<R: Fn(u64) -> u32>(read: R) -> Capabilities<R> {
    let has_list = read(COMMAND) & HAS_CAPABILITIES != 0;
    let next = if has_list { place(read(CAPABILITIES)) } else { 0 };
    Capabilities { read, next, left: MOST_CAPABILITIES }
}

/// A capability in a function's configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    /// Its offset, a multiple of four from 0x40 to 0xfc.
    pub at: u64,
    /// What it is: one of the `CAPABILITY_` constants, or another identifier.
    pub id: u8,
}

/// The capabilities of a function, in their order in the list.
#[derive(Debug, Clone)]
pub struct Capabilities<R> {
    read: R,
    next: u64,
    left: u8,
}

impl<R: Fn(u64) -> u32> Iterator for Capabilities<R> {
    type Item = Capability;

    fn next(&mut self) -> Option<Capability> {
        let at = self.next;
        if at < HEADER_SIZE {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        let head = (self.read)(at);
        self.next = place(head >> 8);
        Some(Capability { at, id: head as u8 })
    }
}

/// A place in the list: the lowest byte, whose two lowest bits are reserved.
fn place(bits: u32) -> u64 {
    u64::from(bits & 0xfc)
}

/// Bytes of the header. What follows belongs to capabilities.
const HEADER_SIZE: u64 = 0x40;
/// A capability has at least four of the bytes from 0x40 to 0xff.
const MOST_CAPABILITIES: u8 = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(words: &[(u64, u32)]) -> Vec<(u64, u8)> {
        let read = |offset| words.iter().find(|word| word.0 == offset).map_or(0, |word| word.1);
        capabilities(read).map(|capability| (capability.at, capability.id)).collect()
    }

    #[test]
    fn capabilities_are_listed_in_their_order() {
        let words = [
            (COMMAND, HAS_CAPABILITIES | MEMORY),
            (CAPABILITIES, 0x98),
            (0x98, 0x0003_8411),
            (0x84, 0x1410_4009),
            (0x40, 0x0000_0005),
        ];
        assert_eq!(
            listed(&words),
            [(0x98, CAPABILITY_MSIX), (0x84, CAPABILITY_VENDOR), (0x40, CAPABILITY_MSI)]
        );
    }

    #[test]
    fn a_function_that_says_so_has_no_capabilities() {
        assert_eq!(listed(&[(CAPABILITIES, 0x40), (0x40, 0x05)]), []);
        assert_eq!(listed(&[(COMMAND, HAS_CAPABILITIES)]), []);
    }

    #[test]
    fn reserved_bits_of_a_place_mean_nothing() {
        let words = [(COMMAND, HAS_CAPABILITIES), (CAPABILITIES, 0x43), (0x40, 0x4611), (0x44, 0x0009)];
        assert_eq!(listed(&words), [(0x40, CAPABILITY_MSIX), (0x44, CAPABILITY_VENDOR)]);
    }

    #[test]
    fn a_list_that_leads_into_the_header_ends_there() {
        let words = [(COMMAND, HAS_CAPABILITIES), (CAPABILITIES, 0x40), (0x40, 0x3c09)];
        assert_eq!(listed(&words), [(0x40, CAPABILITY_VENDOR)]);
    }

    #[test]
    fn a_list_that_bites_its_tail_ends() {
        let words = [(COMMAND, HAS_CAPABILITIES), (CAPABILITIES, 0x40), (0x40, 0x4009)];
        assert_eq!(listed(&words).len(), 48);
    }

    #[test]
    fn where_nothing_answers_the_list_ends() {
        assert_eq!(capabilities(|_| ABSENT).count(), 48);
    }

    #[test]
    fn the_longest_list_is_listed_whole() {
        let next = |at: u64| if at == 0xfc { 0 } else { at as u32 + 4 };
        let read = |offset| match offset {
            COMMAND => HAS_CAPABILITIES,
            CAPABILITIES => 0x40,
            at => next(at) << 8 | 0x09,
        };
        assert_eq!(capabilities(read).last(), Some(Capability { at: 0xfc, id: CAPABILITY_VENDOR }));
    }
}
