//! Init table: what the init stub copies and fills before a subject's program starts.

#![forbid(unsafe_code)]

use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The beginning of the table; the operations follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Guest address of the program's first instruction.
    pub entry: u64,
    /// Number of operations.
    pub count: u64,
}

/// A range of memory to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Operation {
    /// Guest address of the range.
    pub destination: u64,
    /// Guest address of its pristine copy; 0 to fill it.
    pub source: u64,
    /// Bytes.
    pub size: u64,
    /// The byte to fill it with, if there is no copy.
    pub fill: u64,
}

impl Operation {
    /// Copies `size` bytes.
    #[must_use]
    pub const fn copy(destination: u64, source: u64, size: u64) -> Self {
        Self { destination, source, size, fill: 0 }
    }

    /// Fills `size` bytes.
    #[must_use]
    pub const fn fill(destination: u64, size: u64, fill: u8) -> Self {
        Self { destination, source: 0, size, fill: fill as u64 }
    }
}

/// Bytes of a table with this many operations.
#[must_use]
pub const fn size(operations: usize) -> usize {
    size_of::<Header>() + operations * size_of::<Operation>()
}

/// Writes a table; `None` if `bytes` is shorter than [`size`] says.
pub fn write(bytes: &mut [u8], entry: u64, operations: &[Operation]) -> Option<()> {
    let header = Header { entry, count: operations.len() as u64 };
    header.write_to_prefix(bytes).ok()?;
    operations.write_to_prefix(bytes.get_mut(size_of::<Header>()..)?).ok()
}

/// The entry and the operations of a table; `None` if it is cut off or not aligned to 8 bytes.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(u64, &[Operation])> {
    let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
    let count = usize::try_from(header.count).ok()?;
    let (operations, _) = <[Operation]>::ref_from_prefix_with_elems(rest, count).ok()?;
    Some((header.entry, operations))
}

const _: () = assert!(size_of::<Header>() == 16 && size_of::<Operation>() == 32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_survives_the_round_trip() {
        let operations =
            [Operation::copy(0x30_0000, 0xe_8000_0000, 100), Operation::fill(0x30_0064, 5, 0xff)];
        let mut words = [0_u64; size(2) / 8];
        assert_eq!(write(words.as_mut_bytes(), 0x20_0040, &operations), Some(()));
        assert_eq!(words, [0x20_0040, 2, 0x30_0000, 0xe_8000_0000, 100, 0, 0x30_0064, 0, 5, 0xff]);
        assert_eq!(parse(words.as_bytes()), Some((0x20_0040, operations.as_slice())));
    }

    #[test]
    fn a_table_that_is_cut_off_is_none() {
        let words = [0x20_0040_u64, 2, 0, 0, 0, 0];
        assert_eq!(parse(words.as_bytes()), None);
        assert_eq!(parse([0_u64, u64::MAX].as_bytes()), None);
        assert_eq!(parse(&[]), None);
        assert_eq!(write(&mut [0; 20], 0, &[Operation::fill(0, 1, 0)]), None);
    }
}
