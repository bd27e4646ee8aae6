//! The subject info, read where it lies.

/// What the program looks for.
pub(crate) enum Kind {
    /// Memory: gives address and size.
    Memory = 1,
    /// A source event: gives its number.
    Event = 2,
}

/// A number in memory.
pub(crate) fn load(address: u64) -> u64 {
    // SAFETY: addresses come from the interface's description, or from what it leads to.
    unsafe { (address as *const u64).read_volatile() }
}

/// A number in memory that need not be aligned.
pub(crate) fn load_unaligned<T: Copy>(address: u64) -> T {
    // SAFETY: as above. The subject info does not change.
    unsafe { (address as *const T).read_unaligned() }
}

/// Address and size of the first memory region with this name.
pub(crate) fn memory(name: &str) -> Option<(u64, u64)> {
    let data = find(Kind::Memory, name)?;
    Some((load_unaligned(data + 8), load_unaligned(data + 16)))
}

/// Number of the first source event with this name.
pub(crate) fn event(name: &str) -> Option<u8> {
    find(Kind::Event, name).map(load_unaligned::<u8>)
}

/// Address of the data of the first resource of this kind with this name.
fn find(kind: Kind, name: &str) -> Option<u64> {
    // Before version 05 the count was where a padding byte is now.
    let count_offset = if load(SUBJECT_INFO) >> 56 >= 5 { 78 } else { 77 };
    let count: u16 = load_unaligned(SUBJECT_INFO + count_offset);
    let kind = kind as u32;
    (0..u64::from(count)).map(|index| SUBJECT_INFO + 80 + index * 128).find_map(|resource| {
        let length = load_unaligned::<u8>(resource + 4);
        let matches = load_unaligned::<u32>(resource) == kind
            && usize::from(length) == name.len()
            && name.bytes().zip(0..).all(|(byte, at)| load_unaligned::<u8>(resource + 5 + at) == byte);
        matches.then_some(resource + 72)
    })
}

/// Where every subject finds it.
pub(crate) const SUBJECT_INFO: u64 = 0xe_0000_0000;
/// The page behind it: start and end of the minor frame.
pub(crate) const SCHEDULING_INFO: u64 = 0xe_0000_8000;
