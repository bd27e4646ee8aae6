//! Address spaces as lists of pieces: what their tables say, without the tables.

use palisade_abi::layout::PAGE;

/// What the owner of an address space may do with a page besides reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) write: bool,
    pub(super) execute: bool,
    /// Accesses bypass the caches.
    pub(super) uncached: bool,
}

impl Access {
    pub(super) const READ: Self = Self { write: false, execute: false, uncached: false };
    pub(super) const READ_WRITE: Self = Self { write: true, ..Self::READ };
    pub(super) const READ_EXECUTE: Self = Self { execute: true, ..Self::READ };

    /// In words.
    pub(super) const fn name(self) -> &'static str {
        match (self.write, self.execute, self.uncached) {
            (false, false, false) => "read-only",
            (true, false, false) => "read-write",
            (false, true, false) => "read-execute",
            (true, true, false) => "read-write-execute",
            (false, false, true) => "uncached read-only",
            (true, false, true) => "uncached read-write",
            (false, true, true) => "uncached read-execute",
            (true, true, true) => "uncached read-write-execute",
        }
    }
}

/// Addresses that follow each other, with one access, on physical addresses that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) address: u64,
    pub(super) phys: u64,
    pub(super) size: u64,
    pub(super) access: Access,
}

impl Piece {
    pub(super) const fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }

    /// First physical address after it.
    pub(super) const fn phys_end(&self) -> u64 {
        self.phys.saturating_add(self.size)
    }

    pub(super) const fn contains(&self, address: u64) -> bool {
        self.address <= address && address < self.end()
    }

    /// The part of this piece from one address of it to another.
    const fn part(&self, from: u64, to: u64) -> Self {
        Self {
            address: from,
            phys: self.phys + (from - self.address),
            size: to.saturating_sub(from),
            ..*self
        }
    }
}

/// An address space: pieces in order of their addresses, as long as they can be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Space {
    pieces: Vec<Piece>,
}

impl Space {
    /// Adds a piece behind the last one. False if there are too many already.
    pub(super) fn push(&mut self, piece: Piece) -> bool {
        self.append(piece);
        self.pieces.len() <= MOST_PIECES
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes mapped.
    pub(super) fn size(&self) -> u64 {
        self.pieces.iter().map(|p| p.size).sum()
    }

    /// The piece that an address belongs to.
    pub(super) fn at(&self, address: u64) -> Option<&Piece> {
        let after = self.pieces.partition_point(|p| p.address <= address);
        self.pieces.get(after.checked_sub(1)?).filter(|p| p.contains(address))
    }

    /// The physical address behind an address.
    pub(super) fn translate(&self, address: u64) -> Option<u64> {
        self.at(address).map(|p| p.phys + (address - p.address))
    }

    /// The physical address behind an address, if there is one, and the address up to which the answer is alike.
    pub(super) fn step(&self, address: u64) -> (Option<u64>, u64) {
        let after = self.pieces.partition_point(|p| p.address <= address);
        match after.checked_sub(1).and_then(|i| self.pieces.get(i)).filter(|p| p.contains(address)) {
            Some(piece) => (Some(piece.phys + (address - piece.address)), piece.end()),
            None => (None, self.pieces.get(after).map_or(u64::MAX, |p| p.address)),
        }
    }

    /// The physical address behind a range that is physically in one piece.
    pub(super) fn translate_range(&self, address: u64, size: u64) -> Option<u64> {
        let piece = self.at(address)?;
        (size <= piece.end() - address).then(|| piece.phys + (address - piece.address))
    }

    /// Whether every address of a range is mapped in a way that `accepts` accepts.
    pub(super) fn all(&self, address: u64, size: u64, accepts: impl Fn(Access) -> bool) -> bool {
        let Some(end) = address.checked_add(size) else { return false };
        let mut next = address;
        while next < end {
            match self.at(next) {
                Some(piece) if accepts(piece.access) => next = piece.end(),
                _ => return false,
            }
        }
        true
    }

    /// Whether no address of a range is mapped.
    pub(super) fn none(&self, address: u64, size: u64) -> bool {
        let (phys, until) = self.step(address);
        phys.is_none() && until >= address.saturating_add(size)
    }

    /// The pieces from one address to another.
    pub(super) fn within(&self, from: u64, to: u64) -> impl Iterator<Item = Piece> {
        let inside = self.pieces.iter().filter(move |p| p.address < to && p.end() > from);
        inside.map(move |p| p.part(p.address.max(from), p.end().min(to)))
    }

    /// This space without some pages, which are given in order.
    pub(super) fn without(&self, pages: &[u64]) -> Self {
        let mut rest = Self::default();
        for piece in &self.pieces {
            let from = pages.partition_point(|p| *p < piece.address);
            let mut next = piece.address;
            for page in pages.iter().skip(from).take_while(|p| **p < piece.end()) {
                rest.append(piece.part(next, *page));
                next = page + PAGE;
            }
            rest.append(piece.part(next, piece.end()));
        }
        rest
    }

    /// The first address at which two spaces differ.
    pub(super) fn first_difference(&self, other: &Self) -> Option<u64> {
        let pairs = self.pieces.iter().zip(&other.pieces);
        for (mine, theirs) in pairs {
            if (mine.address, mine.phys, mine.access) != (theirs.address, theirs.phys, theirs.access) {
                return Some(mine.address.min(theirs.address));
            }
            if mine.size != theirs.size {
                return Some(mine.end().min(theirs.end()));
            }
        }
        let shorter = self.pieces.len().min(other.pieces.len());
        let longer = if self.pieces.len() > other.pieces.len() { self } else { other };
        longer.pieces.get(shorter).map(|p| p.address)
    }

    /// Adds a piece behind the last one, however many there are.
    pub(super) fn append(&mut self, piece: Piece) {
        if piece.size == 0 {
            return;
        }
        if let Some(last) = self.pieces.last_mut()
            && last.end() == piece.address
            && last.phys.saturating_add(last.size) == piece.phys
            && last.access == piece.access
        {
            last.size += piece.size;
        } else {
            self.pieces.push(piece);
        }
    }
}

/// A system's subjects have well under a hundred regions each; the log has a channel per subject.
const MOST_PIECES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const fn page(address: u64, phys: u64, access: Access) -> Piece {
        Piece { address, phys, size: PAGE, access }
    }

