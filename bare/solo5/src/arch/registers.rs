//! Registers of a device.

use palisade_services::virtio::Registers;

/// Registers of a device, mapped uncached: each access is one instruction of the width that its name says, in the order of
/// the program.
///
/// Writing to registers that the subject info calls read-only is a page fault.
#[derive(Debug, Clone, Copy)]
pub struct DeviceRegisters {
    address: u64,
    size: u64,
}

impl DeviceRegisters {
    /// The `size` bytes of registers at `address`.
    ///
    /// # Safety
    ///
    /// For as long as the program runs, nothing but registers is mapped there. What accesses to them make the device do is
    /// the driver's affair: what it can reach, the policy decides.
    pub(super) const unsafe fn new(address: u64, size: u64) -> Self {
        Self { address, size }
    }

    /// The address of a register; `None` outside, and where it does not have the alignment of its width.
    fn place<T>(self, offset: u64) -> Option<*mut T> {
        let width = size_of::<T>() as u64;
        let inside = offset.checked_add(width).is_some_and(|end| end <= self.size);
        let address = self.address.checked_add(offset)?;
        if inside && address.is_multiple_of(width) { Some(address as *mut T) } else { None }
    }

    fn read<T: Copy>(self, offset: u64) -> Option<T> {
        // SAFETY: an aligned register of the device (see `new` and `place`).
        self.place(offset).map(|register: *mut T| unsafe { register.read_volatile() })
    }

    fn write<T: Copy>(self, offset: u64, value: T) {
        if let Some(register) = self.place::<T>(offset) {
            // SAFETY: as above.
            unsafe { register.write_volatile(value) }
        }
    }
}

impl Registers for DeviceRegisters {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_u8(&self, offset: u64) -> u8 {
        self.read(offset).unwrap_or(u8::MAX)
    }

    fn read_u16(&self, offset: u64) -> u16 {
        self.read(offset).unwrap_or(u16::MAX)
    }

    fn read_u32(&self, offset: u64) -> u32 {
        self.read(offset).unwrap_or(u32::MAX)
    }

    fn write_u8(&self, offset: u64, value: u8) {
        self.write(offset, value);
    }

    fn write_u16(&self, offset: u64, value: u16) {
        self.write(offset, value);
    }

    fn write_u32(&self, offset: u64, value: u32) {
        self.write(offset, value);
    }
}
