//! What a system needs of its machine, in the words in which `check` says that it is not there, and the kernel at boot.
//!
//! Here are the features that a machine file can deny. What else the kernel insists on, it names itself; what it insists on of an
//! IOMMU's units, `machine describe` says in its words.

#![forbid(unsafe_code)]

/// A feature of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Pages that forbid execution.
    NoExecute,
    /// Saving and restoring of extended state.
    Xsave,
    /// AMD's virtualisation extension.
    Svm,
    /// SVM's own level of page tables.
    NestedPaging,
    /// Intel's virtualisation extension.
    Vtx,
    /// VT-x's own level of page tables.
    ExtendedTables,
    /// Pages of 2 MiB in extended page tables.
    LargeExtendedPages,
    /// VT-x's timer that ends the run of a subject.
    PreemptionTimer,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 8] = [
        Self::NoExecute,
        Self::Xsave,
        Self::Svm,
        Self::NestedPaging,
        Self::Vtx,
        Self::ExtendedTables,
        Self::LargeExtendedPages,
        Self::PreemptionTimer,
    ];

    /// Its key in machine files.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::NoExecute => "no_execute",
            Self::Xsave => "xsave",
            Self::Svm => "svm",
            Self::NestedPaging => "nested_paging",
            Self::Vtx => "vtx",
            Self::ExtendedTables => "extended_page_tables",
            Self::LargeExtendedPages => "large_extended_pages",
            Self::PreemptionTimer => "preemption_timer",
        }
    }

    /// Its name in sentences: what follows [`CPU_HAS_NO`].
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoExecute => "no-execute pages (NX)",
            Self::Xsave => "usable XSAVE",
            Self::Svm => "SVM (AMD-V)",
            Self::NestedPaging => "nested paging (AMD NPT)",
            Self::Vtx => "VT-x (Intel)",
            Self::ExtendedTables => "extended page tables (VT-x EPT)",
            Self::LargeExtendedPages => "2 MiB pages in extended page tables (VT-x EPT)",
            Self::PreemptionTimer => "preemption timer (VT-x)",
        }
    }
}

/// Before the name of a feature that is not there.
pub const CPU_HAS_NO: &str = "the CPU has no ";
/// What is said in place of that where a processor has no virtualisation extension at all.
pub const NO_EXTENSION: &str = "the CPU has neither SVM (AMD-V) nor VT-x (Intel)";
/// Before the number of a CPU that is not there.
pub const NO_CPU: &str = "there is no CPU ";
/// Behind the name of a device that a system uses on a machine without an IOMMU. It is a warning: such a system runs.
pub const UNCONFINED: &str = " can read and overwrite all memory of the machine: no IOMMU confines it";
