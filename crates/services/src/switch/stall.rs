//! Whether a wire without room still takes frames from time to time.

/// Watches a wire for progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stall {
    /// When it was first seen without room, and how many frames it had been given by then.
    full: Option<(u64, u64)>,
}

impl Stall {
    /// Notes whether the wire has room at the time `now`, and how many frames it was given so far. Returns since when it is
    /// known to have had none; `None` if it has room.
    ///
    /// A wire that was given a frame since the last look had room meanwhile, although it has none at either look: that is
    /// how a flood finds it.
    pub fn note(&mut self, now: u64, has_room: bool, given: u64) -> Option<u64> {
        self.full = match self.full {
            _ if has_room => None,
            Some(full) if full.1 == given => Some(full),
            _ => Some((now, given)),
        };
        self.full.map(|(since, _)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_that_fills_up_after_a_long_rest_has_not_been_full_all_the_time() {
        let mut stall = Stall::default();
        assert_eq!(stall.note(1, true, 0), None);
        assert_eq!(stall.note(1_000_000, false, 256), Some(1_000_000));
    }

    #[test]
    fn a_wire_that_a_flood_keeps_full_is_not_stalled_while_it_sends() {
        let mut stall = Stall::default();
        for time in 0..100 {
            assert_eq!(stall.note(time, false, 256 + time), Some(time));
        }
    }

    #[test]
    fn a_wire_that_sends_nothing_is_stalled_since_it_was_full() {
        let mut stall = Stall::default();
        for time in 5..100 {
            assert_eq!(stall.note(time, false, 256), Some(5));
        }
        assert_eq!(stall.note(100, true, 256), None);
        assert_eq!(stall.note(101, false, 512), Some(101));
    }
}
