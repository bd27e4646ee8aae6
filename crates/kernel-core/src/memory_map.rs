//! Whether the machine's memory is what the plan needs.

use palisade_abi::plan::MemoryRange;

/// The first range of `wanted` that is not wholly available, or `None` if all are.
///
/// `available` gives the loader's ranges as (start, end) in any order; they may touch or overlap. It is walked again
/// whenever a wanted range goes on beyond the end of one available range.
pub fn first_missing<I>(wanted: &[MemoryRange], available: impl Fn() -> I) -> Option<MemoryRange>
where
    I: Iterator<Item = (u64, u64)>,
{
    wanted.iter().copied().find(|range| {
        let end = range.start.saturating_add(range.size);
        let mut covered = range.start;
        while covered < end {
            let reach = available().filter(|(s, e)| *s <= covered && covered < *e).map(|(_, e)| e).max();
            match reach {
                Some(reach) => covered = reach,
                None => return true,
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [MemoryRange; 2] =
        [MemoryRange { start: 0x10_0000, size: 0x2000 }, MemoryRange { start: 0x20_0000, size: 0x1000 }];

    #[test]
    fn ranges_inside_available_memory_are_found_whatever_its_order() {
        let map = [(0x10_1000, 0x30_0000), (0, 0x10_1000)];
        assert_eq!(first_missing(&WANTED, || map.into_iter()), None);
    }

    #[test]
    fn a_hole_in_a_wanted_range_is_reported() {
        let map = [(0, 0x10_1000), (0x10_1800, 0x30_0000)];
        assert_eq!(first_missing(&WANTED, || map.into_iter()), Some(WANTED[0]));
    }

    #[test]
    fn a_range_beyond_the_memory_is_reported() {
        assert_eq!(first_missing(&WANTED, || [(0, 0x20_0000)].into_iter()), Some(WANTED[1]));
        assert_eq!(first_missing(&WANTED, || [].into_iter()), Some(WANTED[0]));
    }
}
