//! A unikernel as others build them: nothing here is shared with the rest of this project, and the only source is the
//! description of the interface. What works for this program works for programs that nobody here has seen.
//!
//! Like them it reads memory through plain pointers, waits with `pause`, takes the time from the start of the minor frame,
//! calls its kernel by `vmcall`, does not recover from an overrun, and ends with `cli; hlt`.

#![no_std]

mod channel;
mod console;
mod descriptors;
mod info;
mod memory_functions;
mod notes;
mod probe;
mod station;

pub use notes::{AbiNote, ForeignNote, ManifestNote};

/// Makes the crate a probe with this ABI version, this magic number of the subject info and these network devices.
#[macro_export]
macro_rules! probe {
    (abi = $abi:expr, magic = $magic:expr) => {
        $crate::probe!(abi = $abi, magic = $magic, networks = []);
    };
    (abi = $abi:expr, magic = $magic:expr, networks = [$($network:expr),*]) => {
        const _: () = {
            // The attributes are unsafe because names and sections could clash. The library declares the symbol with this
            // type, and only the builder reads the sections.
            #[unsafe(no_mangle)]
            static LEGACY_MAGIC: u64 = $magic;
            #[used]
            #[unsafe(link_section = ".note.solo5.abi")]
            static ABI: $crate::AbiNote = $crate::AbiNote::new($abi);
            #[used]
            #[unsafe(link_section = ".note.solo5.manifest")]
            static MANIFEST: $crate::ManifestNote<{ 1 + <[&str]>::len(&[$($network),*]) }> =
                $crate::ManifestNote::networks(&[$($network),*]);
            #[used]
            #[unsafe(link_section = ".note.openbsd")]
            static FOREIGN: $crate::ForeignNote = $crate::ForeignNote::OPENBSD;
            #[used]
            #[unsafe(link_section = ".interp")]
            static INTERPRETER: [u8; 20] = *b"/nonexistent/solo5/\0";
        };
    };
}
