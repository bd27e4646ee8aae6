//! A table whose places are used again, and whose keys are not.

use crate::poll::Key;

/// The table.
#[derive(Debug)]
pub(super) struct Entries<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Entries<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Adds what is made for the key that it gets.
    pub(super) fn add(&mut self, entry: T) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            self.places.len() as u32 - 1
        });
        let (generation, slot) = &mut self.places[place as usize];
        *slot = Some(entry);
        Key { place, generation: *generation }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let (generation, entry) = self.places.get_mut(key.place as usize)?;
        entry.as_mut().filter(|_| *generation == key.generation)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let (generation, entry) = self.places.get_mut(key.place as usize)?;
        if *generation != key.generation {
            return None;
        }
        let removed = entry.take()?;
        *generation = key.next().generation;
        self.free.push(key.place);
        Some(removed)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.places.iter_mut().zip(0..).filter_map(|((generation, entry), place)| {
            Some((Key { place, generation: *generation }, entry.as_mut()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_another_key() {
        let mut entries = Entries::new();
        let [a, b] = ["a", "b"].map(|name| entries.add(name));
        assert_eq!(entries.remove(a), Some("a"));
        assert_eq!((entries.remove(a), entries.get_mut(a)), (None, None));
        let c = entries.add("c");
        assert_eq!((c.place, entries.len()), (a.place, 2));
        assert_ne!(c, a);
        assert_eq!(entries.get_mut(a), None);
        assert_eq!(entries.get_mut(c), Some(&mut "c"));
        assert_eq!(entries.iter_mut().map(|(key, _)| key).collect::<Vec<_>>(), [c, b]);
    }
}
