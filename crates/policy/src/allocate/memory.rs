//! Volatile memory: physical addresses from the end of the machine's memory downwards.

use palisade_abi::layout::{LARGE_PAGE, PAGE, page_align_up};

use crate::plan::VolatileRange;

/// The memory that is left, and who got what.
pub(crate) struct Volatile {
    /// Free ranges as (first byte, first byte after), sorted.
    free: Vec<(u64, u64)>,
    ranges: Vec<VolatileRange>,
}

/// The machine has no room for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutOfMemory {
    /// Who wanted it.
    pub(crate) owner: String,
    /// Bytes it wanted.
    pub(crate) size: u64,
}

impl Volatile {
    /// All of the machine's usable ranges are free.
    pub(crate) fn new(usable: &[(u64, u64)]) -> Self {
        let free = usable.iter().map(|(start, size)| (page_align_up(*start), (start + size) & !(PAGE - 1)));
        Self { free: free.filter(|(start, end)| start < end).collect(), ranges: Vec::new() }
    }

    /// Has nobody get this range.
    pub(crate) fn exclude(&mut self, first: u64, size: u64) {
        let after = first + size;
        let around = |(start, end): (u64, u64)| [(start, end.min(first)), (start.max(after), end)];
        self.free = self.free.iter().copied().flat_map(around).filter(|(start, end)| start < end).collect();
    }

    /// Memory that the kernel clears at boot.
    pub(crate) fn cleared(&mut self, size: u64, owner: &str) -> Result<u64, OutOfMemory> {
        self.take(size, 0, true, owner)
    }

    /// Memory that the kernel leaves as it is.
    pub(crate) fn kept(&mut self, size: u64, owner: &str) -> Result<u64, OutOfMemory> {
        self.take(size, 0, false, owner)
    }

    /// Memory that a subject sees at `guest` and that the kernel leaves to its init stub.
    pub(crate) fn kept_at(&mut self, size: u64, guest: u64, owner: &str) -> Result<u64, OutOfMemory> {
        self.take(size, guest, false, owner)
    }

    /// Memory that subjects see at `guest` and that the kernel clears at boot.
    pub(crate) fn cleared_at(&mut self, size: u64, guest: u64, owner: &str) -> Result<u64, OutOfMemory> {
        self.take(size, guest, true, owner)
    }

    /// Leaves the page below what was taken last unused.
    pub(crate) fn guard_page(&mut self) {
        let Some(last) = self.ranges.last() else { return };
        if let Some(range) = self.free.iter_mut().find(|(_, end)| *end == last.start) {
            range.1 -= PAGE.min(range.1 - range.0);
        }
    }

    /// Every range with its owner, sorted by address.
    pub(crate) fn into_ranges(mut self) -> Vec<VolatileRange> {
        self.ranges.sort_by_key(|range| range.start);
        self.ranges
    }

    /// The highest free place. What is as large as a large page gets an address that lets large pages map it at `guest`.
    fn take(&mut self, size: u64, guest: u64, clear: bool, owner: &str) -> Result<u64, OutOfMemory> {
        let unit = if size >= LARGE_PAGE { LARGE_PAGE } else { PAGE };
        let wanted = guest % unit;
        let place = |(start, end): (u64, u64)| {
            let highest = end.checked_sub(size)?;
            let below = (highest % unit + unit - wanted) % unit;
            highest.checked_sub(below).filter(|address| *address >= start)
        };
        let found =
            self.free.iter().copied().enumerate().rev().find_map(|(at, range)| Some((at, place(range)?)));
        let Some((at, address)) = found else { return Err(OutOfMemory { owner: owner.to_owned(), size }) };
        let (start, end) = self.free[at];
        let pieces = [(start, address), (address + size, end)];
        self.free.splice(at..=at, pieces.into_iter().filter(|(start, end)| start < end));
        self.ranges.push(VolatileRange { start: address, size, owner: owner.to_owned(), clear });
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_from_the_end_downwards() {
        let mut volatile = Volatile::new(&[(0x10_0000, 0x10_0000)]);
        assert_eq!(volatile.cleared(PAGE, "a"), Ok(0x1f_f000));
        assert_eq!(volatile.kept(2 * PAGE, "b"), Ok(0x1f_d000));
        let ranges = volatile.into_ranges();
        assert_eq!(
            ranges.iter().map(|r| (r.start, r.clear)).collect::<Vec<_>>(),
            [(0x1f_d000, false), (0x1f_f000, true)]
        );
    }

    #[test]
    fn large_memory_can_be_mapped_with_large_pages() {
        let mut volatile = Volatile::new(&[(0x10_0000, 0x2000_0000)]);
        let guest = 0x20_3000;
        let address = volatile.kept_at(3 * LARGE_PAGE + PAGE, guest, "ram").unwrap();
        assert_eq!(address % LARGE_PAGE, guest % LARGE_PAGE);
    }

    #[test]
    fn the_hole_that_alignment_leaves_is_used_for_small_memory() {
        let mut volatile = Volatile::new(&[(0, 0x80_0000)]);
        assert_eq!(volatile.kept_at(LARGE_PAGE, 0x1000, "large"), Ok(0x40_1000));
        assert_eq!(volatile.cleared(PAGE, "small"), Ok(0x7f_f000));
    }

    #[test]
    fn a_guard_page_belongs_to_nobody() {
        let mut volatile = Volatile::new(&[(0, 0x1_0000)]);
        assert_eq!(volatile.kept(4 * PAGE, "stack"), Ok(0xc000));
        volatile.guard_page();
        assert_eq!(volatile.cleared(PAGE, "next"), Ok(0xa000));
    }

    #[test]
    fn an_excluded_range_belongs_to_nobody() {
        let mut volatile = Volatile::new(&[(0, 0x3000), (0x10_0000, 0x1000)]);
        volatile.exclude(0x1000, PAGE);
        assert_eq!(volatile.cleared(PAGE, "a"), Ok(0x10_0000));
        assert_eq!(volatile.cleared(PAGE, "b"), Ok(0x2000));
        assert_eq!(volatile.cleared(PAGE, "c"), Ok(0));
        assert!(volatile.cleared(PAGE, "d").is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_owner() {
        let mut volatile = Volatile::new(&[(0, 0x1000), (0x10_0000, 0x4000)]);
        assert_eq!(
            volatile.cleared(0x5000, "x: ram"),
            Err(OutOfMemory { owner: "x: ram".to_owned(), size: 0x5000 })
        );
        assert_eq!(volatile.cleared(0x4000, "y"), Ok(0x10_0000));
        assert_eq!(volatile.cleared(0x1000, "z"), Ok(0));
    }
}
