//! What card and driver can agree on.

/// Feature bits (5.1.3 and 6).
pub(super) mod bit {
    /// The card has a MAC address.
    pub(in super::super) const MAC: u64 = 1 << 5;
    /// Each side says from where on it wants to be told (`VIRTIO_F_EVENT_IDX`).
    pub(in super::super) const EVENT_INDEX: u64 = 1 << 29;
    /// The interface described by the specification, not its predecessor.
    pub(in super::super) const VERSION_1: u64 = 1 << 32;
    /// The card's access to memory is subject to the platform: what its bus and an IOMMU let it reach.
    pub(in super::super) const ACCESS_PLATFORM: u64 = 1 << 33;
}

/// The features in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Features(u64);

impl Features {
    /// What the driver accepts of what the card offers; `None` if that is not enough.
    ///
    /// No offload of any kind, so the card neither joins frames nor leaves checksums open; `ACCESS_PLATFORM` whenever it is
    /// offered, because a card that offers it may be confined.
    pub(super) fn of_offered(offered: u64) -> Option<Self> {
        let accepted = offered & (bit::MAC | bit::EVENT_INDEX | bit::VERSION_1 | bit::ACCESS_PLATFORM);
        if accepted & bit::VERSION_1 != 0 { Some(Self(accepted)) } else { None }
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn has(self, feature: u64) -> bool {
        self.0 & feature != 0
    }
}
