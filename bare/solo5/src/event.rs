//! Source events: how a program signals others, and asks its kernel for something.

use crate::arch;

/// A source event of this subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event(u8);

impl Event {
    /// The source event with this name, if the policy gives the subject one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        arch::subject_info()?.event(name).map(Self)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// Raises it. What happens then is the policy's choice.
    pub fn raise(self) {
        raise_number(u64::from(self.0));
    }
}

/// Raises the source event with this number. Numbers that the policy does not define do nothing.
pub fn raise_number(number: u64) {
    arch::hypercall(number);
}
