//! How unikernels share the places for connections: who wants many takes many, and leaves each of the others a few.

use std::collections::HashMap;
use std::hash::Hash;

/// Places, and how many of them each party has taken.
#[derive(Debug)]
pub(super) struct Shares<P> {
    places: usize,
    parties: usize,
    taken: HashMap<P, usize>,
    all_taken: usize,
}

impl<P: Copy + Eq + Hash> Shares<P> {
    /// Places for so many parties. Half of them are kept, in equal parts, for those who have not taken their part yet.
    pub(super) fn new(places: usize, parties: usize) -> Self {
        Self { places, parties: parties.max(1), taken: HashMap::new(), all_taken: 0 }
    }

    /// Whether there is a place for one more of this party.
    pub(super) fn has_room(&self, party: P) -> bool {
        let kept = if self.parties == 1 { 0 } else { self.places / 2 / self.parties };
        let of_others = self.taken.iter().filter(|(other, _)| **other != party);
        let used: usize = of_others.map(|(_, taken)| kept.min(*taken)).sum();
        let kept_for_others = (kept * (self.parties - 1)).saturating_sub(used);
        let is_kept_for_it = self.taken.get(&party).copied().unwrap_or(0) < kept;
        self.all_taken < self.places && (is_kept_for_it || self.all_taken + kept_for_others < self.places)
    }

    /// Takes a place, whether or not there is one.
    pub(super) fn take(&mut self, party: P) {
        *self.taken.entry(party).or_default() += 1;
        self.all_taken += 1;
    }

    /// Gives a place back that was taken.
    pub(super) fn give_back(&mut self, party: P) {
        if let Some(taken) = self.taken.get_mut(&party).filter(|taken| **taken > 0) {
            *taken -= 1;
            self.all_taken -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_alone_has_all_places() {
        let mut shares = Shares::new(100, 1);
        assert_eq!(take_all(&mut shares, 'a'), 100);
        shares.give_back('a');
        assert_eq!(take_all(&mut shares, 'a'), 1);
    }

    #[test]
    fn nobody_takes_what_is_kept_for_others() {
        let mut shares = Shares::new(120, 3);
        assert_eq!(take_all(&mut shares, 'a'), 80);
        assert_eq!(take_all(&mut shares, 'b'), 20);
        assert_eq!(take_all(&mut shares, 'c'), 20);
        // What becomes free is for whoever comes first.
        (0..10).for_each(|_| shares.give_back('a'));
        assert_eq!(take_all(&mut shares, 'c'), 10);
        // And what is kept for somebody stays so when he gives it back.
        (0..10).for_each(|_| shares.give_back('b'));
        assert_eq!((take_all(&mut shares, 'a'), take_all(&mut shares, 'b')), (0, 10));
    }

    fn take_all(shares: &mut Shares<char>, party: char) -> usize {
        let mut count = 0;
        while shares.has_room(party) {
            shares.take(party);
            count += 1;
        }
        count
    }
}
