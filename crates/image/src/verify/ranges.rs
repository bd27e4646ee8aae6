//! Sets of addresses as ranges.

use palisade_abi::plan::MemoryRange;

/// A set of addresses: ranges in order, those that touch joined.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    /// First address, and first address after it.
    ranges: Vec<(u64, u64)>,
}

impl Ranges {
    pub(super) fn of(memory: &[MemoryRange]) -> Self {
        memory.iter().map(|r| (r.start, r.start.saturating_add(r.size))).collect()
    }

    /// Whether all of a range belongs to the set.
    pub(super) fn cover(&self, start: u64, size: u64) -> bool {
        match (self.end_at(start), start.checked_add(size)) {
            (Some(end), Some(stop)) => stop <= end,
            _ => false,
        }
    }

    /// Whether any of a range belongs to the set.
    pub(super) fn touch(&self, start: u64, end: u64) -> bool {
        let after = self.ranges.partition_point(|(first, _)| *first < end);
        after.checked_sub(1).and_then(|i| self.ranges.get(i)).is_some_and(|(_, last)| *last > start)
    }

    /// Where the range that an address belongs to ends.
    pub(super) fn end_at(&self, address: u64) -> Option<u64> {
        let after = self.ranges.partition_point(|(start, _)| *start <= address);
        self.ranges.get(after.checked_sub(1)?).map(|(_, end)| *end).filter(|end| address < *end)
    }

    /// First address after the last range.
    pub(super) fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |(_, end)| *end)
    }

    /// How many addresses belong to the set.
    pub(super) fn size(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut sorted: Vec<(u64, u64)> = ranges.into_iter().filter(|(start, end)| start < end).collect();
        sorted.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
        for (start, end) in sorted {
            match joined.last_mut() {
                Some((_, last)) if *last >= start => *last = end.max(*last),
                _ => joined.push((start, end)),
            }
        }
        Self { ranges: joined }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one() {
        let ranges: Ranges = [(0x2000, 0x3000), (0x1000, 0x2000), (0x5000, 0x5000)].into_iter().collect();
        assert!(ranges.cover(0x1000, 0x2000));
        assert!(!ranges.cover(0x1000, 0x2001));
        assert!(!ranges.cover(0x5000, 0));
        assert_eq!((ranges.end(), ranges.size()), (0x3000, 0x2000));
    }

    #[test]
    fn touching_is_more_than_being_next_to_each_other() {
        let ranges: Ranges = [(0x2000, 0x3000)].into_iter().collect();
        assert!(ranges.touch(0x1000, 0x2001));
        assert!(ranges.touch(0x2fff, 0x4000));
        assert!(!ranges.touch(0x1000, 0x2000));
        assert!(!ranges.touch(0x3000, 0x4000));
    }
}
