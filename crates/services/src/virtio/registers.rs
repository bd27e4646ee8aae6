//! Registers of a device.

/// Memory whose every access has an effect, and where the width of an access matters.
///
/// Reading outside gives all ones, as it does where no device answers; writing outside does nothing. Neither does an access
/// that is not aligned to its width.
pub trait Registers {
    /// Bytes of the registers.
    fn size(&self) -> u64;
    /// Reads 8 bits.
    fn read_u8(&self, offset: u64) -> u8;
    /// Reads 16 bits.
    fn read_u16(&self, offset: u64) -> u16;
    /// Reads 32 bits.
    fn read_u32(&self, offset: u64) -> u32;
    /// Writes 8 bits.
    fn write_u8(&self, offset: u64, value: u8);
    /// Writes 16 bits.
    fn write_u16(&self, offset: u64, value: u16);
    /// Writes 32 bits.
    fn write_u32(&self, offset: u64, value: u32);
}

/// A part of somebody's registers, from which no access leads out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<R> {
    registers: R,
    start: u64,
    size: u64,
}

impl<R: Registers> Window<R> {
    /// The `size` bytes from `start` on; `None` if there are not that many.
    pub(super) fn new(registers: R, start: u64, size: u64) -> Option<Self> {
        let end = start.checked_add(size)?;
        if end <= registers.size() { Some(Self { registers, start, size }) } else { None }
    }

    fn place(&self, offset: u64, width: u64) -> Option<u64> {
        let end = offset.checked_add(width)?;
        if end <= self.size { self.start.checked_add(offset) } else { None }
    }
}

impl<R: Registers> Registers for Window<R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_u8(&self, offset: u64) -> u8 {
        self.place(offset, 1).map_or(u8::MAX, |at| self.registers.read_u8(at))
    }

    fn read_u16(&self, offset: u64) -> u16 {
        self.place(offset, 2).map_or(u16::MAX, |at| self.registers.read_u16(at))
    }

    fn read_u32(&self, offset: u64) -> u32 {
        self.place(offset, 4).map_or(u32::MAX, |at| self.registers.read_u32(at))
    }

    fn write_u8(&self, offset: u64, value: u8) {
        if let Some(at) = self.place(offset, 1) {
            self.registers.write_u8(at, value);
        }
    }

    fn write_u16(&self, offset: u64, value: u16) {
        if let Some(at) = self.place(offset, 2) {
            self.registers.write_u16(at, value);
        }
    }

    fn write_u32(&self, offset: u64, value: u32) {
        if let Some(at) = self.place(offset, 4) {
            self.registers.write_u32(at, value);
        }
    }
}