    fn space(pages: &[Piece]) -> Space {
        let mut space = Space::default();
        for piece in pages {
            assert!(space.push(*piece));
        }
        space
    }

    #[test]
    fn neighbours_become_one_piece_only_if_nothing_distinguishes_them() {
        let same = space(&[page(0x1000, 0x5000, Access::READ), page(0x2000, 0x6000, Access::READ)]);
        assert_eq!(same.pieces().len(), 1);
        let rights = space(&[page(0x1000, 0x5000, Access::READ), page(0x2000, 0x6000, Access::READ_WRITE)]);
        let elsewhere = space(&[page(0x1000, 0x5000, Access::READ), page(0x2000, 0x9000, Access::READ)]);
        assert_eq!((rights.pieces().len(), elsewhere.pieces().len()), (2, 2));
    }

    #[test]
    fn a_range_is_accepted_only_if_every_page_of_it_is() {
        let space = space(&[
            page(0x1000, 0x9000, Access::READ_WRITE),
            page(0x2000, 0x3000, Access::READ_WRITE),
            page(0x3000, 0x7000, Access::READ),
        ]);
        assert!(space.all(0x1800, 0x1800, |a| a.write));
        assert!(!space.all(0x1800, 0x1801, |a| a.write));
        assert!(!space.all(0x800, 0x900, |a| a.write));
        assert!(!space.all(u64::MAX, 2, |a| a.write));
    }

    #[test]
    fn removed_pages_split_a_piece() {
        let large = Piece { address: 0x1000, phys: 0x9000, size: 3 * PAGE, access: Access::READ };
        let rest = space(&[page(0x1000, 0x9000, Access::READ), page(0x3000, 0xb000, Access::READ)]);
        assert_eq!(space(&[large]).without(&[0x2000]), rest);
        assert_eq!(space(&[large]).without(&[0x1000, 0x2000, 0x3000]), Space::default());
    }

    #[test]
    fn the_first_difference_is_found() {
        let one = space(&[page(0x1000, 0x9000, Access::READ), page(0x2000, 0xa000, Access::READ)]);
        let shorter = space(&[page(0x1000, 0x9000, Access::READ)]);
        let writable = space(&[page(0x1000, 0x9000, Access::READ_WRITE), page(0x2000, 0xa000, Access::READ)]);
        assert_eq!(one.first_difference(&one.clone()), None);
        assert_eq!(one.first_difference(&shorter), Some(0x2000));
        assert_eq!(one.first_difference(&writable), Some(0x1000));
        assert_eq!(Space::default().first_difference(&one), Some(0x1000));
    }
}
