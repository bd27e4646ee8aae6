//! Why a card cannot be used, or not any longer.

/// What is wrong with the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its configuration does not say where the registers are, or names places that do not exist.
    NoRegisters,
    /// It does not reset within the time it was given.
    NoReset,
    /// It does not offer version 1 of the interface.
    Legacy,
    /// It refuses the features that the driver accepts.
    FeaturesRefused,
    /// It lacks a queue, or has one that cannot be used.
    NoQueue,
    /// It gives no interrupt to its queue.
    NoInterrupt,
    /// The memory shared with it is too small.
    NoMemory,
    /// It returned a buffer that it was not given.
    ForeignBuffer,
    /// It says itself that it needs a reset.
    NeedsReset,
    /// It has not sent what it was given for a long time.
    Stuck,
}

impl Fault {
    /// Ends the sentence "the card cannot be used: ...".
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRegisters => "it does not say where its registers are",
            Self::NoReset => "it does not reset",
            Self::Legacy => "it does not offer version 1 of virtio",
            Self::FeaturesRefused => "it refuses the features it was asked for",
            Self::NoQueue => "it lacks a queue",
            Self::NoInterrupt => "it has no interrupt to give",
            Self::NoMemory => "the memory shared with it is too small",
            Self::ForeignBuffer => "it returned a buffer that it did not have",
            Self::NeedsReset => "it asks for a reset",
            Self::Stuck => "it does not send",
        }
    }
}
