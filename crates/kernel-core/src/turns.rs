//! Whose turn it is inside a partition.
//!
//! The group that has used the least of the CPU goes first, and gives way after a turn if others are ready. So groups that
//! want more than there is get equal shares, and one that needs less gets it soon: a subject that never sleeps cannot hold up
//! neighbours that answer each other in short bursts. Sleeping saves nothing up: who slept goes first once, not for as long as
//! it slept.

use palisade_abi::layout::MAX_SUBJECTS;
use palisade_abi::plan::Partition;

use crate::clock::Clock;

/// The turns of the groups on one CPU. Groups are named by their index in the plan.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Ticks of a turn.
    length: u64,
    /// What each group has used, in ticks.
    used: [u64; MAX_SUBJECTS],
    /// For each partition: the group that has the turn, counted from the partition's first.
    present: [u16; MAX_SUBJECTS],
    /// For each partition: the groups that were ready at the last decision, one bit each.
    ready: [u64; MAX_SUBJECTS],
    /// TSC value at which the present turn began; `None` if it is over.
    began: Option<u64>,
    /// Whether the group that had the turn gave it away: others go before it, however much they have used.
    given_away: bool,
    /// Who runs, and since when that is not accounted for.
    running: Option<(u16, u64)>,
}

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The group.
    pub(crate) group: u16,
    /// TSC value at which it gives way to others.
    pub(crate) end: u64,
    /// Whether others are ready already.
    pub(crate) others: bool,
}

impl Turns {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            length: clock.ticks(TURN_US),
            used: [0; MAX_SUBJECTS],
            present: [0; MAX_SUBJECTS],
            ready: [0; MAX_SUBJECTS],
            began: None,
            given_away: false,
            running: None,
        }
    }

    /// Ends the present turn.
    pub(crate) fn end(&mut self) {
        self.began = None;
    }

    /// Ends the present turn in favour of another group, if one is ready.
    pub(crate) fn give_away(&mut self) {
        self.end();
        self.given_away = true;
    }

    /// Whether `group` has the turn in its partition.
    pub(crate) fn is_present(&self, number: u16, partition: &Partition, group: u16) -> bool {
        self.present_of(number).checked_rem(partition.groups).map(|p| p + partition.first_group)
            == Some(group)
    }

    /// Chooses the group to run from `now` on in the partition with this number. Bit *n* of `ready` stands for its *n*th group.
    pub(crate) fn choose(
        &mut self,
        number: u16,
        partition: &Partition,
        ready: u64,
        now: u64,
    ) -> Option<Turn> {
        self.account(now);
        self.level(number, partition, ready);
        let present = self.present_of(number).checked_rem(partition.groups)?;
        let others = ready & !bit(present);
        let goes_on = self.began.filter(|began| now.saturating_sub(*began) < self.length && others != ready);
        let (began, group) = match goes_on {
            Some(began) => (began, present),
            None if self.given_away && others != 0 => (now, self.least(partition, others, present)?),
            None => (now, self.least(partition, ready, present)?),
        };
        self.began = Some(began);
        self.given_away = false;
        if let Some(slot) = self.present.get_mut(usize::from(number)) {
            *slot = group;
        }
        let index = partition.first_group.wrapping_add(group);
        self.running = Some((index, now));
        Some(Turn { group: index, end: began.saturating_add(self.length), others: ready & !bit(group) != 0 })
    }

    /// Has the groups that are ready anew stand a turn ahead, at most, of those that were ready all the time.
    fn level(&mut self, number: u16, partition: &Partition, ready: u64) {
        let Some(before) = self.ready.get_mut(usize::from(number)) else { return };
        let (stayed, came) = (ready & *before, ready & !*before);
        *before = ready;
        let stayed = groups(partition, stayed).filter_map(|(_, index)| self.used.get(index)).min();
        let Some(floor) = stayed.map(|least| least.saturating_sub(self.length)) else { return };
        for (_, index) in groups(partition, came) {
            if let Some(used) = self.used.get_mut(index) {
                *used = floor.max(*used);
            }
        }
    }

    /// Of the groups in `ready`, the one that has used the least; of equals the next in order after `present`, which comes
    /// last.
    fn least(&self, partition: &Partition, ready: u64, present: u16) -> Option<u16> {
        let used = |(group, index): (u16, usize)| Some((*self.used.get(index)?, group <= present, group));
        groups(partition, ready).filter_map(used).min().map(|(.., group)| group)
    }

    /// Charges who ran for the time since the last decision.
    fn account(&mut self, now: u64) {
        if let Some((group, since)) = self.running.take()
            && let Some(used) = self.used.get_mut(usize::from(group))
        {
            *used = used.saturating_add(now.saturating_sub(since));
        }
    }

    fn present_of(&self, number: u16) -> u16 {
        self.present.get(usize::from(number)).copied().unwrap_or(0)
    }
}

/// The groups of a partition whose bits are set: their numbers in the partition, and their indices in the plan.
fn groups(partition: &Partition, set: u64) -> impl Iterator<Item = (u16, usize)> {
    (0..partition.groups)
        .filter(move |group| set & bit(*group) != 0)
        .map(|group| (group, usize::from(partition.first_group.wrapping_add(group))))
}

/// The bit of a partition's group. There are at most 64.
const fn bit(group: u16) -> u64 {
    1 << (group & 63)
}

/// Length of a turn in microseconds: some ten times what it costs to change over.
pub(crate) const TURN_US: u64 = 500;
