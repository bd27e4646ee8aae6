//! How many connections a unikernel can have at once without ever running out of memory.
//!
//! A connection costs a fixed number of bytes: its two TCP buffers, and what the application may need for it at most (the
//! worst case of its TLS session and request). Memory that is not free when the network starts, and a reserve for everything
//! else, are not for connections. So `connections * cost + reserve <= free` holds at the start; each connection that is
//! admitted later was counted then.

/// What there is, and what a connection needs. All in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Free memory when the network starts.
    pub free: usize,
    /// What is left for everything but connections.
    pub reserve: usize,
    /// What one connection needs at most.
    pub connection: usize,
}

/// How many connections are admitted, and why not more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As many as were asked for, or as many as fit into half of the memory.
    As(usize),
    /// Fewer than asked for: no more fit.
    Only(usize),
    /// None at all: the memory is too small.
    None,
}

impl Budget {
    /// How many connections there may be at once, if `asked` are wanted. Without a wish: what fits into half of what is free.
    #[must_use]
    pub fn connections(&self, asked: Option<usize>) -> Admission {
        let room = self.free.saturating_sub(self.reserve);
        let fit = |bytes: usize| bytes / self.connection.max(1);
        match (fit(room), asked) {
            (0, _) => Admission::None,
            (_, None) => Admission::As(fit(room / 2).max(1)),
            (most, Some(asked)) if asked <= most => Admission::As(asked),
            (most, Some(_)) => Admission::Only(most),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUDGET: Budget = Budget { free: 1000, reserve: 200, connection: 100 };

    #[test]
    fn as_many_as_asked_for_if_they_fit() {
        assert_eq!(BUDGET.connections(Some(8)), Admission::As(8));
        assert_eq!(BUDGET.connections(Some(9)), Admission::Only(8));
        assert_eq!(BUDGET.connections(None), Admission::As(4));
        assert_eq!(Budget { free: 299, ..BUDGET }.connections(Some(1)), Admission::None);
    }

    proptest! {
        #[test]
        fn what_is_admitted_fits(free: usize, reserve: usize, connection: usize, asked: Option<usize>) {
            let budget = Budget { free, reserve, connection };
            match budget.connections(asked) {
                Admission::As(number) | Admission::Only(number) => {
                    let needed = number as u128 * connection as u128 + reserve as u128;
                    prop_assert!(needed <= free as u128);
                }
                Admission::None => prop_assert!(free.saturating_sub(reserve) < connection.max(1)),
            }
        }
    }
}
