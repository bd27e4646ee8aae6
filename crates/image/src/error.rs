//! Why a plan cannot become an image.

use palisade_abi::plan::PlanError;
use thiserror::Error;

/// Why a plan cannot become an image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackError {
    /// The kernel is not a program this builder can place.
    #[error("the kernel cannot be used: {0}")]
    Kernel(String),
    /// The image reaches into memory that subjects or the kernel use for something else.
    #[error(
        "the image does not fit: with its end at {end:#x} ({} of content) it reaches {} into the memory of \
         \"{owner}\", which begins at {limit:#x}; give the subjects less RAM or the machine more memory",
        size(end - palisade_abi::layout::IMAGE_BASE),
        size(end - limit)
    )]
    MeetsVolatileMemory {
        /// End of the image.
        end: u64,
        /// Where the lowest volatile range begins.
        limit: u64,
        /// Whose range it is.
        owner: String,
    },
    /// The machine has no usable memory where the image has to be.
    #[error(
        "the image needs {:#x}..{end:#x} ({}), which is not all usable memory of machine \"{machine}\"",
        palisade_abi::layout::IMAGE_BASE,
        size(end - palisade_abi::layout::IMAGE_BASE)
    )]
    NotUsableMemory {
        /// End of the image.
        end: u64,
        /// The machine.
        machine: String,
    },
    /// Something of a subject cannot be placed.
    #[error("subject \"{subject}\": {problem}")]
    Subject {
        /// The subject's name.
        subject: String,
        /// What is wrong.
        problem: String,
    },
    /// Something of a device cannot be placed.
    #[error("device \"{device}\": {problem}")]
    Device {
        /// The device's name in the machine file.
        device: String,
        /// What is wrong.
        problem: String,
    },
    /// Two things claim one page of the kernel's address space.
    #[error("kernel memory at {0:#x} has two owners")]
    KernelMemory(u64),
    /// The list of volatile ranges is not sorted, or ranges overlap.
    #[error("volatile memory at {0:#x} is not a sorted list of separate pages")]
    Volatile(u64),
    /// A table of the plan has more records than the format can refer to.
    #[error("the system has too many {0}")]
    TooMany(&'static str),
    /// The finished plan does not pass the check the kernel will apply.
    #[error("the kernel would refuse the finished plan: {0:?}")]
    Plan(PlanError),
}

impl PackError {
    pub(crate) fn subject(name: &str, problem: impl Into<String>) -> Self {
        Self::Subject { subject: name.into(), problem: problem.into() }
    }

    pub(crate) fn device(name: &str, problem: impl Into<String>) -> Self {
        Self::Device { device: name.into(), problem: problem.into() }
    }
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    match bytes {
        b if b >= MIB && b.is_multiple_of(MIB) => format!("{} MiB", b / MIB),
        b if b >= 10 * MIB => format!("{}.{} MiB", b / MIB, b % MIB * 10 / MIB),
        b if b >= KIB => format!("{} KiB", b.div_ceil(KIB)),
        b => format!("{b} bytes"),
    }
}
